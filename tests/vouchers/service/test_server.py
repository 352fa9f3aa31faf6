"""The service on a real socket: what is no HTTP, clients that are slow, TLS, and its end."""

import json
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from hashlib import sha256
from http.client import HTTPSConnection
from pathlib import Path
from time import monotonic
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from spkg.errors import FormatError, HostError
from tests.support.acs_files import PATIENCE
from tests.support.kit import AT, LAST
from tests.support.service_kit import ALL, DEVICE, now, running, write_files
from tests.support.voucher_kit import signatory
from vouchers.acs.ledger import Ledger
from vouchers.service.server import VoucherService, serve_vouchers
from vouchers.service.service_log import ServiceLog
from vouchers.service.settings import ServiceSettings, load_service_settings
from vouchers.signature.sign import VoucherSigner

BODY = json.dumps({"device": DEVICE, "offer": "tv"}).encode()
GET = f"GET /v1/offers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALL}\r\n"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running(tmp_path_factory.mktemp("s"), "client-timeout = 5") as (found, _):
        yield found


def talk(port: int, *pieces: bytes, close: bool = True) -> bytes:
    """Send octets, and return all that comes back until the end."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        with suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
            if close:
                connection.shutdown(socket.SHUT_WR)
        found = b""
        with suppress(ConnectionError):
            while piece := connection.recv(1 << 16):
                found += piece
    return found


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


HEAD: Final = f"POST /v1/vouchers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALL}\r\n".encode()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000, 431),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
        (
            b"POST /v1/vouchers HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            400,
        ),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"x" * 200_000, 400),
        (b"POST /v1/vouchers HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v1/vouchers HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST /v1/vouchers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET http://other/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /v1/offers HTTP/1.0\r\n\r\n", 401),
    ],
)
def test_what_is_no_request_is_answered_with_a_problem(port: int, sent: bytes, status: int) -> None:
    answer = talk(port, sent)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert statuses(answer) == [status]
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == status
    assert b"Traceback" not in answer


def test_a_body_in_pieces_that_are_none_is_no_request_behind_another(port: int) -> None:
    head = f"POST /v1/vouchers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALL}\r\n".encode()
    smuggled = b"GET /v1/journal HTTP/1.1\r\nHost: x\r\n\r\n"

    both = talk(
        port,
        head + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
    )
    bad = talk(port, head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + smuggled)

    assert statuses(both) == [400]
    assert statuses(bad) == [400]


@pytest.mark.parametrize("sent", [b"POST /v1/vou", b"POST /v1/vouchers HTTP/1.1\r\nHost: x\r\nX: y\r\n"])
def test_a_head_that_ends_early_ends_the_connection(port: int, sent: bytes) -> None:
    assert statuses(talk(port, sent)) in ([], [400])


def test_a_body_that_ends_early_issues_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as (port, _):
        head = f"POST /v1/vouchers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALL}\r\n".encode()
        talk(port, head + b"Content-Length: 500\r\n\r\n" + BODY)
        talk(port, head + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\r\n")

    with Ledger(str(tmp_path / "ledger.db"), now) as ledger:
        assert list(ledger.entries()) == []


def test_a_client_that_ends_its_side_is_answered(tmp_path: Path) -> None:
    get = f"{GET}\r\n".encode()
    post = f"POST /v1/vouchers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALL}\r\n"
    issue = f"{post}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    devices = b"oui,product_class,serial_number\n00D09E,G,1\n00D09E,G,2\n"
    batch = f"{post}Content-Length: {len(devices)}\r\n\r\n".encode() + devices
    batch = batch.replace(b"/v1/vouchers", b"/v1/batches?batch=half&offer=tv")

    with running(tmp_path) as (port, _):
        found = [statuses(talk(port, sent)) for sent in (get, issue, get * 2 + issue, get + issue[:-1])]
        answer = talk(port, batch)

    assert found == [[200], [201], [200, 200, 201], [200]]
    assert b'"status": "done"' in answer
    assert answer.endswith(b"\r\n0\r\n\r\n")


def test_one_connection_serves_many_requests(port: int) -> None:
    last = GET + "Connection: close\r\n\r\n"

    answer = talk(port, (f"{GET}\r\n" * 2 + last).encode(), close=False)

    assert statuses(answer) == [200, 200, 200]


def test_a_client_that_sends_too_slowly_is_told_and_closed(tmp_path: Path) -> None:
    with running(tmp_path, "client-timeout = 0.2") as (port, _):
        head = talk(port, b"GET / HT", close=False)
        body = talk(
            port,
            GET.encode().replace(b"GET /v1/offers", b"POST /v1/vouchers") + b"Content-Length: 9\r\n\r\n{",
            close=False,
        )
        rest = talk(port, b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", close=False)

    assert statuses(head) == statuses(body) == [408]
    assert json.loads(head.partition(b"\r\n\r\n")[2])["detail"] == "the request was not sent in time"
    assert statuses(rest) == [404]


def test_a_client_that_does_not_read_is_given_up(tmp_path: Path) -> None:
    with running(tmp_path, "client-timeout = 0.3") as (port, _):
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(("127.0.0.1", port))
            connection.settimeout(PATIENCE)
            with suppress(ConnectionError):  # once it is given up
                for _ in range(2000):
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert statuses(talk(port, last, close=False)) == [200]


def test_more_connections_than_allowed_are_turned_away(tmp_path: Path) -> None:
    with running(tmp_path, "connections = 2") as (port, _):
        held = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(2)]
        for connection in held:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        answer = talk(port, b"", close=False)
        for connection in held:
            connection.close()

    assert statuses(answer) == [503]
    assert b"Retry-After: 2" in answer


def test_the_service_stops_once_requests_in_flight_are_answered(tmp_path: Path) -> None:
    with running(tmp_path) as (port, stop):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            head = f"POST /v1/vouchers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALL}\r\n"
            connection.sendall(f"{head}Expect: 100-continue\r\nContent-Length: {len(BODY)}\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 100")
            stop()
            connection.sendall(BODY)
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece

    assert statuses(answer) == [201]
    assert [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()][
        -1
    ] == "stopped"


def self_signed(place: Path, name: str) -> tuple[Path, bytes]:
    """Write a certificate with its key; return where, and the certificate in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    whom = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(whom)
        .issuer_name(whom)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(AT)
        .not_valid_after(LAST)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    octets = made.public_bytes(Encoding.PEM)
    octets += key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (place / f"{name}.pem").write_bytes(octets)
    return place / f"{name}.pem", made.public_bytes(Encoding.DER)


