"""The record of what was installed: the last packages, and what the last one changed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spkg.errors import (
    FailedError,
    os_problem,
)
from spkg.install.root import Parts, Root
from spkg.install.root_tree import OWN

__all__ = [
    "RECORD",
    "InstalledPackage",
    "installed",
    "installed_packages",
    "is_last",
    "record_with",
]

RECORD: Final[Parts] = (*OWN, b"installed")
ENTRY: Final[dict[str, tuple[type, ...]]] = {
    "package": (str,),
    "version": (str, type(None)),
    "description": (str, type(None)),
    "signers": (list,),
    "time": (str,),
    "changed": (int,),
    "changes": (list, type(None)),
}
"""What the record says of a package."""
MAX_RECORD: Final = 1 << 24
"""The longest record, in octets."""
REMEMBERED: Final = 16
"""How many packages the record keeps; the changes of the last one alone."""


@dataclass(frozen=True, kw_only=True)
class InstalledPackage:
    """What the record says of a package."""

    package: str
    """SHA-256 of the octets that were signed, in hex."""
    version: str | None
    description: str | None
    signers: tuple[str, ...]
    """Their subjects."""
    when: str
    """The time, as the request had it."""
    changed: int
    """How many changes were made."""
    changes: tuple[Mapping[str, Any], ...] | None
    """What they were, as in the result of ``apply``; None for all but the last package."""


def installed_packages(root: Root) -> tuple[InstalledPackage, ...]:
    """Return what was installed, the last one first.

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
    """Return the entries of the record, the last one first.

    Raises:
        FailedError: The record can't be read.
    """
    try:
        octets = root.read(RECORD, MAX_RECORD)
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise FailedError(os_problem(exc)) from exc
    try:
        return [_entry(package) for package in json.loads(octets)["installed"]]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise FailedError("the record of what was installed is damaged") from exc


def _entry(package: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the record says of a package, where that is what belongs there."""
    if not all(isinstance(package[name], kinds) for name, kinds in ENTRY.items()):
        raise TypeError("something else stands in the record")
    return {name: package[name] for name in ENTRY}


def is_last(entry: Mapping[str, Any], root: Root) -> bool:
    """Whether the last package in the record is the one that *entry* is of.

    Raises:
        FailedError: The record can't be read.
    """
    return [one["package"] for one in installed(root)[:1]] == [entry["package"]]


def record_with(entry: Mapping[str, Any], root: Root) -> bytes:
    """Return the record of what was installed, with one package more.

    Raises:
        FailedError: The one that is there can't be read.
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
