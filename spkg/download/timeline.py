"""The states and deadlines of a download at a steady rate, to help choose timeouts (E.4.7)."""

from collections.abc import Iterator
from dataclasses import dataclass

from spkg.download.timeouts import Deadline, Timeouts, Watch
from spkg.format.installation_state import InstallationState
from spkg.format.package import Command, Package

__all__ = ["Phase", "Timeline", "draw_timeline"]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of a download with one state and one deadline."""

    state: InstallationState
    begins: float
    """In seconds from the beginning of the download."""
    ends: float
    """When the next phase begins, the package is installed, or the deadline passes."""
    octets: int
    """How many bytes of the package have arrived when it begins."""
    command: Command | None
    """The command that it begins with; None at the beginning of the download."""
    deadline: Deadline | None
    """The download timeout in force; the activity timeout never passes while data comes."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A download from its beginning to its end."""

    rate: float
    """In bytes per second."""
    octets: int
    """The size of the package, in bytes."""
    front_matter: int
    """The size of header, command list and signature block: no command is processed before they arrive."""
    phases: tuple[Phase, ...]
    passed: Deadline | None
    """The deadline that ends it; None if the package is installed."""

    @property
    def seconds(self) -> float:
        """How long the whole package takes."""
        return self.octets / self.rate

    @property
    def ends(self) -> float:
        """When it ends, installed or not, in seconds from its beginning."""
        return self.phases[-1].ends

    @property
    def arrived(self) -> int:
        """How many bytes have arrived at its end."""
        return min(self.octets, int(self.ends * self.rate + 1e-6))


def draw_timeline(package: Package, rate: float, timeouts: Timeouts) -> Timeline:
    """Return how a download of *package* would run.

    Args:
        package: The package, trusted or not.
        rate: The constant rate in bytes per second; commands take no time.
        timeouts: The timeouts until a command sets others.
    """
    watch = Watch.begin(0, timeouts)
    phases: list[Phase] = []
    begins, octets, begun_with = 0.0, 0, None
    before = 0
    total = package.payload_offset + package.header.payload_length

    def close(ends: float) -> None:
        phases.append(
            Phase(
                state=watch.state,
                begins=begins,
                ends=ends,
                octets=octets,
                command=begun_with,
                deadline=watch.download_deadline,
            )
        )

    def done(passed: Deadline | None) -> Timeline:
        return Timeline(
            rate=rate,
            octets=total,
            front_matter=package.payload_offset,
            phases=tuple(phases),
            passed=passed,
        )

    for command, arrived in _arrivals(package):
        now = arrived / rate
        if not watch.timeouts.activity or 1 / rate < watch.timeouts.activity:  # else the next is too late
            watch = watch.octets(now)
        # A deadline only ends the wait for more data, and behind the list nobody waits for a command's.
        passed = watch.passed(now) if command is not None and arrived > before else None
        before = arrived
        if passed is not None:
            close(max(begins, passed.at))
            return done(passed)
        following = watch.end() if command is None else watch.process(command.record)
        if (following.state, following.download_deadline) != (watch.state, watch.download_deadline):
            close(now)
            begins, octets, begun_with = now, arrived, command
        watch = following
    return done(None)


def _arrivals(package: Package) -> Iterator[tuple[Command | None, int]]:
    """Give each command, and how many bytes have arrived when it can be processed; then None and the size."""
    needs = {file.command: package.payload_offset + file.range.end for file in package.files}
    arrived = package.payload_offset
    for command in package.commands:
        arrived = max(arrived, needs.get(command.index, 0))
        yield command, arrived
    yield None, package.payload_offset + package.header.payload_length
