"""Messages as most tests compare them."""

import re

__all__ = ["without_lines"]


def without_lines(message: str) -> str:
    """Return a message without the line numbers of TOML files, which have tests of their own."""
    return re.sub(r"(\.toml):\d+: ", r"\1: ", message)
