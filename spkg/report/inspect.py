"""``spkg inspect``: everything in a package; nothing is verified."""

from collections.abc import Iterator

from spkg.common.documents import Document
from spkg.common.printable import size
from spkg.common.times import write_time
from spkg.errors import FormatError
from spkg.format.command_text import summary
from spkg.format.commands import PayloadCommand
from spkg.format.package import Command, DamagedCommand, Survey
from spkg.format.ranges import Range, uncovered
from spkg.format.signature_block import SignatureBlock, SignerInfo, readable_name
from spkg.report.certificates import certificate_document
from spkg.report.lines import Line, Tone, columns, range_document
from spkg.trust.certificates import serial_text

__all__ = ["inspection_document", "inspection_lines"]


def inspection_document(survey: Survey) -> Document:
    """Return what ``inspect --json`` prints."""
    header = survey.header
    return {
        "schema": "spkg.inspect/1",
        "verified": False,
        "header": {
            "major": header.major,
            "minor": header.minor,
            "command_list_length": header.command_list_length,
            "payload_length": header.payload_length,
        },
        "commands": [_command(command) for command in survey.commands],
        "behind_end": len(survey.tail),
        "signature_block": None if survey.block is None else _block(survey.block),
        "payload": None if survey.block is None else _payload(survey, survey.block),
        "problems": [_problem(problem) for problem in survey.problems],
    }


def inspection_lines(survey: Survey) -> Iterator[Line]:
    """Yield what ``inspect`` prints."""
    header = survey.header
    yield Tone.BAD, "nothing is verified: this is only what the file claims"
    yield Tone.HEADING, "header"
    yield Tone.PLAIN, f"  format {header.major}.{header.minor}"
    yield Tone.PLAIN, f"  command list of {header.command_list_length} bytes"
    yield Tone.PLAIN, f"  payload of {header.payload_length} bytes"
    yield Tone.HEADING, f"commands: {len(survey.commands)}"
    yield from _table(_command_row(command) for command in survey.commands)
    for command in survey.commands:
        if command.problem is not None:
            yield Tone.BAD, f"  command {command.index} is malformed: {command.problem}"
    if survey.tail:
        yield Tone.PLAIN, f"  {len(survey.tail)} bytes after End, ignored"
    if survey.block is None:
        return
    block = survey.block
    yield Tone.HEADING, f"signature block: {len(block.octets)} bytes at 0x{block.offset:04x}"
    if not block.signers:
        yield Tone.BAD, "  no signatures"
    for index, signer in enumerate(block.signers):
        shown = _signer(index, signer, block)
        who = shown["subject"] or f"a signer certified by {shown['issuer'] or 'an unknown issuer'}"
        yield (
            Tone.PLAIN,
            f"  signature {index}: {who}, serial {shown['serial'] or 'unknown'}, {shown['digest']}",
        )
    for index, certificate in enumerate(_certificates(block)):
        if "problem" in certificate:
            yield Tone.BAD, f"  certificate {index}: {certificate['problem']}"
            continue
        dates = f"{certificate['not_before'][:10]} to {certificate['not_after'][:10]}"
        yield Tone.PLAIN, f"  certificate {index}: {certificate['subject']}, {certificate['key']}, {dates}"
        yield Tone.PLAIN, f"    by {certificate['issuer']}, SHA-256 {certificate['sha256']}"
    payload = _payload(survey, block)
    yield Tone.HEADING, f"payload: {header.payload_length} bytes at 0x{payload['offset']:04x}"
    yield from _table(
        (f"0x{one['offset']:08x}", str(one["length"]), f"{one['path']} (command {one['command']})")
        for one in payload["ranges"]
    )
    for gap in payload["uncovered"]:
        text = f"  {gap['length']} bytes at 0x{gap['offset']:08x} belong to no file: they are not signed"
        yield Tone.BAD, text


def _table(rows: Iterator[tuple[str, ...]]) -> Iterator[Line]:
    for row in columns(rows):
        yield Tone.PLAIN, f"  {row}"


def _command_row(command: Command | DamagedCommand) -> tuple[str, ...]:
    place = (str(command.index), f"0x{command.offset:04x}")
    if isinstance(command, DamagedCommand):
        return *place, str(command.code), command.title, "(malformed)"
    record = command.record
    told = summary(record)
    if isinstance(record, PayloadCommand):
        told += f", {size(record.file_length)}"
    return *place, str(command.code), command.title, told


def _command(command: Command | DamagedCommand) -> Document:
    shown: Document = {
        "index": command.index,
        "offset": command.offset,
        "type": command.code,
        "name": command.title,
        "length": command.length,
        "fields": command.record.show() if isinstance(command, Command) else None,
    }
    if command.problem is not None:
        shown["problem"] = _problem(command.problem)
    return shown


def _problem(problem: FormatError) -> Document:
    return {
        "message": str(problem),
        "offset": problem.offset,
        "field": problem.field,
        "section": problem.section,
    }


def _block(block: SignatureBlock) -> Document:
    return {
        "offset": block.offset,
        "length": len(block.octets),
        "version": block.version,
        "digest_algorithms": [algorithm.name for algorithm in block.digest_algorithms],
        "signers": [_signer(index, signer, block) for index, signer in enumerate(block.signers)],
        "certificates": _certificates(block),
        "revocation_lists": len(block.crl_octets),
    }


def _signer(index: int, signer: SignerInfo, block: SignatureBlock) -> Document:
    time = signer.signing_time
    return {
        "index": index,
        "subject": block.subject_of(signer),
        "issuer": None if signer.issuer is None else readable_name(signer.issuer),
        "serial": None if signer.serial is None else serial_text(signer.serial),
        "digest": signer.digest_algorithm.name,
        "signature_algorithm": signer.signature_algorithm.name,
        "authenticated_attributes": None
        if signer.attributes is None
        else [attribute.oid for attribute in signer.attributes],
        "signing_time": None if time is None else write_time(time),
    }


def _certificates(block: SignatureBlock) -> list[Document]:
    return [certificate_document(octets) for octets in block.certificates]


def _payload(survey: Survey, block: SignatureBlock) -> Document:
    commands = [command for command in survey.commands if isinstance(command, Command)]
    files = [(one, one.record) for one in commands if isinstance(one.record, PayloadCommand)]
    inside = [(one, record) for one, record in files if one.problem is None]
    ranges = [Range(record.file_offset, record.file_length) for _, record in inside]
    return {
        "offset": len(survey.signed) + len(block.octets),
        "length": survey.header.payload_length,
        "ranges": [
            {
                "command": one.index,
                "path": str(record.path),
                "offset": record.file_offset,
                "length": record.file_length,
            }
            for one, record in files
        ],
        "uncovered": [range_document(gap) for gap in uncovered(ranges, survey.header.payload_length)],
    }
