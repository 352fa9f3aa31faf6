"""The figures of the README, as ratios to what the same machine does in the same minute.

What is compared runs in turn, A B A B …, so that a machine that slows down slows down both; figures are
medians over the pairs, with the least and the most behind them.  It measures and does not judge: the exit
status is 0 unless something could not run.  It needs nothing but Python, ``openssl`` and ``cp``; OSTree and
Mender are measured beside where Debian's packages ``ostree``, ``mender-client`` and ``mender-artifact`` are.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import disk_usage, rmtree, which
from statistics import median
from tempfile import TemporaryDirectory, gettempdir, mkdtemp
from typing import IO, Final, Literal

__all__ = ["SPKG", "Usage", "large_directory", "main", "measure"]

ROOT: Final = Path(__file__).parent.parent.parent
FILES: Final = 8
"""How many sources the large package has."""
MANY: Final = 700
"""How many files of 4 KiB the package has that is to be installed durably."""
SMALL: Final = 4096
"""The size of the small package, in octets."""
UNITS: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
BLOCK: Final = 1 << 20
MEMORY: Final = 64
"""The most memory that anything may take, in MiB."""

NULL_ACS: Final = ROOT / "tests" / "support" / "null_acs.py"
"""What simulated devices are measured with."""
FLEET: Final = 10_000
"""How many there are."""
FLEET_RATE: Final = 2000
"""How many sessions a second they are to have at least."""
FLEET_MEMORY: Final = 512
"""The most memory that they may take, in MiB."""
CLIENTS: Final = 16
SERVED: Final = 1000
"""How many vouchers a service issues at most in one turn, and at least: one for each client."""
POSTGRES: Final = bool(which("postgres") or [*Path("/usr/lib/postgresql").glob("*/bin/postgres")])
RATES: Final = Path(__file__).parent / "voucher_rates.py"
"""What measures within a process."""

LAUNCHER: Final = """
import os, sys, time
report = int(sys.argv[1])
os.set_inheritable(report, False)
begin = time.perf_counter()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(child, 0)
wall = time.perf_counter() - begin
status = os.waitstatus_to_exitcode(status)
os.write(report, repr((status, wall, used.ru_utime + used.ru_stime, used.ru_maxrss)).encode())
"""
"""Runs a program and writes down what it took.

Linux counts what a process took before it became another program, too: only from a small one can the
memory of a child be told.
"""


def _find_spkg() -> tuple[str, ...]:
    """Return how spkg is called: as it was installed beside this Python, or out of the clone."""
    installed = Path(sys.executable).parent / "spkg"
    return (str(installed),) if installed.exists() else (sys.executable, str(ROOT / "cli.py"))


SPKG: Final = _find_spkg()


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one run of a program took, and what it said."""

    status: int
    wall: float
    """Seconds from its start to its end."""
    cpu: float
    """Seconds of all cores, its own and the system's for it."""
    resident: float
    """The most memory it had at once, in MiB."""
    stdout: str
    stderr: str


def measure(
    command: Sequence[str | Path], *, cwd: Path | None = None, stdin: int | IO[bytes] = subprocess.DEVNULL
) -> Usage:
    """Run a program to its end.

    Raises:
        OSError: It can't be started.
    """
    read_end, write_end = os.pipe()
    launcher = (sys.executable, "-I", "-S", "-c", LAUNCHER, str(write_end))
    try:
        done = subprocess.run(
            [*launcher, *command],
            cwd=cwd,
            stdin=stdin,
            capture_output=True,
            pass_fds=(write_end,),
            text=True,
            errors="backslashreplace",
            check=False,
        )
    finally:
        os.close(write_end)
        with os.fdopen(read_end) as report:
            told = report.read()
    if not told:
        raise OSError(f"{command[0]} can't be run: {done.stderr}")
    status, wall, cpu, resident = (float(number) for number in told.strip("()").split(","))
    return Usage(
        status=int(status),
        wall=wall,
        cpu=cpu,
        resident=resident / 1024,
        stdout=done.stdout,
        stderr=done.stderr,
    )


