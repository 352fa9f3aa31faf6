"""Vouchers as XML: written exactly in the shape of Figure 6, and read in any layout that shape may have."""

import time
from base64 import b64encode, encodebytes
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from itertools import permutations
from typing import Any, Final
from xml.dom import minidom
from xml.etree import ElementTree as ET

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from signxml.algorithms import (
    CanonicalizationMethod,
    DigestAlgorithm,
    SignatureConstructionMethod,
    SignatureMethod,
)
from signxml.signer import XMLSigner

from spkg.common import hostile_xml as parsing
from spkg.common.digests import Digest
from spkg.errors import FormatError, RefusedError, UntrustedError
from spkg.trust.signers import PrivateKey
from tests.support.kit import authority, certify, root
from tests.support.voucher_forge import (
    DS,
    MORE,
    OPTION,
    XMLENC,
    canonical,
    edited,
    figure,
    forge,
    holds,
    refusal,
)
from tests.support.voucher_kit import (
    IPTV,
    QOS,
    SCHEMES,
    VOUCHER,
    signatory,
    signed,
    signing_key,
    verified,
)
from vouchers.model import MAX_VOUCHER_OPTIONS, DeviceId, Extra, Mode, Option, Voucher
from vouchers.months import Units
from vouchers.signature.algorithms import scheme_for
from vouchers.signature.option_elements import content_of, option_text
from vouchers.signature.shape import MAX_VOUCHER, read_voucher, unwrap
from vouchers.signature.sign import VoucherSigner

PATIENCE: Final = 3.0
"""How long a document may take to be refused, however it was made: without bounds some took minutes."""


MODULUS: Final = (
    "3nZDjHrHQDUW/9hol0NejKJQt4pg67yMa78Kxq43HGI1mZx0BeBSffRYdO2kqmfMhR1Tj7nNQgD8SVkZcq+jrmLHlCpMtd+HE7jH"
    "oOXOdchxkWuANTDKyJpWdNR1BvRp+VO0gFSt/JFEaBXL04rmarW/ZpDStmxKqzOWMj91Ta7pmjIDzc/+r1bfyRIVtWK67jvMlGX6"
    "QkH6fmjEIdrOoyDobfAyiGDvx27U1dAQnrSv9UpsiDUdXyFFVeqs2QoWfAi0NhHharFrocKSAOn+7UwvtPRXiCXZ0HFhIQKvsl4m"
    "f0VP2dtwQGcJMyFUKEraLE1Xp2mtNQm/ZDX+G/29lQ=="
)
SIGNATURE: Final = (
    "czzUNKWGxGZ0i58Cux8LmuxgL7ZjrmTVl0W1MAKJMpnvfKrOI4RU/l7CrCLlhomRGzgeOaYQcEpNvhES3ZHr9Zl8DP0YT+gLWFU1"
    "/3u0qtwlwTnUoD5OBhFP7FM+cO2605008haB6rZB1uM2DtOSpk2mbcQwFeiavTkiqvRHOF+L+vRZV0sp8HfTCbrpH4UlVpFO4jxq"
    "UnfCaG1IKcoPheoiq5Xnd8X3ir0SE9d4CbMvFKXUhUWwDdRHPMjiyt98cKjm1RQWqx4wh0F10+5nm/mQbUv47zqicREtirE4+G2r"
    "US7rmFkioeO98WXeEDUVd6s2S0KDjMAqYqULBwkvgA=="
)


# Writing.


def test_a_voucher_is_written_as_the_figure_has_it() -> None:
    # RSA signs the same octets the same way each time, so that the whole document can be compared.
    signer, anchor = (
        encodebytes(one.public_bytes(Encoding.DER)).decode()
        for one in (signatory().certificate, root().certificate)
    )

    assert (
        signed().decode()
        == f"""\
<Signature xmlns="http://www.w3.org/2000/09/xmldsig#">
<SignedInfo>
<CanonicalizationMethod Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"></CanonicalizationMethod>
<SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"></SignatureMethod>
<Reference URI="#option0">
<Transforms>
<Transform Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"></Transform>
</Transforms>
<DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></DigestMethod>
<DigestValue>6PL18LSt9E4RLHbtgaPPE6faHNToHU60zgCVbT8UvhM=</DigestValue>
</Reference>
<Reference URI="#option1">
<Transforms>
<Transform Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"></Transform>
</Transforms>
<DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></DigestMethod>
<DigestValue>xaFSw24QiLf7S3Nf30y8vhsgbNOeReeCGBHhgvzdID8=</DigestValue>
</Reference>
</SignedInfo>
<SignatureValue>{SIGNATURE}</SignatureValue>
<KeyInfo>
<KeyValue>
<RSAKeyValue>
<Modulus>{MODULUS}</Modulus>
<Exponent>AQAB</Exponent>
</RSAKeyValue>
</KeyValue>
<X509Data>
<X509IssuerSerial>
<X509IssuerName>CN=Test Root</X509IssuerName>
<X509SerialNumber>4000</X509SerialNumber>
</X509IssuerSerial>
<X509SubjectName>CN=Voucher Signer</X509SubjectName>
<X509Certificate>
{signer}</X509Certificate>
<X509Certificate>
{anchor}</X509Certificate>
</X509Data>
</KeyInfo>
<dsig:Object xmlns="" xmlns:dsig="http://www.w3.org/2000/09/xmldsig#" Id="option0">
<Option>
<VSerialNum>4001</VSerialNum>
<DeviceId>
<Manufacturer>2Wire</Manufacturer>
<OUI>00D09E</OUI>
<ProductClass>Gateway</ProductClass>
<SerialNumber>123456789</SerialNumber>
</DeviceId>
<OptionIdent>IPTV</OptionIdent>
<OptionDesc>Television over DSL</OptionDesc>
<StartDate>2026-05-01T00:00:00Z</StartDate>
<Duration>12</Duration>
<DurationUnits>Months</DurationUnits>
<Mode>EnableWithExpiration</Mode>
</Option>
</dsig:Object>
<dsig:Object xmlns="" xmlns:dsig="http://www.w3.org/2000/09/xmldsig#" Id="option1">
<Option>
<VSerialNum>4002</VSerialNum>
<DeviceId>
<Manufacturer>2Wire</Manufacturer>
<OUI>00D09E</OUI>
<ProductClass>Gateway</ProductClass>
<SerialNumber>123456789</SerialNumber>
</DeviceId>
<OptionIdent>QoS</OptionIdent>
<OptionDesc>Quality of service</OptionDesc>
<Mode>EnableWithoutExpiration</Mode>
<Transferable>1</Transferable>
</Option>
</dsig:Object>
</Signature>
"""
    )


