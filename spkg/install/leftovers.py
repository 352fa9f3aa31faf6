"""What is left over of earlier work in ``.spkg``: nothing that anybody waits for, and never in the way.

It is removed as far as possible.  What can't be (an immutable file, a read-only snapshot, a mount) keeps its
name or gets one with a number, and every later run tries again.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count, islice
from typing import Final

from spkg.common.findings import Finding
from spkg.install.root import Root
from spkg.install.root_tree import OWN
from spkg.install.tree_path import Parts, shown

__all__ = ["OVER", "clear_leftovers", "leftover_warnings", "leftovers", "stuck_warnings", "unused", "vacant"]

OVER: Final[Parts] = (*OWN, b"over")
"""The remains of a transaction that is over."""
SPENT: Final = re.compile(rb"(over|part|made|arrived|(checkpoint|trial)\.new)(\.[1-9][0-9]*)?")
"""The names of what only the run that made it needs."""
LISTED: Final = 100
"""How many leftovers are named at most."""


def vacant(root: Root, path: Parts) -> Parts:
    """Return a path at which nothing is: this one, cleared if possible, or the next free one with a number.

    Raises:
        OSError: The root can't be read.
    """
    return next(one for one in _numbered(path) if root.status(one) is None or root.sweep(one) is None)


def unused(root: Root, path: Parts) -> Parts:
    """Return a path at which nothing is, and remove nothing: this one, or the first free one with a number.

    Raises:
        OSError: The root can't be read.
    """
    return next(one for one in _numbered(path) if root.status(one) is None)


def _numbered(path: Parts) -> Iterator[Parts]:
    yield path
    for number in count(1):
        yield (*path[:-1], b"%s.%d" % (path[-1], number))


def clear_leftovers(root: Root) -> None:
    """Remove what is left over, as far as possible.

    Raises:
        OSError: The root can't be read.
    """
    for path in _spent(root):
        root.sweep(path)


def leftovers(root: Root) -> tuple[Parts, ...]:
    """Return what is left over: files, and directories with nothing in them; of many the first ones.

    While an installer is running, nothing is left over: what there is may be in use.

    Raises:
        OSError: The root can't be read.
    """
    found = _found(root)
    return () if found and _is_locked(root) else found


def leftover_warnings(root: Root) -> tuple[Finding, ...]:
    """Return the warning about what is left over; none if nothing is, or the root can't be read."""
    with suppress(OSError):
        return _warnings(leftovers(root), "is left over{}: the next run removes {}, and no harm is done")
    return ()


def stuck_warnings(root: Root) -> tuple[Finding, ...]:
    """Remove what is left over, where this installer has locked the root; return the warning about the rest.

    Nothing is given if everything could be removed, or the root can't be read.
    """
    with suppress(OSError):
        clear_leftovers(root)
        told = "is left over and could not be removed yet{}: no harm is done, and later runs try again"
        return _warnings(_found(root), told)
    return ()


def _found(root: Root) -> tuple[Parts, ...]:
    return tuple(islice((leaf for path in _spent(root) for leaf in _leaves(root, path)), LISTED))


def _warnings(found: Sequence[Parts], told: str) -> tuple[Finding, ...]:
    if not found:
        return ()
    more = "" if len(found) == 1 else f", with {len(found) - 1} more"
    message = told.format(more, "them" if more else "it")
    return (Finding(code="leftovers", message=message, path=shown(found[0])),)


def _is_locked(root: Root) -> bool:
    try:
        with root.locked(OWN) as free:
            return not free
    except OSError:  # a file system without locks
        return False


def _spent(root: Root) -> list[Parts]:
    if root.status(OWN) is None:
        return []
    names = root.names(OWN)
    spare = [] if b"checkpoint" in names else [b"checkpoint.spare"]
    return [(*OWN, name) for name in names if SPENT.fullmatch(name) or name in spare]


def _leaves(root: Root, top: Parts) -> Iterator[Parts]:
    """Give what has nothing below it, or can't be looked into."""
    waiting = [top]
    while waiting:
        path = waiting.pop()
        try:
            below = root.names(path)
        except OSError:  # not a directory, or a mount
            below = []
        if not below:
            yield path
        waiting += [(*path, name) for name in reversed(below)]
