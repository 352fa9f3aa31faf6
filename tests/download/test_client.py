"""Where packages come from: URLs, protocols, logins, and what a server may not do."""

import base64
import hashlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from spkg.download.ftp import FtpTransport
from spkg.download.http import SMALL, WebTransport
from spkg.download.url import Location, Login, file_of, is_url
from spkg.download.worker import BrokenError, NotResumableError
from spkg.errors import LOGIN, TransferError, UsageError
from tests.support.fake_servers import Script, nobody, serving
from tests.support.real_servers import HOST, put_identity, server, web_root

OCTETS = bytes(range(256)) * 8
NOBODY = Login()
ALICE = Login(username="alice", password=b"s3cret pass")


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "target"),
    [
        ("http://host/p.spkg", "http", "host", 80, "/p.spkg"),
        ("https://host:8443/a/b%20c?token=x", "https", "host", 8443, "/a/b%20c?token=x"),
        ("ftp://host", "ftp", "host", 21, "/"),
        ("ftps://host:990/p", "ftps", "host", 990, "/p"),
        ("tftp://[::1]/p", "tftp", "::1", 69, "/p"),
        ("HTTP://Host/P", "http", "host", 80, "/P"),
        ("http://[fe80::1%25eth0.1]:8/p%20q", "http", "fe80::1%eth0.1", 8, "/p%20q"),
        ("ftp://[FE80::1%Eth0]/p", "ftp", "fe80::1%Eth0", 21, "/p"),
    ],
)
def test_a_url_is_taken_apart(url: str, scheme: str, host: str, port: int, target: str) -> None:
    location = Location.parse(url)

    assert location == Location(scheme=scheme, host=host, port=port, target=target)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://user@host/p", "a URL must not carry credentials: other users can see it"),
        ("http://user:pass@host/p", "a URL must not carry credentials: other users can see it"),
        ("http://:@host/p", "a URL must not carry credentials: other users can see it"),
        (
            "gopher://host/p",
            "unsupported URL scheme 'gopher': expected one of file, ftp, ftps, http, https, tftp",
        ),
        ("http:///p", "a URL must have a host and no fragment"),
        ("http://host/p#x", "a URL must have a host and no fragment"),
        ("ftp://host/p?x", "a URL of ftp must not have a query"),
        ("http://host:99999/p", "not a valid URL"),
        ("http://[::1/p", "not a valid URL"),
        ("http://[fe80::1%25]/p", "not a valid URL"),
        ("http://[fe80::1%25a%2fb]/p", "not a valid URL"),
        ("http://ho%25st/p", "not a valid URL"),
        ("http://host/a b", "a URL must have only printable ASCII characters, and no spaces"),
        ("http://host/a\r\nX: y", "a URL must have only printable ASCII characters, and no spaces"),
        ("http://höst/", "a URL must have only printable ASCII characters, and no spaces"),
    ],
)
def test_what_is_no_url_for_us_is_refused(url: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        Location.parse(url)

    assert caught.value.problem == problem
    assert "pass" not in str(caught.value)


def test_what_is_shown_of_a_url_has_no_query() -> None:
    location = Location.parse("https://[::1]:444/a/p?token=secret")

    assert str(location) == "https://[::1]:444/a/p?…"
    assert location.url == "https://[::1]:444/a/p?token=secret"
    assert (location.path, location.origin) == ("a/p", ("https", "::1", 444))


def test_a_zone_is_for_this_host_alone() -> None:
    location = Location.parse("https://[fe80::1%eth0]:444/p")

    assert location.url == str(location) == "https://[fe80::1%25eth0]:444/p"
    assert location.sent_url == "https://[fe80::1]:444/p"
    assert (location.authority, location.origin) == ("[fe80::1]:444", ("https", "fe80::1%eth0", 444))
    assert Location.parse(location.url) == location


def test_a_login_does_not_show_its_password() -> None:
    assert "s3cret" not in repr(ALICE)


@pytest.mark.parametrize(
    ("url", "path"),
    [("file:///a/b%20c", Path("/a/b c")), ("file://localhost/a", Path("/a")), ("http://host/a", None)],
)
def test_a_file_url_is_a_file_of_this_host(url: str, path: Path | None) -> None:
    assert is_url(url)
    assert file_of(url) == path


@pytest.mark.parametrize("url", ["file://host/a", "file://", "file:///a?b", "file:///a#b"])
def test_one_of_another_host_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="a file: URL must name a file on this host"):
        file_of(url)


# HTTP.


def transport(url: str, login: Login = NOBODY, patience: float = 10) -> WebTransport:
    return WebTransport(Location.parse(url), login, patience)


