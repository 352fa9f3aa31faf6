"""The key options of a command whose key is on other machines: what a worker of a cluster does with them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from spkg.common.findings import Finding
from spkg.errors import UsageError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from spkg.trust.signers import Signatory, Signer

__all__ = ["WorkerKey", "cluster_findings", "signatory_of_workers"]


@dataclass(frozen=True, kw_only=True)
class WorkerKey:
    """Where a worker finds its key, and what unlocks it: names of files and variables of its own machine."""

    key: Path | str
    key_password_env: str | None = None
    key_password_file: Path | None = None

    def __call__(self, certificate: "Certificate") -> "Signer":
        """Return the key, in the process of a worker; nobody is asked for a passphrase there."""
        from spkg.cli.arguments import key_inputs
        from spkg.trust.keys import load_signer

        key, _, _, access = key_inputs(
            key=self.key,
            cert=None,
            chain=None,
            key_password_env=self.key_password_env,
            key_password_file=self.key_password_file,
        )
        return load_signer(key, certificate, replace(access, ask=_nobody))


def _nobody(_what: str) -> None:
    """Ask nobody."""


def signatory_of_workers(
    *,
    key: Path | str | None,
    cert: Path | None,
    chain: Path | None,
    key_password_env: str | None,
    key_password_file: Path | None,
) -> "Signatory":
    """Return what signs on workers, each with the key that these options name on its own machine."""
    from spkg.trust.key_elsewhere import signatory_elsewhere

    if key is None or cert is None:
        hint = "the key stays on the workers; only its certificate is read here"
        raise UsageError("--cluster needs --key, as the workers have it, and --cert", hint=hint)
    opener = WorkerKey(key=key, key_password_env=key_password_env, key_password_file=key_password_file)
    return signatory_elsewhere(opener, cert, chain)


def cluster_findings(address: str) -> list[Finding]:
    """Return what may be wrong with the address of a scheduler."""
    protocol, _, host = address.rpartition("://")
    if protocol in {"tls", "inproc"} or host.startswith(("127.", "localhost:", "[::1]:")):
        return []
    problem = f"{address}: without TLS, others who reach the scheduler can sign with the keys of its workers"
    return [Finding(code="unprotected-cluster", message=problem)]
