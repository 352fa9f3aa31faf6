"""What several voucher commands share."""

import getpass
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from spkg.cli.arguments import about, now, package_source, read_input
from spkg.cli.console import hint, warn
from spkg.cli.trust import read_trust
from spkg.common.findings import Finding, refuse_findings
from spkg.common.printable import printable
from spkg.errors import FormatError, UsageError

if TYPE_CHECKING:
    from spkg.cli.trust import TrustOptions
    from spkg.common.digests import Digest
    from spkg.device import Device
    from vouchers.acs.issuer import Issued
    from vouchers.acs.ledger import Ledger
    from vouchers.acs.templates import Template
    from vouchers.model import DeviceId
    from vouchers.signature.self_check import VoucherCheck
    from vouchers.signature.sign import VoucherSigner
    from vouchers.signature.verify import Verifier

__all__ = [
    "VOUCHER_DIGESTS",
    "check_batch",
    "existing_ledger",
    "issue_findings",
    "issuing",
    "list_findings",
    "login_name",
    "new_batch",
    "open_ledger",
    "read_verifier",
    "read_voucher_file",
    "read_voucher_files",
    "read_voucher_trust",
    "signing_checks",
    "tell_findings",
    "this_device",
]

VOUCHER_DIGESTS: Final = "sha256"
"""The digests of vouchers that are accepted unless others are asked for."""


def read_verifier(**trust: Any) -> "tuple[Verifier, datetime | None]":
    """Return a verifier of vouchers with the policy of the trust options, and the time that counts."""
    from vouchers.signature.verify import Verifier

    options = read_voucher_trust(**trust)
    return Verifier(options.policy), options.time


def read_voucher_trust(**trust: Any) -> "TrustOptions":
    """Return the policy of the trust options, and the time that counts."""
    from spkg.trust.policy import VOUCHER_PURPOSES

    return read_trust(**trust, default_purposes=VOUCHER_PURPOSES, default_digests=VOUCHER_DIGESTS)


def read_voucher_file(name: Path) -> bytes:
    """Return the XML of a voucher, which may be in base64; ``-`` is standard input."""
    from vouchers.signature.shape import MAX_FILE, unwrap

    with about(name):
        return unwrap(read_input(name, MAX_FILE))


def read_voucher_files(name: Path) -> "Iterator[tuple[str, bytes]]":
    """Yield the source of each voucher in a file or directory, in any form that issue writes, and its XML."""
    from vouchers.signature.voucher_files import open_vouchers, read_vouchers

    source = package_source(name)
    if isinstance(source, Path):
        yield from open_vouchers(source)
    else:
        with source as file:
            yield from read_vouchers(file, str(name))


def this_device(file: Path) -> "Device":
    """Return a device whose file states its identity."""
    from spkg.device import load_device
    from vouchers.cpe.identity import identity_of

    with about(file):
        device = load_device(file)
        identity_of(device)
    return device


@contextmanager
def open_ledger(url: str, findings: list[Finding], *, create: bool) -> "Iterator[Ledger]":
    """Open a ledger, and add a warning if it is new: a serial number must not be issued twice."""
    from vouchers.acs.ledger import Ledger

    with Ledger(url, now, create=create, actor=login_name()) as opened:
        if opened.created:
            found = Finding(
                code="new-ledger", message="the ledger is new: use one ledger per signing key, and back it up"
            )
            findings.append(found)
            warn(found)
        yield opened


def issue_findings(templates: "Iterable[Template]", serial: int | None) -> list[Finding]:
    """Return what may be wrong with vouchers that are to be issued."""
    found: list[Finding] = []
    for template in templates:
        if template.is_over(now()):
            problem = (
                f"the Option {template.ident!r} has already ended: every device will refuse this voucher"
            )
            found.append(Finding(code="already-ended", message=problem))
    if serial is not None:
        problem = f"nothing remembers the serial number {serial}: a second voucher with it would be refused"
        found.append(Finding(code="serial-not-remembered", message=problem))
    return found


