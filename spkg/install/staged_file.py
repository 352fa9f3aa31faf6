"""A new file in the installer's own directory for bytes of the payload, hashed while it is written."""

from collections.abc import Iterable

from spkg.common.digests import Digest
from spkg.format.ranges import Range
from spkg.install.new_file import NewFile
from spkg.install.root import Root
from spkg.install.tree_path import Parts
from spkg.verify.hasher import Hasher

__all__ = ["Landing"]


class Landing(Hasher):
    """A consumer that writes its range into a file.

    Args:
        root: The root.
        path: The file, which does not exist yet.
        wanted: The range of the payload.
        algorithms: The digests to compute.
    """

    KEEPS = True

    def __init__(self, root: Root, path: Parts, wanted: Range, algorithms: Iterable[Digest]) -> None:
        super().__init__(wanted, algorithms)
        self._root = root
        self._path = path
        self._file: NewFile | None = None

    def begin(self) -> None:
        """Make the file."""
        super().begin()
        self._file = self._root.create(self._path)

    def rewind(self) -> bool:
        """Remove the file."""
        self.close()
        self._root.unlink(self._path)
        return super().rewind()

    def keep(self, octets: memoryview) -> None:
        """Write the next bytes."""
        assert self._file is not None  # begin comes before
        self._file.write(octets)

    def finish(self) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._file is not None:
            self._file.close()
            self._file = None
