"""Ten thousand parameters: writing and reading them costs no more than the XML itself does."""

import sys
import time
from collections.abc import Callable
from typing import Final

from spkg.cwmp.calls import Call, decode_call, encode_answer, encode_request
from spkg.cwmp.envelopes import read_message
from spkg.cwmp.methods import CPE_METHODS
from spkg.cwmp.values import ParameterValue

VALUES: Final = tuple(
    ParameterValue(f"InternetGatewayDevice.LANDevice.1.Host.{number}.Name", "string", f"host <{number}>")
    for number in range(10_000)
)
TRACED: Final = sys.gettrace() is not None or "coverage" in sys.modules
RATIO: Final = 3 * (10 if TRACED else 1)
"""How many times as long as parsing; about 0.5 for writing and 1.2 for reading where nothing is counted."""


def seconds(work: Callable[[], object]) -> float:
    """Return the least CPU time of some runs."""
    times = []
    for _ in range(5):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


def test_ten_thousand_values_cost_as_much_as_their_xml() -> None:
    request = encode_request(
        "SetParameterValues", {"ParameterList": VALUES, "ParameterKey": ""}, "1", CPE_METHODS
    )
    call = Call(method="GetParameterValues", arguments={}, id="1", version=0)
    message = read_message(request)

    xml = seconds(lambda: read_message(request))
    written = seconds(lambda: encode_answer(call, {"ParameterList": VALUES}))
    read = seconds(lambda: decode_call(message))

    assert decode_call(message).arguments["ParameterList"] == VALUES
    assert written < RATIO * xml
    assert read < RATIO * xml