UNKNOWN: Final = "self-signed certificate"


def test_a_client_may_show_a_certificate(tmp_path: Path) -> None:
    server, _ = self_signed(tmp_path, "localhost")
    client, octets = self_signed(tmp_path, "acs")
    stranger, _ = self_signed(tmp_path, "stranger")
    more = f'tls-cert = "{server}"\ntls-key = "{server}"\ntls-client-ca = "{client}"\n'

    def ask(identity: Path | None) -> int | str:
        context = ssl.create_default_context(cafile=server)
        if identity is not None:
            context.load_cert_chain(identity)
        connection = HTTPSConnection("localhost", place[0], timeout=PATIENCE, context=context)
        with closing(connection):
            try:
                connection.request("GET", "/v1/offers")
                return connection.getresponse().status
            except ssl.SSLError as exc:
                return str(exc.reason)

    with running(
        tmp_path,
        more,
        f'[[certificate]]\nname = "acs"\nsha256 = "{sha256(octets).hexdigest()}"\nscopes = ["read"]\n',
    ) as place:
        found = [ask(client), ask(None), ask(stranger)]
        plain = talk(place[0], b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", close=False)

    assert found == [200, 401, "TLSV1_ALERT_UNKNOWN_CA"]
    assert plain == b""
    noted = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["problem"] for line in noted if line["event"] == "tls"] == [UNKNOWN, "http request"]


def serve(place: Path, settings: ServiceSettings) -> None:
    """Run a service that is not to begin."""
    with (place / "log").open("wb") as log:
        made = VoucherService(
            settings=settings,
            signer=VoucherSigner(signatory()),
            clock=now,
            timer=monotonic,
            log=ServiceLog(log.fileno(), lambda: ""),
        )
        serve_vouchers(made)


@pytest.mark.parametrize(("name", "kind"), [("tokens.toml", FileNotFoundError), ("ledger.db", HostError)])
def test_a_service_does_not_begin_without_what_it_needs(
    tmp_path: Path, name: str, kind: type[Exception]
) -> None:
    settings = load_service_settings(write_files(tmp_path))
    Ledger(settings.ledger, now).close()
    (tmp_path / name).unlink()

    with pytest.raises(kind):
        serve(tmp_path, settings)


def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    settings = load_service_settings(write_files(tmp_path))
    Ledger(settings.ledger, now).close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(HostError) as caught:
            serve(tmp_path, replace(settings, port=port))

    assert str(caught.value) == f"listen: 127.0.0.1:{port}: address already in use"


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    config = write_files(tmp_path, more='tls-cert = "tv.toml"\ntls-key = "tv.toml"')
    settings = load_service_settings(config)
    Ledger(settings.ledger, now).close()

    with pytest.raises(FormatError, match="expected a certificate and its key in PEM"):
        serve(tmp_path, settings)
