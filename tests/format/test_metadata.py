"""Metadata: one form on the wire, and an unknown command in any other."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.format.command_text import summary
from spkg.format.commands import End, Metadata, Record, UnknownCommand
from tests.support.commands import run
from tests.support.kit import Draft, file, read

MARK = b"SPKG-T01"
texts = st.text(st.characters(codec="utf-8"), max_size=8)


def found(value: bytes) -> Record:
    """Return the record that is read from a command 9258 of this value, which comes back whatever it is."""
    octets = Draft(records=(UnknownCommand(number=9258, value=value), End()), signers=()).encode()
    package = read(octets)
    assert octets.startswith(package.encode())
    return package.records[0]


@given(st.dictionaries(texts, texts, max_size=5))
def test_any_strings_come_back(entries: dict[str, str]) -> None:
    record = Metadata(entries=tuple(sorted(entries.items())))

    assert found(record.encode()) == record
    assert json.loads(record.encode().removeprefix(MARK)) == entries


def test_text_is_written_as_utf_8_and_in_the_order_of_its_octets() -> None:
    record = Metadata(entries=(("Z", "1"), ("a", "ü☎"), ("ä", '"\n')))

    assert record.encode() == MARK + '{"Z":"1","a":"ü☎","ä":"\\"\\n"}'.encode()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{",
        b"[]",
        b'"a"',
        b'{"n":1}',
        b'{"n":null}',
        b'{"n":{"m":""}}',
        b'{"a": ""}',
        b'{"a":""} ',
        b'{"b":"","a":""}',
        b'{"a":"1","a":"2"}',
        b'{"a":"\\u00e4"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\/"}',
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 9000,
        b'{"a":"' + b"x" * (16384 - 7) + b'"}',
    ],
    ids=lambda octets: repr(octets[:20]),
)
def test_another_form_is_an_unknown_command(octets: bytes) -> None:
    assert found(MARK + octets) == UnknownCommand(number=9258, value=MARK + octets)


@pytest.mark.parametrize("value", [b"", b"SPKG-T0", b"SPKG-T02{}", b"{}"])
def test_without_its_mark_it_is_somebody_elses(value: bytes) -> None:
    assert found(value) == UnknownCommand(number=9258, value=value)


def test_metadata_may_be_as_long_as_its_limit() -> None:
    record = Metadata(entries=(("a", "x" * (16384 - 8)),))

    assert found(record.encode()) == record


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ((("b", ""), ("a", "")), "the keys must be unique and sorted"),
        ((("a", ""), ("a", "")), "the keys must be unique and sorted"),
        ((("a", "x" * (16384 - 7)),), "the metadata has 16385 bytes, the limit is 16384"),
    ],
)
def test_what_would_not_be_read_is_not_written(entries: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}$"):
        Metadata(entries=entries)


def test_metadata_is_shown_as_it_may_be_written() -> None:
    record = Metadata(entries=(("a b", "\n\u202e"), ("build", "1042")))

    assert summary(record) == '"a b" = "\\n\\u202e", build = "1042"'


def test_inspect_and_diff_show_metadata(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for path, build in ((before, "1"), (after, "2")):
        metadata = Metadata(entries=(("build", build),))
        path.write_bytes(Draft(records=(metadata, file("/bin/app"), End())).encode())

    document = json.loads(run("inspect", before, "--json").stdout)
    compared = json.loads(run("diff", before, after, "--json").stdout)

    assert document["commands"][0]["fields"] == {"mark": "SPKG-T01", "entries": {"build": "1"}}
    assert compared["commands"] == [{"name": "Metadata", "before": 'build = "1"', "after": 'build = "2"'}]
