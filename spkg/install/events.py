"""What happened to packages in a root, and what made it happen."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Self

from spkg.common.frozen import dataclass

__all__ = ["EventKind", "RolledBackPackage", "RootEvent", "Trigger"]

OPTIONAL: Final = frozenset({"version", "reason"})
"""What an event may lack."""


class EventKind(Enum):
    """What happened to a package."""

    APPLIED = "applied"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled-back"
    FORGIVEN = "forgiven"
    """It was rolled back before, and may be installed again."""


class Trigger(Enum):
    """What made it happen."""

    COMMAND = "command"
    """A command or another program."""
    BOOTS = "boots"
    """More boots than allowed passed unconfirmed."""
    DELAY = "delay"
    """The delay passed unconfirmed."""
    HOOK = "hook"
    """A hook that runs after an installation failed."""


@dataclass(frozen=True, kw_only=True)
class RootEvent:
    """Something that happened to a package."""

    when: str
    """As the request stated it."""
    event: EventKind
    package: str
    """SHA-256 of the signed bytes, in hex."""
    version: str | None
    by: Trigger
    reason: str | None
    """Why, for people."""

    def to_document(self) -> dict[str, Any]:
        """Return it as it is in the record and in JSON results."""
        return _document(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_document` was called on.

        Raises:
            ValueError: A word is unknown.
            TypeError: A value has the wrong type.
            KeyError: One is missing.
        """
        return cls(event=EventKind(document["event"]), **_told(document))


@dataclass(frozen=True, kw_only=True)
class RolledBackPackage:
    """A package that was rolled back: it is refused until another one is installed or it is forgiven."""

    package: str
    """SHA-256 of the signed bytes, in hex."""
    version: str | None
    when: str
    by: Trigger
    reason: str | None

    def to_document(self) -> dict[str, Any]:
        """Return it as it is in the record and in JSON results."""
        return _document(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_document` was called on.

        Raises:
            ValueError: A word is unknown.
            TypeError: A value has the wrong type.
            KeyError: One is missing.
        """
        return cls(**_told(document))


def _document(one: RootEvent | RolledBackPackage) -> dict[str, Any]:
    words = {name: value.value if isinstance(value, Enum) else value for name, value in vars(one).items()}
    return {"time": words.pop("when"), **words}


def _told(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what both have, if the values have the right types."""
    texts = {name: document[name] for name in ("time", "package", "version", "reason")}
    if not all(isinstance(text, str) or (text is None and name in OPTIONAL) for name, text in texts.items()):
        raise TypeError("a value in the record has the wrong type")
    return {"when": texts.pop("time"), **texts, "by": Trigger(document["by"])}
