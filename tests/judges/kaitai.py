"""The reader that Kaitai Struct makes of docs/spkg.ksy, and what both readers find in a package."""

import fcntl
import importlib.util
import os
import re
import shutil
import tempfile
from enum import Enum
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, Final

from kaitaistruct import KaitaiStruct, KaitaiStructError

from spkg.format.commands import (
    METADATA_MARK,
    RECORDS,
    VENDOR_TYPES,
    Layout,
    Metadata,
    PayloadCommand,
    Record,
    RequiredAttributes,
    Role,
    UnknownCommand,
)
from spkg.format.entities import VENDOR_MARK
from spkg.format.fields import UNSAFE, Located
from spkg.format.package import Command
from spkg.format.paths import RootPath
from spkg.verify.payload import open_package
from tests.judges.programs import missing, must, require, run
from tests.support.kit import ROOT

__all__ = [
    "REFUSALS",
    "RESERVED",
    "View",
    "compile_reader",
    "name_of",
    "our_view",
    "reader_of_2004",
    "their_view",
]

View = dict[str, object]

REFUSALS: Final = (KaitaiStructError, UnicodeDecodeError)
"""How a Kaitai reader says that its input is malformed."""
DESCRIPTION: Final = ROOT / "docs" / "spkg.ksy"
COMPILER: Final = ROOT / "tests" / "kaitai"
CACHE: Final = ROOT / ".cache" / "kaitai"
RESERVED: Final = frozenset({23, 24})
"""Types with a number and without a meaning (Table 68)."""
RENAMED: Final = {"hash": "file_hash", "role": "role_code", "class_": "attribute_class", "value": "octets"}
"""Our fields that the description calls something else."""
EXTENSIONS: Final = (
    (r"^ +'command_type::(strong_digests|file_modes|metadata)': \w+\n", ""),
    (r"^      value_mark:\n(        .*\n)+", ""),
    (r"^      is_foreign:\n(        .*\n)+", "      is_foreign:\n        value: 'false'\n"),
    (r"^    925[678]:\n(      .*\n)+", ""),
    (r"^  (strong_digests|file_modes|metadata)_value:\n(    .*\n)+", ""),
)
"""What the description has beyond the text of 2004, and what stands there without it."""
OTHER_NAMES: Final = {"End": "end_of_list", "Minimum Volatile Storage Size": "minimum_volatile_storage"}
"""Our titles, those of Table 68, for which it has another name."""


def reader_of_2004(folder: Path) -> Any:
    """Return the reader of a description that has Table 68 alone: all that we added is unknown to it."""
    text = DESCRIPTION.read_text()
    for pattern, new in EXTENSIONS:
        text, count = re.subn(pattern, new, text, flags=re.MULTILINE)
        assert count, pattern
    (folder / "spkg.ksy").write_text(text)
    return compile_reader(folder, folder / "spkg.ksy")


