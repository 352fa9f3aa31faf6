"""Line numbers of TOML documents: each key where an editor has it."""

import tomllib
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.common.printable import toml_string
from spkg.common.toml_lines import TomlLines, TomlPath, field_name

DOCUMENT: Final = """\
# a comment = 1
top = 1
[package]
version = '''
[not] = "a header"
'''  # [nor.this]
"quoted \\u00e4 \\"key\\" \\\\ \\t \\U0001f600" = 1979-05-27 07:32:00
description = \"\"\"
= \\\"\"\"
\"\"\"\"\"
dotted . 'single "quotes"'.deep = [ 1, # one ]
  { x = "}", y = [2,
    3] },
]
[[step]]
extract = "#"
[[step]]
inline = { v = "]" , w = {} }
[step.sub]
k = true
[[step.more]]
[[step.more]]
last = ''
"""
LINES: Final[dict[TomlPath, int]] = {
    ("top",): 2,
    ("package",): 3,
    ("package", "version"): 4,
    ("package", 'quoted ä "key" \\ \t 😀'): 7,
    ("package", "description"): 8,
    ("package", "dotted", 'single "quotes"', "deep"): 11,
    ("package", "dotted", 'single "quotes"', "deep", 0): 11,
    ("package", "dotted", 'single "quotes"', "deep", 1): 12,
    ("package", "dotted", 'single "quotes"', "deep", 1, "y"): 12,
    ("package", "dotted", 'single "quotes"', "deep", 1, "y", 1): 13,
    ("step",): 15,
    ("step", 0): 15,
    ("step", 0, "extract"): 16,
    ("step", 1): 17,
    ("step", 1, "inline"): 18,
    ("step", 1, "inline", "w"): 18,
    ("step", 1, "sub"): 19,
    ("step", 1, "sub", "k"): 20,
    ("step", 1, "more", 0): 21,
    ("step", 1, "more", 1): 22,
    ("step", 1, "more", 1, "last"): 23,
}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_key_and_header_has_its_line(ending: str) -> None:
    tomllib.loads(DOCUMENT)
    lines = TomlLines(DOCUMENT.replace("\n", ending))

    assert {path: lines.line_of(path) for path in LINES} == LINES


@pytest.mark.parametrize(
    ("path", "line"),
    [(("step", 0, "from"), 15), (("package", "role", "vendor"), 3), (("stpe",), None), ((), None)],
)
def test_what_is_missing_has_the_line_of_the_table_around_it(path: TomlPath, line: int | None) -> None:
    assert TomlLines(DOCUMENT).line_of(path) == line


def test_a_document_nested_deeper_than_we_follow_has_no_lines() -> None:
    deep = "a = " + "[" * 5000 + "]" * 5000

    assert TomlLines(deep).line_of(("b",)) is None


def test_a_path_is_shown_as_people_write_it() -> None:
    assert field_name(("step", 3, "from")) == "step[3].from"
    assert field_name(()) == ""


SCALARS: Final = st.one_of(
    st.integers(-9, 9).map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.text("ab#[]{}=\"'\\\n,. ä", max_size=6).map(toml_string),
    st.sampled_from(["1979-05-27T07:32:00Z", "0x_1f".replace("_", ""), "inf", "'#'", "'''\n]\n'''"]),
    st.sampled_from(['"""\n[x]\n"""', '"""a\\""""""', "'''b'''''"]),
)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: "[ # ]\n" + ",\n".join(values) + "]"),
        st.lists(inner, max_size=3).map(
            lambda values: "{" + ", ".join(f"k{index} = {value}" for index, value in enumerate(values)) + "}"
        ),
    ),
    max_leaves=8,
)


@given(st.lists(st.lists(VALUES, max_size=3), max_size=4))
def test_each_key_is_on_the_line_where_the_document_can_be_cut_before_it(tables: list[list[str]]) -> None:
    text, places = "", dict[TomlPath, int]()
    for table, values in enumerate(tables):
        places["t", table] = text.count("\n") + 1
        text += "[[t]]\n"
        for key, value in enumerate(values):
            places["t", table, f"k {key}"] = text.count("\n") + 1
            text += f'"k {key}" = {value}\n# k = 1\n'
    document: Any = tomllib.loads(text)
    assert len(document.get("t", [])) == len(tables)

    lines = TomlLines(text)

    assert {path: lines.line_of(path) for path in places} == places
