"""What tests are made of: keys, certificates and packages, genuine but for the one thing a test breaks."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Final

from asn1crypto import core
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spkg.build.sign import add_signature
from spkg.common.digests import Digest
from spkg.format.commands import End, Extract, PayloadCommand, Record
from spkg.format.package import Header, Package, encode_commands
from spkg.format.paths import RootPath
from spkg.format.signature_block import EMPTY_BLOCK, load_block
from spkg.install.history import ENTRY
from spkg.trust.ber import tlv
from spkg.trust.policy import Policy
from spkg.trust.signers import Identity, KeySigner

AT: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""The time at which everything here is valid."""
LAST: Final = AT.replace(year=2049)
"""When certificates end: what signs by the real clock must not begin to doubt them."""
KEYS: Final = Path(__file__).parent.parent / "keys"
ROOT: Final = Path(__file__).parents[2]
SAMPLE: Final = ROOT / "samples" / "gateway"


@cache
def key(name: str) -> rsa.RSAPrivateKey:
    """Return one of the fixed test keys, which everybody has."""
    loaded = load_pem_private_key(
        (KEYS / f"{name}.key").read_bytes(), None, unsafe_skip_rsa_key_validation=True
    )
    assert isinstance(loaded, rsa.RSAPrivateKey)
    return loaded


def name(*common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one) for one in common])


@dataclass(frozen=True, kw_only=True)
class Certified:
    """A key and its certificate."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def identity(self, *chain: "Certified") -> Identity:
        return Identity(
            key=KeySigner(self.key),
            certificate=self.certificate,
            chain=tuple(one.certificate for one in chain),
        )


USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def certify(
    subject: str | Sequence[str],
    by: Certified | None = None,
    *,
    with_key: str = "signer",
    ca: bool | None = False,
    usage: Sequence[str] | None = ("digital_signature",),
    purposes: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.CODE_SIGNING,),
    digest: str = "sha256",
    version_1: bool = False,
    start: datetime = AT - timedelta(days=365),
    end: datetime = LAST,
    serial: int = 1000,
    extension: x509.ExtensionType | None = None,
) -> Certified:
    """Certify a test key; without *by* it certifies itself.  None leaves an extension out."""
    own = key(with_key)
    called = name(subject) if isinstance(subject, str) else name(*subject)
    builder = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called if by is None else by.certificate.subject)
        .public_key(own.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if usage is not None:
        usages = {one: one in usage for one in USAGES}
        builder = builder.add_extension(x509.KeyUsage(**usages), critical=True)
    if purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    issuing = own if by is None else by.key
    certificate = builder.sign(issuing, hashes.SHA256())
    if digest != "sha256" or version_1:
        certificate = _signed_again(certificate, issuing, digest, version_1=version_1)
    return Certified(key=own, certificate=certificate)


def _signed_again(
    certificate: x509.Certificate, issuing: rsa.RSAPrivateKey, digest: str, *, version_1: bool
) -> x509.Certificate:
    """Sign as cryptography no longer does: with an old digest, or in the form of X.509 v1."""
    changed = asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
    tbs = changed["tbs_certificate"]
    if version_1:
        tbs["version"] = "v1"
        del tbs["extensions"]
    algorithm = {"algorithm": f"{digest}_rsa", "parameters": core.Null()}
    tbs["signature"] = algorithm
    changed["signature_algorithm"] = algorithm
    kind = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "md5": hashes.MD5()}[digest]
    octets = hashlib.new(digest, tbs.dump(force=True), usedforsecurity=False).digest()
    changed["signature_value"] = issuing.sign(octets, padding.PKCS1v15(), utils.Prehashed(kind))
    return x509.load_der_x509_certificate(changed.dump(force=True))


def authority(
    subject: str = "Test Root",
    by: Certified | None = None,
    *,
    with_key: str = "root",
    digest: str = "sha256",
    version_1: bool = False,
    serial: int = 1,
) -> Certified:
    """Make a certification authority."""
    return certify(
        subject,
        by,
        with_key=with_key,
        ca=True,
        usage=("key_cert_sign", "crl_sign"),
        purposes=None,
        digest=digest,
        version_1=version_1,
        serial=serial,
    )


@cache
def root() -> Certified:
    return authority()


@cache
def signer() -> Certified:
    return certify("Test Signer", root())


@cache
def second_signer() -> Certified:
    return certify("Second Signer", root(), with_key="second", serial=1001)


def policy(*anchors: Certified, **settings: object) -> Policy:
    """Return a policy that trusts *anchors*, or the root where there are none."""
    trusted = anchors or (root(),)
    return Policy(anchors=tuple(one.certificate for one in trusted), **settings)  # type: ignore[arg-type]


CONTENTS: Final = b"#!/bin/sh\necho hello\n"


def file(
    path: str,
    contents: bytes = CONTENTS,
    *,
    at: int = 0,
    kind: type[PayloadCommand] = Extract,
    flags: int = 0,
) -> PayloadCommand:
    """Return an extract or add command for *contents* that lie at octet *at* of the payload."""
    return kind(
        path=RootPath.of(path),
        hash=sha1(contents, usedforsecurity=False).digest(),
        file_offset=at,
        file_length=len(contents),
        flags=flags,
    )


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A package in the making; whatever a test wants wrong, it replaces."""

    records: tuple[Record, ...] = (file("/bin/app"), End())
    payload: bytes = CONTENTS
    commands: bytes | None = None
    """The command list as octets, in place of the records."""
    header: bytes | None = None
    block: bytes | None = None
    signers: tuple[Identity, ...] = field(default_factory=lambda: (signer().identity(),))

    @property
    def signed(self) -> bytes:
        commands = encode_commands(self.records) if self.commands is None else self.commands
        header = Header(command_list_length=len(commands), payload_length=len(self.payload)).encode()
        return (header if self.header is None else self.header) + commands

    @property
    def front(self) -> bytes:
        if self.block is not None:
            return self.signed + self.block
        block = EMPTY_BLOCK
        for one in self.signers:
            block = add_signature(load_block(block), self.signed, one)
        return self.signed + block

    def encode(self) -> bytes:
        return self.front + self.payload


