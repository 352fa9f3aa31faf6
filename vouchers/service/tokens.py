"""Who may use the service: bearer tokens, kept as digests, and client certificates, each with its scopes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final

from spkg.common.toml_document import Table
from spkg.errors import SpkgError, os_problem
from vouchers.acs.ledger_tables import MAX_ACTOR
from vouchers.service.settings import private_document

__all__ = ["AccessFile", "ApiClient", "ApiClients", "Scope", "load_clients"]

HEX: Final = re.compile("[0-9a-f]{64}", re.ASCII)
BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/=-]{1,4096})", re.ASCII)
"""RFC 6750, 2.1; the name of a scheme has no case."""


class Scope(Enum):
    """What a client may do."""

    ISSUE = "issue"
    READ = "read"
    VOID = "void"


@dataclass(frozen=True, kw_only=True)
class ApiClient:
    """Somebody who may use the service."""

    name: str
    """Who makes the changes, for the journal."""
    scopes: frozenset[Scope]


@dataclass(frozen=True, kw_only=True)
class ApiClients:
    """All who may use the service."""

    tokens: tuple[tuple[str, ApiClient], ...]
    """By the SHA-256 of their token, in hex."""
    certificates: Mapping[str, ApiClient]
    """By the SHA-256 of their certificate, in hex."""

    def by_header(self, header: str) -> ApiClient | None:
        """Return the client with the token in a header, ``Authorization``; None if nobody has it."""
        match = BEARER.fullmatch(header.strip())
        if match is None:
            return None
        digest = sha256(match[1].encode()).hexdigest()
        found = None
        for kept, client in self.tokens:  # all of them: how long it takes must not depend on which it is
            if compare_digest(kept, digest):
                found = client
        return found

    def by_certificate(self, certificate: bytes | None) -> ApiClient | None:
        """Return the client with a certificate, in DER, which TLS has verified; None if nobody has it."""
        return None if certificate is None else self.certificates.get(sha256(certificate).hexdigest())


def load_clients(path: Path) -> ApiClients:
    """Read a file of tokens and certificates.

    Raises:
        FormatError: It is malformed, or a token or a name occurs twice.
        HostError: Anybody may write it.
        OSError: It can't be read.
    """
    document = private_document(path)
    tokens, certificates = document.tables("token"), document.tables("certificate")
    document.finish()
    names: set[str] = set()
    digests: set[str] = set()
    found: dict[str, dict[str, ApiClient]] = {"token": {}, "certificate": {}}
    for kind, tables in (("token", tokens), ("certificate", certificates)):
        for table in tables:
            digest, client = _client(table)
            if client.name in names or digest in digests:
                what = "name" if client.name in names else "sha256"
                raise table.error(what, "occurs twice")
            names.add(client.name)
            digests.add(digest)
            found[kind][digest] = client
    if not digests:
        raise document.error("", "expected at least one [[token]] or [[certificate]]")
    return ApiClients(tokens=tuple(found["token"].items()), certificates=found["certificate"])


def _client(table: Table) -> tuple[str, ApiClient]:
    name, digest, scopes = table.text("name"), table.text("sha256"), table.texts("scopes")
    table.finish()
    if not name or len(name) > MAX_ACTOR or not name.isprintable():
        raise table.error("name", f"expected 1 to {MAX_ACTOR} printable characters")
    if digest is None or not HEX.fullmatch(digest.lower()):
        raise table.error("sha256", "expected the SHA-256 in hex, 64 digits")
    known = {one.value for one in Scope}
    if not scopes or not {*scopes} <= known:
        raise table.error("scopes", 'expected some of "issue", "read", "void"')
    return digest.lower(), ApiClient(name=name, scopes=frozenset(Scope(one) for one in scopes))


class AccessFile:
    """A file of tokens that is read again when it has changed; a file that is wrong changes nothing.

    Raises:
        FormatError, HostError, OSError: As :func:`load_clients`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._mark()
        self.clients = load_clients(path)

    def refresh(self) -> str | None:
        """Read the file again if it has changed; return why it can't be used, once."""
        mark = self._mark()
        if mark == self._seen:
            return None
        self._seen = mark
        try:
            self.clients = load_clients(self._path)
        except SpkgError as exc:
            return str(exc)
        except OSError as exc:
            return os_problem(exc)
        return None

    def _mark(self) -> Any:
        """Return what is another one once the file has changed; also if it can't be read any more."""
        try:
            found = self._path.stat()
        except OSError as exc:
            return exc.errno
        return found.st_mtime_ns, found.st_ino, found.st_size
