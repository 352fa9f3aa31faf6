"""Files of a directory, put there and read again."""

from pathlib import Path
from typing import Final

__all__ = ["OLD", "listing", "plant", "tree"]

OLD: Final = {"bin/app": b"old", "keep": b"kept", "www/a/b": b"b", "m": b"moved"}


def plant(directory: Path, tree: dict[str, bytes] = OLD) -> None:
    for path, contents in tree.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(contents)


def tree(directory: Path) -> dict[str, bytes]:
    """Return the files below a directory, the installer's own aside."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and ".spkg" not in path.parts
    }


def listing(directory: Path) -> dict[str, bytes | None]:
    """Return what is in a directory, hidden or not: the contents of its files, None for all else."""
    return {
        entry.name: entry.read_bytes() if entry.is_file() and not entry.is_symlink() else None
        for entry in directory.iterdir()
    }
