"""Bouncy Castle as the judge: it accepts what we sign, and we read its BER of indefinite length."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from spkg.common.digests import Digest
from spkg.format.signature_block import EMPTY_BLOCK
from tests.judges.case import (
    FORGED,
    OURS,
    SIGNED,
    accept,
    chained,
    flip,
    intermediate,
    package,
    refusal,
    sign,
    signer,
    signers_of,
)
from tests.judges.desk import Desk
from tests.judges.programs import must, require

pytestmark = [pytest.mark.judge("java", "javac"), pytest.mark.part("judges"), pytest.mark.proof]

SOURCE = Path(__file__).parent / "java" / "Judge.java"
JARS = [Path("/usr/share/java") / f"{name}.jar" for name in ("bcpkix", "bcprov", "bcutil")]
INDEFINITE = b"\x30\x80"
THEIRS = [
    (algorithm, form) for algorithm in ("SHA1withRSA", "SHA256withRSA") for form in ("attributes", "direct")
]


@pytest.fixture(scope="session")
def class_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where Java finds Bouncy Castle, and the judge made of it."""
    require("java", "javac", *JARS)
    classes = tmp_path_factory.mktemp("classes")
    jars = ":".join(map(str, JARS))
    must("javac", "-cp", jars, "-d", classes, SOURCE, cwd=classes)
    return f"{jars}:{classes}"


@dataclass(frozen=True)
class BouncyCastle:
    """A desk with a Java machine on it."""

    desk: Desk
    class_path: str

    def judge(self, *blocks: bytes, signed: bytes = SIGNED) -> list[list[str]]:
        """Return what Bouncy Castle says of each signature of each block, in one run of Java."""
        names = [self.desk.put(f"judged{index}.p7", block) for index, block in enumerate(blocks)]
        self.desk.put("judged", signed)
        lines = self._java("verify", "judged", *names).splitlines()
        verdicts: list[list[str]] = []
        for line in lines:
            if line.startswith("signers: "):
                verdicts.append([])
            else:
                verdicts[-1].append(line)
        assert [line for line in lines if line.startswith("signers: ")] == [
            f"signers: {len(verdict)}" for verdict in verdicts
        ]
        return verdicts

    def sign(self) -> list[bytes]:
        """Return the detached blocks that Bouncy Castle writes over the signed octets."""
        form = (Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self.desk.put("signed", SIGNED)
        self.desk.put("key.der", signer().key.private_bytes(*form))
        self.desk.put("certificate.der", signer().der)
        names = [f"theirs{index}.p7" for index in range(len(THEIRS))]
        wanted = [word for theirs, name in zip(THEIRS, names, strict=True) for word in (*theirs, name)]
        self._java("sign", "signed", "key.der", "certificate.der", *wanted)
        return [self.desk.take(name) for name in names]

    def _java(self, *arguments: str) -> str:
        command = ("java", "-XX:TieredStopAtLevel=1", "-cp", self.class_path, "Judge")
        return self.desk.must(*command, *arguments).text


@pytest.fixture
def castle(desk: Desk, class_path: str) -> BouncyCastle:
    return BouncyCastle(desk, class_path)


@dataclass(frozen=True)
class Theirs:
    """A block of Bouncy Castle's."""

    algorithm: str
    form: str
    block: bytes


@pytest.fixture(scope="session")
def all_of_theirs(tmp_path_factory: pytest.TempPathFactory, class_path: str) -> list[bytes]:
    return BouncyCastle(Desk(tmp_path_factory.mktemp("castle")), class_path).sign()


@pytest.fixture(params=range(len(THEIRS)), ids=[" ".join(one) for one in THEIRS])
def theirs(request: pytest.FixtureRequest, all_of_theirs: list[bytes]) -> Theirs:
    """Each of the blocks that Bouncy Castle writes."""
    index: int = request.param
    return Theirs(*THEIRS[index], all_of_theirs[index])


class TestOursByTheirs:
    def test_our_signatures_are_accepted(self, castle: BouncyCastle) -> None:
        verdicts = castle.judge(*(block() for block in OURS.values()))

        first, other, third = "CN=Signer: valid", "CN=Second: valid", "CN=Chained: valid"
        assert dict(zip(OURS, verdicts, strict=True)) == {
            "one signer": [first],
            "two signers": [first, other],
            "SHA-256 beside SHA-1": [first, first],
            "an intermediate certificate": [third],
            "a signing time": [first],
            "all of it": [third, first, other, first],
        }

    def test_every_signature_of_a_block_is_looked_at(self, castle: BouncyCastle) -> None:
        block = OURS["all of it"]()
        infos = signers_of(block)
        damaged = [flip(block, block.index(info) + len(info) - 1) for info in infos]

        verdicts = castle.judge(*damaged)

        assert [[line.endswith(": invalid") for line in found] for found in verdicts] == [
            [index == number for number in range(len(infos))] for index in range(len(infos))
        ]

    def test_a_block_without_signatures_is_read(self, castle: BouncyCastle) -> None:
        assert castle.judge(EMPTY_BLOCK) == [[]]

    def test_a_flipped_octet_of_the_contents_is_refused_by_both(self, castle: BouncyCastle) -> None:
        block = sign(EMPTY_BLOCK, signer())

        assert castle.judge(block, signed=FORGED) == [
            ["CN=Signer: refused, message-digest attribute value does not match calculated value"]
        ]
        assert "the attribute messageDigest does not match" in refusal(block, signed=FORGED)


class TestTheirsByUs:
    def test_their_signature_is_accepted_for_what_it_is_over(self, theirs: Theirs) -> None:
        (one,) = accept(theirs.block).signers

        assert (one.subject, f"{one.digest.name}withRSA") == ("CN=Signer", theirs.algorithm)
        reason = "the signature is not valid"
        if theirs.form == "attributes":
            reason = "the attribute messageDigest does not match the header and command list"
        assert refusal(theirs.block, signed=FORGED) == f"signature[0]: {reason} [TR-069 E.5]"

    def test_their_block_of_indefinite_length_survives_a_round_trip(self, theirs: Theirs) -> None:
        assert theirs.block[:2] == INDEFINITE
        assert package(theirs.block).encode() == SIGNED + theirs.block

    def test_our_signature_beside_theirs_leaves_theirs_alone(
        self, castle: BouncyCastle, theirs: Theirs
    ) -> None:
        both = [sign(theirs.block, chained(), intermediate(), digest=digest) for digest in Digest]

        for one in both:
            assert set(signers_of(one)) > set(signers_of(theirs.block))
            assert len(accept(one, required_signers=2).signers) == 2
        assert [sorted(found) for found in castle.judge(*both)] == [
            ["CN=Chained: valid", "CN=Signer: valid"]
        ] * 2
