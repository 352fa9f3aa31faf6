"""A policy in a file: TOML with the keys of the trust options, read strictly.

Options override what the file says, so this returns settings: the policy is made where the options are known.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography.x509 import ObjectIdentifier

from spkg.common.digests import Digest
from spkg.common.findings import Finding
from spkg.common.obstacles import Obstacles
from spkg.common.toml_document import Table, load_table
from spkg.trust.certificate_files import load_revocation_lists
from spkg.trust.policy import MIN_RSA_BITS, ClockRule, RevocationRule
from spkg.trust.trust_files import load_trust

__all__ = ["PolicySettings", "load_policy_settings"]

PIN: Final = re.compile(r"sha256:([0-9A-Fa-f]{64})", re.ASCII)
MAX_RSA_BITS_WANTED: Final = 8192
"""The largest key that is verified at all."""
MAX_REQUIRED: Final = 64
"""The most signatures in one package."""
_Word = TypeVar("_Word", bound=Enum)


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """What a policy file states."""

    values: dict[str, Any]
    """Arguments of :class:`spkg.trust.policy.Policy`, without those that the file leaves out."""
    findings: tuple[Finding, ...]
    """What was left out of its anchors, and why."""


def load_policy_settings(path: Path, *, overridden: frozenset[str] = frozenset()) -> PolicySettings:
    """Read a policy file.

    Args:
        path: The file; paths in it are relative to where it lies.
        overridden: Arguments of the policy that come from somewhere else: their files are not read.

    Raises:
        FormatError: It is not a policy; all that is wrong is in the error.
        HostError: A certificate or revocation list that it names can't be used.
        OSError: It, or a file that it names, can't be read.
    """
    table = load_table(path)
    values: dict[str, Any] = {}
    obstacles = Obstacles()
    for key, argument, read in POLICY_KEYS:
        with obstacles.collecting():
            value = read(table, key)
            if value is not None:
                values[argument] = value
    with obstacles.collecting():
        table.finish()
    if "anchors" not in table and "anchors" not in overridden:
        problem = 'missing; name files of trusted certificates, such as anchors = ["ca.pem"]'
        obstacles.add(table.error("anchors", problem))
    obstacles.raise_all()
    if "purposes" in values:
        values["purposes_required"] = True
    anchors = values.pop("anchors", ())
    crls = values.pop("crls", ())
    findings: tuple[Finding, ...] = ()
    if anchors and "anchors" not in overridden:
        trusted = load_trust([path.parent / one for one in anchors])
        values["anchors"], findings = trusted.certificates, trusted.findings
        values["crls"] = trusted.crls
    if crls and "crls" not in overridden:
        lists = (crl for one in crls for crl in load_revocation_lists(path.parent / one))
        values["crls"] = (*values.get("crls", ()), *lists)
    return PolicySettings(values=values, findings=findings)


def _texts(table: Table, key: str) -> tuple[str, ...] | None:
    """Return an array of strings, none of which is empty; None if the key is missing."""
    if key not in table:
        table.texts(key)
        return None
    found = table.texts(key)
    if not found:
        raise table.error(key, "must not be empty; leave the key out instead")
    if not all(found):
        raise table.error(key, "must not contain an empty string")
    if any("\0" in one for one in found):
        raise table.error(key, "must not contain NUL")
    return found


def _names(table: Table, key: str) -> frozenset[str] | None:
    found = _texts(table, key)
    return None if found is None else frozenset(found)


def _pins(table: Table, key: str) -> frozenset[bytes] | None:
    pins: set[bytes] = set()
    for text in _texts(table, key) or ():
        found = PIN.fullmatch(text)
        if found is None:
            problem = f'expected "sha256:" and 64 hexadecimal digits, got {text[:80]!r}'
            raise table.error(key, problem)
        pins.add(bytes.fromhex(found[1]))
    return frozenset(pins) or None


def _purposes(table: Table, key: str) -> frozenset[str] | None:
    found = _texts(table, key)
    for text in found or ():
        try:
            ObjectIdentifier(text)
        except ValueError as exc:
            raise table.error(key, f"expected an OID such as 1.3.6.1.5.5.7.3.3, got {text[:80]!r}") from exc
    return None if found is None else frozenset(found)


def _digests(table: Table, key: str) -> frozenset[Digest] | None:
    found = _texts(table, key)
    return None if found is None else frozenset(_word(table, key, text, Digest) for text in found)


def _word(table: Table, key: str, text: str, words: type[_Word]) -> _Word:
    try:
        return words(text)
    except ValueError as exc:
        names = [f'"{word.value}"' for word in words]
        expected = f"{', '.join(names[:-1])} or {names[-1]}"
        raise table.error(key, f"expected {expected}, got {text[:80]!r}") from exc


def _one_of(words: type[_Word]) -> Callable[[Table, str], _Word | None]:
    def read(table: Table, key: str) -> _Word | None:
        text = table.text(key)
        return None if text is None else _word(table, key, text, words)

    return read


def _number(least: int, most: int) -> Callable[[Table, str], int | None]:
    def read(table: Table, key: str) -> int | None:
        number = table.integer(key)
        if number is not None and not least <= number <= most:
            raise table.error(key, f"must be from {least} to {most}, got {number}")
        return number

    return read


def _moment(table: Table, key: str) -> datetime | None:
    """Return a point in time: a date and time of TOML or as a string, UTC if it has no zone."""
    value = table.any(key)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as exc:
            raise table.error(
                key, f"expected a time such as 2026-01-31T12:00:00Z, got {value[:40]!r}"
            ) from exc
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise table.error(key, "must be a date or a time, such as 2026-01-31T12:00:00Z")
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as exc:
        raise table.error(key, "must be a time of the years 1 to 9999 in UTC") from exc


def _duration(table: Table, key: str) -> timedelta | None:
    seconds = table.duration(key)
    return None if seconds is None else timedelta(seconds=seconds)


POLICY_KEYS: Final[tuple[tuple[str, str, Callable[[Table, str], Any]], ...]] = (
    ("anchors", "anchors", _texts),
    ("pins", "pins", _pins),
    ("signers", "signers", _names),
    ("required-signers", "required_signers", _number(1, MAX_REQUIRED)),
    ("digests", "digests", _digests),
    ("minimum-rsa-bits", "minimum_rsa_bits", _number(MIN_RSA_BITS, MAX_RSA_BITS_WANTED)),
    ("eku", "purposes", _purposes),
    ("crls", "crls", _texts),
    ("revocation", "revocation", _one_of(RevocationRule)),
    ("clock", "clock", _one_of(ClockRule)),
    ("not-before", "not_before", _moment),
    ("grace", "grace", _duration),
)
"""The keys of a policy file, the argument of the policy that each gives, and how it is read."""
