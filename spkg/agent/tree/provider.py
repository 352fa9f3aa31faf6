"""A provider: a program of the gateway that serves a part of its parameters (spkg-provider/1).

What it answers is checked before anything is made of it.  The protocol is described in
docs/agent-parameters.md; every request can be repeated, and is, where its answer was lost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from spkg.agent.tree.channel import ProviderChannel, ProviderError
from spkg.agent.tree.model import (
    MAX_EXPANDED,
    MAX_INSTANCE,
    MAX_PARAMETER_NAME,
    ParameterDescription,
    read_description,
)
from spkg.common.documents import Document
from spkg.common.printable import printable
from spkg.errors import FormatError

__all__ = [
    "MAX_TEXT_VALUE",
    "ParameterSource",
    "Provider",
    "ProviderFault",
    "ProviderNotice",
    "ProviderPatience",
    "RefusedByProviderError",
    "ValuesRead",
    "read_notice",
]

MAX_TEXT_VALUE: Final = 1 << 16
"""The longest value, in characters: more than any type that is defined allows (Table 61)."""
MAX_REASON: Final = 200
"""How much is taken of what a provider says about a fault, in characters."""
KNOWN_CODES: Final = frozenset({9001, 9002, 9003, 9004, 9005, 9006, 9007, 9008})
"""The FaultCodes that a provider can give (A.3.2)."""
MAX_NOTICED: Final = 1000
"""The most names in a notice."""


@dataclass(frozen=True)
class ProviderFault:
    """Why a provider can't do something for one name."""

    code: int
    text: str


@dataclass(frozen=True, kw_only=True)
class ProviderNotice:
    """What a provider says unasked."""

    provider: str
    changed: tuple[str, ...] = ()
    """Parameters that have other values."""
    event: str | None = None
    """An event that it raises, such as ``X 00D09E RadarHit``; it still has to be checked."""


@dataclass(frozen=True)
class ValuesRead:
    """What a provider answered to ``get``."""

    values: Mapping[str, str]
    faults: Mapping[str, ProviderFault]


class RefusedByProviderError(ProviderError):
    """A provider has answered that it can't do it; nothing of it is done."""

    def __init__(self, problem: str, faults: Mapping[str, ProviderFault]) -> None:
        super().__init__(problem)
        self.faults = faults


class ProviderPatience:
    """When the patience with a provider ends.

    Args:
        clock: Returns the time in seconds; it never jumps.
        seconds: How long it is from now.
    """

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._until = clock() + seconds

    def left(self) -> float:
        """Return the seconds that are left, never less than 0."""
        return max(0.0, self._until - self._clock())


class ParameterSource(Protocol):
    """What serves parameters: a program, or a file."""

    name: str
    owned: tuple[str, ...]
    """The partial paths that it serves, with the root."""

    def describe(self, deadline: ProviderPatience) -> ParameterDescription:
        """Return the parameters and tables.

        Raises:
            ProviderError: It can't; so with all the others.
        """

    def instances(self, path: str, deadline: ProviderPatience) -> Mapping[str, tuple[int, ...]]:
        """Return the instance numbers of the tables below *path*, or all that are there."""

    def get(self, names: Sequence[str], deadline: ProviderPatience) -> ValuesRead:
        """Return values, or why there are none."""

    def check(self, values: Mapping[str, str], deadline: ProviderPatience) -> Mapping[str, ProviderFault]:
        """Return what is wrong with new values; nothing is changed."""

    def put(self, values: Mapping[str, str], deadline: ProviderPatience) -> int:
        """Set values, all or none; return 0, or 1 if they are in force after the next reboot."""

    def add(self, table: str, instance: int, deadline: ProviderPatience) -> int:
        """Add an object; done already, it is done."""

    def delete(self, path: str, deadline: ProviderPatience) -> int:
        """Delete an object; done already, it is done."""

    def lock(self, deadline: ProviderPatience) -> None:
        """Have it change nothing for others until it is unlocked."""

    def unlock(self, deadline: ProviderPatience) -> None:
        """End that."""

    def reset(self, deadline: ProviderPatience) -> None:
        """Return all that it serves to factory settings."""

    def close(self) -> None:
        """End it."""


