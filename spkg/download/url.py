"""The location of a download, and the credentials for it.

A URL with credentials is refused, and the query, which may be secret, is never shown.
"""

from dataclasses import field
from pathlib import Path
from string import ascii_letters, digits
from typing import Final, Self
from urllib.parse import SplitResult, unquote, urlsplit

from spkg.common.frozen import dataclass
from spkg.common.printable import printable
from spkg.errors import SCHEME, UsageError

__all__ = ["PORTS", "Location", "Login", "check_proxy", "file_of", "is_url"]

PORTS: Final = {"http": 80, "https": 443, "ftp": 21, "ftps": 21, "tftp": 69}
"""The supported protocols, and their default ports."""

ZONE: Final = frozenset(f"{ascii_letters}{digits}-._~")
"""What the name of a network interface in a URL consists of."""


def is_url(source: str) -> bool:
    """Whether a source is a URL, and not a path."""
    return "://" in source


@dataclass(frozen=True, kw_only=True)
class Login:
    """The credentials for a server, and how to reach it; nothing of it is ever sent to another server.

    Raises:
        UsageError: Some of it contradicts the rest.
    """

    username: str | None = None
    password: bytes = field(default=b"", repr=False)
    unsafe_basic: bool = False
    """Whether the password may be sent in clear text, if an HTTP server requires that."""
    ca_bundle: Path | None = None
    """The CA certificates to trust for servers, instead of the system's."""
    no_clock: bool = False
    """Whether there is no clock: the dates of the server's certificates are not checked."""
    client_cert: Path | None = None
    """The certificate to show to a server that asks for one, and its chain, in PEM."""
    client_key: Path | None = None
    """Its key in PEM, if that is in another file."""
    client_key_password: bytes | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """More headers of HTTP requests, by name; ``Proxy-Authorization`` goes to the proxy alone."""
    proxy: str | None = None
    """The URL of the HTTP proxy to use."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        names = {name.lower() for name, _ in self.headers}
        if self.username is not None and "authorization" in names:
            raise UsageError("--username and an Authorization header are mutually exclusive")
        if self.proxy is None and "proxy-authorization" in names:
            raise UsageError("a Proxy-Authorization header needs --proxy")
        if self.client_cert is None and self.client_key is not None:
            raise UsageError("--client-key needs --client-cert")
        if self.client_cert is None and self.client_key_password is not None:
            raise UsageError("a passphrase needs --client-cert")
        if self.proxy is not None:
            check_proxy(self.proxy)

    def check_use(self, location: "Location") -> None:
        """Check that all of it has a use.

        Raises:
            UsageError: The protocol of the location has none for a part of it.
        """
        secure, web = location.scheme.endswith("s"), location.scheme.startswith("http")
        if self.proxy is not None and not web:
            raise UsageError(f"--proxy needs a URL of http or https, not {location.scheme}")
        if self.proxy is not None and "%" in location.host:
            raise UsageError("an address with a zone can't be reached through a proxy")
        if self.headers and not web:
            raise UsageError(f"--header-file needs a URL of http or https, not {location.scheme}")
        if self.client_cert is not None and not secure:
            raise UsageError(f"--client-cert needs a URL of https or ftps, not {location.scheme}")


@dataclass(frozen=True, kw_only=True)
class Location:
    """The location of a package: a URL without credentials."""

    scheme: str
    host: str
    """A name or an address; that of IPv6 without brackets, and with its zone after a ``%``."""
    port: int
    target: str
    """Path and query, as in the URL."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL.

        Raises:
            UsageError: It is not valid, carries credentials, or has an unsupported protocol.
        """
        if not url.isascii() or not url.isprintable() or " " in url:
            raise UsageError("a URL must have only printable ASCII characters, and no spaces")
        parts = _split(url)
        if parts.username is not None or parts.password is not None:
            hint = "use --username with --password-env or --password-file"
            raise UsageError("a URL must not carry credentials: other users can see it", hint=hint)
        if parts.scheme not in PORTS:
            known = ", ".join(sorted({*PORTS, "file"}))
            problem = f"unsupported URL scheme '{printable(parts.scheme)}': expected one of {known}"
            raise UsageError(problem, reason=SCHEME)
        if not parts.hostname or parts.fragment:
            raise UsageError("a URL must have a host and no fragment")
        if not parts.scheme.startswith("http"):
            if parts.query:
                raise UsageError(f"a URL of {parts.scheme} must not have a query")
            if not unquote(parts.path).isprintable():
                raise UsageError(f"a URL of {parts.scheme} must not have control characters in its path")
        return cls(
            scheme=parts.scheme,
            host=_host(parts.hostname),
            port=parts.port or PORTS[parts.scheme],
            target=_target(parts),
        )

    @property
    def origin(self) -> tuple[str, str, int]:
        """The server that a password is for: protocol, host and port."""
        return self.scheme, self.host, self.port

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self._authority(self.host.replace('%', '%25'))}{self.target}"

    @property
    def sent_url(self) -> str:
        """The URL as a server may see it: a zone means something on this host alone (RFC 6874)."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def authority(self) -> str:
        """Host and port as a server may see them."""
        return self._authority(self.host.partition("%")[0])

    def _authority(self, host: str) -> str:
        bracketed = f"[{host}]" if ":" in host else host
        return bracketed if self.port == PORTS[self.scheme] else f"{bracketed}:{self.port}"

    @property
    def path(self) -> str:
        """The path on the server, unquoted and without its leading slash."""
        return unquote(self.target.partition("?")[0].removeprefix("/"))

    def __str__(self) -> str:
        """Return the URL without its query, which may be secret."""
        bare, question, _ = self.url.partition("?")
        return f"{bare}?…" if question else bare


