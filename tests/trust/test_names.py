"""Names as people write them, and as certificates have them."""

from pathlib import Path

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.x509.oid import NameOID

from spkg.errors import FormatError
from spkg.trust.ber import tlv
from spkg.trust.names import is_same_name, means_name, read_distinguished_name
from tests.judges.programs import must

ALICE = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Oracle, Inc."),
        x509.NameAttribute(NameOID.COMMON_NAME, "alice = b"),
    ]
)


@pytest.mark.parametrize(
    "text",
    [
        r"CN=alice = b,O=Oracle\, Inc.,C=US",
        r"C=US,O=Oracle\, Inc.,CN=alice = b",
        'C = US, O = "Oracle, Inc.", CN = alice = b',
        r"C = US, O = Oracle\2C Inc., CN = alice = b",
        r"c=US, o=Oracle\, Inc., commonName=alice = b",
        r"2.5.4.6=US,2.5.4.10=Oracle\, Inc.,2.5.4.3=alice = b",
    ],
)
def test_a_subject_is_known_in_both_orders_and_with_blanks(text: str) -> None:
    assert means_name(text, ALICE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice = b",
        "CN=alice = b",
        "CN=alice = b,C=US",
        r"O=Oracle\, Inc.,C=US,CN=alice = b",
        "C=US,O=Oracle, Inc.,CN=alice = b",
        r"C=US,O=Oracle\, Inc.,CN=alice = b,",
        r"C=US,O=Oracle\, Inc.,CN=Alice = b",
        r"C=US+O=Oracle\, Inc.,CN=alice = b",
        r"C=US,O=Oracle\, Inc.,CN=alice = b" + " " * 9000,
    ],
)
def test_what_is_not_the_whole_subject_is_another(text: str) -> None:
    assert not means_name(text, ALICE)


@pytest.mark.parametrize("value", [" alice", "alice ", "alice\n", "\talice", "ali\\ce", '"alice"', "O=x"])
def test_no_other_value_passes_for_one_that_was_written(value: str) -> None:
    impostor = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, value)])

    assert not means_name("CN=alice", impostor)
    assert not means_name("CN = alice", impostor)


@pytest.mark.parametrize("value", [" alice", "alice ", "a+b", 'say "x"', "#a", "Prüf", "a\\b", "a;b<c>"])
def test_a_subject_as_rfc_4514_writes_it_means_itself(value: str) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, value)])

    assert means_name(name.rfc4514_string(), name)


@pytest.mark.judge("openssl")
@pytest.mark.parametrize("options", ["", "-nameopt rfc2253", "-nameopt oneline", "-nameopt RFC2253,utf8"])
def test_a_subject_as_openssl_prints_it_means_itself(options: str, tmp_path: Path) -> None:
    subject = '/C=US/O=Oracle, \\+Inc./CN=Prüf  "x" stelle/emailAddress=a@example.com'
    must(
        *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem"],
        *["-utf8", "-subj", subject],
        cwd=tmp_path,
    )

    printed = must(
        "openssl", "x509", "-in", "c.pem", "-noout", "-subject", *options.split(), cwd=tmp_path
    ).text

    certificate = x509.load_pem_x509_certificate((tmp_path / "c.pem").read_bytes())
    assert means_name(printed.removeprefix("subject=").rstrip("\n"), certificate.subject)


def attribute(tag: int, value: bytes) -> bytes:
    """Return a Name of one common name."""
    return tlv(0x30, tlv(0x31, tlv(0x30, bytes.fromhex("0603550403"), tlv(tag, value))))


@pytest.mark.parametrize(
    ("tag", "value", "text"),
    [
        (0x0C, "Prüf".encode(), "Prüf"),
        (0x13, b"Pruef", "Pruef"),
        (0x14, "Prüf".encode("latin-1"), "Prüf"),
        (0x16, b"Pruef", "Pruef"),
        (0x1E, "Prüf".encode("utf-16-be"), "Prüf"),
        (0x1C, "Prüf".encode("utf-32-be"), "Prüf"),
    ],
)
def test_every_string_of_a_name_is_read_in_its_encoding(tag: int, value: bytes, text: str) -> None:
    name = read_distinguished_name(attribute(tag, value))

    assert name.rfc4514_string() == f"CN={text}"
    assert asn1_x509.Name.load(attribute(tag, value)).native == {"common_name": text}


@pytest.mark.parametrize(
    "octets",
    [
        attribute(0x0C, b"\xff"),
        attribute(0x13, b"\xff"),
        attribute(0x02, b"\x01"),
        tlv(0x30, tlv(0x31)),
        tlv(0x30, tlv(0x31, tlv(0x30, bytes.fromhex("0603550403")))),
        tlv(0x31),
        b"\x30",
    ],
)
def test_what_is_no_name_is_refused(octets: bytes) -> None:
    with pytest.raises(FormatError):
        read_distinguished_name(octets)


def test_characters_that_can_t_be_read_can_be_shown() -> None:
    assert read_distinguished_name(attribute(0x0C, b"a\xffb"), "replace").rfc4514_string() == "CN=a\ufffdb"


def test_names_are_compared_without_case_and_width_of_blanks() -> None:
    one, other = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("A  b", "a B"))

    assert is_same_name(one, other)
    assert not is_same_name(one, ALICE)
