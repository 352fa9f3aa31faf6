"""The payload of a package: each source read once, hashed while it is copied, identical files stored once."""

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import FileIO
from typing import Final

from spkg.build.build_plan import BuildPlan, Contents, PlannedFile, located
from spkg.common.atomic_output import write_all
from spkg.common.digests import Digest
from spkg.common.portable import BINARY, CLOSE_ON_EXEC, NO_FOLLOW, NON_BLOCKING, read_at
from spkg.common.worker_threads import Crew
from spkg.errors import FormatError, file_name
from spkg.format.package import MAX_PAYLOAD
from spkg.verify.payload import CHUNK
from spkg.verify.single_pass import Progress

__all__ = ["PayloadWriter"]

TOO_MUCH: Final = f"the payload would exceed the limit of {MAX_PAYLOAD} bytes"


class PayloadWriter:
    """Stores files one after the other, and identical ones only once.

    Args:
        plan: The package that the files are for.
        output: The file that the payload is written to; None to find out only what is stored where.
        start: Where the payload begins in the output, in bytes.
        crew: Computes the second digest beside the first; None to compute both here.
    """

    def __init__(self, plan: BuildPlan, output: FileIO | None, start: int, crew: Crew | None) -> None:
        self._output = output
        self._crew = crew
        self._start = start
        self._plan = plan
        self._source = plan.manifest.source
        self._sharing = plan.manifest.share_payload
        # Without an output, the bytes of two files can't be compared: SHA-256 says whether they are the same.
        self._strong = plan.manifest.strong_digests or output is None
        self._stored: dict[tuple[int, bytes], tuple[int, bytes]] = {}
        self._known: dict[tuple[int, ...], Contents] = {}
        self._buffer = memoryview(bytearray(CHUNK))
        self.length = 0
        self.shared = 0
        if output is not None:
            output.seek(start)

    def store(self, file: PlannedFile, progress: Progress | None) -> Contents:
        """Copy a source, hash it at the same time, and return its contents.

        Raises:
            FormatError: It is not a regular file, it changed while it was read, or there would be too much.
            HostError: It can't be read.
            OSError: The output can't be written.
        """
        start = self.length
        with self._open(file) as source:
            before = os.fstat(source.fileno())
            mode = self._plan.mode_of(file, before)
            if not stat.S_ISREG(before.st_mode):
                raise self._error(file, "not a regular file")
            known = self._known.get(_identity_of(before)) if self._sharing else None
            if known is not None:
                self.shared += 1
                return replace(known, mode=mode)
            if before.st_size > MAX_PAYLOAD:
                raise self._error(file, TOO_MUCH, section="E.3")
            length, sha1, sha256 = self._copy(file, source, self._write, progress, self._crew)
            self.length += length
            after = os.fstat(source.fileno())
        if _identity_of(before) != _identity_of(after) or after.st_size != length:
            raise self._error(file, "changed while it was read")
        contents = Contents(
            offset=self._share(file, start, length, sha1, sha256),
            length=length,
            sha1=sha1,
            sha256=sha256 if self._strong else b"",
            mode=mode,
        )
        # Checked only now: what would be too much may have been stored before.
        if self.length > MAX_PAYLOAD:
            raise self._error(file, TOO_MUCH, section="E.3")
        self._known[_identity_of(before)] = contents
        return contents

    def repeat(
        self, file: PlannedFile, contents: Contents, output: FileIO, progress: Progress | None
    ) -> None:
        """Copy a source again, to an output that can't be read back.

        Raises:
            FormatError: It is not what it was.
            HostError: It can't be read.
            OSError: The output can't be written.
        """
        with self._open(file) as source:
            length, sha1, sha256 = self._copy(file, source, partial(write_all, output), progress, None)
        if (length, sha1, sha256) != (contents.length, contents.sha1, contents.sha256):
            raise self._error(file, "changed while it was read")

    def _copy(
        self,
        file: PlannedFile,
        source: FileIO,
        write: Callable[[memoryview], object],
        progress: Progress | None,
        crew: Crew | None,
    ) -> tuple[int, bytes, bytes]:
        """Pass a source on, and return its length and its digests."""
        sha1, sha256 = Digest.SHA1.new(), Digest.SHA256.new()
        length = 0
        while count := self._read(file, source):
            octets = self._buffer[:count]
            length += count
            if crew is not None:
                crew.hand(partial(sha256.update, octets))
            elif self._strong:
                sha256.update(octets)
            sha1.update(octets)
            write(octets)
            if crew is not None:
                crew.wait()
            if progress is not None:
                progress(count)
        return length, sha1.digest(), sha256.digest()

    def _write(self, octets: memoryview) -> None:
        if self._output is not None:
            write_all(self._output, octets)

    def _share(self, file: PlannedFile, start: int, length: int, sha1: bytes, sha256: bytes) -> int:
        """Return the offset of these contents; if they were stored before, drop the copy at *start*."""
        first, digest = self._stored.setdefault((length, sha1), (start, sha256))
        if first == start or not self._sharing:
            return start
        output = self._output
        same = digest == sha256 if output is None else self._is_same(output, first, start, length)
        if not same:
            problem = "another file of this package has the same SHA-1 but different contents"
            raise self._error(file, problem, section="E.4.3")
        self.length = start
        if self._output is not None:
            self._output.seek(self._start + start)
            self._output.truncate()
        self.shared += 1
        return first

    def _is_same(self, output: FileIO, first: int, second: int, length: int) -> bool:
        """Compare the bytes that were written: SHA-1 alone can't be trusted here."""
        descriptor = output.fileno()
        for done in range(0, length, CHUNK):
            count = min(CHUNK, length - done)
            one = read_at(descriptor, count, self._start + first + done)
            if one != read_at(descriptor, count, self._start + second + done):
                return False
        return True

    def _open(self, file: PlannedFile) -> FileIO:
        # Without O_NONBLOCK a FIFO would wait for a writer before it could be refused.
        flags = os.O_RDONLY | CLOSE_ON_EXEC | NON_BLOCKING | BINARY | (0 if file.follow else NO_FOLLOW)
        with located(self._source, file, file.source):
            try:
                return FileIO(str(file.source), "rb", opener=lambda path, _: os.open(path, flags))
            except IsADirectoryError:
                raise self._error(file, "not a regular file") from None

    def _read(self, file: PlannedFile, source: FileIO) -> int:
        with located(self._source, file, file.source):
            return source.readinto(self._buffer)

    def _error(self, file: PlannedFile, problem: str, section: str | None = None) -> FormatError:
        return FormatError(
            f"{file_name(file.source)}: {problem}",
            source=self._source,
            line=file.line,
            field=f"{file.field}.from",
            section=section,
        )


def _identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Return what distinguishes a file from others, and from an earlier version of it."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
