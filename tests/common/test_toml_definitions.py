"""Placeholders: filled from outside once, in every string, and an error where they are not understood."""

from typing import Any

import pytest

from spkg.common.toml_document import parse_table
from spkg.errors import FormatError


def filled(text: str, **definitions: str) -> Any:
    return parse_table(text.encode(), "m.toml", definitions=definitions).any("a")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${V}", "6.4"),
        ("v${V}-${_b2}${V}", "v6.4-x6.4"),
        ("$${V}", "${V}"),
        ("$$$${V}", "$${V}"),
        ("$$${V}", "$6.4"),
        ("$V $ 5$", "$V $ 5$"),
        ("${OTHER}", "${V}"),
        ("none", "none"),
    ],
)
def test_a_placeholder_is_filled_once(text: str, expected: str) -> None:
    assert filled(f'a = "{text}"', V="6.4", _b2="x", OTHER="${V}") == expected


def test_strings_are_filled_wherever_they_are_and_keys_are_not() -> None:
    text = 'a = { "${V}" = ["${V}", { k = "${V}", n = 1 }] }'

    assert filled(text, V="x") == {"${V}": ["x", {"k": "x", "n": 1}]}


def test_without_definitions_a_document_is_left_alone() -> None:
    assert parse_table(b'a = "$${V}"', "d.toml").any("a") == "$${V}"


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("${W}", "W is not defined", "define it with --define W=VALUE"),
        ("${}", "expected ${NAME}, got '${}'", 'a dollar sign is written "$$"'),
        ("${1}", "expected ${NAME}, got '${1}'", 'a dollar sign is written "$$"'),
        ("${V", "expected ${NAME}, got '${V'", 'a dollar sign is written "$$"'),
        ("${V{V}}", "expected ${NAME}, got '${V'", 'a dollar sign is written "$$"'),
        ("${BAD}", "the value of BAD can't be written in UTF-8", None),
    ],
)
def test_what_can_not_be_filled_is_located(text: str, problem: str, hint: str | None) -> None:
    with pytest.raises(FormatError) as caught:
        filled(f'[[b]]\n[[b]]\nc = [1, "{text}"]', V="x", BAD="\udcff")

    assert str(caught.value) == f"m.toml:3: b[1].c[1]: {problem}"
    assert caught.value.hint == hint


def test_all_that_is_not_defined_is_told_at_once() -> None:
    with pytest.raises(FormatError) as caught:
        filled('a = "${A}"\nb = "${B}${C}"')

    assert [str(one) for one in (caught.value, *caught.value.others)] == [
        "m.toml:1: a: A is not defined",
        "m.toml:2: b: B is not defined",
    ]


def test_what_is_filled_in_has_a_limit() -> None:
    text = 'a = "' + "${V}" * 17 + '"'

    assert len(filled(text, V="x" * ((1 << 24) // 17))) == (1 << 24) // 17 * 17
    with pytest.raises(FormatError, match=r"^m\.toml:1: a: the values that are filled in are too long$"):
        filled(text, V="x" * ((1 << 24) // 17 + 1))
