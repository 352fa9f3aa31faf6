"""Third-party libraries that only some commands need, and the errors if one is missing."""

from importlib.util import find_spec
from typing import Final

from spkg.errors import HostError

__all__ = ["missing_library", "require"]

LIBRARIES: Final = {
    "h11": "h11",
    "lxml": "lxml",
    "prometheus_client": "prometheus-client",
    "psycopg": "'psycopg[binary]>=3.2'",
    "requests": "requests",
    "signxml": "signxml",
    "sqlalchemy": "SQLAlchemy",
    "starlette": "starlette",
    "uvicorn": "uvicorn",
}
"""The name to import, and what to install with pip."""


TOGETHER: Final = (("lxml", "signxml"), ("prometheus_client", "starlette", "uvicorn"))
"""What vouchers need, and the service of vouchers: named at once, if more than one is missing."""
LINUX: Final = "fcntl"
"""A module of the standard library that is needed to change a root, and exists only on Linux."""


def require(name: str) -> None:
    """Check that a library is installed, without importing it.

    Raises:
        HostError: It is not installed.
    """
    if find_spec(name) is None:
        raise _missing(name)


def missing_library(error: BaseException) -> HostError | None:
    """Return the error to report if an import failed because a library is not installed."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name == LINUX:
        return HostError(
            "this command needs Linux",
            hint="run it on Linux; packages can be built, signed and verified anywhere",
        )
    return _missing(name) if name in LIBRARIES else None


def _missing(name: str) -> HostError:
    together = next((some for some in TOGETHER if name in some), ())
    others = [one for one in together if one != name and find_spec(one) is None]
    install = " ".join(LIBRARIES[one] for one in (name, *others))
    return HostError(f"the library {name} is needed, but not installed", hint=f"pip install {install}")
