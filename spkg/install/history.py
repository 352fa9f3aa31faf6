"""The record of installed packages: the most recent ones, and what the last one changed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spkg.common.findings import Finding
from spkg.errors import (
    FailedError,
    os_problem,
)
from spkg.install.leftovers import vacant
from spkg.install.own_files import read_own
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.tree_path import Parts, shown

__all__ = [
    "RECORD",
    "InstalledPackage",
    "installed",
    "installed_packages",
    "is_last",
    "record_warnings",
    "record_with",
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
}
"""The keys of an entry, with the types of their values."""
MAX_RECORD: Final = 1 << 24
"""The longest record, in bytes."""
REMEMBERED: Final = 16
"""How many packages the record keeps; changes are kept only for the last one."""


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
        )
        for entry in installed(root)
    )


def installed(root: Root) -> list[dict[str, Any]]:
    """Return the entries of the record, the last one first; none if it is damaged.

    Raises:
        FailedError: The record can't be read.
    """
    return _read(root)[0]


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


def _read(root: Root) -> tuple[list[dict[str, Any]], str | None]:
    """Return the entries of the record, and what is wrong with it.

    Raises:
        FailedError: The record can't be read.
    """
    try:
        octets = read_own(root, RECORD, MAX_RECORD)
        return [_entry(package) for package in json.loads(octets)["installed"]], None
    except FileNotFoundError:
        return [], None
    except OSError as exc:
        hint = f"if this stays so, move {shown(RECORD)} below the root away (docs/installing.md)"
        raise FailedError(os_problem(exc), hint=hint) from exc
    except ValueError as exc:
        return [], str(exc)
    except (KeyError, TypeError, RecursionError):
        return [], "it was not written by spkg"


def _entry(package: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of a package, if its values, and those in them, have the right types."""
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


def record_with(entry: Mapping[str, Any], root: Root) -> bytes:
    """Return the record of installed packages with one more package.

    Raises:
        FailedError: The existing record can't be read.
    """
    others = installed(root)[: REMEMBERED - 1]
    kept = [entry, *({**other, "changes": None} for other in others)]
    octets = _record(kept)
    while len(octets) > MAX_RECORD and len(kept) > 1:
        kept.pop()
        octets = _record(kept)
    return octets if len(octets) <= MAX_RECORD else _record([{**entry, "changes": None}])


def _record(packages: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps({"installed": packages}).encode()
