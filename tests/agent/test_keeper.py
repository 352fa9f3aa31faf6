"""The keeper: what it does, what it refuses, and what goes on without it."""

import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from spkg.agent.keeper import keeper_channel, serve_keeper
from spkg.agent.keeper_client import KeeperClient
from spkg.agent.keeper_settings import InstallTarget
from spkg.agent.transfer_process import MAX_OUTPUT, TransferProcess
from spkg.download import worker as downloader
from spkg.errors import HostError
from tests.support.commands import PATIENCE
from tests.support.fake_servers import Script, serving
from tests.support.installation import OLD, furnish_root, tree
from tests.support.keeper_kit import ENVIRONMENT, keeper_config, keeping, over, start_keeper
from tests.support.package_files import TRUST
from tests.support.served_package import FRONT, NEW, OCTETS
from tests.support.traced_kills import in_child

DOWNLOAD: dict[str, Any] = {
    "token": "t1",
    "username": "",
    "password": "",
    "size": 0,
    "command_key": "key 1",
    "file_type": "1 Firmware Upgrade Image",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with what trusts a package, and a root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(downloader, "FIRST_PAUSE", 0.01)
    furnish_root()
    return tmp_path


@pytest.fixture
def script() -> Script:
    return Script(octets=OCTETS)


@pytest.fixture
def url(script: Script) -> Iterator[str]:
    with serving(script) as place:
        yield f"{place}/p.spkg"


def transfer_pid() -> int:
    """Return the process of the transfer, once it is noted."""
    deadline = time.monotonic() + PATIENCE
    while True:
        noted = json.loads(Path("keeper/transfer").read_text())
        if noted["group"]:
            return int(noted["group"])
        assert time.monotonic() < deadline, "no transfer was begun"
        time.sleep(0.02)


def test_a_package_is_applied_and_its_record_has_the_command_key(url: str) -> None:
    with keeping(keeper_config()) as keeper:
        keeper.start_apply(**DOWNLOAD, url=url)
        news = over(keeper)
        record = keeper.record("1 Firmware Upgrade Image")

    assert (news.token, news.status) == ("t1", 0)
    assert news.result is not None
    assert (news.result["status"], news.result["reboot_required"]) == ("installed", True)
    assert tree() == NEW
    assert [one["command_key"] for one in record["installed"]] == ["key 1"]
    assert (record["rolled_back"], record["trial"]) == ([], None)


SPY = """#!/bin/sh
printf '%s\\n' "$@" > argv
env > environment
for number in 3 5 6; do
    cat <&$number > lines.$number
done
for word; do
    case $word in --report=*) echo '{"exit": 0, "status": "spied"}' > "${word#--report=}" ;; esac
done
"""


def test_url_name_and_password_are_neither_arguments_nor_variables() -> None:
    Path("spy").write_text(SPY)
    Path("spy").chmod(0o755)

    with keeping(keeper_config(program=("./spy",))) as keeper:
        order = {**DOWNLOAD, "username": "-bob", "password": "open sesame", "size": 7}
        keeper.start_apply(**order, url="http://127.0.0.1/p?token=b")
        news = over(keeper)

    assert news.result is not None
    assert news.result["status"] == "spied"
    lines = [Path(f"lines.{number}").read_text() for number in (3, 5, 6)]
    assert lines == ["open sesame\n", "http://127.0.0.1/p?token=b\n", "-bob\n"]
    for each in ("sesame", "token", "bob"):
        assert each not in Path("environment").read_text()
    assert Path("argv").read_text().splitlines() == [
        "apply",
        "--json",
        "--no-progress",
        "--root=root",
        "--report=keeper/report.json",
        "--command-key=key 1",
        "--size=7",
        "--url-fd=5",
        *TRUST,
        "--username-fd=6",
        "--password-fd=3",
    ]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"url": "/etc/shadow"},
            "unsupported URL scheme '': expected one of file, ftp, ftps, http, https, tftp",
        ),
        ({"url": "ftps://127.0.0.1/p"}, "ftps is not enabled"),
        ({"url": "http://a:b@127.0.0.1/p"}, "a URL must not carry credentials: other users can see it"),
        ({"url": "http://127.0.0.1/" + "p" * 256}, "expected a text of at most 256 characters as url"),
        ({"file_type": "4 Other"}, "no root is configured for this FileType"),
        ({"command_key": "k" * 33}, "expected a text of at most 32 characters as command_key"),
        ({"command_key": "k\0k"}, "expected a text of at most 32 characters as command_key"),
        ({"username": 5}, "expected a text of at most 256 characters as username"),
        ({"size": -1}, "expected a size"),
        ({"size": True}, "expected a size"),
        ({"token": ""}, "expected a token"),
    ],
)
def test_what_can_not_be_meant_is_refused(changes: dict[str, Any], problem: str) -> None:
    order = {**DOWNLOAD, "url": "http://127.0.0.1/p", **changes}

    with keeping(keeper_config()) as keeper, pytest.raises(HostError) as caught:
        keeper.start_apply(**order)

    assert str(caught.value) == problem
    assert not Path("keeper/report.json").exists()


