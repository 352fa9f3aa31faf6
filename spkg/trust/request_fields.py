"""A request to sign elsewhere, as it comes back: JSON whose fields are read with their places."""

import binascii
from base64 import b64decode
from typing import Any

from cryptography import x509

from spkg.common.digests import Digest
from spkg.common.json_input import read_json
from spkg.errors import FormatError, HostError
from spkg.trust.certificate_files import read_certificates

__all__ = ["RequestFields"]


class RequestFields:
    """The fields of a request.

    Args:
        octets: The request.
        schema: What it has to call itself.
        most: How long it may be, in bytes.
        source: The name of its file, for errors.
        line: Where it is in that file, if there are several.

    Raises:
        FormatError: It is not such a request.
    """

    def __init__(
        self, octets: bytes, schema: str, *, most: int, source: str, line: int | None = None
    ) -> None:
        self._source = source
        self._line = line
        if len(octets) > most:
            raise self._error(f"the request has more than {most} bytes")
        try:
            document = read_json(octets, source)
        except FormatError as exc:
            exc.line = line or exc.line
            raise
        found = document.get("schema") if isinstance(document, dict) else None
        if not isinstance(document, dict) or found != schema:
            problem = f"expected a request with the schema {schema!r}"
            raise self._error(f"{problem}, got {found!r:.80}" if isinstance(found, str) else problem)
        self._fields: dict[str, Any] = document

    def text(self, key: str) -> str:
        """Return a string."""
        value = self._fields.get(key)
        if not isinstance(value, str):
            problem = "missing" if key not in self._fields else f"expected a string, got {value!r:.40}"
            raise self._error(problem, key)
        return value

    def octets(self, key: str) -> bytes:
        """Return bytes, which are in base64."""
        text = self.text(key)
        try:
            return b64decode(text, validate=True)
        except (binascii.Error, ValueError) as exc:
            raise self._error(f"expected base64, got {text!r:.40}", key) from exc

    def digest(self) -> Digest:
        """Return the digest."""
        text = self.text("digest")
        try:
            return Digest(text)
        except ValueError as exc:
            raise self._error(f"expected sha1 or sha256, got {text!r:.40}", "digest") from exc

    def certificates(self, key: str) -> tuple[x509.Certificate, ...]:
        """Return at least one certificate, in PEM."""
        try:
            return tuple(read_certificates(self.text(key).encode(), key))
        except HostError as exc:
            raise self._error("expected certificates in PEM that can be read", key) from exc

    def compare(self, key: str, octets: bytes) -> None:
        """Check that a field has what follows from the others."""
        if self.octets(key) != octets:
            raise self._error("does not follow from the other fields", key)

    def __contains__(self, key: str) -> bool:
        """Whether a field is there, and not empty."""
        return bool(self._fields.get(key))

    def _error(self, problem: str, field: str | None = None) -> FormatError:
        return FormatError(problem, source=self._source, line=self._line, field=field)
