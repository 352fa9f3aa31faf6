"""How text files change: as diff -u writes it, within limits, from packages that nobody has verified."""

import io
from collections.abc import Sequence
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.build.compare import compare_packages
from spkg.build.text_changes import (
    MAX_CHANGES,
    MAX_SHOWN_LINES,
    MAX_TEXT,
    MAX_TEXTS,
    Omission,
    TextChange,
    replaced_lines,
    text_changes,
)
from spkg.format.commands import End, Record
from spkg.verify.payload import open_package
from tests.judges.programs import must
from tests.support.kit import Draft, file


def package(**files: bytes) -> bytes:
    """Return a package of these files, one behind the other."""
    records: list[Record] = []
    payload = b""
    for name, contents in files.items():
        records.append(file(f"/{name}", contents, at=len(payload)))
        payload += contents
    return Draft(records=(*records, End()), payload=payload, signers=()).encode()


def changes(before: bytes, after: bytes) -> tuple[TextChange, ...]:
    with (
        open_package(io.BufferedReader(io.BytesIO(before))) as one,
        open_package(io.BufferedReader(io.BytesIO(after))) as other,
    ):
        return text_changes(compare_packages(one, other), one[1], other[1])


def change(before: bytes, after: bytes) -> TextChange:
    """Return the difference of the one file of two packages."""
    (found,) = changes(package(f=before), package(f=after))
    return found


def lines(*texts: str) -> bytes:
    return "".join(f"{one}\n" for one in texts).encode()


def patched(before: str, shown: Sequence[str]) -> str:
    """Carry out a unified difference, as its reader would."""
    old = before.split("\n")
    new: list[str] = []
    done = 0
    for line in shown:
        if line.startswith("@@"):
            start, _, count = line.split()[1][1:].partition(",")
            first = int(start) - (count != "0")
            new += old[done:first]
            done = first
        elif line.startswith("+"):
            new.append(line[1:])
        elif line[0] in "- ":
            assert old[done] == line[1:]
            done += 1
            if line.startswith(" "):
                new.append(line[1:])
    return "\n".join([*new, *old[done:]])


def test_changed_lines_are_shown_with_what_is_around_them() -> None:
    before = lines(*"abcdefghijklmnopqrstuvwxyz")
    after = before.replace(b"e\n", b"E\n").replace(b"g\n", b"").replace(b"y\n", b"y\nnew\n")

    assert change(before, after) == TextChange(
        path="/f",
        lines=(
            *("@@ -2,9 +2,8 @@", " b", " c", " d", "-e", "+E", " f", "-g", " h", " i", " j"),
            *("@@ -23,4 +22,5 @@", " w", " x", " y", "+new", " z"),
        ),
        omitted=None,
        cut=False,
    )


def test_a_file_in_one_package_alone_is_shown_whole() -> None:
    added, removed = changes(package(b=b"old\n"), package(a=b"one\ntwo"))

    assert (added.path, added.lines) == (
        "/a",
        ("@@ -0,0 +1,2 @@", "+one", "+two", "\\ No newline at end of file"),
    )
    assert (removed.path, removed.lines) == ("/b", ("@@ -1 +0,0 @@", "-old"))


def test_a_line_break_at_the_end_is_a_difference() -> None:
    assert change(b"a\nb\n", b"a\nb").lines == (
        *("@@ -1,2 +1,2 @@", " a", "-b", "+b", "\\ No newline at end of file"),
    )
    assert change(b"a\n\\", b"a\n").lines == ("@@ -1,2 +1 @@", " a", "-\\", "\\ No newline at end of file")


def test_only_line_feeds_end_lines() -> None:
    assert change(b"a\r\nb\x0bc\x0c\xe2\x80\xa8d\n", b"a\nb\n").lines == (
        *("@@ -1,2 +1,2 @@", "-a\r", "-b\x0bc\x0c\u2028d", "+a", "+b"),
    )


@pytest.mark.parametrize("contents", [b"a\0b\n", b"\xff\n", b"\xc3"], ids=["NUL", "not UTF-8", "cut off"])
def test_a_binary_file_is_not_shown(contents: bytes) -> None:
    expected = TextChange(path="/f", lines=(), omitted=Omission.BINARY, cut=False)

    assert change(b"text\n", contents) == expected
    assert change(contents, b"text\n") == expected


