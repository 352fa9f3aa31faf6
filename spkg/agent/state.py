"""What the agent keeps over a power cut: facts, events, transfers, values, and what is on trial.

All of it is in memory, too: reading costs nothing.  It is changed in whole transactions alone, and a block
that changes nothing writes nothing.  To be used from one thread at a time, whichever.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from spkg.agent.records import (
    Attribute,
    Intent,
    ParameterTrial,
    Row,
    ScheduledInform,
    Transfer,
)
from spkg.agent.state_file import FACT_SCHEDULED, FACT_TRANSFERS, STATE_TABLES, StateContents, StateFile
from spkg.cwmp.events import Event

__all__ = [
    "FACT_BOOT",
    "FACT_CLOCK",
    "FACT_FIRST_USE",
    "FACT_PARAMETER_KEY",
    "FACT_PATH",
    "FACT_PHASE",
    "FACT_REBOOT",
    "FACT_RESET",
    "FACT_URL_DHCP",
    "FACT_URL_TOLD",
    "FACT_VERSION",
    "FACT_VERSION_BOOT",
    "STATE_FILE",
    "AgentState",
    "StateChange",
]

STATE_FILE: Final = "state.db"
"""The name of the file in the state directory."""
FACT_PARAMETER_KEY: Final = "parameter-key"
"""The ParameterKey (Table 61)."""
FACT_URL_TOLD: Final = "url-told"
"""The URL of the ACS that knows of this device: with another one the next session is a BOOTSTRAP."""
FACT_URL_DHCP: Final = "url-dhcp"
"""The URL that DHCP stated last."""
FACT_BOOT: Final = "boot"
"""The id of the last boot that was seen."""
FACT_PATH: Final = "cr-path"
"""The path of the ConnectionRequestURL, drawn once."""
FACT_PHASE: Final = "phase"
"""The phase of the periodic Informs, drawn once."""
FACT_FIRST_USE: Final = "first-use"
"""When the first session was (FirstUseDate), as a dateTime."""
FACT_CLOCK: Final = "clock"
"""The latest time that is known to have been, as a dateTime."""
FACT_REBOOT: Final = "reboot-due"
"""The id of the boot in which a reboot is due."""
FACT_RESET: Final = "reset-due"
"""The id of the boot in which a factory reset is due."""
FACT_VERSION: Final = "software-version"
"""The SoftwareVersion that runs."""
FACT_VERSION_BOOT: Final = "software-version-boot"
"""The id of the boot in which that was read."""

STATE_PATIENCE: Final = 10.0
"""How many seconds to wait for another process: an agent that ends, or somebody who looks at its state."""
OF_PARAMETERS: Final = ("value", "attribute", "instance", "told", "trial")
"""The tables whose key is the name of a parameter or an object."""


class AgentState:
    """The state of an agent.

    Args:
        path: The file; it is made if it is missing, with its directory.  None for a state in memory.
        patience: How many seconds to wait for another process that has it open.
        repair: Whether a file that can't be read is moved aside, so that a new one takes its place.

    Raises:
        HostError: It can't be opened or made, or another process has it open; or it can't be read and is not
            to be moved.
    """

    def __init__(self, path: Path | None, *, patience: float = STATE_PATIENCE, repair: bool = True) -> None:
        self._file = StateFile(path, patience, repair=repair)
        self._contents = self._file.contents
        self.set_aside = self._file.set_aside
        """Where a file is that could not be read."""
        self.commits = 0
        """How many transactions were written."""
        self._changing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def fact(self, name: str) -> str | None:
        """Return a fact; None if it is not known."""
        row = self._contents["fact"].get((name,))
        return None if row is None else row[1]

    def events(self) -> tuple[Event, ...]:
        """Return the events that wait for the clean end of a session, in the order in which they came."""
        rows = sorted(self._contents["event"].values(), key=lambda row: row[2])
        return tuple(Event(code, key) for code, key, _ in rows)

    def transfers(self) -> tuple[Transfer, ...]:
        """Return the transfers, in the order in which they were asked for."""
        return tuple(Transfer.of(row) for _, row in sorted(self._contents["transfer"].items()))

    def schedule(self) -> tuple[ScheduledInform, ...]:
        """Return the scheduled Informs, in the order in which they were asked for."""
        return tuple(ScheduledInform.of(row) for _, row in sorted(self._contents["schedule"].items()))

    def values(self) -> Mapping[str, str]:
        """Return the values of the agent's own parameters that were set."""
        return dict(self._contents["value"].values())

    def value(self, name: str) -> str | None:
        """Return the value of one of the agent's own parameters; None if it was never set."""
        row = self._contents["value"].get((name,))
        return None if row is None else row[1]

    def attributes(self) -> Mapping[str, Attribute]:
        """Return the attributes of the parameters whose attributes were changed."""
        return {row[0]: Attribute.of(row) for row in self._contents["attribute"].values()}

    def instances(self) -> Mapping[str, int]:
        """Return the next instance number of each table in which objects were added, by its path."""
        return dict(self._contents["instance"].values())

    def told(self) -> Mapping[str, str]:
        """Return the last values that the ACS knows of parameters whose changes it is told."""
        return dict(self._contents["told"].values())

    def intent(self) -> Intent | None:
        """Return what providers still have to carry out."""
        return Intent.of(tuple(row[1:] for _, row in sorted(self._contents["intent"].items())))

    def trial(self) -> ParameterTrial | None:
        """Return the parameters that are on trial."""
        return ParameterTrial.of(tuple(self._contents["trial"].values()))

    @contextmanager
    def change(self) -> Iterator["StateChange"]:
        """Make what the block changes durable when it ends, in one transaction; nothing if it raises.

        Raises:
            HostError: It can't be written; then nothing has changed.
        """
        if self._changing:
            raise RuntimeError("a change of the state within another one")
        self._changing = True
        try:
            contents = {name: dict(rows) for name, rows in self._contents.items()}
            yield StateChange(contents)
            self._commit(contents)
        finally:
            self._changing = False

    def _commit(self, contents: StateContents) -> None:
        """Write what differs."""
        if self._file.write(self._contents, contents):
            self._contents = contents
            self.commits += 1

    def tidy(self) -> None:
        """Put what was written where it stays, if it is much: while nothing else is to be done.

        Raises:
            HostError: It can't be written; nothing is lost.
        """
        self._file.tidy()


