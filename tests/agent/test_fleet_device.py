"""A simulated device: what it answers, when it informs, and which devices are not as they should be."""

from datetime import UTC, datetime

import pytest

from spkg.agent.fleet_device import FleetDevice
from spkg.agent.fleet_profile import FleetParameter, FleetProfile, FleetShares
from spkg.cwmp.events import Event, EventCode
from spkg.cwmp.faults import FaultCode
from spkg.cwmp.schedule import Moment, due
from spkg.cwmp.types import read_type
from spkg.cwmp.values import FaultStruct
from tests.agent.fleet_kit import NOW, asked, profile

ROOT = "InternetGatewayDevice."
VERSION = f"{ROOT}DeviceInfo.SoftwareVersion"
DOWNLOAD = (
    "<CommandKey>{key}</CommandKey><FileType>{type}</FileType><URL>{url}</URL><Username></Username>"
    "<Password></Password><FileSize>0</FileSize><TargetFileName></TargetFileName>"
    "<DelaySeconds>{delay}</DelaySeconds><SuccessURL></SuccessURL><FailureURL></FailureURL>"
)
TIMES = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))


def device(number: int = 7, **stated: object) -> FleetDevice:
    return FleetDevice(profile(**stated), number)


def names(*given: str) -> str:
    return f"<ParameterNames>{''.join(f'<string>{one}</string>' for one in given)}</ParameterNames>"


def values(*given: tuple[str, str, str], key: str = "k") -> str:
    members = "".join(
        f"<ParameterValueStruct><Name>{name}</Name><Value xsi:type='xsd:{kind}'>{value}</Value>"
        "</ParameterValueStruct>"
        for name, kind, value in given
    )
    return f"<ParameterList>{members}</ParameterList><ParameterKey>{key}</ParameterKey>"


def download(
    key: str = "d", kind: str = "1 Firmware Upgrade Image", url: str = "http://a/b", delay: int = 0
) -> str:
    return DOWNLOAD.format(key=key, type=kind, url=url, delay=delay)


def texts(device: FleetDevice, method: str, arguments: str, tag: str = "Value") -> list[str]:
    message, fault = asked(device, method, arguments)
    assert not fault
    assert message.body is not None
    return [one.text or "" for one in message.body.iter() if str(one.tag).rpartition("}")[2] == tag]


def value(device: FleetDevice, name: str) -> str:
    return texts(device, "GetParameterValues", names(f"{ROOT}{name}"))[0]


def interval(device: FleetDevice) -> float | None:
    """Return the interval of its periodic Informs; None if there are none."""
    return None if device.facts.periodic is None else device.facts.periodic.interval


def waiting(device: FleetDevice) -> list[str]:
    """Return the codes of the events that wait for a session."""
    return [event.code for event in device.facts.waiting]


def test_a_device_knows_who_it_is() -> None:
    seventh = device()

    assert value(seventh, "DeviceInfo.SerialNumber") == "SIM00000007"
    assert value(seventh, "DeviceInfo.UpTime") == "100"
    assert value(seventh, "ManagementServer.PeriodicInformInterval") == "86400"
    assert value(seventh, "ManagementServer.Password") == ""


def test_partial_paths_stand_for_all_below() -> None:
    found = texts(device(), "GetParameterValues", names(f"{ROOT}DeviceInfo.", VERSION), "Name")

    assert len(found) == 10
    assert found[-1] == VERSION
    assert texts(device(), "GetParameterValues", names(""), "Name") == [*profile().names]


@pytest.mark.parametrize("path", [f"{ROOT}DeviceInfo", f"{ROOT}Nothing.", "x"])
@pytest.mark.parametrize("method", ["GetParameterValues", "GetParameterAttributes"])
def test_a_name_that_is_not_there_is_9005(path: str, method: str) -> None:
    assert asked(device(), method, names(path))[1] == 9005


def test_names_are_listed_a_level_or_all() -> None:
    def listed(path: str, next_level: int) -> list[str]:
        arguments = f"<ParameterPath>{path}</ParameterPath><NextLevel>{next_level}</NextLevel>"
        return texts(device(), "GetParameterNames", arguments, "Name")

    assert listed("", 1) == [ROOT]
    assert listed(ROOT, 1) == [f"{ROOT}DeviceInfo.", f"{ROOT}ManagementServer.", f"{ROOT}WANDevice."]
    assert listed(VERSION, 0) == [VERSION]
    assert listed(f"{ROOT}WANDevice.1.", 0)[:2] == [
        f"{ROOT}WANDevice.1.",
        f"{ROOT}WANDevice.1.WANConnectionDevice.",
    ]
    assert {*profile().names} < {*listed("", 0)}
    arguments = f"<ParameterPath>{VERSION}</ParameterPath><NextLevel>1</NextLevel>"
    assert asked(device(), "GetParameterNames", arguments)[1] == 9003


