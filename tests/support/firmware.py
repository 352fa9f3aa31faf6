"""A gateway's firmware made of Debian packages: real programs, links and hundreds of names, for tests.

apt-get fetches the packages and checks them.  They are only ever unpacked: nothing out of them is run.

    python -m tests.support.firmware DIR
"""

import fcntl
import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Final

__all__ = ["CACHE", "PACKAGES", "FirmwareUnavailableError", "applets", "fetch", "make_tree"]

PACKAGES: Final = ("busybox-static", "dropbear-bin", "hostapd", "u-boot-qemu")
CACHE: Final = Path(__file__).parents[2] / ".cache" / "firmware"
"""Where the packages stay; what is there is not fetched again."""
PATIENCE: Final = 300
"""Seconds after which a program hangs."""
BUSYBOX: Final = ("bin/busybox", "usr/bin/busybox")
"""Where Debian has busybox, before and after it did away with /bin."""
DIRECTORIES: Final = ("etc", "run", "sbin", "var")
LINKS: Final = {
    "etc/mtab": "/proc/self/mounts",
    "sbin/init": "/{busybox}",
    "var/run": "../run",
}
"""The links an image has around its packages: one to no file of the tree, though this host may have one of
that name, one that is absolute, and one to a directory."""
APPLET: Final = re.compile(rb"[!-.0-~]+")


class FirmwareUnavailableError(Exception):
    """A part of the firmware can't be had; the message says which, and why."""


def make_tree(tree: Path, cache: Path = CACHE) -> None:
    """Unpack the packages into *tree*, an empty directory or none yet, and link what an image links.

    Raises:
        FirmwareUnavailableError: A package can't be fetched, or is not what it was.
    """
    archives = fetch(cache)
    for name in DIRECTORIES:
        (tree / name).mkdir(parents=True)
    tree = tree.resolve()
    links: dict[str, str] = {}
    for archive in archives:
        links |= _unpack(archive, tree)
    busybox = next((name for name in BUSYBOX if (tree / name).is_file()), None)
    if busybox is None:
        raise FirmwareUnavailableError("busybox-static has no busybox where it used to be")
    links |= {name: target.format(busybox=busybox) for name, target in LINKS.items()}
    beside = PurePosixPath(busybox).parent
    for applet in applets(tree / busybox):
        if not os.path.lexists(tree / beside / applet):
            links[str(beside / applet)] = "busybox"
    # Links come last, so that no file can be written through one.
    for name, target in links.items():
        _link(tree, name, target)


def fetch(cache: Path = CACHE) -> tuple[Path, ...]:
    """Return the packages, those that *cache* lacks fresh from Debian.

    Raises:
        FirmwareUnavailableError: One can't be had.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        missing = [name for name in PACKAGES if not _cached(cache, name)]
        if missing:
            _download(missing, cache)
        return tuple(_cached(cache, name)[-1] for name in PACKAGES)


def applets(busybox: Path) -> tuple[str, ...]:
    """Return the names that a busybox goes by, from the table in the program: it is not run.

    Raises:
        FirmwareUnavailableError: It has no such table.
    """
    octets = busybox.read_bytes()
    start = octets.find(b"[\0[[\0")  # the first two names, in the order of their octets
    names = octets[start : octets.find(b"\0\0", start)].split(b"\0") if start >= 0 else []
    if not names or not all(APPLET.fullmatch(name) for name in names):
        raise FirmwareUnavailableError(f"{busybox} has no table of applets")
    return tuple(name.decode() for name in names)


def _cached(cache: Path, name: str) -> list[Path]:
    return sorted(cache.glob(f"{name}_*.deb"))


def _download(names: Sequence[str], cache: Path) -> None:
    """Fetch packages into *cache*, where each appears whole or not at all."""
    patience = ("-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30")
    with TemporaryDirectory(dir=cache) as fresh:
        _run(["apt-get", "download", "--quiet=2", *patience, *names], Path(fresh), " ".join(names))
        for name in names:
            found = _cached(Path(fresh), name)
            if not found:
                raise FirmwareUnavailableError(f"apt-get download brought no {name}")
            found[0].rename(cache / found[0].name)


def _unpack(archive: Path, tree: Path) -> dict[str, str]:
    """Unpack all but the symbolic links of a Debian package, and return those."""
    octets = _run(["dpkg-deb", "--fsys-tarfile", str(archive)], tree, archive.name)
    links: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(octets), mode="r:") as files:
            plain: list[tarfile.TarInfo] = []
            for member in files:
                if ".." in PurePosixPath(member.name).parts or member.name.startswith("/"):
                    raise FirmwareUnavailableError(f"{archive}: {member.name} leads out of the tree")
                if member.issym():
                    links[str(PurePosixPath(member.name))] = member.linkname
                elif member.isfile() or member.isdir():
                    plain.append(member)
            # There is no link yet that could lead anywhere, and Python 3.11.2 has no filter.
            safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            files.extractall(tree, plain, **safe)  # noqa: S202 - each name was looked at
    except tarfile.TarError as exc:
        raise FirmwareUnavailableError(f"{archive}: {exc}") from exc
    return links


def _link(tree: Path, name: str, target: str) -> None:
    """Make a symbolic link, never through another one."""
    place = tree / name
    if ".." in PurePosixPath(name).parts or place.parent.resolve() != place.parent:
        raise FirmwareUnavailableError(f"the link {name} would not lie where it says")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def _run(command: Sequence[str], directory: Path, what: str) -> bytes:
    """Return what a program prints that is to get *what*."""
    called = f"{command[0]} {command[1]} {what}"
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise FirmwareUnavailableError(f"{called}: {exc}") from exc
    if done.returncode:
        reason = _last_error(done.stderr.decode(errors="backslashreplace").splitlines())
        raise FirmwareUnavailableError(f"{called}: {reason}")
    return done.stdout


def _last_error(lines: Iterable[str]) -> str:
    """Return the line that says why a program failed."""
    said = [line for line in lines if line.strip()]
    errors = [line for line in said if line.startswith(("E:", "Err:"))]
    return (errors or said or ["it says nothing"])[-1]


def main(arguments: Sequence[str]) -> int:
    """Make the tree in the directory that is named."""
    if len(arguments) != 1:
        print("usage: python -m tests.support.firmware DIR", file=sys.stderr)
        return 2
    tree = Path(arguments[0])
    if tree.is_dir() and any(tree.iterdir()):
        print(f"{tree} is not empty", file=sys.stderr)
        return 2
    try:
        make_tree(tree)
    except FirmwareUnavailableError as exc:
        print(f"no firmware: {exc}", file=sys.stderr)
        return 1
    entries = list(tree.rglob("*"))
    links = sum(entry.is_symlink() for entry in entries)
    files = sum(entry.is_file() and not entry.is_symlink() for entry in entries)
    print(f"{tree}: {files} files, {links} links")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
