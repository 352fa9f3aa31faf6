"""Uploads: by PUT with digest or basic, by FTP and TFTP; bounded, without rights, and told (A.4.1.5)."""

import hashlib
import os
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from spkg.agent.keeper_client import TransferNews
from spkg.agent.keeper_settings import KeeperSettings, server_options
from spkg.agent.settings import UploadSource
from spkg.download.tftp import BLOCK
from spkg.download.tftp_upload import send_by_tftp
from spkg.download.upload import send_file
from spkg.download.url import Location, Login
from spkg.download.worker import BrokenError
from spkg.errors import TransferError
from tests.support.fake_servers import nobody
from tests.support.keeper_kit import START, keeper_config, keeping, over
from tests.support.real_servers import tftpd, vsftpd

TYPE = "1 Vendor Configuration File"
CONTENTS = b"set system host-name gateway\n" * 300


class Put(BaseHTTPRequestHandler):
    """Takes files, and asks for a login if it is to."""

    protocol_version = "HTTP/1.1"
    taken: list[tuple[str, bytes]]
    asked: list[str]
    answers: list[tuple[int, dict[str, str]]]
    password = ""

    def do_PUT(self) -> None:
        octets = self.rfile.read(int(self.headers["Content-Length"]))
        said = self.headers.get("Authorization", "")
        self.asked.append(said.partition(" ")[0])
        if self.answers:
            self._answer(*self.answers.pop(0))
        elif self.password and not self._is_right(said):
            challenge = 'Digest realm="files", nonce="n1", qop="auth", algorithm=MD5'
            self._answer(401, {"WWW-Authenticate": challenge})
        else:
            self.taken.append((self.path, octets))
            self._answer(201, {})

    def _is_right(self, said: str) -> bool:
        found = dict(re.findall(r'(\w+)="?([^",]*)"?', said))
        first, second = (
            hashlib.md5(text.encode()).hexdigest()
            for text in (f"bob:files:{self.password}", f"PUT:{self.path}")
        )
        wanted = f"{first}:n1:{found.get('nc')}:{found.get('cnonce')}:auth:{second}"
        return found.get("response") == hashlib.md5(wanted.encode()).hexdigest()

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def taking(
    password: str = "", *answers: tuple[int, dict[str, str]], kind: type[Put] = Put
) -> Iterator[tuple[str, type[Put]]]:
    """Give the URL of a server that takes files, and what it has taken."""
    state = {"taken": [], "asked": [], "answers": [*answers], "password": password}
    handler = type("Handler", (kind,), state)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/config?id=7", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("config").write_bytes(CONTENTS)
    return tmp_path


def source(**changes: Any) -> KeeperSettings:
    known = {"file_type": TYPE, "command": (), "file": Path("config"), "max_size": 1 << 20}
    one = UploadSource(**{**known, **changes})
    return keeper_config(uploads={TYPE: one})


def uploaded(settings: KeeperSettings, url: str, username: str = "", password: str = "") -> TransferNews:
    with keeping(settings) as keeper:
        keeper.start_upload(token="t", url=url, username=username, password=password, file_type=TYPE)
        return over(keeper)


def send(url: str, login: Login | None = None) -> list[float]:
    """Send a file, and return the pauses."""
    pauses: list[float] = []
    send_file(CONTENTS, Location.parse(url), login or Login(), patience=2, sleep=pauses.append)
    return pauses


def test_a_file_goes_to_the_server_by_put_t11() -> None:
    with taking() as (url, server):
        news = uploaded(source(), url)

    assert server.taken == [("/config?id=7", CONTENTS)]
    assert news.status == 0
    assert news.result == {
        "status": "sent",
        "exit": 0,
        "message": "",
        "reason": None,
        "fault": {"code": 0, "string": ""},
        "reboot_required": False,
        "already_installed": None,
        "roles": None,
        "start_time": START,
        "complete_time": START,
    }


def test_the_output_of_a_command_is_sent() -> None:
    command = ("sh", "-c", "echo said to nobody >&2; printf '%s' \"configuration\"")
    with taking() as (url, server):
        uploaded(source(file=None, command=command), url)

    assert server.taken == [("/config?id=7", b"configuration")]


def test_digest_is_answered_and_the_password_stays_here() -> None:
    with taking("open sesame") as (url, server):
        news = uploaded(source(), url, "bob", "open sesame")

    assert news.result is not None
    assert (news.result["exit"], server.asked) == (0, ["", "Digest"])
    assert server.taken == [("/config?id=7", CONTENTS)]