def test_a_file_whose_mode_alone_differs_has_no_lines() -> None:
    before = package(f=b"same\n")
    after = Draft(records=(file("/f", b"same\n", at=1), End()), payload=b"?same\n", signers=()).encode()
    with (
        open_package(io.BufferedReader(io.BytesIO(before))) as one,
        open_package(io.BufferedReader(io.BytesIO(after))) as other,
    ):
        assert compare_packages(one, other).files == ()

    assert change(b"same\n", b"same\n\n").lines == ("@@ -1 +1,2 @@", " same", "+")


def test_what_is_larger_than_the_limits_is_not_read() -> None:
    largest = b"x" * (MAX_TEXT - 1) + b"\n"
    fits, large = changes(package(a=largest, b=largest + b"x"), package(a=b"y\n", b=b"y\n"))
    many = {f"f{number}": bytes([97 + number]) * MAX_TEXT for number in range(MAX_TEXTS // MAX_TEXT + 1)}
    found = changes(package(**many), package())

    assert (fits.omitted, fits.lines[-1]) == (None, "+y")
    assert large == TextChange(path="/b", lines=(), omitted=Omission.LARGE, cut=False)
    assert [one.omitted for one in found] == [*[None] * (MAX_TEXTS // MAX_TEXT), Omission.LARGE]


def test_equal_contents_count_once() -> None:
    contents = b"x" * (MAX_TEXT - 1) + b"\n"
    count = MAX_TEXTS // MAX_TEXT + 1
    shared = tuple(file(f"/{number}", contents) for number in range(count))
    draft = Draft(records=(*shared, End()), payload=contents, signers=())

    assert [one.omitted for one in changes(draft.encode(), package())] == [None] * count


def test_a_long_difference_is_cut() -> None:
    found = change(b"a\n" * MAX_SHOWN_LINES, b"")
    whole = change(b"a\n" * (MAX_SHOWN_LINES - 1), b"")

    assert (len(found.lines), found.cut) == (MAX_SHOWN_LINES, True)
    assert (len(whole.lines), whole.cut) == (MAX_SHOWN_LINES, False)


def test_a_difference_of_too_many_lines_is_shown_as_one_replacement() -> None:
    half = MAX_CHANGES // 2
    before = [f"{number}" for number in range(2 * half + 2)]
    found = [*before]
    found[1 : 2 * half + 1 : 2] = ["x"] * half
    over = [*before]
    over[1 : 2 * half + 2 : 2] = ["x"] * (half + 1)

    assert len(replaced_lines(before, found)) == half
    assert replaced_lines(before, over) == [(1, 2 * half + 2, 1, 2 * half + 2)]


def test_hostile_text_costs_little() -> None:
    """Texts that make other algorithms compare each line with each other."""
    before = b"a\nb\n" * (MAX_TEXT // 4)
    after = b"b\na\na\n" * (MAX_TEXT // 6)
    began = process_time()

    found = change(before, after)

    assert found.cut
    assert process_time() - began < 30  # without limits it takes hours


texts = st.lists(st.sampled_from(["a", "b", "c", "", "a b"]), max_size=14)


@given(texts, texts)
def test_what_is_shown_leads_from_one_text_to_the_other(before: list[str], after: list[str]) -> None:
    found = change(lines("x", *before), lines("y", *after))

    shown = [one for one in found.lines if not one.startswith("\\")]
    assert patched(lines("x", *before).decode(), shown) == lines("y", *after).decode()


@given(texts, texts)
def test_no_shorter_difference_exists(before: list[str], after: list[str]) -> None:
    parts = replaced_lines(before, after)

    shown = sum(end - start + new_end - new for start, end, new, new_end in parts)
    lengths = [[0] * (len(after) + 1) for _ in range(len(before) + 1)]
    for i, one in enumerate(before):
        for j, other in enumerate(after):
            lengths[i + 1][j + 1] = (
                lengths[i][j] + 1 if one == other else max(lengths[i][j + 1], lengths[i + 1][j])
            )
    assert shown == len(before) + len(after) - 2 * lengths[-1][-1]


@pytest.mark.judge("patch")
@pytest.mark.parametrize("seed", range(5))
def test_patch_makes_the_new_file_of_the_old_one(seed: int, tmp_path: Path) -> None:
    before = [f"line {number}" for number in range(60)]
    after = [one for number, one in enumerate(before) if number % 7 != seed]
    after[10 + seed : 10 + seed] = ["more", "lines"]
    old, new = lines(*before), lines(*after)[: -1 if seed % 2 else None]
    (tmp_path / "f").write_bytes(old)
    (tmp_path / "f.diff").write_bytes(lines("--- A/f", "+++ B/f", *change(old, new).lines))

    must("patch", "f", "f.diff", cwd=tmp_path)

    assert (tmp_path / "f").read_bytes() == new