def parts(octets: bytes) -> tuple[bytes, list[bytes]]:
    """Return SignedInfo and the Objects of a voucher of ours, as documents of their own."""
    info = octets[octets.index(b"<SignedInfo>") : octets.index(b"</SignedInfo>")] + b"</SignedInfo>"
    objects = octets[octets.index(b"<dsig:Object ") :].removesuffix(b"</Signature>\n")
    each = [b"<dsig:Object " + one.rstrip(b"\n") for one in objects.split(b"<dsig:Object ")[1:]]
    return info.replace(b"<SignedInfo>", f'<SignedInfo xmlns="{DS}">'.encode()), each


def by_lxml(octets: bytes) -> bytes:
    return etree.tostring(etree.fromstring(octets), method="c14n")


def by_the_standard_library(octets: bytes) -> bytes:
    return ET.canonicalize(octets.decode()).encode()


def by_the_forger(octets: bytes) -> bytes:
    document = minidom.parseString(octets).documentElement  # noqa: S318 - it is ours
    assert isinstance(document, minidom.Element)
    return canonical(document)


ODD: Final = replace(
    QOS,
    description="a & b < c > d \" e ' f ]]> g \r\n h \t i\u0085j\u2028k\u00a0l\U0001f600m",
    extra=(("Rate", "8 000 000 & more\r"), ("Servers", (("Server", "<a>"), ("Server", "")))),
)


@pytest.mark.parametrize("judge", [by_lxml, by_the_standard_library, by_the_forger])
@pytest.mark.parametrize(("which", "digest"), SCHEMES)
def test_what_is_signed_is_its_own_canonical_form(
    which: str, digest: Digest, judge: Callable[[bytes], bytes]
) -> None:
    octets = signed(Voucher(options=(IPTV, ODD)), which, digest)
    info, objects = parts(octets)
    tree = etree.fromstring(octets)

    assert judge(info) == info
    assert [judge(one) for one in objects] == [one.replace(b' xmlns=""', b"") for one in objects]
    assert [one.text for one in tree.iter(f"{{{DS}}}DigestValue")] == [
        b64encode(digest.of(judge(one))).decode() for one in objects
    ]


@pytest.mark.parametrize(("which", "digest"), SCHEMES)
def test_what_is_written_has_a_signature_that_holds_for_others(which: str, digest: Digest) -> None:
    assert holds(signed(Voucher(options=(IPTV, ODD, QOS)), which, digest), signatory(which))


class StockSigner(XMLSigner):
    """signxml as it is, but for SHA-1, which it leaves to those who want it by this very method."""

    def check_deprecated_methods(self) -> None:
        """Take what the form of 2004 has."""


