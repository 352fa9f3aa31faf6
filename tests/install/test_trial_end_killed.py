"""Ending a trial in a process that is killed: the one that waits for it recovers, and says what was done."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

import spkg
from spkg.errors import FailedError
from spkg.install import trial_end
from spkg.install.rollback import confirm_in, roll_back_in
from tests.support.commands import run
from tests.support.installation import APPLY, OLD, RECORDS, furnish_root, tree
from tests.support.kit import CONTENTS, Draft

PACKAGE: Final = Draft(records=RECORDS)
NEW: Final = {"root/bin/app": CONTENTS}
TIME: Final = "2004-05-01T12:00:00Z"


@pytest.fixture(autouse=True)
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory with a root in which a package is on trial."""
    monkeypatch.chdir(tmp_path)
    furnish_root()
    Path("p.spkg").write_bytes(PACKAGE.encode())
    assert run("apply", "p.spkg", *APPLY, "--back-up", "1h").exit_code == 0


def killed(work: Callable[..., Any], *, late: bool) -> Callable[..., Any]:
    """Return something that is killed before it begins, or once it is done."""

    def dying(*given: Any, **named: Any) -> None:
        if late:
            work(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return dying


def test_a_confirmation_that_did_not_come_to_it_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_end, "confirm_in", killed(confirm_in, late=False))

    with pytest.raises(FailedError, match="ended by signal 9") as caught:
        spkg.confirm(Path("root"), when=TIME)

    assert caught.value.hint is not None
    assert spkg.root_status(Path("root")).trial is not None
    assert tree() == NEW


def test_a_confirmation_that_was_done_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_end, "confirm_in", killed(confirm_in, late=True))

    done = spkg.confirm(Path("root"), when=TIME)

    assert done.package is not None
    assert spkg.root_status(Path("root")).trial is None
    assert tree() == NEW


def test_a_roll_back_that_did_not_come_to_it_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_end, "roll_back_in", killed(roll_back_in, late=False))

    with pytest.raises(FailedError, match="ended by signal 9"):
        spkg.rollback(Path("root"), when=TIME)

    assert spkg.root_status(Path("root")).trial is not None
    assert tree() == NEW


def test_a_roll_back_that_was_done_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_end, "roll_back_in", killed(roll_back_in, late=True))

    done = spkg.rollback(Path("root"), when=TIME)

    assert len(done.changes) > 0
    assert spkg.root_status(Path("root")).trial is None
    assert tree() == OLD
