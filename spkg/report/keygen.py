"""``spkg keygen``: which keys were made, and what each is for."""

from collections.abc import Iterator
from typing import Final

from spkg.report.lines import Line, Tone, columns

__all__ = ["keys_lines"]

PURPOSES: Final = {
    "ca": "root certificate, which devices trust",
    "intermediate": "authority below the root, issuer of the signers of vouchers",
    "signer": "signs packages (RSA)",
    "voucher": "signs vouchers (RSA)",
    "voucher-ec": "signs vouchers (ECDSA P-256)",
}


def keys_lines(directory: str, *, requests: bool) -> Iterator[Line]:
    """Yield what ``keygen`` prints."""
    endings = (
        "certificates (.pem), keys (.key), requests (.csr)"
        if requests
        else "certificates (.pem), keys (.key)"
    )
    yield Tone.PLAIN, f"{directory}: {endings}"
    for row in columns(PURPOSES.items()):
        yield Tone.PLAIN, f"  {row}"
    yield Tone.BAD, "these are keys to try things with: nothing protects them, so use them for nothing real"
