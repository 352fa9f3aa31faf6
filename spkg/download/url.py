"""The location of a download, and the credentials for it.

A URL with credentials is refused, and the query, which may be secret, is never shown.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import SplitResult, unquote, urlsplit

from spkg.common.printable import printable
from spkg.errors import UsageError

__all__ = ["PORTS", "Location", "Login", "file_of", "is_url"]

PORTS: Final = {"http": 80, "https": 443, "ftp": 21, "ftps": 21, "tftp": 69}
"""The supported protocols, and their default ports."""


def is_url(source: str) -> bool:
    """Whether a source is a URL, and not a path."""
    return "://" in source


@dataclass(frozen=True, kw_only=True)
class Login:
    """The credentials for a server, and how to use them."""

    username: str | None = None
    password: bytes = field(default=b"", repr=False)
    unsafe_basic: bool = False
    """Whether the password may be sent in clear text, if an HTTP server requires that."""
    ca_bundle: Path | None = None
    """The CA certificates to trust for servers, instead of the system's."""


@dataclass(frozen=True, kw_only=True)
class Location:
    """The location of a package: a URL without credentials."""

    scheme: str
    host: str
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
            raise UsageError(f"unsupported URL scheme {printable(parts.scheme)!r}: expected one of {known}")
        if not parts.hostname or parts.fragment:
            raise UsageError("a URL must have a host and no fragment")
        if not parts.scheme.startswith("http"):
            if parts.query:
                raise UsageError(f"a URL of {parts.scheme} must not have a query")
            if not unquote(parts.path).isprintable():
                raise UsageError(f"a URL of {parts.scheme} must not have control characters in its path")
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
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
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.target}"

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


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
