"""Refuse what attributes and permissions forbid: what is immutable stays, and what belongs to others."""

from collections.abc import Iterable, Iterator
from typing import Final

from spkg.errors import RefusedError
from spkg.install.effects import DeleteEntry, Effect, MoveEntry
from spkg.install.root_tree import AnyTree, EntryKind
from spkg.install.tree_path import Parts, shown

__all__ = ["check_fixed", "fixed_refusal", "permission_refusal", "touched_by"]

FLAGS: Final = {"immutable": "i", "append-only": "a"}
"""The attributes, as chattr spells them."""


def check_fixed(touched: Iterable[tuple[Parts, EntryKind | None]], tree: AnyTree) -> None:
    """Check that everything that has to be removed, replaced or moved can be, also back.

    Args:
        touched: The paths at which something changes, and what has to go from there.
        tree: The existing tree.

    Raises:
        RefusedError: An entry, one below it or its directory is immutable or append-only, or this user may
            not write in its directory, or in itself if it is one that goes.
    """
    directories: dict[Parts, tuple[Parts, str] | None] = {}
    for path, kind in touched:
        above = path[:-1]
        if above not in directories:
            directories[above] = tree.fixed(above)
            if directories[above] is None and not tree.writable(above):
                raise permission_refusal(above)
        found = directories[above]
        if found is not None:
            raise fixed_refusal(*found)
        if kind is not None:
            found = tree.fixed(path, whole=kind is EntryKind.DIRECTORY)
            if found is not None:
                raise fixed_refusal(*found)
            if kind is EntryKind.DIRECTORY and not tree.writable(path):
                raise permission_refusal(path)  # it can't be moved away


def touched_by(effects: Iterable[Effect]) -> Iterator[tuple[Parts, EntryKind | None]]:
    """Give the paths at which something changes, and what has to go from there."""
    for effect in effects:
        if isinstance(effect, DeleteEntry):
            yield effect.path, effect.kind
            continue
        yield effect.path, effect.replaces
        if isinstance(effect, MoveEntry):
            yield effect.source, EntryKind.FILE


def fixed_refusal(path: Parts, why: str) -> RefusedError:
    """Return the refusal of an entry that has to go, and why it can't."""
    problem = f"{shown(path)} is {why}, it and its entries can't be removed, replaced or moved"
    return RefusedError(problem, hint=f"take the attribute away with 'chattr -{FLAGS[why]}'")


def permission_refusal(path: Parts) -> RefusedError:
    """Return the refusal of a directory in which this user may not write."""
    hint = "run spkg as root or as the owner of the files; if root may not, look at 'lsattr -d'"
    return RefusedError(f"this user has no permission to write in {shown(path)}", hint=hint)