def file_of(url: str) -> Path | None:
    """Return the file that a URL with the scheme ``file`` names; None for any other scheme.

    Raises:
        UsageError: The URL is not valid, or names a file on another host.
    """
    parts = _split(url)
    if parts.scheme != "file":
        return None
    path = unquote(parts.path)
    elsewhere = parts.netloc not in {"", "localhost"}
    if elsewhere or parts.query or parts.fragment or not path or "\0" in path:
        raise UsageError("a file: URL must name a file on this host, such as file:///tmp/gateway.spkg")
    return Path(path)


def _split(url: str) -> SplitResult:
    """Split a URL into its parts.

    Raises:
        UsageError: It is not valid.
    """
    try:
        parts = urlsplit(url)
        if parts.port == 0:
            raise UsageError("not a valid URL")
        (parts.hostname or "").encode("idna")
    except ValueError as exc:
        raise UsageError("not a valid URL") from exc
    return parts


def check_proxy(url: str) -> None:
    """Check the URL of a proxy.

    Raises:
        UsageError: It is not valid, carries credentials, or is not one of http.
    """
    parts = _split(url) if url.isascii() and url.isprintable() and " " not in url else urlsplit("")
    if parts.username is not None or parts.password is not None:
        hint = "write a line 'Proxy-Authorization: ...' into the file of --header-file"
        raise UsageError("the URL of a proxy must not carry credentials: other users can see it", hint=hint)
    extra = parts.path not in {"", "/"} or parts.query or parts.fragment
    if parts.scheme != "http" or not parts.hostname or extra:
        raise UsageError("--proxy takes a URL of http, such as http://proxy.example:3128")


def _host(host: str) -> str:
    """Return a host; the zone of an IPv6 address may be marked by ``%25`` (RFC 6874) or by a bare ``%``.

    Raises:
        UsageError: Its zone is not valid.
    """
    address, percent, zone = host.partition("%")
    if not percent:
        return host
    if ":" not in address or not (zone := zone.removeprefix("25")) or not set(zone) <= ZONE:
        raise UsageError("not a valid URL")
    return f"{address}%{zone}"


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