def large_directory() -> str:
    """Return where large files go: what is in /tmp may be in memory, what is in /var/tmp never is."""
    return "/var/tmp" if os.access("/var/tmp", os.W_OK) else gettempdir()  # noqa: S108 - a directory is made in it


class FailedError(Exception):
    """A program that is to be measured did not do its work."""


def run(*command: str | Path) -> Usage:
    """Run a program that has to succeed."""
    usage = measure(command)
    if usage.status:
        called = " ".join(map(str, command))
        raise FailedError(f"{called}: status {usage.status}: {usage.stderr.strip()}")
    return usage


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure beside what it is to be."""

    name: str
    figures: Sequence[float]
    """One of each pair, or of each run."""
    target: float
    unit: Literal["x", "ms", "MiB", "commits"]
    detail: str

    @property
    def figure(self) -> float:
        """What counts: of ratios and times the median, of all else the most."""
        return median(self.figures) if self.unit in {"x", "ms"} else max(self.figures)

    def cells(self) -> tuple[str, ...]:
        """Return the row as it is printed."""
        digits = 2 if self.unit == "x" else 1
        return (
            self.name,
            f"{self.figure:.{digits}f} {self.unit}",
            f"{min(self.figures):.{digits}f}-{max(self.figures):.{digits}f}",
            f"{self.target:g} {self.unit}",
            "ok" if self.figure <= self.target else "over",
            self.detail,
        )


FLAT: Final = 16
"""How much more memory many devices may take than one, in MiB."""
OPTIONS: Final = """
[[option]]
ident = "IPTV"
mode = "EnableWithExpiration"
duration = 12
duration-units = "Months"
[[option]]
ident = "QoS"
mode = "EnableWithoutExpiration"
"""
COMPARED: Final = {
    "sign, bare key": ("voucher signed, RSA-2048", round(1 / 0.85, 2)),
    "sign, python-xmlsec": ("the same, to python-xmlsec", 1.0),
    "verify, floor": ("voucher verified, chain kept", round(1 / 0.5, 2)),
    "verify, python-xmlsec": ("the same, to python-xmlsec with a chain", 1.0),
    "sign, 64 Options and 1": ("voucher of 64 Options signed, to one of 1", 40),
    "verify, 64 Options and 1": ("the same verified", 40),
}
"""What is measured of vouchers, what it is called, and how long it may take, to the other's time."""

MENDER: Final = """
set -e
mount -t tmpfs none /etc/mender
echo artifact_name=none >/etc/mender/artifact_info
mender --config "$1/mender.conf" --data "$1/data" install "$1/many.mender"
exec sync -f "$1/landed"
"""
"""Installs with Mender, which wants to know what is there already, in a mount namespace of its own."""