def list_findings(devices: Path | None) -> list[Finding]:
    """Return what may be wrong with a list of devices, which is read once more for that if it is a file."""
    from vouchers.acs.device_list import read_devices
    from vouchers.acs.list_warnings import list_warnings

    if devices is None or not devices.is_file():
        return []
    try:
        with closing(read_devices(devices)) as listed:
            return [*list_warnings(listed)]
    except (FormatError, OSError):  # the run ends with that, where it reads the list
        return []


@contextmanager
def issuing(
    device: "DeviceId",
    templates: "tuple[Template, ...]",
    signer: "VoucherSigner",
    ledger: "AbstractContextManager[Ledger] | None",
    serial: int | None,
    batch: str | None,
) -> "Iterator[Issued]":
    """Sign a voucher for one device; it counts as issued once the block succeeds."""
    from vouchers.acs.issuer import VoucherIssuer, sign_numbered

    if ledger is None:
        assert serial is not None  # as the caller has checked
        yield sign_numbered(device, templates, serial, signer)
        return
    with ledger as opened, VoucherIssuer(opened, signer).issuing(device, templates, batch) as issued:
        yield issued


def signing_checks(
    key: dict[str, Any],
    digest: "Digest",
    trust: tuple[Path, ...],
    at: datetime | None,
    *,
    unsafe_unfit_certificate: bool,
    on_workers: bool = False,
) -> "tuple[VoucherSigner, VoucherCheck | None, list[Finding]]":
    """Return what signs vouchers, what each has to pass, and what may be wrong with the certificate."""
    from spkg.cli.arguments import key_inputs
    from spkg.cli.trust import device_policy
    from spkg.trust.fitness import chain_findings, check_fitness
    from spkg.trust.keys import load_signatory
    from spkg.trust.policy import VOUCHER_PURPOSES
    from vouchers.cli.worker_key import signatory_of_workers
    from vouchers.signature.self_check import VoucherCheck
    from vouchers.signature.sign import VoucherSigner
    from vouchers.signature.verify import Verifier

    signatory = signatory_of_workers(**key) if on_workers else load_signatory(*key_inputs(**key))
    found = check_fitness(
        signatory.certificate,
        VOUCHER_PURPOSES,
        at=at or now(),
        unsafe_unfit_certificate=unsafe_unfit_certificate,
        digest=digest,
    )
    policy = device_policy(trust, purposes=VOUCHER_PURPOSES, digests=frozenset({digest}))
    found += chain_findings(signatory.certificate, signatory.chain, policy)
    check = None if policy is None else VoucherCheck(Verifier(policy), at or now())
    return VoucherSigner(signatory, digest), check, found


def tell_findings(findings: "Iterable[Finding]", *, strict: bool) -> None:
    """Warn of what may be wrong, and refuse it where that is asked for."""
    some = [*findings]
    for finding in some:
        warn(finding)
    if strict:
        refuse_findings(some)


def check_batch(name: str | None) -> None:
    """Make sure that a batch has a name that the ledger can keep."""
    from vouchers.acs.ledger_tables import MAX_BATCH

    if name is not None and not (0 < len(name) <= MAX_BATCH and name.isprintable()):
        raise UsageError(f"--batch must have 1 to {MAX_BATCH} printable characters")


def existing_ledger(url: str, actor: str | None = None) -> "Ledger":
    """Open a ledger that must exist."""
    from vouchers.acs.ledger import Ledger

    return Ledger(url, now, create=False, actor=login_name() if actor is None else actor)


def login_name() -> str:
    """Return who runs this, for the journal of a ledger."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container whose user has no name
        return "unknown"
    return printable(name)[:128]


def new_batch() -> str:
    """Return a name for a batch that was given none."""
    name = f"{now():%Y%m%dT%H%M%SZ}-{token_hex(4)}"
    hint(f"run again with --batch {name} to complete this if it is interrupted")
    return name
