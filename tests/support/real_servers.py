"""Servers to download from, those of others and one of ours, and a relay that breaks connections.

Each listens on this host alone, on a port that was free, and is over with its ``with``; where even that is
never reached, it ends by itself.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer, ThreadingTCPServer
from threading import Lock, Thread
from typing import Any, Final
from urllib.request import parse_http_list, parse_keqv_list

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.kit import AT, LAST, USAGES, Certified, key, name

HOST: Final = "127.0.0.1"
BEHIND: Final = "127.0.0.2"
"""Where a server listens that has its relay at the same port of :data:`HOST`."""
PATIENCE: Final = 10
"""How many seconds a server may take to answer, or to write into its log."""
LIFE: Final = 120
"""After how many seconds a server ends that nobody ended."""
PATH: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
"""Where programs are: not every user has those of the administrator."""
USERNAME: Final = "gateway"
PASSWORD: Final = "open sesame"


# What is certified: an authority of our own for servers, which signs no packages.


@cache
def web_root() -> Certified:
    """Return the authority that certifies all servers here."""
    return _certify("Test Web Root", "second")


@cache
def server(called: str) -> Certified:
    """Return the key of a server, and its certificate for an address or a host name."""
    return _certify(called, "other", web_root())


@cache
def client(called: str) -> Certified:
    """Return the key of a client, and its certificate."""
    return _certify(called, "signer", web_root(), ExtendedKeyUsageOID.CLIENT_AUTH)


@cache
def untimely_server(called: str) -> Certified:
    """Return the key of a server, and its certificate, which is valid long after the tests are run."""
    return _certify(called, "other", web_root(), begins=AT.replace(year=2090))


def _certify(
    called: str,
    with_key: str,
    by: Certified | None = None,
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    begins: datetime = AT - timedelta(days=365),
) -> Certified:
    """Certify a test key for TLS, with all that the strictest of clients want."""
    own = key(with_key)
    issuing = own if by is None else by.key
    usages = ("key_cert_sign", "crl_sign") if by is None else ("digital_signature", "key_encipherment")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(called))
        .issuer_name(name(called) if by is None else by.certificate.subject)
        .public_key(own.public_key())
        .serial_number(int.from_bytes(hashlib.sha256(called.encode()).digest()[:8]))
        .not_valid_before(begins)
        .not_valid_after(max(LAST, begins + timedelta(days=365)))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{one: one in usages for one in USAGES}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing.public_key()), critical=False
        )
    )
    if by is not None:
        try:
            names: x509.GeneralName = x509.IPAddress(ip_address(called))
        except ValueError:
            names = x509.DNSName(called)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False).add_extension(
            x509.SubjectAlternativeName([names]), critical=False
        )
    return Certified(key=own, certificate=builder.sign(issuing, hashes.SHA256()))


def put_identity(path: Path, who: Certified) -> Path:
    """Write a key and its certificate into one file, as servers read them."""
    octets = who.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    path.write_bytes(octets + who.pem)
    path.chmod(0o600)
    return path


# Programs that run for as long as they are wanted.


@contextmanager
def running(*command: str | Path, directory: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """Run a program in a directory of its own, once it is ready, and end it and all that it started."""
    program, *arguments = map(str, command)
    found = shutil.which(program, path=PATH)
    assert found is not None, f"{program} is not installed"
    said = directory / "said"
    with said.open("wb") as output:
        process = subprocess.Popen(
            ["timeout", "--kill-after=1", str(LIFE), found, *arguments],
            cwd=directory,
            env={"PATH": PATH, "HOME": str(directory), "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(lambda: process.poll() is not None or ready(), lambda: f"{program} does not answer")
        assert process.poll() is None, f"{program} ended: {said.read_text(errors='replace')}"
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


def _wait(done: Callable[[], bool], problem: Callable[[], str]) -> None:
    """Wait until something is so, and fail where it never is."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, problem()
        time.sleep(0.005)


