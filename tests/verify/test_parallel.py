"""Ranges of a payload fed in several threads: which failure is reported."""

from pathlib import Path
from threading import Event
from time import sleep
from typing import ClassVar, Final

import pytest

from spkg.common.digests import Digest
from spkg.format.ranges import Range
from spkg.verify.hasher import Hasher
from spkg.verify.parallel import feed_in_parallel
from spkg.verify.payload import PARALLEL_FROM, Payload
from tests.support.commands import PATIENCE

LENGTH: Final = PARALLEL_FROM
"""The length of each of three ranges: none outweighs the others."""
MEANWHILE: Final = 0.2
"""How long the second one fails after the first one, in seconds."""


class _Failing(Hasher):
    """Fails while it keeps its first bytes, when both have begun."""

    KEEPS: ClassVar[bool] = True

    def __init__(self, number: int, begun: list[Event], *, later: bool) -> None:
        super().__init__(Range(number * LENGTH, LENGTH), [Digest.SHA1])
        self._number = number
        self._begun = begun
        self._later = later

    def keep(self, octets: memoryview) -> None:  # noqa: ARG002 - nothing is kept
        self._begun[self._number].set()
        assert self._begun[1 - self._number].wait(PATIENCE)
        if self._later:
            sleep(MEANWHILE)  # the other one has failed by then; if not, this proves less and fails nothing
        raise OSError(f"range {self._number}")


@pytest.mark.parametrize("later", [0, 1])
def test_of_two_failures_the_first_in_order_is_reported_whichever_came_first(
    tmp_path: Path, later: int
) -> None:
    begun = [Event(), Event()]
    hashers = [_Failing(number, begun, later=number == later) for number in (0, 1)]
    third = Hasher(Range(2 * LENGTH, LENGTH), [Digest.SHA1])
    (source := tmp_path / "payload").write_bytes(bytes(3 * LENGTH))

    with source.open("rb") as file:
        payload = Payload(file, offset=0, length=3 * LENGTH, descriptor=file.fileno())
        with pytest.raises(OSError, match=r"^range 0$"):
            feed_in_parallel(payload, [*hashers, third], 2, None)
