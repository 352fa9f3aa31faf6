"""Certificates that are odd: nobody has signed that part of the block, so anybody can put them there."""

from typing import Final

from tests.support.kit import signer

__all__ = ["ODD", "odd"]


def odd(old: bytes, new: bytes) -> bytes:
    """Return the signer's certificate with some octets exchanged, so that its own signature is wrong."""
    assert len(old) == len(new)
    assert signer().der.count(old) == 1
    return signer().der.replace(old, new)


ODD: Final = {
    "two extensions of one kind": lambda: odd(b"\x06\x03\x55\x1d\x13", b"\x06\x03\x55\x1d\x0f"),
    "a subject that is not UTF-8": lambda: odd(b"Test Signer", b"Test\xff\xfeigner"),
    "an issuer that is not UTF-8": lambda: odd(b"Test Root", b"Test\xffRoot"),
    "a key of an unknown kind": lambda: odd(
        bytes.fromhex("06092a864886f70d010101"), bytes.fromhex("06092a864886f70d010163")
    ),
    "a key that can't be read": lambda: odd(b"\x02\x03\x01\x00\x01", b"\x02\x03\x80\x00\x01"),
}
