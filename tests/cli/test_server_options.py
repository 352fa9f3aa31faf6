"""The options of ``fetch`` and ``apply`` that say how to reach a server, and how to log in to it."""

import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.support.commands import run
from tests.support.fake_servers import Script, serving
from tests.support.installation import APPLY, furnish_root, tree
from tests.support.package_files import TRUST
from tests.support.real_servers import HOST, client, put_identity, server, untimely_server, web_root
from tests.support.served_package import NEW, OCTETS

FETCH = ("-o", "out.spkg", *TRUST)
DIGEST = (401, {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}, b"")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with what trusts a package, a root, and headers to send."""
    monkeypatch.chdir(tmp_path)
    furnish_root()
    Path("web.pem").write_bytes(web_root().pem)
    Path("headers").write_text("Authorization: Bearer s3cret\n")
    return tmp_path


@pytest.fixture
def script() -> Script:
    return Script(octets=OCTETS)


@pytest.fixture
def url(script: Script) -> Iterator[str]:
    with serving(script) as place:
        yield f"{place}/p.spkg"


def pipe(octets: bytes) -> int:
    """Return a descriptor from which these octets can be read."""
    reading, writing = os.pipe()
    os.write(writing, octets)
    os.close(writing)
    return reading


def pipes() -> set[int]:
    """Return the inodes of the open pipes: a descriptor may have been used again for something else."""
    return {one.stat().st_ino for one in Path("/proc/self/fd").iterdir() if one.is_fifo()}


@pytest.mark.parametrize("octets", [b"hunter2\nnot this\n", b"hunter2\r\n", b"hunter2"])
def test_a_password_may_come_from_a_descriptor(octets: bytes, url: str, script: Script) -> None:
    script.answers = [DIGEST]
    descriptor = pipe(octets)
    inode = os.fstat(descriptor).st_ino

    result = run("fetch", url, *FETCH, "--username", "bob", "--password-fd", str(descriptor))

    assert (result.exit_code, result.stderr) == (0, "")
    assert 'username="bob"' in script.asked[-1].headers["authorization"]
    assert inode not in pipes()


def test_a_password_from_a_descriptor_is_bounded(url: str, script: Script) -> None:
    result = run("fetch", url, *FETCH, "--username", "bob", "--password-fd", str(pipe(b"x" * 9000)))

    assert result.exit_code == 0
    assert script.asked


@pytest.mark.parametrize(("command", "options"), [("fetch", FETCH), ("apply", APPLY)])
def test_url_and_name_may_come_from_descriptors(
    command: str, options: tuple[str, ...], url: str, script: Script
) -> None:
    script.answers = [DIGEST]
    lines = {"--url-fd": url.encode() + b"\n", "--username-fd": b"-b\xc3\xb6b\n", "--password-fd": b"p\n"}
    opened = {option: str(pipe(line)) for option, line in lines.items()}
    inodes = {os.fstat(int(descriptor)).st_ino for descriptor in opened.values()}
    assert inodes <= pipes()

    result = run(command, *options, *(word for one in opened.items() for word in one))

    assert (result.exit_code, result.stderr) == (0, "")
    assert "username=" in script.asked[-1].headers["authorization"]
    assert inodes.isdisjoint(pipes())


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"p.spkg\n", "expected a URL"),
        (b"", "expected a URL"),
        (b"http://h/\xff\n", "not UTF-8: invalid start byte"),
        (b"http://h/" + b"p" * 9000, "expected a line of less than 4096 bytes"),
    ],
)
def test_what_is_not_a_url_at_a_descriptor_is_2(octets: bytes, problem: str) -> None:
    descriptor = pipe(octets)

    result = run("apply", *APPLY, "--url-fd", str(descriptor))

    assert (result.exit_code, result.stderr) == (2, f"spkg: error: --url-fd {descriptor}: {problem}\n")


def test_credentials_in_a_url_of_a_descriptor_are_refused() -> None:
    result = run("apply", *APPLY, "--url-fd", str(pipe(b"http://bob:hunter2@h/p\n")))

    assert result.exit_code == 2
    assert "hunter2" not in result.output


def test_a_source_and_a_descriptor_for_it_are_2() -> None:
    result = run("apply", "p.spkg", *APPLY, "--url-fd", "0")

    assert (result.exit_code, result.stderr) == (
        2,
        "spkg: error: SOURCE and --url-fd are mutually exclusive\n",
    )


@pytest.mark.parametrize(("command", "name"), [("fetch", "URL"), ("apply", "SOURCE")])
def test_a_source_that_is_missing_is_2(command: str, name: str) -> None:
    result = run(command, *(FETCH if command == "fetch" else APPLY))

    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, f"spkg: error: missing argument '{name}'")


def test_a_descriptor_that_is_not_open_is_9(url: str, script: Script) -> None:
    result = run("fetch", url, *FETCH, "--username", "bob", "--password-fd", "987")

    assert (result.exit_code, script.asked) == (9, [])
    assert result.stderr == "spkg: error: --password-fd 987: bad file descriptor\n"


def test_headers_of_a_file_are_sent_and_shown_nowhere(url: str, script: Script) -> None:
    script.answers = [(401, {}, b"")]

    refused = run("apply", url, *APPLY, "--header-file", "headers", "--json")
    applied = run("apply", url, *APPLY, "--header-file", "headers")

    assert json.loads(refused.stdout)["reason"] == "login"
    assert (applied.exit_code, tree()) == (0, NEW)
    assert [one.headers["authorization"] for one in script.asked] == ["Bearer s3cret"] * 2
    assert "s3cret" not in refused.output + applied.output


def test_a_file_of_headers_that_is_malformed_is_3(url: str, script: Script) -> None:
    Path("headers").write_text("Authorization: Bearer s3cret\nX\n")

    result = run("fetch", url, *FETCH, "--header-file", "headers")

    assert (result.exit_code, script.asked) == (3, [])
    assert result.stderr == (
        "spkg: error: headers: line 2: expected 'Name: value' in printable ASCII characters, "
        "at most 8192 bytes\n"
    )


@pytest.mark.parametrize(
    ("source", "options", "problem"),
    [
        ("ftp://h/p", ("--proxy", "http://h"), "--proxy needs a URL of http or https, not ftp"),
        (
            "http://h/p",
            ("--proxy", "https://h"),
            "--proxy takes a URL of http, such as http://proxy.example:3128",
        ),
        (
            "http://h/p",
            ("--proxy", "http://bob:hunter2@h"),
            "the URL of a proxy must not carry credentials: other users can see it",
        ),
        ("ftp://h/p", ("--header-file", "headers"), "--header-file needs a URL of http or https, not ftp"),
        ("http://h/p", ("--client-key", "web.pem"), "--client-key needs --client-cert"),
        ("http://h/p", ("--client-cert", "x"), "--client-cert needs a URL of https or ftps, not http"),
        (
            "http://h/p",
            ("--username", "b", "--password-file", "headers", "--password-fd", "0"),
            "--password-file and --password-fd are mutually exclusive",
        ),
        ("http://h/p", ("--password-fd", "0"), "a password needs --username"),
        (
            "http://h/p",
            ("--username", "b", "--username-fd", "0"),
            "--username and --username-fd are mutually exclusive",
        ),
        ("-", ("--username-fd", "0"), "standard input can't be both the package and the name"),
        (
            "http://h/p",
            ("--username", "b", "--password-file", "headers", "--header-file", "headers"),
            "--username and an Authorization header are mutually exclusive",
        ),
        (
            "-",
            ("--username", "b", "--password-fd", "0"),
            "standard input can't be both the package and the password",
        ),
    ],
)
def test_wrong_usage_is_2(source: str, options: tuple[str, ...], problem: str) -> None:
    result = run("apply", source, *APPLY, *options)

    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == f"spkg: error: {problem}"
    assert "hunter2" not in result.output


def test_a_certificate_is_shown_with_a_key_that_is_encrypted(script: Script) -> None:
    who = client("gateway")
    Path("client.pem").write_bytes(who.pem)
    secret = BestAvailableEncryption(b"open sesame")
    Path("client.key").write_bytes(who.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    Path("passphrase").write_text("open sesame\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(put_identity(Path("server.pem"), server(HOST)))
    context.load_verify_locations("web.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    shown = ("--ca-bundle", "web.pem", "--client-cert", "client.pem", "--client-key", "client.key")

    with serving(script, context) as plain:
        url = f"{plain.replace('http:', 'https:')}/p.spkg"
        fetched = run("fetch", url, *FETCH, *shown, "--client-key-password-file", "passphrase")
        asked = len(script.asked)
        locked = run("fetch", url, *FETCH, *shown, "--force")

    assert (fetched.exit_code, asked) == (0, 1)
    assert (locked.exit_code, len(script.asked)) == (9, 1)
    assert locked.stderr == (
        "spkg: error: client.key: the key is encrypted\n"
        "spkg: hint: use --client-key-password-env or --client-key-password-file\n"
    )


def test_a_pipe_without_authorities_is_9() -> None:
    bundle = f"/dev/fd/{pipe(b'rubbish')}"

    result = run("fetch", f"https://{HOST}:1/p", *FETCH, "--ca-bundle", bundle)

    assert (result.exit_code, result.stderr) == (9, f"spkg: error: {bundle} has no CA certificates\n")


def test_without_a_clock_the_dates_of_a_server_are_not_checked_either(script: Script) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(put_identity(Path("server.pem"), untimely_server(HOST)))
    trust = ("--trust", "ca.pem", "--ca-bundle", "web.pem")

    with serving(script, context) as plain:
        url = f"{plain.replace('http:', 'https:')}/p.spkg"
        dated = run("fetch", url, "-o", "out.spkg", *trust)
        undated = run("fetch", url, "-o", "out.spkg", *trust, "--no-clock")
        applied = run("apply", url, "--root", "root", *trust, "--no-clock")

    assert dated.exit_code == 8
    assert "the server's certificate is not trusted: certificate is not yet valid" in dated.stderr
    assert (undated.exit_code, applied.exit_code, tree()) == (0, 0, NEW)


@pytest.mark.parametrize("option", ["--header-file", "--client-cert", "--client-key-password-file"])
def test_a_report_overwrites_no_input(option: str, url: str) -> None:
    result = run("apply", url, *APPLY, option, "headers", "--report", "headers")

    assert result.exit_code == 2
    assert f"would overwrite an input ({option})" in result.stderr
    assert Path("headers").read_text() == "Authorization: Bearer s3cret\n"
