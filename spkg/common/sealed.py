"""Types that only their own module can make: proof of a passed stage can't be forged, copied or stored."""

from dataclasses import InitVar, dataclass
from typing import ClassVar, NoReturn, Self

__all__ = ["Sealed"]


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A base of frozen dataclasses that can only be made with their seal.

    A subclass states its seal, an object private to its module, and the function that makes it::

        class Trusted(Sealed, of=_SEAL, maker="verify()"):
    """

    seal: InitVar[object]

    _of: ClassVar[object]
    _maker: ClassVar[str]

    def __init_subclass__(cls, *, of: object, maker: str) -> None:
        super().__init_subclass__()
        cls._of, cls._maker = of, maker

    def __post_init__(self, seal: object) -> None:
        if seal is not self._of:
            raise TypeError(f"a {type(self).__name__} can only be made by {self._maker}")

    def __replace__(self, **_changes: object) -> Self:
        raise TypeError(f"a {type(self).__name__} can't be changed")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} can't be copied or pickled")