@contextmanager
def free_port(host: str = HOST, wanted: int = 0) -> Iterator[int]:
    """Give a port for a server to listen on; meanwhile nobody else is given it."""
    with socket.socket() as held:
        # This one never listens, so that a server that sets the same option can.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, wanted))
        yield held.getsockname()[1]


def own_host() -> str:
    """Return an address of this host that no other process of tests has."""
    return str(ip_address((127 << 24) + os.getpid() % (1 << 24)))


def answers_at(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), PATIENCE):
        return True
    return False


# nginx: http and https, each with what a test may ask for.

NGINX: Final = """
daemon off;
master_process off;
error_log stderr;
pid nginx.pid;
events {{ }}
http {{
    log_format asked escape=json '{{"status": $status, "port": $server_port, "uri": "$request_uri", '
        '"range": "$http_range", "condition": "$http_if_range", "login": "$http_authorization"}}';
    access_log access asked;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    default_type application/octet-stream;
    root "{files}";
    server {{
        listen {host}:{plain};
        location /closed/ {{ alias "{files}/"; auth_basic files; auth_basic_user_file passwords; }}
        location /up/ {{ rewrite ^/up/(.*)$ https://{host}:{secure}/$1 redirect; }}
        location /across/ {{ rewrite ^/across/(.*)$ http://{host}:{other}/closed/$1 redirect; }}
        location /round/ {{ return 307 /round/; }}
    }}
    server {{
        listen {host}:{other};
        location /closed/ {{ alias "{files}/"; auth_basic files; auth_basic_user_file passwords; }}
    }}
    server {{
        listen {host}:{secure} ssl;
        ssl_certificate server.pem;
        ssl_certificate_key server.pem;
        location /closed/ {{ alias "{files}/"; auth_basic files; auth_basic_user_file passwords; }}
        location /down/ {{ rewrite ^/down/(.*)$ http://{host}:{plain}/$1 redirect; }}
    }}
    server {{
        listen {host}:{elsewhere} ssl;
        ssl_certificate elsewhere.pem;
        ssl_certificate_key elsewhere.pem;
    }}
}}
"""
"""Both kinds show the files; below ``closed`` to those who log in."""
ELSEWHERE: Final = "elsewhere.example"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request, and the status of its answer."""

    status: int
    port: int
    uri: str
    range: str
    condition: str
    login: str


@dataclass(frozen=True, kw_only=True)
class Nginx:
    """A server of files by http and https."""

    plain: int
    """The port of http."""
    other: int
    """The port of http that a redirect leads to, and that is not asked by itself."""
    secure: int
    """The port of https."""
    elsewhere: int
    """The port of https whose certificate has another name."""
    log: Path

    def asked(self, count: int) -> list[Asked]:
        """Return what was asked for, once so many requests are answered."""

        def lines() -> list[str]:
            return self.log.read_text().splitlines()

        _wait(lambda: len(lines()) >= count, lambda: f"{count} requests were expected: {lines()}")
        return [Asked(**json.loads(line)) for line in lines()]


@contextmanager
def nginx(files: Path, work: Path) -> Iterator[Nginx]:
    """Serve files by http and https.

    Args:
        files: The directory that is shown.
        work: An empty directory for all else.
    """
    ports = ("plain", "other", "secure", "elsewhere")
    with ExitStack() as stack:
        numbers = {one: stack.enter_context(free_port()) for one in ports}
        (work / "nginx.conf").write_text(NGINX.format(files=files, host=HOST, **numbers))
        (work / "passwords").write_text(f"{USERNAME}:{{PLAIN}}{PASSWORD}\n")
        put_identity(work / "server.pem", server(HOST))
        put_identity(work / "elsewhere.pem", server(ELSEWHERE))
        command = ("nginx", "-e", "stderr", "-p", f"{work}/", "-c", work / "nginx.conf")
        last = numbers["elsewhere"]
        stack.enter_context(running(*command, directory=work, ready=lambda: answers_at(HOST, last)))
        yield Nginx(log=work / "access", **numbers)


# tinyproxy, and the server of openssl.

TINYPROXY: Final = """
Port {port}
Listen {host}
Timeout 30
MaxClients 20
LogLevel Connect
LogFile "{log}"
ConnectPort {allowed}
{login}
"""
PROXY_LOGIN: Final = "proxy opensesame"


@dataclass(frozen=True, kw_only=True)
class Tinyproxy:
    """A proxy for http, and for https to one port."""

    url: str
    log: Path

    def requests(self) -> list[str]:
        """Return methods and targets of all requests."""
        found = re.findall(r"Request \(file descriptor \d+\): (\S+ \S+) ", self.log.read_text())
        return list(map(str, found))


@contextmanager
def tinyproxy(work: Path, allowed: int, *, closed: bool = False) -> Iterator[Tinyproxy]:
    """Run a proxy.

    Args:
        work: An empty directory for all that it writes.
        allowed: The port of https that it connects to.
        closed: Whether it wants a login.
    """
    with free_port() as port:
        login = f"BasicAuth {PROXY_LOGIN}" if closed else ""
        conf, log = work / "tinyproxy.conf", work / "proxy.log"
        conf.write_text(TINYPROXY.format(port=port, host=HOST, log=log, allowed=allowed, login=login))
        command = ("tinyproxy", "-d", "-c", conf)
        with running(*command, directory=work, ready=lambda: answers_at(HOST, port)):
            yield Tinyproxy(url=f"http://{HOST}:{port}", log=log)


@contextmanager
def openssl_server(files: Path, work: Path, *options: str) -> Iterator[str]:
    """Serve files by https to those who show a certificate, and give the URL of the directory.

    Args:
        files: The directory that is shown.
        work: An empty directory for all else.
        options: More options of s_server.
    """
    put_identity(work / "server.pem", server(HOST))
    (work / "web.pem").write_bytes(web_root().pem)
    with free_port() as port:
        command = ["openssl", "s_server", "-accept", f"{HOST}:{port}", "-cert", str(work / "server.pem")]
        command += [
            "-CAfile",
            str(work / "web.pem"),
            "-Verify",
            "2",
            "-verify_return_error",
            "-quiet",
            "-WWW",
        ]
        with running(*command, *options, directory=files, ready=lambda: answers_at(HOST, port)):
            yield f"https://{HOST}:{port}"


# lighttpd: files for those who log in by digest.

LIGHTTPD: Final = """
server.document-root = "{files}"
server.bind = "{host}"
server.port = {port}
server.errorlog = "{work}/errors"
server.modules = ("mod_auth", "mod_authn_file", "mod_accesslog")
mimetype.assign = (".spkg" => "application/octet-stream")
accesslog.filename = "{work}/access"
server.pid-file = "{work}/pid"
accesslog.format = "%s %{{Authorization}}i"
auth.backend = "plain"
auth.backend.plain.userfile = "{work}/passwords"
auth.require = ("" => (
    "method" => "digest", "algorithm" => "{algorithms}", "realm" => "Fürmware, 1", "require" => "valid-user"
))
"""


@dataclass(frozen=True, kw_only=True)
class Lighttpd:
    """A server of files that wants a digest."""

    url: str
    log: Path
    pid: Path

    def logins(self, count: int) -> list[str]:
        """Return statuses and the Authorization of all requests, once so many are answered."""

        def lines() -> list[str]:
            # It writes its log every few seconds, and at once when it is told to begin another.
            os.kill(int(self.pid.read_text()), signal.SIGHUP)
            return self.log.read_text().splitlines()

        _wait(lambda: len(lines()) >= count, lambda: f"{count} requests were expected: {lines()}")
        return lines()


@contextmanager
def lighttpd(files: Path, work: Path, algorithms: str) -> Iterator[Lighttpd]:
    """Serve files by http to those who log in by digest.

    Args:
        files: The directory that is shown.
        work: An empty directory for all else.
        algorithms: The algorithms that are offered, with a bar between them.
    """
    with free_port() as port:
        conf = LIGHTTPD.format(files=files, work=work, host=HOST, port=port, algorithms=algorithms)
        (work / "lighttpd.conf").write_text(conf)
        (work / "passwords").write_text(f"{USERNAME}:{PASSWORD}\n")
        command = ("lighttpd", "-D", "-f", work / "lighttpd.conf")
        with running(*command, directory=work, ready=lambda: answers_at(HOST, port)):
            yield Lighttpd(url=f"http://{HOST}:{port}", log=work / "access", pid=work / "pid")


# vsftpd: FTP, in clear or with TLS, for whoever calls himself anonymous.

VSFTPD: Final = {
    "listen": "YES",
    "background": "NO",
    "run_as_launching_user": "YES",
    "isolate": "NO",
    "isolate_network": "NO",
    "seccomp_sandbox": "NO",
    "setproctitle_enable": "NO",
    "anonymous_enable": "YES",
    "anon_world_readable_only": "NO",
    "local_enable": "NO",
    "delay_failed_login": "0",
    "xferlog_enable": "YES",
    "log_ftp_protocol": "YES",
}
TLS: Final = {
    "ssl_enable": "YES",
    "allow_anon_ssl": "YES",
    "force_anon_logins_ssl": "YES",
    "force_anon_data_ssl": "YES",
    "require_ssl_reuse": "YES",
}


@dataclass(frozen=True, kw_only=True)
class Vsftpd:
    """A server of files by FTP."""

    host: str
    port: int
    data: int
    """The port that all data comes from; 0 where it is any."""
    log: Path

    def commands(self) -> list[str]:
        """Return all commands of clients, in their order."""
        marked = (line.partition(" FTP command: ")[2] for line in self.log.read_text().splitlines())
        return [line.split('"')[3] for line in marked if line]


@contextmanager
def vsftpd(
    files: Path,
    work: Path,
    *,
    host: str = HOST,
    port: int = 0,
    data: int = 0,
    who: Certified | None = None,
    implicit: bool = False,
    password: str | None = None,
    writable: bool = False,
) -> Iterator[Vsftpd]:
    """Serve files by FTP.

    Args:
        files: The directory that is shown.
        work: An empty directory for all else.
        host: The address to listen at.
        port: The port to listen on; 0 for any.
        data: The port that all data is to come from; 0 for any.
        who: The certificate, without which there is no TLS; with it nothing goes without.
        implicit: Whether TLS begins with the connection.
        password: The only password that is taken; None where any is.
        writable: Whether files are taken, too.
    """
    with free_port(host, port) as number:
        settings = VSFTPD | {
            "listen_address": host,
            "listen_port": str(number),
            "anon_root": str(files),
            "vsftpd_log_file": str(work / "log"),
        }
        if data:
            settings |= {"pasv_min_port": str(data), "pasv_max_port": str(data)}
        if writable:
            settings |= {"write_enable": "YES", "anon_upload_enable": "YES", "anon_umask": "022"}
        if who is not None:
            settings |= TLS | {"rsa_cert_file": str(put_identity(work / "server.pem", who))}
            settings["implicit_ssl"] = "YES" if implicit else "NO"
        if password is not None:
            (work / "passwords").write_text(f"{password}\n")
            settings |= {"secure_email_list_enable": "YES", "email_password_file": str(work / "passwords")}
        (work / "conf").write_text("".join(f"{option}={value}\n" for option, value in settings.items()))
        with running("vsftpd", work / "conf", directory=work, ready=lambda: answers_at(host, number)):
            yield Vsftpd(host=host, port=number, data=data, log=work / "log")


# tftpd-hpa.

NOTHING: Final = b"\0\1nothing\0octet\0"
"""Asks for a file that is not there."""


@contextmanager
def tftpd(files: Path, work: Path, *, writable: bool = False) -> Iterator[int]:
    """Serve files by TFTP, and give the port; this wants root, for the server changes its own root.

    Args:
        files: The directory that is shown.
        work: An empty directory for all else.
        writable: Whether files are taken, too.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as held:
        held.bind((HOST, 0))
        port = held.getsockname()[1]

    def ready() -> bool:
        with socket.socket(type=socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.1)
            asking.sendto(NOTHING, (HOST, port))
            with suppress(OSError):
                return bool(asking.recv(512))
        return False

    command = ("in.tftpd", "--foreground", "--address", f"{HOST}:{port}", "--user", "root", "--permissive")
    more = ("--create", "--umask", "022") if writable else ()
    with running(*command, *more, "--secure", files, directory=work, ready=ready):
        yield port


