"""Signature blocks (E.5): what must hold, and attacks of which the octets are right but for one thing."""

from datetime import timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from spkg.common.digests import Digest
from spkg.format.signature_block import EMPTY_BLOCK
from spkg.trust.ber import tlv
from tests.support.kit import (
    AT,
    CONTENT_TYPE,
    DATA,
    MESSAGE_DIGEST,
    RSA_ALGORITHM,
    SHA1_ALGORITHM,
    SHA256_ALGORITHM,
    Certified,
    Draft,
    attribute,
    attributes,
    authority,
    certify,
    craft_block,
    craft_signer,
    root,
    second_signer,
    signer,
)
from tests.vectors.make.base import vector

SIGNED = Draft().signed
GOOD = attributes(SIGNED)
NO_DIGEST = "untrusted: signature[0]: the attribute messageDigest does not match the header and command list"
NO_TYPE = "untrusted: signature[0]: the attribute contentType is missing, or not data"
TWICE = "untrusted: signature[0]: an authenticated attribute occurs twice"
UNSORTED = "untrusted: signature[0]: the authenticated attributes are not in DER order"


def package(block: bytes) -> bytes:
    return Draft(block=block).encode()


def one(info: bytes, *certificates: Certified, algorithms: bytes | None = None) -> bytes:
    return package(craft_block(info, certificates=certificates or (signer(),), digest_algorithms=algorithms))


def by(who: Certified, *others: Certified) -> bytes:
    """Return a package that *who* signed as it should be signed."""
    return one(craft_signer(SIGNED, who, attributes=GOOD), who, *others)


# What must hold.


@vector(section="E.5", expect="trusted")
def without_attributes() -> bytes:
    """A signature over header and command list themselves."""
    return one(craft_signer(SIGNED, signer(), attributes=None))


@vector(section="E.5", expect="trusted")
def absent_parameters() -> bytes:
    """SHA-1 without its NULL, as openssl cms writes it, and with it in digestAlgorithms."""
    bare = tlv(0x30, SHA1_ALGORITHM[2:-2])
    return one(craft_signer(SIGNED, signer(), attributes=GOOD, digest_algorithm=bare))


@vector(section="E.5", expect="trusted")
def sha1_with_rsa() -> bytes:
    """The signature algorithm by its longer name, sha1WithRSAEncryption."""
    longer = tlv(0x30, bytes.fromhex("06092a864886f70d010105"), b"\x05\x00")
    return one(craft_signer(SIGNED, signer(), attributes=GOOD, signature_algorithm=longer))


@vector(section="E.5", expect="trusted")
def unsorted_certificates() -> bytes:
    """Certificates in no order, as in the field."""
    pool = sorted([signer(), second_signer(), root()], key=lambda who: who.der, reverse=True)
    return one(craft_signer(SIGNED, signer(), attributes=GOOD), *pool)


@vector(section="E.5", expect="trusted")
def second_of_two_signers() -> bytes:
    """One signer of whom nobody has heard, and one who is trusted."""
    stranger = certify("Stranger", with_key="other")
    infos = [craft_signer(SIGNED, who, attributes=GOOD) for who in (stranger, signer())]
    return package(craft_block(*infos, certificates=(stranger, signer())))


@vector(section="E.5", expect="trusted")
def a_namesake_before_it() -> bytes:
    """Another certificate of the same issuer and serial, with another key, comes first in the block."""
    namesake = certify("Namesake", root(), with_key="other")
    return one(craft_signer(SIGNED, signer(), attributes=GOOD), namesake, signer())


@vector(section="E.5", expect="trusted")
def intermediate_in_the_block() -> bytes:
    """The path leads over a certificate that only the block has."""
    middle = authority("Intermediate", root(), with_key="other", serial=2)
    return by(certify("Leaf", middle), middle)


@vector(section="E.5", expect="trusted")
def sha1_chain() -> bytes:
    """A signer's certificate that is itself signed with SHA-1, as those of 2004 are."""
    return by(certify("Old", root(), digest="sha1"))


@vector(section="E.5", expect="trusted")
def unauthenticated_attributes() -> bytes:
    """Attributes that nobody signed are kept, and not read."""
    extra = tlv(0xA1, attribute(MESSAGE_DIGEST, tlv(4, bytes(20))))
    return one(craft_signer(SIGNED, signer(), attributes=GOOD, unsigned=extra))


