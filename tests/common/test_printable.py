"""Text for people and for TOML: nothing invisible gets through, and nothing is lost."""

import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spkg.common.printable import amount, is_hidden, printable, size, toml_string

hidden = st.characters().filter(is_hidden)
visible = st.characters(exclude_categories=[]).filter(lambda char: not is_hidden(char))
anything = st.text(st.one_of(st.characters(exclude_categories=[]), hidden))


@pytest.mark.parametrize(
    "char",
    [*"\x00\n\x7f\u00a0\u00ad\u034f\u115f\u200b\u202e\u2028\u2800\u3000\u3164\ufe0f\ufeff", "\U000e0100"],
)
def test_what_shows_nothing_or_seems_to_be_a_space_is_hidden(char: str) -> None:
    assert is_hidden(char)


def test_what_shows_something_and_a_space_are_not_hidden() -> None:
    assert not any(map(is_hidden, ' aZ~"\\üß東€é\u0301☃'))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("/etc/motd", "/etc/motd"),
        ("Zürich, 東京 €", "Zürich, 東京 €"),
        ("a\\b", "a\\b"),
        ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x00\x7f\x85\x9b", r"\x00\x7f\x85\x9b"),
        ("gnp.\u202eexe", r"gnp.\u202eexe"),
        ("zero\u200bwidth\u200d\ufeff", r"zero\u200bwidth\u200d\ufeff"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("private\ue000\U0010fffd", r"private\ue000\U0010fffd"),
        ("not UTF-8: \udc80\udcff", r"not UTF-8: \x80\xff"),
        ("half: \ud800 \udc7f", r"half: \ud800 \udc7f"),
    ],
)
def test_only_what_is_hidden_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(anything)
@example("\u2028\x1b\udc80")
def test_what_is_printable_has_nothing_hidden_and_no_second_line(text: str) -> None:
    shown = printable(text)

    assert not [char for char in shown if is_hidden(char)]
    assert len(shown.splitlines()) <= 1


@given(st.text(visible))
def test_what_is_visible_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(anything)
def test_every_hidden_character_is_escaped_by_itself(text: str) -> None:
    assert printable(text) == "".join(map(printable, text))


@given(hidden.filter(lambda char: not "\udc80" <= char <= "\udcff"))
def test_an_escape_says_which_character_it_stands_for(char: str) -> None:
    assert printable(char).encode("ascii").decode("unicode_escape") == char


def test_one_thing_is_told_in_the_singular() -> None:
    assert [amount(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert [amount(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (2, "2 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1024, "1023.0 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        ((1 << 30) - 1, "1.0 GiB"),
        (1 << 20, "1.0 MiB"),
        (16 << 20, "16.0 MiB"),
        (1 << 30, "1.0 GiB"),
        ((1 << 32) - 1, "4.0 GiB"),
        (1 << 40, "1024.0 GiB"),
    ],
)
def test_a_size_is_told_in_the_largest_unit_that_it_fills(octets: int, shown: str) -> None:
    assert size(octets) == shown


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", '""'),
        ("/etc/motd", '"/etc/motd"'),
        ('say "hi" \\ there', r'"say \"hi\" \\ there"'),
        ("one\ntwo\x00\x1b\x7f", r'"one\ntwo\u0000\u001b\u007f"'),
        ("東京\u202e\U0010fffd", r'"東京\u202e\U0010fffd"'),
    ],
)
def test_a_toml_string_escapes_what_is_hidden_and_what_toml_reserves(text: str, written: str) -> None:
    assert toml_string(text) == written


@given(st.text(st.characters(codec="utf-8")))
@example('"\\\\"\r\n\x7f')
def test_a_toml_string_comes_back_as_it_was(text: str) -> None:
    written = toml_string(text)

    assert tomllib.loads(f"key = {written}\nnext = 1") == {"key": text, "next": 1}
    assert printable(written) == written
