"""Paths below a root as tuples of names in bytes: how they are checked, and how they are shown."""

from typing import Final

__all__ = ["Parts", "check_path", "shown", "split"]

Parts = tuple[bytes, ...]
"""A path below the root as its components; empty for the root itself."""
SPECIAL_NAMES: Final = frozenset({b"", b".", b".."})
"""Names that no directory entry can have."""


def split(path: str) -> Parts:
    """Return the components of a path as :func:`shown` writes it."""
    return tuple(part.encode("utf-8", "surrogateescape") for part in path.split("/") if part)


def shown(path: Parts) -> str:
    """Return a path for people and the journal, with a leading slash; bytes that are not UTF-8 are kept."""
    return "/" + b"/".join(path).decode("utf-8", "surrogateescape")


def check_path(path: Parts) -> None:
    """Refuse what is not a path below the root: the caller has a defect."""
    joined = b"/".join(path)
    if not path or not SPECIAL_NAMES.isdisjoint(path) or b"\0" in joined or joined.count(b"/") >= len(path):
        raise ValueError(f"not a path below the root: {path!r}")
