"""``spkg agent fleet``: options, the report for people and for programs, several processes, signals."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.agent.fleet_kit import downloading
from tests.support.acs import Answer, Post, ScriptedAcs, answers, inform_response, request, session
from tests.support.commands import PATIENCE, PROGRAM, run
from tests.support.fake_servers import Script, serving
from tests.support.null_acs import QUESTION

RATE = (
    "spkg: error: --rate: 10 devices can't have 20 sessions a second\n"
    "spkg: hint: a device informs every 2 s at most: use --count 40 or more\n"
)
FILES = (
    "spkg: error: 100 connections at once need 164 open files, and 99 are allowed\n"
    "spkg: hint: use a smaller --at-once, or raise the limit: ulimit -n\n"
)
KEYS = {
    "schema",
    "acs",
    "devices",
    "interval",
    "wanted_rate",
    "elapsed",
    "rate",
    "sessions",
    "failed",
    "unfinished",
    "posts",
    "connections",
    "downloaded_bytes",
    "seconds",
    "calls",
    "faults",
    "failures",
    "transfers",
    "workers",
    "cpu_seconds_per_session",
    "generator_limited",
}


@pytest.fixture
def at_once(tmp_path: Path) -> Path:
    """A profile whose devices are switched on in the same moment."""
    (path := tmp_path / "fleet.toml").write_text('[inform]\nstart = "at-once"\n[acs]\ntimeout = 5\n')
    return path


def documented(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    result = run("agent", "fleet", *arguments, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_the_report_is_one_document(at_once: Path) -> None:
    with ScriptedAcs(session(QUESTION, repeats=True)) as acs:
        status, found = documented(
            *("--acs", acs.url, "--count", "5", "--sessions", "5"),
            *("--profile", at_once, "--at-once", "1"),  # the server knows one session at a time
        )

    assert status == 0
    assert found.keys() == KEYS
    assert (found["schema"], found["acs"], found["devices"]) == ("spkg.agent.fleet/1", acs.url, 5)
    assert (found["sessions"], found["failed"], found["posts"]) == (5, 0, 15)
    assert (found["interval"], found["wanted_rate"]) == (300.0, None)
    assert found["elapsed"] == pytest.approx(5 / found["rate"], abs=0.001)
    assert found["calls"] == {"GetParameterValues": 5}
    (worker,) = found["workers"]
    assert worker["memory_bytes"] > 1 << 20
    assert found["cpu_seconds_per_session"] > 0


def test_the_report_is_for_people_without_json(at_once: Path) -> None:
    plan = answers(inform_response(), request("Nonsense"), Answer(), Answer(status=503, body=b"later"))
    with ScriptedAcs(plan) as acs:
        result = run(
            *("agent", "fleet", "--acs", acs.url, "--count", "2", "--sessions", "2"),
            *("--profile", at_once, "--at-once", "1"),
        )

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"2 devices, {acs.url}"
    assert lines[1].startswith("1 session in ")
    assert lines[1].endswith(" a second; 1 failed, 0 unfinished")
    assert lines[2].split() == ["p50", "p90", "p99", "max"]
    assert [line[:18].strip() for line in lines[3:7]] == [
        "session",
        "Inform to response",
        "connect",
        "begun late by",
    ]
    assert lines[7] == (
        f"failed, http: 1, such as: {acs.url}: expected HTTP status 200 or 204, got 503 later"
    )
    assert lines[8:10] == ["calls of the ACS: other 1", "faults of devices: 9000 1"]
    assert lines[10].startswith("this program: 1 process, ")


def test_several_processes_share_the_devices(at_once: Path) -> None:
    with ScriptedAcs(session(repeats=True)) as acs:
        status, found = documented(
            *("--acs", acs.url, "--count", "9", "--sessions", "9", "--jobs", "2", "--profile", at_once)
        )

    assert status == 0
    assert (found["sessions"], len(found["workers"])) == (9, 2)
    serials = sorted(one.text("SerialNumber") or "" for one in acs.informs)
    assert serials == [f"SIM{number:08}" for number in range(1, 10)]


def test_the_exit_status_is_8_if_no_session_came_through(at_once: Path) -> None:
    arguments = ("--acs", "http://127.0.0.1:1/", "--count", "1", "--sessions", "1", "--profile", at_once)
    words = "no session came through: http://127.0.0.1:1/: connection refused"

    result = run("agent", "fleet", *arguments)
    status, found = documented(*arguments)

    assert (result.exit_code, status) == (8, 8)
    assert result.stderr == f"spkg: error: {words}\n"
    assert found["failures"] == {"connect": {"count": 1, "first": "http://127.0.0.1:1/: connection refused"}}
    assert (found["exit"], found["message"]) == (8, words)


def test_a_rate_makes_the_interval() -> None:
    with ScriptedAcs(session(repeats=True)) as acs:
        _, found = documented("--acs", acs.url, "--count", "20", "--rate", "10", "--duration", "1")

    assert (found["interval"], found["wanted_rate"]) == (2.0, 10.0)
    assert 1 <= found["sessions"] <= 15


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (
            ("--count", "10", "--rate", "20"),
            2,
            RATE,
        ),
        (
            ("--count", "1", "--jobs", "2"),
            2,
            "spkg: error: --jobs: 1 device can't be simulated by 2 processes\n",
        ),
        (
            ("--count", "1", "--profile", "missing.toml"),
            9,
            "spkg: error: missing.toml: no such file or directory\n",
        ),
        (
            ("--count", "1", "--trust", "missing.pem"),
            9,
            "spkg: error: missing.pem: no such file or directory\n",
        ),
    ],
)
def test_what_can_not_be_is_refused(
    arguments: tuple[str, ...], status: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = run("agent", "fleet", "--acs", "http://127.0.0.1:1/", *arguments)

    assert (result.exit_code, result.stderr, result.stdout) == (status, words, "")


def test_a_host_without_an_address_ends_it_at_once() -> None:
    result = run("agent", "fleet", "--acs", "http://nowhere.invalid/", "--count", "1")

    assert result.exit_code == 8
    assert result.stderr == "spkg: error: http://nowhere.invalid/: the host name can't be resolved\n"


@pytest.mark.parametrize(
    ("limit", "status", "words"),
    [
        ("-n 200", 0, ""),
        ("-S -n 200", 0, ""),
        (
            "-n 99",
            9,
            FILES,
        ),
        ("-S -n 99", 0, ""),
    ],
)
def test_open_files_are_allowed_as_far_as_the_system_does(
    limit: str, status: int, words: str, at_once: Path
) -> None:
    with ScriptedAcs(session(repeats=True)) as acs:
        command = [*PROGRAM, "agent", "fleet", "--acs", acs.url, "--count", "1", "--sessions", "1"]
        command += ["--at-once", "100"]
        done = subprocess.run(
            ["sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *command, "--profile", str(at_once)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    assert (done.returncode, done.stderr) == (status, words)


def test_packages_are_verified_with_whom_is_trusted(tmp_path: Path, at_once: Path) -> None:
    for name in ("good", "other"):
        assert run("keygen", tmp_path / name).exit_code == 0
    (tmp_path / "motd").write_text("hello")
    (tmp_path / "p.toml").write_text('[[step]]\nextract = "/motd"\nfrom = "motd"\n')
    keys = ("--key", tmp_path / "good" / "signer.key", "--cert", tmp_path / "good" / "signer.pem")
    assert run("build", tmp_path / "p.toml", "-o", tmp_path / "p.spkg", *keys).exit_code == 0

    found: list[dict[str, int]] = []
    with serving(Script(octets=(tmp_path / "p.spkg").read_bytes())) as url:
        for name in ("good", "other"):
            with ScriptedAcs(downloading(f"{url}/p.spkg")) as acs:
                _, document = documented(
                    *("--acs", acs.url, "--count", "1", "--sessions", "2", "--profile", at_once),
                    *("--trust", tmp_path / name / "ca.pem"),
                )
            found.append(document["transfers"])

    assert found == [{"0": 1}, {"9010": 1}]


def test_a_generator_that_is_late_says_so(at_once: Path) -> None:
    def plan(post: Post) -> Answer:
        return Answer(body=inform_response(post.id), pause=0.6) if post.method == "Inform" else Answer()

    with ScriptedAcs(plan) as acs:
        result = run(
            *("agent", "fleet", "--acs", acs.url, "--count", "3", "--sessions", "3"),
            *("--profile", at_once, "--at-once", "1"),
        )

    assert result.exit_code == 0
    assert result.stderr == (
        "spkg: warning: the load generator may be the limit: "
        "use more --jobs, a larger --at-once, or another host\n"
    )


@pytest.mark.parametrize("url", ["ftp://a/", "http://u:p@a/", "a"])
def test_the_url_has_to_be_one_of_an_acs(url: str) -> None:
    result = run("agent", "fleet", "--acs", url, "--count", "1")

    assert result.exit_code == 8
    assert result.stderr.startswith("spkg: error: the URL of the ACS: ")


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_report(jobs: str, number: int, at_once: Path) -> None:
    with ScriptedAcs(session(repeats=True)) as acs:
        command = [*PROGRAM, "agent", "fleet", "--acs", acs.url, "--count", "6", "--jobs", jobs]
        started = subprocess.Popen(
            [*command, "--profile", str(at_once), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        acs.wait(lambda acs: len(acs.posts) == 12)
        time.sleep(0.2)

        started.send_signal(number)
        stdout, stderr = started.communicate(timeout=PATIENCE)

    assert (started.returncode, stderr) == (0, "")
    found = json.loads(stdout)
    assert (found["sessions"], found["unfinished"], len(found["workers"])) == (6, 0, int(jobs))


def test_a_process_that_is_killed_is_told(at_once: Path) -> None:
    with ScriptedAcs(session(repeats=True)) as acs:
        command = [*PROGRAM, "agent", "fleet", "--acs", acs.url, "--count", "4", "--jobs", "2"]
        started = subprocess.Popen(
            [*command, "--profile", str(at_once)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        acs.wait(lambda acs: len(acs.posts) == 8)
        children = Path(f"/proc/{started.pid}/task")
        processes = [one for task in children.iterdir() for one in (task / "children").read_text().split()]
        assert len(processes) == 2

        subprocess.run(["kill", "-KILL", processes[0]], check=True)
        stdout, stderr = started.communicate(timeout=PATIENCE)

    assert (started.returncode, stdout) == (6, "")
    assert stderr == "spkg: error: a process of the fleet was ended by signal 9 (SIGKILL)\n"