class NarrowKey:
    """A DSA key that states the size of q: signxml makes r and s as long as it says, and they are."""

    def __init__(self, key: dsa.DSAPrivateKey) -> None:
        self.key = key
        self.key_size = key.parameters().parameter_numbers().q.bit_length()

    def sign(self, octets: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
        return self.key.sign(octets, algorithm)


def signed_by_signxml(voucher: Voucher, key: PrivateKey, digest: Digest) -> etree._Element:
    """Return the Signature that signxml makes over the same Objects, which stand beside each other here."""
    holder = etree.fromstring("<holder/>")
    for index, option in enumerate(voucher.options):
        element = etree.SubElement(holder, f"{{{DS}}}Object", Id=f"option{index}", nsmap={"dsig": DS})
        element.append(etree.fromstring(option_text(option)))
        element.text = element[0].tail = "\n"
    name = "DSA" if isinstance(key, dsa.DSAPrivateKey) else "RSA"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        name = "ECDSA"
    signer = StockSigner(
        method=SignatureConstructionMethod.detached,
        signature_algorithm=SignatureMethod[f"{name}_{digest.name}"],
        digest_algorithm=DigestAlgorithm[digest.name],
        c14n_algorithm=CanonicalizationMethod.CANONICAL_XML_1_0,
    )
    usable: Any = NarrowKey(key) if isinstance(key, dsa.DSAPrivateKey) else key
    signer.namespaces = {None: DS}  # type: ignore[dict-item]  # without a prefix
    made = signer.sign(
        holder,
        key=usable,
        reference_uri=[f"#option{index}" for index in range(len(voucher.options))],
        key_info=etree.Element(f"{{{DS}}}KeyInfo"),
    )
    return etree.fromstring(etree.tostring(made))


@pytest.mark.parametrize(("which", "digest"), SCHEMES)
def test_signxml_signs_the_same_digests(which: str, digest: Digest) -> None:
    voucher = Voucher(options=(IPTV, ODD))
    theirs = signed_by_signxml(voucher, signing_key(which), digest)
    ours = etree.fromstring(signed(voucher, which, digest))

    for name in ("Reference", "Transform", "DigestMethod", "DigestValue", "SignatureMethod"):
        one, two = (list(tree.iter(f"{{{DS}}}{name}")) for tree in (theirs, ours))
        assert [(dict(element.attrib), (element.text or "").strip()) for element in one] == [
            (dict(element.attrib), (element.text or "").strip()) for element in two
        ]


@pytest.mark.parametrize(("which", "digest"), SCHEMES)
def test_what_signxml_signs_is_taken(which: str, digest: Digest) -> None:
    voucher = Voucher(options=(IPTV, ODD))
    theirs = signed_by_signxml(voucher, signing_key(which), digest)
    before, rest = etree.tostring(theirs).decode().split("<KeyInfo/>")
    ours = signed(voucher, which, digest).decode()
    info = ours[ours.index("<KeyInfo>") : ours.index("</Signature>")]

    octets = f"{before}{info}{rest}"

    assert verified(octets.encode(), digest).voucher == voucher


@pytest.mark.parametrize(
    ("which", "digest", "problem"),
    [
        ("p384", Digest.SHA256, "expected an ECDSA key on P-256 with sha256, got secp384r1 with sha256"),
        ("p256", Digest.SHA1, "expected an ECDSA key on P-256 with sha256, got secp256r1 with sha1"),
        (
            "dsa1024",
            Digest.SHA256,
            "a DSA key for sha256 needs 1024/2048/3072 bits and a q of 256, got 1024 and 160",
        ),
        (
            "dsa2048",
            Digest.SHA1,
            "a DSA key for sha1 needs 1024/2048/3072 bits and a q of 160, got 2048 and 256",
        ),
        (
            "dsa2048q224",
            Digest.SHA256,
            "a DSA key for sha256 needs 1024/2048/3072 bits and a q of 256, got 2048 and 224",
        ),
        ("tiny", Digest.SHA256, "expected an RSA key of 1024 to 8192 bits, got 512"),
        (
            "exponent3",
            Digest.SHA256,
            "expected an RSA key with an odd exponent from 65537 to 4294967297, got 3",
        ),
    ],
)
def test_a_key_that_signs_no_vouchers_makes_no_signer(which: str, digest: Digest, problem: str) -> None:
    with pytest.raises(RefusedError) as caught:
        VoucherSigner(signatory(which), digest)

    assert str(caught.value) == f"the key can't sign vouchers: {problem}"


def test_a_dsa_key_has_one_of_three_sizes() -> None:
    domain = dsa.DSAParameterNumbers(p=(1 << 4095) + 1, q=(1 << 255) + 1, g=2)
    key = dsa.DSAPublicNumbers(y=4, parameter_numbers=domain).public_key()

    with pytest.raises(
        UntrustedError,
        match=r"^a DSA key for sha256 needs 1024/2048/3072 bits and a q of 256, got 4096 and 256$",
    ):
        scheme_for(key, Digest.SHA256)


@pytest.mark.parametrize(
    "start",
    [
        datetime(2026, 1, 1, microsecond=5, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_no_start_is_written_that_would_come_back_as_another(start: datetime) -> None:
    with pytest.raises(ValueError, match=r"^StartDate: must be in UTC, to the second$"):
        replace(IPTV, start=start)


def test_names_in_certificates_are_text_like_any_other() -> None:
    issuer = authority("Root & Sons", with_key="second")
    leaf = certify("Voucher & Sons <sign>", issuer).certificate
    octets = VoucherSigner(replace(signatory(), certificate=leaf, chain=())).sign(VOUCHER)

    assert b"<X509IssuerName>CN=Root &amp; Sons</X509IssuerName>" in octets
    assert b"<X509SubjectName>CN=Voucher &amp; Sons \\&lt;sign\\&gt;</X509SubjectName>" in octets
    assert verified(octets, anchors=(issuer.certificate,)).voucher == VOUCHER


@pytest.mark.parametrize(("common", "written"), [("a\x01b", "a\\01b"), ("a\ufffeb", "a\\EF\\BF\\BEb")])
def test_a_name_that_xml_cannot_have_is_written_as_rfc_4514_can(common: str, written: str) -> None:
    octets = signed(subject=common)

    assert f"<X509SubjectName>CN={written}</X509SubjectName>".encode() in octets
    assert verified(octets).voucher == VOUCHER


def test_no_voucher_is_written_with_more_certificates_than_are_read() -> None:
    who = signatory()
    most = VoucherSigner(replace(who, chain=who.chain * 7)).sign(VOUCHER)

    assert verified(most).voucher == VOUCHER
    with pytest.raises(FormatError) as caught:
        VoucherSigner(replace(who, chain=who.chain * 8))
    assert str(caught.value) == "expected at most 8 certificates in a voucher, got 9 [TR-069 C.3]"


def test_no_voucher_is_written_that_is_too_large_to_be_read() -> None:
    fat = replace(QOS, extra=(("X", "x" * 1024),) * 32)
    most = replace(QOS, extra=(("X", "x" * 1024),) * 31)

    octets = signed(Voucher(options=(most,) * 7))
    with pytest.raises(FormatError) as caught:
        signed(Voucher(options=(fat,) * 8))

    assert verified(octets).voucher == Voucher(options=(most,) * 7)
    assert (
        str(caught.value)
        == "expected a voucher of at most 262144 bytes, got 273539; use fewer Options [TR-069 C.3]"
    )


# There and back: whatever a voucher says.

LETTERS: Final = st.characters(
    exclude_categories=["Cs"],
    exclude_characters=[*map(chr, {*range(32)} - {9, 10, 13}), "\ufffe", "\uffff"],
)
SPECIAL: Final = st.sampled_from(
    [
        *("]]>", "&amp;", "&", "<", ">", '"', "'", "\r", "\r\n", "\n", "\t", " ", "<!--", "-->", "<![CDATA["),
        *(
            ' xmlns=""',
            "<?x?>",
            "\u0085",
            "\u2028",
            "\u00a0",
            "\x7f",
            "\ufeff",
            "e\u0301",
            "\U0010ffff",
            "&#xD;",
        ),
    ]
)


def text(least: int, most: int) -> st.SearchStrategy[str]:
    special = st.lists(SPECIAL, min_size=1, max_size=5).map("".join)
    return st.one_of(special, st.text(LETTERS, min_size=least, max_size=most))


NAMED: Final = st.sampled_from(["X", "_", "a.b-c", "xml", "Object", "Signature", "OUI", "n" * 64])
EXTRAS: Final[st.SearchStrategy[tuple[Extra, ...]]] = st.lists(
    st.tuples(
        NAMED,
        st.recursive(
            text(0, 1024),
            lambda inner: st.lists(st.tuples(NAMED, inner), min_size=1, max_size=2).map(tuple),
            max_leaves=3,
        ),
    ),
    max_size=2,
).map(tuple)


def depth(extra: tuple[Extra, ...]) -> int:
    return 1 + max((0 if isinstance(inner, str) else depth(inner) for _, inner in extra), default=0)


def options(device: DeviceId) -> st.SearchStrategy[Option]:
    duration, units = st.integers(0, (1 << 32) - 1), st.sampled_from(Units)
    common = {
        "serial": text(1, 64),
        "device": text(0, 64).map(lambda made_by: replace(device, manufacturer=made_by)),
        "ident": text(1, 64),
        "description": text(0, 256),
        "start": st.none() | st.datetimes(timezones=st.just(UTC)).map(lambda one: one.replace(microsecond=0)),
        "transferable": st.booleans(),
        "extra": EXTRAS.filter(lambda extra: depth(extra) <= 4),
    }
    expiring = st.builds(Option, mode=st.just(Mode.WITH_EXPIRATION), duration=duration, units=units, **common)
    others = st.builds(
        Option,
        mode=st.sampled_from([Mode.DISABLE, Mode.WITHOUT_EXPIRATION]),
        duration=st.none() | duration,
        units=st.none() | units,
        **common,
    )
    return st.one_of(expiring, others)


DEVICES: Final = st.builds(
    DeviceId,
    manufacturer=text(0, 64),
    oui=st.from_regex(r"[0-9A-F]{6}", fullmatch=True),
    product_class=text(0, 64),
    serial_number=text(1, 64),
)
VOUCHERS: Final = DEVICES.flatmap(
    lambda device: st.lists(options(device), min_size=1, max_size=2).map(
        lambda made: Voucher(options=tuple(made))
    )
)


@given(VOUCHERS)
def test_what_was_signed_is_what_is_verified(voucher: Voucher) -> None:
    octets = signed(voucher, "p256")

    trusted = verified(octets)

    assert trusted.voucher == voucher
    assert [content_of(one) for one in trusted.voucher.options] == [
        content_of(one) for one in voucher.options
    ]


@given(VOUCHERS)
def test_whatever_is_said_is_written_in_canonical_form(voucher: Voucher) -> None:
    for option in voucher.options:
        octets = option_text(option).encode()

        assert by_lxml(octets) == octets
        assert by_the_standard_library(octets) == octets


# Reading: one shape, in any layout.


def read(*changes: tuple[str, str], option: str = OPTION, **form: Any) -> Option:
    """Forge a voucher of one Option, verify it, and return what it says."""
    octets = forge(edited(figure(option, **form), *changes))
    (found,) = verified(octets).voucher.options
    return found


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ("2026-05-01T00:00:00Z", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T00:00:00", datetime(2026, 5, 1, tzinfo=UTC)),
        ("20260501T00:00:00", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T02:00:00.5+02:00", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-04-30T24:00:00Z", datetime(2026, 5, 1, tzinfo=UTC)),
    ],
)
def test_both_forms_of_a_time_are_read(written: str, start: datetime) -> None:
    assert read(("2026-05-01T00:00:00Z", written)) == replace(IPTV, start=start)


@pytest.mark.parametrize(("written", "meant"), [("1", True), ("true", True), ("0", False), ("false", False)])
def test_all_forms_of_a_boolean_are_read(written: str, meant: bool) -> None:  # noqa: FBT001
    found = read(("</Option>", f"<Transferable>{written}</Transferable></Option>"))

    assert found == replace(IPTV, transferable=meant)


@pytest.mark.parametrize("duration", ["12", "0012", "0000000012"])
def test_a_number_may_have_leading_noughts(duration: str) -> None:
    assert read(("<Duration>12", f"<Duration>{duration}")) == IPTV


ELEMENTS: Final = [
    "<VSerialNum>4001</VSerialNum>",
    OPTION.partition("\n<DeviceId>")[2].partition("</DeviceId>")[0].join(["<DeviceId>", "</DeviceId>"]),
    "<OptionIdent>IPTV</OptionIdent>",
    "<OptionDesc>Television over DSL</OptionDesc>",
    "<StartDate>2026-05-01T00:00:00Z</StartDate>",
    "<Duration>12</Duration>",
    "<DurationUnits>Months</DurationUnits>",
    "<Mode>EnableWithExpiration</Mode>",
]


@given(st.permutations(ELEMENTS), st.text(" \t\r\n", max_size=3))
def test_elements_stand_in_any_order_with_any_space_between(order: list[str], blank: str) -> None:
    assert read(option=f"<Option>{blank.join(order)}{blank}</Option>") == IPTV


@pytest.mark.parametrize(
    "changes",
    [
        [("IPTV", "<![CDATA[IPTV]]>")],
        [("IPTV", "IP<![CDATA[T]]>V")],
        [("IPTV", "&#73;&#x50;TV")],
        [("Id=", "  Id  =  ")],
        [("<Mode>", "<Mode >"), ("</Mode>", "</Mode >")],
        [
            ('<dsig:Object xmlns="" xmlns:dsig=', "<dsig:Object xmlns:dsig="),
            ("<Option>", '<Option xmlns="">'),
        ],
        [
            (f'<dsig:Object xmlns="" xmlns:dsig="{DS}"', "<Object"),
            ("</dsig:", "</"),
            ("<Option>", '<Option xmlns="">'),
        ],
        [("<Option>", '<Option xmlns:x="urn:x">')],
        [("<SignedInfo>", '<SignedInfo xmlns:x="urn:x">')],
        [("<Signature ", '<Signature xmlns:x="urn:x" ')],
        [('Id="option0"', "Id='option0'")],
        [('"#option0"', '"#_a.b-c"'), ('"option0"', '"_a.b-c"')],
        [('"#option0"', '"&#35;&#x6f;ption0"')],
        [("></Transform>", "/>"), ("></DigestMethod>", "> </DigestMethod>")],
        [("\n</KeyInfo>", "</KeyInfo>")],
        [("<Signature ", '<?xml version="1.0" encoding="utf-8" standalone="yes"?>\n<Signature ')],
        [("<Signature ", '<?xml version="1.0"?>\n\n<Signature ')],
        [("<Signature ", "\ufeff<Signature ")],
        [("</Signature>\n", "</Signature>")],
        [("</Signature>\n", "</Signature> \r\n\t")],
        [("<DigestValue>", "<DigestValue>\r\n\t ")],
        [("<SignatureValue>", "<SignatureValue>\n")],
    ],
    ids=str,
)
def test_xml_says_the_same_in_many_ways(changes: list[tuple[str, str]]) -> None:
    octets = forge(edited(figure(), *changes))

    assert holds(octets)
    assert verified(octets).voucher == Voucher(options=(IPTV,))


@pytest.mark.parametrize("turn", range(24))
def test_the_members_of_a_device_id_come_in_any_order(turn: int) -> None:
    head, *members, tail = DEVICE_ID.splitlines()
    shuffled = "\n".join([head, *[*permutations(members)][turn], tail])
    octets = forge(edited(figure(), (DEVICE_ID, shuffled)))

    assert holds(octets)
    assert verified(octets).voucher == Voucher(options=(IPTV,))


@pytest.mark.parametrize("p", ["", "ds:", "dsig:", "\u00e9-1:"])
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize(("which", "digest"), SCHEMES)
def test_the_prefix_is_anybodys_and_the_key_may_be_left_out(
    which: str,
    digest: Digest,
    p: str,
    keyed: bool,  # noqa: FBT001
) -> None:
    who = signatory(which)
    octets = forge(figure(OPTION, who=who, digest=digest, p=p, keyed=keyed), who)

    trusted = verified(octets, digest)

    assert trusted.voucher == Voucher(options=(IPTV,))
    assert (trusted.digest, trusted.signer, trusted.dates_checked) == (digest, who.certificate, True)
    assert (
        trusted.signer_key
        == sha256(
            who.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).digest()
    )


def test_key_info_stands_in_either_order() -> None:
    whole = figure()
    value = whole[whole.index("<KeyValue>") : whole.index("<X509Data>")]

    octets = forge(edited(whole, (value, ""), ("</X509Data>", f"</X509Data>{value}")))

    assert verified(octets).voucher == Voucher(options=(IPTV,))


def test_a_signer_may_be_the_anchor_and_come_alone() -> None:
    alone = replace(signatory(), chain=())
    octets = forge(figure(who=alone))

    assert verified(octets).path == (signatory().certificate, root().certificate)
    assert verified(octets, anchors=(alone.certificate,)).path == (alone.certificate,)


def test_further_elements_are_kept_as_they_are() -> None:
    found = read(("</Option>", "<Rate> 8 </Rate><Empty/><A>\n<B>1</B>\n<B>2</B>\n</A></Option>"))

    assert found == replace(IPTV, extra=(("Rate", " 8 "), ("Empty", ""), ("A", (("B", "1"), ("B", "2")))))


def test_a_further_element_has_something_in_it() -> None:
    # <X></X> is one of no text: one of no elements would come back as another.
    with pytest.raises(ValueError, match=r"^X: must contain text or elements$"):
        replace(QOS, extra=(("X", ()),))


def test_a_document_says_what_it_holds_before_anybody_trusts_it() -> None:
    octets = signed(which="p256")
    document = read_voucher(octets)

    assert document.octets == octets
    assert document.method == f"{MORE}ecdsa-sha256"
    assert document.digests == (f"{XMLENC}sha256",) * 2
    assert len(document.signature) == 64
    assert document.certificates == tuple(
        one.public_bytes(Encoding.DER) for one in (signatory("p256").certificate, root().certificate)
    )
    assert document.key_value == signing_key("p256").public_key().public_bytes(
        Encoding.X962, PublicFormat.UncompressedPoint
    )
    assert [one.get("Id") for one in document.objects] == ["option0", "option1"]
    assert "Element" not in repr(document)


# What Tables 62 and 63 demand: each of these is signed, and no voucher all the same.

PLACE: Final = "Signature.Object.Option"
DEVICE_ID: Final = ELEMENTS[1]
LACKING: Final = [
    ("<VSerialNum>4001</VSerialNum>\n", "VSerialNum is missing"),
    (DEVICE_ID + "\n", "DeviceId is missing"),
    ("<OptionIdent>IPTV</OptionIdent>\n", "OptionIdent is missing"),
    ("<OptionDesc>Television over DSL</OptionDesc>\n", "OptionDesc is missing"),
    ("<Mode>EnableWithExpiration</Mode>\n", "Mode is missing"),
]


@pytest.mark.parametrize(("element", "problem"), LACKING)
def test_what_is_required_is_there(element: str, problem: str) -> None:
    octets = forge(edited(figure(), (element, "")))

    assert (
        refusal(octets) == f"FormatError: Signature.Object.Option: {problem} (line 22) [TR-069 C.3, Table 62]"
    )


@pytest.mark.parametrize("element", [*ELEMENTS, "<Transferable>1</Transferable>"])
def test_nothing_is_there_twice(element: str) -> None:
    name = element[1 : element.index(">")]
    octets = forge(edited(figure(), ("</Option>", f"{element * 2}</Option>")))

    said = refusal(octets)

    assert said.startswith(f"FormatError: Signature.Object.Option.{name}[")
    assert "]: must occur once (line " in said


SHAPE: Final = (
    "Signature.Object.Option.DeviceId:"
    " must contain exactly Manufacturer, OUI, ProductClass, SerialNumber (line 24)"
)
OUI: Final = "OUI: expected six upper-case hexadecimal digits, got "


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ([("4001", "")], "VSerialNum: expected 1 to 64 characters, got 0"),
        ([("4001", "x" * 65)], "VSerialNum: expected 1 to 64 characters, got 65"),
        ([("4001", " " * 65)], "VSerialNum: expected 1 to 64 characters, got 65"),
        ([("IPTV", "")], "OptionIdent: expected 1 to 64 characters, got 0"),
        ([("IPTV", "\U0001f600" * 65)], "OptionIdent: expected 1 to 64 characters, got 65"),
        ([("Television over DSL", "x" * 257)], "OptionDesc: expected 0 to 256 characters, got 257"),
        ([("2Wire", "x" * 65)], "Manufacturer: expected 0 to 64 characters, got 65"),
        ([("Gateway", "x" * 65)], "ProductClass: expected 0 to 64 characters, got 65"),
        ([("123456789", "")], "SerialNumber: expected 1 to 64 characters, got 0"),
        ([("123456789", "x" * 65)], "SerialNumber: expected 1 to 64 characters, got 65"),
        ([("00D09E", "00d09e")], f"{OUI}'00d09e'"),
        ([("00D09E", "0D09E")], f"{OUI}'0D09E'"),
        ([("00D09E", "00D09E0")], f"{OUI}'00D09E0'"),
        ([("00D09E", " 00D09E")], f"{OUI}' 00D09E'"),
        ([("00D09E", "00D09G")], f"{OUI}'00D09G'"),
        ([("00D09E", "\uff100D09E")], f"{OUI}'\uff100D09E'"),
        ([("00D09E", "")], f"{OUI}''"),
        ([("<Duration>12</Duration>", "")], "Duration: required with EnableWithExpiration"),
        (
            [("<DurationUnits>Months</DurationUnits>", "")],
            "DurationUnits: required with EnableWithExpiration",
        ),
        ([("<Duration>12", "<Duration>")], "Duration: expected an unsignedInt, got ''"),
        ([("<Duration>12", "<Duration>-1")], "Duration: expected an unsignedInt, got '-1'"),
        ([("<Duration>12", "<Duration>+12")], "Duration: expected an unsignedInt, got '+12'"),
        ([("<Duration>12", "<Duration> 12")], "Duration: expected an unsignedInt, got ' 12'"),
        ([("<Duration>12", "<Duration>1_2")], "Duration: expected an unsignedInt, got '1_2'"),
        ([("<Duration>12", "<Duration>1e3")], "Duration: expected an unsignedInt, got '1e3'"),
        ([("<Duration>12", "<Duration>0x1")], "Duration: expected an unsignedInt, got '0x1'"),
        ([("<Duration>12", "<Duration>\u0661")], "Duration: expected an unsignedInt, got '\u0661'"),
        (
            [("<Duration>12", "<Duration>4294967296")],
            "Duration: must be from 0 to 4294967295, got 4294967296",
        ),
        (
            [("<Duration>12", f"<Duration>{'9' * 5000}")],
            f"Duration: expected an unsignedInt, got '{'9' * 40}'",
        ),
        ([("Months", "months")], "'months' is not a valid Units"),
        ([("Months", "Years")], "'Years' is not a valid Units"),
        ([("EnableWithExpiration", "Enable")], "'Enable' is not a valid Mode"),
        ([("EnableWithExpiration", "EnableWithExpiration ")], "'EnableWithExpiration ' is not a valid Mode"),
        ([("EnableWithExpiration", "")], "'' is not a valid Mode"),
        ([("EnableWithExpiration", "x" * 5000)], f"'{'x' * 199}"),
        (
            [("2026-05-01T00:00:00Z", "tomorrow")],
            "expected a dateTime such as 2002-10-25T12:06:34Z, got 'tomorrow'",
        ),
        ([("2026-05-01T00:00:00Z", "")], "expected a dateTime such as 2002-10-25T12:06:34Z, got ''"),
        (
            [("2026-05-01T00:00:00Z", "2026-02-30T00:00:00Z")],
            "'2026-02-30T00:00:00Z' is not a valid date and time",
        ),
        (
            [("</Option>", "<Transferable>yes</Transferable></Option>")],
            "Transferable: expected a boolean, got 'yes'",
        ),
        (
            [("</Option>", "<Transferable>True</Transferable></Option>")],
            "Transferable: expected a boolean, got 'True'",
        ),
        (
            [("</Option>", "<Transferable></Transferable></Option>")],
            "Transferable: expected a boolean, got ''",
        ),
        ([("</Option>", f"<X>{'x' * 1025}</X></Option>")], "X: expected 0 to 1024 characters, got 1025"),
        ([("</Option>", "<X/>" * 33 + "</Option>")], "expected at most 32 further elements, got 33"),
        ([("</Option>", f"<X>{'<Y/>' * 32}</X></Option>")], "expected at most 32 further elements, got 33"),
        (
            [("</Option>", "<A><B><C><D><E/></D></C></B></A></Option>")],
            "further elements must be nested at most 4 deep",
        ),
        ([("</Option>", "<\u00e9/></Option>")], "'\u00e9' is not a valid name for a further element"),
        (
            [("</Option>", "<A><_\u00b7/></A></Option>")],
            "'_\u00b7' is not a valid name for a further element",
        ),
        (
            [("</Option>", f"<{'x' * 65}/></Option>")],
            f"'{'x' * 40}' is not a valid name for a further element",
        ),
    ],
    ids=str,
)
def test_what_the_tables_forbid_is_refused_though_it_is_signed(
    changes: list[tuple[str, str]], problem: str
) -> None:
    octets = forge(edited(figure(), *changes))

    assert holds(octets)
    assert refusal(octets) == (
        f"FormatError: Signature.Object.Option: {problem} (line 22) [TR-069 C.3, Tables 62 and 63]"
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            [("IPTV", "<B>IPTV</B>")],
            f"{PLACE}.OptionIdent: must contain only text (line 30)",
        ),
        (
            [("EnableWithExpiration", "<B/>")],
            f"{PLACE}.Mode: must contain only text (line 35)",
        ),
        ([("00D09E", "<B/>")], "Signature.Object.Option.DeviceId.OUI: must contain only text (line 26)"),
        ([("<OUI>00D09E</OUI>\n", "")], SHAPE),
        ([("<OUI>00D09E</OUI>", "<OUI>00D09E</OUI><OUI>00D09E</OUI>")], SHAPE),
        ([("<OUI>00D09E</OUI>", "<X/><OUI>00D09E</OUI>")], SHAPE),
        ([("<Manufacturer>2Wire</Manufacturer>\n", "")], SHAPE),
        ([(DEVICE_ID, "<DeviceId/>")], SHAPE),
        (
            [("</Option>", "<X>" * 10 + "</X>" * 10 + "</Option>")],
            "Signature.Object.Option.X.X.X.X.X.X.X.X.X: nested too deeply (line 36)",
        ),
    ],
)
def test_elements_hold_what_belongs_in_them(changes: list[tuple[str, str]], problem: str) -> None:
    octets = forge(edited(figure(), *changes))

    assert holds(octets)
    assert refusal(octets) == f"FormatError: {problem} [TR-069 C.3]"


