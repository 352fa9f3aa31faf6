"""Giving up rights: who talks to the ACS keeps its user, its network, and its own directories."""

import os
import pwd
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from spkg.agent.settings import AgentConfig, ProviderKind
from spkg.common.landlock import confine_changes
from spkg.errors import HostError, os_problem

__all__ = ["Rights", "give_up_rights", "prepare_directories", "talker_of"]


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
        HostError: One can't be made, or belongs to somebody else.
    """
    state = config.state.directory
    keeper = state.with_name(f"{state.name}-keeper")
    own = [state] if config.vouchers is None else [state, config.vouchers.store.parent]
    try:
        for directory in (*own, keeper):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if talker is not None:
            for directory in own:
                os.chown(directory, *talker, follow_symlinks=False)
        if keeper.stat().st_uid != os.geteuid() or keeper.is_symlink():
            raise HostError(f"{keeper}: belongs to somebody else", hint="remove it; it is made anew")
        keeper.chmod(0o700)
    except OSError as exc:
        raise HostError(os_problem(exc)) from exc
    return keeper


def give_up_rights(config: AgentConfig, talker: tuple[int, int] | None) -> Rights:
    """Become the user who talks, and leave this process its own directories to change.

    Raises:
        HostError: The system does not let it.
    """
    try:
        if talker is not None:
            os.setgroups([])
            os.setgid(talker[1])
            os.setuid(talker[0])
        opened = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in _writable(config)]
    except OSError as exc:
        raise HostError(os_problem(exc)) from exc
    try:
        confined = confine_changes(*opened) > 0
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return Rights(confined=confined, is_root=os.geteuid() == 0)


def _writable(config: AgentConfig) -> Iterable[Path]:
    """Return the directories in which this process changes files."""
    found = [config.state.directory]
    if config.vouchers is not None:
        found.append(config.vouchers.store.parent)
    files = (one.path for one in config.providers if one.kind is ProviderKind.FILE)
    found += [path.parent for path in files if path is not None]
    return dict.fromkeys(found)
