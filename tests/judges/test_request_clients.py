"""curl and wget as the ACS that asks for a connection: their digest, and what they make of each refusal."""

from pathlib import Path
from typing import Final

import pytest

from tests.judges.programs import Outcome, run
from tests.support.listening import PATH, Listening

pytestmark = pytest.mark.part("judges")
LOGIN: Final = "acs:open sesame"
CURL: Final = ("curl", "-q", "--silent", "--max-time", "10", "--noproxy", "*", "-o", "/dev/null")
REPORT: Final = "%{http_code} %{num_connects}"


def curl(url: str, *options: str, where: Path) -> str:
    """Return the last status, and how many connections it took."""
    return run(*CURL, "-w", REPORT, *options, url, cwd=where).text


def wget(url: str, *options: str, where: Path) -> Outcome:
    return run("wget", "--no-config", "--no-proxy", "--tries=1", "-S", "-O", "out", *options, url, cwd=where)


@pytest.mark.judge("curl")
def test_curl_is_let_in_on_one_connection(tmp_path: Path) -> None:  # C1, C5
    with Listening() as listening:
        got = curl(listening.url, "--digest", "-u", LOGIN, where=tmp_path)
        listening.wait(1)

    assert got == "200 1"
    assert listening.notes == []


@pytest.mark.judge("curl")
def test_curl_is_refused_for_each_reason(tmp_path: Path) -> None:
    with Listening() as listening:
        got = [
            curl(listening.url, "--digest", "-u", "acs:other", where=tmp_path),
            curl(listening.url, "--digest", "-u", "other:open sesame", where=tmp_path),
            curl(listening.url, "--basic", "-u", LOGIN, where=tmp_path),
            curl(listening.url, where=tmp_path),
            curl(listening.url.replace(PATH, "/"), "--digest", "-u", LOGIN, where=tmp_path),
            curl(listening.url, "-X", "POST", "-d", "x", "--digest", "-u", LOGIN, where=tmp_path),
            curl(listening.url.replace("http:", "https:"), "-k", where=tmp_path),
        ]

    assert [one.partition(" ")[0] for one in got] == ["401", "401", "401", "401", "404", "405", "000"]
    assert [one.rpartition(": ")[2] for one in listening.notes] == [
        "wrong password",
        "unknown user name",
        "expected digest authentication, got basic",
    ]
    assert listening.accepted == []


@pytest.mark.judge("curl")
def test_curl_is_refused_beyond_the_limit_and_let_in_after_it(tmp_path: Path) -> None:  # C6
    with Listening(per_minute=2) as listening:
        before = [curl(listening.url, "--digest", "-u", LOGIN, where=tmp_path) for _ in range(3)]
        listening.ahead = 61
        after = curl(listening.url, "--digest", "-u", LOGIN, where=tmp_path)

    assert before == ["200 1", "200 1", "503 1"]
    assert after == "200 1"


@pytest.mark.judge("wget")
def test_wget_is_let_in(tmp_path: Path) -> None:
    with Listening() as listening:
        done = wget(listening.url, "--user=acs", "--password=open sesame", where=tmp_path)
        listening.wait(1)

    assert done.status == 0, done.stderr
    assert "HTTP/1.1 200" in done.stderr


@pytest.mark.judge("wget")
def test_wget_is_refused(tmp_path: Path) -> None:
    with Listening() as listening:
        done = wget(listening.url, "--user=acs", "--password=other", where=tmp_path)

    assert done.status == 6, done.stderr  # a login that failed
    assert listening.accepted == []
