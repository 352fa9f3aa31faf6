"""Downloads from servers that others wrote, and from one that proves who asks; by the whole program."""

import base64
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from spkg.download.tftp import BLOCK
from spkg.format.commands import End, Remove, Version
from spkg.format.paths import RootPath
from tests.support.kit import AT, CONTENTS, ROOT, Draft, file, root
from tests.support.namespaces import not_judged
from tests.support.real_servers import (
    BEHIND,
    ELSEWHERE,
    HOST,
    PASSWORD,
    PROXY_LOGIN,
    USERNAME,
    Asked,
    Challenge,
    Nginx,
    Vsftpd,
    client,
    digest_server,
    dnsmasq,
    lighttpd,
    nginx,
    openssl_server,
    own_host,
    put_identity,
    relay,
    server,
    tftpd,
    tinyproxy,
    vsftpd,
    web_root,
)

TRUST: Final = ("--trust", "ca.pem", "--at", AT.isoformat())
FETCH: Final = ("-o", "got.spkg", *TRUST)
WEB: Final = ("--ca-bundle", "web.pem")
LOGIN: Final = ("--username", USERNAME, "--password-file", "password")
WRONG: Final = ("--username", USERNAME, "--password-file", "wrong")
PATIENCE: Final = 60
LARGE: Final = random.Random(1).randbytes(1 << 20)
PACKAGE: Final = Draft(
    records=(
        Version(text="6.3"),
        file("/bin/app"),
        file("/lib/large", LARGE, at=len(CONTENTS)),
        Remove(path=RootPath.of("/old")),
        End(),
    ),
    payload=CONTENTS + LARGE,
)
OCTETS: Final = PACKAGE.encode()
FRONT: Final = len(OCTETS) - len(PACKAGE.payload)
"""How many octets the front matter has."""
HALF: Final = len(OCTETS) // 2
OLD: Final = {"old": b"old"}
NEW: Final = {"bin/app": CONTENTS, "lib/large": LARGE}
INSTALLED: Final = "root: installed, 5 changes\n"
FETCHED: Final = "got.spkg: 1.0 MiB, 2 files, all as signed by CN=Test Signer\n"
MISLEADING: Final = {
    **{f"{protocol}_proxy": f"http://{HOST}:1" for protocol in ("http", "https", "ftp", "all")},
    **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), "web.pem"),
    "SSLKEYLOGFILE": "no such directory/keys",
}
"""What the environment says of proxies and of authorities, and is nothing to anybody here."""


class Result(NamedTuple):
    """How the program ended, and what it said."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with a root, what is trusted, and what servers show."""
    monkeypatch.chdir(tmp_path)
    Path("ca.pem").write_bytes(root().pem)
    Path("web.pem").write_bytes(web_root().pem)
    Path("password").write_text(f"{PASSWORD}\nnot this\n")
    Path("wrong").write_text("open barley\n")
    Path("root").mkdir()
    Path("root/old").write_bytes(OLD["old"])
    Path("work").mkdir()
    Path("files").mkdir()
    Path("files/p.spkg").write_bytes(OCTETS)
    return tmp_path


WARM: Final = """
import gc, json, os, sys
import cli
import spkg.install.apply, spkg.report.apply, spkg.report.fetch, spkg.download.fetch, spkg.trust.keys
import spkg.download.client, spkg.download.ftp, spkg.download.tftp, spkg.download.http

gc.freeze()
for line in sys.stdin:
    directory, sys.argv[1:], outputs = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(directory)
        os.environ["HOME"] = directory
        for number, path in enumerate([os.devnull, *outputs]):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
        cli.main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs the program again and again, each time in a child; what takes most of its time is imported once."""


