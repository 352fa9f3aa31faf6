"""One pass over a payload: every octet to whoever wants it."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.common.digests import Digest
from spkg.format.ranges import Range
from spkg.verify.hasher import Hasher
from spkg.verify.payload import Payload
from spkg.verify.single_pass import Consumer, distribute
from tests.support.kit import CONTENTS

ranges = st.builds(Range, st.integers(0, 600), st.integers(0, 200))


@given(st.lists(ranges, max_size=12, unique=True), st.binary(min_size=800, max_size=900))
def test_a_single_pass_gives_everybody_the_octets_of_their_range(wanted: list[Range], octets: bytes) -> None:
    hashers = [Hasher(one, [Digest.SHA1]) for one in wanted]

    distribute(Payload(io.BytesIO(octets), offset=0, length=len(octets)), hashers)

    for hasher in hashers:
        expected = octets[hasher.range.start : hasher.range.end]
        assert hasher.digests == {Digest.SHA1: Digest.SHA1.of(expected)}


def test_a_consumer_takes_octets_and_nothing_else_by_itself() -> None:
    consumer = Consumer()

    consumer.begin()
    consumer.finish()
    assert consumer.rewind() is False
    with pytest.raises(NotImplementedError):
        consumer.feed(memoryview(CONTENTS))