@pytest.mark.parametrize(
    "packet", [b"no JSON", b"[]", b'{"order": 5}', b'{"order": "format"}', b'{"a":1,"a":2}']
)
def test_what_is_no_order_is_refused_and_the_keeper_goes_on(packet: bytes) -> None:
    with keeping(keeper_config()) as keeper:
        keeper._channel.send(packet)
        reply = json.loads(keeper._channel.recv(1 << 16))
        news = keeper.transfer_result()

    assert set(reply["reply"]) == {"problem"}
    assert (news.token, news.is_running) == (None, False)


def test_a_program_that_can_not_be_started_is_told() -> None:
    with keeping(keeper_config(program=("./none",))) as keeper:
        with pytest.raises(HostError, match="no such file or directory"):
            keeper.start_apply(**DOWNLOAD, url="http://127.0.0.1/p")
        news = keeper.transfer_result()

    assert (news.is_running, news.result) == (False, None)


def test_the_transfer_shares_neither_session_nor_pipes_with_the_agent_p24(url: str, script: Script) -> None:
    script.stalls = [FRONT + 5]

    with keeping(keeper_config()) as keeper:
        keeper.start_apply(**DOWNLOAD, url=url)
        process = transfer_pid()
        streams = [str(Path(f"/proc/{process}/fd/{number}").readlink()) for number in range(3)]
        session = os.getsid(process), os.getpgid(process)
        keeper.stop_transfer()
        over(keeper)

    assert session == (process, process)
    assert streams == [
        "/dev/null",
        str(Path("keeper/output").resolve()),
        str(Path("keeper/errors").resolve()),
    ]


def test_a_transfer_that_is_stopped_leaves_the_root_as_before(url: str, script: Script) -> None:
    script.stalls = [FRONT + 5]

    with keeping(keeper_config()) as keeper:
        keeper.start_apply(**DOWNLOAD, url=url)
        wait_for_answer(script)
        with pytest.raises(HostError, match="another transfer is running"):
            keeper.start_apply(**DOWNLOAD, url=url)
        keeper.stop_transfer()
        news = over(keeper)

    assert news.result is not None
    assert (news.status, news.result["exit"]) == (143, 143)
    assert tree() == OLD


def wait_for_answer(script: Script) -> None:
    deadline = time.monotonic() + PATIENCE
    while script.sent < FRONT:
        assert time.monotonic() < deadline, "nothing was asked for"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("octets", "size", "reason"),
    [
        (OCTETS[:-9], 0, "size"),
        (OCTETS[:-1] + b"?", 0, "corrupted"),
        (OCTETS, len(OCTETS) + 1, "size"),
    ],
    ids=["truncated", "damaged", "another size"],
)
def test_a_download_that_is_not_whole_changes_nothing_p25_t5(
    octets: bytes, size: int, reason: str, url: str, script: Script
) -> None:
    script.octets = octets

    with keeping(keeper_config()) as keeper:
        keeper.start_apply(**{**DOWNLOAD, "size": size}, url=url)
        news = over(keeper)

    assert news.result is not None
    assert (news.result["reason"], news.result["fault"]["code"]) == (reason, 9010)
    assert tree() == OLD


