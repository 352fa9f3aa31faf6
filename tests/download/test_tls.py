"""TLS to servers: who is trusted, who is shown a certificate, and what nobody else has a say in."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from OpenSSL import crypto

from spkg.download.client import _check, _transport, download
from spkg.download.ftp import FtpTransport
from spkg.download.http import WebTransport
from spkg.download.timeouts import Timeouts
from spkg.download.tls import TlsContexts, tls_words
from spkg.download.url import Location, Login
from spkg.download.worker import BrokenError, Transport
from spkg.errors import HostError, TransferError
from tests.support.fake_servers import Script, nobody, serving
from tests.support.kit import Certified, root
from tests.support.real_servers import (
    BEHIND,
    ELSEWHERE,
    HOST,
    client,
    put_identity,
    server,
    untimely_server,
    web_root,
)

OCTETS = bytes(range(256)) * 8
SHOW = "use --client-cert and --client-key to show a certificate to the server"
AUTHORITIES = "use --ca-bundle for a private certificate authority"
UNKNOWN = "self-signed certificate in certificate chain"
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the authority of servers, and the certificate of a client in several forms."""
    monkeypatch.chdir(tmp_path)
    Path("web.pem").write_bytes(web_root().pem)
    who = client("gateway")
    put_identity(Path("both.pem"), who)
    Path("cert.pem").write_bytes(who.pem)
    secret = BestAvailableEncryption(b"open sesame")
    Path("key.pem").write_bytes(who.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    put_identity(Path("stranger.pem"), Certified(key=root().key, certificate=root().certificate))
    return tmp_path


@contextmanager
def secure(who: Certified, script: Script | None = None, **settings: Any) -> Iterator[str]:
    """Serve with a certificate by TLS, and give the URL of the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(put_identity(Path("server.pem"), who))
    context.load_verify_locations(Path("web.pem"))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # for what is too old
    for name, value in settings.items():
        setattr(context, name, value)
    with serving(Script(octets=OCTETS) if script is None else script, context) as url:
        yield f"{url.replace('http:', 'https:')}/p"


def login(**more: Any) -> Login:
    return Login(**{"ca_bundle": Path("web.pem"), **more})


def fetch(url: str, who: Login) -> bytes:
    answer = WebTransport(Location.parse(url), who, 10).open(0, None)
    octets = b"".join(iter(lambda: answer.read(1000), b""))
    answer.close()
    return octets


def refused(url: str, who: Login) -> TransferError:
    with pytest.raises(TransferError) as caught:
        fetch(url, who)
    assert caught.value.reason == "contact"
    assert str(caught.value).startswith(f"{url}: ")
    return caught.value


SHOWN = {
    "in one file": {"client_cert": Path("both.pem")},
    "with its key": {
        "client_cert": Path("cert.pem"),
        "client_key": Path("key.pem"),
        "client_key_password": b"open sesame",
    },
}


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
def test_a_certificate_is_shown_to_a_server_that_wants_one(
    here: Path, version: ssl.TLSVersion, shown: dict[str, Any]
) -> None:
    with secure(server(HOST), verify_mode=ssl.CERT_REQUIRED, maximum_version=version) as url:
        assert fetch(url, login(**shown)) == OCTETS


CLOSED = "the server closed the connection during the TLS handshake; it may want a client certificate"


def test_a_certificate_that_is_missing_is_named(here: Path) -> None:
    old = VERSIONS["1.2"]
    with secure(server(HOST), verify_mode=ssl.CERT_REQUIRED, maximum_version=old) as url:
        error = refused(url, login())

    problem = "the server refused the TLS handshake; it may want a client certificate"
    assert (error.problem, error.hint) == (f"{url}: {problem}", SHOW)


def test_one_that_is_missing_in_a_newer_handshake_is_named_too(here: Path) -> None:
    with secure(server(HOST), verify_mode=ssl.CERT_REQUIRED) as url:
        with pytest.raises((TransferError, BrokenError)) as caught:
            fetch(url, login())

    # The server has sent its reason when the request breaks: it depends on the system whether that arrives.
    assert str(caught.value) in {f"{url}: the server requires a client certificate", f"{url}: {CLOSED}"}


def test_a_certificate_that_is_not_accepted_is_named(here: Path) -> None:
    old = VERSIONS["1.2"]
    with secure(server(HOST), verify_mode=ssl.CERT_REQUIRED, maximum_version=old) as url:
        error = refused(url, login(client_cert=Path("stranger.pem")))

    problem = "the server does not accept the client certificate: its authority is unknown there"
    assert (error.problem, error.hint) == (f"{url}: {problem}", None)


def test_no_certificate_is_shown_to_a_server_that_a_redirect_leads_to(here: Path) -> None:
    old = VERSIONS["1.2"]
    with secure(server(HOST), verify_mode=ssl.CERT_REQUIRED, maximum_version=old) as there:
        script = Script(octets=OCTETS, answers=[(302, {"Location": there}, b"")])
        with secure(server(HOST), script, verify_mode=ssl.CERT_REQUIRED) as url:
            with pytest.raises(TransferError, match="it may want a client certificate") as caught:
                fetch(url, login(client_cert=Path("both.pem")))

    assert str(caught.value).startswith(there)
    assert len(script.asked) == 1


def test_without_a_clock_dates_are_not_checked_and_all_else_is(here: Path) -> None:
    with secure(untimely_server(HOST)) as url:
        untimely = refused(url, login())
        assert untimely.problem.endswith("is not trusted: certificate is not yet valid")
        assert untimely.hint == "compare the clock of this host; if it has none, use --no-clock"
        assert fetch(url, login(no_clock=True)) == OCTETS
        assert refused(url, Login(no_clock=True)).problem.endswith(f"is not trusted: {UNKNOWN}")
    with secure(untimely_server(ELSEWHERE)) as url:
        elsewhere = refused(url, login(no_clock=True))
        assert elsewhere.problem.endswith("certificate is not valid for '127.0.0.1'")
        assert elsewhere.hint == "use a URL with a host name that is in the server's certificate"


@contextmanager
def secure_ftp(who: Certified) -> Iterator[str]:
    """Begin TLS with each connection of FTP that wants it, and give the URL of a file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(put_identity(Path("server.pem"), who))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with suppress(OSError), connection:
                    connection.sendall(b"220 ready\r\n")
                    connection.recv(100)
                    connection.sendall(b"234 go on\r\n")
                    with context.wrap_socket(connection, server_side=True) as private:
                        private.recv(100)
                        private.sendall(b"530 who?\r\n")

    with socket.create_server((HOST, 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield f"ftps://{HOST}:{listening.getsockname()[1]}/p"
        listening.shutdown(socket.SHUT_RDWR)


def ftps(url: str, who: Login) -> Transport:
    return FtpTransport(Location.parse(url), who, 10)


def test_ftps_without_a_clock_checks_no_dates_either(here: Path) -> None:
    with secure_ftp(untimely_server(HOST)) as url:
        with pytest.raises(TransferError, match="is not trusted: certificate is not yet valid"):
            ftps(url, login()).open(0, None)
        with pytest.raises(TransferError, match="login failed: 530"):
            ftps(url, login(no_clock=True)).open(0, None)


@pytest.fixture
def misled(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that names authorities, proxies and a file for the keys of connections."""
    (here / "authorities").mkdir()
    certificate = crypto.X509.from_cryptography(web_root().certificate)
    (here / "authorities" / f"{certificate.subject_name_hash():08x}.0").write_bytes(web_root().pem)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(here / "web.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(here / "authorities"))
    monkeypatch.setenv("SSLKEYLOGFILE", str(here / "keys.log"))
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ftp_proxy"):
        monkeypatch.setenv(name, f"http://{HOST}:{nobody()}")
    monkeypatch.setenv("no_proxy", "")
    return here


def test_the_environment_of_this_test_would_mislead_others(misled: Path) -> None:
    with secure(server(HOST)) as url:
        where = (HOST, Location.parse(url).port)
        context = ssl.create_default_context()
        with socket.create_connection(where) as plain, context.wrap_socket(plain, server_hostname=HOST):
            pass

    assert (misled / "keys.log").exists()


def test_the_environment_makes_nobody_trusted(misled: Path) -> None:
    with secure(server(HOST)) as url:
        assert refused(url, Login()).problem.endswith(f"is not trusted: {UNKNOWN}")
        assert fetch(url, login()) == OCTETS
    with secure_ftp(server(HOST)) as url:
        with pytest.raises(TransferError, match="unable to get local issuer certificate"):
            ftps(url, Login()).open(0, None)
        with pytest.raises(TransferError, match="login failed: 530"):
            ftps(url, login()).open(0, None)

    assert not (misled / "keys.log").exists()


def test_a_place_for_keys_that_can_not_be_written_breaks_nothing(
    misled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(misled / "no such directory" / "keys.log"))
    _check(Location.parse("https://host/p"), login())
    with secure(server(HOST)) as url:
        assert fetch(url, login()) == OCTETS
    with secure_ftp(server(HOST)) as url, pytest.raises(TransferError, match="login failed: 530"):
        ftps(url, login()).open(0, None)


WRONG = {
    "an encrypted key": (
        {"client_cert": Path("cert.pem"), "client_key": Path("key.pem")},
        "key.pem: the key is encrypted",
        "use --client-key-password-env or --client-key-password-file",
    ),
    "another passphrase": (
        {"client_cert": Path("cert.pem"), "client_key": Path("key.pem"), "client_key_password": b"barley"},
        "key.pem: the passphrase is wrong",
        None,
    ),
    "another key": (
        {"client_cert": Path("cert.pem"), "client_key": Path("stranger.pem")},
        "stranger.pem: the key does not belong to the certificate in cert.pem",
        None,
    ),
    "no key": (
        {"client_cert": Path("cert.pem")},
        "cert.pem: expected a certificate and its key in PEM",
        None,
    ),
    "no certificate": (
        {"client_cert": Path("key.pem"), "client_key": Path("both.pem")},
        "key.pem and both.pem: expected a certificate and its key in PEM",
        None,
    ),
    "no authority": ({"ca_bundle": Path("key.pem")}, "key.pem has no CA certificates", None),
}


@pytest.mark.parametrize(("settings", "problem", "hint"), WRONG.values(), ids=WRONG)
def test_files_that_do_not_serve_are_named_before_anything_is_asked(
    here: Path, settings: dict[str, Any], problem: str, hint: str | None
) -> None:
    with pytest.raises(HostError) as caught:
        _check(Location.parse("https://host/p"), login(**settings))

    assert (str(caught.value), caught.value.hint) == (problem, hint)


@pytest.fixture
def pipes() -> Iterator[Callable[[bytes], Path]]:
    """Gives pipes from which octets can be read once."""
    opened: list[int] = []

    def pipe(octets: bytes) -> Path:
        reading, writing = os.pipe()
        opened.append(reading)
        os.write(writing, octets)
        os.close(writing)
        return Path(f"/dev/fd/{reading}")

    yield pipe
    for one in opened:
        os.close(one)


@pytest.mark.parametrize("octets", [b"rubbish", b"", "Autorité".encode()])
def test_a_pipe_without_an_authority_is_named(
    here: Path, pipes: Callable[[bytes], Path], octets: bytes
) -> None:
    bundle = pipes(octets)
    with pytest.raises(HostError, match=f"^{bundle} has no CA certificates$"):
        _check(Location.parse("https://host/p"), Login(ca_bundle=bundle))


def test_an_encrypted_key_from_a_pipe_is_named(here: Path, pipes: Callable[[bytes], Path]) -> None:
    key = pipes(Path("key.pem").read_bytes())
    with pytest.raises(HostError) as caught:
        _check(Location.parse("https://host/p"), login(client_cert=Path("cert.pem"), client_key=key))

    hint = "use --client-key-password-env or --client-key-password-file"
    assert (str(caught.value), caught.value.hint) == (f"{key}: the key is encrypted", hint)


def test_a_key_that_can_not_be_read_is_an_error_of_the_system(here: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _ = TlsContexts(login(client_cert=Path("cert.pem"), client_key=Path("none"))).known


@pytest.mark.parametrize("shown", ["no certificate", "a certificate"])
def test_pipes_also_serve_for_a_redirect(here: Path, pipes: Callable[[bytes], Path], shown: str) -> None:
    who = login(ca_bundle=pipes("Autorité\n".encode() + Path("web.pem").read_bytes()))
    if shown == "a certificate":
        who = replace(who, client_cert=pipes(Path("cert.pem").read_bytes()), client_key=Path("both.pem"))
    with secure(server(HOST)) as there:
        script = Script(octets=OCTETS, answers=[(302, {"Location": there}, b"")])
        with secure(server(HOST), script) as url:
            location = Location.parse(url)
            answer = _transport(location, who, _check(location, who)).open(0, None)
            octets = b"".join(iter(lambda: answer.read(1000), b""))
            answer.close()

    assert octets == OCTETS


def test_pipes_also_serve_for_the_next_connection_of_ftps(here: Path, pipes: Callable[[bytes], Path]) -> None:
    key = pipes(Path("both.pem").read_bytes())
    who = login(client_cert=Path("cert.pem"), client_key=key)
    with secure_ftp(server(HOST)) as url:
        location = Location.parse(url)
        transport = _transport(location, who, _check(location, who))
        for _ in range(2):
            with pytest.raises(TransferError, match="login failed: 530"):
                transport.open(0, None)


def test_an_empty_file_of_the_system_leaves_its_directory(
    misled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("empty.pem").touch()
    paths = ssl.get_default_verify_paths()._replace(
        openssl_cafile=str(misled / "empty.pem"), openssl_capath=str(misled / "authorities")
    )
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    with secure(server(HOST)) as url:
        assert fetch(url, Login()) == OCTETS


def test_what_only_the_download_process_finds_keeps_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Transport:
        raise HostError("no such thing", hint="get one")

    monkeypatch.setattr("spkg.download.client._transport", fail)
    with download(Location.parse("http://h/p"), Login(), time.monotonic, Timeouts()) as coming:
        with pytest.raises(HostError, match="no such thing") as caught:
            coming.readinto(memoryview(bytearray(1)))

    assert caught.value.hint == "get one"


def test_a_server_without_tls_is_one(here: Path) -> None:
    with serving(script := Script(octets=OCTETS)) as url:
        error = refused(f"{url.replace('http:', 'https:')}/p", login())

    assert error.problem.endswith("/p: the server does not speak TLS on this port")
    assert script.asked == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_a_server_that_is_too_old_is_one(here: Path) -> None:
    old = ssl.TLSVersion.TLSv1_1
    with secure(server(HOST), minimum_version=old, maximum_version=old) as url:
        error = refused(url, login())

    problem = "the server speaks no version of TLS that is accepted: expected 1.2 or later"
    assert error.problem == f"{url}: {problem}"


def test_a_server_that_hangs_up_while_tls_begins_may_want_a_certificate(here: Path) -> None:
    def hang_up() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)

    with socket.create_server((BEHIND, 0)) as listening:
        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(BrokenError) as caught:
            fetch(url := f"https://{BEHIND}:{listening.getsockname()[1]}/p", login())

    assert str(caught.value) == f"{url}: {CLOSED}"


def test_other_errors_of_tls_are_words_too() -> None:
    error = ssl.SSLError(1, "[SSL: BAD_RECORD_TYPE] bad record type (_ssl.c:1000)")
    error.reason = "BAD_RECORD_TYPE"

    assert tls_words(error) == "TLS failed: bad record type"
    assert tls_words(ssl.SSLError(1)) == "TLS failed: unknown error"


def test_authorities_from_a_pipe_that_never_ends_are_not_all_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spkg.download.tls.MAX_BUNDLE", 1000)
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, b"x" * 1001)

    with pytest.raises(HostError, match="has more than 1000 bytes"):
        _ = TlsContexts(Login(ca_bundle=pipe)).known

    os.close(writer)
