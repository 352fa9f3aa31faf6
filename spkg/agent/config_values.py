"""Values in the agent's configuration, each within its limits; all that is wrong with them is collected."""

import re
from enum import Enum
from pathlib import Path
from typing import Final, TypeVar

from spkg.common.obstacles import Obstacles
from spkg.common.toml_document import Table

__all__ = ["PARAMETER_PATH", "ConfigValues"]

MAX_NAME: Final = 256
"""The longest name of a parameter or path, in characters (A.3.2.1)."""
PARAMETER_PATH: Final = re.compile(r"(?:[A-Za-z_][\w-]*\.|[1-9][0-9]{0,9}\.)*(?:[A-Za-z_][\w-]*)?", re.ASCII)
"""A name or a partial path of parameters (B.2)."""

_Word = TypeVar("_Word", bound=Enum)
_Settings = TypeVar("_Settings")


class ConfigValues:
    """Reads values of tables; where one is wrong, reading goes on with something in its place.

    Args:
        directory: What paths are relative to.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.obstacles = Obstacles()

    def _parameter(self, table: Table, key: str, text: str | None) -> str:
        if text is None or not text or len(text) > MAX_NAME or not PARAMETER_PATH.fullmatch(text):
            self._wrong(table, key, f"must be the path of a parameter without the root, got {text!r:.80}")
        return text or ""

    def _text(self, table: Table, key: str, most: int = 1024) -> str | None:
        text: str | None = None
        with self.obstacles.collecting():
            text = table.text(key)
            if text is not None and (len(text) > most or not (text.isprintable() or not text)):
                raise table.error(key, f"must have at most {most} printable characters")
        return text

    def _texts(self, table: Table, key: str) -> tuple[str, ...]:
        with self.obstacles.collecting():
            return table.texts(key)
        return ()

    def _words(self, table: Table, key: str) -> tuple[str, ...]:
        """Return a program and its arguments, or options."""
        words = self._texts(table, key)
        if any("\0" in word for word in words) or (words and not words[0]):
            self._wrong(table, key, "must begin with a word, and have no NUL in any")
        return words

    def _path(self, table: Table, key: str) -> Path | None:
        text = self._text(table, key, 4096)
        if text is None:
            return None
        if not text:
            self._wrong(table, key, "must be a path, got an empty string")
        return self._directory / self._named(table, key, text)

    def _paths(self, table: Table, key: str) -> tuple[Path, ...]:
        found = self._texts(table, key)
        if not found or not all(found):
            self._wrong(table, key, "missing; name files of trusted certificates")
        return tuple(self._directory / self._named(table, key, one) for one in found)

    def _named(self, table: Table, key: str, text: str) -> str:
        """Return the text of a path, if the system can take it."""
        if "\0" in text:
            self._wrong(table, key, "must be a path without NUL")
        return text

    def _switch(self, table: Table, key: str, *, default: bool) -> bool:
        value: bool | None = None
        with self.obstacles.collecting():
            value = table.boolean(key)
        return default if value is None else value

    def _number(self, table: Table, key: str, default: int, limits: tuple[int, int]) -> int:
        value: int | None = None
        with self.obstacles.collecting():
            value = table.integer(key)
            if value is not None and not limits[0] <= value <= limits[1]:
                raise table.error(key, f"must be from {limits[0]} to {limits[1]}, got {value}")
        return default if value is None else value

    def _seconds(self, table: Table, key: str, default: float, least: float) -> float:
        value: float | None = None
        with self.obstacles.collecting():
            value = table.seconds(key)
            if value is not None and value < least:
                raise table.error(key, f"must be at least {least:g} s, got {value:g}")
        return default if value is None else value

    def _word(self, table: Table, key: str, default: _Word) -> _Word:
        text = self._text(table, key)
        if text is None:
            return default
        words = {str(one.value): one for one in type(default)}
        if text not in words:
            self._wrong(table, key, f"must be {' or '.join(map(repr, words))}, got {text[:40]!r}")
        return words.get(text, default)

    def _wrong(self, table: Table, key: str, problem: str) -> None:
        self.obstacles.add(table.error(key, problem))

    def _done(self, table: Table, settings: _Settings, *known: str) -> _Settings:
        """Return *settings*, after looking for unknown keys."""
        with self.obstacles.collecting():
            table.expect(*known)
        return settings
