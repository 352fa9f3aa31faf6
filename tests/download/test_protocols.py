"""FTP and FTP over TLS, with a server within this process."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from spkg.download import ftp
from spkg.download.client import _check, _transport, download
from spkg.download.ftp import FtpTransport
from spkg.download.http import WebTransport
from spkg.download.tftp import TftpTransport
from spkg.download.timeouts import Timeouts
from spkg.download.url import Location, Login
from spkg.download.worker import BrokenError, Transport
from spkg.errors import LOGIN, TransferError
from spkg.verify.payload import StartedOverError
from tests.support.real_servers import HOST, put_identity, server, web_root

OCTETS = bytes(range(256)) * 40
NAME = "ä b.spkg"
QUOTED = "%C3%A4%20b.spkg"
AS_SENT = NAME.encode().decode("latin-1")
ALICE = Login(username="alice", password=b"s3cret \xe4")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / NAME).write_bytes(OCTETS)
    return tmp_path / "files"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (path := tmp_path / "ca.pem").write_bytes(web_root().pem)
    return path


@dataclass(kw_only=True)
class FtpServer:
    """A server of files that knows as much of FTP as its settings say."""

    files: Path
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    known: frozenset[str] = frozenset({"SIZE", "MDTM"})
    host: str = "127.0.0.1"
    says: dict[str, str] = field(default_factory=dict)
    """What it answers to some commands, whatever they ask for."""
    cuts: list[int] = field(default_factory=list)
    """How many octets of a file it sends before it breaks off; then all of them."""
    asked: list[str] = field(default_factory=list)

    def serve(self, connection: socket.socket, stack: ExitStack) -> None:
        """Serve one connection."""
        if self.tls is not None and self.implicit:
            connection = stack.enter_context(self.tls.wrap_socket(connection, server_side=True))
        waiting = stack.enter_context(listening_on(self.host))
        name, rest, private = "", 0, False
        connection.sendall(b"220 ready\r\n")
        while line := self._line(connection):
            verb, _, argument = line.partition(" ")
            self.asked.append(line)
            path = self.files / argument.encode("latin-1").decode("utf-8", "replace")
            answer = "200 fine"
            match verb:
                case _ if verb in self.says:
                    answer = self.says[verb]
                case "AUTH" if self.tls is not None:
                    connection.sendall(b"234 go on\r\n")
                    connection = stack.enter_context(self.tls.wrap_socket(connection, server_side=True))
                    continue
                case "AUTH":
                    answer = "500 what?"
                case "USER":
                    name, answer = argument, "331 who?"
                case "PASS":
                    right = name == "anonymous" or argument == "s3cret \xe4"
                    answer = "230 in" if right else "530 no"
                case "PROT":
                    private = argument == "P"
                case "SIZE" | "MDTM" if verb not in self.known:
                    answer = "502 what?"
                case "SIZE" | "MDTM" | "RETR" if not path.is_file():
                    answer = "550 no such file"
                case "SIZE":
                    answer = f"213 {path.stat().st_size}"
                case "MDTM":
                    answer = "213 20261121120000"
                case "PASV":
                    port = waiting.getsockname()[1]
                    answer = f"227 (127,0,0,1,{port >> 8},{port & 255})"
                case "EPSV":
                    answer = f"229 there (|||{waiting.getsockname()[1]}|)"
                case "REST":
                    rest, answer = int(argument), "350 then"
                case "RETR":
                    connection.sendall(b"150 here\r\n")
                    data, _ = waiting.accept()
                    if private and self.tls is not None:
                        data = self.tls.wrap_socket(data, server_side=True)
                    end = self.cuts.pop(0) if self.cuts else None
                    with data:
                        data.sendall(path.read_bytes()[rest:end])
                    rest, answer = 0, "226 that was all" if end is None else "426 broken off"
            connection.sendall(f"{answer}\r\n".encode())

    @staticmethod
    def _line(connection: socket.socket) -> str:
        octets = b""
        while not octets.endswith(b"\r\n"):
            more = connection.recv(1)
            if not more:
                return ""
            octets += more
        return octets[:-2].decode("latin-1")


def listening_on(host: str) -> socket.socket:
    """Return a socket that listens on a free port."""
    family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family)
    listening.bind(address)  # create_server would lose the zone
    listening.listen()
    return listening


@contextmanager
def ftp_server(files: Path, certificate: Path | None = None, **settings: Any) -> Iterator[str]:
    """Serve files by FTP, and give the URL of the directory."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = FtpServer(files=files, tls=context, **settings)

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), ExitStack() as stack:
            server.serve(stack.enter_context(connection), stack)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=[listening.accept()[0]], daemon=True).start()

    with listening_on(server.host) as listening:
        threading.Thread(target=accept, daemon=True).start()
        scheme = "ftp" if certificate is None else "ftps"
        host = f"[{server.host}]" if ":" in server.host else server.host
        yield f"{scheme}://{host}:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def everything(asking: Transport, offset: int = 0, validator: str | None = None) -> bytes:
    answer = asking.open(offset, validator)
    octets = b"".join(iter(lambda: answer.read(1000), b""))
    answer.close()
    return octets