@vector(section="E.5", expect="trusted")
def indefinite_lengths() -> bytes:
    """The outer levels in BER with indefinite lengths, as Bouncy Castle and NSS write them."""
    info = craft_signer(SIGNED, signer(), attributes=GOOD)

    def open_ended(tag: int, *inner: bytes) -> bytes:
        return bytes((tag, 0x80)) + b"".join(inner) + b"\x00\x00"

    signed_data = open_ended(
        0x30,
        tlv(2, b"\x01"),
        open_ended(0x31, SHA1_ALGORITHM),
        open_ended(0x30, DATA),
        open_ended(0xA0, signer().der),
        open_ended(0x31, info),
    )
    return package(
        open_ended(0x30, tlv(6, b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"), open_ended(0xA0, signed_data))
    )


@vector(section="E.5", expect="trusted")
def attributes_in_ber() -> bytes:
    """Attributes of indefinite length and a digest in pieces: the signature is over their DER."""
    digest = Digest.SHA1.of(SIGNED)
    pieces = b"\x24\x80" + tlv(4, digest[:7]) + tlv(4, digest[7:]) + b"\x00\x00"
    loose = b"\x30\x80" + MESSAGE_DIGEST + b"\x31\x80" + pieces + b"\x00\x00\x00\x00"
    strict = craft_signer(SIGNED, signer(), attributes=GOOD)
    return one(_reframed(strict, GOOD[1], loose))


def _reframed(info: bytes, strict: bytes, loose: bytes) -> bytes:
    """Return a SignerInfo with one attribute written otherwise, lengths put right."""
    old = tlv(0xA0, *GOOD)
    new = tlv(0xA0, *(loose if one_of == strict else one_of for one_of in GOOD))
    body = info[4:].replace(old, new)
    return tlv(0x30, body)


# No signature, no trust.


@vector(section="E.5", expect="untrusted: the package carries no signature")
def none() -> bytes:
    """The empty block is well formed; that does not make it a signature."""
    return package(EMPTY_BLOCK)


@vector(section="E.5", expect="untrusted: the package carries no signature")
def none_but_certificates() -> bytes:
    """A certificate of a trusted signer, and nothing signed."""
    return package(craft_block(certificates=(signer(), root())))


@vector(section="E.5", expect="untrusted: signature[0]: the signature is not valid")
def of_another_key() -> bytes:
    """Signed by one key, in the name of another's certificate."""
    forged = Certified(key=second_signer().key, certificate=signer().certificate)
    return by(forged)


@vector(section="E.5", expect=NO_DIGEST)
def of_another_package() -> bytes:
    """A genuine signature, taken from another package."""
    other = Draft(payload=b"other").signed
    return one(craft_signer(other, signer(), attributes=attributes(other)))


@vector(section="E.5", expect="untrusted: signature[0]: the signature is not valid")
def of_another_package_without_attributes() -> bytes:
    """The same without attributes."""
    return one(craft_signer(Draft(payload=b"other").signed, signer(), attributes=None))


@vector(section="E.3", expect="format error at 0x0")
def attributes_as_content() -> bytes:
    """The signed attributes of a genuine signature presented as a message: it would hold over them."""
    message = tlv(0x31, *GOOD)
    info = craft_signer(message, signer(), attributes=None)
    return message + craft_block(info, certificates=(signer(),))


# Attributes: each time the signature over them holds.


@vector(section="E.5", expect=NO_TYPE)
def attribute_type_missing() -> bytes:
    """Without contentType."""
    return one(craft_signer(SIGNED, signer(), attributes=GOOD[1:]))


@vector(section="E.5", expect=NO_DIGEST)
def attribute_digest_missing() -> bytes:
    """Without messageDigest nothing binds the signature to the package."""
    return one(craft_signer(SIGNED, signer(), attributes=GOOD[:1]))


@vector(section="E.5", expect=NO_TYPE)
def attributes_empty() -> bytes:
    """Attributes that are there and empty."""
    return one(craft_signer(SIGNED, signer(), attributes=()))


@vector(section="E.5", expect=NO_TYPE)
def attribute_type_of_another_type() -> bytes:
    """The content is signedData, says the attribute."""
    wrong = attribute(CONTENT_TYPE, bytes.fromhex("06092a864886f70d010702"))
    return one(craft_signer(SIGNED, signer(), attributes=[wrong, GOOD[1]]))


@vector(section="E.5", expect=TWICE)
def attribute_digest_twice() -> bytes:
    """Two digests, one of this package and one of another."""
    other = attribute(MESSAGE_DIGEST, tlv(4, bytes(20)))
    return one(craft_signer(SIGNED, signer(), attributes=[GOOD[0], *sorted([other, GOOD[1]])]))


@vector(section="E.5", expect=NO_DIGEST)
def attribute_digest_of_two_values() -> bytes:
    """One attribute with two digests."""
    values = sorted([tlv(4, bytes(20)), tlv(4, Digest.SHA1.of(SIGNED))])
    return one(craft_signer(SIGNED, signer(), attributes=[GOOD[0], attribute(MESSAGE_DIGEST, *values)]))


@vector(section="E.5", expect=NO_DIGEST)
def attribute_digest_of_no_value() -> bytes:
    """An attribute without a value."""
    empty = attribute(MESSAGE_DIGEST)
    return one(craft_signer(SIGNED, signer(), attributes=sorted([GOOD[0], empty])))


@vector(section="E.5", expect=NO_DIGEST)
def attribute_digest_cut() -> bytes:
    """The first nineteen octets of the digest."""
    short = attribute(MESSAGE_DIGEST, tlv(4, Digest.SHA1.of(SIGNED)[:19]))
    return one(craft_signer(SIGNED, signer(), attributes=sorted([GOOD[0], short])))


@vector(section="E.5", expect=UNSORTED)
def attributes_unsorted() -> bytes:
    """The signature is over the attributes as they stand, which is not how DER has them."""
    return one(craft_signer(SIGNED, signer(), attributes=GOOD[::-1]))


# Algorithms.


@vector(
    section="E.5", expect="untrusted: signature[0]: the signature algorithm sha256_rsa is not RSA with sha1"
)
def another_digest_inside() -> bytes:
    """SHA-1 in one field, SHA-256 in the other."""
    other = tlv(0x30, bytes.fromhex("06092a864886f70d01010b"), b"\x05\x00")
    return one(craft_signer(SIGNED, signer(), attributes=GOOD, signature_algorithm=other))


@vector(section="E.5", expect="untrusted: signature[0]: the digest algorithm md5 is not accepted")
def md5() -> bytes:
    """A digest that nobody should have signed with in 2004 either."""
    weak = tlv(0x30, bytes.fromhex("06082a864886f70d0205"), b"\x05\x00")
    return one(
        craft_signer(SIGNED, signer(), attributes=GOOD, digest_algorithm=weak), algorithms=tlv(0x31, weak)
    )


@vector(
    section="E.5",
    expect="untrusted: signature[0]: the signature algorithm rsassa_pss is not RSA with sha1",
)
def pss() -> bytes:
    """RSASSA-PSS is not what E.5 means by RSA."""
    other = tlv(0x30, bytes.fromhex("06092a864886f70d01010a"), tlv(0x30))
    return one(craft_signer(SIGNED, signer(), attributes=GOOD, signature_algorithm=other))


@vector(section="E.5", expect="untrusted: signature[0]: the digest algorithm sha1 is not accepted")
def parameters_of_a_digest() -> bytes:
    """A digest with parameters that mean nothing."""
    odd = tlv(0x30, SHA1_ALGORITHM[2:-2], tlv(4, b"anything"))
    return one(craft_signer(SIGNED, signer(), attributes=GOOD, digest_algorithm=odd))


@vector(
    section="E.5",
    expect="untrusted: signature[0]: the signature algorithm rsassa_pkcs1v15 is not RSA with sha1",
)
def parameters_of_rsa() -> bytes:
    """RSA with parameters that mean nothing."""
    odd = tlv(0x30, RSA_ALGORITHM[2:-2], tlv(4, b"anything"))
    return one(craft_signer(SIGNED, signer(), attributes=GOOD, signature_algorithm=odd))


@vector(
    section="E.5",
    expect="untrusted: signature[0]: the digest algorithm is not in the block's digestAlgorithms",
)
def digest_not_listed() -> bytes:
    """An empty set of digest algorithms, as an unsigned block may have."""
    return one(craft_signer(SIGNED, signer(), attributes=GOOD), algorithms=tlv(0x31))


@vector(section="E.5", expect="trusted")
def sha256_alone() -> bytes:
    """A departure from E.5 that is accepted by default: it is stronger."""
    return one(
        craft_signer(
            SIGNED,
            signer(),
            attributes=attributes(SIGNED, Digest.SHA256),
            digest=Digest.SHA256,
            digest_algorithm=SHA256_ALGORITHM,
        ),
        algorithms=tlv(0x31, SHA256_ALGORITHM),
    )


@vector(
    section="E.5",
    expect="untrusted: signature[0]: the signer must be named by issuer and serial number (PKCS #7)",
)
def by_key_identifier() -> bytes:
    """A signer named by a key identifier is CMS, not PKCS #7."""
    return one(craft_signer(SIGNED, signer(), attributes=GOOD, sid=tlv(0x80, bytes(20)), version=3))


# Keys and their signatures.


@vector(
    section="E.5",
    expect=(
        "untrusted: signature[0]: expected an RSA key with an odd exponent from 65537 to 4294967297, got 3"
    ),
)
def exponent_3() -> bytes:
    """The exponent of Bleichenbacher's forgery, with a signature that holds."""
    return by(certify("Exponent", root(), with_key="exponent3"))


@vector(section="E.5", expect="untrusted: signature[0]: expected an RSA key of 1024 to 8192 bits, got 512")
def key_of_512_bits() -> bytes:
    """A key that anybody can factor."""
    return by(certify("Tiny", root(), with_key="tiny"))


@vector(section="E.5", expect="untrusted: signature[0]: expected a signature of 256 bytes, got 257")
def leading_zero() -> bytes:
    """A zero before the signature: the same number, other octets."""
    prehash = craft_signer(SIGNED, signer(), attributes=GOOD)
    return one(craft_signer(SIGNED, signer(), attributes=GOOD, signature=b"\x00" + prehash[-256:]))


@vector(section="E.5", expect="untrusted: signature[0]: expected a signature of 256 bytes, got 257")
def plus_the_modulus() -> bytes:
    """The signature plus the modulus: the same number to whoever reduces it."""
    genuine = int.from_bytes(craft_signer(SIGNED, signer(), attributes=GOOD)[-256:], "big")
    modulus = signer().key.public_key().public_numbers().n
    return one(
        craft_signer(SIGNED, signer(), attributes=GOOD, signature=(genuine + modulus).to_bytes(257, "big"))
    )


@vector(section="E.5", expect="untrusted: signature[0]: expected a signature of 256 bytes, got 0")
def signature_empty() -> bytes:
    """No signature in the signature."""
    return one(craft_signer(SIGNED, signer(), attributes=GOOD, signature=b""))


# Certificates.


@vector(
    section="E.5",
    expect="untrusted: signature[0]: the signer's certificate is neither in the block nor an anchor",
)
def certificate_missing() -> bytes:
    """Nobody knows whose signature this is."""
    return package(craft_block(craft_signer(SIGNED, signer(), attributes=GOOD)))


@vector(section="E.5", expect="untrusted: signature[0]: CN=Impostor: self-signed certificate")
def certified_by_itself() -> bytes:
    """The certificate in the block vouches for itself, and for nothing."""
    return by(certify("Impostor", with_key="other"))


@vector(
    section="E.5",
    expect="untrusted: signature[0]: CN=Test Root: self-signed certificate in certificate chain",
)
def certified_by_a_false_root() -> bytes:
    """A root of the same name and another key comes along in the block."""
    false = authority(with_key="other")
    return by(certify("Impostor", false), false)


@vector(
    section="E.5",
    expect="untrusted: signature[0]: the signer's certificate is a CA certificate",
)
def by_an_authority() -> bytes:
    """An authority certifies; it does not sign packages."""
    return by(
        certify(
            "Intermediate", root(), with_key="other", ca=True, usage=("key_cert_sign", "digital_signature")
        )
    )


@vector(section="E.5", expect="untrusted: signature[0]: the certificate's keyUsage lacks digitalSignature")
def key_usage() -> bytes:
    """A certificate for encryption."""
    return by(certify("Usage", root(), usage=("key_encipherment",)))


@vector(
    section="E.5",
    expect="untrusted: signature[0]: the signer's certificate has no suitable extendedKeyUsage",
)
def purpose_of_a_gateway() -> bytes:
    """A gateway's own TLS certificate, of the same root."""
    return by(certify("Gateway", root(), purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,)))


@vector(section="E.5", expect="trusted")
def purpose_any() -> bytes:
    """The purpose anyExtendedKeyUsage is for signing packages, too."""
    return by(certify("Any", root(), purposes=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)))


