"""The record of installed packages: the most recent ones, what the last one changed, and what happened.

One file holds all of it, and each change of a root replaces it in the same transaction: an event is in the
record exactly when it has happened.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from spkg.common.findings import Finding
from spkg.common.frozen import dataclass
from spkg.errors import (
    FailedError,
    os_problem,
)
from spkg.install.events import EventKind, RolledBackPackage, RootEvent, Trigger
from spkg.install.leftovers import vacant
from spkg.install.own_files import read_own, values_of
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.tree_path import Parts, shown

__all__ = [
    "RECORD",
    "InstalledPackage",
    "events",
    "installed",
    "installed_packages",
    "is_last",
    "record_confirmed",
    "record_forgiven",
    "record_rolled_back",
    "record_size",
    "record_warnings",
    "record_with",
    "rolled_back_packages",
    "set_aside_record",
]

RECORD: Final[Parts] = (*OWN, b"installed")
RECORD_ASIDE: Final[Parts] = (*OWN, b"installed.damaged")
ENTRY: Final[dict[str, tuple[type, ...]]] = {
    "package": (str,),
    "version": (str, type(None)),
    "description": (str, type(None)),
    "signers": (list,),
    "time": (str,),
    "changed": (int,),
    "changes": (list, type(None)),
    "command_key": (str, type(None)),
    "boot_id": (str, type(None)),
}
"""The keys of an entry, with the types of their values."""
LATER_KEYS: Final = {"command_key": None, "boot_id": None}
"""The keys that entries of release 0.2 lack."""
MAX_RECORD: Final = 1 << 24
"""The longest record, in bytes."""
REMEMBERED: Final = 16
"""How many packages the record keeps; changes are kept only for the last one."""
REMEMBERED_EVENTS: Final = 64
"""How many events the record keeps."""


@dataclass(frozen=True, kw_only=True)
class InstalledPackage:
    """The entry of a package in the record."""

    package: str
    """SHA-256 of the signed bytes, in hex."""
    version: str | None
    description: str | None
    signers: tuple[str, ...]
    """The subjects of the signers' certificates."""
    when: str
    """The time, as the request stated it."""
    changed: int
    """How many changes were made."""
    changes: tuple[Mapping[str, Any], ...] | None
    """The changes, as in the result of ``apply``; None for all but the last package."""
    command_key: str | None
    """The CommandKey of the Download, if one was stated."""
    boot_id: str | None
    """The boot in which it was installed, if it was stated."""


def installed_packages(root: Root) -> tuple[InstalledPackage, ...]:
    """Return the installed packages, the last one first.

    Raises:
        FailedError: The record can't be read.
    """
    return tuple(
        InstalledPackage(
            package=entry["package"],
            version=entry["version"],
            description=entry["description"],
            signers=tuple(entry["signers"]),
            when=entry["time"],
            changed=entry["changed"],
            changes=None if entry["changes"] is None else tuple(entry["changes"]),
            command_key=entry["command_key"],
            boot_id=entry["boot_id"],
        )
        for entry in installed(root)
    )


def installed(root: Root) -> list[dict[str, Any]]:
    """Return the entries of the record, the last one first; none if it is damaged.

    Raises:
        FailedError: The record can't be read.
    """
    return [*_read(root)[0].installed]


def rolled_back_packages(root: Root) -> tuple[RolledBackPackage, ...]:
    """Return the packages that were rolled back since another one was installed, the last one first.

    Raises:
        FailedError: The record can't be read.
    """
    return _read(root)[0].rolled_back


def events(root: Root) -> tuple[RootEvent, ...]:
    """Return what happened in a root, the oldest first.

    Raises:
        FailedError: The record can't be read.
    """
    return _read(root)[0].events


def record_warnings(root: Root) -> tuple[Finding, ...]:
    """Return the warning about a damaged record, which counts as empty; none if it is sound.

    Raises:
        FailedError: The record can't be read.
    """
    problem = _read(root)[1]
    if problem is None:
        return ()
    told = f"the record of installed packages is damaged ({problem}) and counts as empty"
    return (Finding(code="damaged-record", message=told, path=shown(RECORD)),)


def set_aside_record(root: Root) -> tuple[Finding, ...]:
    """Rename a damaged record, so that a new one can begin, and return the warning about that.

    Raises:
        FailedError: The record can't be read.
        OSError: It can't be renamed.
    """
    if _read(root)[1] is None:
        return ()
    place = vacant(root, RECORD_ASIDE)
    root.rename(RECORD, place)
    root.sync_directory(OWN)
    told = (
        f"the record of installed packages was damaged: it is set aside as {shown(place)}, a new one begins"
    )
    return (Finding(code="damaged-record", message=told, path=shown(RECORD)),)


