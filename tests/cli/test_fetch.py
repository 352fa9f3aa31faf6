"""``spkg fetch``: a package that is downloaded, and there only if it is trusted."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from spkg.download import worker as downloader
from tests.support.commands import run
from tests.support.fake_servers import Script, serving
from tests.support.installation import furnish_root
from tests.support.kit import Draft
from tests.support.package_files import TRUST
from tests.support.served_package import FRONT, OCTETS


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


def test_a_package_is_fetched_and_verified(url: str, script: Script) -> None:
    script.cuts = [FRONT + 700]
    text = run("fetch", url, "-o", "out.spkg", *TRUST)
    document = run("fetch", url, "-o", "out.spkg", *TRUST, "--force", "--json")

    assert text.exit_code == 0
    assert text.stdout == "out.spkg: 101.4 KiB, 2 files, all as signed by CN=Test Signer\n"
    assert Path("out.spkg").read_bytes() == OCTETS
    assert json.loads(document.stdout) == {
        "schema": "spkg.fetch/1",
        "output": "out.spkg",
        "octets": len(OCTETS),
        "files": 2,
        "signers": ["CN=Test Signer"],
        "warnings": [],
    }


@pytest.mark.parametrize(
    ("octets", "status", "message"),
    [
        (Draft(signers=()).encode(), 4, "the package carries no signature"),
        (OCTETS[:-1] + b"?", 4, "/big: contents do not match the signed SHA-1 digest"),
        (OCTETS[:-1], 8, "its header states"),
        (b"x" * 99, 3, "not a signed package"),
    ],
)
def test_what_is_fetched_wrong_is_not_there(
    octets: bytes, status: int, message: str, url: str, script: Script
) -> None:
    script.octets = octets

    result = run("fetch", url, "-o", "out.spkg", *TRUST)

    assert result.exit_code == status
    assert message in result.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["ca.pem", "root"]


def test_a_web_page_in_place_of_a_package_failed_to_transfer(url: str, script: Script) -> None:
    script.answers = [(200, {"Content-Type": "text/html"}, b"<html>please log in<")] * 2

    fetched = run("fetch", url, "-o", "out.spkg", *TRUST)
    applied = run("apply", url, "--root", "root", *TRUST, "--json")

    problem = f"{url}: the server sent a web page (text/html), not a package"
    hint = "the server, or a portal on the way to it, may require a login"
    assert fetched.exit_code == applied.exit_code == 8
    assert fetched.stderr == f"spkg: error: {problem}\nspkg: hint: {hint}\n"
    document = json.loads(applied.stdout)
    assert (document["status"], document["reason"]) == ("transfer-failed", "access")
    assert document["fault"] == {"code": 9010, "string": problem}
    assert document["hint"] == hint


def test_fetch_wants_a_url_and_overwrites_nothing(url: str, script: Script) -> None:
    Path("there").write_text("there")

    file_, twice = run("fetch", "p.spkg", "-o", "out", *TRUST), run("fetch", url, "-o", "there", *TRUST)

    assert (file_.exit_code, twice.exit_code) == (2, 2)
    assert file_.stderr == "spkg: error: 'p.spkg' is not a URL\nspkg: hint: 'spkg verify' verifies a file\n"
    assert twice.stderr == "spkg: error: there already exists\nspkg: hint: overwrite it with --force\n"
    assert script.asked == []


def test_fetch_says_that_there_was_no_clock(url: str) -> None:
    result = run("fetch", url, "-o", "out.spkg", "--trust", "ca.pem", "--no-clock", "--json")

    assert result.exit_code == 0
    assert "were not checked: there is no clock" in result.stderr
    assert [one["code"] for one in json.loads(result.stdout)["warnings"]] == ["dates-not-checked"]


@pytest.mark.parametrize("name", ["--trust", "--ca-bundle", "--client-cert"])
def test_an_input_is_never_overwritten(name: str) -> None:
    before = Path("ca.pem").read_bytes()
    more = () if name == "--trust" else (name, "ca.pem")

    result = run("fetch", "https://127.0.0.1:9/p", "-o", "ca.pem", "--force", "--trust", "ca.pem", *more)

    assert result.exit_code == 2
    assert result.stderr == "spkg: error: ca.pem: the output would overwrite an input (--trust)\n"
    assert Path("ca.pem").read_bytes() == before


def test_no_descriptor_has_such_a_number() -> None:
    result = run(
        "fetch", "http://127.0.0.1:9/p", "-o", "out", "--trust", "ca.pem", "--password-fd", str(1 << 31)
    )

    assert result.exit_code == 2
