"""How many serial numbers a ledger has: by state, Option, batch and month."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy

from spkg.errors import HostError
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_entry import SerialState
from vouchers.acs.ledger_tables import ENTRIES

__all__ = ["LedgerStatistics", "ledger_statistics", "prometheus_text"]

MONTH: Final = len("2026-11")


@dataclass(frozen=True, kw_only=True)
class LedgerStatistics:
    """Numbers of serial numbers."""

    serials: int
    by_state: Mapping[str, int]
    """Each state is there, with 0 where there are none."""
    by_option: Mapping[str, int]
    by_batch: Mapping[str, int]
    """Those without a batch are under the empty name."""
    by_month: Mapping[str, int]
    """By the month in which they were issued; those that were not are not counted."""


def ledger_statistics(ledger: Ledger) -> LedgerStatistics:
    """Count what is in a ledger.

    Raises:
        HostError: The database can't be read, or is damaged.
    """
    columns = {
        "state": ENTRIES.c.state,
        "option": ENTRIES.c.option,
        "batch": sqlalchemy.func.coalesce(ENTRIES.c.batch, ""),
        "month": sqlalchemy.func.substr(ENTRIES.c.issued_at, 1, MONTH),
    }
    found: dict[str, dict[str, int]] = {}
    with ledger.database.transaction(writes=False) as connection:
        for name, column in columns.items():
            query = sqlalchemy.select(column, sqlalchemy.func.count()).group_by(column)
            rows = connection.execute(query).all()
            found[name] = {key: count for key, count in rows if not (key is None and name == "month")}
    for counts in found.values():
        if not all(isinstance(key, str) for key in counts):
            raise HostError(f"{ledger.database.name}: damaged: expected text, got other values")
    if unknown := sorted(found["state"].keys() - {state.value for state in SerialState}):
        raise HostError(f"{ledger.database.name}: damaged: unknown state {unknown[0][:20]!r}")
    states: dict[str, int] = {state.value: found["state"].get(state.value, 0) for state in SerialState}
    return LedgerStatistics(
        serials=sum(states.values()),
        by_state=states,
        **{f"by_{name}": dict(sorted(found[name].items())) for name in ("option", "batch", "month")},
    )


def prometheus_text(statistics: LedgerStatistics) -> Iterator[str]:
    """Yield the lines of statistics in the text format of Prometheus."""
    for name, label, counts, what in (
        ("spkg_ledger_serials", "state", statistics.by_state, "Serial numbers in the ledger, by state."),
        ("spkg_ledger_option_serials", "option", statistics.by_option, "Serial numbers, by Option."),
        ("spkg_ledger_batch_serials", "batch", statistics.by_batch, "Serial numbers, by batch."),
        ("spkg_ledger_month_serials", "month", statistics.by_month, "Serial numbers, by month of issue."),
    ):
        yield f"# HELP {name} {what}"
        yield f"# TYPE {name} gauge"
        for value, count in counts.items():
            yield f'{name}{{{label}="{_label(value)}"}} {count}'


def _label(value: Any) -> str:
    return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
