"""``spkg voucher attach``."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spkg.cli.app import command
from spkg.cli.arguments import check_output, now, read_input, spare_inputs
from spkg.cli.console import print_document, print_lines, warn
from spkg.cli.options import FILE, FORCE, JSON, STRICT, UNFIT, VERIFY_VOUCHER
from spkg.cli.trust import device_policy
from spkg.common.findings import refuse_findings, warning_documents
from spkg.common.printable import amount
from spkg.errors import FormatError, UntrustedError, UsageError
from vouchers.cli.voucher_options import OUT_DIR

if TYPE_CHECKING:
    from cryptography import x509

    from spkg.common.digests import Digest
    from spkg.common.findings import Finding
    from vouchers.acs.issuer import Issued
    from vouchers.acs.two_steps import VoucherRequest
    from vouchers.signature.self_check import VoucherCheck

__all__ = ["attach_voucher"]

LONGEST_SIGNATURE = 1 << 14
"""The longest signature, and the longest line with one, in bytes."""


@command("attach")
@click.argument("request", metavar="REQUEST", type=FILE)
@click.option("--signature", type=FILE, metavar="RAW", help="Attach the raw signature in RAW.")
@click.option("-o", "output", type=FILE, metavar="OUT", help="Write the voucher to OUT.")
@click.option(
    "--signatures",
    type=FILE,
    metavar="FILE",
    help="Attach the signatures in FILE, one a line in base64, in the order of the requests.",
)
@OUT_DIR
@UNFIT
@VERIFY_VOUCHER
@STRICT
@FORCE
@JSON
def attach_voucher(
    request: Path,
    signature: Path | None,
    output: Path | None,
    signatures: Path | None,
    out_dir: Path | None,
    at: datetime | None,
    trust: tuple[Path, ...],
    unsafe_unfit_certificate: bool,
    strict: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Complete vouchers with signatures that were made elsewhere.

    Each voucher is verified before it is written.

    \b
    Example:
      spkg voucher attach request.json --signature signature.bin -o voucher.xml

    See: docs/vouchers.md
    """
    from spkg.report.lines import Tone
    from vouchers.report import issued_lines

    one, many = (signature, output), (signatures, out_dir)
    if (None in one) == (None in many) or any(one) == any(many):
        raise UsageError("expected --signature and -o for one voucher, or --signatures and --out-dir")
    checks = _Checks(
        at=at or now(), trust=trust, strict=strict, unsafe_unfit_certificate=unsafe_unfit_certificate
    )
    if signature is not None and output is not None:
        issued = _one(request, signature, output, checks, force=force)
        count, place, lines = 1, output, issued_lines(issued, str(output))
    else:
        assert signatures is not None  # as checked above
        assert out_dir is not None  # as checked above
        count, place = _many(request, signatures, out_dir, checks), out_dir
        lines = iter([(Tone.GOOD, f"{out_dir}: {amount(count, 'voucher')}")])
    if as_json:
        found = warning_documents(checks.findings)
        schema = "spkg.voucher.attach/1"
        print_document({"schema": schema, "output": str(place), "vouchers": count, "warnings": found})
    else:
        print_lines(lines)


def _one(request: Path, signature: Path, output: Path, checks: "_Checks", *, force: bool) -> "Issued":
    from spkg.common.atomic_output import new_file, write_all
    from vouchers.acs.two_steps import MAX_VOUCHER_REQUEST, VoucherRequest, complete_voucher

    check_output(output, force=force)
    spare_inputs(output, [("REQUEST", request), ("--signature", signature)])
    octets = read_input(request, MAX_VOUCHER_REQUEST)
    if len(octets) <= MAX_VOUCHER_REQUEST and b"\n{" in octets:
        hint = "give the signatures of a batch with --signatures, and --out-dir"
        raise UsageError(f"{request} has several requests, and --signature is for one", hint=hint)
    wanted = VoucherRequest.decode(octets, str(request))
    issued = complete_voucher(wanted, read_input(signature, LONGEST_SIGNATURE))
    checks.look(wanted, issued)
    with new_file(output, force=force) as file:
        write_all(file, issued.octets)
    return issued