def entry(**facts: object) -> dict[str, object]:
    """Return what the record of an installation is to say of a package."""
    return {name: kinds[0]() for name, kinds in ENTRY.items()} | facts


def read(octets: bytes) -> Package:
    """Read a package from memory."""
    return Package.read(io.BytesIO(octets))


# Signature blocks by hand: everything is right by default, and anything can be made wrong.

DATA: Final = bytes.fromhex("06092a864886f70d010701")
SIGNED_DATA: Final = bytes.fromhex("06092a864886f70d010702")
CONTENT_TYPE: Final = bytes.fromhex("06092a864886f70d010903")
MESSAGE_DIGEST: Final = bytes.fromhex("06092a864886f70d010904")
SHA1_ALGORITHM: Final = bytes.fromhex("300906052b0e03021a0500")
SHA256_ALGORITHM: Final = bytes.fromhex("300d06096086480165030402010500")
RSA_ALGORITHM: Final = bytes.fromhex("300d06092a864886f70d0101010500")


def attribute(kind: bytes, *values: bytes) -> bytes:
    """Return an attribute, of one value unless a test wants more."""
    return tlv(0x30, kind, tlv(0x31, *values))


def attributes(signed: bytes, digest: Digest = Digest.SHA1) -> list[bytes]:
    """Return the two attributes that belong into a signature over *signed*."""
    return [attribute(CONTENT_TYPE, DATA), attribute(MESSAGE_DIGEST, tlv(4, digest.of(signed)))]


def craft_signer(
    signed: bytes,
    who: Certified,
    *,
    attributes: Sequence[bytes] | None = (),
    digest: Digest = Digest.SHA1,
    digest_algorithm: bytes = SHA1_ALGORITHM,
    signature_algorithm: bytes = RSA_ALGORITHM,
    version: int = 1,
    sid: bytes | None = None,
    signature: bytes | None = None,
    unsigned: bytes = b"",
) -> bytes:
    """Return a SignerInfo whose signature holds; without attributes (None) it is over *signed* itself."""
    tbs = asn1_x509.Certificate.load(who.der)["tbs_certificate"]
    named = tlv(0x30, tbs["issuer"].dump(), tbs["serial_number"].dump())
    inner = b"".join(attributes or ())
    message = signed if attributes is None else tlv(0x31, inner)
    if signature is None:
        signature = who.key.sign(digest.of(message), padding.PKCS1v15(), utils.Prehashed(digest.algorithm))
    return tlv(
        0x30,
        tlv(2, bytes((version,))),
        named if sid is None else sid,
        digest_algorithm,
        b"" if attributes is None else tlv(0xA0, inner),
        signature_algorithm,
        tlv(4, signature),
        unsigned,
    )


def craft_block(
    *signers: bytes,
    certificates: Sequence[Certified] = (),
    digest_algorithms: bytes | None = None,
    content: bytes = DATA,
    version: int = 1,
    extra: bytes = b"",
) -> bytes:
    """Return a block of SignerInfos, whatever their order."""
    algorithms = tlv(0x31, SHA1_ALGORITHM) if digest_algorithms is None else digest_algorithms
    pool = tlv(0xA0, *(one.der for one in certificates)) if certificates else b""
    signed_data = tlv(
        0x30,
        tlv(2, bytes((version,))),
        algorithms,
        tlv(0x30, content),
        pool,
        extra,
        tlv(0x31, *signers),
    )
    return tlv(0x30, SIGNED_DATA, tlv(0xA0, signed_data))
