"""A root to which this process is confined: it can change nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spkg.common.landlock import confine
from spkg.install.root import Root

__all__ = ["confined_root"]


@contextmanager
def confined_root(root: Path) -> Iterator[tuple[Root, bool]]:
    """Open a root and confine this process to it; also gives whether the kernel can.

    Raises:
        OSError: The root can't be opened.
    """
    with Root(root) as opened:
        yield opened, confine(opened.fileno()) > 0
