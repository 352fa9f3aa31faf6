"""A key that no verifier takes signs nothing: every command that signs, or prepares to, refuses it."""

from pathlib import Path
from typing import Final

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.commands import files, run
from tests.support.kit import KEYS, certify, root, signer
from tests.support.package_files import furnish

OPTIONS: Final = '[[option]]\nident = "QoS"\nmode = "EnableWithoutExpiration"\n'
DEVICE: Final = (
    '[device]\nmanufacturer = "2Wire"\noui = "00D09E"\nproduct-class = "Gateway"\nserial-number = "1"\n'
)
BY: Final = "--key odd.key --cert odd.pem"
WHAT: Final = "--device device.toml --options options.toml --serial 5"
COMMANDS: Final = {
    "build": f"build m.toml -o new {BY}",
    "check": f"build m.toml --check {BY}",
    "sign": f"sign u.spkg {BY}",
    "prepare": "prepare u.spkg -o new --cert odd.pem",
    "attest": f"attest p.spkg -o new {BY}",
    "voucher issue": f"voucher issue -o new {WHAT} {BY}",
    "voucher prepare": f"voucher prepare -o new {WHAT} --cert odd.pem",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    Path("options.toml").write_text(OPTIONS)
    Path("device.toml").write_text(DEVICE)
    return tmp_path


def for_pss_only() -> bytes:
    """Return the signer's certificate, whose key is said to be for RSASSA-PSS."""
    certificate = asn1_x509.Certificate.load(signer().der)
    certificate["tbs_certificate"]["subject_public_key_info"]["algorithm"] = {"algorithm": "rsassa_pss"}
    octets: bytes = certificate.dump(force=True)
    return octets


PROBLEMS: Final = {
    "PSS": "the key is for RSASSA-PSS only, which neither packages nor vouchers use",
    "tiny": "expected an RSA key of 1024 to 8192 bits, got 512",
    "exponent3": "expected an RSA key with an odd exponent from 65537 to 4294967297, got 3",
}


@pytest.mark.part("fuzz", turns=True, few=4)
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("key", PROBLEMS)
def test_a_key_that_no_verifier_takes_signs_nothing_whatever_is_accepted(
    key: str, name: str, here: Path
) -> None:
    which = "signer" if key == "PSS" else key
    certificate = for_pss_only() if key == "PSS" else certify("Odd", root(), with_key=which).der
    Path("odd.pem").write_bytes(certificate)
    Path("odd.key").write_bytes((KEYS / f"{which}.key").read_bytes())
    before = {file: Path(file).read_bytes() for file in files(here)}

    refused = run(*COMMANDS[name].split())
    forced = run(*COMMANDS[name].split(), "--unsafe-unfit-certificate")

    for result in (refused, forced):
        assert (result.exit_code, result.stdout) == (5, "")
        assert result.stderr.splitlines()[-1] == f"spkg: error: {PROBLEMS[key]}"
    assert {file: Path(file).read_bytes() for file in files(here)} == before


@pytest.mark.parametrize("name", ["sign", "prepare", "voucher issue", "voucher prepare"])
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_sha256_by_a_certificate_that_hangs_on_sha1_is_warned_of(name: str, digest: str) -> None:
    Path("odd.pem").write_bytes(certify("Odd", root(), digest="sha1").pem)
    Path("odd.key").write_bytes((KEYS / "signer.key").read_bytes())

    result = run(*COMMANDS[name].split(), "--digest", digest)

    told = (
        "spkg: warning: the certificate of CN=Odd is signed with sha1: verifiers that accept only sha256, "
        "as those of vouchers do by default, will not trust it\n"
    )
    assert (result.exit_code, told in result.stderr) == (0, digest == "sha256")


@pytest.mark.parametrize("name", ["build", "sign", "voucher issue"])
def test_a_key_of_a_kind_that_signs_nothing_is_5(name: str) -> None:
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    Path("odd.key").write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(*form))
    Path("odd.pem").write_bytes(signer().pem)

    result = run(*COMMANDS[name].split())

    told = "spkg: error: the key in odd.key is not an RSA, DSA or ECDSA key\n"
    assert (result.exit_code, result.stdout, result.stderr.endswith(told)) == (5, "", True)


def test_the_key_for_pss_is_one_that_can_be_read() -> None:
    oid = x509.load_der_x509_certificate(for_pss_only()).public_key_algorithm_oid

    assert oid.dotted_string == "1.2.840.113549.1.1.10"