def asking(url: str, login: Login = ALICE) -> FtpTransport:
    return FtpTransport(Location.parse(url), login, 10)


def test_a_file_comes_whole_or_from_an_octet_on(files: Path) -> None:
    with ftp_server(files) as url:
        one = asking(f"{url}/{QUOTED}", Login())
        whole = one.open(0, None)
        assert (whole.offset, whole.total) == (0, len(OCTETS))
        assert whole.validator is not None
        whole.close()
        rest = one.open(1000, whole.validator)
        assert (rest.offset, rest.total, rest.validator) == (1000, len(OCTETS), whole.validator)
        rest.close()

        assert everything(one) == OCTETS
        assert everything(one, 1000, whole.validator) == OCTETS[1000:]
        assert everything(one, 1000, "another") == OCTETS
        assert everything(one, 1000, None) == OCTETS


def test_a_password_is_octets(files: Path) -> None:
    with ftp_server(files) as url:
        assert everything(asking(f"{url}/{QUOTED}")) == OCTETS
        with pytest.raises(TransferError, match="login failed: 530") as caught:
            asking(f"{url}/{QUOTED}", Login(username="alice", password=b"wrong")).open(0, None)

    assert caught.value.reason == LOGIN


def test_a_file_that_is_not_there_is_no_access(files: Path) -> None:
    with ftp_server(files) as url, pytest.raises(TransferError, match="550") as caught:
        asking(f"{url}/nowhere").open(0, None)

    assert caught.value.reason == "access"


def test_a_server_that_knows_neither_size_nor_time_begins_anew(files: Path) -> None:
    with ftp_server(files, known=frozenset()) as url:
        one = asking(f"{url}/{QUOTED}")
        answer = one.open(1000, "10240 20261121")
        assert (answer.offset, answer.total, answer.validator) == (0, None, None)
        answer.close()

        assert everything(one) == OCTETS


@pytest.mark.parametrize("answer", ["502 REST not implemented", "501 bad", "450 not now"])
def test_a_server_that_does_not_resume_is_asked_once_and_begins_anew(files: Path, answer: str) -> None:
    asked: list[str] = []
    notes: list[str] = []
    with ftp_server(files, says={"REST": answer}, cuts=[5000, 7000], asked=asked) as url:
        location = Location.parse(f"{url}/{QUOTED}")
        with download(location, Login(), monotonic, Timeouts()) as arrival:
            arrival.note = notes.append
            octets = bytearray()
            while len(octets) < len(OCTETS):
                with suppress(StartedOverError):
                    octets += arrival.read(min(100, len(OCTETS) - len(octets)))
                    continue
                octets.clear()

    assert octets == OCTETS
    assert [line for line in asked if line.startswith(("REST", "RETR"))] == [
        f"RETR {AS_SENT}",
        "REST 5000",
        f"RETR {AS_SENT}",
        f"RETR {AS_SENT}",
    ]
    anew = f"the server does not resume: {answer}: starting again from the beginning"
    assert [note for note in notes if "trying again" not in note] == [anew]


