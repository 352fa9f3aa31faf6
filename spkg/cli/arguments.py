"""What the options of a command are turned into: policies, keys, files, times."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import BufferedReader, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from spkg.errors import FormatError, HostError, UsageError, os_problem

if TYPE_CHECKING:
    from spkg.common.boots import Boot
    from spkg.device import Device
    from spkg.download.timeouts import Timeouts
    from spkg.trust.dsse import DsseEnvelope
    from spkg.trust.keys import KeyAccess
    from spkg.trust.signers import Identity

__all__ = [
    "MAX_SECRET",
    "about",
    "boot_of",
    "check_output",
    "cores",
    "device_of",
    "given_options",
    "key_files",
    "key_inputs",
    "now",
    "package_source",
    "read_attestation",
    "read_identity",
    "read_input",
    "read_secret",
    "read_timeouts",
    "secret",
    "spare_inputs",
    "standard_input",
    "this_boot",
    "timestamp",
]

STANDARD_ERROR: Final = 2
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
MAX_BOOT_ID: Final = 64
MAX_SECRET: Final = 4096
"""The longest password or passphrase, in bytes."""


def read_identity(**key: Any) -> "Identity":
    """Return the identity that signs packages."""
    from spkg.trust.keys import load_identity

    return load_identity(*key_inputs(**key))


def read_attestation(path: Path) -> "DsseEnvelope":
    """Return the envelope in a file."""
    from spkg.trust.dsse import MAX_ATTESTATION, read_envelope

    with path.open("rb") as file:
        return read_envelope(file.read(MAX_ATTESTATION + 1), str(path))


def key_inputs(
    *,
    key: Path | str | None,
    cert: Path | None,
    chain: Path | None,
    key_password_env: str | None,
    key_password_file: Path | None,
) -> "tuple[Path | str, Path | None, Path | None, KeyAccess]":
    """Return where a key and its certificates are, and how the key can be used."""
    from time import monotonic

    from spkg.trust.keys import KeyAccess

    if key is None:
        raise UsageError("--key, the signer's key, and --cert, its certificate, are required")
    access = KeyAccess(
        passphrase=secret("--key-password", key_password_env, key_password_file),
        ask=_ask,
        # The passphrase is for us alone, also where another program signs.
        environment={name: value for name, value in os.environ.items() if name != key_password_env},
        clock=monotonic,
    )
    return key, cert, chain, access


def _ask(what: str) -> bytes | None:
    """Ask for a passphrase on the terminal, if somebody is there."""
    if sys.stdin is None or sys.stderr is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    given: str = click.prompt(what[:1].upper() + what[1:], hide_input=True, err=True)
    return os.fsencode(given)


def secret(
    option: str, variable: str | None, path: Path | None, descriptor: int | None = None
) -> bytes | None:
    """Return the value of a variable, or the first line of a file or descriptor; None if none is named."""
    ways = {"env": variable, "file": path, "fd": descriptor}
    given = [f"{option}-{name}" for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} are mutually exclusive")
    if variable is not None:
        if variable not in os.environ:
            raise UsageError(f"the environment variable {variable} is not set")
        return os.environb[os.fsencode(variable)]
    if path is not None:
        with path.open("rb") as file:
            return file.readline(MAX_SECRET).rstrip(b"\r\n")
    return None if descriptor is None else read_secret(option, descriptor)


def read_secret(option: str, descriptor: int) -> bytes:
    """Return the first line of a descriptor, which is then closed, so that no other process has it."""
    octets = b""
    try:
        while b"\n" not in octets and len(octets) < MAX_SECRET:
            more = os.read(descriptor, MAX_SECRET - len(octets))
            if not more:
                break
            octets += more
        if descriptor > STANDARD_ERROR:
            os.close(descriptor)
    except OSError as exc:
        raise HostError(f"{option}-fd {descriptor}: {os_problem(exc)}") from exc
    return octets.partition(b"\n")[0].rstrip(b"\r")


def package_source(name: Path) -> Path | BufferedReader:
    """Return where a package is read from: a file, or standard input for ``-``."""
    return BufferedReader(FileIO(standard_input(), closefd=False)) if str(name) == "-" else name


def standard_input() -> int:
    """Return the descriptor of standard input."""
    if sys.stdin is None:
        raise HostError("standard input is closed")
    return sys.stdin.fileno()


def check_output(output: Path, *, force: bool, option: str = "-o") -> None:
    """Refuse, before any work, an output that already exists or that can't be one.

    Args:
        output: The file.
        force: Whether it may exist.
        option: What named it.
    """
    from spkg.common.atomic_output import refuse_existing

    if str(output) == "-":
        raise UsageError(f"{option} takes a file, not standard output")
    refuse_existing(output, force=force)
    if not output.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(output))


def spare_inputs(output: Path, inputs: "Iterable[tuple[str, Any]]", *, what: str = "output") -> None:
    """Refuse an output that is also an input, even with --force."""
    for name, file in inputs:
        with suppress(OSError):
            if isinstance(file, Path) and file.samefile(output):
                raise UsageError(f"{output}: the {what} would overwrite an input ({name})")


def key_files(key: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return the files that the key options name, each with its option."""
    return ((f"--{name.replace('_', '-')}", file) for name, file in key.items())


def cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # only Linux has it
    return (os.cpu_count() or 1) if affinity is None else len(affinity(0))


def now() -> datetime:
    """Return the current time; the library itself never reads the clock."""
    return datetime.now(UTC)


def timestamp(*, no_clock: bool) -> str:
    """Return the time in the form of TransferComplete: without a clock, the time since boot (A.2.1)."""
    from spkg.common.times import time_since_boot, write_time

    if not no_clock:
        return write_time(now())
    from time import CLOCK_BOOTTIME, clock_gettime  # only Linux has them

    return time_since_boot(clock_gettime(CLOCK_BOOTTIME))


def this_boot() -> "Boot":
    """Return the boot of this device, and how much of it has passed.

    Raises:
        HostError: The kernel does not say.
    """
    from time import CLOCK_BOOTTIME, clock_gettime  # only Linux has them

    from spkg.common.boots import Boot

    try:
        identity = BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError) as exc:
        problem = os_problem(exc) if isinstance(exc, OSError) else f"{BOOT_ID}: {exc}"
        raise HostError(problem, hint="mount /proc: the kernel names the boot only there") from exc
    return Boot(identity=identity[:MAX_BOOT_ID], seconds=clock_gettime(CLOCK_BOOTTIME))


def boot_of(*, needed: bool) -> "Boot | None":
    """Return the boot of this device; None if it is not needed and the kernel does not say."""
    try:
        return this_boot()
    except HostError:
        if needed:
            raise
        return None


@contextmanager
def about(name: Path) -> Iterator[None]:
    """Add to an error which of several packages it is about."""
    try:
        yield
    except FormatError as exc:
        exc.source = exc.source or str(name)
        raise


def given_options(names: Iterable[str]) -> list[str]:
    """Return which of these options were given, as they are written on the command line."""
    context = click.get_current_context()
    given = {name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    return [option.opts[0] for option in context.command.params if option.name in given]


def read_timeouts(timeout: int, idle_timeout: int) -> "Timeouts":
    """Return the timeouts that apply until a package sets its own."""
    from spkg.download.timeouts import Timeouts

    return Timeouts(initial=timeout, activity=idle_timeout)


def device_of(
    file: Path | None, software_version: str | None, provisioning_code: str | None
) -> "Device | None":
    """Return what is known about the device; None if nothing is."""
    from dataclasses import replace

    from spkg.device import MAX_PROVISIONING_CODE, Device, load_device

    if len(provisioning_code or "") > MAX_PROVISIONING_CODE:
        problem = f"--provisioning-code must have at most {MAX_PROVISIONING_CODE} characters"
        raise UsageError(f"{problem}, got {len(provisioning_code or '')}")
    if file is None and software_version is None and provisioning_code is None:
        return None
    device = Device() if file is None else load_device(file)
    return replace(
        device,
        software_version=software_version or device.software_version,
        provisioning_code=provisioning_code or device.provisioning_code,
    )


def read_input(name: Path, most: int) -> bytes:
    """Return the contents of a file or of standard input, at most one byte more than *most*."""
    source = package_source(name)
    with source.open("rb") if isinstance(source, Path) else source as file:
        return file.read(most + 1)
