"""What the root is made of: system calls that may be missing, new files that can't be written, journals."""

import ctypes
import errno
import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from spkg.format.installation_state import InstallationState
from spkg.install import system_calls
from spkg.install.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint, save_checkpoint
from spkg.install.journal import decode_journal
from spkg.install.new_file import NewFile
from spkg.install.own_directory import working_in
from spkg.install.recovery import settle_root
from spkg.install.root import Root
from spkg.install.status import RootState, root_state
from spkg.install.transaction import RecoveryOutcome


@pytest.fixture
def descriptor(tmp_path: Path) -> Any:
    opened = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


class Library:
    """A library of C with some functions only, each of which fails with one error."""

    def __init__(self, number: int, *names: str) -> None:
        for name in names:
            setattr(self, name, self._fail)
        self._number = number

    def _fail(self, *_: Any) -> int:
        ctypes.set_errno(self._number)
        return -1


@pytest.mark.parametrize("library", [Library(0), *(Library(one, "renameat2") for one in (22, 38, 95))])
def test_names_that_the_system_can_not_exchange_stay(
    library: Library, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_calls, "_libc", library)

    assert not system_calls.exchange_names(descriptor, b"a", descriptor, b"b")


def test_names_are_exchanged_at_once(tmp_path: Path, descriptor: int) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")

    assert system_calls.exchange_names(descriptor, b"a", descriptor, b"b")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"2", b"1")


def test_a_name_that_does_not_exist_is_not_exchanged(descriptor: int) -> None:
    with pytest.raises(FileNotFoundError):
        system_calls.exchange_names(descriptor, b"a", descriptor, b"b")


def test_the_type_of_a_file_system_that_does_not_tell_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_calls, "_libc", Library(errno.EIO, "fstatfs"))

    assert system_calls.file_system_type(0) == 0


def test_without_statx_the_mount_is_read_or_the_device_counts(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = system_calls.mount_of(descriptor)
    monkeypatch.setattr(system_calls, "_libc", Library(errno.ENOSYS))

    assert system_calls.mount_of(descriptor) == told
    monkeypatch.setattr("builtins.open", _absent)
    assert system_calls.mount_of(descriptor) == os.fstat(descriptor).st_dev


def _absent(*_: Any) -> Any:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


WORK: dict[str, Callable[[NewFile], object]] = {
    "write": lambda file: file.write(b"x"),
    "set_mode": lambda file: file.set_mode(0o644, None),
    "rewrite": lambda file: file.rewrite(b"x"),
    "read": lambda file: list(file.read()),
    "sync": lambda file: file.sync(),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_what_can_not_be_done_with_a_file_is_told_with_its_path(
    work: Callable[[NewFile], object],
) -> None:
    path_only = os.open("/", os.O_PATH)
    file = NewFile(path_only, (b"bin", b"app"))

    with pytest.raises(OSError, match="/bin/app") as caught:
        work(file)

    file.close()
    assert (caught.value.errno, caught.value.filename) == (errno.EBADF, "/bin/app")


def journal(document: Any) -> bytes:
    body = json.dumps(document).encode()
    return body + b"\n" + sha256(body).hexdigest().encode() + b"\n"


STEP: dict[str, Any] = {"number": 0, "verb": "put", "path": "/a", "before": "nothing"}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "the journal was not written by spkg"),
        ({"steps": []}, "the journal was not written by spkg"),
        ({"format": 0, "steps": []}, "expected journal format 1, got 0"),
        ({"format": 1, "steps": [STEP | {"path": "/a/../b"}]}, "the journal has the invalid path '/a/../b'"),
        ({"format": 1, "steps": [STEP | {"number": "0"}]}, "expected the number of a step, got '0'"),
        ({"format": 1, "steps": [STEP | {"number": -1}]}, "expected the number of a step, got -1"),
        ({"format": 1, "steps": [STEP | {"number": True}]}, "expected the number of a step, got True"),
        ({"format": 1, "steps": [STEP | {"number": 1e999}]}, "expected the number of a step, got inf"),
        ({"format": 1, "steps": [STEP | {"path": "/"}]}, "the journal has the invalid path '/'"),
    ],
)
def test_a_journal_of_another_writer_is_refused(document: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}$"):
        decode_journal(journal(document))


def test_a_damaged_journal_is_set_aside_only_for_a_rescue(tmp_path: Path) -> None:
    (tmp_path / ".spkg/txn").mkdir(parents=True)
    (tmp_path / ".spkg").chmod(0o700)
    (tmp_path / ".spkg/txn/journal").write_bytes(b"rubbish")

    with Root(tmp_path) as root, working_in(root):
        settled = settle_root(root, rescuing=True)
        state, _ = root_state(root)

    assert (settled.outcome, state) == (RecoveryOutcome.NOTHING, RootState.UNSAFE)
    assert [(one.code, one.path) for one in settled.warnings] == [("damaged-journal", "/.spkg/txn/journal")]
    assert (tmp_path / ".spkg/txn.damaged/journal").read_bytes() == b"rubbish"


def test_a_directory_in_the_place_of_a_checkpoint_gives_way(tmp_path: Path) -> None:
    (tmp_path / ".spkg/checkpoint/sub").mkdir(parents=True)
    checkpoint = Checkpoint(package="0" * 64, command=3, state=InstallationState.RECOVERABLE)

    with Root(tmp_path) as root:
        save_checkpoint(root, checkpoint)

        assert load_checkpoint(root) == checkpoint
        assert root.names(CHECKPOINT[:1]) == [b"checkpoint", b"checkpoint.spare"]
