"""Keys in tokens and hardware security modules, by PKCS #11 URIs (RFC 7512)."""

import os
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from spkg.common.digests import Digest
from spkg.common.key_places import key_scheme
from spkg.errors import FormatError, HostError, RefusedError, UsageError, os_problem
from spkg.trust.certificates import read_certificate
from spkg.trust.key_files import Ask
from spkg.trust.signers import OfThisProcess, PublicKey, check_signature, digest_info, pair_as_der

__all__ = ["TokenAddress", "TokenSigner", "open_token"]

PATH_ATTRIBUTES: Final = frozenset(
    {"token", "manufacturer", "serial", "model", "object", "id", "type", "slot-id"}
)
"""The attributes of the path that are understood."""
QUERY_ATTRIBUTES: Final = frozenset({"module-path", "pin-source"})
MAX_PIN: Final = 4096
PIN_HINT: Final = "give the PIN with pin-source=file:PATH, pin-source=env:NAME or --key-password-file"


@dataclass(frozen=True, kw_only=True)
class TokenAddress:
    """Which key in which token, by which module."""

    module: Path
    token: str | None = None
    serial: bytes | None = None
    slot: int | None = None
    object: str | None = None
    identity: bytes | None = None
    """The CKA_ID."""
    pin_source: str | None = None

    @classmethod
    def parse(cls, uri: str) -> "TokenAddress":
        """Return what a URI names.

        Raises:
            UsageError: It is not such a URI, or states a PIN.
        """
        path, _, query = uri[len(key_scheme(uri)) :].partition("?")
        found = {**_attributes(path, ";", PATH_ATTRIBUTES), **_attributes(query, "&", QUERY_ATTRIBUTES)}
        if found.get("type", b"private") != b"private":
            raise UsageError("pkcs11: type must be private")
        if "module-path" not in found:
            hint = "for example pkcs11:token=release;object=key?module-path=/usr/lib/softhsm/libsofthsm2.so"
            raise UsageError("pkcs11: module-path is missing", hint=hint)
        if "object" not in found and "id" not in found:
            raise UsageError("pkcs11: expected object or id, the key's name or CKA_ID")
        slot = found.get("slot-id")
        if slot is not None and not slot.isdigit():
            raise UsageError("pkcs11: slot-id must be a number")
        try:
            texts = {
                name: found[name].decode() for name in ("token", "object", "pin-source") if name in found
            }
        except UnicodeDecodeError as exc:
            raise UsageError("pkcs11: names must be UTF-8") from exc
        return cls(
            module=Path(os.fsdecode(found["module-path"])),
            token=texts.get("token"),
            serial=found.get("serial"),
            slot=None if slot is None else int(slot),
            object=texts.get("object"),
            identity=found.get("id"),
            pin_source=texts.get("pin-source"),
        )

    @property
    def key_name(self) -> str:
        """What the key is called, for people."""
        named = [] if self.object is None else [f"object {self.object!r}"]
        return " and ".join([*named, *([] if self.identity is None else [f"id {self.identity.hex()}"])])


class TokenSigner(OfThisProcess):
    """A key in a token.  Each process opens its own session, in which one thread at a time signs."""

    def __init__(self, address: TokenAddress, pin: str | None, key: Any, public_key: PublicKey) -> None:
        self.public_key = public_key
        self._address = address
        self._pin = pin
        self._key = key
        self._process = os.getpid()
        self._signing = threading.Lock()

    def sign(self, digest: Digest, hashed: bytes) -> bytes:
        """Return a signature that the token made, and that is valid."""
        import pkcs11  # noqa: PLC0415 - an optional library

        if self._process != os.getpid():  # none survives a fork, and another thread may have had the lock
            self._signing = threading.Lock()
            _library(self._address).reinitialize()
            session = _session(self._address, self._pin)
            self._key = _private_key(session, self._address, with_pin=self._pin is not None)
            self._process = os.getpid()
        try:
            with self._signing:
                if isinstance(self.public_key, rsa.RSAPublicKey):
                    octets = digest_info(digest, hashed)
                    made = self._key.sign(octets, mechanism=pkcs11.Mechanism.RSA_PKCS)
                else:
                    made = self._key.sign(hashed, mechanism=pkcs11.Mechanism.ECDSA)
        except pkcs11.exceptions.PKCS11Error as exc:
            raise HostError(f"{_token_name(self._address)} can't sign: {_reason(exc)}") from exc
        signature = pair_as_der(bytes(made), self.public_key)
        check_signature(self.public_key, digest, hashed, signature, _token_name(self._address))
        return signature


