"""Building: a package from a manifest, the same bytes from the same inputs (docs/manifest.md).

Each source is read once: it is hashed while it is copied into the payload.  Files are in the order of the
steps, so a download can be installed as it arrives.  The front matter has a known size and is written last.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from io import FileIO

from spkg.build.build_plan import BuildPlan, Contents, arrange, unknown_contents
from spkg.build.payload_writer import PayloadWriter
from spkg.build.sign import add_signature, check_front_matter, signed_size
from spkg.common.atomic_output import write_all
from spkg.common.worker_threads import Crew
from spkg.format.package import HEADER_SIZE, Header, encode_commands
from spkg.format.signature_block import EMPTY_BLOCK, load_block
from spkg.trust.certificates import subject_of
from spkg.trust.signers import Identity
from spkg.verify.single_pass import Progress

__all__ = ["BuildReport", "build_package", "check_build", "stream_package"]


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What was built."""

    header: Header
    commands: int
    files: int
    shared: int
    """The number of files that were already stored for another command."""
    signer: str | None
    """The subject of the signer's certificate; None for a package without a signature."""
    signed_sha256: bytes
    """The digest of header and command list, the bytes that a signature covers."""
    size: int
    """The length of the package in bytes."""


def build_package(
    plan: BuildPlan,
    output: FileIO,
    identity: Identity | None,
    *,
    signing_time: datetime | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> BuildReport:
    """Write the package of *plan* to *output*, an empty file that can be read back.

    Args:
        plan: What to build.
        output: The file, unbuffered.
        identity: Who signs, with SHA-1; None leaves the package unsigned.
        signing_time: The time that the signature claims; without it, the same inputs give the same bytes.
        jobs: With more than one, two digests of a file are computed in parallel.
        progress: Called with the number of source bytes processed.

    Raises:
        FormatError: A source is not a regular file or changed while it was read, or a limit is exceeded.
        HostError: A source can't be read.
        OSError: The output can't be written.
    """
    front = _Front(plan, identity, signing_time)
    payload, contents = _payload(plan, output, front.size, jobs, progress)
    octets = front.octets(contents, payload.length)
    output.seek(0)
    write_all(output, octets)
    return front.report(contents, payload)


def stream_package(
    plan: BuildPlan,
    output: FileIO,
    identity: Identity | None,
    *,
    signing_time: datetime | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> BuildReport:
    """Write the package of *plan* to a pipe: the sources are read twice, and must not change in between.

    Otherwise like :func:`build_package`; before anything is written, everything has been read once.
    """
    front = _Front(plan, identity, signing_time)
    payload, contents = _payload(plan, None, front.size, jobs, progress)
    write_all(output, front.octets(contents, payload.length))
    position = 0
    for file, one in zip(plan.files, contents, strict=True):
        if one.offset == position:
            payload.repeat(file, one, output, progress)
            position += one.length
    return front.report(contents, payload)


def check_build(
    plan: BuildPlan,
    identity: Identity | None,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
) -> BuildReport:
    """Do all that :func:`build_package` does, and write nothing."""
    front = _Front(plan, identity, None)
    payload, contents = _payload(plan, None, front.size, jobs, progress)
    return front.report(contents, payload)


class _Front:
    """Header, command list and signature block of a package.

    Their size depends on names and counts alone, so the payload can be written first.
    """

    def __init__(self, plan: BuildPlan, identity: Identity | None, signing_time: datetime | None) -> None:
        self._plan = plan
        self._identity = identity
        self._signing_time = signing_time
        self._signed_size = HEADER_SIZE + len(encode_commands(arrange(plan, unknown_contents(plan))))
        self._block_size = self._size_of_block()
        check_front_matter(bytes(self._signed_size), bytes(self._block_size))

    @property
    def size(self) -> int:
        return self._signed_size + self._block_size

    def octets(self, contents: list[Contents], payload_length: int) -> bytes:
        """Return the front matter, signed."""
        signed = self._signed(contents, payload_length)[1]
        block = self._block(signed)
        if len(signed) != self._signed_size or len(block) != self._block_size:
            raise AssertionError("the front matter does not have the planned size")
        return signed + block

    def report(self, contents: list[Contents], payload: PayloadWriter) -> BuildReport:
        header, signed = self._signed(contents, payload.length)
        return BuildReport(
            header=header,
            commands=len(arrange(self._plan, contents)),
            files=len(contents),
            shared=payload.shared,
            signer=None if self._identity is None else subject_of(self._identity.certificate),
            signed_sha256=sha256(signed).digest(),
            size=self.size + payload.length,
        )

    def _signed(self, contents: list[Contents], payload_length: int) -> tuple[Header, bytes]:
        commands = encode_commands(arrange(self._plan, contents))
        header = Header(command_list_length=len(commands), payload_length=payload_length)
        return header, header.encode() + commands

    def _size_of_block(self) -> int:
        if self._identity is None:
            return len(EMPTY_BLOCK)
        return signed_size(load_block(EMPTY_BLOCK), self._identity, self._signing_time)

    def _block(self, signed: bytes) -> bytes:
        if self._identity is None:
            return EMPTY_BLOCK
        return add_signature(load_block(EMPTY_BLOCK), signed, self._identity, signing_time=self._signing_time)


def _payload(
    plan: BuildPlan, output: FileIO | None, start: int, jobs: int, progress: Progress | None
) -> tuple[PayloadWriter, list[Contents]]:
    """Read all sources, and store them in *output* if there is one."""
    beside = jobs > 1 and (plan.manifest.strong_digests or output is None)
    with Crew(1) if beside else nullcontext() as crew:
        payload = PayloadWriter(plan, output, start, crew)
        return payload, [payload.store(file, progress) for file in plan.files]