@contextmanager
def dnsmasq(files: Path, work: Path, *more: str) -> Iterator[str]:
    """Serve files by TFTP on port 69 of an address of its own, and give that; this wants root."""
    host = own_host()

    def ready() -> bool:
        with socket.socket(type=socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.1)
            asking.sendto(NOTHING, (host, 69))
            with suppress(OSError):
                return bool(asking.recv(512))
        return False

    command = ("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", "--user=root")
    where = ("--port=0", "--bind-interfaces", f"--listen-address={host}", "--enable-tftp")
    with running(*command, *where, f"--tftp-root={files}", *more, directory=work, ready=ready):
        yield host


# Servers within this process.


@contextmanager
def _serving(one: TCPServer) -> Iterator[None]:
    thread = Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        one.shutdown()
        one.server_close()
        thread.join(PATIENCE)


class Relay(ThreadingTCPServer):
    """Passes octets on to a server and back, and breaks a connection, once, after so many of an answer.

    Args:
        host: The address of the server.
        port: Its port; None where it has the same as the relay.
        after: How many octets come back before the break; None where nothing is broken.
        rudely: Whether the break is a reset, and no orderly end.
        broken: Is called at the break, before the client learns of it.
    """

    def __init__(
        self,
        host: str,
        port: int | None,
        *,
        after: int | None = None,
        rudely: bool = False,
        broken: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__((HOST, 0), _Passing)
        self.daemon_threads = True
        self.port: int = self.server_address[1]
        self.there = (host, self.port if port is None else port)
        self.left = after
        self.rudely = rudely
        self.broken = broken
        self.lock = Lock()

    def allowed(self, count: int) -> int:
        """Return how many octets of an answer may pass; fewer than there are only once."""
        with self.lock:
            if self.left is None:
                return count
            passing = min(count, self.left)
            self.left = None if passing < count else self.left - passing
            return passing


class _Passing(BaseRequestHandler):
    server: Relay
    request: socket.socket

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(self.server.there, PATIENCE) as there:
            while self._pass_on(there):
                pass

    def _pass_on(self, there: socket.socket) -> bool:
        """Pass on what is there; return whether more may come."""
        for one in select.select([self.request, there], [], [], LIFE)[0]:
            octets = one.recv(1 << 16)
            if not octets:
                return False
            if one is self.request:
                there.sendall(octets)
                continue
            passing = self.server.allowed(len(octets))
            self.request.sendall(octets[:passing])
            if passing < len(octets):
                self.server.broken()
                if self.server.rudely:
                    self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.request.close()
                return False
        return True


@contextmanager
def relay(
    host: str,
    port: int | None,
    *,
    after: int | None = None,
    rudely: bool = False,
    broken: Callable[[], object] = lambda: None,
) -> Iterator[int]:
    """Run a :class:`Relay`, and give its port."""
    with Relay(host, port, after=after, rudely=rudely, broken=broken) as one, _serving(one):
        yield one.port


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """How a server wants it proven who asks (RFC 7616, and RFC 2617 for what is older)."""

    algorithm: str | None = "MD5"
    """None where the server leaves it to be understood."""
    qop: str | None = "auth"
    before: str = ""
    """What else the header says, in front."""

    def header(self, nonce: str) -> str:
        """Return the value of WWW-Authenticate."""
        said = f'Digest realm="files", nonce="{nonce}"'
        said += "" if self.qop is None else f', qop="{self.qop}"'
        said += "" if self.algorithm is None else f", algorithm={self.algorithm}"
        return self.before + said

    def response(self, said: Mapping[str, str], method: str, password: str) -> str:
        """Return what proves that somebody knows the password."""

        def digest(*parts: str) -> str:
            octets = ":".join(parts).encode()
            return hashlib.new((self.algorithm or "MD5").replace("-", ""), octets).hexdigest()

        who, what = digest(USERNAME, "files", password), digest(method, said["uri"])
        if self.qop is None:
            return digest(who, said["nonce"], what)
        return digest(who, said["nonce"], said["nc"], said["cnonce"], said["qop"], what)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a connection was answered; connections count from 1."""

    connection: int
    status: int
    range: str | None


class DigestServer(ThreadingHTTPServer):
    """Shows files to those who prove to know a password, by a nonce that holds for one connection alone."""

    def __init__(self, files: Path, challenge: Challenge) -> None:
        super().__init__((HOST, 0), _Proving)
        self.port: int = self.server_address[1]
        self.files = files
        self.challenge = challenge
        self.connections = 0
        self.answers: list[Answer] = []


class _Proving(BaseHTTPRequestHandler):
    server: DigestServer
    protocol_version = "HTTP/1.1"
    timeout = LIFE
    close_connection: bool

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self.connection_number = self.server.connections
        self.nonce = secrets.token_hex(16)
        self.count = 0
        """How often the nonce was used."""

    def handle(self) -> None:
        with suppress(OSError):  # whoever asked is gone
            super().handle()

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if not self._is_proven():
            problem = b"nobody is let in without a name\n"
            self._answer(
                HTTPStatus.UNAUTHORIZED,
                problem,
                {"WWW-Authenticate": self.server.challenge.header(self.nonce)},
            )
            return
        octets = (self.server.files / self.path.removeprefix("/")).read_bytes()
        tag = f'"{hashlib.sha256(octets).hexdigest()}"'
        wanted = self.headers.get("Range")
        if wanted is None or self.headers.get("If-Range", tag) != tag:
            self._answer(HTTPStatus.OK, octets, {"ETag": tag})
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        span = f"bytes {start}-{len(octets) - 1}/{len(octets)}"
        self._answer(HTTPStatus.PARTIAL_CONTENT, octets[start:], {"ETag": tag, "Content-Range": span})

    def _is_proven(self) -> bool:
        """Whether this request proves who asks, by the nonce of this connection, used in its order."""
        scheme, _, rest = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "digest":
            return False
        said = parse_keqv_list(parse_http_list(rest))
        challenge = self.server.challenge
        if (said.get("nonce"), said.get("uri"), said.get("username")) != (self.nonce, self.path, USERNAME):
            return False
        if challenge.qop is not None:
            self.count += 1
            if int(said["nc"], 16) != self.count or said["qop"] not in challenge.qop.split(","):
                return False
        return hmac.compare_digest(said["response"], challenge.response(said, "GET", PASSWORD))

    def _answer(self, status: HTTPStatus, octets: bytes, headers: Mapping[str, str]) -> None:
        asked = self.headers.get("Range")
        self.server.answers.append(Answer(connection=self.connection_number, status=status, range=asked))
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)


@contextmanager
def digest_server(files: Path, challenge: Challenge) -> Iterator[DigestServer]:
    """Run a :class:`DigestServer`."""
    with DigestServer(files, challenge) as one, _serving(one):
        yield one
