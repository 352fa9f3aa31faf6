"""TOML documents, read strictly: every key known, every value of the right type, every error located."""

import re
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from spkg.common.frozen import dataclass
from spkg.common.obstacles import Obstacles
from spkg.common.reader import U32_MAX
from spkg.common.toml_definitions import fill_placeholders
from spkg.common.toml_lines import TomlLines, TomlPath, field_name
from spkg.errors import FormatError, UsageError

__all__ = ["MAX_DOCUMENT", "Override", "Table", "load_table", "parse_table", "read_duration"]

MAX_DOCUMENT: Final = 1 << 24
"""The largest document that is read, in bytes."""
PLACE: Final = re.compile(r"at line ([0-9]+), (column [0-9]+\))$")
"""Where tomllib says that a document is wrong: it has no other way to say so."""
SIZES: Final = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
DURATIONS: Final = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Override:
    """A value from the command line, which takes the type that its key needs."""

    text: str


class Table:
    """A table of a document.  After reading all possible keys, call :meth:`finish`.

    Args:
        values: As tomllib returns them.
        source: The document, for errors.
        lines: The line numbers of the document, if they are known.
        path: The path of the table in it.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        source: str,
        lines: TomlLines | None = None,
        path: TomlPath = (),
    ) -> None:
        self._values = values
        self.source = source
        self._lines = lines
        self._path = path
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    @property
    def name(self) -> str:
        """The path of the table, as errors show it."""
        return field_name(self._path)

    def error(self, key: str, problem: str, *, section: str | None = None) -> FormatError:
        """Return the error that states *problem* for the value of *key*."""
        if key and key not in self._values:
            strangers = [name for name in self._values if name not in self._known]
            near = get_close_matches(key, strangers, n=1)
            problem += f"; unknown key {near[0]!r}; did you mean {key!r}?" if near else ""
        field = field_name((*self._path, key) if key else self._path)
        return FormatError(
            problem, source=self.source, line=self.line_of(key), field=field or None, section=section
        )

    def line_of(self, key: str = "") -> int | None:
        """Return the line of a key, or that of the table if it is missing; None if it is not known."""
        if self._lines is None or isinstance(self._values.get(key), Override):
            return None
        return self._lines.line_of((*self._path, key) if key in self._values else self._path)

    def text(self, key: str) -> str | None:
        """Return a string, or None if the key is missing.

        Raises:
            FormatError: The value is something else.
        """
        value = self._take(key)
        if isinstance(value, Override):
            if any("\ud800" <= char <= "\udfff" for char in value.text):
                raise self.error(key, "the text can't be written in UTF-8")
            return value.text
        if value is not None and not isinstance(value, str):
            raise self.error(key, "must be a string in quotes")
        return value

    def boolean(self, key: str) -> bool | None:
        """Return true or false, or None if the key is missing.

        Raises:
            FormatError: The value is something else.
        """
        value = self._take(key)
        if isinstance(value, Override):
            value = {"true": True, "false": False}.get(value.text)
            if value is None:
                raise self.error(key, "must be true or false")
        if value is not None and not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def integer(self, key: str) -> int | None:
        """Return a number that fits into 32 bits, or None if the key is missing.

        Raises:
            FormatError: The value is something else.
        """
        return self._quantity(key, {"": 1}, f"a number from 0 to {U32_MAX}")

    def size(self, key: str, most: int = U32_MAX) -> int | None:
        """Return a number of bytes, written as a number or a size such as ``"16MiB"``.

        Raises:
            FormatError: The value is something else, or more than *most*.
        """
        return self._quantity(key, SIZES, 'a number of bytes, or a size such as "16MiB"', most)

    def duration(self, key: str) -> int | None:
        """Return a number of seconds, written as a number or a time such as ``"10min"``.

        Raises:
            FormatError: The value is something else.
        """
        return self._quantity(key, DURATIONS, 'a number of seconds, or a time such as "10min"')

    def seconds(self, key: str) -> float | None:
        """Return a time in seconds, which may have a fraction: a number, or a time such as ``"1.5s"``.

        Raises:
            FormatError: The value is something else.
        """
        value = self._take(key)
        number: float | None = None
        if type(value) in {int, float}:
            number = value
        elif isinstance(value, str):
            match = re.fullmatch(r"([0-9]{1,10}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)", value, re.ASCII)
            if match is not None and match[2] in DURATIONS:
                number = float(match[1]) * DURATIONS[match[2]]
        if value is not None and number is None:
            raise self.error(key, 'must be a number of seconds, or a time such as "30s", "10min" or "1h"')
        if number is not None and not 0 <= number <= U32_MAX:  # nor what is no number
            raise self.error(key, f"must be from 0 to {U32_MAX} s, got {number:g}")
        return number

    def octets(self, key: str) -> bytes | None:
        """Return bytes, written in hex.

        Raises:
            FormatError: The value is something else.
        """
        value = self.text(key)
        if value is None:
            return None
        try:
            return bytes.fromhex(value)
        except ValueError as exc:
            raise self.error(key, f"must be bytes in hex, got {value[:40]!r}") from exc

    def texts(self, key: str) -> tuple[str, ...]:
        """Return an array of strings, empty if the key is missing.

        Raises:
            FormatError: The value is something else.
        """
        value = self._array(key)
        if not all(isinstance(element, str) for element in value):
            raise self.error(key, "must be an array of strings")
        return tuple(value)

    def integers(self, key: str) -> tuple[int, ...]:
        """Return an array of numbers that fit into 32 bits, empty if the key is missing.

        Raises:
            FormatError: The value is something else.
        """
        value = self._array(key)
        if not all(type(element) is int and 0 <= element <= U32_MAX for element in value):
            raise self.error(key, "must be an array of numbers from 0 to 4294967295")
        return tuple(value)

    def is_integer(self, key: str) -> bool:
        """Whether the value is a whole number."""
        return type(self._values.get(key)) is int

    def keys(self) -> tuple[str, ...]:
        """Return the keys, for a table whose keys are free."""
        return tuple(self._values)

    def any(self, key: str) -> Any:
        """Return the value as it is, or None if the key is missing."""
        return self._take(key)

    def elements(self, key: str) -> list[Any]:
        """Return the elements of an array, tables as :class:`Table`, empty if the key is missing.

        Raises:
            FormatError: The value is something else.
        """
        return [
            Table(element, self.source, self._lines, (*self._path, key, index))
            if isinstance(element, dict)
            else element
            for index, element in enumerate(self._array(key))
        ]

    def table(self, key: str) -> "Table":
        """Return a table, an empty one if the key is missing.

        Raises:
            FormatError: The value is something else.
        """
        value = self._take(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self.error(key, "must be a table")
        return Table(value, self.source, self._lines, (*self._path, key))

    def tables(self, key: str) -> list["Table"]:
        """Return an array of tables, empty if the key is missing.

        Raises:
            FormatError: The value is something else.
        """
        value = self._array(key)
        if not all(isinstance(element, dict) for element in value):
            raise self.error(key, f"must be an array of tables, written as [[{key}]]")
        return [
            Table(element, self.source, self._lines, (*self._path, key, index))
            for index, element in enumerate(value)
        ]

    def expect(self, *keys: str) -> None:
        """Check that there are no other keys; if one of these is missing, another may be a misspelling of it.

        Raises:
            FormatError: There is another key.
        """
        self._known.extend(keys)
        self.finish()

    def finish(self) -> None:
        """Check that the table has no unknown keys, that is, none that were not read.

        Raises:
            FormatError: It has some.
        """
        found = Obstacles()
        for key in self._values:
            if key not in self._known:
                near = get_close_matches(key, self._known, n=1)
                meant = f"; did you mean {near[0]!r}?" if near else ""
                found.add(self.error(key, f"unknown key{meant}"))
        found.raise_all()

    def _take(self, key: str) -> Any:
        self._known.append(key)
        return self._values.get(key)

    def _array(self, key: str) -> Sequence[Any]:
        value = self._take(key)
        if value is None:
            return []
        if isinstance(value, dict):
            raise self.error(key, f"must be an array, written as [[{key}]]")
        if not isinstance(value, list):
            raise self.error(key, "must be an array")
        return value

    def _quantity(self, key: str, units: Mapping[str, int], wanted: str, most: int = U32_MAX) -> int | None:
        value = self._take(key)
        if value is None:
            return None
        number: int | None = None
        if type(value) is int:
            number = value
        elif isinstance(value, Override) or (isinstance(value, str) and len(units) > 1):
            number = _quantity_of(value.text if isinstance(value, Override) else value, units)
        if number is None:
            raise self.error(key, f"must be {wanted}")
        if not 0 <= number <= most:
            raise self.error(key, f"must be from 0 to {most}, got {number}")
        return number


def read_duration(text: str) -> int | None:
    """Return a number of seconds, written as a number or a time such as ``10min``; None if it is neither."""
    return _quantity_of(text, DURATIONS)


def _quantity_of(text: str, units: Mapping[str, int]) -> int | None:
    match = re.fullmatch(r"([0-9]{1,10}) ?([A-Za-z]*)", text, re.ASCII)
    return int(match[1]) * units[match[2]] if match is not None and match[2] in units else None


def load_table(
    path: Path,
    overrides: Mapping[str, str] | None = None,
    definitions: Mapping[str, str] | None = None,
) -> Table:
    """Read a TOML document.

    Args:
        path: The file.
        overrides: Values that replace those of the document, by ``table.key``.
        definitions: What ``${NAME}`` stands for in its strings; None if they have no placeholders.

    Raises:
        FormatError: It is not a TOML document.
        UsageError: An override does not name a key of a table.
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        return parse_table(file.read(MAX_DOCUMENT + 1), path.name, overrides, definitions)


