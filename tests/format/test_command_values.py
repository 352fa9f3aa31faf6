"""What a command can't hold is refused where it is made, so that no package is written with it."""

from typing import Any

import pytest

from spkg.format.commands import (
    Extract,
    ExtractVersioned,
    FileModes,
    InitialTimeout,
    Metadata,
    Record,
    RequiredAttributes,
    StrongDigests,
)
from spkg.format.paths import RootPath, VersionedPath

FILE: dict[str, Any] = {"hash": bytes(20), "file_offset": 0, "file_length": 0, "flags": 0}


@pytest.mark.parametrize(
    ("kind", "values", "problem"),
    [
        (InitialTimeout, {"timeout": -1}, "must be a number from 0 to 4294967295, got -1"),
        (InitialTimeout, {"timeout": 1 << 32}, "must be a number from 0 to 4294967295, got 4294967296"),
        (
            RequiredAttributes,
            {"defining_entity": 0, "class_": 1, "attributes": ()},
            "the array is empty",
        ),
        (
            RequiredAttributes,
            {"defining_entity": 0, "class_": 1, "attributes": (1, -1)},
            "must be a number from 0 to 4294967295, got -1",
        ),
        (FileModes, {"modes": (0o644, 0o1000)}, "a file mode must be at most 0777"),
        (FileModes, {"modes": (), "mark": b"another"}, "the mark of this extension must be "),
        (StrongDigests, {"digests": (bytes(32), bytes(20))}, "a SHA-256 digest must have 32 bytes"),
        (
            StrongDigests,
            {"digests": (), "algorithm": 99},
            r"must be \d+ \(SHA-256\), got the reserved value 99",
        ),
        (Metadata, {"entries": (("b", ""), ("a", ""))}, "the keys must be unique and sorted"),
        (
            Metadata,
            {"entries": (("a", "x" * (16 << 10)),)},
            "the metadata has 16392 bytes, the limit is 16384",
        ),
        (
            Extract,
            FILE | {"path": RootPath.of("/a"), "hash": bytes(32)},
            "a SHA-1 digest must have 20 bytes, got 32",
        ),
        (
            ExtractVersioned,
            FILE | {"path": RootPath.of("/a.100")},
            "/a.100 is not the kind of path this command needs",
        ),
        (
            Extract,
            FILE | {"path": VersionedPath.of("/a.100")},
            "/a.100 is not the kind of path this command needs",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_refused(
    kind: type[Record], values: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=f"^{problem}"):
        kind(**values)
