"""JSON of unknown origin: what every reader reads alike is read, and nothing else."""

import pytest

from spkg.common.json_input import read_json
from spkg.errors import FormatError


def test_json_is_read_in_any_layout() -> None:
    octets = ' {"ä": [1, -2.5e3, "x\\u00e4\\n", null, true],\n "b": {}} \n'.encode()

    assert read_json(octets) == {"ä": [1, -2500.0, "xä\n", None, True], "b": {}}


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"", "f:1: expected JSON: expecting value"),
        (b'{"a": 1}\n{"a": 2}', "f:2: expected JSON: extra data"),
        (b'{"a":\n\n]', "f:3: expected JSON: expecting value"),
        (b'\n"\xff"', "f:2: expected UTF-8"),
        ("\ufeff{}".encode(), "f:1: expected JSON: unexpected UTF-8 BOM (decode using utf-8-sig)"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "f: the JSON can't be used: the key 'c' occurs twice"),
        (b"[NaN]", "f: the JSON can't be used: NaN is not a number of JSON"),
        (b"[-Infinity]", "f: the JSON can't be used: -Infinity is not a number of JSON"),
        (b"[" * 200_000, "f: the JSON is nested too deeply"),
    ],
)
def test_what_readers_differ_on_is_refused_with_its_place(octets: bytes, message: str) -> None:
    with pytest.raises(FormatError) as raised:
        read_json(octets, "f")

    assert str(raised.value) == message


def test_a_number_of_too_many_digits_is_refused() -> None:
    with pytest.raises(FormatError, match=r"^f: the JSON can't be used: a number in it has too many digits$"):
        read_json(b"9" * 5000, "f")