@pytest.mark.parametrize(
    ("login", "problem"),
    [(("bob", "wrong"), "login failed"), (("", ""), "the server requires a login")],
)
def test_a_login_that_is_refused_is_9012_t12(login: tuple[str, str], problem: str) -> None:
    with taking("open sesame") as (url, server):
        news = uploaded(source(), url, *login)

    assert news.result is not None
    assert news.result["fault"]["code"] == 9012
    assert news.result["fault"]["string"].endswith(f"/config?…: {problem}")
    assert server.taken == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"max_size": 100}, "expected a file of at most 100 bytes, got a longer one"),
        ({"file": Path("none")}, "none: no such file or directory"),
        ({"file": None, "command": ("sh", "-c", "exit 3")}, "sh ended with status 3"),
        ({"file": None, "command": ("./none",)}, "./none can't be run: ./none: no such file or directory"),
        (
            {"file": None, "command": ("sh", "-c", "cat config config"), "max_size": len(CONTENTS)},
            "expected a file of at most 8.5 KiB, got a longer one",
        ),
    ],
)
def test_what_can_not_be_read_is_9011_and_nothing_is_sent_t12(changes: dict[str, Any], text: str) -> None:
    with taking() as (url, server):
        news = uploaded(source(**changes), url)

    assert news.result is not None
    assert news.result["fault"] == {"code": 9011, "string": text}
    assert server.asked == []


