"""``spkg sign``: who signed a package, and how many signatures it has now."""

from collections.abc import Iterator

from spkg.common.printable import amount
from spkg.report.lines import Line, Tone

__all__ = ["signed_lines"]


def signed_lines(output: str, signer: str, digest: str, count: int) -> Iterator[Line]:
    """Yield what ``sign`` prints."""
    yield Tone.PLAIN, f"{output}: signed by {signer} with {digest}, {amount(count, 'signature')}"
