"""What the agent keeps over a power cut, as values: transfers, attributes, intents, trials.

Each knows its row in the database (``state.py``), and refuses a row that it can't have written.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

__all__ = [
    "SUBSCRIBER",
    "Attribute",
    "Intent",
    "ParameterTrial",
    "Row",
    "ScheduledInform",
    "Transfer",
    "read_row",
]

Row = tuple[Any, ...]
SUBSCRIBER: Final = "Subscriber"
"""The one entity beside the ACS that an access list can name (Table 19)."""
TRANSFER_DIRECTIONS: Final = ("Download", "Upload")
_NUMBER: Final = (int, float)


def read_row(row: Row, *kinds: type | tuple[type, ...] | None) -> Row:
    """Return a row whose values are of these types; None for a number that may be missing.

    Raises:
        ValueError: A value is of another type.
    """
    for value, kind in zip(row, kinds, strict=True):
        if kind is None:
            if value is not None and not isinstance(value, _NUMBER):
                raise ValueError(f"expected a number, got {value!r:.60}")
        elif not isinstance(value, kind):
            raise ValueError(f"expected a value of another type, got {value!r:.60}")
    return row


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A Download or Upload that the ACS has asked for, until it has answered its TransferComplete."""

    id: int = 0
    """Its number, never used again; 0 for a new one."""
    direction: Literal["Download", "Upload"]
    arguments: Mapping[str, str | int]
    """Those of the method, by name."""
    due_wall: float | None = None
    """When it is due, in seconds since 1970; None where there is no clock."""
    due_boot: float | None = None
    """When it is due, in seconds since the boot *boot_id*."""
    boot_id: str = ""
    """The boot that *due_boot* counts from."""
    state: int = 1
    """1: not yet started; 2: in progress; 3: completed, to be told (Table 45)."""
    boot_when_done: str | None = None
    """The boot in which it was completed."""
    result: Mapping[str, Any] | None = None
    """What TransferComplete says."""

    @property
    def command_key(self) -> str:
        """What the ACS calls it."""
        return str(self.arguments["CommandKey"])

    @property
    def row(self) -> Row:
        """Its row."""
        return (
            self.id,
            self.direction,
            _json(self.arguments),
            self.due_wall,
            self.due_boot,
            self.boot_id,
            self.state,
            self.boot_when_done,
            None if self.result is None else _json(self.result),
        )

    @classmethod
    def of(cls, row: Row) -> Self:
        """Return the transfer of a row.

        Raises:
            ValueError: The row is something else.
        """
        number, direction, arguments, wall, boot, boot_id, state, done, result = read_row(
            row, int, str, str, None, None, str, int, (str, type(None)), (str, type(None))
        )
        if direction not in TRANSFER_DIRECTIONS or state not in {1, 2, 3}:
            raise ValueError(f"expected a transfer, got {direction!r:.40} in state {state}")
        return cls(
            id=number,
            direction=direction,
            arguments=_mapping(arguments),
            due_wall=wall,
            due_boot=boot,
            boot_id=boot_id,
            state=state,
            boot_when_done=done,
            result=None if result is None else _mapping(result),
        )


@dataclass(frozen=True, kw_only=True)
class ScheduledInform:
    """An Inform that the ACS has asked for with ScheduleInform."""

    id: int = 0
    """Its number; 0 for a new one."""
    command_key: str
    due_wall: float | None = None
    """When it is due, in seconds since 1970; None where there is no clock."""
    due_boot: float | None = None
    """When it is due, in seconds since the boot *boot_id*."""
    boot_id: str = ""

    @property
    def row(self) -> Row:
        """Its row."""
        return (self.id, self.command_key, self.due_wall, self.due_boot, self.boot_id)

    @classmethod
    def of(cls, row: Row) -> Self:
        """Return the scheduled Inform of a row.

        Raises:
            ValueError: The row is something else.
        """
        number, key, wall, boot, boot_id = read_row(row, int, str, None, None, str)
        return cls(id=number, command_key=key, due_wall=wall, due_boot=boot, boot_id=boot_id)


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """The attributes of a parameter; by default those before the ACS has changed any (Tables 19, 22)."""

    notification: int = 0
    """0: off; 1: passive; 2: active."""
    access: tuple[str, ...] = (SUBSCRIBER,)
    """Who may write the parameter, beside the ACS."""

    @property
    def row(self) -> Row:
        """Its row, without the name."""
        return (self.notification, _json(self.access))

    @classmethod
    def of(cls, row: Row) -> Self:
        """Return the attributes of a row.

        Raises:
            ValueError: There are none.
        """
        _name, notification, access = read_row(row, str, int, str)
        entities = json.loads(access)
        if notification not in {0, 1, 2} or not isinstance(entities, list):
            raise ValueError(f"expected attributes, got {notification} and {access!r:.60}")
        return cls(notification=notification, access=tuple(str(one) for one in entities))


