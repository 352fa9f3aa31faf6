"""Headers from a file: read strictly, sent to one server, shown to nobody."""

from pathlib import Path

import pytest

from spkg.download.http import WebTransport
from spkg.download.request_headers import MAX_HEADER_FILE, MAX_HEADER_LINE, MAX_HEADERS, load_headers
from spkg.download.url import Location, Login
from spkg.errors import FormatError, TransferError, UsageError
from tests.support.fake_servers import Script, serving

EXPECTED = "expected 'Name: value' in printable ASCII characters, at most 8192 bytes"
TOKEN = ("Authorization", "Bearer s3cret")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("headers")


@pytest.mark.parametrize(
    ("octets", "headers"),
    [
        (b"Authorization: Bearer s3cret\n", (TOKEN,)),
        (b"X-A:1\r\nX-B: \t two words\t\r\n", (("X-A", "1"), ("X-B", "two words"))),
        (b"X-A: a:b", (("X-A", "a:b"),)),
        (b"X: " + b"y" * (MAX_HEADER_LINE - 3), (("X", "y" * (MAX_HEADER_LINE - 3)),)),
    ],
)
def test_each_line_is_a_header(octets: bytes, headers: tuple[tuple[str, str], ...], file: Path) -> None:
    file.write_bytes(octets)

    assert load_headers(file) == headers


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", f"headers: line 1: {EXPECTED}"),
        (b"X: s3cret\n\n", f"headers: line 2: {EXPECTED}"),
        (b"X: s3cret\n Y: folded", f"headers: line 2: {EXPECTED}"),
        (b"X : s3cret", f"headers: line 1: {EXPECTED}"),
        (b"s3cret", f"headers: line 1: {EXPECTED}"),
        (b"X:  \n", f"headers: line 1: {EXPECTED}"),
        (b"X: s3cret\rY: z", f"headers: line 1: {EXPECTED}"),
        (b"X: s3cret\0", f"headers: line 1: {EXPECTED}"),
        (b"X: \xc3\xa9", f"headers: line 1: {EXPECTED}"),
        (b"X: " + b"y" * (MAX_HEADER_LINE - 2), f"headers: line 1: {EXPECTED}"),
        (b"X: 1\nx: s3cret", "headers: line 2: the header x occurs twice"),
        (b"Host: elsewhere", "headers: line 1: the header Host is set by the download itself"),
        (b"range: bytes=1-", "headers: line 1: the header range is set by the download itself"),
        (b"X: y\n" * MAX_HEADER_FILE, f"headers: the file has more than {MAX_HEADER_FILE} bytes"),
        (
            b"".join(b"X-%d: y\n" % number for number in range(MAX_HEADERS + 1)),
            "headers: 51 headers exceed the limit of 50",
        ),
    ],
)
def test_what_is_no_header_is_located_and_not_shown(octets: bytes, problem: str, file: Path) -> None:
    file.write_bytes(octets)

    with pytest.raises(FormatError) as caught:
        load_headers(file)

    assert str(caught.value) == problem


def sent(script: Script) -> list[str]:
    return [one.headers.get("authorization", "-") for one in script.asked]


def fetch(url: str, login: Login) -> bytes:
    answer = WebTransport(Location.parse(url), login, 10).open(0, None)
    return b"".join(iter(lambda: answer.read(1000), b""))


def test_headers_go_with_each_request_to_the_server_of_the_url() -> None:
    with serving(script := Script(octets=b"octets")) as url:
        script.answers = [(302, {"Location": "/q"}, b"")]
        assert fetch(f"{url}/p", Login(headers=(TOKEN, ("User-Agent", "gateway")))) == b"octets"

    assert sent(script) == ["Bearer s3cret"] * 2
    assert [one.headers["user-agent"] for one in script.asked] == ["gateway"] * 2
    assert [one.headers["accept-encoding"] for one in script.asked] == ["identity"] * 2


def test_no_header_goes_to_another_server() -> None:
    refusal: tuple[int, dict[str, str], bytes] = (401, {}, b"")
    with serving(other := Script(octets=b"", answers=[refusal])) as there:
        moved = (302, {"Location": f"{there}/p"}, b"")
        with serving(script := Script(octets=b"", answers=[moved, refusal])) as url:
            for _ in range(2):
                with pytest.raises(TransferError, match="login failed") as caught:
                    fetch(f"{url}/p", Login(headers=(TOKEN,)))

    assert (sent(script), sent(other)) == (["Bearer s3cret"] * 2, ["-"])
    assert caught.value.reason == "login"
    assert "s3cret" not in str(caught.value)


def test_headers_are_not_in_what_is_printed_of_a_login() -> None:
    login = Login(headers=(TOKEN,), client_cert=Path("c"), client_key_password=b"s3cret")

    assert "s3cret" not in repr(login)


@pytest.mark.parametrize(
    ("login", "problem"),
    [
        (
            {"username": "bob", "headers": (("AUTHORIZATION", "x"),)},
            "--username and an Authorization header are mutually exclusive",
        ),
        ({"headers": (("proxy-authorization", "x"),)}, "a Proxy-Authorization header needs --proxy"),
        ({"client_key": Path("k")}, "--client-key needs --client-cert"),
        ({"client_key_password": b"x"}, "a passphrase needs --client-cert"),
        ({"proxy": "https://proxy"}, "--proxy takes a URL of http, such as http://proxy.example:3128"),
        ({"proxy": "socks5://proxy"}, "--proxy takes a URL of http, such as http://proxy.example:3128"),
        ({"proxy": "proxy:3128"}, "--proxy takes a URL of http, such as http://proxy.example:3128"),
        ({"proxy": "http://"}, "--proxy takes a URL of http, such as http://proxy.example:3128"),
        ({"proxy": "http://proxy/path"}, "--proxy takes a URL of http, such as http://proxy.example:3128"),
        ({"proxy": "http://pröxy"}, "--proxy takes a URL of http, such as http://proxy.example:3128"),
        ({"proxy": "http://proxy:0"}, "not a valid URL"),
        (
            {"proxy": "http://bob:s3cret@proxy"},
            "the URL of a proxy must not carry credentials: other users can see it",
        ),
    ],
)
def test_a_login_that_contradicts_itself_is_refused(login: dict[str, object], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        Login(**login)  # type: ignore[arg-type]  # one of many kinds

    assert str(caught.value) == problem
    if "credentials" in problem:
        assert caught.value.hint == "write a line 'Proxy-Authorization: ...' into the file of --header-file"


@pytest.mark.parametrize(
    ("url", "login", "problem"),
    [
        ("ftp://h/p", Login(proxy="http://proxy"), "--proxy needs a URL of http or https, not ftp"),
        (
            "http://[fe80::1%25eth0]/p",
            Login(proxy="http://proxy"),
            "an address with a zone can't be reached through a proxy",
        ),
        ("tftp://h/p", Login(headers=(TOKEN,)), "--header-file needs a URL of http or https, not tftp"),
        ("http://h/p", Login(client_cert=Path("c")), "--client-cert needs a URL of https or ftps, not http"),
    ],
)
def test_what_has_no_use_for_a_protocol_is_refused(url: str, login: Login, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        login.check_use(Location.parse(url))

    assert str(caught.value) == problem
