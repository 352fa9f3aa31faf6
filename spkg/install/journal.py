"""The journal of a transaction: the steps that are left once everything is staged.

It is written under another name, with its SHA-256, and then renamed: a journal that exists is complete.
"""

import json
from collections.abc import Sequence
from enum import Enum
from hashlib import sha256
from typing import Any, Final

from spkg.common.frozen import dataclass
from spkg.install.effects import DeleteEntry, Effect, MakeDirectory, MoveEntry, PutFile
from spkg.install.root_tree import EntryKind
from spkg.install.tree_path import Parts, shown, split

__all__ = ["MAX_JOURNAL", "Before", "JournalStep", "Verb", "decode_journal", "encode_journal", "steps_of"]

FORMAT: Final = 1
MAX_JOURNAL: Final = 1 << 24
"""The longest journal, in bytes: that of a package with the most commands has about 4 MiB."""


class Verb(Enum):
    """What a step does to its path."""

    PUT = "put"
    MOVE = "move"
    DELETE = "delete"
    DIRECTORY = "directory"


class Before(Enum):
    """What happens to the entry that is at the path before the step."""

    NOTHING = "nothing"
    KEPT = "kept"
    """It got a second name when the step was staged: the path is never empty."""
    AWAY = "away"
    """It is moved away before the step is done."""
    COPIED = "copied"
    """A directory that can't be renamed: there is a copy, and it is removed before the step is done."""
    LOST = "lost"
    """It is replaced or removed, and can't be brought back: there was no room to keep it."""


@dataclass(frozen=True, kw_only=True)
class JournalStep:
    """One change, with the number that its files in the transaction have."""

    number: int
    verb: Verb
    path: Parts
    before: Before
    source: Parts | None = None
    """The path from which a file is moved."""


def steps_of(effects: Sequence[Effect]) -> list[JournalStep]:
    """Return the steps of a plan.  A directory within another new one is part of that step."""
    made = {effect.path for effect in effects if isinstance(effect, MakeDirectory)}
    steps: list[JournalStep] = []
    for number, effect in enumerate(effects):
        match effect:
            case PutFile(path=path, replaces=replaces):
                steps.append(JournalStep(number=number, verb=Verb.PUT, path=path, before=_before(replaces)))
            case MoveEntry(path=path, source=source, replaces=replaces):
                before = _before(replaces)
                steps.append(
                    JournalStep(number=number, verb=Verb.MOVE, path=path, before=before, source=source)
                )
            case DeleteEntry(path=path):
                steps.append(JournalStep(number=number, verb=Verb.DELETE, path=path, before=Before.AWAY))
            case MakeDirectory(path=path, replaces=replaces) if path[:-1] not in made:
                away = Before.NOTHING if replaces is None else Before.AWAY
                steps.append(JournalStep(number=number, verb=Verb.DIRECTORY, path=path, before=away))
            case MakeDirectory():
                pass
    return steps


def _before(replaces: EntryKind | None) -> Before:
    if replaces is None:
        return Before.NOTHING
    return Before.AWAY if replaces is EntryKind.DIRECTORY else Before.KEPT


def encode_journal(steps: Sequence[JournalStep]) -> bytes:
    """Return the contents of a journal."""
    listed = [
        {
            "number": step.number,
            "verb": step.verb.value,
            "path": shown(step.path),
            "before": step.before.value,
            **({} if step.source is None else {"source": shown(step.source)}),
        }
        for step in steps
    ]
    body = json.dumps({"format": FORMAT, "steps": listed}).encode()
    return body + b"\n" + sha256(body).hexdigest().encode() + b"\n"


def decode_journal(octets: bytes) -> list[JournalStep]:
    """Return the steps of a journal.

    Raises:
        ValueError: It is damaged, or was not written by spkg.
    """
    body, _, digest = octets.removesuffix(b"\n").rpartition(b"\n")
    if sha256(body).hexdigest().encode() != digest:
        raise ValueError("the journal is damaged")
    try:
        return _steps(json.loads(body))
    except (KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError("the journal was not written by spkg") from exc


def _steps(document: dict[str, Any]) -> list[JournalStep]:
    if document["format"] != FORMAT:
        raise ValueError(f"expected journal format {FORMAT}, got {document['format']}")
    return [
        JournalStep(
            number=_number(listed["number"]),
            verb=Verb(listed["verb"]),
            path=_path(listed["path"]),
            before=Before(listed["before"]),
            source=_path(listed["source"]) if "source" in listed else None,
        )
        for listed in document["steps"]
    ]


def _number(number: object) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"expected the number of a step, got {number!r:.40}")
    return number


def _path(text: str) -> Parts:
    parts = split(text)
    if not parts or not {b".", b".."}.isdisjoint(parts) or "\0" in text:
        raise ValueError(f"the journal has the invalid path {text!r}")
    return parts
