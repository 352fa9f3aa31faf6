"""The life of an Option on its device: when it is enabled, and what ends it (TR-069 C.2, Table 48).  Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from vouchers.model import Mode

__all__ = ["Ending", "Life", "OptionState", "next_change", "unvouchered"]

TABLE_48 = {Mode.DISABLE: 0, Mode.WITH_EXPIRATION: 1, Mode.WITHOUT_EXPIRATION: 2}
"""The Mode of an OptionStruct."""
MAX_SN = (1 << 32) - 1
"""The largest VoucherSN, an unsignedInt; a VSerialNum is a string."""


class Ending(Enum):
    """What has ended an Option; only another voucher can enable it again."""

    EXPIRED = "expired"
    PROVIDER = "provider"
    """The provisioning code of the device has changed since it was enabled."""


@dataclass(frozen=True, kw_only=True)
class OptionState:
    """An Option as GetOptions reports it (Table 48)."""

    name: str
    serial: str | None
    """VSerialNum of the voucher that governs it; None if it never had one."""
    enabled: bool
    set_up: bool
    mode: int
    start: datetime | None
    expires: datetime | None
    transferable: bool
    ending: Ending | None

    @property
    def state(self) -> int:
        """State: bit 0 is enabled now, bit 1 set up by the user."""
        return self.enabled | self.set_up << 1

    @property
    def voucher_sn(self) -> int:
        """VoucherSN: the serial number of the voucher; 0 without one, or if it is not an unsignedInt."""
        serial = self.serial or ""
        number = int(serial) if serial.isascii() and serial.isdecimal() else 0
        return number if number <= MAX_SN else 0


@dataclass(frozen=True, kw_only=True)
class Life:
    """The stored facts of an Option: those of its last voucher, and what has happened since."""

    name: str
    serial: str
    signer_key: bytes
    content: bytes
    """The SHA-256 of what the voucher says about the Option."""
    mode: Mode
    start: datetime
    """StartDate, or when it was applied."""
    expires: datetime | None
    transferable: bool
    begun: bool = False
    """Whether it has been seen to begin; setting the clock back does not undo that."""
    ending: Ending | None = None
    set_up: bool = False
    coming: "tuple[Life, ...]" = ()
    """The vouchers that take over at their StartDate, in that order."""

    def governing(self, at: datetime) -> "Life":
        """Return what governs the Option at a time, with what comes after that."""
        index = sum(1 for one in self.coming if one.start <= at)
        if not index:
            return self
        return replace(self.coming[index - 1], set_up=self.set_up, coming=self.coming[index:])

    def followed_by(self, other: "Life", now: datetime) -> "Life":
        """Return the Option with a new voucher, which takes effect at its StartDate, or now.

        Until then all stays that would have begun before.
        """
        before = self.governing(now)
        if other.mode is Mode.DISABLE or other.start <= now:
            return replace(other, set_up=before.set_up)
        line = [replace(before, coming=()), *before.coming]
        if before.mode is Mode.DISABLE or before.is_over(now):
            del line[0]
        first, *rest = [*(one for one in line if one.start < other.start), other]
        return replace(first, set_up=before.set_up, coming=tuple(rest))

    def is_over(self, at: datetime) -> bool:
        """Whether it has ended at a time."""
        return self.ending is not None or (self.expires is not None and at >= self.expires)

    def with_another_provider(self) -> "Life":
        """Return it as it is after a change of provider, which ends it unless it is transferable."""
        coming = tuple(one for one in self.coming if one.transferable)
        if self.transferable or self.ending is not None or self.mode is Mode.DISABLE:
            return replace(self, coming=coming)
        return replace(self, ending=Ending.PROVIDER, coming=coming)

    def at(self, at: datetime, *, real: bool = False) -> OptionState:
        """Return its state at a time.

        Args:
            at: The time.
            real: Whether that is the network time, not a hypothetical one.
        """
        if (other := self.governing(at)) is not self:
            return other.at(at, real=real)
        over = self.is_over(at)
        begun = at >= self.start or (real and self.begun)
        ending = self.ending or (Ending.EXPIRED if over else None)
        return OptionState(
            name=self.name,
            serial=self.serial,
            enabled=self.mode is not Mode.DISABLE and begun and not over,
            set_up=self.set_up,
            mode=0 if over else TABLE_48[self.mode],
            start=self.start,
            expires=self.expires,
            transferable=self.transferable,
            ending=ending,
        )

    def next_change(self, at: datetime, *, real: bool = False) -> datetime | None:
        """Return when it next begins or ends after a time; None if it does neither without a voucher."""
        if (other := self.governing(at)) is not self:
            return other.next_change(at, real=real)
        later = [one.start for one in self.coming[:1]]
        if self.mode is not Mode.DISABLE and not self.is_over(at):
            own = self.start if at < self.start and not (real and self.begun) else self.expires
            later += [] if own is None else [own]
        return min(later, default=None)


def unvouchered(name: str) -> OptionState:
    """Return an Option that has never had a voucher."""
    return OptionState(
        name=name,
        serial=None,
        enabled=False,
        set_up=False,
        mode=0,
        start=None,
        expires=None,
        transferable=False,
        ending=None,
    )


def next_change(lives: Iterable[Life], at: datetime, *, real: bool = False) -> datetime | None:
    """Return when the first of them begins or ends; None if none does."""
    times = [life.next_change(at, real=real) for life in lives]
    return min((time for time in times if time is not None), default=None)