class Program:
    """The whole program, in processes of its own, in an environment that would lead it astray."""

    def __init__(self, outputs: Path, process: subprocess.Popen[str]) -> None:
        self._outputs = [outputs / "stdout", outputs / "stderr"]
        self._process = process

    def apply(self, url: str, *options: str) -> Result:
        """Apply a package to the root of this test."""
        return self._run("apply", url, "--root", "root", *TRUST, *options)

    def fetch(self, url: str, *options: str) -> Result:
        """Fetch a package into the directory of this test."""
        return self._run("fetch", url, *FETCH, *options)

    def start(self, *args: str) -> Result:
        """Run the program as people do, so that nothing is imported that it does not import itself."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "cli.py"), *args],
            env={**os.environ, **MISLEADING},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def _run(self, *args: str) -> Result:
        asking, answering = self._process.stdin, self._process.stdout
        assert asking is not None
        assert answering is not None
        print(json.dumps([str(Path.cwd()), args, list(map(str, self._outputs))]), file=asking, flush=True)
        assert select.select([answering], [], [], PATIENCE)[0], f"{args} hangs"
        status = int(answering.readline())
        return Result(status, *(path.read_text() for path in self._outputs))


@pytest.fixture(scope="module")
def spkg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    process = subprocess.Popen(
        [sys.executable, "-c", WARM],
        env={**os.environ, **MISLEADING, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Program(tmp_path_factory.mktemp("outputs"), process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        with process:
            pass


def tree() -> dict[str, bytes]:
    found = Path("root").rglob("*")
    return {
        str(path.relative_to("root")): path.read_bytes()
        for path in found
        if path.is_file() and ".spkg" not in path.parts
    }


AUTHORITIES: Final = "use --ca-bundle for a private certificate authority"
BROKE: Final = r"spkg: warning: .+: trying again in 0\.[3-7] s\n"
"""The pattern of what is told where a connection broke, once."""
ENDED: Final = (
    rf"spkg: warning: the connection ended after (\d+) of {len(OCTETS)} bytes: trying again in 0\.[3-7] s\n"
)
"""The same where it was no more than ended."""


def assert_installed(result: Result, told: str = "") -> None:
    """Assert that the package was applied; *told* is the pattern of what people are told meanwhile."""
    assert (result.status, result.stdout) == (0, INSTALLED), result.stderr
    assert re.fullmatch(told, result.stderr), result.stderr
    assert tree() == NEW


def assert_fetched(result: Result, told: str = "") -> None:
    """Assert that the package is here octet for octet; *told* is the pattern of what people are told."""
    assert (result.status, result.stdout) == (0, FETCHED), result.stderr
    assert re.fullmatch(told, result.stderr), result.stderr
    assert Path("got.spkg").read_bytes() == OCTETS


def assert_failed(
    result: Result,
    message: str,
    hint: str | None = None,
    *,
    fault: int = 9010,
    reason: str = "access",
    told: str = "",
) -> None:
    """Assert that ``apply --json`` failed to transfer, for the reason that is given, and changed nothing."""
    hints = "" if hint is None else f"spkg: hint: {hint}\n"
    assert result.status == 8, result
    assert re.fullmatch(told + re.escape(f"spkg: error: {message}\n{hints}"), result.stderr), result.stderr
    last: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    said = {key: last[key] for key in ("event", "status", "exit", "message", "hint", "reason", "fault")}
    assert said == {
        "event": "result",
        "status": "transfer-failed",
        "exit": 8,
        "message": message,
        "hint": hint,
        "reason": reason,
        "fault": {"code": fault, "string": message[:256]},
    }
    assert tree() == OLD


def assert_unsafe(result: Result, url: str, problem: str) -> None:
    """Assert that a certificate was refused; how that is put is for the library to say."""
    said: str = json.loads(result.stdout.splitlines()[-1])["message"]
    assert said.startswith(f"{url}: the server's certificate is not trusted: ")
    assert problem in said
    other_host = "not valid for" in problem
    hint = "use a URL with a host name that is in the server's certificate"
    assert_failed(result, said, hint if other_host else AUTHORITIES, reason="contact")


def start_of(asked: Asked) -> int:
    """Return the octet from which on a request asks."""
    found = re.fullmatch(r"bytes=(\d+)-", asked.range)
    assert found is not None, asked
    return int(found[1])


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"{USERNAME}:{password}".encode()).decode()


@pytest.fixture
def web(here: Path) -> Iterator[Nginx]:
    with nginx(here / "files", here / "work") as running:
        yield running


@pytest.mark.judge("nginx")
class TestNginx:
    def test_a_package_is_applied_and_fetched(self, spkg: Program, web: Nginx) -> None:
        url = f"http://{HOST}:{web.plain}/p.spkg"

        assert_installed(spkg.apply(url))
        assert_fetched(spkg.start("fetch", url, *FETCH))
        assert [(one.status, one.range) for one in web.asked(2)] == [(200, ""), (200, "")]

    def test_a_private_authority_that_is_named_is_trusted(self, spkg: Program, web: Nginx) -> None:
        url = f"https://{HOST}:{web.secure}/p.spkg"

        assert_installed(spkg.apply(url, *WEB))
        assert_fetched(spkg.fetch(url, *WEB))
        assert [(one.status, one.port) for one in web.asked(2)] == [(200, web.secure)] * 2

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_what_ended_too_soon_goes_on_where_it_was(self, spkg: Program, web: Nginx, scheme: str) -> None:
        with relay(HOST, web.plain if scheme == "http" else web.secure, after=HALF) as relayed:
            result = spkg.apply(f"{scheme}://{HOST}:{relayed}/p.spkg", *WEB)

        assert_installed(result, ENDED)
        first, second = web.asked(2)
        assert (first.status, first.range, first.condition) == (200, "", "")
        assert second.status == 206
        assert f" ended after {start_of(second)} of " in result.stderr
        assert FRONT < start_of(second) < HALF
        assert re.fullmatch('"[^"]+"', second.condition)

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_what_was_reset_goes_on_where_it_was(self, spkg: Program, web: Nginx, scheme: str) -> None:
        port = web.plain if scheme == "http" else web.secure
        with relay(HOST, port, after=HALF, rudely=True) as relayed:
            result = spkg.fetch(f"{scheme}://{HOST}:{relayed}/p.spkg", *WEB)

        assert_fetched(result, BROKE)
        first, second = web.asked(2)
        assert (first.status, second.status) == (200, 206)
        assert 0 < start_of(second) < HALF

    def test_what_broke_in_the_front_matter_goes_on_too(self, spkg: Program, web: Nginx) -> None:
        with relay(HOST, web.plain, after=1000) as relayed:
            result = spkg.fetch(f"http://{HOST}:{relayed}/p.spkg")

        assert_fetched(result, ENDED)
        first, second = web.asked(2)
        assert (first.status, second.status) == (200, 206)
        assert 0 < start_of(second) < FRONT

    def test_a_break_while_tls_begins_is_no_more_than_a_break(self, spkg: Program, web: Nginx) -> None:
        with relay(HOST, web.secure, after=500) as relayed:
            result = spkg.fetch(f"https://{HOST}:{relayed}/p.spkg", *WEB)

        assert_fetched(result, BROKE)
        assert [one.status for one in web.asked(1)] == [200]

    def test_a_file_that_was_touched_meanwhile_begins_anew(self, spkg: Program, web: Nginx) -> None:
        def touch() -> None:
            os.utime("files/p.spkg", (1, 1))

        with relay(HOST, web.plain, after=HALF, broken=touch) as relayed:
            result = spkg.apply(f"http://{HOST}:{relayed}/p.spkg")

        assert_installed(result, ENDED)
        first, second = web.asked(2)
        assert (first.status, second.status) == (200, 200)
        assert start_of(second) > FRONT

    def test_another_package_in_its_place_is_not_mixed_with_it(self, spkg: Program, web: Nginx) -> None:
        large = bytes(len(LARGE))
        changed = file("/lib/large", large, at=len(CONTENTS))
        records = (*PACKAGE.records[:2], changed, *PACKAGE.records[3:])
        Path("files/new").write_bytes(Draft(records=records, payload=CONTENTS + large).encode())
        assert Path("files/new").stat().st_size == len(OCTETS)
        os.utime("files/new", (1, 1))

        def replace() -> None:
            Path("files/new").replace("files/p.spkg")

        with relay(HOST, web.plain, after=HALF, broken=replace) as relayed:
            result = spkg.apply(f"http://{HOST}:{relayed}/p.spkg", "--json")

        problem, hint = "the server now has a different package", "start the transfer again"
        assert_failed(result, problem, hint, reason="incomplete", told=ENDED)

    def test_a_missing_file_is_8(self, spkg: Program, web: Nginx) -> None:
        url = f"http://{HOST}:{web.plain}/nowhere.spkg"

        assert_failed(spkg.apply(url, "--json"), f"{url}: 404 Not Found")

    def test_no_file_is_left_of_what_was_not_fetched(self, spkg: Program, web: Nginx) -> None:
        url = f"http://{HOST}:{web.plain}/nowhere.spkg"
        before = sorted(Path().iterdir())

        result = spkg.fetch(url)

        assert (result.status, result.stdout) == (8, "")
        assert result.stderr == f"spkg: error: {url}: 404 Not Found\n"
        assert sorted(Path().iterdir()) == before

    def test_a_server_of_an_authority_that_is_not_known_is_refused(self, spkg: Program, web: Nginx) -> None:
        url = f"https://{HOST}:{web.secure}/p.spkg"

        result = spkg.apply(url, "--json")

        assert_unsafe(result, url, "unable to get local issuer certificate")

    def test_a_certificate_for_another_name_is_refused(self, spkg: Program, web: Nginx) -> None:
        url = f"https://{HOST}:{web.elsewhere}/p.spkg"

        result = spkg.apply(url, *WEB, "--json")

        assert_unsafe(result, url, "certificate is not valid for")

    def test_a_redirect_leads_from_http_to_https(self, spkg: Program, web: Nginx) -> None:
        assert_installed(spkg.apply(f"http://{HOST}:{web.plain}/up/p.spkg", *WEB))

        asked = [(one.status, one.port, one.uri) for one in web.asked(2)]
        assert asked == [(302, web.plain, "/up/p.spkg"), (200, web.secure, "/p.spkg")]

    def test_no_redirect_leads_from_https_to_http(self, spkg: Program, web: Nginx) -> None:
        url = f"https://{HOST}:{web.secure}/down/p.spkg"

        assert_failed(spkg.apply(url, *WEB, "--json"), f"{url}: a redirect from https to http is not allowed")
        assert [one.port for one in web.asked(1)] == [web.secure]

    def test_redirects_that_lead_round_end(self, spkg: Program, web: Nginx) -> None:
        url = f"http://{HOST}:{web.plain}/round/"

        assert_failed(spkg.apply(url, "--json"), f"{url}: more than 5 redirects")
        assert [one.status for one in web.asked(6)] == [307] * 6


@pytest.mark.judge("nginx")
class TestNginxPasswords:
    def test_no_password_is_shown_to_everybody(self, spkg: Program, web: Nginx) -> None:
        url = f"http://{HOST}:{web.plain}/closed/p.spkg"

        result = spkg.apply(url, *LOGIN, "--json")

        problem = f"{url}: the server requires the password in clear text"
        hint = "use https, or --unsafe-basic to send it anyway"
        assert_failed(result, problem, hint, fault=9012, reason="login")
        assert [(one.status, one.login) for one in web.asked(1)] == [(401, "")]

    def test_a_password_is_shown_where_that_is_wanted(self, spkg: Program, web: Nginx) -> None:
        assert_installed(spkg.apply(f"http://{HOST}:{web.plain}/closed/p.spkg", *LOGIN, "--unsafe-basic"))

        asked = [(one.status, one.login) for one in web.asked(2)]
        assert asked == [(401, ""), (200, basic(PASSWORD))]

    def test_https_shows_it_to_the_server_alone(self, spkg: Program, web: Nginx) -> None:
        url = f"https://{HOST}:{web.secure}/closed/p.spkg"

        assert_installed(spkg.apply(url, *WEB, *LOGIN))

    def test_a_wrong_password_is_tried_once(self, spkg: Program, web: Nginx) -> None:
        url = f"https://{HOST}:{web.secure}/closed/p.spkg"

        result = spkg.apply(url, *WEB, *WRONG, "--json")

        assert_failed(result, f"{url}: login failed", fault=9012, reason="login")
        asked = [(one.status, one.login) for one in web.asked(2)]
        assert asked == [(401, ""), (401, basic("open barley"))]

    def test_without_a_name_none_is_taken_from_elsewhere(self, spkg: Program, web: Nginx) -> None:
        Path(".netrc").write_text(f"machine {HOST} login {USERNAME} password {PASSWORD}\n")
        Path(".netrc").chmod(0o600)
        url = f"https://{HOST}:{web.secure}/closed/p.spkg"

        result = spkg.apply(url, *WEB, "--json")

        hint = "use --username with --password-env or --password-file"
        assert_failed(result, f"{url}: the server requires a login", hint, fault=9012, reason="login")
        assert [(one.status, one.login) for one in web.asked(1)] == [(401, "")]

    def test_a_password_is_for_no_server_that_a_redirect_leads_to(self, spkg: Program, web: Nginx) -> None:
        url = f"http://{HOST}:{web.plain}/across/p.spkg"

        result = spkg.apply(url, *LOGIN, "--unsafe-basic", "--json")

        problem = f"http://{HOST}:{web.other}/closed/p.spkg: login failed"
        hint = "use this server's URL: after a redirect to another server, no credentials are sent"
        assert_failed(result, problem, hint, fault=9012, reason="login")
        asked = [(one.status, one.port, one.login) for one in web.asked(2)]
        assert asked == [(302, web.plain, ""), (401, web.other, "")]

    def test_who_asks_is_known_again_after_a_break(self, spkg: Program, web: Nginx) -> None:
        with relay(HOST, web.secure, after=HALF) as relayed:
            result = spkg.fetch(f"https://{HOST}:{relayed}/closed/p.spkg", *WEB, *LOGIN)

        assert_fetched(result, ENDED)
        asked = [(one.status, one.login) for one in web.asked(3)]
        assert asked == [(401, ""), (200, basic(PASSWORD)), (206, basic(PASSWORD))]


@pytest.mark.judge("nginx")
@pytest.mark.judge("tinyproxy")
class TestTinyproxy:
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_package_comes_through_a_proxy(
        self, spkg: Program, web: Nginx, here: Path, scheme: str
    ) -> None:
        port = web.plain if scheme == "http" else web.secure
        url = f"{scheme}://{HOST}:{port}/p.spkg"
        (here / "proxy").mkdir()
        with tinyproxy(here / "proxy", web.secure) as proxy:
            applied = spkg.apply(url, *WEB, "--proxy", proxy.url)
            fetched = spkg.fetch(url, *WEB, "--proxy", proxy.url)
            asked = proxy.requests()

        assert_installed(applied)
        assert_fetched(fetched)
        assert asked == [f"GET {url}" if scheme == "http" else f"CONNECT {HOST}:{port}"] * 2
        assert [one.status for one in web.asked(2)] == [200, 200]

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_what_broke_goes_on_through_it(self, spkg: Program, web: Nginx, here: Path, scheme: str) -> None:
        (here / "proxy").mkdir()
        with (
            relay(HOST, web.plain if scheme == "http" else web.secure, after=HALF) as relayed,
            tinyproxy(here / "proxy", relayed) as proxy,
        ):
            result = spkg.apply(f"{scheme}://{HOST}:{relayed}/p.spkg", *WEB, "--proxy", proxy.url)

        assert (result.status, tree()) == (0, NEW), result.stderr
        assert [one.status for one in web.asked(2)] == [200, 206]

    def test_a_proxy_that_wants_a_login_is_given_it_by_a_header(
        self, spkg: Program, web: Nginx, here: Path
    ) -> None:
        url = f"https://{HOST}:{web.secure}/p.spkg"
        word = base64.b64encode(PROXY_LOGIN.replace(" ", ":").encode()).decode()
        Path("headers").write_text(f"Proxy-Authorization: Basic {word}\n")
        (here / "proxy").mkdir()
        with tinyproxy(here / "proxy", web.secure, closed=True) as proxy:
            refused = spkg.apply(url, *WEB, "--proxy", proxy.url, "--json")
            fetched = spkg.fetch(url, *WEB, "--proxy", proxy.url, "--header-file", "headers")

        hint = "write a line 'Proxy-Authorization: ...' into the file of --header-file"
        problem = f"{url}: the proxy answered 407 Proxy Authentication Required"
        assert_failed(refused, problem, hint, reason="contact")
        assert_fetched(fetched)
        assert [one.login for one in web.asked(1)] == [""]

    def test_a_port_that_it_does_not_connect_to_is_final(self, spkg: Program, web: Nginx, here: Path) -> None:
        url = f"https://{HOST}:{web.elsewhere}/p.spkg"
        (here / "proxy").mkdir()
        with tinyproxy(here / "proxy", web.secure) as proxy:
            result = spkg.apply(url, *WEB, "--proxy", proxy.url, "--json")

        assert_failed(result, f"{url}: the proxy answered 403 Access violation", reason="contact")


@pytest.mark.judge("lighttpd")
class TestLighttpd:
    @pytest.mark.parametrize(
        ("algorithms", "used"), [("MD5", "MD5"), ("SHA-256", "SHA-256"), ("MD5|SHA-256", "SHA-256")]
    )
    def test_a_digest_is_right_also_after_a_break(
        self, spkg: Program, here: Path, algorithms: str, used: str
    ) -> None:
        with lighttpd(here / "files", here / "work", algorithms) as running:
            port = int(running.url.rpartition(":")[2])
            with relay(HOST, port, after=HALF) as relayed:
                result = spkg.fetch(f"http://{HOST}:{relayed}/p.spkg", *LOGIN)
            logins = running.logins(3)

        assert_fetched(result, ENDED)
        assert [one.partition(" ")[0] for one in logins][-2:] == ["200", "206"]
        assert all(f"algorithm={used}, " in one for one in logins[-2:])

    def test_a_wrong_password_is_tried_once(self, spkg: Program, here: Path) -> None:
        with lighttpd(here / "files", here / "work", "SHA-256") as running:
            url = f"{running.url}/p.spkg"
            result = spkg.apply(url, *WRONG, "--json")
            logins = running.logins(2)

        assert_failed(result, f"{url}: login failed", fault=9012, reason="login")
        assert [one.partition(" ")[0] for one in logins] == ["401", "401"]


@pytest.mark.judge("openssl")
class TestOpensslServer:
    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    def test_a_client_certificate_is_shown(self, spkg: Program, here: Path, version: str) -> None:
        put_identity(Path("client.pem"), client("gateway"))
        with openssl_server(here / "files", here / "work", version) as url:
            applied = spkg.apply(f"{url}/p.spkg", *WEB, "--client-cert", "client.pem")
            fetched = spkg.fetch(f"{url}/p.spkg", *WEB, "--client-cert", "client.pem")

        assert_installed(applied)
        assert_fetched(fetched)

    def test_one_that_is_missing_is_named(self, spkg: Program, here: Path) -> None:
        with openssl_server(here / "files", here / "work", "-tls1_2") as url:
            result = spkg.apply(f"{url}/p.spkg", *WEB, "--json")

        problem = f"{url}/p.spkg: the server refused the TLS handshake; it may want a client certificate"
        hint = "use --client-cert and --client-key to show a certificate to the server"
        assert_failed(result, problem, hint, reason="contact")


@contextmanager
def breaking_ftp(here: Path, *, secure: bool) -> Iterator[tuple[Vsftpd, int]]:
    """Run a server whose data breaks once, and give it with the port to ask."""
    with ExitStack() as stack:
        data = stack.enter_context(relay(BEHIND, None, after=HALF))
        who = server(HOST) if secure else None
        running = stack.enter_context(vsftpd(here / "files", here / "work", host=BEHIND, data=data, who=who))
        yield running, stack.enter_context(relay(BEHIND, running.port))


@pytest.mark.judge("vsftpd")
class TestVsftpd:
    def test_a_package_is_applied_and_fetched(self, spkg: Program, here: Path) -> None:
        with vsftpd(here / "files", here / "work") as running:
            url = f"ftp://{HOST}:{running.port}/p.spkg"
            applied, fetched = spkg.apply(url), spkg.start("fetch", url, *FETCH)

        assert_installed(applied)
        assert_fetched(fetched)

    @pytest.mark.parametrize("secure", [False, True], ids=["ftp", "ftps"])
    def test_what_broke_goes_on_where_it_was(self, spkg: Program, here: Path, *, secure: bool) -> None:
        with breaking_ftp(here, secure=secure) as (running, port):
            result = spkg.apply(f"{'ftps' if secure else 'ftp'}://{HOST}:{port}/p.spkg", *WEB)
            commands = running.commands()

        assert_installed(result, BROKE)
        asked = [one for one in commands if one.startswith(("REST ", "RETR "))]
        assert [one.partition(" ")[0] for one in asked] == ["RETR", "REST", "RETR"]
        assert FRONT < int(asked[1].removeprefix("REST ")) <= HALF

    def test_a_missing_file_is_8(self, spkg: Program, here: Path) -> None:
        with vsftpd(here / "files", here / "work") as running:
            url = f"ftp://{HOST}:{running.port}/nowhere.spkg"
            result = spkg.apply(url, "--json")

        assert_failed(result, f"{url}: 550 Failed to open file.")

    def test_a_password_is_taken_and_a_wrong_one_is_not(self, spkg: Program, here: Path) -> None:
        who = ("--username", "anonymous", "--password-file")
        with vsftpd(here / "files", here / "work", password=PASSWORD) as running:
            url = f"ftp://{HOST}:{running.port}/p.spkg"
            failed, fetched = spkg.apply(url, *who, "wrong", "--json"), spkg.fetch(url, *who, "password")

        assert_failed(failed, f"{url}: login failed: 530", fault=9012, reason="login")
        assert_fetched(fetched)

    def test_tls_has_one_session_for_commands_and_data(self, spkg: Program, here: Path) -> None:
        with vsftpd(here / "files", here / "work", who=server(HOST)) as running:
            url = f"ftps://{HOST}:{running.port}/p.spkg"
            applied, fetched = spkg.apply(url, *WEB), spkg.fetch(url, *WEB)
            commands = running.commands()

        assert_installed(applied)
        assert_fetched(fetched)
        assert commands[0] == "AUTH TLS"
        assert commands.count("PROT P") == 2

    def test_a_break_while_tls_begins_is_no_more_than_a_break(self, spkg: Program, here: Path) -> None:
        with (
            vsftpd(here / "files", here / "work", who=server(HOST)) as running,
            relay(HOST, running.port, after=500) as relayed,
        ):
            result = spkg.fetch(f"ftps://{HOST}:{relayed}/p.spkg", *WEB)
            commands = running.commands()

        assert_fetched(result, BROKE)
        assert commands[:3] == ["AUTH TLS", "AUTH TLS", "USER anonymous"]

    def test_tls_begins_at_once_on_port_990(self, spkg: Program, here: Path) -> None:
        host = own_host()
        with socket.socket() as one:
            try:
                one.bind((host, 990))
            except PermissionError:
                not_judged("port 990 wants root")
        with vsftpd(
            here / "files", here / "work", host=host, port=990, who=server(host), implicit=True
        ) as running:
            result = spkg.apply(f"ftps://{host}:990/p.spkg", *WEB)
            commands = running.commands()

        assert_installed(result)
        assert "AUTH TLS" not in commands
        assert "PROT P" in commands

    def test_a_server_of_an_authority_that_is_not_known_is_shown_no_password(
        self, spkg: Program, here: Path
    ) -> None:
        with vsftpd(here / "files", here / "work", who=server(HOST)) as running:
            url = f"ftps://{HOST}:{running.port}/p.spkg"
            result = spkg.apply(url, *LOGIN, "--json")
            commands = running.commands()

        assert_unsafe(result, url, "unable to get local issuer certificate")
        assert commands == ["AUTH TLS"]

    def test_a_certificate_for_another_name_is_refused(self, spkg: Program, here: Path) -> None:
        with vsftpd(here / "files", here / "work", who=server(ELSEWHERE)) as running:
            url = f"ftps://{HOST}:{running.port}/p.spkg"
            result = spkg.apply(url, *WEB, "--json")

        assert_unsafe(result, url, "certificate is not valid for")

    def test_a_server_without_tls_is_shown_no_password_and_did_not_refuse_it(
        self, spkg: Program, here: Path
    ) -> None:
        with vsftpd(here / "files", here / "work") as running:
            url = f"ftps://{HOST}:{running.port}/p.spkg"
            result = spkg.apply(url, *LOGIN, *WEB, "--json")
            commands = running.commands()

        problem = f"{url}: the server refused TLS: 530 Please login with USER and PASS."
        assert_failed(result, problem, reason="contact")
        assert commands == ["AUTH TLS"]


@pytest.fixture
def trivial(here: Path) -> Iterator[int]:
    if os.geteuid() != 0:
        not_judged("in.tftpd wants root")
    with tftpd(here / "files", here / "work") as port:
        yield port


@pytest.mark.judge("in.tftpd")
class TestTftpd:
    def test_a_package_of_many_blocks_is_applied_and_fetched(self, spkg: Program, trivial: int) -> None:
        assert len(OCTETS) > 700 * BLOCK
        url = f"tftp://{HOST}:{trivial}/p.spkg"

        assert_installed(spkg.apply(url))
        assert_fetched(spkg.start("fetch", url, *FETCH))

    @pytest.mark.parametrize("more", [-1, 0, 1])
    def test_a_package_whose_last_block_is_full_or_nearly_so_is_fetched(
        self, spkg: Program, trivial: int, more: int
    ) -> None:
        front = len(Draft(records=(file("/bin/app", b""), End()), payload=b"").front)
        payload = bytes(20 * BLOCK + more - front)
        octets = Draft(records=(file("/bin/app", payload), End()), payload=payload).encode()
        assert len(octets) == 20 * BLOCK + more
        Path("files/p.spkg").write_bytes(octets)

        result = spkg.fetch(f"tftp://{HOST}:{trivial}/p.spkg")

        assert (result.status, result.stderr) == (0, "")
        assert Path("got.spkg").read_bytes() == octets

    def test_a_missing_file_is_8(self, spkg: Program, trivial: int) -> None:
        url = f"tftp://{HOST}:{trivial}/nowhere.spkg"

        assert_failed(spkg.apply(url, "--json"), f"{url}: File not found")


@pytest.fixture
def at_port_69() -> None:
    if os.geteuid() != 0:
        not_judged("port 69 wants root")


@pytest.mark.judge("dnsmasq")
@pytest.mark.usefixtures("at_port_69")
class TestDnsmasq:
    @pytest.mark.parametrize("more", [(), ("--tftp-no-blocksize",)], ids=" ".join)
    def test_a_package_of_many_blocks_is_applied_and_fetched(
        self, spkg: Program, here: Path, more: tuple[str, ...]
    ) -> None:
        with dnsmasq(here / "files", here / "work", *more) as host:
            applied = spkg.apply(f"tftp://{host}/p.spkg")
            fetched = spkg.fetch(f"tftp://{host}/p.spkg")

        assert_installed(applied)
        assert_fetched(fetched)

    def test_a_missing_file_is_8(self, spkg: Program, here: Path) -> None:
        with dnsmasq(here / "files", here / "work") as host:
            url = f"tftp://{host}/nowhere.spkg"
            result = spkg.apply(url, "--json")

        said = f"file {here}/files/nowhere.spkg not found"
        assert_failed(result, f"{url}: {said[:80]}")


CHALLENGES: Final = {
    "as GenieACS": Challenge(qop="auth,auth-int"),
    "without an algorithm": Challenge(algorithm=None),
    "without qop": Challenge(qop=None),
    "SHA-256": Challenge(algorithm="SHA-256"),
    "behind Basic": Challenge(before='Basic realm="files", '),
}


class TestDigest:
    @pytest.mark.parametrize("challenge", CHALLENGES.values(), ids=CHALLENGES)
    def test_one_connection_is_asked_and_answers(
        self, spkg: Program, here: Path, challenge: Challenge
    ) -> None:
        with digest_server(here / "files", challenge) as running:
            result = spkg.apply(f"http://{HOST}:{running.port}/p.spkg", *LOGIN)

        assert_installed(result)
        assert [(one.connection, one.status) for one in running.answers] == [(1, 401), (1, 200)]

    @pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
    def test_what_broke_goes_on_with_a_nonce_of_the_new_connection(
        self, spkg: Program, here: Path, algorithm: str
    ) -> None:
        with (
            digest_server(here / "files", Challenge(algorithm=algorithm)) as running,
            relay(HOST, running.port, after=HALF) as relayed,
        ):
            result = spkg.apply(f"http://{HOST}:{relayed}/p.spkg", *LOGIN)

        assert_installed(result, ENDED)
        assert [(one.connection, one.status) for one in running.answers] == [
            (1, 401),
            (1, 200),
            (2, 401),
            (2, 206),
        ]

    def test_a_wrong_password_is_tried_once(self, spkg: Program, here: Path) -> None:
        with digest_server(here / "files", Challenge()) as running:
            url = f"http://{HOST}:{running.port}/p.spkg"
            result = spkg.apply(url, *WRONG, "--json")

        assert_failed(result, f"{url}: login failed", fault=9012, reason="login")
        assert [(one.connection, one.status) for one in running.answers] == [(1, 401), (1, 401)]
