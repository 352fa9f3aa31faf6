"""ACSs with the habits that agents in the field had trouble with: a plan for each, by its number.

Each is what a server may do by the text, or does all the same; what an agent has to make of it is for tests.
"""

from collections.abc import Callable
from typing import Final

from tests.support.acs import (
    Answer,
    Plan,
    Post,
    answers,
    envelope,
    request,
    response,
    session,
)
from tests.support.acs_calls import download

__all__ = [
    "PROBLEMS",
    "acs_that_kills_a_worker",
    "busy",
    "other_prefixes",
    "strict_order",
    "tied_to_a_connection",
]

ROOT: Final = "InternetGatewayDevice."
CODE: Final = f"{ROOT}DeviceInfo.ProvisioningCode"
INTERVAL: Final = f"{ROOT}ManagementServer.PeriodicInformInterval"
BAD_STATE: Final = Answer(status=400, body=b"Bad session state", headers=(("Content-Type", "text/plain"),))


def values(*pairs: tuple[str, str], key: str = "") -> str:
    """Return the arguments of SetParameterValues; the values are elements."""
    members = "".join(
        f"<ParameterValueStruct><Name>{name}</Name>{value}</ParameterValueStruct>" for name, value in pairs
    )
    counted = f'soapenc:arrayType="cwmp:ParameterValueStruct[{len(pairs)}]"'
    return f"<ParameterList {counted}>{members}</ParameterList><ParameterKey>{key}</ParameterKey>"


def names(*wanted: str) -> str:
    """Return the arguments of GetParameterValues."""
    members = "".join(f"<string>{one}</string>" for one in wanted)
    return f'<ParameterNames soapenc:arrayType="xsd:string[{len(wanted)}]">{members}</ParameterNames>'


def strict_order(*requests: bytes) -> Plan:
    """Take requests of the device before its first empty post alone, as GenieACS does (5)."""
    follow = session(*requests)
    empty = False

    def plan(post: Post) -> Answer:
        nonlocal empty
        if post.method == "Inform":
            empty = False
        elif empty and post.method and not post.method.endswith(("Response", "Fault")):
            return BAD_STATE
        empty = empty or not post.body
        return follow(post)

    return plan


def tied_to_a_connection(*requests: bytes) -> Plan:
    """Know a session by its connection alone (7)."""
    follow = session(*requests)
    known = 0

    def plan(post: Post) -> Answer:
        nonlocal known
        if post.method == "Inform":
            known = post.connection
        return follow(post) if post.connection == known else BAD_STATE

    return plan


def other_prefixes(*requests: bytes) -> Plan:
    """Use other prefixes, and the default namespace (40)."""
    follow = session(*requests)

    def plan(post: Post) -> Answer:
        if post.method != "Inform":
            return follow(post)
        body = (
            '<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Header>'
            f'<x:ID xmlns:x="urn:dslforum-org:cwmp-1-0" mustUnderstand="1">{post.id}</x:ID></Header><Body>'
            '<InformResponse xmlns="urn:dslforum-org:cwmp-1-0"><MaxEnvelopes xmlns="">1</MaxEnvelopes>'
            "</InformResponse></Body></Envelope>"
        )
        return Answer(body=body.encode())

    return plan


def busy(seconds: int = 60) -> Plan:
    """Have no time."""
    return lambda _post: Answer(status=503, headers=(("Retry-After", str(seconds)),))


def acs_that_kills_a_worker(*requests: bytes) -> Plan:
    """End without a word where RequestDownload comes, and answer Kicked with what is no XML."""
    follow = session(*requests)

    def plan(post: Post) -> Answer:
        if post.method == "RequestDownload":
            return Answer(raw=b"", close=True)
        if post.method == "Kicked":
            return Answer(body=envelope("<x/>").replace(b"<x/>", b"<soap:Body:Fault/>"))
        return follow(post)

    return plan


def changed_each_time() -> Plan:
    """Set another interval in each session (44)."""
    follow = session()
    number, asked = 0, False

    def plan(post: Post) -> Answer:
        nonlocal number, asked
        if post.method == "Inform":
            number, asked = number + 1, False
        if post.method or asked:
            return follow(post)
        asked = True
        value = f'<Value xsi:type="xsd:unsignedInt">{300 + number}</Value>'
        return Answer(body=request("SetParameterValues", values((INTERVAL, value), key=f"k-{number}")))

    return plan


def other_answer() -> Plan:
    """Ask for a Download, and answer TransferComplete by another name (28)."""
    follow = session(download())

    def plan(post: Post) -> Answer:
        if post.method == "TransferComplete":
            return Answer(body=response("AutonomousTransferComplete", id=post.id))
        return follow(post)

    return plan


def _asks(method: str, arguments: str = "") -> Callable[[], Plan]:
    return lambda: session(request(method, arguments))


def _sets(*pairs: tuple[str, str], key: str = "k-1") -> Callable[[], Plan]:
    return _asks("SetParameterValues", values(*pairs, key=key))


PROBLEMS: Final[dict[int, tuple[str, Callable[[], Plan]]]] = {
    2: ("its cookie has no Path", lambda: session(cookie="session=x1")),
    3: ("a cookie of the last session is refused", lambda: session(cookie="session=x1; Discard")),
    5: ("a request after the first empty post is refused", strict_order),
    7: ("the session belongs to the connection", tied_to_a_connection),
    9: ("it always fails", lambda: lambda _post: Answer(status=500, body=b"no")),
    10: (
        "the path is empty",
        _asks("GetParameterNames", "<ParameterPath></ParameterPath><NextLevel>0</NextLevel>"),
    ),
    11: ("it asks for what there is not", _asks("GetParameterValues", names(CODE, f"{ROOT}Nothing"))),
    13: (
        "a value has no type, or is not there",
        _sets((CODE, "<Value>ABCD</Value>"), (INTERVAL, "")),
    ),
    15: ("a type is none", _sets((CODE, '<Value xsi:type="xsd:json">ABCD</Value>'))),
    16: (
        "Booleans are words, times have milliseconds",
        _sets(
            (
                f"{ROOT}ManagementServer.PeriodicInformEnable",
                '<Value xsi:type="xsd:boolean">true</Value>',
            ),
            (
                f"{ROOT}ManagementServer.PeriodicInformTime",
                '<Value xsi:type="xsd:dateTime">1970-01-01T07:23:52.981Z</Value>',
            ),
        ),
    ),
    18: (
        "a parameter is set twice",
        _sets((CODE, "<Value>A</Value>"), (CODE, "<Value>B</Value>")),
    ),
    28: ("an answer has another name", other_answer),
    38: ("a CommandKey has blanks", _asks("Reboot", "<CommandKey>a  b </CommandKey>")),
    40: ("prefixes are others", other_prefixes),
    44: ("it changes the interval in each session", changed_each_time),
    45: ("it asks for all there is", _asks("GetParameterValues", names(ROOT))),
    46: ("an Inform is answered with nothing", answers),
    49: ("it asks for a list of none", _asks("GetParameterValues", names())),
}
"""What is odd, and a plan that does it, by the number of the problem."""
