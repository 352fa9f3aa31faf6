"""Giving up rights: who talks to the ACS keeps its user, its network, and its own directories."""

import errno
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from spkg.agent.settings import AgentConfig, ProviderKind
from spkg.common.atomic_output import make_own_directory
from spkg.common.landlock import confine_changes
from spkg.common.portable import free_room
from spkg.errors import HostError, os_problem

__all__ = [
    "Rights",
    "can_change",
    "directory_problems",
    "give_up_rights",
    "prepare_directories",
    "talker_of",
]

MAX_LINKS: Final = 40
"""How many symbolic links one path may lead through, as for the kernel."""


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What a process may do."""

    confined: bool
    """Whether it can change nothing but its own directories (Landlock)."""
    is_root: bool


def talker_of(config: AgentConfig) -> tuple[int, int] | None:
    """Return the user and group that talk to servers; None to stay who this is.

    Raises:
        HostError: There is no such user.
    """
    if os.geteuid() != 0:
        return None
    user = config.state.user
    if user is not None:
        try:
            entry = pwd.getpwnam(user)
        except KeyError as exc:
            raise HostError(f"{config.source}: there is no user {user!r} ([state] user)") from exc
        return entry.pw_uid, entry.pw_gid
    with suppress(FileNotFoundError):
        found = config.state.directory.stat()
        if found.st_uid != 0:
            return found.st_uid, found.st_gid
    return None


def prepare_directories(config: AgentConfig, talker: tuple[int, int] | None) -> Path:
    """Make the directories of state, Options and transfers, and return that of transfers.

    Raises:
        HostError: One can't be made, belongs to somebody else, or would let the one who talks change what
            he must not.
    """
    keeper = _keeper_directory(config, talker)
    try:
        make_own_directory(keeper)
        if keeper.stat().st_uid != os.geteuid() or keeper.is_symlink():
            raise HostError(f"{keeper}: belongs to somebody else", hint="remove it; it is made anew")
        for directory in _own(config):
            _hand_over(directory, talker, _store_files(config, directory))
        if talker is not None:
            for path in _relied_on(config, keeper):
                _check_out_of_reach(path, talker)
        keeper.chmod(0o700)
    except OSError as exc:
        raise HostError(os_problem(exc)) from exc
    return keeper


def directory_problems(config: AgentConfig) -> Iterator[str]:
    """Yield what keeps an agent from starting: its user, its directories, and what that user could change.

    Nothing is made, and nothing is given away.
    """
    try:
        talker = talker_of(config)
        for directory in _own(config):
            yield from _unusable(directory)
        if talker is None:
            return
        for directory in _own(config):
            if directory.is_dir():
                with _free(directory, talker, _store_files(config, directory)):
                    pass
        for path in _relied_on(config, _keeper_directory(config, talker)):
            _check_out_of_reach(path, talker)
    except HostError as exc:
        yield str(exc)
    except OSError as exc:
        yield os_problem(exc)


def give_up_rights(
    config: AgentConfig, talker: tuple[int, int] | None
) -> Rights:  # pragma: no cover - a confined process can't record its coverage
    """Become the user who talks, and leave this process its own directories to change.

    Raises:
        HostError: The system does not let it.
    """
    try:
        if talker is not None:
            os.setgroups([])
            os.setgid(talker[1])
            os.setuid(talker[0])
            for directory in _own(config):
                if can_change(directory.parent, talker) is not None:  # it was not made before
                    make_own_directory(directory)
        opened = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in _writable(config)]
    except OSError as exc:
        raise HostError(os_problem(exc)) from exc
    try:
        confined = confine_changes(*opened) > 0
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return Rights(confined=confined, is_root=os.geteuid() == 0)


def can_change(path: Path, talker: tuple[int, int]) -> Path | None:
    """Return what on the way to a path a user can change, so that it leads elsewhere; None if nothing is.

    Args:
        path: The path; symbolic links are followed. What does not exist counts by its directory.
        talker: The user and group.

    Raises:
        OSError: It can't be followed.
    """
    user, group = talker
    for one in _way(path):
        with suppress(FileNotFoundError, NotADirectoryError):
            found = one.lstat()
            writable = found.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if found.st_gid == group else 0))
            # In a sticky directory nobody replaces what others have made; the mode of a link means nothing.
            safe = stat.S_ISLNK(found.st_mode) or found.st_mode & stat.S_ISVTX
            if found.st_uid == user or (writable and not safe):
                return one
    return None


def _way(path: Path) -> Iterator[Path]:
    """Yield every directory and every symbolic link that decides where a path leads, and its end."""
    root, *names = path.absolute().parts
    here, links = Path(root), 0
    yield here
    while names:
        name = names.pop(0)
        one = here.parent if name == ".." else here / name
        yield one
        if not one.is_symlink():
            here = one
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = one.readlink()
        here = Path(target.anchor) if target.is_absolute() else here
        names = [*(part for part in target.parts if part != target.anchor), *names]


def _hand_over(directory: Path, talker: tuple[int, int] | None, files: frozenset[str]) -> None:
    """Make a directory, and give it to who talks, if nothing of others is in it.

    Args:
        directory: The directory.
        talker: The user and group; None if it stays ours.
        files: The names of what may be in it, and is given away, too.

    Raises:
        HostError: Something is.
        OSError: It can't be made.
    """
    if talker is not None and can_change(directory.parent, talker) is not None:
        return  # whatever lies there may be a link to somewhere else: it is made without our rights
    make_own_directory(directory)
    if talker is None:
        return
    with _free(directory, talker, files) as (descriptor, names):
        if os.fstat(descriptor).st_uid == talker[0]:
            return
        for name in names:
            os.chown(name, *talker, dir_fd=descriptor, follow_symlinks=False)
        os.fchown(descriptor, *talker)


@contextmanager
def _free(
    directory: Path, talker: tuple[int, int], files: frozenset[str]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Open a directory that belongs to who talks, or that can be given to him, with what is to be given.

    Raises:
        HostError: Something of others is in it.
        OSError: It can't be opened.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found: list[tuple[str, os.stat_result]] = []
        if os.fstat(descriptor).st_uid != talker[0]:
            with os.scandir(descriptor) as entries:
                found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        # A file with another name elsewhere is not this directory's alone.
        if any(name not in files or not stat.S_ISREG(one.st_mode) or one.st_nlink > 1 for name, one in found):
            problem = "expected a directory of its own for the user who talks to servers, got one in use"
            hint = "name one that does not exist: it is made, and gets the right owner"
            raise HostError(f"{directory}: {problem}", hint=hint)
        yield descriptor, tuple(name for name, _ in found)
    finally:
        os.close(descriptor)


def _unusable(directory: Path) -> Iterator[str]:
    """Yield why nothing can be written in a directory, or where it is made if it is missing.

    Raises:
        OSError: It can't be seen.
    """
    nearest = next(one for one in (directory, *directory.parents) if os.path.lexists(one))
    if not nearest.is_dir():
        yield f"{nearest}: not a directory"
    elif not os.access(nearest, os.W_OK | os.X_OK):  # also false for root where the file system is read-only
        yield f"{nearest}: can't be written"
    elif free_room(nearest) == 0:
        yield f"{nearest}: no space left on device"


def _check_out_of_reach(path: Path, talker: tuple[int, int]) -> None:
    """Check that nobody who talks to servers can put something else in the place of a file.

    Raises:
        HostError: He can.
    """
    found = can_change(path, talker)
    if found is not None:
        raise HostError(
            f"{path}: the user who talks to servers can change it, because {found} is writable for that user",
            hint="give it to root, and let nobody else write there",
        )


def _relied_on(config: AgentConfig, keeper: Path) -> Iterable[Path]:
    """Return what who talks must not be able to change."""
    return keeper, config.source, config.device.file, *config.install.trust


def _own(config: AgentConfig) -> Iterable[Path]:
    """Return the directories that belong to who talks."""
    store = () if config.vouchers is None else (config.vouchers.store.parent,)
    return sorted({config.state.directory, *store})  # one that holds another comes first


def _keeper_directory(config: AgentConfig, talker: tuple[int, int] | None) -> Path:
    """Return the directory of transfers: beside that of the state, or beside what who talks has around it."""
    state = config.state.directory
    given = () if talker is None else _own(config)
    outermost = next((one for one in given if state.is_relative_to(one)), state)
    return outermost.with_name(f"{outermost.name}-keeper")


def _store_files(config: AgentConfig, directory: Path) -> frozenset[str]:
    """Return the files of the store of Options, if it is in a directory."""
    if config.vouchers is None or config.vouchers.store.parent != directory:
        return frozenset()
    name = config.vouchers.store.name
    return frozenset({name, f"{name}-journal"})


def _writable(config: AgentConfig) -> Iterable[Path]:
    """Return the directories in which this process changes files."""
    files = (one.path for one in config.providers if one.kind is ProviderKind.FILE)
    return dict.fromkeys((*_own(config), *(path.parent for path in files if path is not None)))
