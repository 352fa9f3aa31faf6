"""Types that only their own module can make: proof of a passed stage can't be forged, copied or stored."""

from dataclasses import InitVar
from typing import NoReturn, Self

from spkg.common.frozen import dataclass

__all__ = ["Sealed"]


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A base of frozen dataclasses (of ``spkg.common.frozen``) that only the holder of their seal can make.

    A subclass states its seal, an object private to its module, and the function that makes it::

        class Trusted(Sealed, of=_SEAL, maker="verify()"):
    """

    seal: InitVar[object]

    def __init_subclass__(cls, *, of: object, maker: str) -> None:
        super().__init_subclass__()
        if Sealed not in cls.__bases__:
            raise TypeError(
                f"{cls.__bases__[0].__name__} can't have subclasses: they would be made without its seal"
            )

        def check(self: object, seal: object) -> None:
            if seal is not of:
                raise TypeError(f"a {type(self).__name__} can only be made by {maker}")

        # In here, so that the seal is no attribute that anybody can read.
        cls.__post_init__ = check  # type: ignore[attr-defined]

    def __replace__(self, **_changes: object) -> Self:
        raise TypeError(f"a {type(self).__name__} can't be changed")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} can't be copied or pickled")
