"""xmlsec as the judge: it accepts the vouchers we sign, we verify what it signs, and both refuse a forgery.

xmlsec1 is the program of a distribution, python-xmlsec has a library of its own: two versions of one judge.
"""

from dataclasses import replace
from typing import Final

import pytest
import xmlsec
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lxml import etree

from spkg.common.digests import Digest
from spkg.trust.signers import Signatory
from tests.judges.desk import Desk
from tests.judges.programs import Outcome
from tests.support.kit import AT, authority, certify, root
from tests.support.sampling import few
from tests.support.voucher_forge import DS, OPTION, edited, figure, forge, key_value, refusal
from tests.support.voucher_kit import IPTV, QOS, SCHEMES, pem, private_key, signatory, signed, verified
from vouchers.model import Voucher

program = pytest.mark.judge("xmlsec1")
schemes = pytest.mark.parametrize(("which", "digest"), SCHEMES)
ID: Final = ("--id-attr:Id", f"{DS}:Object")


def voucher(count: int) -> Voucher:
    """Return a voucher of so many Options, each with something in it that XML has to escape."""
    plain = (IPTV, replace(QOS, description="a & b < c > d ]]> \r\n\t e", extra=(("Rate", "<8>"),)))
    return Voucher(options=tuple(replace(plain[index % 2], serial=str(index)) for index in range(count)))


def judge(desk: Desk, octets: bytes) -> Outcome:
    """Ask xmlsec1 whether a voucher holds, with a chain to the root, at the time of all tests."""
    desk.put("voucher.xml", octets)
    desk.put("root.pem", root().pem)
    # Without the first of these it believes any key that KeyValue has.
    trust = ("--enabled-key-data", "x509", "--trusted-pem", "root.pem")
    time = ("--verification-gmt-time", f"{AT:%Y-%m-%d %H:%M:%S}")
    return desk.run("xmlsec1", "--verify", *trust, *time, *ID, "voucher.xml")


def template(who: Signatory, digest: Digest, count: int) -> str:
    """Return a voucher with nothing where xmlsec writes digests and signature."""
    options = (edited(OPTION, ("4001", str(index))) for index in range(count))
    text = figure(
        *options, who=who, digest=digest, keyed=isinstance(who.key.public_key, RSAPublicKey | DSAPublicKey)
    )
    return text.replace("?digest?", "").replace("?signature?", "")


def expected(count: int) -> Voucher:
    """Return what that voucher says."""
    return Voucher(options=tuple(replace(IPTV, serial=str(index)) for index in range(count)))


def loaded(who: Signatory) -> xmlsec.Key:
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return xmlsec.Key.from_memory(private_key(who).private_bytes(*form), xmlsec.constants.KeyDataFormatPem)


def context_of(octets: bytes, key: xmlsec.Key) -> tuple[xmlsec.SignatureContext, etree._Element]:
    tree = etree.fromstring(octets)
    xmlsec.tree.add_ids(tree, ["Id"])
    context = xmlsec.SignatureContext()
    context.key = key
    return context, tree


class TestTheProgram:
    pytestmark = program

    @pytest.mark.part("judges", turns=True, few=3)
    @schemes
    @pytest.mark.parametrize("count", [1, 2, 64])
    def test_it_accepts_what_we_sign(self, desk: Desk, which: str, digest: Digest, count: int) -> None:
        outcome = judge(desk, signed(voucher(count), which, digest))

        assert outcome.status == 0, outcome.stderr
        assert f"SignedInfo References (ok/all): {count}/{count}" in outcome.stderr

    @schemes
    @pytest.mark.parametrize(
        "old",
        few([b"<OptionIdent>IPTV", b"<Duration>12", b"#option1", b"<OUI>00D09E"], every=2, part="judges"),
    )
    def test_a_flipped_octet_is_refused_by_all(
        self, desk: Desk, which: str, digest: Digest, old: bytes
    ) -> None:
        octets = signed(voucher(2), which, digest)
        at = octets.index(old) + len(old) - 1
        flipped = octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :]

        assert judge(desk, flipped).status != 0
        assert refusal(flipped, digest)

    def test_a_stranger_is_refused_by_all(self, desk: Desk) -> None:
        other = authority("Test Root", with_key="second")
        who = replace(
            signatory("other"),
            certificate=certify("Stranger", other, with_key="other").certificate,
            chain=(other.certificate,),
        )
        octets = forge(figure(who=who), who)

        outcome = judge(desk, octets)

        assert outcome.status != 0
        assert "certificate verification failed" in outcome.stderr
        assert refusal(octets) == (
            "UntrustedError: CN=Test Root: self-signed certificate in certificate chain"
        )

    @pytest.mark.part("judges", turns=True, few=3)
    @schemes
    @pytest.mark.parametrize("count", [1, 2, 64])
    def test_we_accept_what_it_signs(self, desk: Desk, which: str, digest: Digest, count: int) -> None:
        who = signatory(which)
        # It signs with the key that stands in KeyValue, secret or not, so that it is left to write one.
        gap = edited(template(who, digest, count), *[(key_value(private_key(who)), "")] * (which != "p256"))
        desk.put("template.xml", gap.encode())
        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        desk.put("signer.key", private_key(who).private_bytes(*form))

        desk.must(
            "xmlsec1", "--sign", "--privkey-pem", "signer.key", *ID, "--output", "theirs.xml", "template.xml"
        )

        assert verified(desk.take("theirs.xml"), digest).voucher == expected(count)


class TestTheLibrary:
    @schemes
    @pytest.mark.parametrize("count", [1, 2, 64])
    def test_it_accepts_what_we_sign(self, which: str, digest: Digest, count: int) -> None:
        certificate = pem(signatory(which).certificate)
        key = xmlsec.Key.from_memory(certificate, xmlsec.constants.KeyDataFormatCertPem)
        context, tree = context_of(signed(voucher(count), which, digest), key)

        context.verify(tree)

    @schemes
    def test_it_refuses_what_was_changed(self, which: str, digest: Digest) -> None:
        octets = signed(voucher(2), which, digest).replace(b"IPTV", b"IPTW")
        certificate = pem(signatory(which).certificate)
        key = xmlsec.Key.from_memory(certificate, xmlsec.constants.KeyDataFormatCertPem)
        context, tree = context_of(octets, key)

        with pytest.raises(xmlsec.Error):
            context.verify(tree)
        assert refusal(octets, digest) == (
            "UntrustedError: Signature.Object[0]: contents do not match the signed digest"
        )

    @schemes
    @pytest.mark.parametrize("count", [1, 2, 64])
    def test_we_accept_what_it_signs(self, which: str, digest: Digest, count: int) -> None:
        who = signatory(which)
        context, tree = context_of(template(who, digest, count).encode(), loaded(who))

        context.sign(tree)

        assert verified(etree.tostring(tree), digest).voucher == expected(count)
