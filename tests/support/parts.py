"""The parts of the tests that can be named, and how long each may take: the one table of time budgets."""

from dataclasses import dataclass
from typing import Final

__all__ = ["PARTS", "PROOF", "Part"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Tests that run together.  A budget is some five times what a quiet machine of two cores needs."""

    what: str
    whole: int
    """Seconds that all of it may take."""
    tenth: int = 0
    """Seconds that a tenth of it may take, where it can be taken in slices."""
    in_memory: bool = True
    """Whether its files may lie in memory, where syncing costs nothing."""


PROOF: Final = {
    "crash": Part(what="kills, errors and power cuts in a simulation", whole=3600, tenth=600),
    "kill": Part(what="processes killed by strace, or let down by the system", whole=3600, tenth=480),
    "power": Part(
        what="power cuts and full disks on real file systems", whole=3600, tenth=480, in_memory=False
    ),
    "downloads": Part(what="downloads cut at each octet", whole=1500, tenth=300),
    "flips": Part(what="each bit of a package flipped, and each length of it", whole=900, tenth=180),
    "fuzz": Part(what="hypothesis with thousands of examples, and races", whole=3600, tenth=420),
    "large": Part(what="packages of gigabytes", whole=1200, tenth=240, in_memory=False),
    "long": Part(what="sessions of an agent by the hundred thousand", whole=3000, tenth=400),
    "vouchers": Part(what="vouchers mutated, and issuers killed", whole=2400, tenth=300),
    "faults": Part(what="faults in the program that the tests have to find", whole=1800, tenth=300),
    "install": Part(what="set up from nothing with any pip, and what is installed", whole=600, tenth=600),
    "judges": Part(what="readers and signers of others", whole=900, tenth=180),
}
"""The parts of the proof: ``make proof PART=crash``."""
PARTS: Final = {"test": Part(what="the short suite, with branch coverage", whole=1200), **PROOF}
