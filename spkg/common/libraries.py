"""Third-party libraries that only some commands need, and what to say where one is missing."""

from importlib.util import find_spec
from typing import Final

from spkg.errors import HostError

__all__ = ["missing_library", "require"]

LIBRARIES: Final = {
    "lxml": "lxml",
    "psycopg": "'psycopg[binary]>=3.2'",
    "requests": "requests",
    "signxml": "signxml",
    "sqlalchemy": "SQLAlchemy",
    "tftpy": "'tftpy>=0.8'",
}
"""What is imported, and what pip installs."""


LINUX: Final = "fcntl"
"""A module of the standard library that what changes a root imports."""


def require(name: str) -> None:
    """Make sure that a library is there, without importing it.

    Raises:
        HostError: It is not installed.
    """
    if find_spec(name) is None:
        raise _missing(name)


def missing_library(error: BaseException) -> HostError | None:
    """Return the error to report where an import failed because a library is not installed."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name == LINUX:
        return HostError("this needs Linux", hint="packages are built, signed and verified anywhere")
    return _missing(name) if name in LIBRARIES else None


def _missing(name: str) -> HostError:
    problem = f"the library {name} is not installed, and this needs it"
    return HostError(problem, hint=f"pip install {LIBRARIES[name]}")