def test_a_transfer_outlives_the_keeper_and_the_next_one_knows_its_end(url: str, script: Script) -> None:
    script.drip, script.drop = 0.03, 4000
    client, process = start_keeper(keeper_config())
    client.start_apply(**DOWNLOAD, url=url)
    wait_for_answer(script)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    with pytest.raises(HostError, match="is gone"):
        client.transfer_result()
    assert client.heard() is False
    client.close()

    with keeping(keeper_config()) as keeper:
        assert keeper.transfer_result().is_running
        news = over(keeper)
        deadline = time.monotonic() + PATIENCE
        while not keeper.heard() or time.monotonic() > deadline:
            time.sleep(0.02)

    assert news.result is not None
    assert (news.token, news.status, news.result["status"]) == ("t1", None, "installed")
    assert tree() == NEW


def test_the_end_of_a_transfer_wakes_who_waits_for_it(url: str) -> None:
    with keeping(keeper_config()) as keeper:
        keeper.start_apply(**DOWNLOAD, url=url)
        keeper._channel.settimeout(PATIENCE)
        event = json.loads(keeper._channel.recv(1 << 16))

        assert event == {"event": "ended", "token": "t1"}
        assert keeper.transfer_result().is_running is False


def test_a_report_of_an_earlier_transfer_is_never_taken_for_this_ones(url: str) -> None:
    Path("quiet").write_text("#!/bin/sh\nexit 3\n")
    Path("quiet").chmod(0o755)
    with keeping(keeper_config()) as keeper:
        keeper.start_apply(**DOWNLOAD, url=url)
        over(keeper)

    with keeping(keeper_config(program=("./quiet",))) as keeper:
        keeper.start_apply(**{**DOWNLOAD, "token": "t2"}, url=url)
        news = over(keeper)

    assert (news.token, news.status, news.result) == ("t2", 3, None)


