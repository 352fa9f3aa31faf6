"""``spkg verify``: who signed a package, and whether its payload is what they signed."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from spkg.common.documents import Document
from spkg.common.printable import size
from spkg.common.times import write_time
from spkg.errors import SpkgError
from spkg.report.lines import NO_DATES, Line, Tone, mode_text, range_document
from spkg.trust.certificates import serial_text, subject_of
from spkg.verify.contents import DamagedPayloadError, PayloadReport
from spkg.verify.signatures import SignatureReport, TrustedPackage, UntrustedPackageError

if TYPE_CHECKING:
    from spkg.verify.attestation import TrustedAttestation
    from spkg.verify.explanation import PackageExplanation

__all__ = ["verification_document", "verification_lines"]


def verification_document(
    trusted: TrustedPackage | None,
    report: PayloadReport | None,
    error: SpkgError | None,
    attested: "TrustedAttestation | None" = None,
) -> Document:
    """Return what ``verify --json`` prints, as far as verification got.

    Args:
        trusted: The package, if its signatures are accepted.
        report: What the payload contains, if it was compared.
        error: What ended it.
        attested: Its provenance, if that was wanted and is accepted.
    """
    signatures, report = _found(trusted, report, error)
    return {
        "schema": "spkg.verify/1",
        "verdict": _verdict(trusted) if error is None else error.STATUS,
        "dates_checked": None if trusted is None else trusted.dates_checked,
        "signatures": [_signature(signature) for signature in signatures],
        "attestation": None if attested is None else _attestation(attested),
        "files": [] if report is None else [_file(report, index) for index in range(len(report.files))],
        "uncovered": [] if report is None else [range_document(gap) for gap in report.uncovered],
    }


def _verdict(trusted: TrustedPackage | None) -> str:
    return "trusted" if trusted is not None and trusted.signers else "unsigned"


def verification_lines(
    trusted: TrustedPackage | None,
    report: PayloadReport | None,
    error: SpkgError | None,
    attested: "TrustedAttestation | None" = None,
    explained: "PackageExplanation | None" = None,
) -> Iterator[Line]:
    """Yield what ``verify`` prints; the arguments are those of :func:`verification_document`.

    Args:
        trusted: The package, if its signatures are accepted.
        report: What the payload contains, if it was compared.
        error: What ended it.
        attested: The provenance of the package, if it was verified.
        explained: The rules for the package and its signatures, if they are wanted.
    """
    signatures, report = _found(trusted, report, error)
    if explained is not None:
        from spkg.report.explanation import package_explanation_lines  # noqa: PLC0415 - rarely asked for
        from spkg.report.signer_explanation import signature_explanation_lines  # noqa: PLC0415 - as above

    for signature in signatures:
        who = signature.subject or f"a signer certified by {signature.issuer or 'an unknown issuer'}"
        if signature.signing_time is not None:
            who += f", claimed signing time {write_time(signature.signing_time)}"
        if signature.signer is not None:
            yield Tone.GOOD, f"signature {signature.index}: {who}, {signature.digest}: accepted"
            yield Tone.PLAIN, f"  trusted through {subject_of(signature.signer.path[-1])}"
        else:
            yield Tone.BAD, f"signature {signature.index}: {who}, {signature.digest}: {signature.reason}"
        if explained is not None:
            yield from signature_explanation_lines(explained.signatures[signature.index])
    if explained is not None:
        yield from package_explanation_lines(explained)
    if trusted is not None and not signatures:
        yield Tone.BAD, "no signatures: accepted because of --unsafe-allow-unsigned"
    if trusted is not None and not trusted.dates_checked:
        yield Tone.BAD, str(NO_DATES)
    if attested is not None:
        yield Tone.GOOD, f"attestation: {attested.signer}: accepted"
        yield Tone.PLAIN, f"  trusted through {subject_of(attested.path[-1])}"
        yield Tone.PLAIN, f"  built by {attested.builder}"
    if report is None:
        return
    for file in report.files:
        if file.problem:
            yield Tone.BAD, f"{file.file.record.path}: {file.problem}"
    intact = [file for file in report.files if not file.problem]
    octets = sum(file.file.record.file_length for file in intact)
    signed = trusted is None or bool(trusted.signers)
    what = "match the signed digests" if signed else "match their commands"
    yield Tone.PLAIN, f"files: {len(intact)} of {len(report.files)} {what}, {size(octets)}"
    for gap in report.uncovered:
        yield (
            Tone.BAD,
            f"{gap.length} bytes at 0x{gap.start:08x} of the payload belong to no file: they are not signed",
        )
    if trusted is not None and error is None:
        yield (Tone.GOOD, "trusted") if trusted.signers else (Tone.BAD, "not signed")


def _found(
    trusted: TrustedPackage | None, report: PayloadReport | None, error: SpkgError | None
) -> tuple[Sequence[SignatureReport], PayloadReport | None]:
    """Return the details wherever they are: in the results, or in the error that ended it."""
    signatures: Sequence[SignatureReport] = () if trusted is None else trusted.signatures
    if isinstance(error, UntrustedPackageError):
        signatures = error.signatures
    if isinstance(error, DamagedPayloadError):
        report = error.report
    return signatures, report


def _signature(signature: SignatureReport) -> Document:
    time = signature.signing_time
    return {
        "index": signature.index,
        "subject": signature.subject,
        "issuer": signature.issuer,
        "serial": None if signature.serial is None else serial_text(signature.serial),
        "digest": signature.digest,
        "signing_time": None if time is None else write_time(time),
        "status": "refused" if signature.signer is None else "accepted",
        "reason": signature.reason or None,
    }


def _attestation(attested: "TrustedAttestation") -> Document:
    return {
        "signer": attested.signer,
        "subject": attested.subject,
        "builder": attested.builder,
        "build_type": attested.build_type,
    }


def _file(report: PayloadReport, index: int) -> Document:
    one = report.files[index]
    return {
        "command": one.file.command,
        "path": str(one.file.record.path),
        "length": one.file.record.file_length,
        "mode": mode_text(one.file.mode),
        "sha1": one.sha1.hex(),
        "sha256": None if one.sha256 is None else one.sha256.hex(),
        "status": "damaged" if one.problem else "intact",
        "reason": one.problem or None,
    }
