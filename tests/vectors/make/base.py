"""The registry of vectors and the file they stand in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["HERE", "VECTORS", "Vector", "load", "vector"]

HERE: Final = Path(__file__).parent.parent
KEYS: Final = ("comment", "section", "expect")


@dataclass(frozen=True, kw_only=True)
class Vector:
    """One scenario with one outcome.

    ``expect`` is ``trusted``, ``untrusted: REASON``, ``damaged: REASON``, ``refused: REASON`` or
    ``format error at 0xOFFSET``, for a policy that trusts ``root.pem`` at the time of the kit.
    """

    name: str
    comment: str
    section: str
    expect: str
    octets: bytes

    def encode(self) -> bytes:
        head = "".join(f"{key}: {getattr(self, key)}\n" for key in KEYS)
        return head.encode() + b"\n" + self.octets


VECTORS: Final[dict[str, Callable[[], Vector]]] = {}


def vector(*, section: str, expect: str) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    """Register a function that makes a package; its name is the vector's, its docstring the comment."""

    def register(make: Callable[[], bytes]) -> Callable[[], bytes]:
        name = f"{make.__module__.rpartition('.')[2]}_{make.__name__}"
        comment = (make.__doc__ or "").strip()
        assert comment, name
        assert "\n" not in comment, name
        assert name not in VECTORS, name
        VECTORS[name] = lambda: Vector(
            name=name, comment=comment, section=section, expect=expect, octets=make()
        )
        return make

    return register


def load(path: Path) -> Vector:
    """Read a vector; an unknown header key fails."""
    head, _, octets = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
    assert tuple(fields) == KEYS, f"{path.name}: {tuple(fields)}"
    return Vector(name=path.stem, octets=octets, **fields)