@pytest.mark.parametrize("change", [("00D09E", "00D09F"), ("Gateway", "Modem"), ("123456789", "123456788")])
def test_all_options_of_a_voucher_are_for_one_device(change: tuple[str, str]) -> None:
    octets = forge(figure(OPTION, edited(OPTION, change)))
    alike = forge(figure(OPTION, edited(OPTION, ("2Wire", "Two Wire"))))

    assert holds(octets)
    assert (
        refusal(octets)
        == "FormatError: DeviceId: all Options must be for the same device [TR-069 C.3, Table 62]"
    )
    assert len(verified(alike).voucher.options) == 2


def test_it_is_said_which_option_is_none() -> None:
    octets = forge(figure(OPTION, edited(OPTION, ("EnableWithExpiration", "Enable")), OPTION))

    assert refusal(octets) == (
        "FormatError: Signature.Object[1].Option: 'Enable' is not a valid Mode (line 53)"
        " [TR-069 C.3, Tables 62 and 63]"
    )


# How a voucher comes: as XML, or in base64.


@pytest.mark.parametrize(
    "wrap",
    [
        lambda octets: octets,
        lambda octets: b"\n " + octets,
        lambda octets: b"\xef\xbb\xbf" + octets,
        b64encode,
        encodebytes,
        lambda octets: b"\r\n\t " + encodebytes(octets).replace(b"\n", b"\r\n"),
        lambda octets: b" ".join(b64encode(octets)[at : at + 1] for at in range(len(b64encode(octets)))),
    ],
)
def test_a_voucher_comes_out_of_its_base64(wrap: Callable[[bytes], bytes]) -> None:
    octets = signed()
    wrapped = wrap(octets)
    if len(wrapped) > MAX_VOUCHER * 3 // 2:
        pytest.fail("a mistake in this test")

    found = unwrap(wrapped)

    assert found == (wrapped if b"<" in wrapped else octets)