def kill_at(number: int) -> None:
    """Have this process be killed before one of its calls that change files."""
    count = 0

    def counted(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return work(*arguments, **more)

        return run

    for name in ("open", "unlink", "pwrite", "ftruncate", "posix_spawnp"):
        setattr(os, name, counted(getattr(os, name)))


def test_a_report_of_an_earlier_transfer_is_none_of_one_whose_beginning_was_killed(tmp_path: Path) -> None:
    transfer, ends = TransferProcess(tmp_path), list[int]()
    while 0 not in ends:
        (tmp_path / "transfer").write_text(json.dumps({"token": "earlier", "group": None}))
        transfer.report.write_text(json.dumps({"exit": 0}))

        def begin(number: int = len(ends) + 1) -> None:
            kill_at(number)
            TransferProcess(tmp_path).start("new", ("true",), ENVIRONMENT, {})

        ends.append(in_child(begin))
        while (found := transfer.end()) is None:
            time.sleep(0.001)

        assert found.report is None or found.token == "earlier"
    assert {*ends[:-1]} == {-signal.SIGKILL}
    assert len(ends) > 8


def test_the_report_of_an_earlier_transfer_is_gone_for_good_before_another_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer, done = TransferProcess(tmp_path), list[str]()
    transfer.report.write_text("{}")

    def noting(name: str) -> None:
        call = getattr(os, name)

        def noted(*given: Any, **more: Any) -> Any:
            done.append(name)
            return call(*given, **more)

        monkeypatch.setattr(os, name, noted)

    for name in ("unlink", "fsync", "pwrite"):
        noting(name)

    transfer.start("new", ("true",), ENVIRONMENT, {})

    assert done[:3] == ["unlink", "fsync", "pwrite"]
    while transfer.is_running:
        time.sleep(0.01)


def test_the_output_of_a_transfer_is_bounded(tmp_path: Path) -> None:
    transfer = TransferProcess(tmp_path)
    chatter = "while :; do echo a line that is printed again and again >&2; done"
    transfer.start("t", ["sh", "-c", chatter], {"PATH": os.environ["PATH"]}, {})
    largest, seen = 0, 0
    while seen < 3:
        size = (tmp_path / "errors").stat().st_size
        largest = max(largest, size)
        if size > MAX_OUTPUT:
            transfer.shorten()
            seen += 1
    transfer.stop()
    while transfer.is_running:
        time.sleep(0.01)

    transfer.shorten()

    assert largest > MAX_OUTPUT
    assert sum((tmp_path / name).stat().st_size for name in ("errors", "output")) <= MAX_OUTPUT
    ended = transfer.end()
    assert ended is not None
    assert (ended.status, ended.report, len(ended.said) <= 4096) == (-signal.SIGTERM, None, True)


def test_the_last_line_counts_where_the_report_could_not_be_written(tmp_path: Path) -> None:
    transfer = TransferProcess(tmp_path)
    lines = """echo '{"event": "progress"}'; echo '{"event": "result", "exit": 6}'"""
    transfer.start("t", ["sh", "-c", lines], {"PATH": os.environ["PATH"]}, {})
    while transfer.is_running:
        time.sleep(0.01)

    ended = transfer.end()

    assert ended is not None
    assert ended.report == {"event": "result", "exit": 6}


@pytest.mark.parametrize("contents", [b"", b"[]", b"{", b"\xff", b'{"token": 5, "group": "x"}', b"[" * 9999])
def test_a_damaged_note_of_a_transfer_is_none(contents: bytes, tmp_path: Path) -> None:
    (tmp_path / "transfer").write_bytes(contents)
    transfer = TransferProcess(tmp_path)

    transfer.stop()

    assert (transfer.token, transfer.is_running, transfer.end(), transfer.watched()) == (
        None,
        False,
        None,
        None,
    )


def test_whether_there_is_a_trial_is_known_without_a_program() -> None:
    with keeping(keeper_config(program=("/nowhere/spkg",))) as keeper:
        assert keeper.package_on_trial("1 Firmware Upgrade Image") is None


def test_a_trial_is_confirmed_for_its_root_alone(url: str) -> None:
    Path("other/.spkg").mkdir(parents=True)
    Path("other/.spkg/trial").write_text("not to be touched")
    targets = {
        "1": InstallTarget(root=Path("root"), options=(*TRUST, "--back-up=600")),
        "2": InstallTarget(root=Path("other")),
    }
    with keeping(keeper_config(targets=targets)) as keeper:
        keeper.confirm("1 Firmware Upgrade Image")
        keeper.start_apply(**DOWNLOAD, url=url)
        over(keeper)
        on_trial = keeper.record("1 Firmware Upgrade Image")
        assert keeper.package_on_trial("1 Firmware Upgrade Image") == on_trial["trial"]
        keeper.confirm("1 Firmware Upgrade Image")
        after = keeper.record("1 Firmware Upgrade Image")

    assert on_trial["trial"].keys() == {"package", "until", "boots_left"}
    assert on_trial["trial"]["package"] == on_trial["installed"][0]["package"]
    assert after["trial"] is None
    assert not Path("root/.spkg/kept").exists()
    assert Path("other/.spkg/trial").exists()


def test_a_command_of_ours_that_fails_is_told_with_its_words(url: str) -> None:
    Path("root/.spkg").write_text("in the way")

    with keeping(keeper_config()) as keeper:
        with pytest.raises(HostError) as caught:
            keeper.record("1 Firmware Upgrade Image")

    problem = "spkg status ended with status 9: spkg: error: /.spkg/checkpoint: not a directory"
    assert str(caught.value) == problem


def test_the_device_is_rebooted_and_reset_by_the_configured_commands() -> None:
    commands = {"reboot": ("sh", "-c", "echo $$ > rebooting"), "reset": ("sh", "-c", "echo reset > was")}
    with keeping(keeper_config(**commands)) as keeper:
        keeper.reboot()
        keeper.reset()
        deadline = time.monotonic() + PATIENCE
        while not Path("rebooting").exists() or not Path("rebooting").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    assert Path("was").read_text() == "reset\n"


def test_a_reboot_that_fails_is_told() -> None:
    with keeping(keeper_config(reboot=("sh", "-c", "exit 4"), reset=("sh", "-c", "exit 5"))) as keeper:
        keeper.reboot()
        with pytest.raises(HostError, match="sh ended with status 5"):
            keeper.reset()
        deadline = time.monotonic() + PATIENCE
        while not (failed := keeper.failures()):
            assert time.monotonic() < deadline
            time.sleep(0.05)

        again = keeper.failures()

    assert (failed, again) == ((("reboot", 4),), ())


def test_what_is_not_configured_is_refused() -> None:
    with keeping(keeper_config()) as keeper:
        for ask, problem in (
            (keeper.reboot, "no command is configured for reboot"),
            (keeper.reset, "no command is configured for factory-reset"),
            (lambda: keeper.start_provider("x"), "no such provider is configured"),
        ):
            with pytest.raises(HostError) as caught:
                ask()
            assert str(caught.value) == problem


def test_no_program_inherits_what_the_keeper_has_open() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)  # noqa: FBT003 - it has no name
    try:
        with keeping(keeper_config(providers={"look": ("ls", "/proc/self/fd")})) as keeper:
            with keeper.start_provider("look") as provider:
                found = provider.makefile().read().split()
    finally:
        os.close(reading)
        os.close(writing)

    assert found == ["0", "1", "2", "3"]  # the last one is its own, of the directory


