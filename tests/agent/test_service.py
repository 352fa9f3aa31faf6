"""What the agent reads from its surroundings: password files, the service manager, the clock."""

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from spkg.agent.clock import EARLIEST, Outside, is_synchronized
from spkg.agent.notify import ServiceManager
from spkg.agent.secret_files import read_password_file
from spkg.agent.settings import VoucherClock
from spkg.common.boots import Boot
from spkg.errors import HostError


def secret(path: Path, octets: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(octets)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"geheim\n", "geheim"),
        (b"geheim", "geheim"),
        (b"ge heim\r\nrest", "ge heim"),
        ("\xfc\n".encode(), "\xfc"),
        (b"", ""),
    ],
)
def test_the_first_line_is_the_password(tmp_path: Path, octets: bytes, expected: str) -> None:
    assert read_password_file(secret(tmp_path / "p", octets)) == expected


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o777])
def test_a_file_that_others_may_use_is_not_read(tmp_path: Path, mode: int) -> None:
    path = secret(tmp_path / "p", b"geheim\n", mode)

    with pytest.raises(HostError) as caught:
        read_password_file(path)

    assert str(caught.value) == f"{path}: others may read or write it (mode {mode:04o}), so it is not used"
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("octets", [b"\xff\n", b"a\x00b\n", b"a\x1bb\n", b"x" * 300])
def test_what_is_no_password_is_refused_without_showing_it(tmp_path: Path, octets: bytes) -> None:
    with pytest.raises(HostError) as caught:
        read_password_file(secret(tmp_path / "p", octets))

    assert "x" * 20 not in str(caught.value)


def test_a_file_that_is_missing_or_none_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)

    for name, problem in (("missing", "no such file"), ("fifo", "not a regular file")):
        with pytest.raises(HostError, match=problem):
            read_password_file(tmp_path / name)


def test_a_service_manager_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        found = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}, 1)

        found.tell("READY=1", "STATUS=in touch")

        assert manager.recv(100) == b"READY=1\nSTATUS=in touch"
    assert found.watchdog_interval == 15


def test_an_abstract_name_is_a_place_to_tell(tmp_path: Path) -> None:
    name = f"spkg-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")

        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}, 1).tell("READY=1")

        assert manager.recv(100) == b"READY=1"


def test_without_a_service_manager_nothing_happens(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "missing")}):
        found = ServiceManager(environment, 1)

        found.tell("READY=1")

        assert (found.watchdog_interval, found.sockets()) == (None, ())


@pytest.mark.parametrize("environment", [{"LISTEN_FDS": "1", "LISTEN_PID": "2"}, {"LISTEN_FDS": "x"}])
def test_sockets_for_another_process_are_not_taken(environment: dict[str, str]) -> None:
    assert ServiceManager(environment, 1).sockets() == ()


def outside(clock: float, *, synchronized: bool = False) -> Outside:
    return Outside(
        clock=lambda: clock,
        boot=lambda: Boot(identity="b", seconds=7.0),
        draw=lambda: 0.5,
        token=lambda: "t",
        synchronized=lambda: synchronized,
    )


def test_a_clock_that_was_never_set_is_no_clock() -> None:
    assert outside(0).wall() is None
    assert outside(EARLIEST.timestamp() - 1).when() is None
    assert outside(EARLIEST.timestamp()).when() == EARLIEST
    assert (outside(0).moment().wall, outside(0).moment().boot) == (None, 7.0)


def test_the_date_of_this_program_is_past() -> None:
    assert datetime.now(UTC) - EARLIEST > timedelta()


@pytest.mark.parametrize(
    ("rule", "synchronized", "expected"),
    [
        (VoucherClock.BUILD_DATE, False, EARLIEST),
        (VoucherClock.NTP, False, None),
        (VoucherClock.NTP, True, EARLIEST),
    ],
)
def test_vouchers_count_only_with_network_time(
    rule: VoucherClock, expected: datetime | None, *, synchronized: bool
) -> None:
    assert outside(EARLIEST.timestamp(), synchronized=synchronized).network_time(rule) == expected


def test_the_kernel_says_whether_the_clock_was_set() -> None:
    assert is_synchronized() in {True, False}