def test_a_file_type_that_is_not_configured_is_refused() -> None:
    with (
        keeping(keeper_config()) as keeper,
        pytest.raises(Exception, match="no file is configured") as caught,
    ):
        keeper.start_upload(token="t", url="http://h/", username="", password="", file_type=TYPE)

    assert type(caught.value).__name__ == "HostError"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_process_that_talks_to_the_server_has_no_rights() -> None:
    hidden = Path("hidden")
    hidden.write_bytes(CONTENTS)
    hidden.chmod(0o600)
    settings = source(file=hidden)
    identity: list[str] = []

    class Looking(Put):
        def do_PUT(self) -> None:
            process = Path("/proc") / Path("keeper/transfer").read_text().split('"group": ')[1].split("}")[0]
            identity.append((process / "status").read_text())
            super().do_PUT()

    with taking(kind=Looking) as (url, server):
        with keeping(keeper_config(uploads=settings.uploads, user=(65534, 65534))) as keeper:
            keeper.start_upload(token="t", url=url, username="", password="", file_type=TYPE)
            news = over(keeper)

    assert news.result is not None
    assert news.result["exit"] == 0
    assert server.taken == [("/config?id=7", CONTENTS)]
    assert re.search(r"Uid:\s+65534\s+65534\s+65534", identity[0])
    assert re.search(r"Groups:\s*\n", identity[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_link_of_who_talks_shows_nothing_that_is_hidden_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with TemporaryDirectory(prefix="spkg-test-upload-") as name:
        Path(name).chmod(0o755)
        monkeypatch.chdir(name)
        Path("hidden").write_bytes(CONTENTS)
        Path("hidden").chmod(0o600)
        Path("theirs").mkdir()
        os.chown("theirs", 65534, 65534)
        Path("theirs/log").symlink_to("../hidden")
        Path("theirs/open").write_bytes(CONTENTS)
        news = []
        for file in ("theirs/log", "theirs/open"):
            with taking() as (url, server):
                settings = source(file=Path(file).absolute())
                with keeping(keeper_config(uploads=settings.uploads, user=(65534, 65534))) as keeper:
                    keeper.start_upload(token="t", url=url, username="", password="", file_type=TYPE)
                    news.append((over(keeper).result, [octets for _, octets in server.taken]))
        monkeypatch.chdir("/")

    assert [octets for _, octets in news] == [[], [CONTENTS]]
    assert news[0][0] is not None
    assert news[0][0]["message"].endswith("permission denied")


def test_a_pipe_in_the_place_of_a_file_does_not_hold_the_transfer_up() -> None:
    os.mkfifo("pipe")
    with taking() as (url, _):
        news = uploaded(source(file=Path("pipe")), url)

    assert news.result is not None
    assert news.result["message"] == "pipe: expected a file, got a pipe"


def test_a_server_that_is_busy_is_asked_again() -> None:
    with taking("", (503, {"Retry-After": "7"}), (500, {})) as (url, server):
        pauses = send(url)

    assert (len(server.taken), pauses) == (1, [7.0, 2.0])


def test_a_server_that_refuses_is_not_asked_again() -> None:
    with taking("", (403, {})) as (url, server):
        with pytest.raises(TransferError, match="403 Forbidden"):
            send(url)

    assert len(server.asked) == 1


def test_a_server_that_is_not_there_is_given_up_after_three_attempts() -> None:
    with pytest.raises(TransferError, match="connection refused"):
        send(f"http://127.0.0.1:{nobody()}/c")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_followed_with_the_file_and_without_the_password(status: int) -> None:
    with taking() as (elsewhere, second):
        with taking("", (status, {"Location": elsewhere})) as (url, first):
            send(url, Login(username="bob", password=b"secret"))

    assert (first.taken, second.taken) == ([], [("/config?id=7", CONTENTS)])
    assert second.asked == [""]


def test_a_redirect_that_wants_a_get_stores_nothing() -> None:
    with taking("", (303, {"Location": "/other"})) as (url, _):
        with pytest.raises(TransferError, match="303 See Other"):
            send(url)


def test_redirects_in_a_circle_end() -> None:
    with taking("", *[(307, {"Location": "/again"})] * 6) as (url, server):
        with pytest.raises(TransferError, match="more than 5 redirects"):
            send(url)

    assert len(server.asked) == 6


def test_basic_is_answered_only_where_it_is_allowed() -> None:
    challenge = (401, {"WWW-Authenticate": 'Basic realm="x"'})
    with taking("", challenge, challenge) as (url, server):
        with pytest.raises(TransferError, match="requires the password in clear text"):
            send(url, Login(username="bob", password=b"secret"))
        send(url, Login(username="bob", password=b"secret", unsafe_basic=True))

    assert server.asked == ["", "", "Basic"]


def test_options_of_apply_say_how_a_server_is_reached() -> None:
    words = ("--crl", "x", "--ca-bundle", "ca.pem", "--proxy=http://p:1", "--unsafe-basic", "--client-cert=c")

    assert server_options(words) == {
        "ca_bundle": Path("ca.pem"),
        "proxy": "http://p:1",
        "unsafe_basic": True,
        "client_cert": Path("c"),
    }


# Other people's servers.


@pytest.fixture
def files(here: Path) -> Path:
    """What a server shows, and where it takes files."""
    (here / "work").mkdir()
    (here / "files").mkdir()
    incoming = here / "files" / "incoming"
    incoming.mkdir()
    incoming.chmod(0o777)
    for directory in [here, *here.parents][:3]:
        directory.chmod(directory.stat().st_mode | 0o055)  # the server is somebody else
    return incoming


@pytest.mark.judge("vsftpd")
def test_a_file_goes_to_the_server_by_ftp(files: Path, here: Path) -> None:
    with vsftpd(files.parent, here / "work", writable=True) as server:
        news = uploaded(source(), f"ftp://{server.host}:{server.port}/incoming/c", "anonymous", "x")

    assert news.result is not None
    assert news.result["fault"] == {"code": 0, "string": ""}
    assert (files / "c").read_bytes() == CONTENTS


@pytest.mark.judge("vsftpd")
def test_what_an_ftp_server_refuses_is_told(files: Path, here: Path) -> None:
    with vsftpd(files.parent, here / "work", password="right", writable=True) as server:
        login = uploaded(source(), f"ftp://{server.host}:{server.port}/incoming/c", "anonymous", "wrong")
        place = uploaded(source(), f"ftp://{server.host}:{server.port}/no/c", "anonymous", "right")

    faults = [one.result["fault"] for one in (login, place) if one.result is not None]
    assert [one["code"] for one in faults] == [9012, 9011]
    assert faults[0]["string"].endswith("/incoming/c: login failed: 530")
    assert faults[1]["string"].endswith("/no/c: 553 Could not create file.")


@pytest.mark.judge("in.tftpd")
@pytest.mark.skipif(os.geteuid() != 0, reason="the server changes its own root")
def test_a_file_goes_to_the_server_by_tftp(files: Path, here: Path) -> None:
    with tftpd(files.parent, here / "work", writable=True) as port:
        news = uploaded(source(), f"tftp://127.0.0.1:{port}/incoming/c")
        again = uploaded(source(), f"tftp://127.0.0.1:{port}/no/such/directory")

    assert news.result is not None
    assert news.result["fault"] == {"code": 0, "string": ""}
    assert (files / "c").read_bytes() == CONTENTS
    assert again.result is not None
    assert again.result["fault"]["code"] == 9011


# TFTP.


class Tftp(threading.Thread):
    """Takes one file by TFTP, as a plan says: what it answers to a request, and which packets it loses."""

    def __init__(
        self, *, options: bool = True, lose: int = 0, first: bytes | None = None, stranger: bool = False
    ) -> None:
        super().__init__(daemon=True)
        self.stranger = stranger
        self.refused = b""
        self.options, self.lose, self.first = options, lose, first
        self.requests: list[list[bytes]] = []
        self.octets = b""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(3)
        self.url = f"tftp://127.0.0.1:{self._socket.getsockname()[1]}/dir/c"

    def run(self) -> None:
        with suppress(TimeoutError):  # nobody asks any more
            self._take()

    def _take(self) -> None:
        size = 512
        with self._socket, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as transfer:
            transfer.bind(("127.0.0.1", 0))
            transfer.settimeout(20)
            while True:
                packet, peer = self._socket.recvfrom(2000)
                if packet[:2] != b"\0\2":  # the refusal of what was answered
                    continue
                words = packet[2:].split(b"\0")[:-1]
                self.requests.append(words)
                if self.first is not None:
                    self._socket.sendto(self.first, peer)
                    self.first = None
                elif len(words) > 2 and not self.options:
                    self._socket.sendto(struct.pack("!HH", 5, 8) + b"no options\0", peer)
                else:
                    break
            if len(words) > 2:
                size = int(words[3])
                transfer.sendto(struct.pack("!H", 6) + b"BLKSIZE\0" + words[3] + b"\0", peer)
            else:
                transfer.sendto(struct.pack("!HH", 4, 0), peer)
            if self.stranger:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                    other.settimeout(3)
                    other.sendto(struct.pack("!HH", 4, 1), peer)
                    self.refused = other.recv(100)
            number = 0
            while True:
                packet, peer = transfer.recvfrom(2000)
                if self.lose:
                    self.lose -= 1
                    continue
                kind, block = struct.unpack_from("!HH", packet)
                if kind == 3 and block == (number + 1) % 65536:
                    number = block
                    self.octets += packet[4:]
                transfer.sendto(struct.pack("!HH", 4, block), peer)
                if len(packet) - 4 < size:
                    return


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, BLOCK, BLOCK + 1, 3 * BLOCK])
@pytest.mark.parametrize("options", [True, False])
def test_a_file_of_any_length_goes_by_tftp_t16(length: int, *, options: bool) -> None:
    server = Tftp(options=options)
    server.start()

    send_by_tftp(bytes(length), Location.parse(server.url), 20)

    server.join(20)
    assert server.octets == bytes(length)
    assert server.requests[-1][:2] == [b"dir/c", b"octet"]
    assert len(server.requests) == (1 if options else 2)


