"""Placeholders in the strings of a document: ``${NAME}`` is filled from outside, ``$$`` is a dollar."""

import re
from collections.abc import Mapping
from typing import Any, Final

from spkg.common.obstacles import Obstacles
from spkg.common.toml_lines import TomlLines, TomlPath, field_name
from spkg.errors import FormatError

__all__ = ["fill_placeholders"]

PLACEHOLDER: Final = re.compile(r"\$(?:\$|\{([^{}]*)(\}?))")
PLACEHOLDER_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def fill_placeholders(
    values: dict[str, Any], definitions: Mapping[str, str], source: str, lines: TomlLines, most: int
) -> None:
    """Fill the placeholders in all strings of a document; what is filled in is not looked at again.

    Args:
        values: The document, as tomllib returns it.
        definitions: The values by their names.
        source: The document, for errors.
        lines: Its line numbers.
        most: How many characters may be filled in altogether.

    Raises:
        FormatError: A name is not defined, or a placeholder is malformed.
    """
    _Filler(definitions, source, lines, most).fill(values)


class _Filler:
    def __init__(self, definitions: Mapping[str, str], source: str, lines: TomlLines, most: int) -> None:
        self._definitions = definitions
        self._source = source
        self._lines = lines
        self._left = most
        self._found = Obstacles()

    def fill(self, values: dict[str, Any]) -> None:
        self._filled(values, ())
        self._found.raise_all()

    def _filled(self, value: Any, path: TomlPath) -> Any:
        if isinstance(value, dict):
            for key, one in value.items():
                value[key] = self._filled(one, (*path, key))
        elif isinstance(value, list):
            for index, one in enumerate(value):
                value[index] = self._filled(one, (*path, index))
        elif isinstance(value, str) and "$" in value:
            with self._found.collecting():
                return PLACEHOLDER.sub(lambda found: self._meaning(found, path), value)
        return value

    def _meaning(self, found: re.Match[str], path: TomlPath) -> str:
        name, closed = found[1], found[2]
        if name is None:
            return "$"
        if not closed or PLACEHOLDER_NAME.fullmatch(name) is None:
            problem = f"expected ${{NAME}}, got {found[0]!r:.60}"
            raise self._error(path, problem, 'a dollar sign is written "$$"')
        if name not in self._definitions:
            raise self._error(path, f"{name} is not defined", f"define it with --define {name}=VALUE")
        value = self._definitions[name]
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self._error(path, f"the value of {name} can't be written in UTF-8", None) from None
        self._left -= len(value)
        if self._left < 0:
            raise self._error(path, "the values that are filled in are too long", None)
        return value

    def _error(self, path: TomlPath, problem: str, hint: str | None) -> FormatError:
        line = self._lines.line_of(path)
        return FormatError(problem, source=self._source, line=line, field=field_name(path), hint=hint)