def test_a_directory_that_is_gone_is_told_and_leaves_nothing_open() -> None:
    with keeping(keeper_config()) as keeper:
        Path("keeper/output").mkdir()
        with pytest.raises(HostError, match="keeper/output: is a directory"):
            keeper.start_apply(**DOWNLOAD, url="http://127.0.0.1/p")
        Path("keeper/output").rmdir()
        news = keeper.transfer_result()

    assert news.is_running is False  # nobody holds the lock


def test_nobody_fills_the_device_with_providers() -> None:
    with keeping(keeper_config(providers={"cat": ("cat",)})) as keeper, ExitStack() as stack:
        started = [stack.enter_context(keeper.start_provider("cat")) for _ in range(32)]

        with pytest.raises(HostError, match="32 processes of providers run, and at most 32 may"):
            keeper.start_provider("cat")
        started[0].close()
        deadline = time.monotonic() + PATIENCE
        while True:  # its place is free once it has ended
            with suppress(HostError):
                stack.enter_context(keeper.start_provider("cat"))
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_what_one_transfer_was_called_does_not_hide_the_next(url: str) -> None:
    token = "\U0001f600" * 64  # as long as it can be when it is noted

    with keeping(keeper_config()) as keeper:
        news = []
        for one in (token, "t2"):
            keeper.start_apply(**{**DOWNLOAD, "token": one}, url=url)
            news.append(over(keeper).token)

    assert news == [token, "t2"]


def test_a_provider_talks_over_the_socket_that_is_passed_and_ends_with_the_agent() -> None:
    with keeping(keeper_config(providers={"echo": ("sh", "-c", "echo $$; exec cat")})) as keeper:
        with keeper.start_provider("echo") as provider:
            process = int(provider.makefile().readline())
            provider.sendall(b"hello\n")
            answer = provider.recv(100)
            inheritable = os.get_inheritable(provider.fileno())

            assert (answer, inheritable, os.getsid(process)) == (b"hello\n", False, process)
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{process}").exists() and "Z" not in Path(f"/proc/{process}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_several_threads_can_ask_at_once() -> None:
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client = KeeperClient(ours)
    theirs.send(b'{"event": "failed", "name": "provider x", "status": null}')
    theirs.send(b'{"event": "ended", "token": "t"}')

    assert client.heard() is True
    assert client.failures() == (("provider x", None),)
    theirs.close()
    assert client.heard() is False
    client.close()


def test_a_keeper_that_waits_hears_that_a_signal_has_come() -> None:
    theirs, ours = keeper_channel()
    woken, waking = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def keep() -> None:
        serve_keeper(
            theirs, keeper_config(), clock=time.monotonic, timestamp=str, sleep=time.sleep, woken=woken
        )

    keeper = threading.Thread(target=keep)
    keeper.start()
    os.write(waking, bytes([signal.SIGTERM]))

    deadline = time.monotonic() + PATIENCE
    while select.select([woken], [], [], 0)[0]:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    ours.close()
    keeper.join()
    for descriptor in (woken, waking):
        os.close(descriptor)
    theirs.close()
