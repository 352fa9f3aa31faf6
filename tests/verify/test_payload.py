"""A package and the stream behind its front matter."""

import io
from pathlib import Path

import pytest

from spkg.errors import FormatError
from spkg.format.package import Package
from spkg.verify.payload import open_package
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, Draft, policy


def test_a_device_that_stands_for_a_package_is_read_as_a_stream() -> None:
    with (
        pytest.raises(FormatError, match="the input ends 8 bytes too early"),
        open_package(Path("/dev/null")),
    ):
        pass


def test_the_payload_is_not_touched_before_the_signatures_hold(tmp_path: Path) -> None:
    stream = io.BytesIO(Draft().encode())

    package = Package.read(stream)
    verify_package(package, policy(), at=AT)

    assert stream.tell() == package.payload_offset