class StateChange:
    """What a transaction changes; nothing of it is in the state before its end."""

    def __init__(self, contents: StateContents) -> None:
        self._contents = contents

    def fact(self, name: str, value: str | None) -> None:
        """Keep a fact, or forget it."""
        self._put("fact", name, None if value is None else (name, value))

    def add_event(self, event: Event) -> None:
        """Keep an event until the clean end of a session; the same code and key only once."""
        rows = self._contents["event"]
        last = max((row[2] for row in rows.values()), default=0)
        rows.setdefault((event.code, event.command_key), (event.code, event.command_key, last + 1))

    def drop_events(self, events: Iterable[Event]) -> None:
        """Forget events, because a session that told them has ended cleanly."""
        for event in events:
            self._contents["event"].pop((event.code, event.command_key), None)

    def put_transfer(self, transfer: Transfer) -> Transfer:
        """Keep a transfer, and return it as it is kept: a new one with its number."""
        kept = replace(transfer, id=transfer.id or self._next_number(FACT_TRANSFERS))
        self._put("transfer", kept.id, kept.row)
        return kept

    def drop_transfer(self, number: int) -> None:
        """Forget a transfer, because the ACS has answered its TransferComplete."""
        self._put("transfer", number, None)

    def schedule_inform(self, inform: ScheduledInform) -> ScheduledInform:
        """Keep a scheduled Inform, and return it as it is kept: a new one with its number."""
        kept = replace(inform, id=inform.id or self._next_number(FACT_SCHEDULED))
        self._put("schedule", kept.id, kept.row)
        return kept

    def drop_scheduled(self, number: int) -> None:
        """Forget a scheduled Inform, because it has become an event."""
        self._put("schedule", number, None)

    def set_value(self, name: str, value: str | None) -> None:
        """Keep the value of one of the agent's own parameters, or return it to what it was at first."""
        self._put("value", name, None if value is None else (name, value))

    def set_attribute(self, name: str, attribute: Attribute) -> None:
        """Keep the attributes of a parameter."""
        self._put("attribute", name, None if attribute == Attribute() else (name, *attribute.row))

    def set_next_instance(self, path: str, number: int) -> None:
        """Keep the next instance number of a table."""
        self._put("instance", path, (path, number))

    def tell(self, name: str, value: str | None) -> None:
        """Keep what the ACS knows of a parameter, or forget it because the ACS is not told any more."""
        self._put("told", name, None if value is None else (name, value))

    def set_intent(self, intent: Intent | None) -> None:
        """Keep what providers have to carry out, in place of what they had to."""
        rows = () if intent is None else intent.rows
        self._contents["intent"] = {(index,): (index, *row) for index, row in enumerate(rows)}

    def set_trial(self, trial: ParameterTrial | None) -> None:
        """Keep the parameters that are on trial, in place of those that were."""
        self._contents["trial"] = {} if trial is None else {row[:1]: row for row in trial.rows}

    def forget_below(self, path: str) -> None:
        """Forget all about the parameters and tables below an object that was deleted."""
        for name in OF_PARAMETERS:
            rows = self._contents[name]
            for key in [key for key in rows if key[0].startswith(path)]:
                del rows[key]

    def forget_everything(self, *but: str) -> None:
        """Forget all but these facts (A.4.1.6), and which numbers of transfers are used up."""
        stay = {*but, FACT_TRANSFERS, FACT_SCHEDULED}
        kept = {key: row for key, row in self._contents["fact"].items() if key[0] in stay}
        self._contents.update({name: {} for name in STATE_TABLES}, fact=kept)

    def _put(self, table: str, key: str | int, row: Row | None) -> None:
        if row is None:
            self._contents[table].pop((key,), None)
        else:
            self._contents[table][key,] = row

    def _next_number(self, fact: str) -> int:
        before = self._contents["fact"].get((fact,))
        number = 1 if before is None else int(before[1]) + 1
        self.fact(fact, str(number))
        return number
