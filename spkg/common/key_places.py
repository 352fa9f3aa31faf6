"""Where a key is that is not in a file: what its name begins with, in capitals or not (RFC 3986, 3.1)."""

from typing import Final

__all__ = ["PROGRAM_KEY", "TOKEN_KEY", "key_scheme"]

TOKEN_KEY: Final = "pkcs11:"
PROGRAM_KEY: Final = "exec:"


def key_scheme(name: str) -> str:
    """Return how the name of a key elsewhere begins, in small letters; empty if it is that of a file."""
    return next((one for one in (TOKEN_KEY, PROGRAM_KEY) if name[: len(one)].lower() == one), "")
