"""What is done on a system that lacks some calls, as one that is no Unix."""

import os
from pathlib import Path

import pytest

from spkg.common import portable


def test_without_pread_the_position_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    monkeypatch.delattr(os, "pread")

    with (tmp_path / "file").open("rb") as file:
        os.lseek(file.fileno(), 3, os.SEEK_SET)

        assert portable.read_at(file.fileno(), 4, 5) == b"5678"
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 3


def test_without_statvfs_the_room_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "statvfs")

    assert portable.free_room(tmp_path) is None


def test_without_modes_users_and_locks_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fchown", "sync"):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(portable, "LOCKS", False)

    with (tmp_path / "file").open("wb") as file:
        portable.own(file.fileno(), 1, 1)
        portable.sync_all()
        assert portable.lock(file.fileno())
