"""FTP, and FTP over TLS (RFC 4217); on port 990, TLS begins with the connection.

A transfer is resumed (REST) only if size and time of the file (SIZE, MDTM) are the same as before.
"""

import ftplib
import io
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from spkg.download.tls import TlsContexts, tls_refusal
from spkg.download.url import Location, Login
from spkg.download.worker import (
    MAX_SERVER_TEXT,
    BrokenError,
    NotResumableError,
    OpenTransfer,
    read_size,
    system_words,
)
from spkg.errors import ACCESS, CONTACT, LOGIN, TransferError

__all__ = ["FtpTransport"]

PATH_ENCODING: Final = "latin-1"
"""Bytes are passed through: the encoding of file names is up to the server."""
MAX_SAID: Final = 1 << 16
"""The longest answer, in characters."""
CLOSING: Final = "421"
"""The answer to any command of a server that closes the connection."""
IMPLICIT: Final = 990
"""The port on which TLS begins with the connection."""


class FtpTransport:
    """Requests a location by FTP.

    Args:
        location: The location of the file.
        login: The credentials and how to use them.
        patience: After how many seconds without data a connection is given up.
        contexts: The settings for TLS, if they are made already.
    """

    def __init__(
        self, location: Location, login: Login, patience: float, contexts: TlsContexts | None = None
    ) -> None:
        self._location = location
        self._login = login
        self._patience = patience
        self._contexts = contexts or TlsContexts(login)

    def open(self, offset: int, validator: str | None) -> OpenTransfer:
        """Request the file from an offset on.

        Raises:
            NotResumableError: The server does not send the rest of the file.
            BrokenError: It failed, but may succeed later.
            TransferError: It failed for good.
        """
        with _breaking(self._location):
            server = self._connect()
            try:
                path = self._location.path.encode().decode(PATH_ENCODING)
                server.voidcmd("TYPE I")
                total, time = None, None
                with suppress(ftplib.error_perm):  # servers need not support these
                    total = read_size(server.sendcmd(f"SIZE {path}").partition(" ")[2].strip())
                    time = server.sendcmd(f"MDTM {path}").partition(" ")[2]
                now = None if total is None or time is None else f"{total} {time}"
                start = offset if now is not None and now == validator else 0
                data = server.transfercmd(f"RETR {path}", start or None)
            except BaseException:
                server.close()
                raise
            return _FtpTransfer(server, data, self._location, offset=start, total=total, validator=now)

    def send(self, octets: bytes) -> None:
        """Store a file at the location.

        Raises:
            BrokenError: It failed, but may succeed later.
            TransferError: It failed for good.
        """
        with _breaking(self._location):
            server = self._connect()
            try:
                path = self._location.path.encode().decode(PATH_ENCODING)
                server.storbinary(f"STOR {path}", io.BytesIO(octets))
            finally:
                server.close()

    def _connect(self) -> ftplib.FTP:
        location = self._location
        server: _Plain | _Tls = _Plain(timeout=self._patience, encoding=PATH_ENCODING)
        if location.scheme == "ftps":
            server = _Tls(self._contexts.known, implicit=location.port == IMPLICIT, timeout=self._patience)
        try:
            server.connect(location.host, location.port)
            if isinstance(server, _Tls):
                try:
                    server.begin()
                except ftplib.error_perm as exc:
                    problem = f"{location}: the server refused TLS: {str(exc)[:MAX_SERVER_TEXT]}"
                    raise TransferError(problem, reason=CONTACT) from exc
            try:
                name = (self._login.username or "").encode().decode(PATH_ENCODING)
                server.login(name, self._login.password.decode(PATH_ENCODING))
            except ftplib.Error as exc:
                code = str(exc)[:3]  # the rest might contain the password
                problem = f"{location}: login failed: {code if code.isdecimal() else 'not an FTP answer'}"
                if not isinstance(exc, ftplib.error_perm):
                    raise BrokenError(problem, reason=ACCESS) from exc  # it may accept the login later
                raise TransferError(problem, reason=LOGIN) from exc
            if isinstance(server, ftplib.FTP_TLS):
                server.prot_p()
        except BaseException:
            server.close()
            raise
        return server


