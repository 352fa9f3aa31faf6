"""What a transaction replaces and removes: kept before the commit, cleared after it, put back to undo it.

Elsewhere an old entry gets a second name, or is renamed.  An overlayfs copies what lies in its lower layer
for either, and can't rename a directory of that layer: such a tree is copied, names of files only, and then
removed entry by entry.  Where the copies find no room, the old entries are not kept: the changes can then be
completed, but not undone.
"""

import errno
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Self

from spkg.install.directory_growth import DirectoryGrowth, removal_peak
from spkg.install.journal import Before, JournalStep, Verb
from spkg.install.root import Root
from spkg.install.tree_path import Parts

__all__ = ["Reserve", "bring_up", "clear_away", "keep_old", "put_back"]

NO_LINK: Final = frozenset({errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS})
"""Errors for a file that can't have a second name, here or for this user."""
NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(kw_only=True)
class Reserve:
    """What the rest of a transaction still takes of an overlayfs, and copies must leave."""

    octets: int
    inodes: int

    @classmethod
    def of(cls, root: Root, steps: Sequence[JournalStep], octets: int, inodes: int) -> Self:
        """Return what steps take beside *octets* and *inodes*: to note that entries are gone.

        Raises:
            OSError: The root can't be read.
        """
        if not root.layered:
            return cls(octets=octets, inodes=inodes)
        block = root.space().f_frsize or 1
        growth = DirectoryGrowth(block, grows=True)
        blocks = most = names = 0
        for step in steps:
            blocks += sum(growth.add(path) for path in (step.path, step.source) if path is not None)
            if step.before is Before.NOTHING:
                continue
            inside = [path for path, _ in _below(root, step.path) if path != step.path]
            peak, noted = removal_peak(inside, block)
            most, names = max(most, peak), max(names, noted)
        return cls(octets=octets + (blocks + most) * block, inodes=inodes + names)

    def allows(self, root: Root, sizes: Sequence[int], blocks: int = 0) -> bool:
        """Whether there is room for copies of files of some sizes, and for some blocks more."""
        space = root.space()
        block, inodes = space.f_frsize or 1, len(sizes)
        octets = (blocks + sum(-(-size // block) for size in sizes)) * block
        enough = space.f_favail >= inodes + self.inodes if space.f_files else True
        if not space.f_blocks:  # a file system in memory without a limit
            return enough
        return enough and space.f_bavail * space.f_frsize >= octets + self.octets


def bring_up(root: Root, steps: Sequence[JournalStep]) -> None:
    """Have an overlayfs copy now whatever the steps change: nothing is left to be copied after the commit.

    Raises:
        OSError: There is no room, or something can't be changed.
    """
    ends = [path for step in steps for path in (step.path, step.source) if path is not None]
    known: dict[Parts, bool] = {}
    for path in ends:
        for depth in range(1, len(path)):
            above = path[:depth]
            if above not in known:
                found = root.status(above)
                known[above] = found is not None and stat.S_ISDIR(found.st_mode)
                if known[above]:
                    root.bring_up(above)
            if not known[above]:
                break
    for step in steps:
        if step.source is not None:
            root.bring_up(step.source)


def keep_old(root: Root, step: JournalStep, place: Parts, obstacle: Parts, reserve: Reserve) -> JournalStep:
    """Keep the entry that a step replaces or removes, and return how that is done.

    Args:
        root: The root.
        step: The step; its ``before`` says how it would be done on an ordinary file system.
        place: Where the entry is kept.
        obstacle: A directory that is not empty, to find out whether another one can be renamed.
        reserve: What the rest of the transaction takes of an overlayfs.

    Raises:
        OSError: It can't be kept.
    """
    if step.before is Before.KEPT and not root.layered:
        return _link(root, step, place)
    found = None if step.before is Before.NOTHING else root.status(step.path)
    if found is None:
        return step
    try:
        if stat.S_ISDIR(found.st_mode):
            if root.can_move(step.path, obstacle):
                return step
            return _copy(root, step, place, reserve)
        if not root.layered:
            return step
        if not reserve.allows(root, [found.st_size]):
            return replace(step, before=Before.LOST)
        if step.before is Before.KEPT:
            return _link(root, step, place)
        root.bring_up(step.path)
    except OSError as exc:
        if exc.errno not in NO_SPACE or not root.layered:
            raise
        with suppress(FileNotFoundError):
            root.remove_tree(place)
        return replace(step, before=Before.LOST)
    return step


def clear_away(root: Root, steps: Iterable[JournalStep]) -> bool:
    """Remove what is in the way of steps, or is removed by them, and was not renamed before.

    Args:
        root: The root.
        steps: Those whose entries are still in the way: they can't be told from what replaces them.

    Returns:
        Whether there are such steps: what they removed may not be durable, although nothing is left to do.

    Raises:
        OSError: Something can't be removed.
    """
    cleared = False
    for step in steps:
        if step.before not in {Before.COPIED, Before.LOST}:
            continue
        cleared = True
        found = root.status(step.path)
        if found is not None and (stat.S_ISDIR(found.st_mode) or _replaces_nothing(root, step)):
            root.remove_tree(step.path)
    return cleared


def _replaces_nothing(root: Root, step: JournalStep) -> bool:
    """Whether a file can't be replaced by what a step does: nothing comes there, or a directory does."""
    if step.verb in {Verb.DELETE, Verb.DIRECTORY}:
        return True
    coming = None if step.source is None else root.status(step.source)
    return coming is not None and stat.S_ISDIR(coming.st_mode)


def put_back(root: Root, place: Parts, path: Parts) -> None:
    """Put back the copy of a tree, as far as the tree is gone.

    Raises:
        OSError: Something can't be put back.
    """
    if root.status(place) is None:
        return
    waiting = [(place, path)]
    while waiting:
        copy, there = waiting.pop()
        found = root.status(there)
        if found is None:
            root.rename(copy, there)
        elif stat.S_ISDIR(found.st_mode):
            waiting += [((*copy, name), (*there, name)) for name in root.names(copy)]


def _link(root: Root, step: JournalStep, place: Parts) -> JournalStep:
    """Give an entry a second name; if that is not allowed, it is moved away later."""
    try:
        root.link(step.path, place)
    except OSError as exc:
        if exc.errno not in NO_LINK:
            raise
        return replace(step, before=Before.AWAY)
    return step


def _copy(root: Root, step: JournalStep, place: Parts, reserve: Reserve) -> JournalStep:
    """Copy a tree: its directories, and second names of everything else."""
    found_below = list(_below(root, step.path))
    block = root.space().f_frsize or 1
    growth = DirectoryGrowth(block, grows=True)
    blocks = 2 * sum(growth.add(path) for path, _ in found_below)  # in the upper layer, and in the copy
    if not reserve.allows(root, [size for _, size in found_below], blocks):
        return replace(step, before=Before.LOST)
    for path, _ in found_below:
        copy = (*place, *path[len(step.path) :])
        found = root.status(path)
        if found is not None and stat.S_ISDIR(found.st_mode):
            if root.layered:
                root.bring_up(path)
            root.mkdir_like(path, copy)
        else:
            root.link(path, copy)
    return replace(step, before=Before.COPIED)


def _below(root: Root, path: Parts) -> Iterator[tuple[Parts, int]]:
    """Give everything in a tree with its size, directories before what is in them."""
    waiting = [path]
    while waiting:
        one = waiting.pop()
        found = root.status(one)
        if found is None:
            continue
        yield one, found.st_size
        if stat.S_ISDIR(found.st_mode):
            waiting += [(*one, name) for name in root.names(one)]
