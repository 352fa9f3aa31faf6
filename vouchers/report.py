"""What the voucher commands print, for people and for programs."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from spkg.common.documents import Document
from spkg.common.findings import Finding, warning_documents
from spkg.common.printable import amount
from spkg.common.times import write_time
from spkg.errors import FormatError, SpkgError
from spkg.report.certificates import certificate_document
from spkg.report.lines import NO_DATES, Line, Tone, columns
from spkg.report.signer_explanation import signature_explanation_document, signature_explanation_lines
from spkg.trust.certificates import subject_of
from vouchers.model import DeviceId, Extra, Option
from vouchers.signature.algorithms import digest_of_method
from vouchers.signature.option_elements import read_option

if TYPE_CHECKING:  # a command imports only what it prints
    from spkg.trust.explanation import SignatureExplanation
    from vouchers.acs.bulk import BulkReport
    from vouchers.acs.issuer import Issued
    from vouchers.cpe.apply import AppliedVoucher, KnownOptions
    from vouchers.cpe.option_life import OptionState
    from vouchers.signature.shape import VoucherDocument
    from vouchers.signature.verify import TrustedVoucher

__all__ = [
    "ISSUE",
    "RENEW",
    "applied_document",
    "applied_lines",
    "bulk_document",
    "bulk_lines",
    "inspection",
    "inspection_document",
    "inspection_lines",
    "issued_document",
    "issued_lines",
    "options_document",
    "options_lines",
    "revoked_document",
    "verification_document",
    "verification_lines",
]

ISSUE: Final = "spkg.voucher.issue/1"
RENEW: Final = "spkg.voucher.renew/1"
Found = list[tuple[Option | None, FormatError | None]]
"""What each Object holds: an Option, or what is wrong with it."""


def inspection(document: "VoucherDocument") -> Found:
    """Return what the Objects of a voucher contain; nothing is verified."""
    found: Found = []
    for element in document.objects:
        try:
            found.append((read_option(element[0]), None))
        except FormatError as exc:
            found.append((None, exc))
    return found


def inspection_document(document: "VoucherDocument", found: Found) -> Document:
    """Return what ``voucher inspect --json`` prints."""
    return {
        "schema": "spkg.voucher.inspect/1",
        "verified": False,
        "signature": {
            "method": document.method,
            "digests": sorted({*document.digests}),
            "octets": len(document.signature),
            "key_value": document.key_value is not None,
        },
        "certificates": [certificate_document(octets) for octets in document.certificates],
        "options": [None if option is None else option_document(option) for option, _ in found],
        "problems": [str(problem) for _, problem in found if problem is not None],
    }


def inspection_lines(document: "VoucherDocument", found: Found) -> Iterator[Line]:
    """Yield the lines that ``voucher inspect`` prints."""
    digest = digest_of_method(document.method)
    yield Tone.BAD, "not verified"
    yield Tone.HEADING, "signature"
    yield Tone.PLAIN, f"  {document.method}{'' if digest else ', which is not accepted'}"
    for octets in document.certificates:
        one = certificate_document(octets)
        yield Tone.PLAIN, f"  {one.get('subject') or one['problem']}"
        if "issuer" in one:
            yield Tone.PLAIN, f"    by {one['issuer']}, {one['not_before']} to {one['not_after']}"
    for index, (option, problem) in enumerate(found):
        yield Tone.HEADING, f"option {index}"
        if problem is not None:
            yield Tone.BAD, f"  {problem}"
        if option is not None:
            yield from _option_lines(option)


def verification_document(
    trusted: "TrustedVoucher | None",
    error: SpkgError | None,
    findings: Iterable[Finding],
    explained: "SignatureExplanation | None" = None,
) -> Document:
    """Return what ``voucher verify --json`` prints, also of a voucher that is not trusted."""
    if explained is None:
        explanation: Document = {}
    else:
        explanation = {"explain": {"signatures": [signature_explanation_document(explained)]}}
    return {
        "schema": "spkg.voucher.verify/1",
        "verdict": "trusted" if error is None else error.STATUS,
        "dates_checked": None if trusted is None else trusted.dates_checked,
        "signer": None if trusted is None else subject_of(trusted.signer),
        "digest": None if trusted is None else trusted.digest.value,
        "options": [] if trusted is None else [option_document(one) for one in trusted.voucher.options],
        "warnings": warning_documents(findings),
        **explanation,
    }


def verification_lines(
    trusted: "TrustedVoucher | None",
    error: SpkgError | None,
    explained: "SignatureExplanation | None" = None,
) -> Iterator[Line]:
    """Yield the lines that ``voucher verify`` prints.

    Args:
        trusted: The voucher, if its signature is trusted; of any other only the explanation is shown.
        error: What ended it.
        explained: The rules for its signature, if they are wanted.
    """
    if trusted is not None:
        yield Tone.GOOD, f"{subject_of(trusted.signer)}, {trusted.digest.value}: accepted"
        yield Tone.PLAIN, f"  trusted through {subject_of(trusted.path[-1])}"
    elif explained is not None and error is not None:
        who = subject_of(explained.chain[0]) if explained.chain else "an unknown signer"
        yield Tone.BAD, f"{who}: {error.problem}"
    if explained is not None:
        yield from signature_explanation_lines(explained)
    if trusted is None:
        return
    if not trusted.dates_checked:
        yield Tone.BAD, str(NO_DATES)
    for index, option in enumerate(trusted.voucher.options):
        yield Tone.HEADING, f"option {index}"
        yield from _option_lines(option)
    if error is None:
        yield Tone.GOOD, "trusted"


def applied_document(done: "Sequence[AppliedVoucher]") -> Document:
    """Return what ``voucher apply --json`` prints."""
    return {
        "schema": "spkg.voucher.apply/1",
        "status": "applied",
        "vouchers": [
            {
                "file": one.source,
                "signer": subject_of(one.trusted.signer),
                "options": [
                    {"OptionIdent": life.name, "VSerialNum": life.serial, "changed": new}
                    for life, new in one.options
                ],
            }
            for one in done
        ],
    }


def applied_lines(done: "Sequence[AppliedVoucher]", at: datetime) -> Iterator[Line]:
    """Yield the lines that ``voucher apply`` prints."""
    for one in done:
        for life, new in one.options:
            state = life.at(at)
            words = _words(state, at)
            if new:
                yield Tone.GOOD, f"{life.name}: {words}, by voucher {life.serial}"
            else:
                yield Tone.PLAIN, f"{life.name}: {words}, unchanged: this voucher was already applied"
        yield Tone.PLAIN, f"  signed by {subject_of(one.trusted.signer)}"


def options_document(known: "KnownOptions") -> Document:
    """Return what ``voucher options --json`` prints: the OptionStructs of Table 48."""
    return {
        "schema": "spkg.voucher.options/1",
        "at": write_time(known.at),
        "next_change": _moment(known.next_change),
        "options": [
            {
                "OptionName": option.name,
                "VoucherSN": option.voucher_sn,
                "State": option.state,
                "Mode": option.mode,
                "StartDate": _moment(option.start),
                "ExpirationDate": _moment(option.expires),
                "IsTransferable": option.transferable,
                "VSerialNum": option.serial,
                "ended": None if option.ending is None else option.ending.value,
            }
            for option in known.options
        ],
    }


def options_lines(known: "KnownOptions") -> Iterator[Line]:
    """Yield the lines that ``voucher options`` prints."""
    rows = [
        (
            option.name,
            _words(option, known.at),
            "set up" if option.set_up else "",
            "transferable" if option.transferable else "",
            f"voucher {option.serial}" if option.serial else "",
        )
        for option in known.options
    ]
    for line in columns(rows):
        yield Tone.PLAIN, line
    if not rows:
        yield Tone.PLAIN, "no Options"
    if known.next_change is not None:
        yield Tone.PLAIN, f"next change: {write_time(known.next_change)}"


def issued_document(issued: "Issued", output: str, findings: Iterable[Finding]) -> Document:
    """Return what ``voucher issue --json`` prints for one device."""
    return {
        "schema": ISSUE,
        "event": "result",
        "status": "issued",
        "exit": 0,
        "output": output,
        "device": device_document(issued.device),
        "serials": list(issued.serials),
        "warnings": warning_documents(findings),
    }


def revoked_document(issued: "Issued", output: str, findings: Iterable[Finding]) -> Document:
    """Return what ``voucher revoke --json`` prints."""
    found = issued_document(issued, output, findings)
    del found["event"]
    return found | {"schema": "spkg.voucher.revoke/1", "status": "revoked"}


def issued_lines(issued: "Issued", output: str) -> Iterator[Line]:
    """Yield the lines that ``voucher issue`` prints for one device."""
    device, serials = issued.device, ", ".join(map(str, issued.serials))
    options = amount(len(issued.serials), "Option")
    yield Tone.GOOD, f"{output}: {options} for {device.oui} {device.serial_number}, serials {serials}"


def bulk_document(report: "BulkReport", output: str) -> Document:
    """Return the result fields of bulk ``voucher issue --json`` for a list that was read to its end."""
    counts = {"issued": report.issued, "confirmed": report.confirmed, "rejected": report.rejected}
    return {"status": "issued", "exit": 0, "output": output, **counts}


def bulk_lines(report: "BulkReport", output: str, batch: str) -> Iterator[Line]:
    """Yield the lines that bulk ``voucher issue`` prints."""
    yield Tone.GOOD, f"{output}: {amount(report.issued, 'voucher')}, batch {batch}"


def device_document(device: DeviceId) -> Document:
    """Return the identity of a device (Table 63)."""
    return {
        "Manufacturer": device.manufacturer,
        "OUI": device.oui,
        "ProductClass": device.product_class,
        "SerialNumber": device.serial_number,
    }


def option_document(option: Option) -> Document:
    """Return an Option specification (Table 62)."""
    return {
        "VSerialNum": option.serial,
        "DeviceId": device_document(option.device),
        "OptionIdent": option.ident,
        "OptionDesc": option.description,
        "StartDate": _moment(option.start),
        "Duration": option.duration,
        "DurationUnits": None if option.units is None else option.units.value,
        "Mode": option.mode.value,
        "Transferable": option.transferable,
        "extra": _extra(option.extra),
    }


def _option_lines(option: Option) -> Iterator[Line]:
    device = option.device
    rows = [
        ("VSerialNum", option.serial),
        ("device", f"{device.oui} {device.product_class} {device.serial_number} ({device.manufacturer})"),
        ("OptionIdent", option.ident),
        ("OptionDesc", option.description),
        ("Mode", option.mode.value),
    ]
    if option.start is not None:
        rows.append(("StartDate", write_time(option.start)))
    if option.duration is not None:
        rows.append(("Duration", str(option.duration)))
    if option.units is not None:
        rows.append(("DurationUnits", option.units.value))
    if option.transferable:
        rows.append(("Transferable", "1"))
    rows += _extra_rows(option.extra)
    for line in columns(rows):
        yield Tone.PLAIN, f"  {line}"


def _extra_rows(extra: Sequence[Extra], above: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in extra:
        if isinstance(inner, str):
            yield f"{above}{name}", inner
        else:
            yield from _extra_rows(inner, f"{above}{name}.")


def _words(option: "OptionState", at: datetime) -> str:
    """Return the state of an Option in words."""
    if option.enabled:
        return "enabled" if option.expires is None else f"enabled until {write_time(option.expires)}"
    if option.ending is not None and option.ending.value == "provider":
        return "disabled, the provider has changed"
    if option.ending is not None and option.expires is not None:
        return f"disabled, expired at {write_time(option.expires)}"
    if option.mode and option.start is not None and option.start > at:
        return f"disabled until {write_time(option.start)}"
    return "disabled"


def _moment(time: datetime | None) -> str | None:
    return None if time is None else write_time(time)


def _extra(extra: Sequence[Extra]) -> list[Any]:
    return [[name, inner if isinstance(inner, str) else _extra(inner)] for name, inner in extra]
