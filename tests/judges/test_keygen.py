"""OpenSSL and GnuTLS judge what ``keygen`` makes, by the clock of the machine: chains, purposes, requests."""

import pytest

from tests.judges.desk import Desk
from tests.support.commands import run

SIGNERS = ("signer", "voucher", "voucher-ec")
LEAVES_OF = {"any": SIGNERS, "smimesign": ("voucher", "voucher-ec"), "sslserver": (), "sslclient": ()}
"""Which certificates have which purpose; OpenSSL 3.0 has none for code."""
VERIFY = "openssl verify -x509_strict -CAfile ca.pem"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The keys that the command makes."""
    place = tmp_path_factory.mktemp("keygen") / "keys"
    assert run("keygen", str(place), "--csr").exit_code == 0
    return Desk(place)


@pytest.mark.judge("openssl")
@pytest.mark.parametrize("purpose", LEAVES_OF)
@pytest.mark.parametrize("name", SIGNERS)
def test_a_certificate_serves_its_purpose_and_no_other(keys: Desk, purpose: str, name: str) -> None:
    command = f"{VERIFY} -purpose {purpose} -untrusted {name}.pem {name}.pem"

    outcome = keys.run(*command.split())

    assert (outcome.status == 0) == (name in LEAVES_OF[purpose]), outcome.stderr


@pytest.mark.judge("openssl")
@pytest.mark.parametrize("name", ["intermediate", *SIGNERS])
def test_a_certificate_needs_no_file_but_its_own_and_the_root(keys: Desk, name: str) -> None:
    command = f"{VERIFY} -untrusted {name}.pem {name}.pem"

    outcome = keys.run(*command.split())

    assert (outcome.status, outcome.text) == (0, f"{name}.pem: OK\n")


@pytest.mark.judge("openssl")
def test_the_signer_of_packages_needs_no_chain(keys: Desk) -> None:
    command = f"{VERIFY} signer.pem intermediate.pem"

    outcome = keys.run(*command.split())

    assert (outcome.status, outcome.text) == (0, "signer.pem: OK\nintermediate.pem: OK\n")


@pytest.mark.judge("openssl")
@pytest.mark.parametrize("name", ["ca", "intermediate", *SIGNERS])
def test_key_certificate_and_request_belong_together(keys: Desk, name: str) -> None:
    commands = (
        f"openssl pkey -in {name}.key -pubout",
        f"openssl x509 -in {name}.pem -noout -pubkey",
        f"openssl req -in {name}.csr -verify -noout -pubkey",
    )

    of_key, of_certificate, of_request = (keys.must(*command.split()).stdout for command in commands)

    assert of_key == of_certificate == of_request


@pytest.mark.judge("openssl")
def test_the_intermediate_answers_a_request(keys: Desk) -> None:
    answer = (
        "openssl x509 -req -in signer.csr -CA intermediate.pem -CAkey intermediate.key -days 9 -out new.pem"
    )
    keys.must(*answer.split(), "-copy_extensions", "copy")
    command = f"{VERIFY} -untrusted intermediate.pem new.pem"

    outcome = keys.run(*command.split())

    assert (outcome.status, outcome.text) == (0, "new.pem: OK\n")


@pytest.mark.judge("certtool")
@pytest.mark.parametrize("name", SIGNERS)
def test_certtool_takes_each_file_as_a_chain(keys: Desk, name: str) -> None:
    command = f"certtool --verify --load-ca-certificate ca.pem --infile {name}.pem"

    outcome = keys.run(*command.split())

    assert outcome.status == 0, outcome.stderr
    assert "Chain verification output: Verified. The certificate is trusted." in outcome.text