def open_token(
    uri: str,
    given: list[x509.Certificate],
    passphrase: bytes | None,
    ask: Ask,
    environment: Mapping[str, str],
) -> tuple[TokenSigner, list[x509.Certificate]]:
    """Return the key that a URI names, and the certificate that is stored with it.

    Args:
        uri: The URI.
        given: The signer's certificate, if it is known, and others.
        passphrase: The PIN, if it was given in another way than by the URI.
        ask: Asks for it, if it was not given.
        environment: Where ``pin-source=env:`` looks.

    Raises:
        UsageError: The URI can't be understood.
        HostError: The module, the token, the key or the PIN can't be used.
        RefusedError: The key is of another kind.
    """
    address = TokenAddress.parse(uri)
    _library(address)
    pin = _pin(address, passphrase, ask, environment)
    session = _session(address, pin)
    private = _private_key(session, address, with_pin=pin is not None)
    stored = [] if given else _stored_certificate(session, private)
    certificates = [*given, *stored]
    if not certificates:
        hint = "give it with --cert, or store it in the token with the key's id"
        raise HostError(f"{_token_name(address)} has no certificate of {address.key_name}", hint=hint)
    key = certificates[0].public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise RefusedError("a key in a token must be RSA or ECDSA")
    _check_modulus(private, key, address)
    return TokenSigner(address, pin, private, key), stored