@vector(section="E.5", expect="trusted")
def no_extensions() -> bytes:
    """A certificate of 2004, which states no purpose."""
    return by(certify("Plain", root(), ca=None, usage=None, purposes=None))


@vector(
    section="E.5",
    expect="untrusted: signature[0]: CN=Late: certificate has expired: "
    "valid until 2026-05-31T12:00:00Z, checked at 2026-06-01T12:00:00Z",
)
def expired() -> bytes:
    """A certificate that ended the day before."""
    return by(certify("Late", root(), end=AT - timedelta(days=1)))


@vector(
    section="E.5",
    expect="untrusted: signature[0]: CN=Early: certificate is not yet valid: "
    "valid from 2026-06-02T12:00:00Z, checked at 2026-06-01T12:00:00Z",
)
def not_yet_valid() -> bytes:
    """A certificate that begins the day after."""
    return by(certify("Early", root(), start=AT + timedelta(days=1)))


@vector(section="E.5", expect="untrusted: signature[0]: CN=Weak is signed with md5, which is not accepted")
def md5_certificate() -> bytes:
    """A certificate that could have been made from another one."""
    return by(certify("Weak", root(), digest="md5"))


@vector(section="E.5", expect="untrusted: signature[0]: CN=Middle: invalid CA certificate")
def authority_by_key_usage_alone() -> bytes:
    """A certificate with keyCertSign and no basicConstraints, which OpenSSL takes for an authority."""
    middle = certify(
        "Middle", root(), with_key="other", ca=None, usage=("key_cert_sign",), purposes=None, serial=2
    )
    return by(certify("Leaf", middle), middle)