def compile_reader(folder: Path, description: Path = DESCRIPTION) -> Any:
    """Return the reader of a description, as the class that the compiler wrote into *folder*."""
    require("node", "npm")
    settings = {"NODE_PATH": str(_installed() / "node_modules")}
    must("node", COMPILER / "compile.cjs", description, folder, cwd=folder, settings=settings)
    # The module is called as our package is, so it is loaded under another name.
    spec = importlib.util.spec_from_file_location("spkg_by_kaitai", folder / "spkg.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Spkg


def _installed() -> Path:
    """Return the folder with the locked compiler, from the npm registry where it is not there yet."""
    locked = (COMPILER / "package-lock.json").read_bytes()
    CACHE.parent.mkdir(exist_ok=True)
    with (CACHE.parent / "kaitai.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # the tests run in several processes
        there = CACHE / "package-lock.json"
        if not there.exists() or there.read_bytes() != locked:
            shutil.rmtree(CACHE, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=CACHE.parent) as temporary:
                fresh = Path(temporary) / "kaitai"
                _install(fresh)
                fresh.rename(CACHE)
    return CACHE


def _install(folder: Path) -> None:
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(COMPILER / name, folder)
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
    outcome = run("npm", "ci", *options, cwd=folder, settings=os.environ)
    if outcome.status:
        reason = next((line for line in outcome.stderr.splitlines() if line.startswith("npm error")), "")
        missing(f"the Kaitai compiler can't be had from the npm registry ({reason})")


def their_view(reader: Any, octets: bytes) -> View:
    """Return all that the Kaitai reader finds in a package."""
    parsed = reader.from_bytes(octets)
    return {
        "header": _public(parsed.header),
        "commands": [_their_command(one) for one in getattr(parsed.command_list, "commands", None) or ()],
        "tail": parsed.command_list.tail,
        "signed_octets": parsed.signed_octets,
        "signature_block": parsed.signature_block.octets,
        "ofs_payload": parsed.ofs_payload,
        "payload": parsed.payload,
    }


def _their_command(command: Any) -> View:
    known = isinstance(command.command_type, Enum) and command.type_code not in RESERVED
    return {
        "type_code": command.type_code,
        "command_type": command.command_type.name if known and not command.is_foreign else None,
        "length": command.length,
        "is_vendor_specific": command.is_vendor_specific,
        "is_foreign": command.is_foreign,
        "value_octets": command.value_octets,
        "value": _public(command.value),
    }


def _public(parsed: KaitaiStruct) -> View:
    """Return every field and every instance of a structure, asking for those that are read when asked for."""
    fields = [name for name in vars(parsed) if not name.startswith("_")]
    instances = [name for name, kind in vars(type(parsed)).items() if isinstance(kind, property)]
    return {name: _plain(getattr(parsed, name)) for name in [*fields, *instances]}


def our_view(octets: bytes) -> View:
    """Return the same of our reader, in the words of the description.

    Raises:
        FormatError: It refuses the package.
    """
    stream: BufferedReader = BufferedReader(BytesIO(octets))
    with open_package(stream) as (package, payload):
        payload.finish()
    contents = octets[package.payload_offset :]
    return {
        "header": {
            "preamble": octets[:8],
            "major_version": package.header.major,
            "minor_version": package.header.minor,
            "command_list_length": package.header.command_list_length,
            "payload_length": package.header.payload_length,
        },
        "commands": [_our_command(command, contents) for command in package.commands],
        "tail": package.tail,
        "signed_octets": package.signed,
        "signature_block": package.block.octets,
        "ofs_payload": package.payload_offset,
        "payload": contents,
    }


def _our_command(command: Command, payload: bytes) -> View:
    record = command.record
    # The description does not look into JSON: for us, metadata in another form is an unknown command.
    odd = record.code == Metadata.CODE and record.encode().startswith(METADATA_MARK)
    unknown = isinstance(record, UnknownCommand) and not odd
    value = _our_value(record, payload)
    if odd:
        value = {"mark": METADATA_MARK, "entries": record.encode().removeprefix(METADATA_MARK)}
    return {
        "type_code": command.code,
        "command_type": None if unknown else "metadata" if odd else name_of(type(record)),
        "length": command.length,
        "is_vendor_specific": command.code in VENDOR_TYPES,
        "is_foreign": unknown and command.code in RECORDS,
        "value_octets": record.encode(),
        "value": value,
    }


def name_of(record: type[Record]) -> str:
    """Return what the description calls a type of ours."""
    return OTHER_NAMES.get(record.TITLE, record.TITLE.lower().replace(" ", "_").replace("-", "_"))


def _our_value(record: Record, payload: bytes) -> View:
    codecs = record.codecs()
    located = [name for name, codec in codecs.items() if isinstance(codec, Located)]
    fields = {RENAMED.get(name, name): _plain(getattr(record, name)) for name in codecs}
    position = len_fixed = sum(codec.size for codec in codecs.values())
    layout: Layout | None = getattr(record, "layout", None)
    for index, name in enumerate(located):
        value = getattr(record, name)
        length = len(value.octets if isinstance(value, RootPath) else value)
        fields[f"{name}_offset"] = position if layout is None else layout.offsets[index]
        fields[f"{name}_length"] = length
        position += length
    match record:
        case PayloadCommand(file_offset=start, file_length=length):
            fields["file_contents"] = payload[start : start + length]
        case Role(role=number):
            fields["role"] = number
            fields |= _vendor(number)
        case RequiredAttributes(defining_entity=number):
            fields |= _vendor(number)
        case _:
            pass
    if located:
        fields["len_fixed"] = len_fixed
        flags: int = vars(record)["flags"]
        fields["is_unsafe"] = bool(flags & UNSAFE)
    return fields


def _vendor(number: int) -> View:
    of_vendor = number & VENDOR_MARK == VENDOR_MARK
    return {"is_vendor_specific": of_vendor, "oui": number & ~VENDOR_MARK if of_vendor else None}


def _plain(value: object) -> object:
    """Return a value in the form that both readers can give."""
    match value:
        case RootPath():
            return str(value)
        case Enum():
            return value.value
        case tuple():
            return list(value)
        case _:
            return value
