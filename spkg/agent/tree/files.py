"""A file as a provider: flat names, each with type, value and whether it can be written.

It is read again when it has changed, and replaced by rename.  It is for what rarely changes.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from spkg.agent.tree.channel import ProviderError
from spkg.agent.tree.model import MAX_DESCRIBED, ParameterDescription, read_description
from spkg.agent.tree.provider import MAX_TEXT_VALUE, ProviderFault, ProviderPatience, ValuesRead
from spkg.common.atomic_output import new_file, write_all
from spkg.common.json_input import read_json
from spkg.errors import FormatError, SpkgError, os_problem

__all__ = ["FileProvider"]

MAX_PARAMETER_FILE: Final = 4 << 20
"""The largest file, in bytes."""


class FileProvider:
    """A provider whose parameters are in a JSON file.

    Args:
        name: Its name in the configuration.
        owned: The partial paths that it serves, with the root.
        path: The file.
    """

    def __init__(self, name: str, owned: tuple[str, ...], path: Path) -> None:
        self.name = name
        self.owned = owned
        self._path = path
        self._seen: tuple[int, ...] | None = None
        """What identifies the version of the file that was read."""
        self._values: dict[str, str] = {}
        self._entries: dict[str, dict[str, Any]] = {}
        self._description = ParameterDescription()

    def describe(self, deadline: ProviderPatience) -> ParameterDescription:  # noqa: ARG002 - as other sources
        """Return the parameters."""
        self._read()
        return self._description

    def instances(self, path: str, deadline: ProviderPatience) -> Mapping[str, tuple[int, ...]]:  # noqa: ARG002
        """Return nothing: instance numbers are in the names."""
        return {}

    def get(self, names: Sequence[str], deadline: ProviderPatience) -> ValuesRead:  # noqa: ARG002
        """Return values, or that they are not in the file any more."""
        self._read()
        gone = ProviderFault(9005, "not in the file any more")
        return ValuesRead(
            {name: self._values[name] for name in names if name in self._values},
            {name: gone for name in names if name not in self._values},
        )

    def check(self, values: Mapping[str, str], deadline: ProviderPatience) -> Mapping[str, ProviderFault]:  # noqa: ARG002
        """Return which are not in the file any more."""
        self._read()
        return {
            name: ProviderFault(9005, "not in the file any more")
            for name in values
            if name not in self._values
        }

    def put(self, values: Mapping[str, str], deadline: ProviderPatience) -> int:  # noqa: ARG002
        """Write the file anew."""
        self._read()
        entries = {name: dict(entry) for name, entry in self._entries.items()}
        for name, value in values.items():
            entries.setdefault(name, {"type": "string"})["value"] = value
        octets = (json.dumps(entries, indent=1, ensure_ascii=False) + "\n").encode()
        try:
            with new_file(self._path, replaces=self._path.stat()) as file:
                write_all(file, octets)
        except (OSError, SpkgError) as exc:
            raise self._error(os_problem(exc) if isinstance(exc, OSError) else str(exc)) from exc
        return 0

    def add(self, table: str, instance: int, deadline: ProviderPatience) -> int:  # noqa: ARG002
        """Refuse: the objects of a file are those in it."""
        raise self._error(f"{table}: no object can be added to a file")

    def delete(self, path: str, deadline: ProviderPatience) -> int:  # noqa: ARG002
        """Refuse: the objects of a file are those in it."""
        raise self._error(f"{path}: no object can be deleted from a file")

    def lock(self, deadline: ProviderPatience) -> None:
        """Nothing: a session sees what is in the file."""

    def unlock(self, deadline: ProviderPatience) -> None:
        """Nothing was locked."""

    def reset(self, deadline: ProviderPatience) -> None:
        """Nothing: what the file was at first is not known; the command for factory resets replaces it."""

    def close(self) -> None:
        """Nothing is open."""

    def _error(self, problem: str) -> ProviderError:
        return ProviderError(f"provider {self.name!r}: {problem}")

    def _read(self) -> None:
        """Read the file if it is another one than before.

        Raises:
            ProviderError: It can't be read.
        """
        try:
            status = self._path.stat()
            version = (status.st_ino, status.st_size, status.st_mtime_ns)
            if version == self._seen:
                return
            with self._path.open("rb") as file:
                octets = file.read(MAX_PARAMETER_FILE + 1)
            if len(octets) > MAX_PARAMETER_FILE:
                raise FormatError(f"the file has more than {MAX_PARAMETER_FILE} bytes")  # noqa: TRY301 - told below
            self._take(read_json(octets))
        except OSError as exc:
            raise self._error(os_problem(exc)) from exc
        except FormatError as exc:
            raise self._error(f"{self._path.name}: {exc}") from exc
        self._seen = version

    def _take(self, document: object) -> None:
        """Take what is in the file."""
        if not isinstance(document, dict) or not all(isinstance(one, dict) for one in document.values()):
            raise FormatError("expected an object of names, each an object with type and value")
        if len(document) > MAX_DESCRIBED:
            raise FormatError(f"expected at most {MAX_DESCRIBED} parameters, got {len(document)}")
        described: list[dict[str, Any]] = []
        for name, entry in document.items():
            value = entry.get("value", "")
            if not isinstance(value, str) or len(value) > MAX_TEXT_VALUE:
                raise FormatError(
                    f"the value of {name} must be a string of at most {MAX_TEXT_VALUE} characters"
                )
            unknown = entry.keys() - {"type", "value", "writable", "notify", "secret"}
            if unknown:
                raise FormatError(f"{name}: unknown key {min(unknown)!r}")
            stated = {key: entry[key] for key in entry if key != "value"}
            described.append({"type": "string", **stated, "path": name})
        self._description = read_description({"parameters": described}, self.owned)
        self._entries = document
        self._values = {name: entry.get("value", "") for name, entry in document.items()}
