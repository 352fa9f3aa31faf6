"""How much of a sweep a run does: a few points, all of them, or a slice that moves on with each commit.

``make test`` tries a few points of each sweep.  ``make proof`` tries all, or, with ``SPKG_SAMPLE=3/10``,
every tenth from the third on.  ``SPKG_SAMPLE=commit/10`` takes the slice that is the commit's turn, so that
ten commits in a row cover every sweep.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import pytest

__all__ = [
    "PROOF",
    "SLICE",
    "Slice",
    "amount",
    "chance",
    "few",
    "least",
    "numbers",
    "of_commit",
    "read_slice",
    "sample",
    "stride",
]

T = TypeVar("T")
PROOF: Final = os.environ.get("SPKG_PROFILE") == "proof"
"""Whether this is the proof, and not the short suite."""


@dataclass(frozen=True)
class Slice:
    """One of several parts that make up a sweep."""

    number: int
    """Counted from 1."""
    of: int

    def __str__(self) -> str:
        return f"slice {self.number} of {self.of}" if self.of > 1 else "all of it"


def _git(*args: str) -> str:
    here = Path(__file__).parent
    ended = subprocess.run(["git", *args], cwd=here, capture_output=True, text=True, check=False)
    return ended.stdout.strip()


def of_commit(of: int) -> Slice:
    """Return the slice whose turn it is: by the number of commits, or where that is not known by the hash."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return Slice(1, of)
    known = _git("rev-parse", "--is-shallow-repository") == "false"
    turn = int(_git("rev-list", "--count", "HEAD")) if known else int(commit, 16)
    return Slice(turn % of + 1, of)


def read_slice(text: str) -> Slice:
    """Read ``3/10``, or ``commit/10``; nothing means all.

    Raises:
        ValueError: It is neither.
    """
    if not text:
        return Slice(1, 1)
    found = re.fullmatch(r"(commit|[1-9][0-9]*)/([1-9][0-9]*)", text)
    if found is None:
        raise ValueError(f"SPKG_SAMPLE: expected a slice such as 3/10 or commit/10, got {text!r}")
    of = int(found[2])
    chosen = of_commit(of) if found[1] == "commit" else Slice(int(found[1]), of)
    if chosen.number > of:
        raise ValueError(f"SPKG_SAMPLE: there is no slice {chosen.number} of {of}")
    return chosen


SLICE: Final = read_slice(os.environ.get("SPKG_SAMPLE", "")) if PROOF else Slice(1, 1)
"""What this run does of each sweep in the proof."""


def sample(points: Sequence[T], every: int, first: int = 0) -> Sequence[T]:
    """Return the points that this run tries: in the short suite each *every*-th from *first* on."""
    return points[SLICE.number - 1 :: SLICE.of] if PROOF else points[first::every]


def in_turn(points: Iterable[T]) -> Iterable[T]:
    """Give those of the proof's points that this run tries, without holding all of them."""
    return islice(points, SLICE.number - 1, None, SLICE.of)


def stride(every: int, first: int = 0, *, share: int = 1, begin: int = 0) -> tuple[int, int]:
    """Return the first point and the step of a sweep that shows by itself where it ends.

    Args:
        every: The step in the short suite.
        first: Where the short suite begins.
        share: The step of the whole sweep.
        begin: Where the whole sweep begins.
    """
    return (begin + share * (SLICE.number - 1), share * SLICE.of) if PROOF else (first, every)


def numbers(every: int, first: int = 0, *, share: int = 1) -> Iterator[int]:
    """Count the points of such a sweep."""
    return count(*stride(every, first, share=share))


def amount(whole: int, otherwise: int) -> int:
    """Return how many things this run draws: of the proof's *whole*, or in the short suite *otherwise*."""
    return -(-whole // SLICE.of) if PROOF else otherwise


def least(whole: int) -> int:
    """Return what of a lower bound on a whole sweep is left for this run's slice; never less than nothing."""
    return whole // SLICE.of


def few(cases: Iterable[object], *, every: int, part: str, first: int = 0) -> list[Any]:
    """Return the cases of a test: each *every*-th for the short suite, the others for a part of the proof."""
    later = (pytest.mark.proof, pytest.mark.part(part, turns=True))
    return [
        pytest.param(case, marks=() if number % every == first else later)
        for number, case in enumerate(cases)
    ]


def chance(name: str) -> Random:
    """Return random numbers that are the same in each run, and others in each slice."""
    return Random(f"{name} {SLICE.number}" if SLICE.of > 1 else name)
