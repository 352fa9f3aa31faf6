"""Who signs, from what the command line names: a key file, a token or a program, and certificates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from spkg.common.key_places import PROGRAM_KEY, TOKEN_KEY, key_scheme
from spkg.errors import HostError
from spkg.trust.certificate_files import load_certificates
from spkg.trust.certificates import subject_of
from spkg.trust.key_files import Ask, load_key_file
from spkg.trust.signers import Identity, KeySigner, Signatory, Signer, check_kind

__all__ = ["KeyAccess", "load_identity", "load_signatory", "load_signer"]


@dataclass(frozen=True, kw_only=True)
class KeyAccess:
    """How a key can be used that is locked, or elsewhere."""

    passphrase: bytes | None = None
    """The passphrase of a key, or the PIN of a token."""
    ask: Ask = lambda _: None
    """Asks for it, if it is needed and was not given."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The environment variables of a program that signs, and where ``pin-source=env:`` looks."""
    clock: Callable[[], float] = lambda: 0.0
    """Returns the time in seconds, to limit that program; it never jumps."""


def load_identity(
    key: Path | str, certificate: Path | None, chain: Path | None = None, access: KeyAccess | None = None
) -> Identity:
    """Read what signs packages, an RSA key; otherwise like :func:`load_signatory`."""
    found = _load(key, certificate, chain, access or KeyAccess(), for_packages=True)
    return Identity(key=found.key, certificate=found.certificate, chain=found.chain)


def load_signatory(
    key: Path | str, certificate: Path | None, chain: Path | None = None, access: KeyAccess | None = None
) -> Signatory:
    """Read a key and its certificate.

    Args:
        key: A PEM or PKCS #12 file, which may also contain the certificate and the chain; the URI of a key in
            a token, ``pkcs11:…`` (RFC 7512); or a program that signs, ``exec:COMMAND``.
        certificate: A file whose first certificate is the signer's; all others are added to the chain.
        chain: More certificates to embed.
        access: How the key can be used.

    Raises:
        UsageError: The URI or the command can't be understood.
        HostError: A file can't be used, the key does not match the certificate, or a token can't be used.
        RefusedError: The key is of a kind that signs neither packages nor vouchers.
        OSError: A file can't be read.
    """
    return _load(key, certificate, chain, access or KeyAccess(), for_packages=False)


def _load(
    key: Path | str, certificate: Path | None, chain: Path | None, access: KeyAccess, *, for_packages: bool
) -> Signatory:
    given = [] if certificate is None else load_certificates(certificate)
    signer, found = _open(key, given, access)
    if for_packages:
        check_kind(signer.public_key)
    found = given + found
    if not found:
        raise HostError(f"{key} contains no certificate", hint="give the signer's with --cert")
    if chain is not None:
        found += load_certificates(chain)
    leaf, *others = found
    _check_match(key, signer, leaf)
    embedded = tuple(dict.fromkeys(other for other in others if other != leaf))
    return Signatory(key=signer, certificate=leaf, chain=embedded)


def load_signer(key: Path | str, certificate: x509.Certificate, access: KeyAccess) -> Signer:
    """Read the key of a certificate that is known already; otherwise like :func:`load_signatory`."""
    signer, _ = _open(key, [certificate], access)
    _check_match(key, signer, certificate)
    return signer


def _check_match(key: Path | str, signer: Signer, certificate: x509.Certificate) -> None:
    if signer.public_key != certificate.public_key():
        raise HostError(f"the key in {key} does not match the certificate of {subject_of(certificate)}")


def _open(
    key: Path | str, given: list[x509.Certificate], access: KeyAccess
) -> tuple[Signer, list[x509.Certificate]]:
    """Return what signs, and the certificates that were found with it."""
    scheme = key_scheme(key) if isinstance(key, str) else ""
    place = str(key)[len(scheme) :]
    if scheme == TOKEN_KEY:
        from spkg.trust.token_signer import open_token  # noqa: PLC0415 - an optional library

        return open_token(place, given, access.passphrase, access.ask, access.environment)
    if scheme == PROGRAM_KEY:
        from spkg.trust.exec_signer import ProgramSigner  # noqa: PLC0415 - start-up: it is the exception

        if not given:
            raise HostError("a program that signs needs the signer's certificate", hint="give it with --cert")
        return ProgramSigner.of(place, given[0], access.environment, access.clock), []
    private, found = load_key_file(Path(key), access.passphrase, access.ask)
    return KeySigner(private), found