class Provider:
    """A provider that is asked over a channel.

    Args:
        name: Its name in the configuration.
        owned: The partial paths that it serves, with the root.
        channel: How it is reached.
    """

    def __init__(self, name: str, owned: tuple[str, ...], channel: ProviderChannel) -> None:
        self.name = name
        self.owned = owned
        self._channel = channel
        self._last = 0
        self._described: tuple[int, ParameterDescription] | None = None
        """What it described, and which of the other ends did."""

    def describe(self, deadline: ProviderPatience) -> ParameterDescription:
        """Return the parameters and tables; asked once, and again where another program may answer."""
        if self._described is None or self._described[0] != self._channel.generation:
            answer = self._ask({"op": "describe"}, deadline)
            with _blaming(self):
                found = read_description(answer, self.owned)
            self._described = (self._channel.generation, found)
        return self._described[1]

    def instances(self, path: str, deadline: ProviderPatience) -> Mapping[str, tuple[int, ...]]:
        """Return the instance numbers of the tables below *path*, or all that are there."""
        if not self.describe(deadline).table_paths:
            return {}
        answer = self._ask({"op": "list", "path": path}, deadline)
        found = answer.get("instances")
        if not isinstance(found, dict):
            raise self.error("instances must be an object")
        total = 0
        checked: dict[str, tuple[int, ...]] = {}
        for table, numbers in found.items():
            if not isinstance(numbers, list) or not all(
                type(one) is int and 1 <= one <= MAX_INSTANCE for one in numbers
            ):
                raise self.error(f"the instances of {table} must be numbers from 1 on")
            total += len(numbers)
            checked[table] = tuple(sorted({*numbers}))
        if total > MAX_EXPANDED:
            raise self.error(f"expected at most {MAX_EXPANDED} instances, got {total}")
        return checked

    def get(self, names: Sequence[str], deadline: ProviderPatience) -> ValuesRead:
        """Return values, or why there are none."""
        answer = self._ask({"op": "get", "names": [*names]}, deadline)
        values = answer.get("values", {})
        if not isinstance(values, dict):
            raise self.error("values must be an object")
        asked = {*names}
        for name, value in values.items():
            if name not in asked:
                raise self.error(f"gave a value of {printable(name[:80])}, which was not asked for")
            if not isinstance(value, str) or len(value) > MAX_TEXT_VALUE or not _is_text(value):
                raise self.error(
                    f"the value of {name} must be a string of at most {MAX_TEXT_VALUE} characters"
                )
        faults = self._faults(answer, asked)
        missing = asked - values.keys() - faults.keys()
        if missing:
            raise self.error(f"gave neither a value nor a fault for {min(missing)}")
        return ValuesRead(values, faults)

    def check(self, values: Mapping[str, str], deadline: ProviderPatience) -> Mapping[str, ProviderFault]:
        """Return what is wrong with new values; nothing is changed."""
        answer = self._ask({"op": "check", "values": {**values}}, deadline)
        return self._faults(answer, {*values})

    def put(self, values: Mapping[str, str], deadline: ProviderPatience) -> int:
        """Set values, all or none; return 0, or 1 if they are in force after the next reboot."""
        return self._done({"op": "set", "values": {**values}}, {*values}, deadline)

    def add(self, table: str, instance: int, deadline: ProviderPatience) -> int:
        """Add an object; done already, it is done."""
        return self._done({"op": "add", "table": table, "instance": instance}, None, deadline)

    def delete(self, path: str, deadline: ProviderPatience) -> int:
        """Delete an object; done already, it is done."""
        return self._done({"op": "delete", "object": path}, None, deadline)

    def lock(self, deadline: ProviderPatience) -> None:
        """Have it change nothing for others until it is unlocked."""
        self._done({"op": "lock"}, None, deadline)

    def unlock(self, deadline: ProviderPatience) -> None:
        """End that."""
        self._done({"op": "unlock"}, None, deadline)

    def reset(self, deadline: ProviderPatience) -> None:
        """Return all that it serves to factory settings."""
        self._done({"op": "reset"}, None, deadline)

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def error(self, problem: str) -> ProviderError:
        """Return an error that names it."""
        return ProviderError(f"provider {self.name!r}: {problem}")

    def _ask(self, request: Document, deadline: ProviderPatience) -> Document:
        self._last += 1
        try:
            return self._channel.ask({"id": self._last, **request}, deadline.left())
        except ProviderError as exc:
            raise self.error(str(exc)) from exc

    def _done(self, request: Document, names: set[str] | None, deadline: ProviderPatience) -> int:
        answer = self._ask(request, deadline)
        faults = self._faults(answer, names)
        if faults:
            name, fault = next(iter(faults.items()))
            problem = f"provider {self.name!r}: {name}: {fault.text}"
            raise RefusedByProviderError(problem, faults)
        status = answer.get("status")
        if type(status) is not int or status not in {0, 1}:
            raise self.error(f"status must be 0 or 1, got {status!r:.40}")
        return status

    def _faults(self, answer: Mapping[str, Any], asked: set[str] | None) -> dict[str, ProviderFault]:
        """Return the faults in an answer, for names that were asked for; None for any."""
        faults = answer.get("faults", {})
        if not isinstance(faults, dict):
            raise self.error("faults must be an object")
        found: dict[str, ProviderFault] = {}
        for name, fault in faults.items():
            if asked is not None and name not in asked:
                raise self.error(f"gave a fault for {printable(name[:80])}, which was not asked for")
            match fault:
                case [int(code), str(text)] if code in KNOWN_CODES:
                    found[str(name)] = ProviderFault(code, printable(text[:MAX_REASON]))
                case _:
                    raise self.error(f"a fault must be a FaultCode and a text, got {fault!r:.60}")
        return found


class _blaming:  # noqa: N801 - reads as a statement
    """Turns a FormatError in the block into one that names the provider."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FormatError):
            raise self._provider.error(str(error)) from error


def read_notice(provider: str, document: Mapping[str, Any]) -> ProviderNotice:
    """Return what a provider says unasked.

    Raises:
        FormatError: It is something else.
    """
    event = document.get("event")
    if event is not None and not isinstance(event, str):
        raise FormatError("event must be a string")
    names = document.get("changed" if event is None else "parameters", [])
    if (
        not isinstance(names, list)
        or len(names) > MAX_NOTICED
        or not all(isinstance(one, str) and len(one) <= MAX_PARAMETER_NAME for one in names)
    ):
        raise FormatError(f"expected at most {MAX_NOTICED} names of parameters")
    return ProviderNotice(provider=provider, changed=tuple(names), event=event)


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
