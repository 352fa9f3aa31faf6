"""Which boot of the device this is, and how much of it has passed: what never jumps, as clocks do."""

from spkg.common.frozen import dataclass

__all__ = ["Boot"]


@dataclass(frozen=True, kw_only=True)
class Boot:
    """A boot of the device, and how much of it has passed."""

    identity: str
    """What the kernel calls it: the contents of ``/proc/sys/kernel/random/boot_id``."""
    seconds: float
    """The time since it began, by CLOCK_BOOTTIME."""