def test_a_server_that_closes_at_rest_may_resume_another_time(files: Path) -> None:
    with ftp_server(files, says={"REST": "421 too many users"}) as url:
        one = asking(f"{url}/{QUOTED}")
        with pytest.raises(BrokenError, match="421 too many users"):
            one.open(1000, f"{len(OCTETS)} 20261121120000")


@pytest.mark.parametrize(
    "answer", ["213 10,240", "213 10 240", "213 -1", "213", "213 0x2800", f"213 {'9' * 20}", "213 ١٢"]
)
def test_a_size_that_is_no_number_is_none(files: Path, answer: str) -> None:
    with ftp_server(files, says={"SIZE": answer.encode().decode("latin-1")}) as url:
        answered = asking(f"{url}/{QUOTED}").open(1000, f"{len(OCTETS)} 20261121120000")
        assert (answered.offset, answered.total, answered.validator) == (0, None, None)
        answered.close()


def ipv6_hosts() -> list[str]:
    """Return an address of IPv6, and one with a zone if this host has any."""
    known = [line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines()]
    linked = [f"{IPv6Address(bytes.fromhex(one[0]))}%{one[5]}" for one in known if one[3] == "20"]
    return ["::1", *linked[:1]]


@pytest.mark.parametrize("host", ipv6_hosts())
@pytest.mark.parametrize("secure", [False, True], ids=["ftp", "ftps"])
def test_a_server_has_an_address_of_ipv6(
    files: Path,
    tmp_path: Path,
    bundle: Path,
    host: str,
    secure: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    identity = put_identity(tmp_path / "server.pem", server(host.partition("%")[0])) if secure else None
    with ftp_server(files, identity, host=host) as url:
        assert everything(asking(f"{url}/{QUOTED}", Login(ca_bundle=bundle))) == OCTETS


def test_the_environment_makes_ftps_trust_nobody(
    files: Path, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    path = put_identity(tmp_path / "server.pem", server(HOST))
    with ftp_server(files, path) as url:
        with pytest.raises(TransferError, match="certificate is not trusted"):
            asking(f"{url}/{QUOTED}").open(0, None)


def test_commands_and_data_go_through_tls(files: Path, tmp_path: Path, bundle: Path) -> None:
    path = put_identity(tmp_path / "server.pem", server(HOST))
    login = Login(username="alice", password=b"s3cret \xe4", ca_bundle=bundle)
    with ftp_server(files, path) as url:
        assert everything(asking(f"{url}/{QUOTED}", login)) == OCTETS
        with pytest.raises(TransferError, match="certificate is not trusted") as caught:
            asking(f"{url}/{QUOTED}").open(0, None)

    hint = "use --ca-bundle for a private certificate authority"
    assert (caught.value.reason, caught.value.hint) == ("contact", hint)


def test_tls_may_begin_with_the_connection(
    files: Path, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put_identity(tmp_path / "server.pem", server(HOST))
    with ftp_server(files, path, implicit=True) as url:
        monkeypatch.setattr(ftp, "IMPLICIT", Location.parse(url).port)
        assert everything(asking(f"{url}/{QUOTED}", Login(ca_bundle=bundle))) == OCTETS


def test_a_server_without_tls_is_told_no_password(files: Path, bundle: Path) -> None:
    with ftp_server(files) as url, pytest.raises(TransferError, match="the server refused TLS") as caught:
        asking(url.replace("ftp:", "ftps:") + f"/{QUOTED}", Login(ca_bundle=bundle)).open(0, None)

    assert caught.value.reason == "contact"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1/p", WebTransport),
        ("https://127.0.0.1/p", WebTransport),
        ("ftp://127.0.0.1/p", FtpTransport),
        ("ftps://127.0.0.1/p", FtpTransport),
        ("tftp://127.0.0.1/p", TftpTransport),
    ],
)
def test_each_scheme_has_its_protocol(url: str, kind: Callable[..., object]) -> None:
    location = Location.parse(url)

    contexts = _check(location, Login())
    assert type(_transport(location, Login(), contexts)) is kind