NOTES: Final = """
Ratios (x) are to 'openssl dgst -sha1' of the package (verify), to 'cp' and 'openssl dgst -sha1' of the
sources (build), to these and 'sync -f' (apply), to 'cp -r' and 'sync -f' (many files), and to
'python -c "import click, cryptography.x509"' (the small package).  The start-up, measured as 'spkg verify' of
the small package, is subtracted from all other figures of packages: its row bounds it.  OSTree pulls a commit
of the files into a repository and checks it out; Mender installs them as a directory.  Vouchers of two
Options are compared by their time: with the bare key signing as much, with parsing, shape, canonical XML and
key alone (verified), and with python-xmlsec.  16 clients ask a service, the library issues one by one, both
with one PostgreSQL that does not sync.  The fleet shares the cores with the server that answers it.
A session of an agent is compared with http.client doing the same posts, its start with
'python -c "import requests, lxml.etree"'; of what its processes share, memory is counted once.
Memory is the most of all runs, resident."""
HEADINGS: Final = ("row", "figure", "min-max", "target", "", "medians")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A directory with all that is measured."""

    path: Path
    size: int
    pairs: int
    devices: int
    """How many get a voucher in a bulk run."""

    @property
    def sources(self) -> list[Path]:
        """The files that the large package is built from."""
        return [self.path / f"file{number}" for number in range(FILES)]

    @property
    def whole(self) -> list[Path]:
        """One file as large as all of them together."""
        return [self.path / "whole"]

    @property
    def large(self) -> Path:
        """The large package."""
        return self.path / "large.spkg"

    @property
    def small(self) -> Path:
        """The package of 4 KiB."""
        return self.path / "small.spkg"

    def prepare(self) -> None:
        """Make keys, sources and packages; what this reads and writes is in memory afterwards."""
        room = disk_usage(self.path).free
        if room < 7 * self.size:  # sources twice, their copies, three packages, and what is written
            raise FailedError(f"{self.path} has {room >> 20} MiB of room, not {7 * self.size >> 20}")
        # As an installation does; or what changed since would be compiled at each start.
        run(sys.executable, "-m", "compileall", "-q", ROOT / "spkg", ROOT / "vouchers")
        run(*SPKG, "keygen", self.path / "keys")
        for source in self.sources:
            _fill(source, self.size // FILES)
        _describe(self.path / "large.toml", self.sources)
        self.build(self.large)
        _fill(self.whole[0], self.size)
        _describe(self.path / "whole.toml", self.whole)
        self.build(self.path / "whole.spkg", "whole.toml")

        (self.path / "many").mkdir()
        sources = [self.path / "many" / f"file{number}" for number in range(MANY)]
        for source in sources:
            source.write_bytes(os.urandom(SMALL))
        _describe(self.path / "many.toml", sources)
        self.build(self.path / "many.spkg", "many.toml")
        source = self.path / "one"
        _describe(self.path / "small.toml", [source])
        _fill(source, 1)
        self.build(self.small, "small.toml")
        _fill(source, SMALL - self.small.stat().st_size + 1)
        self.build(self.small, "small.toml", "--force")
        if self.small.stat().st_size != SMALL:
            raise FailedError(f"the small package has {self.small.stat().st_size} octets, not {SMALL}")

    def build(self, package: Path, manifest: str = "large.toml", *more: str) -> Usage:
        """Build a package, signed."""
        keys = ("--key", self.path / "keys" / "signer.key", "--cert", self.path / "keys" / "signer.pem")
        return run(*SPKG, "build", self.path / manifest, "-o", package, *keys, *more)

    def verify(self, package: Path, *more: str) -> Usage:
        """Verify a package."""
        return run(*SPKG, "verify", package, "--trust", self.path / "keys" / "ca.pem", *more)

    def build_again(self) -> Usage:
        """Build the large package once more, beside the other."""
        package = self.path / "again.spkg"
        package.unlink(missing_ok=True)
        os.sync()  # what others wrote must not be carried out, and counted, while this runs
        return self.build(package)

    def copy_and_digest(self, sources: Sequence[Path] = ()) -> Usage:
        """Do with ``cp`` and ``openssl`` what building has to do in any case."""
        copies = self.path / "copies"
        copies.mkdir(exist_ok=True)
        for copy in copies.iterdir():
            copy.unlink()
        os.sync()
        copied = run("cp", *(sources or self.sources), copies)
        hashed = run("openssl", "dgst", "-sha1", *(sources or self.sources))
        return replace(copied, wall=copied.wall + hashed.wall, cpu=copied.cpu + hashed.cpu)

    def apply(self, package: Path, *more: str) -> Usage:
        """Install a package in an empty root."""
        root = Path(mkdtemp(dir=self.path, prefix="root-"))
        os.sync()
        trust = self.path / "keys" / "ca.pem"
        return run(*SPKG, "apply", package, "--root", root, "--trust", trust, "--no-progress", *more)

    def apply_over_others(self, *more: str) -> tuple[Usage, Path]:
        """Install the many files over as many others, and return where."""
        root = Path(mkdtemp(dir=self.path, prefix="over-"))
        for source in (self.path / "many").iterdir():
            (root / source.name).write_bytes(bytes(SMALL))
        os.sync()
        trust = ("--trust", self.path / "keys" / "ca.pem")
        package = self.path / "many.spkg"
        return run(*SPKG, "apply", package, "--root", root, *trust, "--no-progress", *more), root

    def go_back(self, root: Path) -> Usage:
        """Go back to the files that were there."""
        os.sync()
        return run(*SPKG, "rollback", "--root", root)

    def apply_large(self, package: Path, *more: str) -> Usage:
        """Install a large package, where there is no room for it several times."""
        for root in self.path.glob("root-*"):
            rmtree(root)
        return self.apply(package, *more)

    def copy_digest_and_sync(self, sources: Sequence[Path]) -> Usage:
        """Do with ``cp``, ``openssl`` and ``sync`` what installing a large package has to do."""
        copied = self.copy_and_digest(sources)
        synced = run("sync", "-f", self.path / "copies")
        return replace(copied, wall=copied.wall + synced.wall)

    def copy_many_and_sync(self) -> Usage:
        """Write many small files, and make them durable at once."""
        # Each time elsewhere: a file system may shun names and inodes that were freed a moment ago.
        copies = Path(mkdtemp(dir=self.path, prefix="copies-"))
        os.sync()
        copied = run("cp", "-r", self.path / "many", copies)
        synced = run("sync", "-f", copies)
        return replace(copied, wall=copied.wall + synced.wall)

    def prepare_rivals(self) -> dict[str, Callable[[], Usage]]:
        """Return how other programs install the many files, as far as they are there."""
        many = self.path / "many"
        found: dict[str, Callable[[], Usage]] = {}
        if which("ostree"):
            served = self.path / "served"
            run("ostree", "init", f"--repo={served}", "--mode=archive")
            run("ostree", "commit", f"--repo={served}", "-b", "main", f"--tree=dir={many}")
            found["OSTree"] = self.apply_with_ostree
        if (
            which("mender")
            and which("mender-artifact")
            and os.geteuid() == 0
            and Path("/etc/mender").is_dir()
        ):
            (self.path / "mender.conf").write_text("{}", encoding="utf-8")
            (self.path / "dest_dir").write_text(str(self.path / "landed"), encoding="utf-8")
            files = ("-f", self.path / "update.tar", "-f", self.path / "dest_dir")
            run("tar", "-cf", self.path / "update.tar", "-C", many, ".")
            named = ("-n", "one", "-t", "bench", "-T", "directory", "-o", self.path / "many.mender")
            run("mender-artifact", "write", "module-image", *named, *files)
            found["Mender"] = self.apply_with_mender
        return found

    def apply_with_ostree(self) -> Usage:
        """Install the many files with OSTree, in an empty repository and an empty directory."""
        place = Path(mkdtemp(dir=self.path, prefix="ostree-"))
        repository = f"--repo={place / 'repository'}"
        run("ostree", "init", repository, "--mode=bare" if os.geteuid() == 0 else "--mode=bare-user")
        os.sync()
        pulled = run("ostree", "pull-local", repository, self.path / "served", "main")
        out = run("ostree", "checkout", repository, "-H", "main", place / "out")
        synced = run("sync", "-f", place)
        return replace(pulled, wall=pulled.wall + out.wall + synced.wall)

    def apply_with_mender(self) -> Usage:
        """Install the many files with Mender, in an empty directory."""
        for name in ("data", "landed"):
            if (self.path / name).exists():
                (self.path / name).rename(Path(mkdtemp(dir=self.path, prefix="mender-")) / name)
        (self.path / "data" / "scripts").mkdir(parents=True)
        (self.path / "data" / "device_type").write_text("device_type=bench\n", encoding="utf-8")
        os.sync()
        return run("unshare", "--mount", "sh", "-c", MENDER, "sh", self.path)

    def digest(self) -> Usage:
        """Hash the large package with ``openssl``."""
        return run("openssl", "dgst", "-sha1", self.large)

    def in_turn(self, first: Callable[[], Usage], second: Callable[[], Usage]) -> list[tuple[Usage, Usage]]:
        """Run two things in turn, once more than is counted."""
        return [(first(), second()) for _ in range(self.pairs + 1)][1:]

    def rows(self) -> Iterator[Row]:
        """Measure, and give a row as soon as it is there."""
        start = self.in_turn(
            lambda: self.verify(self.small),
            lambda: run(sys.executable, "-c", "import click, cryptography.x509"),
        )
        startup = median(ours.wall for ours, _ in start)
        startup_cpu = median(ours.cpu for ours, _ in start)
        what = f"{_shown(self.size)} of {FILES} files"

        def verified(name: str, target: float, *more: str) -> tuple[Row, Row]:
            pairs = self.in_turn(lambda: self.verify(self.large, *more), self.digest)
            ratios = [max(0.0, ours.wall - startup) / theirs.wall for ours, theirs in pairs]
            return (
                Row(name=name, figures=ratios, target=target, unit="x", detail=_walls(pairs, startup)),
                _memory(f"{name}: memory", [ours for ours, _ in pairs]),
            )

        cores = len(os.sched_getaffinity(0))
        parallel, parallel_memory = verified(f"verify {what}, all {cores} cores", 0.6)
        yield parallel
        alone, alone_memory = verified(f"verify {what}, --jobs 1", 1.0, "--jobs", "1")
        yield alone
        pairs = self.in_turn(self.build_again, self.copy_and_digest)
        built_memory = _memory(f"build {what}: memory", [ours for ours, _ in pairs])
        yield Row(
            name=f"build {what}, CPU time",
            figures=[max(0.0, ours.cpu - startup_cpu) / theirs.cpu for ours, theirs in pairs],
            target=1.15,
            unit="x",
            detail=f"{median(ours.cpu for ours, _ in pairs):.2f} s less {startup_cpu:.2f} s of start-up, "
            f"against {median(theirs.cpu for _, theirs in pairs):.2f} s",
        )

        def applied(
            name: str, package: Path, sources: Sequence[Path], target: float, *more: str
        ) -> tuple[Row, list[Usage]]:
            pairs = self.in_turn(
                lambda: self.apply_large(package, *more), lambda: self.copy_digest_and_sync(sources)
            )
            ratios = [max(0.0, ours.wall - startup) / theirs.wall for ours, theirs in pairs]
            row = Row(name=name, figures=ratios, target=target, unit="x", detail=_walls(pairs, startup))
            return row, [ours for ours, _ in pairs]

        one = f"{_shown(self.size)} of one file"
        row, usages = applied(f"apply {what}, durable, all {cores} cores", self.large, self.sources, 0.8)
        yield row
        row, more = applied(
            f"apply {one}, durable, all {cores} cores", self.path / "whole.spkg", self.whole, 1.0
        )
        yield row
        usages += more
        row, more = applied(f"apply {what}, durable, --jobs 1", self.large, self.sources, 1.2, "--jobs", "1")
        yield row
        applied_memory = _memory(f"apply {_shown(self.size)}: memory", usages + more)
        yield from self.many_rows()
        yield parallel_memory
        yield alone_memory
        yield built_memory
        yield applied_memory
        yield Row(
            name=f"verify {SMALL >> 10} KiB, whole process",
            figures=[ours.wall / theirs.wall for ours, theirs in start],
            target=2.5,
            unit="x",
            detail=_walls(start),
        )
        yield from self.trial_rows()
        yield from self.voucher_rows()
        yield from self.service_rows()
        yield from self.fleet_rows()
        yield from self.agent_rows()

    def many_rows(self) -> Iterator[Row]:
        """Measure what many small files take, and what they take others, in turn."""
        others = {f"apply {MANY} files of {SMALL >> 10} KiB, durable": (2.0, self.copy_many_and_sync)}
        others |= {f"the same, to {name}": (1.0, install) for name, install in self.prepare_rivals().items()}
        start: list[Usage] = []
        ours: list[Usage] = []
        theirs: dict[str, list[Usage]] = {name: [] for name in others}
        for _ in range(self.pairs + 1):
            start.append(self.verify(self.small))
            ours.append(self.apply(self.path / "many.spkg"))
            for name, (_, install) in others.items():
                theirs[name].append(install())
        own = [max(0.0, one.wall - first.wall) for first, one in zip(start[1:], ours[1:], strict=True)]
        for name, (target, _) in others.items():
            pairs = [*zip(ours[1:], theirs[name][1:], strict=True)]
            yield Row(
                name=name,
                figures=[mine / other.wall for mine, (_, other) in zip(own, pairs, strict=True)],
                target=target,
                unit="x",
                detail=_walls(pairs, median(one.wall for one in start[1:])),
            )

    def trial_rows(self) -> Iterator[Row]:
        """Measure what an installation on trial and going back take, beside one that stays."""
        start: list[Usage] = []
        plain: list[Usage] = []
        trials: list[Usage] = []
        back: list[Usage] = []
        for _ in range(self.pairs + 1):
            start.append(self.verify(self.small))
            plain.append(self.apply_over_others()[0])
            on_trial, root = self.apply_over_others("--back-up", "1h")
            trials.append(on_trial)
            back.append(self.go_back(root))
        startup = median(one.wall for one in start[1:])
        for name, target, usages in (
            (f"apply --back-up {MANY} files, to apply", 1.1, trials),
            (f"rollback of {MANY} files, to their apply", 0.6, back),
        ):
            pairs = [*zip(usages[1:], plain[1:], strict=True)]
            figures = [
                max(0.0, one.wall - startup) / max(0.001, other.wall - startup) for one, other in pairs
            ]
            yield Row(name=name, figures=figures, target=target, unit="x", detail=_walls(pairs, startup))

    def voucher_rows(self) -> Iterator[Row]:
        """Measure what vouchers take."""
        rates = json.loads(run(sys.executable, RATES, str(self.pairs)).stdout)
        for name, (against, target) in COMPARED.items():
            pairs = rates[name]
            detail = " against ".join(f"{median(side) * 1e6:.0f} us" for side in zip(*pairs, strict=True))
            figures = [ours / theirs for ours, theirs in pairs]
            yield Row(name=against, figures=figures, target=target, unit="x", detail=detail)
        devices, options = self.path / "devices.csv", self.path / "options.toml"
        options.write_text(OPTIONS, encoding="utf-8")
        lines = "".join(f"00D09E,Gateway,{number}\n" for number in range(self.devices))
        devices.write_text(f"oui,product_class,serial_number\n{lines}", encoding="utf-8")
        one = self.path / "one.csv"
        one.write_text("oui,product_class,serial_number\n00D09E,Gateway,1\n", encoding="utf-8")
        small = [self.issue(one, 1) for _ in range(self.pairs)]
        startup = median(usage.wall for usage in small)
        pairs = self.in_turn(lambda: self.issue(devices, 2), lambda: self.issue(devices, 1))
        yield Row(
            name=f"vouchers for {self.devices} devices, two processes and one",
            figures=[
                max(0.0, two.wall - startup) / max(0.01, single.wall - startup) for two, single in pairs
            ],
            target=round(1 / 1.8, 2),
            unit="x",
            detail=_walls(pairs, startup),
        )
        most = max(usage.resident for pair in pairs for usage in pair)
        least = min(usage.resident for usage in small)
        yield Row(
            name=f"vouchers for {self.devices} devices: memory beyond that for one",
            figures=[max(0.0, most - least)],
            target=FLAT,
            unit="MiB",
            detail=f"{most:.1f} MiB, {least:.1f} MiB for one",
        )
        from distributed import LocalCluster  # noqa: PLC0415 - slow, and for this row alone

        with LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", local_directory=str(self.path)
        ) as cluster:
            there = ("--cluster", str(cluster.scheduler_address))
            self.issue(devices, *there)  # both workers open the key
            far = median(self.issue(one, *there).wall for _ in range(self.pairs))
            pairs = self.in_turn(lambda: self.issue(devices, *there), lambda: self.issue(devices, 2))
        yield Row(
            name=f"vouchers for {self.devices} devices, two workers of a cluster and two processes",
            figures=[max(0.0, theirs.wall - far) / max(0.01, ours.wall - startup) for theirs, ours in pairs],
            target=1.2,
            unit="x",
            detail=_walls(pairs, far),
        )

    def service_rows(self) -> Iterator[Row]:
        """Measure what a service does that several clients ask, where PostgreSQL is."""
        if not POSTGRES:
            return
        given = (str(self.pairs), str(max(CLIENTS, min(self.devices, SERVED))))
        done = measure([sys.executable, "-m", "tests.benchmarks.service_rates", *given], cwd=ROOT)
        if done.status:
            raise FailedError(f"service_rates: status {done.status}: {done.stderr.strip()}")
        found = json.loads(done.stdout)
        for name, target, pairs in (
            ("voucher from the service, PostgreSQL, to the library", 2.0, found["service and library"]),
            ("the same: the slowest of 100 requests, to the median", 10.0, found["p99 and median"]),
        ):
            detail = " against ".join(f"{median(side) * 1e3:.2f} ms" for side in zip(*pairs, strict=True))
            figures = [ours / theirs for ours, theirs in pairs]
            yield Row(name=name, figures=figures, target=target, unit="x", detail=detail)

    def fleet_rows(self) -> Iterator[Row]:
        """Measure what simulated devices do with an ACS that does next to nothing."""
        reports = [json.loads(self.simulate()) for _ in range(self.pairs + 1)][1:]
        each = median(one["cpu_seconds_per_session"] for one in reports)
        rate = median(one["rate"] for one in reports)
        shown = f"fleet of {FLEET} devices"
        yield Row(
            name=f"{shown}, two processes: {FLEET_RATE} sessions/s, to theirs",
            figures=[FLEET_RATE / one["rate"] for one in reports],
            target=1.0,
            unit="x",
            detail=f"{rate:.0f} sessions/s, {each * 1e6:.0f} us of CPU a session",
        )
        memory = [sum(one["memory_bytes"] for one in report["workers"]) / (1 << 20) for report in reports]
        yield Row(
            name=f"{shown}: memory",
            figures=memory,
            target=FLEET_MEMORY,
            unit="MiB",
            detail=f"{median(memory):.1f} MiB",
        )

    def simulate(self) -> str:
        """Run simulated devices as fast as they can, and return their report."""
        with subprocess.Popen(
            (sys.executable, NULL_ACS), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as acs:
            assert acs.stdout is not None  # it is a pipe
            url = f"http://127.0.0.1:{int(acs.stdout.readline())}/"
            ordered = ("--count", str(FLEET), "--rate", str(FLEET // 2), "--duration", "5s")
            try:
                return run(*SPKG, "agent", "fleet", "--acs", url, *ordered, "--jobs", "2", "--json").stdout
            finally:
                acs.communicate()

    def agent_rows(self) -> Iterator[Row]:
        """Measure what an agent takes in a session, at its start, and at rest."""
        done = measure([sys.executable, "-m", "tests.benchmarks.agent_rates", str(self.pairs)], cwd=ROOT)
        if done.status:
            raise FailedError(f"agent_rates: status {done.status}: {done.stderr.strip()}")
        found = json.loads(done.stdout)
        for name, target, pairs in (
            ("agent: session of three posts, CPU time", 6.0, found["three posts"]),
            ("agent: start to Inform", 3.0, found["start to Inform"]),
        ):
            detail = " against ".join(f"{median(side) * 1e3:.1f} ms" for side in zip(*pairs, strict=True))
            figures = [ours / theirs for ours, theirs in pairs]
            yield Row(name=name, figures=figures, target=target, unit="x", detail=detail)
        times = [seconds * 1e3 for seconds in found["request to Inform"]]
        name = "agent: connection request to Inform"
        yield Row(name=name, figures=times, target=50, unit="ms", detail="from the answer on")
        for name, most in (("a session without news", 0), ("SetParameterValues", 2), ("Download", 2)):
            made = [found["commits"][name]]
            yield Row(name=f"agent: {name}", figures=made, target=most, unit="commits", detail="of its state")
        yield Row(
            name="agent: both processes at rest",
            figures=[found["memory"]],
            target=48,
            unit="MiB",
            detail=f"{found['wakes']} wake-ups in 3 s",
        )

    def issue(self, devices: Path, jobs: int | str, address: str = "") -> Usage:
        """Issue a voucher to each device of a list, by so many processes, or ``--cluster`` and an address."""
        where = (str(jobs), address) if address else ("--jobs", str(jobs))
        for old in (self.path / "ledger.db", self.path / "vouchers"):
            rmtree(old, ignore_errors=True)
            old.unlink(missing_ok=True)
        keys = ("--key", self.path / "keys" / "signer.key", "--cert", self.path / "keys" / "signer.pem")
        lists = ("--devices", devices, "--options", self.path / "options.toml", *where)
        output = (
            "--ledger",
            self.path / "ledger.db",
            "--new-ledger",
            "--batch",
            "b",
            "--out-dir",
            self.path / "vouchers",
        )
        return run(*SPKG, "voucher", "issue", *lists, *keys, *output, "--no-progress")


def _memory(name: str, usages: Sequence[Usage]) -> Row:
    figures = [usage.resident for usage in usages]
    return Row(name=name, figures=figures, target=MEMORY, unit="MiB", detail=f"{median(figures):.1f} MiB")


def _walls(pairs: Sequence[tuple[Usage, Usage]], startup: float = 0) -> str:
    """Return the seconds that ratios come from."""
    ours = f"{median(first.wall for first, _ in pairs):.2f} s"
    less = f" less {startup:.2f} s of start-up" if startup else ""
    return f"{ours}{less}, against {median(second.wall for _, second in pairs):.2f} s"


def _fill(path: Path, size: int) -> None:
    """Write octets that nothing can make smaller."""
    with path.open("wb") as file:
        for done in range(0, size, BLOCK):
            file.write(os.urandom(min(BLOCK, size - done)))
        file.flush()
        os.fsync(file.fileno())  # or it would be written while others are measured


def _describe(path: Path, sources: Sequence[Path]) -> None:
    """Write a manifest that extracts *sources*, which lie beside it."""
    steps = (
        f'[[step]]\nextract = "/{source.name}"\nfrom = "{source.relative_to(path.parent)}"\n'
        for source in sources
    )
    path.write_text("".join(steps), encoding="utf-8")


def _shown(size: int) -> str:
    """Return a number of octets as people write it."""
    unit, factor = next(
        ((unit, factor) for unit, factor in reversed(UNITS.items()) if size % factor == 0), ("octets", 1)
    )
    return f"{size // factor} {unit}"


def _size(text: str) -> int:
    """Return the number of octets that *text* is."""
    number = text.rstrip("KMGiB")
    factor = UNITS.get(text[len(number) :], 1)
    if not number.isdecimal() or text not in {number, *(number + unit for unit in UNITS)}:
        raise argparse.ArgumentTypeError(f"{text!r} is no size, as 64MiB is")
    size = int(number) * factor
    if size < 8 * FILES:
        raise argparse.ArgumentTypeError(f"{FILES} files want {8 * FILES} octets at least")
    return size


def _told(*command: str) -> str:
    """Return the first line of what a program says."""
    return run(*command).stdout.partition("\n")[0].strip()


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Give the lines of a table, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if 0 < index < 4 else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _load() -> str:
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Print the figures of the README, as ratios.")
    parser.add_argument("--size", type=_size, default=_size("1GiB"), help="of the payload  [default: 1GiB]")
    parser.add_argument(
        "--pairs", type=int, choices=range(1, 100), default=5, metavar="N", help="[default: 5]"
    )
    parser.add_argument("--devices", type=int, default=3000, help="with a voucher each  [default: 3000]")
    parser.add_argument(
        "--directory", default=large_directory(), help="where files go  [default: %(default)s]"
    )
    given = parser.parse_args(arguments)
    cores = len(os.sched_getaffinity(0))
    try:
        with TemporaryDirectory(dir=given.directory, prefix="spkg-bench-") as name:
            bench = Bench(path=Path(name), size=given.size, pairs=given.pairs, devices=given.devices)
            print(f"spkg: {' '.join(SPKG)}; Python {sys.version.split()[0]}; {_told('openssl', 'version')}")
            print(f"{cores} cores, load {_load()}; {given.pairs} pairs; in {name}")
            sys.stdout.flush()
            bench.prepare()
            rows = [row.cells() for row in bench.rows()]
    except (FailedError, OSError) as exc:
        print(f"not measured: {exc}", file=sys.stderr)
        return 1
    print(f"load at the end {_load()}", end="\n\n")
    for line in _table([HEADINGS, *rows]):
        print(line)
    print(NOTES)
    if os.getloadavg()[0] > cores + 1:
        print("This machine is busy: the first row wants two cores that are free.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