def everything(asking: WebTransport, offset: int = 0, validator: str | None = None) -> bytes:
    answer = asking.open(offset, validator)
    pieces = iter(lambda: answer.read(100), b"")
    octets = b"".join(pieces)
    answer.close()
    return octets


def test_a_file_comes_whole_or_from_an_octet_on() -> None:
    with serving(script := Script(octets=OCTETS)) as url:
        asking = transport(f"{url}/p?token=x")
        whole = asking.open(0, None)
        assert (whole.offset, whole.total, whole.validator) == (0, len(OCTETS), '"1"')
        whole.close()
        rest = asking.open(1000, '"1"')
        assert (rest.offset, rest.total, rest.validator) == (1000, len(OCTETS), '"1"')
        rest.close()

        assert everything(asking) == OCTETS
        assert everything(asking, 1000, '"1"') == OCTETS[1000:]
        assert everything(asking, 1000, None) == OCTETS
        assert everything(asking, 1000, '"2"') == OCTETS

    assert {one.path for one in script.asked} == {"/p?token=x"}
    assert {one.headers["accept-encoding"] for one in script.asked} == {"identity"}


@pytest.mark.parametrize("status", [204, 304, 400, 403, 404, 405, 410, 416])
def test_an_answer_without_the_file_is_final(status: int) -> None:
    answers = [(status, {"Content-Length": "0"} if status not in {204, 304} else {}, b"")]
    with serving(Script(octets=OCTETS, answers=answers)) as url, pytest.raises(TransferError) as caught:
        transport(f"{url}/p").open(0, None)

    assert caught.value.reason == "access"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_answer_that_may_be_another_one_later_is_not(status: int) -> None:
    with (
        serving(Script(octets=OCTETS, answers=[(status, {}, b"busy")])) as url,
        pytest.raises(BrokenError, match=f"/p: {status}"),
    ):
        transport(f"{url}/p").open(0, None)


PARTIAL = {"Content-Range": f"bytes 1000-{len(OCTETS) - 1}/{len(OCTETS)}", "ETag": '"1"'}


@pytest.mark.parametrize(
    "changed",
    [
        {"Content-Range": f"bytes 999-{len(OCTETS) - 1}/{len(OCTETS)}"},
        {"Content-Range": f"bytes 10000-{len(OCTETS) - 1}/{len(OCTETS)}"},
        {"Content-Range": ""},
        {"Content-Range": "chunks 1000-2/3"},
        {"ETag": '"2"'},
        {"ETag": 'W/"1"'},
    ],
)
def test_octets_that_were_not_asked_for_are_no_rest_of_the_file(changed: dict[str, str]) -> None:
    answers = [(206, {**PARTIAL, **changed}, OCTETS[1000:])]
    with (
        serving(Script(octets=OCTETS, answers=answers)) as url,
        pytest.raises(NotResumableError, match="the server sent a range that was not requested"),
    ):
        transport(f"{url}/p").open(1000, '"1"')


def test_a_part_of_the_file_is_not_all_of_it() -> None:
    answers = [(206, PARTIAL, OCTETS[1000:])]
    with (
        serving(Script(octets=OCTETS, answers=answers)) as url,
        pytest.raises(TransferError, match="the server sent a range that was not requested"),
    ):
        transport(f"{url}/p").open(1000, None)


def test_a_range_of_a_file_whose_size_nobody_tells_is_taken() -> None:
    answers = [(206, {**PARTIAL, "Content-Range": "bytes 1000-2047/*"}, OCTETS[1000:])]
    with serving(Script(octets=OCTETS, answers=answers)) as url:
        assert transport(f"{url}/p").open(1000, '"1"').total is None


@pytest.mark.parametrize("length", ["-1", "1e3", "٣", "9" * 20, ""])
def test_a_size_that_is_none_is_not_believed(length: str) -> None:
    encoded = length.encode().decode("latin-1")
    answers = [(200, {"Content-Length": encoded, "Connection": "close"}, OCTETS)]
    with serving(Script(octets=OCTETS, answers=answers)) as url:
        try:
            assert transport(f"{url}/p").open(0, None).total is None
        except (BrokenError, TransferError) as exc:  # the library refuses some by itself
            assert "Content-Length" in str(exc) or "invalid literal" in str(exc)  # noqa: PT017


@pytest.mark.parametrize("coding", ["", "identity", "Identity", "aws-chunked", "binary", "utf-8", "none"])
def test_what_changes_no_octet_is_no_compression(coding: str) -> None:
    with serving(Script(octets=OCTETS, extra={"Content-Encoding": coding})) as url:
        assert everything(transport(f"{url}/p")) == OCTETS


