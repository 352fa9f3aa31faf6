"""Figure 6 of the specification, the one voucher in public: its shape is ours, and its signature is none.

``figure6.xml`` quotes TR-069 (May 2004), Appendix C, pages 93 to 95, as printed; joined are the three URIs
that print broke over two lines, left out the lines between pages.  It was edited after it was signed: neither
digest nor the signature holds.  Its certificates are genuine.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, padding, rsa

from spkg.common.digests import Digest
from spkg.common.hostile_xml import canonical
from spkg.errors import FormatError, UntrustedError
from spkg.trust.certificates import read_certificate
from spkg.trust.policy import VOUCHER_PURPOSES, Policy
from tests.support.kit import root
from vouchers.signature.option_elements import read_option
from vouchers.signature.shape import C14N, VoucherDocument, read_voucher
from vouchers.signature.verify import Verifier

PRINTED: Final = (Path(__file__).parent / "figure6.xml").read_bytes()
FIGURE: Final = PRINTED.replace(b"<VSserialNum>", b"<VSerialNum>")
"""With the one slip mended that makes it no XML: a tag that begins otherwise than it ends."""
THEN: Final = datetime(2003, 1, 1, tzinfo=UTC)
"""When both of its certificates were valid."""
BROKEN: Final = (
    "the signature of CN=eng.bba.certs.2wire.com,OU=CMS,O=2Wire,L=San Jose,ST=CA,C=US is not valid"
)


def document() -> VoucherDocument:
    return read_voucher(FIGURE)


def leaf_and_root() -> list[x509.Certificate]:
    return [read_certificate(one) for one in document().certificates]


def test_as_it_is_printed_it_is_no_xml() -> None:
    with pytest.raises(FormatError) as caught:
        read_voucher(PRINTED)

    assert caught.value.offset == PRINTED.index(b"</VSerialNum>", PRINTED.index(b"<VSserialNum>")) + 13
    assert "malformed XML: opening and ending tag mismatch: VSserialNum line 112 and VSerialNum" in str(
        caught.value
    )


def test_its_shape_is_the_one_that_is_read() -> None:
    found = document()

    assert found.method == "http://www.w3.org/2000/09/xmldsig#dsa-sha1"
    assert found.digests == ("http://www.w3.org/2000/09/xmldsig#sha1",) * 2
    assert len(found.signature) == 40
    assert [one.get("Id") for one in found.objects] == ["option0", "option1"]
    assert [len(one[0]) for one in found.objects] == [8, 8]
    assert C14N in FIGURE.decode()


def test_its_options_are_read() -> None:
    first, second = (read_option(one[0]) for one in document().objects)

    assert (first.serial, second.serial) == ("987654321", "987654322")
    assert (first.ident, second.ident) == ("First option name", "Second option name")
    assert first.device == second.device
    assert first.start == second.start == datetime(2002, 10, 25, 12, 6, 34, tzinfo=UTC)
    assert first.expires(THEN) == datetime(2003, 8, 1, 12, 6, 34, tzinfo=UTC)


def test_its_objects_are_what_the_figure_shows() -> None:
    (first, _) = map(canonical, document().objects)
    shown = FIGURE[FIGURE.index(b"<dsig:Object ") :].partition(b"</dsig:Object>")

    assert first == (shown[0] + shown[1]).replace(b' xmlns=""', b"")


def test_its_leaf_is_certified_by_its_root() -> None:
    leaf, anchor = leaf_and_root()
    key = anchor.public_key()
    assert isinstance(key, rsa.RSAPublicKey)

    # The leaf is signed with SHA-1; the root, in the form of X.509 v1, with MD5.
    key.verify(leaf.signature, leaf.tbs_certificate_bytes, padding.PKCS1v15(), hashes.SHA1())
    key.verify(anchor.signature, anchor.tbs_certificate_bytes, padding.PKCS1v15(), hashes.MD5())
    assert leaf.issuer == anchor.subject == anchor.issuer
    assert anchor.version is x509.Version.v1


def test_its_key_value_is_the_key_of_its_leaf() -> None:
    key = leaf_and_root()[0].public_key()
    assert isinstance(key, dsa.DSAPublicKey)
    numbers = key.public_numbers()
    domain = numbers.parameter_numbers

    assert document().key_value == (domain.p, domain.q, domain.g, numbers.y)


def refusal(policy: Policy, at: datetime | None) -> str:
    with pytest.raises(UntrustedError) as caught:
        Verifier(policy).verify(document(), at)
    return str(caught.value)


@pytest.mark.parametrize(
    "accepted",
    [(Digest.SHA1,), (Digest.SHA256,), (Digest.SHA1, Digest.SHA256)],
    ids=["sha1", "sha256", "both"],
)
@pytest.mark.parametrize("at", [THEN, None, datetime(2026, 6, 1, tzinfo=UTC)])
@pytest.mark.parametrize("anchors", ["its root", "its leaf", "both", "ours"])
def test_no_policy_takes_it(accepted: tuple[Digest, ...], at: datetime | None, anchors: str) -> None:
    leaf, its_root = leaf_and_root()
    known = {"its root": (its_root,), "its leaf": (leaf,), "both": (leaf, its_root)}
    trusted = known.get(anchors, (root().certificate,))

    said = refusal(Policy(anchors=trusted, digests=frozenset(accepted), purposes=VOUCHER_PURPOSES), at)

    if Digest.SHA1 not in accepted:
        assert said == "a signature with sha1 is not accepted"
    elif anchors != "ours" and at in {THEN, None}:
        # All else is as it should be: what is left is that it is not valid.
        assert said == BROKEN
    else:
        assert said != BROKEN
