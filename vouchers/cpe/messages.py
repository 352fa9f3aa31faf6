"""The answers of a device to SetVouchers and GetOptions, as SOAP (TR-069 A.4.1.3, A.4.1.4)."""

from collections.abc import Sequence
from typing import Final

from spkg.common.hostile_xml import escape
from spkg.common.times import write_time
from spkg.cwmp.arrays import write_array
from spkg.cwmp.soap import write_envelope
from vouchers.cpe.option_life import OptionState

__all__ = ["options_response", "vouchers_response"]

UNKNOWN_TIME: Final = "0001-01-01T00:00:00Z"
"""StartDate of an Option that never had one: the schema of cwmp-1-0 requires one."""


def vouchers_response(name: str | None, *, version: int = 0) -> bytes:
    """Return the answer to SetVouchers (Table 45).

    Args:
        name: The cwmp:ID of the request.
        version: The N of its namespace cwmp-1-N.
    """
    return write_envelope("<cwmp:SetVouchersResponse></cwmp:SetVouchersResponse>\n", name, version=version)


def options_response(options: Sequence[OptionState], name: str | None, *, version: int = 0) -> bytes:
    """Return the answer to GetOptions (Tables 47 and 48).

    Args:
        options: What it lists.
        name: The cwmp:ID of the request.
        version: The N of its namespace cwmp-1-N.
    """
    array = write_array("OptionList", "cwmp:OptionStruct", [*map(_option, options)])
    body = f"<cwmp:GetOptionsResponse>\n{array}</cwmp:GetOptionsResponse>\n"
    return write_envelope(body, name, version=version)


def _option(option: OptionState) -> str:
    start = UNKNOWN_TIME if option.start is None else write_time(option.start)
    ends = ""
    if option.expires is not None:
        ends = f"<ExpirationDate>{write_time(option.expires)}</ExpirationDate>\n"
    return (
        f"<OptionStruct>\n<OptionName>{escape(option.name)}</OptionName>\n"
        f"<VoucherSN>{option.voucher_sn}</VoucherSN>\n<State>{option.state}</State>\n"
        f"<Mode>{option.mode}</Mode>\n<StartDate>{start}</StartDate>\n{ends}"
        f"<IsTransferable>{option.transferable:d}</IsTransferable>\n</OptionStruct>\n"
    )