def parse_table(
    octets: bytes,
    source: str,
    overrides: Mapping[str, str] | None = None,
    definitions: Mapping[str, str] | None = None,
) -> Table:
    """Read a TOML document from memory; otherwise like :func:`load_table`."""
    import tomllib  # noqa: PLC0415 - start-up: most commands read no such document

    if len(octets) > MAX_DOCUMENT:
        raise FormatError(f"the document has more than {MAX_DOCUMENT} bytes", source=source)
    try:
        text = octets.removeprefix(BOM_UTF8).decode()
        values = tomllib.loads(text)
    except UnicodeDecodeError as exc:
        above = octets.count(b"\n", 0, exc.start)
        raise FormatError(
            f"not UTF-8: {exc.reason}", source=source, line=above + 1, offset=exc.start
        ) from exc
    except tomllib.TOMLDecodeError as exc:
        reason = str(exc)
        place = PLACE.search(reason)
        line = None if place is None else int(place[1])
        problem = reason[:1].lower() + PLACE.sub(r"\2", reason[1:])
        raise FormatError(problem, source=source, line=line) from exc
    except RecursionError as exc:
        raise FormatError("nested too deeply", source=source) from exc
    except ValueError as exc:  # a number with thousands of digits
        raise FormatError("a number has too many digits", source=source) from exc
    lines = TomlLines(text)
    if definitions is not None:
        fill_placeholders(values, definitions, source, lines, MAX_DOCUMENT)
    for name, setting in (overrides or {}).items():
        table, dot, key = name.partition(".")
        within = values.setdefault(table, {}) if dot and key and "." not in key else None
        if not isinstance(within, dict):
            raise UsageError(f"--set {name}: expected table.key, such as package.version")
        within[key] = Override(setting)
    return Table(values, source, lines)
