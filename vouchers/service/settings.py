"""The configuration of the service: read strictly, paths relative to where the file lies."""

import stat
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from spkg.common.digests import Digest
from spkg.common.key_places import key_scheme
from spkg.common.toml_document import Table, load_table
from spkg.errors import FormatError, HostError
from vouchers.acs.templates import Template, load_options

__all__ = ["ServiceSettings", "TlsSettings", "listen_address", "load_service_settings", "private_document"]

MIB: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """The certificate of the service itself, and who may come with one."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    """The anchors of client certificates; None if none are accepted."""


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What the service does, and within which limits."""

    source: Path
    """The file."""
    host: str
    port: int
    unsafe_plain_http: bool
    ledger: str
    key: Path | str
    cert: Path
    chain: Path | None
    key_password_file: Path | None
    digest: Digest
    tokens_file: Path
    tls: TlsSettings | None
    rate_limit: int
    """Requests a second and client, in this process."""
    max_body: int
    """The longest request, in bytes; lists of devices are not counted."""
    max_list: int
    """The longest list of devices, in bytes."""
    batches_at_once: int
    connections: int
    request_timeout: float
    """Seconds that a request may take, lists of devices not counted."""
    client_timeout: float
    """Seconds that a client may take to send a request, or not to read."""
    stop_timeout: float
    """Seconds that requests in flight have when the service stops."""
    keep_answers: int
    """Seconds for which an Idempotency-Key is remembered."""
    offers: dict[str, tuple[Template, ...]]

    def check_listen(self) -> None:
        """Make sure that vouchers and tokens do not go through a network in the clear.

        Raises:
            FormatError: They would.
        """
        if self.tls is None and not self.unsafe_plain_http and not _is_loopback(self.host):
            raise FormatError(
                f"expected a loopback address, since there is no tls-cert, got {self.host}",
                source=str(self.source),
                field="service.listen",
                hint="set tls-cert and tls-key; unsafe-plain-http = true sends tokens in the clear",
            )


def load_service_settings(path: Path) -> ServiceSettings:
    """Read a configuration file.

    Raises:
        FormatError: It is malformed, or a file of Options is.
        HostError: Anybody may write it.
        OSError: It, or a file of Options, can't be read.
    """
    document = private_document(path)
    here = path.absolute().parent
    table = document.table("service")
    offers = document.table("offers")
    document.finish()
    host, port = _listen(table)
    settings = ServiceSettings(
        source=path,
        host=host,
        port=port,
        unsafe_plain_http=table.boolean("unsafe-plain-http") or False,
        ledger=_ledger(table, here),
        key=_key(table, here),
        cert=_needed(table, "cert", here),
        chain=_path(table, "chain", here),
        key_password_file=_path(table, "key-password-file", here),
        digest=_digest(table),
        tokens_file=_needed(table, "tokens-file", here),
        rate_limit=_count(table, "rate-limit", 100, 1_000_000),
        max_body=_size(table, "max-body", MIB, 16 * MIB),
        max_list=_size(table, "max-list", 1024 * MIB, 1 << 40),
        batches_at_once=_count(table, "batches-at-once", 2, 64),
        connections=_count(table, "connections", 1000, 100_000),
        request_timeout=_seconds(table, "request-timeout", 30),
        client_timeout=_seconds(table, "client-timeout", 30),
        stop_timeout=_seconds(table, "stop-timeout", 30),
        keep_answers=table.duration("keep-answers") or 86_400,
        offers=_offers(offers, here),
        tls=_tls(table, here),
    )
    table.finish()
    settings.check_listen()
    return settings


def private_document(path: Path) -> Table:
    """Read a TOML document that decides who may do what.

    Raises:
        FormatError: It is not a TOML document.
        HostError: Anybody may write it.
        OSError: It can't be read.
    """
    if path.stat().st_mode & stat.S_IWOTH:
        raise HostError(f"{path}: anybody may write it, so it is not used", hint=f"chmod o-w {path}")
    return load_table(path)


def listen_address(text: str) -> tuple[str, int]:
    """Return the host and the port of ``HOST:PORT`` or ``[HOST]:PORT``.

    Raises:
        ValueError: It is something else.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:  # it may end in a part of the address
        host = ""
    if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 0xFFFF:
        raise ValueError(f"expected HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080, got {text[:80]!r}")
    return host, int(port)


def _listen(table: Table) -> tuple[str, int]:
    try:
        return listen_address(table.text("listen") or "127.0.0.1:8080")
    except ValueError as exc:
        raise table.error("listen", str(exc)) from exc


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _path(table: Table, key: str, here: Path) -> Path | None:
    text = table.text(key)
    return None if text is None else here / text


def _needed(table: Table, key: str, here: Path) -> Path:
    found = _path(table, key, here)
    if found is None:
        raise table.error(key, "required")
    return found


def _key(table: Table, here: Path) -> Path | str:
    text = table.text("key")
    if text is None:
        raise table.error("key", "required")
    return text if key_scheme(text) else here / text


def _ledger(table: Table, here: Path) -> str:
    text = table.text("ledger")
    if text is None:
        raise table.error("ledger", "required")
    # What is neither a URL nor what only looks like one is the path of a file.
    return text if ":" in text or "=" in text else str(here / text)


def _digest(table: Table) -> Digest:
    text = table.text("digest") or Digest.SHA256.value
    if text not in {one.value for one in Digest}:
        raise table.error("digest", f"expected sha256 or sha1, got {text[:40]!r}")
    return Digest(text)


def _tls(table: Table, here: Path) -> TlsSettings | None:
    cert, key = _path(table, "tls-cert", here), _path(table, "tls-key", here)
    client_ca = _path(table, "tls-client-ca", here)
    if cert is None and key is None and client_ca is None:
        return None
    if cert is None or key is None:
        raise table.error("tls-cert" if cert is None else "tls-key", "tls-cert and tls-key go together")
    return TlsSettings(cert=cert, key=key, client_ca=client_ca)


def _count(table: Table, key: str, default: int, most: int) -> int:
    value = table.integer(key)
    return default if value is None else _within(table, key, value, most)


def _size(table: Table, key: str, default: int, most: int) -> int:
    value = table.size(key, most)
    return default if value is None else _within(table, key, value, most)


def _seconds(table: Table, key: str, default: float) -> float:
    value = table.seconds(key)
    if value == 0:
        raise table.error(key, "must be more than 0")
    return default if value is None else value


def _within(table: Table, key: str, value: int, most: int) -> int:
    if not 1 <= value <= most:
        raise table.error(key, f"must be from 1 to {most}, got {value}")
    return value


def _offers(table: Table, here: Path) -> dict[str, tuple[Template, ...]]:
    found = {}
    for name in table.keys():  # noqa: SIM118 - it is no dict
        path = _path(table, name, here)
        if path is None or not name or not name.isprintable():
            raise table.error("", f"{name[:40]!r}: expected a printable name of an offer")
        try:
            found[name] = load_options(path)
        except FormatError as exc:
            raise FormatError(
                exc.problem,
                source=str(path),
                line=exc.line,
                offset=exc.offset,
                field=exc.field,
                section=exc.section,
                hint=exc.hint,
            ) from exc
    table.finish()
    return found