def _attributes(text: str, separator: str, known: frozenset[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in filter(None, text.split(separator)):
        name, equals, value = part.partition("=")
        if name.lower() == "pin-value":
            raise UsageError("pkcs11: a PIN is not taken from the command line", hint=PIN_HINT)
        if not equals:  # it may be a PIN, and is not shown
            raise UsageError("pkcs11: expected NAME=VALUE, got something without an equals sign")
        if name not in known:
            raise UsageError(f"pkcs11: unknown attribute {name[:40]!r}; known are {', '.join(sorted(known))}")
        if name in found:
            raise UsageError(f"pkcs11: {name} is stated twice")
        found[name] = unquote_to_bytes(value)
    return found


def _pin(
    address: TokenAddress, passphrase: bytes | None, ask: Ask, environment: Mapping[str, str]
) -> str | None:
    source = address.pin_source
    octets = passphrase
    if source is not None:
        if passphrase is not None:
            raise UsageError("pin-source and a passphrase in another way are mutually exclusive")
        kind, colon, rest = source.partition(":")
        if colon and kind == "env":
            if rest not in environment:
                raise UsageError(f"the environment variable {rest} is not set")
            octets = os.fsencode(environment[rest])
        elif source.startswith("|"):
            raise UsageError("pkcs11: pin-source can't be a program", hint=PIN_HINT)
        else:
            path = Path(rest.removeprefix("//") if colon and kind == "file" else source)
            with path.open("rb") as file:
                octets = file.readline(MAX_PIN).rstrip(b"\r\n")
    if octets is None:
        octets = ask(f"the PIN of {_token_name(address)}")
    try:
        return None if octets is None else octets.decode()
    except UnicodeDecodeError:
        raise HostError("the PIN is not UTF-8") from None


def _library(address: TokenAddress) -> Any:
    try:
        import pkcs11  # noqa: PLC0415 - an optional library
    except ImportError as exc:
        hint = "pip install 'tr069-spkg[hsm]'"
        raise HostError("keys in tokens need python-pkcs11, which is not installed", hint=hint) from exc
    try:
        address.module.stat()
        return pkcs11.lib(str(address.module))
    except OSError as exc:
        raise HostError(f"the PKCS #11 module can't be used: {os_problem(exc)}") from exc
    except (pkcs11.exceptions.PKCS11Error, RuntimeError) as exc:
        raise HostError(f"the PKCS #11 module {address.module} can't be used: {_reason(exc)}") from exc


def _session(address: TokenAddress, pin: str | None) -> Any:
    from pkcs11 import exceptions  # noqa: PLC0415 - an optional library

    library = _library(address)
    name = _token_name(address)
    try:
        tokens = [
            slot.get_token() for slot in library.get_slots(token_present=True) if _is_slot(slot, address)
        ]
        found = [token for token in tokens if _is_token(token, address)]
    except exceptions.PKCS11Error as exc:
        raise HostError(f"{name} can't be used: {_reason(exc)}") from exc
    if len(found) != 1:
        problem = "does not exist" if not found else "is ambiguous"
        raise HostError(f"{name} {problem}", hint="name one with token, serial or slot-id")
    try:
        return found[0].open(user_pin=pin)
    except exceptions.UserAlreadyLoggedIn:  # by another key of this process
        return found[0].open()
    except exceptions.PKCS11Error as exc:
        wrong = isinstance(exc, exceptions.PinIncorrect | exceptions.PinLenRange | exceptions.PinInvalid)
        raise HostError(f"the PIN of {name} is wrong" if wrong else f"{name}: {_reason(exc)}") from exc


def _is_slot(slot: Any, address: TokenAddress) -> bool:
    return address.slot is None or slot.slot_id == address.slot


def _is_token(token: Any, address: TokenAddress) -> bool:
    label = address.token is None or token.label == address.token
    return label and (address.serial is None or bytes(token.serial).rstrip() == address.serial)


def _private_key(session: Any, address: TokenAddress, *, with_pin: bool) -> Any:
    from pkcs11 import ObjectClass, exceptions  # noqa: PLC0415 - an optional library

    try:
        return session.get_key(
            object_class=ObjectClass.PRIVATE_KEY, label=address.object, id=address.identity
        )
    except exceptions.PKCS11Error as exc:
        several = isinstance(exc, exceptions.MultipleObjectsReturned)
        problem = "several private keys with" if several else "no private key with"
        hint = None if with_pin else f"a token shows most keys only with its PIN: {PIN_HINT}"
        raise HostError(
            f"{_token_name(address)} has {problem} {address.key_name}",
            hint="name it by object and id" if several else hint,
        ) from exc


def _stored_certificate(session: Any, private: Any) -> list[x509.Certificate]:
    from pkcs11 import Attribute, ObjectClass  # noqa: PLC0415 - an optional library

    wanted = {Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.ID: private[Attribute.ID]}
    try:
        return [read_certificate(bytes(one[Attribute.VALUE])) for one in session.get_objects(wanted)][:1]
    except FormatError as exc:
        raise HostError(f"the certificate in the token can't be used: {exc}") from exc


def _check_modulus(private: Any, key: PublicKey, address: TokenAddress) -> None:
    """Check that a key is that of the certificate, as far as the token says."""
    from pkcs11 import Attribute, KeyType, exceptions  # noqa: PLC0415 - an optional library

    kind = KeyType.RSA if isinstance(key, rsa.RSAPublicKey) else KeyType.EC
    matches = private.key_type == kind
    if matches and isinstance(key, rsa.RSAPublicKey):
        with suppress(exceptions.PKCS11Error):  # where a token does not say, the first signature shows it
            matches = int.from_bytes(private[Attribute.MODULUS], "big") == key.public_numbers().n
    if not matches:
        problem = f"{address.key_name} in {_token_name(address)} does not match the signer's certificate"
        raise HostError(problem)


def _token_name(address: TokenAddress) -> str:
    if address.token is not None:
        return f"the token {address.token!r}"
    return "the token" if address.slot is None else f"the token in slot {address.slot}"


def _reason(exc: Exception) -> str:
    """Return what a module says, or at least what kind of error it is, in words."""
    return str(exc) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(exc).__name__).lower()
