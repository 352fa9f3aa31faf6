"""``spkg voucher attach``."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spkg.cli.app import command
from spkg.cli.arguments import check_output, read_input, spare_inputs
from spkg.cli.console import print_lines, warn
from spkg.cli.options import FILE, FORCE, STRICT
from spkg.common.findings import Finding, refuse_findings
from spkg.common.printable import amount
from spkg.errors import FormatError, UntrustedError, UsageError

if TYPE_CHECKING:
    from cryptography import x509

    from vouchers.acs.issuer import Issued
    from vouchers.acs.two_steps import VoucherRequest

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
@click.option("--out-dir", type=FILE, metavar="DIR", help="Write vouchers into DIR, a new directory.")
@STRICT
@FORCE
def attach_voucher(
    request: Path,
    signature: Path | None,
    output: Path | None,
    signatures: Path | None,
    out_dir: Path | None,
    strict: bool,
    force: bool,
) -> None:
    """Complete vouchers with signatures that were made elsewhere.

    Each voucher is verified before it is written.

    \b
    Example:
      spkg voucher attach request.json --signature signature.bin -o voucher.xml

    See: docs/vouchers.md
    """
    one, many = (signature, output), (signatures, out_dir)
    if (None in one) == (None in many) or any(one) == any(many):
        raise UsageError("expected --signature and -o for one voucher, or --signatures and --out-dir")
    if signature is not None and output is not None:
        _one(request, signature, output, strict=strict, force=force)
    elif signatures is not None and out_dir is not None:
        _many(request, signatures, out_dir, strict=strict)


def _one(request: Path, signature: Path, output: Path, *, strict: bool, force: bool) -> None:
    from spkg.common.atomic_output import new_file, write_all
    from vouchers.acs.two_steps import MAX_VOUCHER_REQUEST, VoucherRequest, complete_voucher
    from vouchers.report import issued_lines

    check_output(output, force=force)
    spare_inputs(output, [("REQUEST", request), ("--signature", signature)])
    wanted = VoucherRequest.decode(read_input(request, MAX_VOUCHER_REQUEST), str(request))
    issued = complete_voucher(wanted, read_input(signature, LONGEST_SIGNATURE))
    _ChainWarnings(strict=strict).look(wanted, issued)
    with new_file(output, force=force) as file:
        write_all(file, issued.octets)
    print_lines(issued_lines(issued, str(output)))


class _ChainWarnings:
    """Warns of a missing issuer, once for each signer: a batch has many vouchers, and few signers."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._seen: set[x509.Certificate] = set()

    def look(self, request: "VoucherRequest", issued: "Issued") -> None:
        """Look at the certificates in a voucher that was completed.

        Raises:
            RefusedError: One is missing, and warnings refuse.
        """
        from spkg.trust.certificates import readable_certificates
        from spkg.trust.fitness import chain_findings
        from vouchers.signature.shape import read_voucher

        if request.certificate in self._seen:
            return
        self._seen.add(request.certificate)
        embedded = [*readable_certificates(read_voucher(issued.octets).certificates)]
        found: list[Finding] = chain_findings(
            request.certificate, embedded, option="--chain of 'spkg voucher prepare'"
        )
        for finding in found:
            warn(finding)
        if self._strict:
            refuse_findings(found)


def _many(request: Path, signatures: Path, directory: Path, *, strict: bool) -> None:
    from io import FileIO

    from spkg.common.atomic_output import bulk_directory, write_all
    from spkg.report.lines import Tone
    from vouchers.acs.bulk import VoucherForm

    count = 0
    chains = _ChainWarnings(strict=strict)
    with bulk_directory(directory) as part, FileIO(part / "vouchers.ndjson", "x") as file:
        for wanted, issued in _completed(request, signatures):
            chains.look(wanted, issued)
            write_all(file, VoucherForm.NDJSON.write(issued))
            count += 1
    print_lines([(Tone.GOOD, f"{directory}: {amount(count, 'voucher')}")])


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
                yield one, complete_voucher(one, octets)
            except ValueError as exc:
                raise FormatError("not base64", source=str(signatures), line=number) from exc
            except UntrustedError as exc:
                raise UntrustedError(exc.problem, source=str(signatures), line=number) from exc