def test_what_is_set_is_set_and_told() -> None:
    one = device()
    code = f"{ROOT}DeviceInfo.ProvisioningCode"

    assert asked(one, "SetParameterValues", values((code, "string", "TLCO"), key="key-1"))[1] == 0

    assert value(one, "DeviceInfo.ProvisioningCode") == "TLCO"
    told = {entry.name: entry.value for entry in one.inform_values(NOW)}
    assert told[code] == "TLCO"
    assert told[f"{ROOT}ManagementServer.ParameterKey"] == "key-1"


def test_nothing_is_set_if_one_value_is_wrong() -> None:
    one = device()
    server = f"{ROOT}ManagementServer."

    message, fault = asked(
        one,
        "SetParameterValues",
        values(
            (f"{ROOT}DeviceInfo.ProvisioningCode", "string", "TLCO"),
            (VERSION, "string", "2"),
            (f"{ROOT}None", "string", "2"),
            (f"{server}PeriodicInformInterval", "unsignedInt", "x"),
            (f"{server}PeriodicInformTime", "dateTime", "yesterday"),
            (f"{server}Username", "string", "x" * 257),
        ),
    )

    assert fault == 9003
    assert message.body is not None
    codes = [one.text for one in message.body.iter("FaultCode")]
    assert codes == ["9003", "9008", "9005", "9006", "9006", "9007"]
    assert value(one, "DeviceInfo.ProvisioningCode") == ""
    assert value(one, "ManagementServer.ParameterKey") == ""


def test_a_name_twice_is_9003() -> None:
    twice = (f"{ROOT}DeviceInfo.ProvisioningCode", "string", "x")

    assert asked(device(), "SetParameterValues", values(twice, twice))[1] == 9003


def test_attributes_are_kept() -> None:
    one = device()
    change = (
        f"<ParameterList><SetParameterAttributesStruct><Name>{VERSION}</Name>"
        "<NotificationChange>1</NotificationChange><Notification>2</Notification>"
        "<AccessListChange>0</AccessListChange><AccessList/></SetParameterAttributesStruct></ParameterList>"
    )

    assert asked(one, "SetParameterAttributes", change)[1] == 0

    assert texts(one, "GetParameterAttributes", names(VERSION), "Notification") == ["2"]


def test_the_interval_that_the_acs_sets_counts_from_then_on() -> None:
    one = device()
    server = f"{ROOT}ManagementServer."

    asked(one, "SetParameterValues", values((f"{server}PeriodicInformInterval", "unsignedInt", "900")))
    assert interval(one) == 900

    moment = (f"{server}PeriodicInformTime", "dateTime", "2026-01-01T03:00:00Z")
    asked(one, "SetParameterValues", values(moment))
    assert one.facts.periodic is not None
    assert one.facts.periodic.reference == datetime(2026, 1, 1, 3, tzinfo=UTC).timestamp()

    asked(one, "SetParameterValues", values((f"{server}PeriodicInformEnable", "boolean", "0")))
    assert interval(one) is None

    asked(one, "FactoryReset")
    assert interval(one) == 86_400


def test_credentials_that_the_acs_sets_are_used() -> None:
    one = device(password="first")
    assert one.parameters.login == ("00D09E-SIM00000007", "first")

    server = f"{ROOT}ManagementServer."
    asked(
        one,
        "SetParameterValues",
        values((f"{server}Username", "string", "u"), (f"{server}Password", "string", "p")),
    )

    assert one.parameters.login == ("u", "p")
    assert device().parameters.login == (None, "")


@pytest.mark.parametrize(
    ("method", "arguments", "fault"),
    [
        ("GetRPCMethods", "", 0),
        ("GetQueuedTransfers", "", 0),
        ("Upload", "", 9000),
        ("SetVouchers", "", 9000),
        ("Nonsense", "", 9000),
        ("Reboot", "", 9003),
        ("AddObject", f"<ObjectName>{ROOT}X.</ObjectName><ParameterKey/>", 9005),
        ("DeleteObject", f"<ObjectName>{ROOT}X.1.</ObjectName><ParameterKey/>", 9005),
        ("Download", download(url="ftp://a/b"), 9013),
        ("Download", download(kind="9 Nothing"), 9003),
    ],
)
def test_calls_are_answered_as_devices_do(method: str, arguments: str, fault: int) -> None:
    if fault == 9000 and method == "Upload":
        arguments = download().partition("<TargetFileName>")[0].replace("<FileSize>0</FileSize>", "")
        arguments += "<DelaySeconds>0</DelaySeconds>"

    assert asked(device(), method, arguments)[1] == fault


def test_a_faulty_device_answers_with_its_fault() -> None:
    one = device(shares=FleetShares(fault=1, fault_code=FaultCode.REQUEST_DENIED))

    assert asked(one, "GetRPCMethods")[1] == 9001


@pytest.mark.parametrize("count", [100, 1000])
@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize("kind", ["slow", "fault", "drop"])
def test_shares_are_those_of_the_profile(count: int, share: float, kind: str) -> None:
    stated = profile(
        shares={
            "slow": FleetShares(slow=share),
            "fault": FleetShares(fault=share),
            "drop": FleetShares(drop=share),
        }[kind]
    )
    devices = [FleetDevice(stated, number) for number in range(1, count + 1)]

    found = sum({"slow": one.slow, "fault": one.faulty, "drop": one.drops}[kind] for one in devices)

    assert abs(found - count * share) <= 3