@pytest.mark.parametrize(
    "octets",
    [
        b"A",
        b"AAA",
        b"A===",
        b"AA-_",
        b"AAAA\x0b",
        b"AAAA\x00",
        b"AAAA\xc2\xa0",
        b"voucher!",
        b"\xff\xfe<",
    ],
)
def test_what_is_neither_is_refused(octets: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        unwrap(octets)

    assert str(caught.value) == "not a voucher: neither XML nor base64 [TR-069 C.3]"


def test_no_base64_is_longer_than_a_voucher_can_be() -> None:
    most = b"AAAA" * (MAX_VOUCHER * 3 // 8)

    assert unwrap(most) == bytes(len(most) // 4 * 3)
    with pytest.raises(FormatError) as caught:
        unwrap(most + b"\n")
    assert str(caught.value) == "a voucher must have at most 262144 bytes, got more [TR-069 C.3]"


def test_nothing_is_no_voucher() -> None:
    assert refusal(unwrap(b"")) == "FormatError: offset 0x0000: malformed XML: document is empty [TR-069 C.3]"


# Bounds.


def within(limit: float, act: Callable[[], str]) -> str:
    start = time.process_time()
    said = act()
    assert time.process_time() - start < limit
    return said


def test_there_are_64_objects_at_most() -> None:
    options = tuple(replace(IPTV, serial=str(number)) for number in range(MAX_VOUCHER_OPTIONS))
    one_more = figure(*(OPTION for _ in range(MAX_VOUCHER_OPTIONS + 1)))

    assert verified(signed(Voucher(options=options))).voucher.options == options
    assert (
        refusal(forge(one_more))
        == "FormatError: Signature: expected 1 to 64 Objects, got 65 (line 1) [TR-069 C.3]"
    )


def test_a_voucher_has_256_kibibytes_at_most() -> None:
    octets = signed()
    most = octets.ljust(MAX_VOUCHER, b"\n")

    assert verified(most).voucher == VOUCHER
    assert refusal(most + b"\n") == "FormatError: a voucher must have at most 262144 bytes [TR-069 C.3]"


def test_a_document_has_4096_elements_at_most() -> None:
    def of(count: int) -> bytes:
        return b"<a>" + b"<b/>" * (count - 1) + b"</a>"

    assert len(parsing.parse(of(4096), "it", MAX_VOUCHER, section="C.3")) == 4095
    with pytest.raises(FormatError) as caught:
        parsing.parse(of(4097), "it", MAX_VOUCHER, section="C.3")
    assert str(caught.value) == "4097 elements exceed the limit of 4096 [TR-069 C.3]"


def test_elements_are_bounded_before_they_are_256_deep() -> None:
    octets = forge(edited(figure(), ("</Option>", f"{'<X>' * 253}{'</X>' * 253}</Option>")))
    deeper = octets.replace(b"<X>", b"<X><X>", 1).replace(b"</X>", b"</X></X>", 1)

    assert "expected at most 64 elements in an Option, got more" in refusal(octets)
    assert "xcessive depth in document: 256" in refusal(deeper)


GENUINE: Final = signed()
ROOM: Final = MAX_VOUCHER - len(GENUINE) - 64


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<Option>", f"<Option>{'<X/>' * (ROOM // 4)}"),
        ("<Option>", f"<Option>{'<X>' * (ROOM // 7)}{'</X>' * (ROOM // 7)}"),
        ("<Option>", f"<Option>{'<X>' * 240}{'</X>' * 240}"),
        ("<Option>", f"<Option>{'<!---->' * (ROOM // 7)}"),
        ("<Option>", f"<Option>{'<?x?>' * (ROOM // 5)}"),
        ("<Option>", "<Option" + "".join(f' a{one}=""' for one in range(ROOM // 10)) + ">"),
        ("<Option>", f'<Option a="{"x" * (ROOM - 9)}">'),
        ("<Option>", f"<Option>{' ' * ROOM}"),
        ("<Option>", f"<{'O' * ROOM}>"),
        ('Id="option0"', f'Id="{"x" * ROOM}"'),
        ("IPTV", "x" * ROOM),
        ("IPTV", "&#65;" * (ROOM // 5)),
        ("IPTV", "]]&gt;" * (ROOM // 6)),
        ("<DigestValue>", "<DigestValue>" + "A" * (ROOM // 4 * 4)),
        ("<SignatureValue>", "<SignatureValue>" + "A" * (ROOM // 4 * 4)),
        ("<X509Certificate>", "<X509Certificate>" + "A" * (ROOM // 4 * 4)),
        ("</Signature>", "<dsig:Object xmlns:dsig='a'/>" * 4000 + "</Signature>"),
        ("</SignedInfo>", "<Reference/>" * 4000 + "</SignedInfo>"),
        ("<Option>", "<Option>" + "\n" * ROOM + "<"),
    ],
    ids=lambda one: one[:20],
)
def test_no_document_takes_long_to_refuse(old: str, new: str) -> None:
    octets = edited(GENUINE.decode(), (old, new)).encode()

    assert len(octets) <= MAX_VOUCHER
    assert within(PATIENCE, lambda: refusal(octets))


@pytest.mark.parametrize("place", ["<Signature ", "<dsig:Object ", "<Option>", "<Mode>"])
@pytest.mark.parametrize("count", [250, 513, 10_000])
def test_many_namespaces_take_no_time(place: str, count: int) -> None:
    # Canonical XML takes each to every element below.
    octets = signed(
        Voucher(options=tuple(replace(QOS, serial=str(one)) for one in range(MAX_VOUCHER_OPTIONS)))
    )
    declared = "".join(f' xmlns:n{one}="u{one}"' for one in range(count))
    octets = edited(octets.decode(), (place, f"{place[:-1]}{declared}{place[-1]}")).encode()

    assert within(PATIENCE, lambda: refusal(octets[:MAX_VOUCHER]))


def test_512_namespaces_are_the_most() -> None:
    # A genuine voucher of 64 Options has 129 and that of its key; text that says xmlns counts as well.
    talkative = replace(QOS, extra=(("X", "xmlns " * 170),) * 2)
    octets = signed(Voucher(options=(talkative,)))

    assert octets.count(b"xmlns") == 343
    assert verified(octets).voucher.options == (talkative,)
    assert within(
        PATIENCE, lambda: refusal(octets.replace(b"</Signature>", b"xmlns" * 169 + b"</Signature>"))
    ).endswith("is followed by text (line 59) [TR-069 C.3]")
    assert refusal(octets.replace(b"</Signature>", b"xmlns" * 170 + b"</Signature>")) == (
        "FormatError: more than 512 namespace declarations [TR-069 C.3]"
    )


@pytest.mark.parametrize("name", ["Modulus", "Exponent"])
@pytest.mark.parametrize("noughts", [3, ROOM // 4 * 3])
def test_leading_noughts_of_a_number_say_nothing(name: str, noughts: int) -> None:
    octets = edited(GENUINE.decode(), (f"<{name}>", f"<{name}>{b64encode(bytes(noughts)).decode()}")).encode()

    start = time.process_time()
    assert verified(octets).voucher == VOUCHER
    assert time.process_time() - start < PATIENCE