@dataclass(frozen=True, kw_only=True)
class _Record:
    """All that is in the file."""

    installed: tuple[dict[str, Any], ...] = ()
    rolled_back: tuple[RolledBackPackage, ...] = ()
    events: tuple[RootEvent, ...] = ()

    def encode(self) -> bytes:
        """Return the contents of the file: as much as fits, but at least the last package."""
        installed, events = [*self.installed], [*self.events[-REMEMBERED_EVENTS:]]
        while len(octets := self._encoded(installed, events)) > MAX_RECORD:
            if len(installed) > 1:
                installed.pop()
            else:
                installed = [{**one, "changes": None} for one in installed]
        return octets

    def _encoded(self, installed: Sequence[Mapping[str, Any]], events: Sequence[RootEvent]) -> bytes:
        document = {
            "installed": installed,
            "rolled_back": [one.to_document() for one in self.rolled_back],
            "events": [one.to_document() for one in events],
        }
        return json.dumps(document).encode()

    @classmethod
    def decode(cls, octets: bytes) -> "_Record":
        """Return the record that a file holds.

        Raises:
            ValueError: It is not JSON.
            TypeError: A value has the wrong type, or a word is unknown.
            KeyError: One is missing.
        """
        document = values_of(octets)
        installed = tuple(_entry(package) for package in document["installed"])
        try:
            rolled_back = tuple(map(RolledBackPackage.from_document, document.get("rolled_back", ())))
            told = tuple(map(RootEvent.from_document, document.get("events", ())))
        except ValueError as exc:
            raise TypeError("a word is unknown") from exc
        return cls(installed=installed, rolled_back=rolled_back, events=told)


def _read(root: Root) -> tuple[_Record, str | None]:
    """Return what the record has, and what is wrong with it.

    Raises:
        FailedError: The record can't be read.
        PermissionError: This user may not read it.
    """
    try:
        return _Record.decode(read_own(root, RECORD, MAX_RECORD)), None
    except FileNotFoundError:
        return _Record(), None
    except PermissionError:
        raise
    except OSError as exc:
        hint = f"if this stays so, move {shown(RECORD)} below the root away (docs/installing.md)"
        raise FailedError(os_problem(exc), hint=hint) from exc
    except ValueError as exc:
        return _Record(), str(exc)
    except (KeyError, TypeError, AttributeError, RecursionError):
        return _Record(), "it was not written by spkg"


def _entry(package: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of a package, if its values, and those in them, have the right types."""
    package = {**LATER_KEYS, **package}
    sound = (
        all(isinstance(package[name], kinds) for name, kinds in ENTRY.items())
        and not isinstance(package["changed"], bool)
        and all(isinstance(signer, str) for signer in package["signers"])
        and all(map(_is_change, package["changes"] or ()))
    )
    if not sound:
        raise TypeError("a value in the record has the wrong type")
    return {name: package[name] for name in ENTRY}


def _is_change(change: object) -> bool:
    return isinstance(change, dict) and all(isinstance(value, str | None) for value in change.values())


def is_last(entry: Mapping[str, Any], root: Root) -> bool:
    """Whether the last package in the record is the one that *entry* describes.

    Raises:
        FailedError: The record can't be read.
    """
    return [one["package"] for one in installed(root)[:1]] == [entry["package"]]


def record_size(root: Root) -> int:
    """Return how long the record is, in bytes.

    Raises:
        OSError: It can't be read.
    """
    found = root.status(RECORD)
    return 0 if found is None else found.st_size


def record_with(entry: Mapping[str, Any], root: Root) -> bytes:
    """Return the record with one more package: whatever was rolled back before may be installed again.

    Raises:
        FailedError: The existing record can't be read.
    """
    found = _read(root)[0]
    others = ({**other, "changes": None} for other in found.installed[: REMEMBERED - 1])
    happened = RootEvent(
        when=entry["time"],
        event=EventKind.APPLIED,
        package=entry["package"],
        version=entry["version"],
        by=Trigger.COMMAND,
        reason=None,
    )
    installed = ({**LATER_KEYS, **entry}, *others)
    return _Record(installed=installed, events=(*found.events, happened)).encode()


def record_confirmed(root: Root, event: RootEvent) -> bytes:
    """Return the record with the confirmation of a package.

    Raises:
        FailedError: The existing record can't be read.
    """
    found = _read(root)[0]
    return replace(found, events=(*found.events, event)).encode()


def record_rolled_back(root: Root, event: RootEvent) -> bytes:
    """Return the record without the last package, which is rolled back.

    Raises:
        FailedError: The existing record can't be read.
    """
    found = _read(root)[0]
    last = [one["package"] for one in found.installed[:1]]
    gone = RolledBackPackage(
        package=event.package, version=event.version, when=event.when, by=event.by, reason=event.reason
    )
    return replace(
        found,
        installed=found.installed[1:] if last == [event.package] else found.installed,
        rolled_back=(gone, *(one for one in found.rolled_back if one.package != event.package)),
        events=(*found.events, event),
    ).encode()


def record_forgiven(root: Root, when: str) -> bytes:
    """Return the record in which no package is refused for having been rolled back.

    Raises:
        FailedError: The existing record can't be read.
    """
    found = _read(root)[0]
    forgiven = [
        RootEvent(
            when=when,
            event=EventKind.FORGIVEN,
            package=one.package,
            version=one.version,
            by=Trigger.COMMAND,
            reason=None,
        )
        for one in found.rolled_back
    ]
    return replace(found, rolled_back=(), events=(*found.events, *forgiven)).encode()
