"""The steps from a ledger of an earlier version to this one, which Alembic takes in one transaction."""

from pathlib import Path
from typing import Final

import sqlalchemy
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from spkg.errors import HostError
from vouchers.acs.ledger_tables import LEDGER_VERSION, TABLES_VERSION

__all__ = ["STEPS", "migrate_tables"]

STEPS: Final = Path(__file__).parent / "ledger_steps"
"""Where the steps are, a module each."""


def migrate_tables(connection: Connection, version: str, *, ledger: str, actor: str, at: str) -> None:
    """Take the steps from a version to this one, in the transaction of *connection*.

    Args:
        connection: The transaction.
        version: What the tables are now.
        ledger: The name of the ledger in errors.
        actor: Who does it, for the journal.
        at: When.

    Raises:
        HostError: It is a later version, or not a version.
    """
    steps = ScriptDirectory(str(STEPS), version_locations=[str(STEPS)])
    if version not in {step.revision for step in steps.walk_revisions()}:
        raise HostError(
            f"{ledger}: expected a ledger of version {TABLES_VERSION} or earlier, got version {version[:20]}"
        )
    context = MigrationContext.configure(
        connection,
        opts={
            "version_table": LEDGER_VERSION.name,
            "transactional_ddl": True,
            # What "alembic upgrade" does, which wants a file of settings.
            "fn": lambda revision, _context: steps._upgrade_revs(TABLES_VERSION, revision),  # noqa: SLF001
        },
    )
    if LEDGER_VERSION.name not in sqlalchemy.inspect(connection).get_table_names():
        context.stamp(steps, version)
    context.run_migrations(op=Operations(context), ledger=ledger, actor=actor, at=at)
