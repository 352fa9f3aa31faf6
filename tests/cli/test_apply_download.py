"""``spkg apply`` with a URL or standard input: what it prints, and the status it ends with."""

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from spkg.download import worker as downloader
from spkg.format.commands import End, InitialActivityTimeout, Remove
from spkg.format.paths import RootPath
from tests.support.commands import PATIENCE, PROGRAM, run
from tests.support.fake_servers import Script, nobody, serving
from tests.support.hooks_kit import noted, on_device, write_device
from tests.support.installation import (
    APPLY,
    OLD,
    events,
    furnish_root,
    started,
    tree,
    wait_for,
    wait_for_octets,
)
from tests.support.kit import CONTENTS, Draft, file
from tests.support.package_files import TRUST
from tests.support.served_package import BIG, FRONT, NEW, OCTETS, RECORDS


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with what trusts a package, and a root; nobody waits long for a server."""
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


def process(*args: str, **settings: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*PROGRAM, *args], capture_output=True, timeout=PATIENCE, check=False, **settings)


def last(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return document


def test_a_package_is_installed_from_its_server(url: str) -> None:
    result = run("apply", url, *APPLY)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "root: installed, 4 changes, reboot required\n"
    assert tree() == NEW


def test_the_events_tell_state_command_and_deadline(url: str) -> None:
    result = run("apply", url, *APPLY, "--json")

    *progress, done = map(json.loads, result.stdout.splitlines())
    assert progress[-1] == {
        "schema": "spkg.apply/1",
        "event": "progress",
        "octets": len(CONTENTS + BIG),
        "total": len(CONTENTS + BIG),
        "state": "installed",
        "command": 5,
        "deadline": None,
    }
    assert (done["status"], done["reason"], done["reboot_required"]) == ("installed", None, True)


@pytest.mark.parametrize("script_of_hook", ["sleep 4.1", "exit 1"])
def test_a_hook_comes_before_the_payload_and_takes_no_time_of_the_transfer(
    url: str, script_of_hook: str
) -> None:
    write_device(before=f'ls root root/.spkg > "$1/root"; {script_of_hook}', after='ls root > "$1/after"')

    result = run("apply", url, *on_device(*APPLY), "--timeout", "4", "--idle-timeout", "4")

    refused = script_of_hook == "exit 1"
    assert (result.exit_code, tree()) == ((5, OLD) if refused else (0, NEW))
    assert "txn" not in noted("root")
    assert (noted("after") is None) == refused


def test_the_deadline_in_force_is_told(url: str, script: Script) -> None:
    script.drip, script.drop = 0.05, 20_000
    result = run("apply", url, *APPLY, "--json", "--timeout", "77", "--idle-timeout", "99")

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    first = lines[0]
    assert first["state"] in {"initial", "recoverable", "installed"}, lines  # on a busy machine it is late
    if first["state"] == "initial":
        assert first["deadline"]["timeout"] == "Initial Timeout"
        assert first["deadline"]["seconds"] == 77
        assert 0 < first["deadline"]["left"] <= 77
    else:
        assert first["deadline"] is None


def test_a_broken_connection_is_told_and_goes_on(url: str, script: Script) -> None:
    script.cuts = [FRONT + 5000]

    result = run("apply", url, *APPLY)

    assert result.exit_code == 0
    assert re.fullmatch(
        rf"spkg: warning: the connection ended after {FRONT + 5000} of {len(OCTETS)} bytes: "
        r"trying again in 0\.0 s\n",
        result.stderr,
    )
    assert script.ranged == [None, f"bytes={FRONT + 5000}-"]
    assert tree() == NEW


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_file_of_another_size_is_a_failed_transfer_too(scheme: str) -> None:
    Path("p.spkg").write_bytes(OCTETS)
    source = f"{scheme}{Path('p.spkg').absolute()}"

    other = run("apply", source, *APPLY, "--size", str(len(OCTETS) + 1), "--json")
    fitting = run("apply", source, *APPLY, "--size", str(len(OCTETS)), "--dry-run")

    document = events(other.stdout)[-1]
    told = f"{Path('p.spkg').absolute()}: expected {len(OCTETS) + 1} bytes, the file has {len(OCTETS)}"
    assert (other.exit_code, document["message"], document["reason"]) == (8, told, "size")
    assert document["fault"]["code"] == 9010
    assert tree() == OLD
    assert fitting.exit_code == 0


@pytest.mark.parametrize(
    ("changes", "options", "status", "code", "reason", "message"),
    [
        ({"answers": [(404, {}, b"")]}, (), 8, 9010, "access", "404 Not Found"),
        (
            {"answers": [(401, {"WWW-Authenticate": "Digest x"}, b"")]},
            (),
            8,
            9012,
            "login",
            "the server requires a login",
        ),
        ({"octets": OCTETS + b"!"}, (), 8, 9010, "size", "its header states"),
        ({}, ("--size", "5"), 8, 9010, "size", "expected 5 bytes"),
        ({"octets": OCTETS[:-1] + b"?"}, (), 4, 9010, "corrupted", "/big: contents do not match"),
        ({"octets": b"GARBAGE!" * 200}, (), 3, 9010, "malformed", "not a signed package"),
        ({"octets": Draft(signers=()).encode()}, (), 4, 9010, "untrusted", "no signature"),
        ({"stalls": [FRONT + 5]}, ("--idle-timeout", "1"), 8, 9010, "timeout", "Activity Timeout of 1 s"),
        ({}, ("--device", "d.toml"), 5, 9001, "refused", "role"),
    ],
)  # fmt: skip
def test_a_failure_is_told_with_its_reason(  # noqa: PLR0917 - a table
    changes: dict[str, Any],
    options: tuple[str, ...],
    status: int,
    code: int,
    reason: str,
    message: str,
    url: str,
    script: Script,
) -> None:
    Path("d.toml").write_text("[install]\nroles = ['web-content']\n")
    if reason == "refused":
        from spkg.format.commands import Role  # noqa: PLC0415

        changes = {"octets": Draft(records=(Role(role=1), *RECORDS), payload=CONTENTS + BIG).encode()}
    for name, value in changes.items():
        setattr(script, name, value)

    result = run("apply", url, *APPLY, *options, "--json", "--report", "r.json", "--command-key", "k")

    document = last(result)
    assert result.exit_code == document["exit"] == status
    assert (document["fault"]["code"], document["reason"], document["command_key"]) == (code, reason, "k")
    assert message in document["fault"]["string"]
    assert len(document["fault"]["string"]) <= 256
    assert json.loads(Path("r.json").read_text()) == document
    assert tree() == OLD
    assert not Path("root/.spkg/txn").exists()


def test_nobody_there_is_8(here: Path) -> None:
    result = run("apply", f"http://127.0.0.1:{nobody()}/p.spkg", *APPLY)

    assert result.exit_code == 8
    assert result.stderr.count("connection refused: trying again in 0.0 s") == 2
    assert result.stderr.endswith("/p.spkg: connection refused\n")


@pytest.mark.parametrize(
    ("source", "options", "problem"),
    [
        ("http://bob:hunter2@127.0.0.1/p", (), "a URL must not carry credentials: other users can see it"),
        (
            "sftp://127.0.0.1/p",
            (),
            "unsupported URL scheme 'sftp': expected one of file, ftp, ftps, http, https, tftp",
        ),
        (
            "http://127.0.0.1/p",
            ("--username", "bob"),
            "--username needs --password-env, --password-file or --password-fd",
        ),
        ("http://127.0.0.1/p", ("--password-env", "PW"), "a password needs --username"),
        (
            "http://127.0.0.1/p",
            ("--username", "b", "--password-env", "PW", "--password-file", "f"),
            "--password-env and --password-file are mutually exclusive",
        ),
        (
            "http://127.0.0.1/p",
            ("--username", "b", "--password-env", "NONE"),
            "the environment variable NONE is not set",
        ),
        (
            "file://elsewhere/p",
            (),
            "a file: URL must name a file on this host, such as file:///tmp/gateway.spkg",
        ),
        ("http://127.0.0.1/p", ("--in-place",), None),
    ],
)
def test_wrong_usage_is_2_before_anything_is_asked(
    source: str, options: tuple[str, ...], problem: str | None, url: str
) -> None:
    target = url if problem is None else source
    result = run("apply", target, *APPLY, *options, env={"PW": "hunter2"})

    assert result.exit_code == 2
    assert "hunter2" not in result.output
    if problem is not None:
        assert result.stderr.splitlines()[0] == f"spkg: error: {problem}"
    else:
        assert "--in-place needs the package in a file" in result.stderr
    assert tree() == OLD


@pytest.mark.parametrize("scheme", ["sftp", "scp", "s3", "HTTPX", "ws"])
def test_a_protocol_that_is_not_supported_is_told_to_programs(scheme: str) -> None:
    result = run("apply", f"{scheme}://127.0.0.1/p", *APPLY, "--json")

    last = json.loads(result.stdout.splitlines()[-1])
    assert (result.exit_code, last["reason"], last["fault"]["code"]) == (2, "scheme", 9002)
    assert last["message"].startswith(f"unsupported URL scheme '{scheme.lower()}': expected one of file,")


@pytest.mark.parametrize("option", ["--ca-bundle", "--password-file"])
def test_what_can_not_be_read_is_9(option: str, url: str) -> None:
    result = run("apply", url, *APPLY, "--username", "b", "--password-env", "PW", option, "none",
                 env={"PW": "x"} if option == "--ca-bundle" else {})  # fmt: skip

    if option == "--password-file":
        result = run("apply", url, *APPLY, "--username", "b", option, "none")
    assert result.exit_code == 9
    assert result.stderr == "spkg: error: none: no such file or directory\n"


def test_a_password_is_shown_nowhere(url: str, script: Script) -> None:
    digest = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'}
    script.answers = [(401, digest, b"")] * 2
    Path("pw").write_text("hunter2\nnot this\n")

    result = run(
        "apply", url + "?token=sesame", *APPLY, "--username", "bob", "--password-file", "pw", "--json"
    )
    record = Path("root/.spkg/installed").read_text() if Path("root/.spkg/installed").exists() else ""

    assert result.exit_code == 8
    assert last(result)["reason"] == "login"
    assert "hunter2" not in result.output + record
    assert "sesame" not in result.output + record
    assert "hunter2" not in str([one.headers for one in script.asked])
    assert "p.spkg?…" in result.stderr


def test_a_file_url_is_a_file(here: Path) -> None:
    Path("a b.spkg").write_bytes(OCTETS)

    result = run("apply", f"file://{here}/a%20b.spkg", *APPLY, "--in-place")

    assert (result.exit_code, tree()) == (0, NEW)


def test_a_dry_run_from_a_server_changes_nothing(url: str) -> None:
    result = run("apply", url, *APPLY, "--dry-run")

    assert result.exit_code == 0
    assert "dry run, 4 changes" in result.stdout
    assert tree() == OLD
    assert not Path("root/.spkg").exists()


# Standard input.


def test_standard_input_is_a_download_that_can_not_go_on(here: Path) -> None:
    done = process("apply", "-", *APPLY, input=OCTETS)
    assert (done.returncode, tree()) == (0, NEW)

    again = process("apply", "-", *APPLY, "--again", input=OCTETS[: FRONT + 9])

    assert again.returncode == 8
    assert again.stderr.decode().endswith(f": the transfer ended after {FRONT + 9} of {len(OCTETS)} bytes\n")


def test_in_place_from_standard_input_what_is_left_is_what_the_state_says(here: Path) -> None:
    unsafe = Draft(
        records=(file("/a", CONTENTS, flags=1), file("/big", BIG, at=len(CONTENTS))), payload=CONTENTS + BIG
    )
    cut = unsafe.encode()[: len(unsafe.front) + len(CONTENTS) + 3]
    Path("d.toml").write_text("[install]\nrecovery-command = ['touch', 'recovered']\n")

    done = process(
        "apply", "-", *APPLY, "--in-place", "--unsafe-streaming", "--device", "d.toml", "--json", input=cut
    )

    document = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, document["status"], document["reason"]) == (7, "unsafe", "incomplete")
    assert document["fault"]["code"] == 9002
    assert Path("recovered").exists()
    assert json.loads(run("status", "--root", "root", "--json").stdout)["state"] == "unsafe"


def test_the_timeouts_of_the_package_hold(here: Path) -> None:
    timed = Draft(records=(InitialActivityTimeout(timeout=1), file("/bin/app"))).encode()
    reading, writing = os.pipe()
    os.write(writing, timed[:-9])

    for command in (("apply", "-", *APPLY, "--json"), ("apply", "-", *APPLY, "--json", "--dry-run")):
        os.write(writing, timed[:-9]) if "--dry-run" in command else None
        done = process(*command, stdin=reading)

        document = json.loads(done.stdout.splitlines()[-1])
        assert (done.returncode, document["reason"]) == (8, "timeout")
        assert "the Initial Activity Timeout of 1 s has passed" in document["message"]
    os.close(reading)
    os.close(writing)


# Signals, and what a power cut leaves.


def of_session(leader: int) -> list[int]:
    """Return the processes of a session that are still there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.part("downloads", turns=True, few=3)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_what_was_staged_before_the_end_is_used_by_the_next(
    number: signal.Signals, url: str, script: Script
) -> None:
    script.stalls = [FRONT + len(CONTENTS) + 70_000]
    running = started("apply", url, *APPLY)
    wait_for_octets("root/.spkg/txn/new/*")
    if number == signal.SIGKILL:
        os.killpg(running.pid, number)
    else:
        running.send_signal(number)
    running.communicate(timeout=PATIENCE)

    deadline = time.monotonic() + PATIENCE
    while of_session(running.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    status = json.loads(run("status", "--root", "root", "--json").stdout)
    recovered = run("recover", "--root", "root")
    script.sent = 0
    done = run("apply", url, *APPLY)

    assert of_session(running.pid) == []
    assert running.returncode == (143 if number == signal.SIGTERM else -9)
    assert status["state"] == "clean"
    assert status["staged"]["octets"] > 0
    assert (recovered.exit_code, recovered.stdout) == (
        0,
        "root: nothing was left to recover; the root is clean\n",
    )
    assert (done.exit_code, tree()) == (0, NEW)


def test_a_signal_while_the_server_says_nothing_ends_it(url: str, script: Script) -> None:
    script.stalls = [10]
    running = started("apply", url, *APPLY, "--json")
    deadline = time.monotonic() + PATIENCE
    while not script.asked and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    running.terminate()
    stdout, stderr = running.communicate(timeout=PATIENCE)

    assert (running.returncode, stderr) == (143, b"spkg: error: terminated\n")
    assert json.loads(stdout.splitlines()[-1])["exit"] == 143


def test_the_result_of_what_a_signal_ended_has_all_keys(url: str, script: Script) -> None:
    script.stalls = [FRONT + 9]
    running = started("apply", url, *APPLY, "--json", "--report", "r.json", "--command-key", "k")
    wait_for_octets("root/.spkg/txn/new/*")
    running.terminate()
    stdout, _ = running.communicate(timeout=PATIENCE)

    document = json.loads(stdout.splitlines()[-1])
    assert running.returncode == document["exit"] == 143
    assert (document["command_key"], document["fault"]["string"]) == ("k", "terminated")
    assert stdout.count(b'"result"') == 1
    assert json.loads(Path("r.json").read_text()) == document


def test_a_killed_parent_leaves_nobody_behind(url: str, script: Script) -> None:
    script.stalls = [FRONT + len(CONTENTS) + 70_000]
    running = started("apply", url, *APPLY)
    wait_for_octets("root/.spkg/txn/new/*")
    running.kill()
    running.wait(PATIENCE)

    deadline = time.monotonic() + PATIENCE
    while of_session(running.pid):
        assert time.monotonic() < deadline, "somebody is left"
        time.sleep(0.02)
    running.communicate()
    assert tree() == OLD


def test_behind_the_last_command_octets_are_not_waited_for_for_ever(here: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, Draft().encode())

    done = process("apply", "-", *APPLY, "--idle-timeout", "1", stdin=reading)
    os.close(reading)
    os.close(writing)

    assert (done.returncode, done.stderr) == (0, b"")
    assert tree() != OLD


def test_what_a_download_lacks_here_is_9(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("empty.pem").write_text("")

    bundle = run("apply", url.replace("http:", "https:"), *APPLY, "--ca-bundle", "empty.pem")
    monkeypatch.setattr("spkg.common.libraries.find_spec", lambda name: None if name == "requests" else name)
    extra = run("apply", "http://127.0.0.1/p", *APPLY)

    assert (bundle.exit_code, extra.exit_code) == (9, 9)
    assert bundle.stderr == "spkg: error: empty.pem has no CA certificates\n"
    assert extra.stderr == (
        "spkg: error: the library requests is needed, but not installed\nspkg: hint: pip install requests\n"
    )


@pytest.mark.parametrize("source", ["http://[x", "file:///%00", "ftp://127.0.0.1/%0a", "http://a..b/p"])
def test_what_is_no_url_is_2(source: str) -> None:
    result = run("apply", source, *APPLY)

    assert result.exit_code == 2


def test_a_name_has_no_control_characters(url: str) -> None:
    result = run("apply", url, *APPLY, "--username", "a\nb", "--password-env", "PW", env={"PW": "x"})

    assert (result.exit_code, result.stderr) == (
        2,
        "spkg: error: --username must not contain control characters\n",
    )


@pytest.mark.parametrize("command", [("fetch", "-o", "out.spkg", *TRUST), ("apply", "--dry-run", *APPLY)])
def test_commands_that_are_not_carried_out_change_no_state(
    command: tuple[str, ...], url: str, script: Script
) -> None:
    first = Remove(path=RootPath.of("/old"))
    script.octets = Draft(records=(first, file("/bin/app")), payload=CONTENTS).encode()
    script.stalls = [len(script.octets) - 3]

    result = run(command[0], url, *command[1:], "--idle-timeout", "1")

    assert result.exit_code == 8
    assert "the Initial Activity Timeout of 1 s has passed" in result.stderr


def test_a_killed_parent_in_the_unrecoverable_state_leaves_what_can_go_on(url: str, script: Script) -> None:
    records = file("/a", CONTENTS, flags=1), file("/big", BIG, at=len(CONTENTS)), End()
    unsafe = Draft(records=records, payload=CONTENTS + BIG)
    script.octets = unsafe.encode()
    script.drip, script.drop = 0.1, 10_000
    in_place = ("--in-place", "--unsafe-streaming")
    running = started("apply", url, *APPLY, *in_place)
    wait_for("root/a")
    running.kill()
    running.wait(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while of_session(running.pid):
        assert time.monotonic() < deadline, "somebody is left"
        time.sleep(0.02)
    running.communicate()

    # There was no way back: the child went on alone, to the end.
    assert run("status", "--root", "root").stdout.startswith("root: clean\n")
    assert tree() == {**OLD, "root/a": CONTENTS, "root/big": BIG}


def test_a_password_has_one_line(url: str) -> None:
    result = run("apply", url, *APPLY, "--username", "b", "--password-env", "PW", env={"PW": "a\r\nX: y"})

    assert (result.exit_code, result.stderr) == (
        2,
        "spkg: error: the password must not contain line breaks or NUL\n",
    )


def test_on_a_terminal_the_state_and_the_time_left_are_drawn(url: str, script: Script) -> None:
    script.drip, script.drop = 0.05, 4096
    leader, follower = pty.openpty()
    running = subprocess.Popen(
        [*PROGRAM, "apply", url, *APPLY, "--timeout", "300"],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "150"},
    )
    os.close(follower)
    drawn = b""
    try:
        while octets := os.read(leader, 65536):
            drawn += octets
    except OSError:
        pass  # the other side is gone
    running.communicate(timeout=PATIENCE)
    os.close(leader)

    assert running.returncode == 0
    assert re.search(rb"initial, \d+ s left", drawn) or b"recoverable" in drawn


def test_a_server_that_is_not_there_is_told_to_the_hook_for_failures() -> None:
    write_device(failed='echo "$SPKG_STATUS,$SPKG_PACKAGE,$SPKG_VERSION" > "$1/failed"; cat > "$1/given"')

    result = run(
        "apply", f"http://127.0.0.1:{nobody()}/p.spkg", *on_device(*APPLY), "--timeout", "1", "--json"
    )

    assert result.exit_code == 8
    assert noted("failed") == "transfer-failed,,\n"
    assert json.loads(noted("given"))["changes"] == []
    assert [one["hook"] for one in last(result)["hooks"]] == ["failed"]
    assert tree() == OLD
