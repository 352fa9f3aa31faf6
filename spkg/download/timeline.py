"""How states and deadlines would run over a download at a steady rate, to choose timeouts by (E.4.7)."""

from collections.abc import Iterator
from dataclasses import dataclass

from spkg.download.timeouts import Deadline, Timeouts, Watch
from spkg.format.package import Command, Package
from spkg.format.states import InstallationState

__all__ = ["Phase", "Timeline", "draw_timeline"]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of a download in which one deadline of one state holds."""

    state: InstallationState
    begins: float
    """In seconds from the beginning of the download."""
    ends: float
    """When another phase begins, the package is installed, or the deadline passes."""
    octets: int
    """How many octets of the package are there when it begins."""
    command: Command | None
    """The command that it begins with; None at the beginning of the download."""
    deadline: Deadline | None
    """The download timeout in force; the activity timeout never passes while octets come."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A download from its beginning to its end."""

    rate: float
    """In octets a second."""
    octets: int
    """How many there are of the package."""
    front_matter: int
    """How many of them are header, command list and signature block: no command is processed before."""
    phases: tuple[Phase, ...]
    passed: Deadline | None
    """The deadline that ends it; None where the package gets installed."""

    @property
    def seconds(self) -> float:
        """How long all octets take."""
        return self.octets / self.rate

    @property
    def ends(self) -> float:
        """When it ends, in one way or the other, in seconds from its beginning."""
        return self.phases[-1].ends

    @property
    def arrived(self) -> int:
        """How many octets are there then."""
        return min(self.octets, int(self.ends * self.rate + 1e-6))


def draw_timeline(package: Package, rate: float, timeouts: Timeouts) -> Timeline:
    """Return how a download of *package* would run.

    Args:
        package: The package, trusted or not.
        rate: Octets a second, all the time; commands take none.
        timeouts: What holds until a command says otherwise.
    """
    watch = Watch.begin(0, timeouts)
    phases: list[Phase] = []
    begins, octets, begun_with = 0.0, 0, None
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
        if not watch.timeouts.activity or 1 / rate < watch.timeouts.activity:  # or the next one is too late
            watch = watch.octets(now)
        passed = watch.passed(now)
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
    """Give each command, and how many octets are there when it can be processed; at last the end of all."""
    needs = {file.command: package.payload_offset + file.range.end for file in package.files}
    arrived = package.payload_offset
    for command in package.commands:
        arrived = max(arrived, needs.get(command.index, 0))
        yield command, arrived
    yield None, package.payload_offset + package.header.payload_length