def test_a_lost_block_is_sent_again() -> None:
    server = Tftp(lose=1)
    server.start()

    send_by_tftp(CONTENTS, Location.parse(server.url), 20)

    server.join(20)
    assert server.octets == CONTENTS


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (struct.pack("!HH", 5, 2) + b"access violation\0", "access violation"),
        (struct.pack("!HH", 5, 3) + b"\0", "the server refused with error 3"),
    ],
)
def test_what_a_tftp_server_refuses_is_told_in_its_words(answer: bytes, problem: str) -> None:
    server = Tftp(first=answer)
    server.start()

    with pytest.raises(TransferError) as caught:
        send_by_tftp(CONTENTS, Location.parse(server.url), 20)

    assert str(caught.value).endswith(f"/dir/c: {problem}")


@pytest.mark.parametrize("size", [b"9999", b"7", b"x"])
def test_options_that_were_not_requested_are_refused_and_the_file_sent_without(size: bytes) -> None:
    server = Tftp(first=struct.pack("!H", 6) + b"blksize\0" + size + b"\0", options=False)
    server.start()

    send_by_tftp(CONTENTS, Location.parse(server.url), 20)

    server.join(20)
    assert server.octets == CONTENTS


def test_a_packet_of_somebody_else_is_dropped() -> None:
    server = Tftp(stranger=True)
    server.start()

    send_by_tftp(CONTENTS, Location.parse(server.url), 20)

    server.join(20)
    assert server.octets == CONTENTS
    assert server.refused == struct.pack("!HH", 5, 5) + b"unknown transfer\0"


def test_a_tftp_server_that_does_not_answer_is_given_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"tftp://127.0.0.1:{silent.getsockname()[1]}/c"

        with pytest.raises(BrokenError, match="no answer in time"):
            send_by_tftp(CONTENTS, Location.parse(url), 0.5)