@dataclass(frozen=True, kw_only=True)
class Intent:
    """A request that providers still have to carry out: its effects come with its end, all of them.

    Until then nothing of it can be seen in the state; setting, adding and deleting can be repeated.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    """What to set, by name: parameters of providers."""
    before: Mapping[str, str] = field(default_factory=dict)
    """What these were: set again where a provider refuses."""
    built_in: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the agent itself in the same request."""
    added: str | None = None
    """The object to add, with its instance number."""
    deleted: str | None = None
    """The object to delete."""
    parameter_key: str | None = None
    """The new ParameterKey; None to leave it."""
    local: bool = False
    """Whether it came from the subscriber: the ACS does not know the values."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """Its rows."""
        found: list[Row] = [
            ("set", name, value, self.before.get(name)) for name, value in self.values.items()
        ]
        found += [("built-in", name, value, None) for name, value in self.built_in.items()]
        for kind, text in (("add", self.added), ("delete", self.deleted)):
            if text is not None:
                found.append((kind, text, "", None))
        if self.parameter_key is not None:
            found.append(("key", "", self.parameter_key, None))
        if self.local:
            found.append(("local", "", "", None))
        return tuple(found)

    @classmethod
    def of(cls, rows: tuple[Row, ...]) -> Self | None:
        """Return the intent of these rows; None if there are none.

        Raises:
            ValueError: They are something else.
        """
        if not rows:
            return None
        parts: dict[str, dict[str, str]] = {}
        before: dict[str, str] = {}
        for row in rows:
            kind, name, value, old = read_row(row, str, str, str, (str, type(None)))
            parts.setdefault(kind, {})[name] = value
            if old is not None:
                before[name] = old
        if not parts.keys() <= {"set", "built-in", "add", "delete", "key", "local"}:
            raise ValueError(f"expected an intent, got {sorted(parts)!r:.80}")
        return cls(
            values=parts.get("set", {}),
            before=before,
            built_in=parts.get("built-in", {}),
            added=next(iter(parts.get("add", ())), None),
            deleted=next(iter(parts.get("delete", ())), None),
            parameter_key=parts.get("key", {}).get(""),
            local="local" in parts,
        )


@dataclass(frozen=True, kw_only=True)
class ParameterTrial:
    """Parameters of the agent itself that are on trial, and what they are set back to."""

    before: Mapping[str, str | None]
    """By name, the value that the ACS had set before; None if it had set none."""
    delay: float
    """How long the trial lasts, in seconds; after another boot it begins again."""
    since_boot: float
    """When it began, in seconds since the boot *boot_id*."""
    boot_id: str

    def due(self, boot_id: str) -> float:
        """Return when it ends, in seconds since this boot."""
        return self.delay + (self.since_boot if boot_id == self.boot_id else 0.0)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Its rows."""
        return tuple(
            (name, old, self.delay, self.since_boot, self.boot_id) for name, old in self.before.items()
        )

    @classmethod
    def of(cls, rows: tuple[Row, ...]) -> Self | None:
        """Return the trial of these rows; None if there are none.

        Raises:
            ValueError: They are something else.
        """
        for row in rows:
            read_row(row, str, (str, type(None)), _NUMBER, _NUMBER, str)
        if not rows:
            return None
        _name, _old, delay, since, boot_id = rows[-1]
        return cls(before={row[0]: row[1] for row in rows}, delay=delay, since_boot=since, boot_id=boot_id)


def _json(value: Any) -> str:
    return json.dumps(dict(value) if isinstance(value, Mapping) else value, sort_keys=True)


def _mapping(text: str) -> Mapping[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, got {text!r:.60}")  # noqa: TRY004 - it was read from a text
    return found
