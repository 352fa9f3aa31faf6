"""What lies before a judge."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.judges.programs import Outcome, must, run
from tests.support.kit import Certified

__all__ = ["Desk"]


@dataclass(frozen=True)
class Desk:
    """A directory with the case in it: the signed octets, keys and certificates."""

    path: Path

    def put(self, name: str, octets: bytes) -> str:
        """Lay a file on the desk."""
        (self.path / name).write_bytes(octets)
        return name

    def put_identity(self, name: str, certified: Certified) -> None:
        """Lay a key and its certificate on the desk."""
        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.put(f"{name}.key", certified.key.private_bytes(*form))
        self.put(f"{name}.pem", certified.pem)

    def take(self, name: str) -> bytes:
        """Return what a judge wrote."""
        return (self.path / name).read_bytes()

    def run(self, *command: str | Path) -> Outcome:
        """Run a program here."""
        return run(*command, cwd=self.path)

    def must(self, *command: str | Path) -> Outcome:
        """Run a program here that has to succeed."""
        return must(*command, cwd=self.path)
