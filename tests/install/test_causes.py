"""Whatever ends or reverses an installation is named: the path, and what the system said."""

import errno
import os
from collections.abc import Callable

import pytest

from spkg.errors import FailedError, UnsafeError
from spkg.install.root import Parts, Root, shown, split
from spkg.install.transaction import JOURNAL, TXN, RecoveryOutcome
from tests.install.test_crashes import SCENARIOS, Killed, restore
from tests.support.simulated_file_system import Simulation

FIRST = SCENARIOS[0]
NEW = split("/new")


def failing(
    root: Simulation,
    *hindered: tuple[str, Parts],
    when: Callable[[Root], bool],
    error: BaseException | None = None,
) -> None:
    """Let operations fail as on a broken disk, or in another way, from when something is so."""

    def tap(name: str, path: Parts = ()) -> None:
        if (name, path) not in hindered:
            return
        root.tap = lambda *_: None
        begun = when(root)
        root.tap = tap
        if begun:
            raise error or OSError(errno.EIO, os.strerror(errno.EIO), shown(path))

    root.tap = tap


def journalled(root: Root) -> bool:
    return root.status(JOURNAL) is not None


def test_what_undid_an_installation_is_named() -> None:
    root = FIRST.start()
    failing(root, ("rename", NEW), when=journalled)

    with pytest.raises(FailedError) as caught:
        FIRST.carry_out(root)

    wanted = "the changes could not be completed and were undone: /new: input/output error"
    assert str(caught.value) == wanted


def test_what_undid_an_interrupted_installation_is_named() -> None:
    root = FIRST.start()
    failing(root, ("rename", NEW), when=journalled, error=Killed())
    with pytest.raises(Killed):
        FIRST.carry_out(root)
    failing(root, ("rename", NEW), when=journalled)

    settled = restore(root)

    assert (settled.outcome, settled.cause) == (RecoveryOutcome.UNDONE, "/new: input/output error")


def test_why_an_installation_was_given_up_is_not_hidden_by_what_could_not_be_cleared_away() -> None:
    root = FIRST.start()
    failing(root, ("fsync", TXN), ("unlink", JOURNAL), when=journalled)

    with pytest.raises(UnsafeError) as caught:
        FIRST.carry_out(root)

    assert str(caught.value) == (
        "it is unknown whether the changes will be made: "
        "/.spkg/txn: input/output error; then /.spkg/txn/journal: input/output error"
    )
