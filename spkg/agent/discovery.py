"""What DHCP says of the ACS: option 43 with its encapsulated options (TR-069 3.1, Table 2; RFC 2132, 8.4)."""

import re
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from spkg.agent.config import acs_url_problem
from spkg.common.reader import Reader
from spkg.errors import FormatError

__all__ = ["DhcpSettings", "read_option_43"]

SECTION_OF_DISCOVERY: Final = "3.1"
MOST_OF_OPTION: Final = 4096
"""The longest option that is read, in bytes; longer than 255 it came in parts (RFC 3396)."""
BETWEEN_DIGITS: Final = re.compile(r"[\s:.-]+")
"""What may stand between the digits, as DHCP clients print them."""
URL_CODE: Final = 1
CODE_OF_PROVISIONING: Final = 2
ENABLE_CODE: Final = 3
INTERVAL_CODE: Final = 4
PAD_CODE: Final = 0
END_CODE: Final = 255
LONGEST_PROVISIONING_CODE: Final = 64
"""The longest ProvisioningCode (Table 61)."""
DHCP_NAMES: Final = {
    URL_CODE: "URL",
    CODE_OF_PROVISIONING: "ProvisioningCode",
    ENABLE_CODE: "PeriodicInformEnable",
    INTERVAL_CODE: "PeriodicInformInterval",
}
DHCP_SWITCHES: Final = {
    b"0": False,
    b"1": True,
    b"false": False,
    b"true": True,
    b"\x00": False,
    b"\x01": True,
}
"""How a boolean is written: as text, or as one byte."""


@dataclass(frozen=True, kw_only=True)
class DhcpSettings:
    """What an option 43 states; None for what it does not."""

    url: str | None = None
    provisioning_code: str | None = None
    periodic_inform_enable: bool | None = None
    periodic_inform_interval: int | None = None
    """In seconds, at least 1."""
    skipped: tuple[int, ...] = ()
    """The encapsulated options that mean something to others."""


def read_option_43(text: str) -> DhcpSettings:
    """Read the contents of an option 43, in hexadecimal digits.

    Colons, blanks, dots, hyphens and a leading ``0x`` may stand as DHCP clients write them.

    Raises:
        FormatError: It is malformed, or states what can't be.
    """
    digits = BETWEEN_DIGITS.sub("", text[: MOST_OF_OPTION * 4]).removeprefix("0x").removeprefix("0X")
    if len(text) > MOST_OF_OPTION * 4 or len(digits) > MOST_OF_OPTION * 2:
        raise FormatError(f"option 43: expected at most {MOST_OF_OPTION} bytes", section=SECTION_OF_DISCOVERY)
    try:
        octets = bytes.fromhex(digits)
    except ValueError as exc:
        raise FormatError(
            "option 43: expected pairs of hexadecimal digits", section=SECTION_OF_DISCOVERY
        ) from exc
    reader = Reader(BytesIO(octets), section=SECTION_OF_DISCOVERY, path="option 43")
    found: dict[int, bytes] = {}
    skipped: list[int] = []
    begins: dict[int, int] = {}
    while reader.position < len(octets):
        start = reader.position
        code = reader.take(1, "code")[0]
        if code == PAD_CODE:
            continue
        if code == END_CODE:
            break
        name = DHCP_NAMES.get(code, f"option {code}")
        value = reader.take(reader.take(1, f"{name}.length")[0], name)
        if code not in DHCP_NAMES:
            skipped.append(code)
        elif code in found:
            raise reader.error(name, "stated twice", offset=start)
        else:
            found[code], begins[code] = value, start + 2

    def wrong(code: int, problem: str) -> FormatError:
        return reader.error(DHCP_NAMES[code], problem, offset=begins[code])

    url = code_of_provisioning = None
    if URL_CODE in found:
        url = _text(found[URL_CODE])
        refusal = "must be printable ASCII" if url is None else acs_url_problem(url)
        if refusal is not None:
            raise wrong(URL_CODE, refusal)
    if CODE_OF_PROVISIONING in found:
        code_of_provisioning = _text(found[CODE_OF_PROVISIONING])
        if code_of_provisioning is None or len(code_of_provisioning) > LONGEST_PROVISIONING_CODE:
            raise wrong(
                CODE_OF_PROVISIONING,
                f"must have at most {LONGEST_PROVISIONING_CODE} printable ASCII characters",
            )
    enable = DHCP_SWITCHES.get(found.get(ENABLE_CODE, b"").lower())
    if ENABLE_CODE in found and enable is None:
        raise wrong(ENABLE_CODE, "must be 0, 1, false or true")
    interval = _number(found[INTERVAL_CODE]) if INTERVAL_CODE in found else None
    if INTERVAL_CODE in found and not interval:
        raise wrong(INTERVAL_CODE, "must be a number of seconds from 1 to 4294967295")
    return DhcpSettings(
        url=url,
        provisioning_code=code_of_provisioning,
        periodic_inform_enable=enable,
        periodic_inform_interval=interval,
        skipped=tuple(dict.fromkeys(skipped)),
    )


def _text(octets: bytes) -> str | None:
    """Return printable ASCII, without the NUL that some servers send behind it; None for anything else."""
    octets = octets.rstrip(b"\0")
    text = octets.decode("ascii", "replace")
    return text if text.isascii() and text.isprintable() else None


def _number(octets: bytes) -> int | None:
    """Return a number, in decimal digits or else in up to four bytes; None for anything else."""
    digits = octets.rstrip(b"\0") if len(octets) > 4 else octets
    if digits.isdigit():
        value = int(digits[:11])
        return value if value < 1 << 32 and len(digits) < 12 else None
    return int.from_bytes(octets) if 0 < len(octets) <= 4 else None
