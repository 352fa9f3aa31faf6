"""The tables of version 0.1: serial numbers, and the next one."""

from typing import Final

import sqlalchemy
from alembic.operations import Operations
from sqlalchemy import BigInteger, Column, String, UniqueConstraint

__all__ = ["down_revision", "revision", "upgrade"]

revision: Final = "1"
down_revision: Final = None


def upgrade(op: Operations, **_about: str) -> None:
    """Make the tables."""
    op.create_table(
        "spkg_voucher",
        Column("serial", BigInteger, primary_key=True, autoincrement=False),
        Column("oui", String(6), nullable=False),
        Column("product_class", String(64), nullable=False),
        Column("serial_number", String(64), nullable=False),
        Column("option", String(64), nullable=False),
        Column("digest", String(64), nullable=False),
        Column("signer", String(64), nullable=False),
        Column("batch", String(128)),
        Column("run", String(16), nullable=False),
        Column("state", String(8), nullable=False),
        Column("reserved_at", String(20), nullable=False),
        Column("issued_at", String(20)),
        Column("voided_at", String(20)),
        UniqueConstraint("batch", "oui", "product_class", "serial_number", "option"),
    )
    following = op.create_table(
        "spkg_serial", Column("next", BigInteger, primary_key=True, autoincrement=False)
    )
    op.get_bind().execute(sqlalchemy.insert(following).values(next=1))
