"""Two processes: the keeper, which has the rights, and the one that talks, which gives them up."""

import fcntl
import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spkg.agent.keeper import keeper_channel, serve_keeper
from spkg.agent.keeper_client import KeeperClient
from spkg.agent.keeper_settings import keeper_settings
from spkg.agent.rights import Rights, give_up_rights, prepare_directories, talker_of
from spkg.agent.secret_files import read_password_file
from spkg.agent.settings import AgentConfig
from spkg.agent.tree.names import ACS_PASSWORD, REQUEST_PASSWORD
from spkg.errors import HostError

__all__ = ["Ended", "passwords_of", "serve"]


Talk = Callable[[KeeperClient, Mapping[str, str], Callable[[], Rights]], int]
"""What the talking process does, given the keeper, the passwords, and what gives its rights up once it has
read all that it needs; returns its exit status."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the talking process has ended."""

    status: int
    reload: bool
    """Whether it was ended to read its configuration again (SIGHUP)."""


def passwords_of(config: AgentConfig) -> dict[str, str]:
    """Return the passwords that files hold, by the names of their parameters.

    Raises:
        HostError: A file can't be used.
    """
    files: dict[str, Path | None] = {
        ACS_PASSWORD: config.acs.password_file,
        REQUEST_PASSWORD: config.listener.password_file,
    }
    return {name: read_password_file(path) for name, path in files.items() if path is not None}


def serve(
    config: AgentConfig,
    talk: Talk,
    *,
    program: tuple[str, ...],
    environment: Mapping[str, str],
    clock: Callable[[], float],
    timestamp: Callable[[], str],
    sleep: Callable[[float], object],
    died: Callable[[BaseException], int],
    may_reload: Callable[[], bool] = lambda: True,
) -> Ended:
    """Run *talk* in a process without rights, and be its keeper until it ends.

    Args:
        config: The configuration.
        talk: What the other process does.
        program: The command that runs ``spkg``.
        environment: What programs find in their environment.
        clock: Returns the time in seconds; it never jumps.
        timestamp: Returns the time as an xs:dateTime.
        sleep: Waits so many seconds.
        died: Reports an error of the other process, in it, and returns its exit status.
        may_reload: Whether the configuration can be read again; where it can't, SIGHUP does nothing.

    Raises:
        HostError: A directory or a password can't be used, or there is no such user.
    """
    passwords = passwords_of(config)
    talker = talker_of(config)
    settings = keeper_settings(
        config,
        program=program,
        directory=prepare_directories(config, talker),
        environment=environment,
        user=talker,
    )
    lock = _only_one(settings.directory)
    ours, theirs = keeper_channel()
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # what both have stays shared: collecting garbage would write to each object
    child = os.fork()
    if child == 0:
        status = 1
        try:
            ours.close()
            os.close(lock)  # or it could be let go, or held for ever, without rights
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)
            status = talk(KeeperClient(theirs), passwords, lambda: give_up_rights(config, talker))
        except BaseException as exc:  # noqa: BLE001 - this process must end here
            status = died(exc)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    theirs.close()
    passwords.clear()
    reload = False

    def pass_on(number: int, _frame: object) -> None:
        nonlocal reload
        if number == signal.SIGHUP:
            if not may_reload():
                return  # in touch as it was configured before is better than not at all
            reload = True
        os.kill(child, signal.SIGTERM)

    before = {
        number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    }
    # A signal that comes just before the keeper begins to wait would be heard after that alone.
    woken, waking = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    woken_before = signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    try:
        serve_keeper(ours, settings, clock=clock, timestamp=timestamp, sleep=sleep, woken=woken)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        signal.set_wakeup_fd(woken_before)
        for descriptor in (lock, woken, waking):
            os.close(descriptor)
        ours.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    if status < 0:
        name = signal.Signals(-status).name
        raise HostError(f"the process that talks to the ACS was ended by {name}")
    return Ended(status=status, reload=reload and status == 0)


def _only_one(directory: Path) -> int:
    """Return a descriptor that keeps other agents with this state from starting as long as it is open.

    Raises:
        HostError: Another one runs.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        raise HostError("another agent is running with this state", hint="stop it first") from exc
    return descriptor
