"""The record of installed packages: the most recent ones, and what the last one changed."""

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
        raise FailedError("the record of installed packages is damaged") from exc


def _entry(package: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of a package, if its values have the right types."""
    if not all(isinstance(package[name], kinds) for name, kinds in ENTRY.items()):
        raise TypeError("a value in the record has the wrong type")
    return {name: package[name] for name in ENTRY}


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