@vector(section="E.5", expect="untrusted: signature[0]: CN=Signer of Signers: invalid CA certificate")
def certified_by_a_signer() -> bytes:
    """A signer who certifies another."""
    middle = certify("Signer of Signers", root(), with_key="other", serial=2)
    return by(certify("Leaf", middle), middle)


@vector(section="E.5", expect="untrusted: signature[0]: CN=Critical: unhandled critical extension")
def critical_extension() -> bytes:
    """A critical extension that nobody here knows."""
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
    return by(certify("Critical", root(), extension=extension))


# Blocks that are none.


@vector(section="E.5", expect="format error at 0x64")
def bare_signed_data() -> bytes:
    """A SignedData without its ContentInfo (decision 1)."""
    block = craft_block(craft_signer(SIGNED, signer(), attributes=GOOD), certificates=(signer(),))
    return package(block[block.index(DATA[:1] + b"\x09", 4) + 11 + 4 :])


@vector(section="E.5", expect="format error at 0x64")
def identifier_of_two_octets() -> bytes:
    """The identifier of the block's SEQUENCE in the long form, which only tags above 30 have."""
    block = Draft().front[len(SIGNED) :]
    return package(b"\x3f\x10" + block[1:])


@vector(section="E.5", expect="format error at 0x98")
def content_inside() -> bytes:
    """The message inside the block: the signature would hold over that one."""
    content = DATA + tlv(0xA0, tlv(4, SIGNED))
    info = craft_signer(SIGNED, signer(), attributes=GOOD)
    return package(craft_block(info, certificates=(signer(),), content=content))