def test_phases_are_uniform_also_among_devices_of_a_kind() -> None:
    stated = profile(shares=FleetShares(slow=0.2))
    devices = [FleetDevice(stated, number) for number in range(1, 10_001)]

    for chosen in (devices, [one for one in devices if one.slow], devices[::2]):
        phases = [one.facts.periodic.phase for one in chosen if one.facts.periodic is not None]
        tenths = [sum(tenth / 10 <= phase < (tenth + 1) / 10 for phase in phases) for tenth in range(10)]
        assert max(tenths) - min(tenths) <= len(chosen) * 0.01


def test_a_download_is_reported_after_the_restart() -> None:
    one = device(new_version="2.0")
    asked(one, "Download", download())
    assert due(one.facts, NOW).transfer or due(one.facts, NOW).session
    transfer = one.begin_transfer(NOW)
    assert one.facts.transfer_running
    assert texts(one, "GetQueuedTransfers", "", "State") == ["2"]

    one.facts = one.facts.after_session(NOW, one.facts.waiting, NOW.boot, periodic=None)
    one.transfer_ended(transfer, FaultStruct(0, ""), TIMES, NOW)

    assert one.restart == (Event(EventCode.BOOT), Event("7 TRANSFER COMPLETE"), Event("M Download", "d"))
    assert waiting(one) == []
    one.start(NOW)
    assert waiting(one) == ["1 BOOT", "7 TRANSFER COMPLETE", "M Download"]
    assert one.told_transfers(one.facts.waiting) == [transfer]
    assert value(one, "DeviceInfo.SoftwareVersion") == "2.0"


def test_two_downloads_with_one_command_key_are_both_reported() -> None:
    one = device()
    later = Moment(None, NOW.boot + 5)
    for _ in range(2):
        asked(one, "Download", download(kind="2 Web Content"))
    one.transfer_ended(one.begin_transfer(NOW), FaultStruct(0, ""), TIMES, NOW)
    reported = one.facts.waiting
    one.begin_session()
    (told,) = one.told_transfers(reported)

    one.transfer_ended(one.begin_transfer(NOW), FaultStruct(9010, "no"), TIMES, NOW)
    one.transfers.remove(told)
    one.session_over(NOW, reported, later, periodic=None)

    assert one.facts.waiting == (Event("7 TRANSFER COMPLETE"), Event("M Download", "d"))
    assert due(one.facts, Moment(None, later.boot + 2)).session


def test_what_the_acs_refuses_to_be_told_waits_for_another_cause() -> None:
    one = device()
    asked(one, "Download", download(kind="2 Web Content"))
    one.transfer_ended(one.begin_transfer(NOW), FaultStruct(0, ""), TIMES, NOW)
    reported = one.facts.waiting
    one.begin_session()
    one.told_transfers(reported)

    one.session_over(NOW, reported, NOW, periodic=None)

    assert one.facts.waiting == ()
    assert one.facts.passive == (Event("7 TRANSFER COMPLETE"), Event("M Download", "d"))
    assert len(one.transfers) == 1


def test_a_reboot_within_a_session_does_not_lose_what_a_download_has_to_report() -> None:
    one = device()
    asked(one, "Download", download())
    one.transfer_ended(one.begin_transfer(NOW), FaultStruct(0, ""), TIMES, NOW)

    asked(one, "Reboot", "<CommandKey>r</CommandKey>")

    assert one.restart == (
        Event(EventCode.BOOT),
        Event("7 TRANSFER COMPLETE"),
        Event("M Download", "d"),
        Event("M Reboot", "r"),
    )


def test_queues_are_bounded() -> None:
    one = device()
    schedule = "<DelaySeconds>60</DelaySeconds><CommandKey>s</CommandKey>"

    downloads = [asked(one, "Download", download(delay=99))[1] for _ in range(17)]
    informs = [asked(one, "ScheduleInform", schedule)[1] for _ in range(17)]

    assert downloads == [0] * 16 + [9003]
    assert informs == [0] * 16 + [9003]
    assert due(one.facts, Moment(None, NOW.boot + 61)).causes[-1] == Event(EventCode.SCHEDULED)


def test_parameters_of_a_profile_stand_beside_and_in_place_of_the_others() -> None:
    stated = FleetProfile(
        parameters={
            f"{ROOT}Layer3Forwarding.DefaultConnectionService": FleetParameter(
                type=read_type("string(256)"), value="{serial}/{n:03}"
            ),
            f"{ROOT}DeviceInfo.SpecVersion": FleetParameter(type=read_type("string(16)"), value="1.1"),
        }
    )
    one = FleetDevice(stated, 3)

    assert value(one, "Layer3Forwarding.DefaultConnectionService") == "SIM00000003/003"
    assert value(one, "DeviceInfo.SpecVersion") == "1.1"
