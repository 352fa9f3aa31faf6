"""The fixed part (E.3)."""

from tests.support.kit import Draft
from tests.vectors.make.base import vector

GOOD = Draft()
HEADER = GOOD.signed[:24]


def with_header(header: bytes) -> bytes:
    """Return the good package with another header, signed as it is."""
    return Draft(header=header).encode()


@vector(section="E.2", expect="trusted")
def genuine() -> bytes:
    """A genuine package: what every other vector differs from in one thing."""
    return GOOD.encode()


@vector(section="E.3", expect="format error at 0x0")
def preamble() -> bytes:
    """One letter of the preamble is lower case; the signature holds, and does not help."""
    return with_header(b"2WIRE_Sp" + HEADER[8:])


@vector(section="E.3", expect="format error at 0x8")
def major_2() -> bytes:
    """A major version this reader does not know, with everything else as it knows it."""
    return with_header(HEADER[:8] + (2).to_bytes(4, "big") + HEADER[12:])


@vector(section="E.3", expect="format error at 0x8")
def major_0() -> bytes:
    """The major version before the first."""
    return with_header(HEADER[:8] + bytes(4) + HEADER[12:])


@vector(section="E.3", expect="trusted")
def minor_1() -> bytes:
    """Another minor version is read; packages in the field have this one."""
    return with_header(HEADER[:12] + (1).to_bytes(4, "big") + HEADER[16:])


@vector(section="E.3", expect="trusted")
def minor_largest() -> bytes:
    """Any minor version is read."""
    return with_header(HEADER[:12] + b"\xff\xff\xff\xff" + HEADER[16:])


@vector(section="E.3", expect="format error at 0x10")
def list_of_65536() -> bytes:
    """A command list of 2^16 octets, all of them there: one more than the format allows."""
    value = bytes(65536 - 8 - 68)
    commands = GOOD.signed[24:-8] + (1000).to_bytes(4, "big") + len(value).to_bytes(4, "big") + value
    assert len(commands) == 65536
    header = HEADER[:16] + len(commands).to_bytes(4, "big") + HEADER[20:]
    return Draft(header=header, commands=commands).encode()


@vector(section="E.3", expect="trusted")
def list_of_65535() -> bytes:
    """The longest command list there can be."""
    value = bytes(65535 - 8 - 68)
    commands = GOOD.signed[24:-8] + (1000).to_bytes(4, "big") + len(value).to_bytes(4, "big") + value
    return Draft(commands=commands).encode()


@vector(section="E.3", expect="trusted")
def nothing_else() -> bytes:
    """A header, no commands, no payload: a package that does nothing."""
    return Draft(commands=b"", payload=b"").encode()


@vector(section="E.4", expect="format error at 0x18")
def cut_behind_header() -> bytes:
    """Nothing behind a header that announces commands."""
    return HEADER


@vector(section="E.3", expect="format error at 0x515")
def payload_short() -> bytes:
    """The last octet of the payload is missing."""
    return GOOD.encode()[:-1]


@vector(section="E.3", expect="format error at 0x516")
def payload_long() -> bytes:
    """One octet behind the payload."""
    return GOOD.encode() + b"\n"


@vector(section="E.4.3", expect="format error at 0x3c")
def payload_of_zero_claimed() -> bytes:
    """The header claims no payload, and a command has a file in it."""
    return with_header(HEADER[:20] + bytes(4))