@pytest.mark.parametrize("coding", ["gzip", "X-GZIP", "br", "zstd", "deflate", "compress", "utf-8, br"])
def test_compressed_octets_are_not_the_file(coding: str) -> None:
    named = coding.lower().split(", ")[-1]
    with (
        serving(Script(octets=OCTETS, extra={"Content-Encoding": coding})) as url,
        pytest.raises(TransferError, match=f"compressed the file with {named}, which was not requested"),
    ):
        transport(f"{url}/p").open(0, None)


def test_chunks_override_a_length() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    with speaking(head + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n") as url:
        answer = transport(url).open(0, None)
        assert answer.total is None
        assert b"".join(iter(lambda: answer.read(100), b"")) == b"hello world"


@pytest.mark.parametrize(
    "interim", [b"100 Continue\r\n", b"102 Processing\r\n", b"103 Early Hints\r\nLink: </x>\r\n"]
)
@pytest.mark.parametrize("proxied", [False, True])
def test_interim_answers_are_not_the_answer(interim: bytes, *, proxied: bool) -> None:
    said = b"HTTP/1.1 " + interim + b"\r\n"
    with speaking(said * 3 + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") as url:
        proxy = url.removesuffix("/p")
        asking = transport("http://files.example/p", Login(proxy=proxy)) if proxied else transport(url)
        assert everything(asking) == b"hello"


def test_octets_that_a_server_encodes_on_the_way_are_not_the_file() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    with speaking(head + b"5\r\nhello\r\n0\r\n\r\n") as url:
        with pytest.raises(
            TransferError, match="the server encoded the file with gzip, chunked, which was not"
        ):
            transport(url).open(0, None)


PAGE = b"<html>please log in</html>"
OTHER_PAGES = {
    "a doctype": b"\xef\xbb\xbf\r\n<!DOCTYPE HTML PUBLIC><title>Portal</title>",
    "XHTML": b'<?xml version="1.0"?>\n<!-- > -->\n<html xmlns="http://www.w3.org/1999/xhtml">',
    "a script": b"<script>location='/login'</script>",
}


def test_a_web_page_is_no_package() -> None:
    page = {"Content-Type": "text/html; charset=utf-8"}
    for body in (PAGE, b"please log in"):
        with (
            serving(Script(octets=OCTETS, answers=[(200, page, body)])) as url,
            pytest.raises(TransferError) as caught,
        ):
            transport(f"{url}/p").open(0, None)

        assert str(caught.value) == f"{url}/p: the server sent a web page (text/html), not a package"
        assert caught.value.reason == "access"
        assert caught.value.hint == "the server, or a portal on the way to it, may require a login"


@pytest.mark.parametrize("body", OTHER_PAGES.values(), ids=OTHER_PAGES)
@pytest.mark.parametrize("stated", ["application/octet-stream", ""])
def test_a_web_page_is_known_by_its_first_octets(body: bytes, stated: str) -> None:
    marked = f" (marked {stated})" if stated else ""
    with (
        serving(Script(octets=OCTETS, answers=[(200, {"Content-Type": stated}, body)])) as url,
        pytest.raises(TransferError) as caught,
    ):
        transport(f"{url}/p").open(0, None)

    assert str(caught.value) == f"{url}/p: the server sent a web page{marked}, not a package"


def test_a_web_page_that_breaks_off_is_one() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nTransfer-Encoding: chunked\r\n\r\n"
    with (
        speaking(head + b"5\r\n<html\r\nff\r\n>") as url,
        pytest.raises(TransferError, match="the server sent a web page, not a package"),
    ):
        transport(url).open(0, None)


def test_what_might_have_been_a_page_breaks_where_it_broke() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with speaking(head + b"3\r\n<x>\r\nff\r\n>") as url:
        answer = transport(url).open(0, None)
        octets = answer.read(100)
        with pytest.raises(BrokenError, match=r"/p: the connection broke$"):
            answer.read(100)

    assert octets == b"<x>>"


def test_a_package_is_one_whatever_its_server_calls_it() -> None:
    octets = b"2WIRE_SP" + OCTETS
    with serving(Script(octets=octets, extra={"Content-Type": "text/html"})) as url:
        assert everything(transport(f"{url}/p")) == octets
        assert everything(transport(f"{url}/p"), 1000, '"1"') == octets[1000:]


DATE = "Sun, 29 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "delay"),
    [
        ({}, None),
        ({"Retry-After": "5"}, 5),
        ({"Retry-After": "9" * 19}, 86400),
        ({"Retry-After": "9" * 20}, 86400),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Sun, 29 Nov 2026 10:01:30 GMT", "Date": DATE}, 90),
        ({"Retry-After": "Sun, 29 Nov 2026 09:00:00 GMT", "Date": DATE}, 0),
        ({"Retry-After": "Sun, 29 Nov 2026 10:01:30 -0000", "Date": DATE}, 90),
        ({"Retry-After": "Sunday, 29-Nov-26 10:01:30 GMT", "Date": DATE}, 90),
        ({"Retry-After": "Sun Nov 29 10:01:30 2026", "Date": DATE}, 90),
        ({"Retry-After": "7, 7"}, 7),
        ({"Retry-After": "2.5"}, None),
        ({"Retry-After": "Sun, 29 Nov 2026 10:01:30 GMT", "Date": "today"}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_says_when_to_ask_again(status: int, headers: dict[str, str], delay: float) -> None:
    said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with speaking(f"HTTP/1.1 {status} Busy\r\n{said}\r\n".encode()) as url:
        with pytest.raises(BrokenError, match=f"/p: {status} Busy") as caught:
            transport(url).open(0, None)

    assert (caught.value.busy, caught.value.delay) == (True, delay)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/my firmware 1.0.spkg", "/my%20firmware%201.0.spkg"),
        ("/f\u00c3\u00bcr.spkg", "/f%C3%BCr.spkg"),
        ("/f\u00fcr.spkg", "/f%FCr.spkg"),
        ("/a%20b c", "/a%20b%20c"),
        (" /x\t", "/x"),
    ],
)
def test_the_target_of_a_redirect_is_quoted_where_its_server_did_not(target: str, path: str) -> None:
    with serving(script := Script(octets=OCTETS, answers=[(302, {"Location": target}, b"")])) as url:
        assert everything(transport(f"{url}/p")) == OCTETS

    assert script.asked[-1].path == path


def test_redirects_are_followed_five_times() -> None:
    with serving(script := Script(octets=OCTETS)) as url:
        script.answers = [(302, {"Location": f"/hop{number}"}, b"") for number in range(5)]
        assert everything(transport(f"{url}/p")) == OCTETS
        script.answers = [(302, {"Location": "/again"}, b"")] * 6
        with pytest.raises(TransferError, match="more than 5 redirects"):
            transport(f"{url}/p").open(0, None)

    assert [one.path for one in script.asked][:6] == ["/p", "/hop0", "/hop1", "/hop2", "/hop3", "/hop4"]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("ftp://127.0.0.1/p", "a redirect from http to ftp is not allowed"),
        ("file:///etc/passwd", "invalid redirect: unsupported URL scheme 'file'"),
        ("http://user:pass@127.0.0.1/p", "invalid redirect: a URL must not carry credentials"),
        ("http://127.0.0.1:bad/p", "invalid redirect: not a valid URL"),
        ("/a\x01b", "invalid redirect: a URL must have only printable ASCII characters"),
        ("", "a redirect without a Location"),
    ],
)
def test_a_redirect_to_elsewhere_is_refused(target: str, problem: str) -> None:
    with (
        serving(Script(octets=OCTETS, answers=[(302, {"Location": target}, b"")])) as url,
        pytest.raises(TransferError, match=problem) as caught,
    ):
        transport(f"{url}/p").open(0, None)

    assert caught.value.reason == "access"