@vector(section="E.5", expect="format error at 0x8b")
def content_of_another_type() -> bytes:
    """Content of type signedData."""
    info = craft_signer(SIGNED, signer(), attributes=GOOD)
    wrong = bytes.fromhex("06092a864886f70d010702")
    return package(craft_block(info, certificates=(signer(),), content=wrong))


@vector(section="E.5", expect="format error at 0x79")
def nothing_behind_the_list() -> bytes:
    """The payload begins where the block should."""
    return package(b"")


@vector(section="E.5", expect="format error at 0x64")
def block_of_4_gib() -> bytes:
    """A length of 4 GiB is refused before anything is read."""
    return package(b"\x30\x84\xff\xff\xff\xff" + bytes(100))


@vector(section="E.5", expect="format error at 0x64")
def block_of_5_length_octets() -> bytes:
    """A length that needs more octets than any block."""
    return package(b"\x30\x85\x00\x00\x00\x00\x23" + EMPTY_BLOCK[2:])


@vector(section="E.5", expect="format error at 0x64")
def long_tag() -> bytes:
    """An identifier of more than one octet."""
    return package(b"\x3f\x1e\x23" + EMPTY_BLOCK[2:])


@vector(section="E.5", expect="format error at 0xa4")
def nested_33_deep() -> bytes:
    """Indefinite lengths inside each other, one level too many."""
    return package(b"\x30\x80" * 33 + b"\x00\x00" * 33)


@vector(section="E.5", expect="format error at 0x75")
def version_2() -> bytes:
    """A version of SignedData that there is not."""
    return package(craft_block(version=2))


@vector(section="E.5", expect="format error at 0x37b")
def too_many_signers() -> bytes:
    """Sixty-five signers."""
    info = craft_signer(SIGNED, signer(), attributes=GOOD)
    return package(craft_block(*[info] * 65, certificates=(signer(),)))
