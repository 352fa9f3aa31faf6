"""The parts of the tests that can be named, and how long each may take: the one table of time budgets."""

from dataclasses import dataclass
from typing import Final

__all__ = ["PARTS", "PROOF", "Part"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Tests that run together.  A budget is some four times what a quiet machine of two cores needs."""

    what: str
    whole: int
    """Seconds that all of it may take."""
    tenth: int = 0
    """Seconds that a tenth of it may take, where it can be taken in slices."""
    in_memory: bool = True
    """Whether its files may lie in memory, where syncing costs nothing."""


PROOF: Final = {
    "crash": Part(what="kills, errors and power cuts in a simulation", whole=9000, tenth=1200),
    "kill": Part(what="processes killed by strace, or let down by the system", whole=7200, tenth=900),
    "power": Part(
        what="power cuts and full disks on real file systems", whole=6000, tenth=720, in_memory=False
    ),
    "downloads": Part(what="downloads cut at each octet", whole=3000, tenth=450),
    "flips": Part(what="each bit of a package flipped, and each length of it", whole=900, tenth=180),
    "fuzz": Part(what="hypothesis with thousands of examples, and races", whole=7200, tenth=900),
    "large": Part(what="packages of gigabytes", whole=2400, tenth=480, in_memory=False),
    "long": Part(what="sessions of an agent by the hundred thousand", whole=3600, tenth=720),
    "vouchers": Part(what="vouchers mutated, and issuers killed", whole=6000, tenth=720),
    "faults": Part(what="faults in the program that the tests have to find", whole=7200, tenth=900),
    "install": Part(what="set up from nothing with any pip, and what is installed", whole=900, tenth=900),
    "judges": Part(what="readers and signers of others", whole=1800, tenth=600),
}
"""The parts of the proof: ``make proof PART=crash``."""
PARTS: Final = {
    "test": Part(what="the short suite", whole=900),
    "coverage": Part(what="the short suite, with branch coverage", whole=2100),
    **PROOF,
}
