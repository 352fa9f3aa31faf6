"""The keeper as a process, and what it may do in the directory of a test."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from spkg.agent.keeper import keeper_channel, serve_keeper
from spkg.agent.keeper_client import KeeperClient, TransferNews
from spkg.agent.keeper_settings import InstallTarget, KeeperSettings
from spkg.common.child_process import fork
from tests.support.commands import PATIENCE, PROGRAM
from tests.support.package_files import TRUST

__all__ = ["ENVIRONMENT", "START", "keeper_config", "keeping", "over", "start_keeper"]

ENVIRONMENT: Final = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
START: Final = "2026-11-29T12:00:00Z"


def keeper_config(**changes: Any) -> KeeperSettings:
    """Return settings for a root and a trusted certificate in this directory."""
    Path("keeper").mkdir(exist_ok=True)
    target = InstallTarget(root=Path("root"), options=tuple(TRUST))
    settings = KeeperSettings(
        program=PROGRAM,
        directory=Path("keeper"),
        environment=ENVIRONMENT,
        targets=dict.fromkeys("123X", target),
    )
    return replace(settings, **changes)


def start_keeper(settings: KeeperSettings) -> tuple[KeeperClient, int]:
    """Start a keeper; return who talks to it, and its process."""
    theirs, ours = keeper_channel()
    pid = fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            serve_keeper(
                theirs, settings, clock=time.monotonic, timestamp=lambda: START, sleep=lambda _: None
            )
            status = 0
        except BaseException as exc:  # noqa: BLE001 - it is told, and the process ends
            print(f"the keeper: {exc!r}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    theirs.close()
    return KeeperClient(ours), pid


@contextmanager
def keeping(settings: KeeperSettings) -> Iterator[KeeperClient]:
    """Give who talks to a keeper, which ends well."""
    client, pid = start_keeper(settings)
    try:
        yield client
    finally:
        client.close()
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert ended == 0


def over(client: KeeperClient) -> TransferNews:
    """Wait for the end of a transfer."""
    deadline = time.monotonic() + PATIENCE
    while (news := client.transfer_result()).is_running:
        assert time.monotonic() < deadline, "the transfer never ended"
        time.sleep(0.02)
    return news