class _Careful:
    """Limits the length of answers, so that a server can't fill the memory, and tells that of REST apart."""

    def sendcmd(self, cmd: str) -> str:
        """Send a command, and return its answer."""
        try:
            answer: str = super().sendcmd(cmd)  # type: ignore[misc]
        except (ftplib.error_perm, ftplib.error_temp) as exc:
            if cmd.startswith("REST ") and not str(exc).startswith(CLOSING):
                raise NotResumableError(f"the server does not resume: {str(exc)[:MAX_SERVER_TEXT]}") from exc
            raise
        return answer

    def makepasv(self) -> tuple[str, int]:
        """Return where to connect for data: an address of IPv6 keeps its zone."""
        where: tuple[str, int] = super().makepasv()  # type: ignore[misc]
        host, port = where
        peer = self.sock.getpeername()  # type: ignore[attr-defined]
        return (f"{host}%{peer[3]}" if len(peer) == 4 and peer[3] else host), port

    def getline(self) -> str:
        """Return a line of an answer."""
        self._said: int
        line: str = super().getline()  # type: ignore[misc]
        self._said += len(line)
        if self._said > MAX_SAID:
            raise ftplib.error_proto("the server's answer is too long")  # noqa: S321 - an error, not FTP
        return line

    def getresp(self) -> str:
        """Return an answer."""
        self._said = 0
        answer: str = super().getresp()  # type: ignore[misc]
        return answer


class _Plain(_Careful, ftplib.FTP):
    """A connection in clear text."""


class _Tls(_Careful, ftplib.FTP_TLS):
    """A connection whose data reuses the TLS session of its commands, as many servers require."""

    def __init__(self, context: ssl.SSLContext, *, implicit: bool, timeout: float) -> None:
        super().__init__(context=context, timeout=timeout, encoding=PATH_ENCODING)
        self._implicit = implicit

    def begin(self) -> None:
        """Begin TLS, unless it began with the connection."""
        self.host = self.host.partition("%")[0]  # no certificate has the zone of an address
        if not self._implicit:
            self.auth()

    def connect(self, host: str = "", port: int = 0, *rest: Any, **extra: Any) -> str:
        """Connect, and with implicit TLS begin it before the first answer."""
        if not self._implicit:
            return super().connect(host, port, *rest, **extra)
        self.host, self.port = host, port
        plain = socket.create_connection((host, port), self.timeout)
        self.af = plain.family
        self.sock = self.context.wrap_socket(plain, server_hostname=host.partition("%")[0])
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        """Open a connection for data."""
        data, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321 - the part without TLS
        assert isinstance(self.sock, ssl.SSLSocket)  # after login
        session = self.sock.session
        return self.context.wrap_socket(data, server_hostname=self.host, session=session), size


class _FtpTransfer:
    """A data connection, and the control connection that it belongs to."""

    def __init__(
        self,
        server: ftplib.FTP,
        data: socket.socket,
        location: Location,
        *,
        offset: int,
        total: int | None,
        validator: str | None,
    ) -> None:
        self._server = server
        self._data = data
        self._location = location
        self.offset = offset
        self.total = total
        self.validator = validator

    def read(self, size: int) -> bytes:
        """Return the available bytes, at most *size*; none at the end.

        Raises:
            BrokenError: The connection broke.
        """
        with _breaking(self._location):
            octets = self._data.recv(size)
            if not octets:
                self._data.close()
                self._server.voidresp()  # raises if the transfer was not complete
            return octets

    def close(self) -> None:
        """Close both connections."""
        self._data.close()
        self._server.close()


@contextmanager
def _breaking(location: Location) -> Iterator[None]:
    """Turn errors that may not happen again into :class:`BrokenError`, others into :class:`TransferError`."""
    try:
        yield
    except (ftplib.error_perm, ftplib.error_proto) as exc:
        raise TransferError(f"{location}: {str(exc)[:MAX_SERVER_TEXT]}", reason=ACCESS) from exc
    except ftplib.Error as exc:
        raise BrokenError(f"{location}: {str(exc)[:MAX_SERVER_TEXT]}", reason=ACCESS) from exc
    except OSError as exc:
        refusal = tls_refusal(location, exc)
        if refusal is not None:
            raise refusal from exc
        raise BrokenError(f"{location}: {system_words(exc)}", reason=CONTACT) from exc
    except ValueError as exc:
        raise BrokenError(f"{location}: the server's answer is malformed") from exc
    except EOFError as exc:
        raise BrokenError(f"{location}: the server closed the connection") from exc
