"""What each voucher does, when it ends, and what it renews or revokes; the answers of a service."""

from typing import Final

import sqlalchemy
from alembic.operations import Operations
from sqlalchemy import BigInteger, Column, Integer, String, Text

from vouchers.acs.ledger_journal import JournalWriter

__all__ = ["down_revision", "revision", "upgrade"]

revision: Final = "3"
down_revision: Final = "2"


def upgrade(op: Operations, *, ledger: str, actor: str, at: str) -> None:
    """Add the columns; what was issued before has nothing in them."""
    for column in (
        Column("manufacturer", String(64)),
        Column("description", String(256)),
        Column("mode", String(24)),
        Column("start", String(20)),
        Column("duration", BigInteger),
        Column("duration_units", String(8)),
        Column("transferable", Integer),
        Column("extras", Text),
        Column("end", String(20)),
        Column("renews", BigInteger),
        Column("renewal_duration", BigInteger),
        Column("renewal_units", String(8)),
        Column("revokes", BigInteger),
    ):
        op.add_column("spkg_voucher", column)
    op.create_index("spkg_voucher_device", "spkg_voucher", ["oui", "product_class", "serial_number"])
    op.create_index("spkg_voucher_end", "spkg_voucher", ["end", "serial"])
    for name in ("renews", "revokes"):
        live = sqlalchemy.text("state != 'void'")
        op.create_index(
            *(f"spkg_voucher_{name}", "spkg_voucher", [name]),
            unique=True,
            sqlite_where=live,
            postgresql_where=live,
        )
    if not sqlalchemy.inspect(op.get_bind()).has_table("spkg_answer"):
        op.create_table(
            "spkg_answer",
            Column("client", String(128), primary_key=True),
            Column("key", String(255), primary_key=True),
            Column("request", String(64), nullable=False),
            Column("at", String(20), nullable=False, index=True),
            Column("serials", Text, nullable=False),
            Column("status", Integer),
            Column("media", String(64)),
            Column("body", Text),
        )
    # Alembic has a table of its own for the version.
    with op.batch_alter_table("spkg_ledger") as table:
        table.drop_column("version")
    JournalWriter(op.get_bind(), ledger, actor, at).migrated(revision)
