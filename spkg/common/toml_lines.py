"""Where each key of a TOML document is: the line numbers that tomllib does not keep.

The text has been parsed before, so it is known to be TOML: this only finds its keys and headers again, and
skips everything else.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

__all__ = ["TomlLines", "TomlPath", "field_name"]

TomlPath = tuple[str | int, ...]
"""The way to a value: keys, and the indexes of array elements."""

KEY_PART: Final = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
"""One part of a dotted key."""
STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})' r"|'''.*?'''(?:'{0,2})" r'|"(?:[^"\\]|\\.)*"' r"|'[^']*'",
    re.DOTALL,
)
SPACE: Final = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
"""What may be between values: spaces, line breaks and comments."""
BARE: Final = re.compile(r"[^,\]}#\n]+")
"""A number, a date or a boolean."""
ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
ESCAPED: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def field_name(path: TomlPath) -> str:
    """Return a path as errors show it, such as ``step[3].from``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


class TomlLines:
    """The line numbers of a document, found when they are first asked for.

    Args:
        text: The document, which tomllib accepts.
    """

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._lines: dict[TomlPath, int] | None = None

    def line_of(self, path: TomlPath) -> int | None:
        """Return the line of a value, or else of the innermost table around it; None without both."""
        if self._lines is None:
            self._lines = {}
            # A path may be found again, as a header inside another table: the first line counts.
            with suppress(RecursionError):  # tomllib can nest a little deeper
                for found, line in _Scan(self._text).keys():  # noqa: SIM118 - no mapping
                    self._lines.setdefault(found, line)
        if path not in self._lines and (*path, 0) in self._lines:
            path = (*path, 0)  # of an array of tables, which has no line of its own
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path)


class _Scan:
    """One walk over a document."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line, self._counted = 1, 0
        self._lengths: dict[TomlPath, int] = {}
        """The number of elements that each array of tables has so far."""

    def keys(self) -> Iterator[tuple[TomlPath, int]]:
        """Yield each key and header with its line, in their order."""
        table: TomlPath = ()
        self._skip()
        while self._at < len(self._text):
            line = self._line_here()
            if self._text.startswith("[", self._at):
                table = self._header()
                yield table, line
            else:
                yield from self._pair(table)
            self._skip()

    def _header(self) -> TomlPath:
        many = self._text.startswith("[[", self._at)
        self._at += 2 if many else 1
        *above, last = self._key()
        self._at += 2 if many else 1
        path: TomlPath = ()
        for part in above:
            path = self._inside((*path, part))
        path = (*path, last)
        if many:
            self._lengths[path] = self._lengths.get(path, 0) + 1
        return self._inside(path)

    def _inside(self, path: TomlPath) -> TomlPath:
        """Return the last element of an array of tables, and any other path as it is."""
        length = self._lengths.get(path)
        return path if length is None else (*path, length - 1)

    def _pair(self, table: TomlPath) -> Iterator[tuple[TomlPath, int]]:
        line = self._line_here()
        path = (*table, *self._key())
        yield path, line
        self._at += 1  # the equals sign
        self._skip()
        yield from self._value(path)

    def _key(self) -> list[str]:
        """Read a dotted key, up to what follows it."""
        parts: list[str] = []
        while True:
            self._skip()
            found = KEY_PART.match(self._text, self._at)
            assert found is not None  # tomllib accepts the document
            parts.append(_plain(found[0]))
            self._at = found.end()
            self._skip()
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _value(self, path: TomlPath) -> Iterator[tuple[TomlPath, int]]:
        text = self._text
        if text.startswith(("[", "{"), self._at):
            closing, number = {"[": "]", "{": "}"}[text[self._at]], 0
            self._at += 1
            self._skip()
            while not text.startswith(closing, self._at):
                if closing == "}":
                    yield from self._pair(path)
                else:
                    element = (*path, number)
                    yield element, self._line_here()
                    yield from self._value(element)
                    number += 1
                self._skip()
                if text.startswith(",", self._at):
                    self._at += 1
                    self._skip()
            self._at += 1
            return
        found = (STRING if text.startswith(('"', "'"), self._at) else BARE).match(text, self._at)
        assert found is not None  # tomllib accepts the document
        self._at = found.end()

    def _skip(self) -> None:
        found = SPACE.match(self._text, self._at)
        assert found is not None  # it matches nothing, too
        self._at = found.end()

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line


def _plain(key: str) -> str:
    """Return a part of a key without its quotes and escapes."""
    if key.startswith("'"):
        return key[1:-1]
    if not key.startswith('"'):
        return key
    return ESCAPE.sub(
        lambda found: (
            chr(int(found[1] or found[2], 16)) if found[3] is None else ESCAPED.get(found[3], found[3])
        ),
        key[1:-1],
    )
