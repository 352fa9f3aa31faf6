"""Where a package is downloaded from, and who asks for it.

Nothing that is secret is in a URL that gets this far, and no part of it that may be is ever shown.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import SplitResult, unquote, urlsplit

from spkg.common.printable import printable
from spkg.errors import UsageError

__all__ = ["PORTS", "Location", "Login", "file_of", "is_url"]

PORTS: Final = {"http": 80, "https": 443, "ftp": 21, "ftps": 21, "tftp": 69}
"""The protocols that are spoken, and where servers listen for them."""


def is_url(source: str) -> bool:
    """Whether a source is to be downloaded, and is no file here."""
    return "://" in source


@dataclass(frozen=True, kw_only=True)
class Login:
    """Who asks for a package, and what may be done to prove it."""

    username: str | None = None
    password: bytes = field(default=b"", repr=False)
    unsafe_basic: bool = False
    """Whether the password may go over the network in clear, where HTTP asks for that."""
    ca_bundle: Path | None = None
    """The certificates that a server's leads to, in place of those that everybody trusts."""


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a package is: a URL without credentials."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query, as they stand in the URL."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL.

        Raises:
            UsageError: It is none, carries credentials, or wants a protocol that is not spoken here.
        """
        if not url.isascii() or not url.isprintable() or " " in url:
            raise UsageError("a URL has printable ASCII characters alone, without blanks")
        parts = _split(url)
        if parts.username is not None or parts.password is not None:
            hint = "use --username with --password-env or --password-file"
            raise UsageError("a URL must not carry credentials: others see it", hint=hint)
        if parts.scheme not in PORTS:
            known = ", ".join(sorted({*PORTS, "file"}))
            raise UsageError(f"no downloads by {printable(parts.scheme)!r}: {known} are known")
        if not parts.hostname or parts.fragment:
            raise UsageError("a URL needs a host, and no fragment")
        if not parts.scheme.startswith("http"):
            if parts.query:
                raise UsageError(f"a URL of {parts.scheme} has no query")
            if not unquote(parts.path).isprintable():
                raise UsageError("a path with control characters can't be asked for")
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=parts.port or PORTS[parts.scheme],
            target=_target(parts),
        )

    @property
    def origin(self) -> tuple[str, str, int]:
        """The server that a password is for, and how one talks to it."""
        return self.scheme, self.host, self.port

    @property
    def url(self) -> str:
        """All of it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.target}"

    @property
    def path(self) -> str:
        """The path as the server has it, without the slash that ends the host."""
        return unquote(self.target.partition("?")[0].removeprefix("/"))

    def __str__(self) -> str:
        """Return what may be shown: a query may be a secret."""
        bare, question, _ = self.url.partition("?")
        return f"{bare}?…" if question else bare


def file_of(url: str) -> Path | None:
    """Return the file that a URL names here, where its scheme is ``file``.

    Raises:
        UsageError: It names one elsewhere.
    """
    parts = _split(url)
    if parts.scheme != "file":
        return None
    path = unquote(parts.path)
    elsewhere = parts.netloc not in {"", "localhost"}
    if elsewhere or parts.query or parts.fragment or not path or "\0" in path:
        raise UsageError("a file: URL names a file of this host, as file:///tmp/gateway.spkg does")
    return Path(path)


def _split(url: str) -> SplitResult:
    """Take a URL apart.

    Raises:
        UsageError: That can't be done.
    """
    try:
        parts = urlsplit(url)
        if parts.port == 0:
            raise UsageError("this is no URL")
        (parts.hostname or "").encode("idna")
    except ValueError as exc:
        raise UsageError("this is no URL") from exc
    return parts


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
