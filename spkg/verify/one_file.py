"""One file of a package: found by its path, and copied only together with the check of its digests."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import IO

from spkg.common.digests import Digest
from spkg.errors import RefusedError
from spkg.format.package import Package, PayloadFile
from spkg.verify.contents import check_file
from spkg.verify.hasher import Hasher
from spkg.verify.payload import Payload
from spkg.verify.signatures import TrustedPackage
from spkg.verify.single_pass import distribute

__all__ = ["copy_file", "find_file"]


def find_file(package: Package, names: Collection[bytes]) -> PayloadFile:
    """Return the last file that has one of these paths; a leading slash is optional on both sides.

    Raises:
        RefusedError: No file has.
    """
    wanted = {name.removeprefix(b"/") for name in names}
    files = {b"/".join(file.record.path.parts): file for file in package.files}
    for path, file in reversed(files.items()):
        if path in wanted:
            return file
    shown = min(names).decode("utf-8", "surrogateescape")
    known = ["/" + path.decode() for path in files]
    near = get_close_matches("/" + shown.removeprefix("/"), known, n=1)
    hint = f"did you mean {near[0]}?" if near else "'spkg list' shows the files of a package"
    raise RefusedError(f"the package has no file {shown}", hint=hint)


def copy_file(trusted: TrustedPackage, payload: Payload, file: PayloadFile, output: IO[bytes]) -> None:
    """Write the contents of a file to *output*; unless this returns, they are not to be used.

    Args:
        trusted: The package.
        payload: Its payload, from the beginning.
        file: One of its files.
        output: An empty file that nobody reads yet.

    Raises:
        RefusedError: A file has a hash of a type that is unknown here.
        UntrustedError: The contents do not match what was signed.
        FormatError: The payload is shorter or longer than the header states.
        OSError: The output can't be written.
    """
    trusted.package.refuse_unchecked()
    if file not in trusted.package.files:
        raise ValueError("the file is of another package")
    algorithms = [Digest.SHA1] if file.sha256 is None else [*Digest]
    copier = _Copier(file, algorithms, output)
    distribute(payload, [copier])
    check_file(file, copier.digests)


class _Copier(Hasher):
    """A hasher that also copies."""

    def __init__(self, file: PayloadFile, algorithms: Collection[Digest], output: IO[bytes]) -> None:
        super().__init__(file.range, algorithms)
        self._output = output

    def feed(self, octets: memoryview) -> None:
        """Hash and copy the next bytes."""
        super().feed(octets)
        self._output.write(octets)