class _Checks:
    """What is checked of a completed voucher; of a batch, each signer is looked at once."""

    def __init__(
        self, *, at: datetime, trust: Sequence[Path], strict: bool, unsafe_unfit_certificate: bool
    ) -> None:
        from spkg.trust.policy import VOUCHER_PURPOSES

        self.findings: list[Finding] = []
        """What was warned of."""
        self._at = at
        self._policy = device_policy(trust, purposes=VOUCHER_PURPOSES)
        self._strict = strict
        self._unfit = unsafe_unfit_certificate
        self._seen: set[x509.Certificate] = set()
        self._devices: dict[Digest, VoucherCheck] = {}

    def look(self, request: "VoucherRequest", issued: "Issued") -> None:
        """Look at the signer, and at the voucher as a device would.

        Raises:
            RefusedError: The signer is unfit, warnings refuse, or the device would not trust the voucher.
        """
        if request.certificate not in self._seen:
            self._seen.add(request.certificate)
            self._look_at_signer(request, issued)
        if self._policy is None:
            return
        from vouchers.signature.self_check import VoucherCheck
        from vouchers.signature.verify import Verifier

        if request.digest not in self._devices:
            policy = replace(self._policy, digests=frozenset({request.digest}))
            self._devices[request.digest] = VoucherCheck(Verifier(policy), self._at)
        self._devices[request.digest].check(issued.octets)

    def _look_at_signer(self, request: "VoucherRequest", issued: "Issued") -> None:
        from spkg.trust.certificates import readable_certificates
        from spkg.trust.fitness import chain_findings, check_fitness
        from spkg.trust.policy import VOUCHER_PURPOSES
        from vouchers.signature.shape import read_voucher

        found = check_fitness(
            request.certificate,
            VOUCHER_PURPOSES,
            at=self._at,
            unsafe_unfit_certificate=self._unfit,
            digest=request.digest,
        )
        embedded = [*readable_certificates(read_voucher(issued.octets).certificates)]
        found += chain_findings(
            request.certificate, embedded, self._policy, option="--chain of 'spkg voucher prepare'"
        )
        for finding in found:
            warn(finding)
        self.findings += found
        if self._strict:
            refuse_findings(found)


def _many(request: Path, signatures: Path, directory: Path, checks: _Checks) -> int:
    from io import FileIO

    from spkg.common.atomic_output import bulk_directory, write_all
    from vouchers.acs.voucher_form import VoucherForm

    count = 0
    with bulk_directory(directory) as part, FileIO(part / "vouchers.ndjson", "x") as file:
        for wanted, issued in _completed(request, signatures):
            checks.look(wanted, issued)
            write_all(file, VoucherForm.NDJSON.write(issued))
            count += 1
    return count


def _completed(request: Path, signatures: Path) -> "Iterator[tuple[VoucherRequest, Issued]]":
    """Give the vouchers of a batch, line by line, each with its request."""
    from base64 import b64decode

    from vouchers.acs.two_steps import MAX_VOUCHER_REQUEST, VoucherRequest, complete_voucher

    with request.open("rb") as wanted, signatures.open("rb") as made:
        lines = (
            iter(lambda: wanted.readline(MAX_VOUCHER_REQUEST + 1), b""),
            iter(lambda: made.readline(LONGEST_SIGNATURE), b""),
        )
        for number, (line, signature) in enumerate(zip_longest(*lines, fillvalue=None), start=1):
            if line is None or signature is None:
                what = "signature" if line is None else "request"
                other = "request" if line is None else "signature"
                raise FormatError(f"a {what} without a {other}", source=str(signatures), line=number)
            one = VoucherRequest.decode(line, str(request), number)
            try:
                octets = b64decode(signature.strip(), validate=True)
            except ValueError as exc:
                raise FormatError("not base64", source=str(signatures), line=number) from exc
            try:
                yield one, complete_voucher(one, octets)
            except (FormatError, UntrustedError) as exc:
                exc.source = str(signatures if isinstance(exc, UntrustedError) else request)
                exc.line = number
                raise
