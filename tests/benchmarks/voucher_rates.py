"""Rates of signing and verifying vouchers, beside the bare key, the least there is to do, and python-xmlsec.

Prints JSON: for each comparison the seconds a voucher of either, measured in turn.  `run.py` calls it.
"""

import json
import re
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from time import perf_counter
from typing import Any, Final

import xmlsec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lxml import etree

from spkg.common.digests import Digest
from spkg.common.hostile_xml import canonical
from spkg.trust.keygen import make_keys
from spkg.trust.policy import VOUCHER_PURPOSES, Policy
from spkg.trust.signers import KeySigner, Signatory
from vouchers.model import DeviceId, Mode, Option, Voucher
from vouchers.months import Units
from vouchers.signature.shape import read_voucher
from vouchers.signature.sign import VoucherSigner
from vouchers.signature.verify import Verifier

NOW: Final = datetime.now(UTC).replace(microsecond=0)
DEVICE: Final = DeviceId(
    manufacturer="2Wire", oui="00D09E", product_class="Gateway", serial_number="123456789"
)
OPTION: Final = Option(
    serial="987654321",
    device=DEVICE,
    ident="Option name",
    description="Option description",
    mode=Mode.WITH_EXPIRATION,
    start=datetime(2026, 10, 25, 12, 6, 34, tzinfo=UTC),
    duration=280,
    units=Units.DAYS,
)
TURN: Final = 0.15
"""Seconds that one side of a comparison runs before the other does."""
PARSER: Final = etree.XMLParser(resolve_entities=False, no_network=True)


def voucher(options: int) -> Voucher:
    """Return a voucher with so many Options."""
    return Voucher(options=tuple(replace(OPTION, ident=f"Option {index}") for index in range(options)))


def seconds(work: Callable[[], object]) -> float:
    """Return what one run of *work* takes."""
    start, count = perf_counter(), 0
    while (took := perf_counter() - start) < TURN:
        work()
        count += 1
    return took / count


Pairs = list[tuple[float, float]]
"""Seconds of the one and of the other."""


def in_turn(first: Callable[[], object], second: Callable[[], object], turns: int) -> Pairs:
    """Measure two things in turn, once more than is counted."""
    return [(seconds(first), seconds(second)) for _ in range(turns + 1)][1:]


def comparisons(turns: int) -> Iterator[tuple[str, Pairs]]:
    """Measure, and give a name and its pairs of seconds."""
    keys = make_keys("benchmark", NOW)
    key, root = keys.signer.key, keys.root.certificate
    assert isinstance(key, rsa.RSAPrivateKey)
    signer, two = (
        VoucherSigner(Signatory(key=KeySigner(key), certificate=keys.signer.certificate, chain=(root,))),
        voucher(2),
    )
    octets = signer.sign(two)
    template = re.sub(b"<(DigestValue|SignatureValue)>[^<]*", rb"<\1>", octets)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    theirs = xmlsec.Key.from_memory(pem, xmlsec.constants.KeyDataFormatPem)
    content = canonical(read_voucher(octets).root[0])

    def bare() -> bytes:
        return key.sign(content, padding.PKCS1v15(), hashes.SHA256())

    yield "sign, bare key", in_turn(lambda: signer.sign(two), bare, turns)
    yield (
        "sign, python-xmlsec",
        in_turn(lambda: signer.sign(two), lambda: xmlsec_sign(template, theirs), turns),
    )

    verifier = Verifier(
        Policy(anchors=(root,), purposes=VOUCHER_PURPOSES, digests=frozenset({Digest.SHA256}))
    )
    public = keys.signer.certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)

    def ours() -> object:
        return verifier.verify(read_voucher(octets), NOW)

    def floor() -> None:
        """Parse, hold to the shape, canonicalise thrice, digest twice, use the key once."""
        document = read_voucher(octets)
        public.verify(document.signature, canonical(document.root[0]), padding.PKCS1v15(), hashes.SHA256())
        for reference, element in zip([*document.root[0]][2:], document.objects, strict=True):
            assert b64decode(reference[2].text or "") == sha256(canonical(element)).digest()

    yield "verify, floor", in_turn(ours, floor, turns)
    manager = xmlsec.KeysManager()
    manager.add_key(
        xmlsec.Key.generate(xmlsec.constants.KeyDataAes, 128, xmlsec.constants.KeyDataTypeSession)
    )
    manager.load_cert_from_memory(
        root.public_bytes(Encoding.PEM),
        xmlsec.constants.KeyDataFormatPem,
        xmlsec.constants.KeyDataTypeTrusted,
    )
    yield "verify, python-xmlsec", in_turn(ours, lambda: xmlsec_verify(octets, manager), turns)
    one, many = voucher(1), voucher(64)
    yield "sign, 64 Options and 1", in_turn(lambda: signer.sign(many), lambda: signer.sign(one), turns)
    large, small = signer.sign(many), signer.sign(one)
    yield (
        "verify, 64 Options and 1",
        in_turn(
            lambda: verifier.verify(read_voucher(large), NOW),
            lambda: verifier.verify(read_voucher(small), NOW),
            turns,
        ),
    )


def xmlsec_sign(octets: bytes, key: Any) -> bytes:
    """Sign a template, as a program with python-xmlsec does."""
    root = etree.fromstring(octets, PARSER)
    context = xmlsec.SignatureContext()
    context.key = key
    for element in [*root][3:]:
        context.register_id(element, "Id")
    context.sign(root)
    return etree.tostring(root)


def xmlsec_verify(octets: bytes, manager: Any) -> None:
    """Verify with a certificate chain, as a program with python-xmlsec does."""
    root = etree.fromstring(octets, PARSER)
    context = xmlsec.SignatureContext(manager)  # type: ignore[call-arg]  # its stub does not know
    for element in [*root][3:]:
        context.register_id(element, "Id")
    context.verify(root)


def main() -> None:
    """Measure and print."""
    json.dump(dict(comparisons(int(sys.argv[1]))), sys.stdout)


if __name__ == "__main__":
    main()