def test_what_comes_with_a_redirect_is_not_read_for_ever() -> None:
    endless = (302, {"Location": "/there", "Content-Length": str(1 << 40)}, bytes(SMALL * 4))
    with serving(Script(octets=OCTETS, answers=[endless])) as url:
        assert everything(transport(f"{url}/p", patience=2)) == OCTETS


def basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.username}:".encode() + login.password).decode()


REFUSAL = (401, {"WWW-Authenticate": 'Basic realm="r"'}, b"who?")
DIGEST = (401, {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'}, b"who?")


def test_a_password_is_not_shown_in_clear_over_http() -> None:
    with (
        serving(script := Script(octets=OCTETS, answers=[REFUSAL])) as url,
        pytest.raises(TransferError, match="requires the password in clear text") as caught,
    ):
        transport(f"{url}/p", ALICE).open(0, None)

    assert caught.value.reason == LOGIN
    assert ["authorization" in one.headers for one in script.asked] == [False]


def test_unless_that_is_asked_for() -> None:
    with serving(script := Script(octets=OCTETS, answers=[REFUSAL])) as url:
        bold = Login(username="alice", password=b"s3cret pass", unsafe_basic=True)
        assert everything(transport(f"{url}/p", bold)) == OCTETS

    assert [one.headers.get("authorization") for one in script.asked] == [None, basic(ALICE)]


def test_a_server_behind_a_zone_is_asked_without_it() -> None:
    heads: list[bytes] = []

    def answer() -> None:
        connection, _ = listening.accept()
        with connection:
            heads.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        threading.Thread(target=answer, daemon=True).start()
        port = listening.getsockname()[1]
        assert everything(transport(f"http://[::1%251]:{port}/a%20b?%25")) == b"hi"

    (head,) = heads
    assert head.startswith(b"GET /a%20b?%25 HTTP/1.1\r\n")
    assert f"\r\nHost: [::1]:{port}\r\n".encode() in head


def test_a_digest_is_preferred_and_used_again() -> None:
    both = (401, {"WWW-Authenticate": f'Basic realm="r", {DIGEST[1]["WWW-Authenticate"]}'}, b"")
    with serving(script := Script(octets=OCTETS, answers=[DIGEST])) as url:
        asking = transport(f"{url}/p", ALICE)
        assert everything(asking) == OCTETS
        assert everything(asking) == OCTETS
    with serving(second := Script(octets=OCTETS, answers=[both])) as url:
        assert everything(transport(f"{url}/p", ALICE)) == OCTETS

    sent = [one.headers.get("authorization", "-").partition(" ")[0] for one in script.asked]
    assert sent == ["-", "Digest", "Digest"]
    assert second.asked[-1].headers["authorization"].startswith("Digest ")
    assert "s3cret" not in str([script.asked, second.asked])


STALE = (401, {"WWW-Authenticate": 'Digest realm="r", nonce="2", qop="auth", stale=TRUE'}, b"")


def sent(script: Script) -> list[str]:
    return [one.headers.get("authorization", "-") for one in script.asked]


def test_a_nonce_that_is_too_old_is_no_wrong_password() -> None:
    with serving(script := Script(octets=OCTETS, answers=[DIGEST, STALE])) as url:
        asking = transport(f"{url}/p", ALICE)
        assert everything(asking) == OCTETS
        script.answers = [STALE]
        assert everything(asking) == OCTETS
        script.answers = [STALE, STALE, STALE]
        with pytest.raises(TransferError, match="login failed"):
            asking.open(0, None)

    counts = [re.sub(r'.*nonce="(\w+)".*nc=0*(\d+).*', r"\1 \2", one) for one in sent(script)]
    assert counts == ["-", "n 1", "2 1", "2 2", "2 1", "2 2", "2 1", "2 1"]


def test_of_several_digests_the_strongest_is_answered_alone() -> None:
    weak = 'Digest realm="w", nonce="w", qop="auth", algorithm=MD5'
    strong = 'Digest realm="s", nonce="s", qop="auth", algorithm=SHA-256'
    challenges = f"WWW-Authenticate: {weak}\r\nWWW-Authenticate: {strong}\r\n"
    refusal = f"HTTP/1.1 401 Unauthorized\r\n{challenges}Content-Length: 0\r\nConnection: close\r\n\r\n"
    with speaking(refusal.encode()) as url, pytest.raises(TransferError, match="login failed"):
        transport(url, ALICE).open(0, None)
    with serving(script := Script(octets=OCTETS)) as url:
        script.answers = [(401, {"WWW-Authenticate": f"{weak}, {strong}"}, b"")]
        assert everything(transport(f"{url}/p", ALICE)) == OCTETS

    header = sent(script)[-1]
    assert 'realm="s", nonce="s"' in header
    assert "algorithm=SHA-256" in header
    assert header.count("nonce=") == 2  # with cnonce


@pytest.mark.parametrize(
    ("challenge", "problem"),
    [
        (
            'Digest realm="r", nonce="n", qop="auth-int"',
            "login failed: expected digest qop auth, got auth-int",
        ),
        (
            'Digest realm="r", nonce="n", algorithm=SHA-1\xff, Negotiate',
            "login failed: expected digest algorithm SHA-256 or MD5, got SHA-1\xff",
        ),
        ("Digest qop=auth", "login failed: the server's digest challenge has no realm or no nonce"),
        ("Negotiate", "login failed"),
    ],
)
def test_a_login_of_an_unsupported_kind_is_named(challenge: str, problem: str) -> None:
    with (
        serving(
            script := Script(octets=OCTETS, answers=[(401, {"WWW-Authenticate": challenge}, b"")])
        ) as url,
        pytest.raises(TransferError) as caught,
    ):
        transport(f"{url}/p", ALICE).open(0, None)

    assert (str(caught.value), caught.value.reason) == (f"{url}/p: {problem}", LOGIN)
    assert sent(script) == ["-"]


def test_basic_is_used_where_a_digest_is_not_supported(tmp_path: Path, bundle: Path) -> None:
    both = (401, {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth-int", Basic realm="r"'}, b"")
    certificate = put_identity(tmp_path / "server.pem", server(HOST))
    with behind_tls(script := Script(octets=OCTETS, answers=[both]), certificate) as url:
        login = Login(username="alice", password=b"s3cret pass", ca_bundle=bundle)
        assert everything(transport(f"{url}/p", login)) == OCTETS
    with serving(plain := Script(octets=OCTETS, answers=[both])) as url:
        with pytest.raises(TransferError, match="login failed: expected digest qop auth, got auth-int"):
            transport(f"{url}/p", ALICE).open(0, None)

    assert sent(script) == ["-", basic(ALICE)]
    assert sent(plain) == ["-"]


def test_a_wrong_password_in_clear_text_is_sent_once(tmp_path: Path, bundle: Path) -> None:
    certificate = put_identity(tmp_path / "server.pem", server(HOST))
    with behind_tls(script := Script(octets=OCTETS, answers=[REFUSAL] * 5), certificate) as url:
        asking = transport(f"{url}/p", Login(username="alice", password=b"s3cret pass", ca_bundle=bundle))
        with pytest.raises(TransferError, match="login failed"):
            asking.open(0, None)
        with pytest.raises(TransferError, match="login failed"):
            asking.open(0, None)

    assert sent(script) == ["-", basic(ALICE), basic(ALICE)]


def test_who_is_not_let_in_is_told_so() -> None:
    with (
        serving(script := Script(octets=OCTETS, answers=[DIGEST] * 5)) as url,
        pytest.raises(TransferError, match="login failed") as wrong,
    ):
        transport(f"{url}/p", ALICE).open(0, None)
    assert len(script.asked) == 2
    with (
        serving(Script(octets=OCTETS, answers=[REFUSAL])) as url,
        pytest.raises(TransferError, match="the server requires a login") as nameless,
    ):
        transport(f"{url}/p").open(0, None)
    with (
        serving(Script(octets=OCTETS, answers=[(401, {}, b"")] * 2)) as url,
        pytest.raises(TransferError, match="login failed") as unknown,
    ):
        transport(f"{url}/p", ALICE).open(0, None)

    for one in (wrong, nameless, unknown):
        assert one.value.reason == LOGIN
    assert nameless.value.hint == "use --username with --password-env or --password-file"


def test_a_name_of_any_letters_is_hashed_as_it_is_sent() -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", algorithm=MD5'}
    bob = Login(username="böb€", password=b"pw")
    with serving(script := Script(octets=OCTETS, answers=[(401, challenge, b"")])) as url:
        assert everything(transport(f"{url}/p", bob)) == OCTETS

    sent = dict(re.findall(r'(\w+)="?([^",]*)"?', script.asked[-1].headers["authorization"]))
    first, second = (hashlib.md5(one.encode()).hexdigest() for one in ("böb€:r:pw", "GET:/p"))
    assert sent["username"].encode("latin-1").decode() == "böb€"
    assert sent["response"] == hashlib.md5(f"{first}:n:{second}".encode()).hexdigest()


def test_a_challenge_that_lacks_something_lets_nobody_in() -> None:
    lacking = (401, {"WWW-Authenticate": "Digest qop=auth"}, b"")
    with (
        serving(Script(octets=OCTETS, answers=[lacking])) as url,
        pytest.raises(TransferError, match="login failed"),
    ):
        transport(f"{url}/p", ALICE).open(0, None)


def test_a_password_is_not_for_another_server() -> None:
    with serving(other := Script(octets=OCTETS, answers=[REFUSAL])) as there:
        moved = (302, {"Location": f"{there}/p"}, b"")
        with serving(script := Script(octets=OCTETS, answers=[DIGEST, moved])) as url:
            with pytest.raises(TransferError, match="login failed"):
                transport(f"{url}/p", ALICE).open(0, None)

    assert "authorization" in script.asked[-1].headers
    assert ["authorization" in one.headers for one in other.asked] == [False]


def test_a_refusal_without_an_end_is_not_read_to_it() -> None:
    endless = (401, {**DIGEST[1], "Content-Length": str(1 << 40)}, bytes(SMALL * 2))
    with serving(Script(octets=OCTETS, answers=[endless])) as url:
        assert everything(transport(f"{url}/p", ALICE, patience=2)) == OCTETS


def test_nobody_there_and_no_answer_are_told_apart() -> None:
    with pytest.raises(BrokenError, match="connection refused") as refused:
        transport(f"http://127.0.0.1:{nobody()}/p").open(0, None)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(BrokenError, match="the server sent no data in time"):
            transport(f"http://127.0.0.1:{port}/p", patience=0.2).open(0, None)
    with serving(Script(octets=OCTETS, stalls=[100])) as url:
        answer = transport(f"{url}/p", patience=0.2).open(0, None)
        assert answer.read(1000) == OCTETS[:100]
        with pytest.raises(BrokenError, match="the server sent no data in time"):
            answer.read(1000)

    assert refused.value.reason == "contact"


@contextmanager
def speaking(octets: bytes) -> Iterator[str]:
    """Answer every connection with the same octets, whatever is asked."""

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(octets)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/p"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\0" * 5000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000,
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"220 ready\r\n",
    ],
)
def test_what_is_no_answer_is_a_broken_connection(octets: bytes) -> None:
    with speaking(octets) as url, pytest.raises(BrokenError):
        transport(url).open(0, None)


def test_chunks_come_as_octets_and_their_end_is_one() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with speaking(head + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n") as url:
        assert everything(transport(url)) == b"hello world"
    with speaking(head + b"5\r\nhello\r\n6\r\n wo") as url:
        with pytest.raises(BrokenError, match=r"/p: the connection broke$"):
            everything(transport(url))
    with speaking(head + b"5\r\nhello\r\nzz\r\n wo") as url, pytest.raises(BrokenError):
        everything(transport(url))


# HTTPS.


@contextmanager
def behind_tls(script: Script, certificate: Path) -> Iterator[str]:
    """Serve with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(script, context) as url:
        yield url.replace("http:", "https:")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (path := tmp_path / "ca.pem").write_bytes(web_root().pem)
    return path


def test_a_server_with_a_certificate_of_the_bundle_is_believed(tmp_path: Path, bundle: Path) -> None:
    certificate = put_identity(tmp_path / "server.pem", server(HOST))
    script = Script(octets=OCTETS, answers=[REFUSAL])
    with behind_tls(script, certificate) as url:
        login = Login(username="alice", password=b"s3cret pass", ca_bundle=bundle)
        assert everything(transport(f"{url}/p", login)) == OCTETS
        with pytest.raises(TransferError, match="certificate is not trusted") as nobody_knows:
            transport(f"{url}/p").open(0, None)

    assert script.asked[-1].headers["authorization"] == basic(ALICE)
    assert nobody_knows.value.reason == "contact"
    assert nobody_knows.value.hint == "use --ca-bundle for a private certificate authority"


def test_one_with_the_certificate_of_another_is_not(tmp_path: Path, bundle: Path) -> None:
    certificate = put_identity(tmp_path / "server.pem", server("elsewhere.example"))
    with behind_tls(Script(octets=OCTETS), certificate) as url:
        with pytest.raises(TransferError, match="certificate is not trusted"):
            transport(f"{url}/p", Login(ca_bundle=bundle)).open(0, None)


def test_a_redirect_never_leads_out_of_tls(tmp_path: Path, bundle: Path) -> None:
    certificate = put_identity(tmp_path / "server.pem", server(HOST))
    with serving(Script(octets=OCTETS)) as plain:
        script = Script(octets=OCTETS, answers=[(302, {"Location": f"{plain}/p"}, b"")])
        with behind_tls(script, certificate) as url:
            with pytest.raises(TransferError, match="a redirect from https to http is not allowed"):
                transport(f"{url}/p", Login(ca_bundle=bundle)).open(0, None)
            moved = Script(octets=b"", answers=[(302, {"Location": f"{url}/p"}, b"")])
            with serving(moved) as start:
                assert everything(transport(f"{start}/p", Login(ca_bundle=bundle))) == OCTETS


def test_the_environment_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login bob password hunter2\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nobody()}")
    with serving(script := Script(octets=OCTETS)) as url:
        assert everything(transport(f"{url}/p")) == OCTETS

    assert "authorization" not in script.asked[0].headers


# What else a server may not do.


def test_a_digest_is_that_of_the_password() -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'}
    with serving(script := Script(octets=OCTETS, answers=[(401, challenge, b"")])) as url:
        assert everything(transport(f"{url}/p", ALICE)) == OCTETS

    sent = dict(re.findall(r'(\w+)="?([^",]*)"?', script.asked[-1].headers["authorization"]))
    first, second = (hashlib.md5(one.encode()).hexdigest() for one in ("alice:r:s3cret pass", "GET:/p"))
    whole = f"{first}:n:{sent['nc']}:{sent['cnonce']}:auth:{second}"
    assert (sent["username"], sent["response"]) == ("alice", hashlib.md5(whole.encode()).hexdigest())


def test_a_password_that_was_shown_over_tls_is_not_shown_in_clear(tmp_path: Path, bundle: Path) -> None:
    certificate = put_identity(tmp_path / "server.pem", server(HOST))
    login = Login(username="alice", password=b"s3cret pass", ca_bundle=bundle)
    safe = Script(octets=OCTETS, answers=[REFUSAL])
    with behind_tls(safe, certificate) as there:
        moved = (302, {"Location": f"{there}/p"}, b"")
        with serving(plain := Script(octets=OCTETS, answers=[moved])) as start:
            with pytest.raises(TransferError, match="login failed"):
                transport(f"{start}/p", login).open(0, None)

    for script in (safe, plain):
        assert ["authorization" in one.headers for one in script.asked] == [False]


def test_no_more_behind_the_last_octet_is_an_end_and_no_error() -> None:
    gone = (416, {"Content-Range": f"bytes */{len(OCTETS)}"}, b"")
    with serving(Script(octets=OCTETS, answers=[gone])) as url:
        answer = transport(f"{url}/p").open(len(OCTETS), '"1"')

    assert (answer.offset, answer.total, answer.read(9)) == (len(OCTETS), len(OCTETS), b"")


@pytest.mark.parametrize("target", ["http://[x", "http://127.0.0.1:0/p", "http://a..b/p"])
def test_a_redirect_to_what_is_no_url_is_refused(target: str) -> None:
    with (
        serving(Script(octets=OCTETS, answers=[(302, {"Location": target}, b"")])) as url,
        pytest.raises(TransferError, match="invalid redirect: "),
    ):
        transport(f"{url}/p").open(0, None)


def test_the_fragment_of_a_redirect_is_for_readers() -> None:
    with serving(script := Script(octets=OCTETS, answers=[(302, {"Location": "/q#part"}, b"")])) as url:
        assert everything(transport(f"{url}/p")) == OCTETS

    assert script.asked[-1].path == "/q"


def test_little_is_told_of_what_a_server_says() -> None:
    with speaking(b"HTTP/1.1 403 " + b"no" * 20_000 + b"\r\n\r\n") as url:
        with pytest.raises(TransferError) as caught:
            transport(url).open(0, None)

    assert len(str(caught.value)) < 200


@contextmanager
def ftp_server(*answers: bytes) -> Iterator[str]:
    """Answer each line of one connection after the other with the next answer, the first with none."""

    def answer() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    for octets in answers:
                        connection.sendall(octets)
                        if not connection.recv(4096):
                            break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, daemon=True).start()
        yield f"ftp://127.0.0.1:{listener.getsockname()[1]}/p"
        listener.shutdown(socket.SHUT_RDWR)


READY, USER, IN = b"220 ready\r\n", b"331 who?\r\n", b"230 in\r\n"


@pytest.mark.parametrize(
    ("answers", "kind", "problem", "reason"),
    [
        ([b"220-" + b"x" * 8000 + b"\r\n"] * 20, TransferError, "the server's answer is too long", "access"),
        ([READY, USER, b"530 wrong: PASS s3cret pass\r\n"], TransferError, "login failed: 530", "login"),
        (
            [READY, USER, IN, b"200 ok\r\n", b"213 1\r\n", b"213 then\r\n", b"227 nowhere\r\n"],
            TransferError,
            "227 nowhere",
            "access",
        ),
        ([READY, USER, IN, b"200 ok\r\n", b"550 no\r\n", b"425 later\r\n"], BrokenError, "425", "access"),
        ([b"421 busy\r\n"], BrokenError, "421 busy", "access"),
        ([b"\xe0 la carte\r\n"], TransferError, "la carte", "access"),
        ([b""], BrokenError, "", "contact"),
    ],
)
def test_what_an_ftp_server_says_is_bounded_and_understood_or_not(
    answers: list[bytes], kind: type[Exception], problem: str, reason: str | None
) -> None:
    if answers == [b""]:
        where = f"ftp://127.0.0.1:{nobody()}/p"
        with pytest.raises(kind) as caught:
            FtpTransport(Location.parse(where), ALICE, 5).open(0, None)
    else:
        joined = [b"".join(answers)] if len(answers) == 20 else answers
        with ftp_server(*joined) as url, pytest.raises(kind, match=problem) as caught:
            FtpTransport(Location.parse(url), ALICE, 5).open(0, None)

    assert getattr(caught.value, "reason", None) == reason
    assert "s3cret" not in str(caught.value)
