"""The methods on parameters (A.3.2.1 to A.3.2.7), with the agent's own and those of the sample provider."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spkg.agent.records import ParameterTrial
from spkg.agent.tree.names import OWN_SETTINGS
from spkg.agent.tree.tree import Tree
from spkg.cwmp.events import Event
from spkg.cwmp.faults import FaultCode, MethodFaultError, ParameterFault
from spkg.cwmp.values import AttributeChange, ParameterAttributes, ParameterInfo, ParameterValue
from spkg.errors import FormatError, RefusedError, UsageError
from tests.agent.tree_kit import CONFIG, IGD, MANAGEMENT, Bench, bench, sample_provider

LAN = f"{IGD}LANDevice.1.LANHostConfigManagement."
HOSTS = f"{IGD}LANDevice.1.Hosts."
ROUTES = f"{IGD}Layer3Forwarding.Forwarding."
CODE = f"{IGD}DeviceInfo.ProvisioningCode"
KEY = f"{MANAGEMENT}ParameterKey"
WAN = f"{IGD}WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.ExternalIPAddress"
FORCED_ONES = [CODE, f"{IGD}DeviceInfo.SoftwareVersion", f"{MANAGEMENT}ConnectionRequestURL", WAN]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Bench]:
    """Give a tree without providers."""
    with bench(tmp_path) as found:
        yield found


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Bench]:
    """Give a tree with the sample provider."""
    with bench(tmp_path, CONFIG + sample_provider(tmp_path)) as found:
        yield found


def text(name: str, value: str) -> ParameterValue:
    return ParameterValue(name, "string", value)


def value(tree: Tree, name: str) -> str:
    (found,) = tree.get_values([name])
    return found.value


def fault(caught: pytest.ExceptionInfo[MethodFaultError]) -> tuple[FaultCode, str]:
    return caught.value.code, caught.value.text


def end_session(found: Bench) -> None:
    """Tell all that an Inform tells, as a session does that ends cleanly."""
    found.tree.lock()
    found.tree.told(found.tree.inform_values())
    with found.state.change() as change:
        found.tree.keep_told(change)
    found.tree.unlock()


# Reading.


def test_r6_full_names_and_partial_paths_are_read(gateway: Bench) -> None:
    found = gateway.tree.get_values([f"{IGD}DeviceInfo.SpecVersion", LAN])

    assert found == (
        text(f"{IGD}DeviceInfo.SpecVersion", "1.0"),
        ParameterValue(f"{LAN}DHCPLeaseTime", "int", "86400"),
        ParameterValue(f"{LAN}DHCPServerEnable", "boolean", "1"),
        text(f"{LAN}MaxAddress", "192.168.1.253"),
        text(f"{LAN}MinAddress", "192.168.1.64"),
    )


@pytest.mark.parametrize("path", ["", IGD])
def test_p10_the_empty_path_is_all(gateway: Bench, path: str) -> None:
    found = {one.name: one.value for one in gateway.tree.get_values([path])}

    assert len(found) == len(gateway.tree.get_names("", next_level=False)) - sum(
        one.name.endswith(".") for one in gateway.tree.get_names("", next_level=False)
    )
    assert found[f"{IGD}DeviceInfo.SerialNumber"] == "123456789"
    assert found[f"{HOSTS}Host.1.HostName"] == "printer"


@pytest.mark.parametrize(
    "path",
    [
        f"{IGD}Nothing",
        f"{IGD}DeviceInfo",
        f"{IGD}DeviceInfo.SpecVersion.",
        f"{IGD}DeviceInf.",
        "Device.",
        f"{HOSTS}Host.9.HostName",
        f"{HOSTS}Host.9.",
        f"{HOSTS}Host.{{i}}.HostName",
        f"{IGD}LANDevice.2.",
        ".",
        f"{IGD}DeviceInfo.UpTime\n",
    ],
)
def test_p11_what_does_not_exist_is_9005_and_never_left_out(gateway: Bench, path: str) -> None:
    for ask in (
        lambda: gateway.tree.get_values([CODE, path]),
        lambda: gateway.tree.get_names(path, next_level=False),
        lambda: gateway.tree.get_attributes([path]),
        lambda: gateway.tree.set_attributes([AttributeChange(path, 1, None)]),
    ):
        with pytest.raises(MethodFaultError) as caught:
            ask()

        assert fault(caught) == (9005, f"there is no parameter or object {path!r}")


def test_p49_a_list_of_none_is_answered_with_none(own: Bench) -> None:
    assert own.tree.get_values([]) == ()


def test_a_parameter_asked_for_twice_is_answered_once(own: Bench) -> None:
    assert own.tree.get_values([CODE, CODE, f"{IGD}DeviceInfo."])[0] == text(CODE, "TLCO")
    assert [one.name for one in own.tree.get_values([CODE, f"{IGD}DeviceInfo."])].count(CODE) == 1


def test_r7_names_begin_with_the_path(gateway: Bench) -> None:
    found = gateway.tree.get_names(f"{IGD}Layer3Forwarding.", next_level=False)

    assert found == (
        ParameterInfo(f"{IGD}Layer3Forwarding.", writable=False),
        ParameterInfo(f"{IGD}Layer3Forwarding.ForwardNumberOfEntries", writable=False),
        ParameterInfo(ROUTES, writable=True),
    )


def test_r7_one_level_below_is_what_next_level_lists(gateway: Bench) -> None:
    top = gateway.tree.get_names("", next_level=True)
    lan = gateway.tree.get_names(f"{IGD}LANDevice.1.", next_level=True)
    below = gateway.tree.get_names(IGD, next_level=True)

    assert top == (ParameterInfo(IGD, writable=False),)
    assert lan == (
        ParameterInfo(HOSTS, writable=False),
        ParameterInfo(LAN, writable=False),
    )
    assert [one.name.removeprefix(IGD) for one in below] == [
        "DeviceConfig.",
        "DeviceInfo.",
        "LANDevice.",
        "LANDeviceNumberOfEntries",
        "Layer3Forwarding.",
        "ManagementServer.",
        "WANDevice.",
        "WANDeviceNumberOfEntries",
    ]


def test_r7_a_full_name_lists_itself(own: Bench) -> None:
    assert own.tree.get_names(CODE, next_level=False) == (ParameterInfo(CODE, writable=True),)
    with pytest.raises(MethodFaultError) as caught:
        own.tree.get_names(CODE, next_level=True)
    assert fault(caught) == (9003, "NextLevel needs a partial path, which ends in a dot")


def test_r8_writable_says_where_objects_can_be_added_and_deleted(gateway: Bench) -> None:
    gateway.tree.add_object(ROUTES, "")

    found = {one.name: one.writable for one in gateway.tree.get_names(IGD, next_level=False)}

    assert (found[ROUTES], found[f"{ROUTES}1."], found[f"{ROUTES}1.Enable"]) == (True, True, True)
    assert (found[f"{HOSTS}Host."], found[f"{HOSTS}Host.1."]) == (False, False)


def test_p12_every_name_that_is_listed_can_be_read(gateway: Bench) -> None:
    names = [one.name for one in gateway.tree.get_names("", next_level=False)]

    found = gateway.tree.get_values([name for name in names if not name.endswith(".")])

    assert [one.name for one in found] == [name for name in names if not name.endswith(".")]
    for path in (name for name in names if name.endswith(".")):
        gateway.tree.get_values([path])


def test_p2_what_can_be_written_can_be_read_and_passwords_are_empty(own: Bench) -> None:
    own.secrets[f"{'ManagementServer.'}Password"] = "secret"
    own.tree.set_values([text(f"{MANAGEMENT}ConnectionRequestPassword", "hidden")], "")

    for one in own.tree.get_names("", next_level=False):
        if one.writable:
            assert value(own.tree, one.name) == "" if "Password" in one.name else True

    assert own.tree.setting("ManagementServer.Password") == "secret"
    assert own.tree.setting("ManagementServer.ConnectionRequestPassword") == "hidden"


def test_p3_device_info_has_what_table_61_requires(own: Bench) -> None:
    found = {
        one.name.rpartition(".")[2]: (one.type, one.value)
        for one in own.tree.get_values([f"{IGD}DeviceInfo."])
    }

    assert found == {
        "Manufacturer": ("string", "2Wire"),
        "ManufacturerOUI": ("string", "00D09E"),
        "ModelName": ("string", "Gateway 6"),
        "Description": ("string", ""),
        "ProductClass": ("string", "Gateway"),
        "SerialNumber": ("string", "123456789"),
        "HardwareVersion": ("string", "B"),
        "SoftwareVersion": ("string", "5.3.0.12"),
        "SpecVersion": ("string", "1.0"),
        "ProvisioningCode": ("string", "TLCO"),
        "UpTime": ("unsignedInt", "100"),
        "FirstUseDate": ("dateTime", "0001-01-01T00:00:00Z"),
        "DeviceLog": ("string", "log"),
    }


def test_what_can_be_on_trial_is_what_the_agent_keeps_itself(own: Bench) -> None:
    assert own.tree.own_settings() == OWN_SETTINGS


def test_p5_enabled_options_are_those_of_the_store(own: Bench) -> None:
    own.options = "IPTV,QoS"

    assert value(own.opened(), f"{IGD}DeviceInfo.EnabledOptions") == "IPTV,QoS"


def test_p6_management_server_has_what_table_61_requires(own: Bench) -> None:
    found = {one.name.removeprefix(MANAGEMENT): one for one in own.tree.get_values([MANAGEMENT])}
    can = {
        one.name.removeprefix(MANAGEMENT)
        for one in own.tree.get_names(MANAGEMENT, next_level=True)
        if one.writable
    }

    assert {name: (one.type, one.value) for name, one in found.items()} == {
        "URL": ("string", "https://acs.example.net/cwmp"),
        "Username": ("string", "00D09E-123456789"),
        "Password": ("string", ""),
        "PeriodicInformEnable": ("boolean", "1"),
        "PeriodicInformInterval": ("unsignedInt", "600"),
        "PeriodicInformTime": ("dateTime", "0001-01-01T00:00:00Z"),
        "ParameterKey": ("string", ""),
        "ConnectionRequestURL": ("string", "http://192.0.2.7:7547/path"),
        "ConnectionRequestUsername": ("string", ""),
        "ConnectionRequestPassword": ("string", ""),
        "UpgradesManaged": ("boolean", "1"),
    }
    assert can == found.keys() - {"ParameterKey", "ConnectionRequestURL"}


def test_p9_pages_of_the_gateway_are_there_where_they_are_configured(tmp_path: Path) -> None:
    config = CONFIG.replace("[install]", 'kick-url = "http://192.168.1.1/kick"\n[install]')
    with bench(tmp_path, config) as found:
        assert value(found.tree, f"{MANAGEMENT}KickURL") == "http://192.168.1.1/kick"


def test_p10_persistent_data_outlives_a_restart(own: Bench) -> None:
    own.tree.set_values([text(f"{IGD}DeviceConfig.PersistentData", " é\n")], "")

    assert value(own.restart(), f"{IGD}DeviceConfig.PersistentData") == " é\n"


def test_p11_counters_are_right_for_what_is_there(gateway: Bench) -> None:
    assert value(gateway.tree, f"{IGD}LANDeviceNumberOfEntries") == "1"
    assert value(gateway.tree, f"{IGD}WANDeviceNumberOfEntries") == "1"
    assert value(gateway.tree, f"{HOSTS}HostNumberOfEntries") == "1"
    assert value(gateway.tree, f"{IGD}Layer3Forwarding.ForwardNumberOfEntries") == "0"

    gateway.tree.add_object(ROUTES, "")

    assert value(gateway.tree, f"{IGD}Layer3Forwarding.ForwardNumberOfEntries") == "1"


def test_p13_the_address_of_the_default_connection_is_configured(tmp_path: Path) -> None:
    wan = 'wan = { parameter = "WANDevice.2.X_00D09E_Uplink.Address", address = "198.51.100.9" }\n[install]'
    with bench(tmp_path, CONFIG.replace("[install]", wan)) as found:
        informed = {one.name: one.value for one in found.tree.inform_values()}

    assert informed[f"{IGD}WANDevice.2.X_00D09E_Uplink.Address"] == "198.51.100.9"


def test_p14_the_root_can_have_another_name(tmp_path: Path) -> None:
    with bench(tmp_path, CONFIG.replace("[install]", 'root = "Device"\n[install]')) as found:
        names = [one.name for one in found.tree.get_names("", next_level=True)]

        assert names == ["Device."]
        assert value(found.tree, "Device.ManagementServer.URL") == "https://acs.example.net/cwmp"


def test_the_software_version_is_read_once_a_boot(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("6.3.9\nmore\n")
    with bench(tmp_path, CONFIG.replace("[install]", 'version-file = "version"\n[install]')) as found:
        (tmp_path / "version").write_text("6.4.0\n")
        assert value(found.restart(), f"{IGD}DeviceInfo.SoftwareVersion") == "6.3.9"

        found.boot_id = "another"
        assert value(found.restart(), f"{IGD}DeviceInfo.SoftwareVersion") == "6.4.0"

        (tmp_path / "version").unlink()
        found.boot_id = "a third"
        assert value(found.restart(), f"{IGD}DeviceInfo.SoftwareVersion") == "5.3.0.12"
        assert found.notes == [
            f"the software version can't be read: {tmp_path / 'version'}: no such file or directory"
        ]


def test_p48_a_log_larger_than_its_parameter_is_cut_where_it_is_old(own: Bench) -> None:
    own.log = "old" + "x" * 32768

    assert value(own.tree, f"{IGD}DeviceInfo.DeviceLog") == "x" * 32768


# Setting.


def test_r2_r3_values_of_both_kinds_are_set_at_once(gateway: Bench) -> None:
    status = gateway.tree.set_values(
        [
            text(f"{LAN}DHCPLeaseTime", " 600 "),
            text(CODE, "TLCO.GRP2"),
            text(f"{LAN}DHCPServerEnable", "false"),
        ],
        "key 1",
    )

    assert status == 0
    assert value(gateway.tree, f"{LAN}DHCPLeaseTime") == "600"
    assert value(gateway.tree, f"{LAN}DHCPServerEnable") == "0"
    assert value(gateway.tree, CODE) == "TLCO.GRP2"
    assert value(gateway.tree, KEY) == "key 1"


def test_p20_p21_what_the_acs_has_set_outlives_a_restart(gateway: Bench) -> None:
    gateway.tree.set_values([text(CODE, "AAAA"), text(f"{LAN}MinAddress", "10.0.0.1")], "k")
    number, _ = gateway.tree.add_object(ROUTES, "k2")
    gateway.tree.set_attributes([AttributeChange(CODE, 2, ())])

    tree = gateway.restart()

    assert value(tree, CODE) == "AAAA"
    assert value(tree, f"{LAN}MinAddress") == "10.0.0.1"
    assert value(tree, f"{ROUTES}{number}.DestIPAddress") == ""
    assert value(tree, KEY) == "k2"
    assert tree.get_attributes([CODE]) == (ParameterAttributes(CODE, 2, ()),)


def test_r4_p19_each_parameter_in_error_has_its_own_fault(gateway: Bench) -> None:
    with pytest.raises(MethodFaultError) as caught:
        gateway.tree.set_values(
            [
                text(f"{LAN}MaxAddress", "elsewhere"),
                text(CODE, "BBBB"),
                text(f"{IGD}Nothing", "1"),
                text(f"{IGD}DeviceInfo.", "1"),
                text(f"{MANAGEMENT}PeriodicInformEnable", "perhaps"),
                text(f"{MANAGEMENT}PeriodicInformInterval", "0"),
                text(f"{IGD}DeviceInfo.SerialNumber", "1"),
                text(f"{LAN}DHCPLeaseTime", "-2"),
                text(f"{MANAGEMENT}URL", "ftp://acs.example.net/"),
            ],
            "k",
        )

    assert fault(caught) == (9003, "8 parameters in error")
    assert [(one.name.removeprefix(IGD), int(one.code)) for one in caught.value.parameters] == [
        ("LANDevice.1.LANHostConfigManagement.MaxAddress", 9007),
        ("Nothing", 9005),
        ("DeviceInfo.", 9005),
        ("ManagementServer.PeriodicInformEnable", 9006),
        ("ManagementServer.PeriodicInformInterval", 9007),
        ("DeviceInfo.SerialNumber", 9008),
        ("LANDevice.1.LANHostConfigManagement.DHCPLeaseTime", 9007),
        ("ManagementServer.URL", 9007),
    ]
    assert caught.value.parameters[0].text == "must be an IPv4 address"
    assert value(gateway.tree, CODE) == "TLCO"
    assert value(gateway.tree, KEY) == ""
    assert gateway.state.commits == 1  # the software version, at the start


@pytest.mark.parametrize("second", ["AAAA", "BBBB"])
def test_p18_one_parameter_twice_is_a_fault_whatever_the_values(own: Bench, second: str) -> None:
    with pytest.raises(MethodFaultError) as caught:
        own.tree.set_values([text(CODE, "AAAA"), text(KEY, "x"), text(CODE, second)], "k")

    assert caught.value.parameters == (
        ParameterFault(CODE, FaultCode.INVALID_ARGUMENTS, "occurs more than once"),
        ParameterFault(KEY, FaultCode.NOT_WRITABLE, "can't be changed"),
    )
    assert value(own.tree, CODE) == "TLCO"


@pytest.mark.parametrize("stated", ["string", "unsignedInt", "boolean", "json", ""])
def test_p13_p15_a_type_that_differs_does_not_matter_where_the_text_fits(own: Bench, stated: str) -> None:
    name = f"{MANAGEMENT}PeriodicInformInterval"

    own.tree.set_values([ParameterValue(name, stated, "300")], "")

    assert own.tree.get_values([name]) == (ParameterValue(name, "unsignedInt", "300"),)


@pytest.mark.parametrize(("written", "read"), [("true", "1"), ("1", "1"), ("false", "0"), ("0", "0")])
def test_p16_booleans_of_both_kinds_are_taken(own: Bench, written: str, read: str) -> None:
    own.tree.set_values([ParameterValue(f"{MANAGEMENT}PeriodicInformEnable", "boolean", written)], "")

    assert value(own.tree, f"{MANAGEMENT}PeriodicInformEnable") == read


def test_p48_a_value_larger_than_the_parameter_is_a_fault_and_never_cut(own: Bench) -> None:
    with pytest.raises(MethodFaultError) as caught:
        own.tree.set_values([text(f"{IGD}DeviceConfig.PersistentData", "x" * 257)], "")

    assert caught.value.parameters == (
        ParameterFault(
            f"{IGD}DeviceConfig.PersistentData",
            FaultCode.INVALID_VALUE,
            "expected at most 256 characters, got 257",
        ),
    )


def test_r5_the_parameter_key_is_that_of_the_last_method(gateway: Bench) -> None:
    tree, seen = gateway.tree, [value(gateway.tree, KEY)]
    tree.set_values([text(CODE, "AAAA")], "1")
    seen.append(value(tree, KEY))
    number, _ = tree.add_object(ROUTES, "2")
    seen.append(value(tree, KEY))
    tree.delete_object(f"{ROUTES}{number}.", "3")
    seen.append(value(tree, KEY))
    tree.set_values([], "4")
    seen.append(value(tree, KEY))
    tree.set_values([text(CODE, "AAAA")], "")
    seen.append(value(tree, KEY))

    assert seen == ["", "1", "2", "3", "4", ""]


def test_a_request_with_a_provider_is_two_commits_and_without_one(gateway: Bench) -> None:
    before = gateway.state.commits

    gateway.tree.set_values([text(CODE, "AAAA")], "1")
    assert gateway.state.commits - before == 1
    gateway.tree.set_values([text(CODE, "BBBB"), text(f"{LAN}DHCPLeaseTime", "60")], "2")
    assert gateway.state.commits - before == 3


def test_equal_values_are_no_change_and_write_nothing(gateway: Bench) -> None:
    gateway.tree.set_values([text(f"{MANAGEMENT}Password", "p"), text(f"{LAN}DHCPLeaseTime", "60")], "1")
    before, stored = gateway.state.commits, (gateway.place / "gateway.json").stat().st_ino

    gateway.tree.set_values([text(f"{MANAGEMENT}Password", "p"), text(f"{LAN}DHCPLeaseTime", "60")], "1")

    assert gateway.state.commits == before
    assert (gateway.place / "gateway.json").stat().st_ino == stored


def test_e8_another_url_is_a_bootstrap_and_on_trial(own: Bench) -> None:
    with own.state.change() as change:
        change.fact("url-told", "https://acs.example.net/cwmp")
    assert not own.tree.needs_bootstrap()

    own.tree.set_values([text(f"{MANAGEMENT}URL", "https://new.example.net/")], "k")

    assert own.state.events() == (Event("0 BOOTSTRAP"),)
    assert own.tree.needs_bootstrap()
    assert own.tree.setting("ManagementServer.URL") == "https://new.example.net/"
    assert own.state.trial() == ParameterTrial(
        before={"ManagementServer.URL": None}, delay=600, since_boot=100.0, boot_id=own.boot_id
    )
    own.boot_clock = 200.0
    own.tree.set_values([text(f"{MANAGEMENT}URL", "https://third.example.net/")], "k")
    trial = own.state.trial()
    assert trial is not None
    assert (trial.before, trial.since_boot) == ({"ManagementServer.URL": None}, 200.0)


def test_the_same_url_is_no_bootstrap(own: Bench) -> None:
    own.tree.set_values([text(f"{MANAGEMENT}URL", "https://acs.example.net/cwmp")], "k")

    assert (own.state.events(), own.state.trial()) == ((), None)


def test_without_back_up_a_new_url_is_for_all_later_connections(tmp_path: Path) -> None:
    with bench(tmp_path, CONFIG.replace('back-up = "10min"\n', "")) as found:
        found.tree.set_values([text(f"{MANAGEMENT}URL", "https://new.example.net/")], "k")

        assert found.state.trial() is None


def test_a_name_that_no_header_can_carry_is_refused(own: Bench) -> None:
    with pytest.raises(MethodFaultError) as caught:
        own.tree.set_values([text(f"{MANAGEMENT}Username", "a\r\nX: y")], "k")

    assert caught.value.parameters == (
        ParameterFault(
            f"{MANAGEMENT}Username", FaultCode.INVALID_VALUE, "must not contain control characters"
        ),
    )


def test_the_acs_does_not_go_from_https_to_http(own: Bench) -> None:
    with pytest.raises(MethodFaultError) as caught:
        own.tree.set_values([text(f"{MANAGEMENT}URL", "http://acs.example.net/")], "k")

    assert caught.value.parameters == (
        ParameterFault(f"{MANAGEMENT}URL", FaultCode.INVALID_VALUE, "must not go from https to http"),
    )


def test_where_it_is_allowed_it_does(tmp_path: Path) -> None:
    with bench(tmp_path, CONFIG.replace("[device]", "unsafe-downgrade = true\n[device]")) as found:
        found.tree.set_values([text(f"{MANAGEMENT}URL", "http://acs.example.net/")], "k")

        assert found.tree.setting("ManagementServer.URL") == "http://acs.example.net/"


def test_d5_what_is_configured_goes_before_dhcp(tmp_path: Path) -> None:
    config = CONFIG.replace('url = "https://acs.example.net/cwmp"', "dhcp = true")
    with bench(tmp_path, config) as found:
        with found.state.change() as change:
            change.fact("url-dhcp", "http://dhcp.example.net/")
        assert found.tree.setting("ManagementServer.URL") == "http://dhcp.example.net/"

        acs = replace(found.config.acs, url="https://acs.example.net/")
        tree = found.restart(replace(found.config, acs=acs))
        assert tree.setting("ManagementServer.URL") == "https://acs.example.net/"
        assert value(tree, f"{MANAGEMENT}URL") == "https://acs.example.net/"


# Objects.


def test_r12_an_instance_number_is_never_given_twice(gateway: Bench) -> None:
    numbers = []
    for _ in range(3):
        number, status = gateway.tree.add_object(ROUTES, "k")
        assert status == 0
        assert gateway.tree.delete_object(f"{ROUTES}{number}.", "k") == 0
        numbers.append(number)
        gateway.restart()

    assert numbers == [1, 2, 3]


def test_r12_a_new_object_has_defaults_and_plain_attributes(gateway: Bench) -> None:
    number, _ = gateway.tree.add_object(ROUTES, "k")

    assert [one.value for one in gateway.tree.get_values([f"{ROUTES}{number}."])] == ["", "0", ""]
    assert {
        (one.notification, one.access) for one in gateway.tree.get_attributes([f"{ROUTES}{number}."])
    } == {(0, ("Subscriber",))}


def test_r12_when_all_numbers_are_used_up_free_ones_come_again(gateway: Bench) -> None:
    gateway.tree.add_object(ROUTES, "")
    with gateway.state.change() as change:
        change.set_next_instance(ROUTES, (1 << 32) - 1)

    assert [gateway.tree.add_object(ROUTES, "")[0] for _ in range(3)] == [(1 << 32) - 1, 2, 3]


def test_r13_the_other_objects_keep_their_numbers(gateway: Bench) -> None:
    for _ in range(3):
        gateway.tree.add_object(ROUTES, "")

    gateway.tree.delete_object(f"{ROUTES}2.", "")

    names = [one.name for one in gateway.tree.get_names(ROUTES, next_level=True)]
    assert names == [f"{ROUTES}1.", f"{ROUTES}3."]


def test_what_was_known_of_an_object_goes_with_it(gateway: Bench) -> None:
    gateway.tree.add_object(ROUTES, "")
    gateway.tree.set_attributes([AttributeChange(f"{ROUTES}1.", 2, ())])
    assert len(gateway.state.told()) == 3

    gateway.tree.delete_object(f"{ROUTES}1.", "")

    assert (gateway.state.told(), gateway.state.attributes()) == ({}, {})
    assert gateway.tree.changes() == ()


def test_a_full_table_takes_no_more(gateway: Bench) -> None:
    for _ in range(16):
        gateway.tree.add_object(ROUTES, "k")

    with pytest.raises(MethodFaultError) as caught:
        gateway.tree.add_object(ROUTES, "late")

    assert fault(caught) == (9004, f"{ROUTES} has at most 16 instances")
    assert value(gateway.tree, KEY) == "k"


@pytest.mark.parametrize(
    "path",
    [ROUTES.removesuffix("."), f"{HOSTS}Host.", f"{IGD}DeviceInfo.", f"{IGD}Nothing.", "", f"{ROUTES}1."],
)
def test_what_is_no_table_takes_no_objects(gateway: Bench, path: str) -> None:
    with pytest.raises(MethodFaultError) as caught:
        gateway.tree.add_object(path, "k")

    assert fault(caught) == (9005, f"no object can be added to {path!r}")
    assert value(gateway.tree, KEY) == ""


@pytest.mark.parametrize(
    "path", [f"{ROUTES}7.", f"{ROUTES}1", ROUTES, f"{HOSTS}Host.1.", f"{ROUTES}01.", f"{IGD}DeviceInfo.", ""]
)
def test_what_is_no_object_of_a_table_is_not_deleted(gateway: Bench, path: str) -> None:
    gateway.tree.add_object(ROUTES, "")

    with pytest.raises(MethodFaultError) as caught:
        gateway.tree.delete_object(path, "k")

    assert fault(caught) == (9005, f"no object {path!r} can be deleted")
    assert value(gateway.tree, KEY) == ""


def test_p42_adding_an_object_leaves_the_periodic_informs_alone(gateway: Bench) -> None:
    gateway.tree.set_values([text(f"{MANAGEMENT}PeriodicInformInterval", "900")], "")

    gateway.tree.add_object(ROUTES, "k")

    assert gateway.tree.setting("ManagementServer.PeriodicInformInterval") == "900"
    assert gateway.restart().setting("ManagementServer.PeriodicInformEnable") == "1"


# Attributes.


def test_r9_r11_attributes_change_only_where_it_is_said(own: Bench) -> None:
    own.tree.set_attributes([AttributeChange(CODE, 2, None)])
    own.tree.set_attributes([AttributeChange(CODE, None, ("Subscriber", "X_00D09E_Other"))])

    assert own.tree.get_attributes([CODE, KEY]) == (
        ParameterAttributes(CODE, 2, ("Subscriber", "X_00D09E_Other")),
        ParameterAttributes(KEY, 0, ("Subscriber",)),
    )


def test_r9_a_partial_path_is_for_all_below(own: Bench) -> None:
    own.tree.set_attributes([AttributeChange(f"{IGD}DeviceInfo.", 1, ())])

    found = {one.name.rpartition(".")[2]: one for one in own.tree.get_attributes([f"{IGD}DeviceInfo."])}

    assert {one.access for one in found.values()} == {()}
    assert [name for name, one in found.items() if one.notification == 0] == ["DeviceLog", "UpTime"]


@pytest.mark.parametrize("name", ["DeviceInfo.UpTime", "DeviceInfo.DeviceLog", "ManagementServer.Password"])
def test_r9_what_makes_no_sense_to_notify_is_9009_and_changes_nothing(own: Bench, name: str) -> None:
    with pytest.raises(MethodFaultError) as caught:
        own.tree.set_attributes([AttributeChange(CODE, 2, None), AttributeChange(f"{IGD}{name}", 1, ())])

    assert fault(caught) == (9009, f"{IGD}{name}: its changes can't be notified")
    assert own.state.attributes() == {}
    own.tree.set_attributes([AttributeChange(f"{IGD}{name}", 0, ())])


def test_r9_the_attributes_of_a_provider_that_says_no_are_9009(gateway: Bench) -> None:
    with pytest.raises(MethodFaultError) as caught:
        gateway.tree.set_attributes([AttributeChange(f"{HOSTS}Host.1.Active", 2, None)])

    assert caught.value.code == 9009


@pytest.mark.parametrize(
    ("change", "code", "problem"),
    [
        (AttributeChange(CODE, 3, None), 9003, "Notification must be 0, 1 or 2, got 3"),
        (AttributeChange(CODE, None, ("x" * 65,)), 9003, "an entity has at most 64 characters"),
        (AttributeChange(CODE, None, ("x",) * 17), 9004, "expected at most 16 entities, got 17"),
    ],
)
def test_x17_attributes_that_cannot_be_kept(
    own: Bench, change: AttributeChange, code: int, problem: str
) -> None:
    with pytest.raises(MethodFaultError) as caught:
        own.tree.set_attributes([change])

    assert fault(caught) == (code, f"{CODE}: {problem}")


# Changes.


def test_e5_p17_an_inform_has_the_parameters_of_table_33(own: Bench) -> None:
    assert {one.name.removeprefix(IGD): one.value for one in own.tree.inform_values()} == {
        "DeviceInfo.SpecVersion": "1.0",
        "DeviceInfo.HardwareVersion": "B",
        "DeviceInfo.SoftwareVersion": "5.3.0.12",
        "DeviceInfo.ProvisioningCode": "TLCO",
        "ManagementServer.ConnectionRequestURL": "http://192.0.2.7:7547/path",
        "ManagementServer.ParameterKey": "",
        WAN.removeprefix(IGD): "192.0.2.7",
    }


def test_d15_forced_parameters_are_told_without_being_asked_for(own: Bench) -> None:
    end_session(own)
    assert sorted(own.state.told()) == sorted(FORCED_ONES)
    assert not own.tree.active_change()

    own.address, own.request_url = "192.0.2.8", "http://192.0.2.8:7547/path"

    assert [one.name for one in own.tree.changes()] == [f"{MANAGEMENT}ConnectionRequestURL", WAN]
    assert own.tree.active_change()


def test_before_the_first_session_nothing_has_changed(own: Bench) -> None:
    own.address = "192.0.2.8"

    assert own.tree.changes() == ()


def test_e6_a_marked_parameter_is_told_once_with_its_last_value(gateway: Bench) -> None:
    name = f"{LAN}MinAddress"
    end_session(gateway)
    gateway.tree.set_attributes([AttributeChange(name, 1, None)])
    for address in ("10.0.0.1", "10.0.0.2"):
        gateway.tree.set_locally(name, address)

    assert gateway.tree.changes() == (text(name, "10.0.0.2"),)
    assert not gateway.tree.active_change()
    assert text(name, "10.0.0.2") in gateway.tree.inform_values()

    end_session(gateway)

    assert gateway.tree.changes() == ()


def test_d14_an_active_one_makes_a_session(gateway: Bench) -> None:
    gateway.tree.set_attributes([AttributeChange(f"{LAN}MinAddress", 2, None)])
    gateway.tree.set_locally(f"{LAN}MinAddress", "10.0.0.1")

    assert gateway.tree.active_change()


def test_e6_without_a_mark_nothing_is_told(gateway: Bench) -> None:
    name = f"{LAN}MinAddress"
    gateway.tree.set_attributes([AttributeChange(name, 2, None)])
    gateway.tree.set_attributes([AttributeChange(name, 0, None)])

    gateway.tree.set_locally(name, "10.0.0.1")

    assert gateway.tree.changes() == ()


def test_a_value_that_comes_back_is_no_change(own: Bench) -> None:
    end_session(own)
    own.address = "192.0.2.8"
    own.address = "192.0.2.7"

    assert own.tree.changes() == ()


@pytest.mark.parametrize("notification", [1, 2])
def test_d16_p37_what_the_acs_set_is_never_a_change(gateway: Bench, notification: int) -> None:
    names = [
        f"{LAN}MinAddress",
        CODE,
        f"{MANAGEMENT}Username",
        KEY,
        f"{IGD}Layer3Forwarding.ForwardNumberOfEntries",
    ]
    end_session(gateway)
    gateway.tree.set_attributes([AttributeChange(name, notification, None) for name in names])
    gateway.tree.lock()
    gateway.tree.told(gateway.tree.inform_values())

    gateway.tree.set_values(
        [text(f"{LAN}MinAddress", "10.0.0.1"), text(CODE, "AAAA"), text(f"{MANAGEMENT}Username", "u")], "key"
    )
    gateway.tree.add_object(ROUTES, "key 2")
    with gateway.state.change() as change:
        gateway.tree.keep_told(change)
    gateway.tree.unlock()

    assert gateway.tree.changes() == ()
    gateway.tree.set_locally(f"{LAN}MinAddress", "10.0.0.9")
    assert gateway.tree.changes() == (text(f"{LAN}MinAddress", "10.0.0.9"),)


def test_d17_a_change_is_told_until_the_session_has_ended_cleanly(own: Bench) -> None:
    end_session(own)
    own.address = "192.0.2.8"
    own.tree.lock()
    own.tree.told(own.tree.inform_values())
    own.tree.unlock()  # broken

    assert [one.name for one in own.tree.changes()] == [WAN]


def test_s5_a_change_during_a_session_makes_the_next_one(own: Bench) -> None:
    end_session(own)
    own.tree.lock()
    own.address = "192.0.2.8"
    assert own.tree.changes() == ()
    assert text(WAN, "192.0.2.7") in own.tree.inform_values()
    own.tree.told(own.tree.inform_values())
    with own.state.change() as change:
        own.tree.keep_told(change)
    own.tree.unlock()

    assert own.tree.changes() == (text(WAN, "192.0.2.8"),)
    assert own.tree.active_change()


def test_a_session_without_news_writes_nothing(own: Bench) -> None:
    end_session(own)
    before = own.state.commits

    end_session(own)

    assert own.state.commits == before


# The subscriber.


def test_r10_the_subscriber_changes_what_the_access_list_allows(gateway: Bench) -> None:
    assert gateway.tree.set_locally("DeviceConfig.PersistentData", "mine") == 0
    assert gateway.tree.set_locally(f"{LAN}MinAddress", "10.0.0.1") == 0
    assert value(gateway.tree, f"{LAN}MinAddress") == "10.0.0.1"
    assert value(gateway.tree, KEY) == ""

    gateway.tree.set_attributes([AttributeChange(f"{LAN}MinAddress", None, ())])

    with pytest.raises(RefusedError) as caught:
        gateway.tree.set_locally(f"{LAN}MinAddress", "10.0.0.2")
    assert str(caught.value) == f"{LAN}MinAddress can only be changed by the ACS, which has said so"
    gateway.tree.set_values([text(f"{LAN}MinAddress", "10.0.0.3")], "k")


def test_what_the_subscriber_cannot_change(gateway: Bench) -> None:
    for name, new, kind, problem in (
        ("Nothing", "1", UsageError, f"there is no parameter {IGD}Nothing"),
        ("DeviceInfo.UpTime", "1", RefusedError, f"{IGD}DeviceInfo.UpTime can't be changed"),
        (
            "ManagementServer.PeriodicInformInterval",
            "x",
            FormatError,
            f"{MANAGEMENT}PeriodicInformInterval: expected an integer, got 'x'",
        ),
        (
            "ManagementServer.URL",
            "http://acs.example.net/",
            FormatError,
            f"{MANAGEMENT}URL: must not go from https to http",
        ),
    ):
        with pytest.raises(kind) as caught:
            gateway.tree.set_locally(name, new)
        assert str(caught.value) == problem


def test_d11_after_the_first_contact_only_the_acs_changes_its_url(tmp_path: Path) -> None:
    with bench(tmp_path, CONFIG.replace("[device]", "lock-url = true\n[device]")) as found:
        found.tree.set_locally("ManagementServer.URL", "https://first.example.net/")
        assert found.state.trial() is None
        with found.state.change() as change:
            change.fact("url-told", "https://first.example.net/")

        with pytest.raises(RefusedError) as caught:
            found.tree.set_locally("ManagementServer.URL", "https://second.example.net/")

        assert str(caught.value) == f"{MANAGEMENT}URL can only be changed by the ACS (lock-url)"


def test_s4_nobody_else_changes_parameters_during_a_session(own: Bench) -> None:
    own.tree.lock()
    with pytest.raises(RefusedError) as caught:
        own.tree.set_locally("DeviceConfig.PersistentData", "x")
    assert str(caught.value) == "a session with the ACS is on, and keeps the parameters as they are"

    own.tree.unlock()

    own.tree.set_locally("DeviceConfig.PersistentData", "x")


# The rest.


def test_r20_a_factory_reset_is_for_providers_too(gateway: Bench) -> None:
    gateway.tree.set_values([text(f"{LAN}MinAddress", "10.0.0.1"), text(CODE, "AAAA")], "k")
    gateway.tree.set_attributes([AttributeChange(CODE, 2, None)])

    gateway.tree.reset_providers()
    with gateway.state.change() as change:
        change.forget_everything()

    assert value(gateway.tree, f"{LAN}MinAddress") == "192.168.1.64"
    assert value(gateway.tree, CODE) == "TLCO"
    assert value(gateway.tree, KEY) == ""
    assert gateway.state.attributes() == {}
    assert gateway.tree.needs_bootstrap()


def test_a_file_is_a_provider(tmp_path: Path) -> None:
    (tmp_path / "parameters.json").write_text(
        json.dumps(
            {
                f"{IGD}LANDevice.1.Name": {"type": "string(8)", "value": "lan", "writable": True},
                f"{IGD}LANDevice.3.Count": {"type": "unsignedInt", "value": "7", "notify": "no"},
            }
        )
    )
    config = f'{CONFIG}[[provider]]\nname = "file"\nfile = "parameters.json"\npaths = ["LANDevice."]\n'
    with bench(tmp_path, config) as found:
        assert value(found.tree, f"{IGD}LANDeviceNumberOfEntries") == "2"
        assert found.tree.get_values([f"{IGD}LANDevice.3.Count"]) == (
            ParameterValue(f"{IGD}LANDevice.3.Count", "unsignedInt", "7"),
        )
        found.tree.set_attributes([AttributeChange(f"{IGD}LANDevice.1.Name", 2, None)])
        (tmp_path / "parameters.json").chmod(0o600)

        found.tree.set_values([text(f"{IGD}LANDevice.1.Name", "new")], "k")

        stored = json.loads((tmp_path / "parameters.json").read_text())
        assert stored[f"{IGD}LANDevice.1.Name"] == {"type": "string(8)", "value": "new", "writable": True}
        assert (tmp_path / "parameters.json").stat().st_mode & 0o777 == 0o600
        assert found.tree.changes() == ()
        stored[f"{IGD}LANDevice.1.Name"]["value"] = "edited"
        del stored[f"{IGD}LANDevice.3.Count"]
        (tmp_path / "parameters.json").write_text(json.dumps(stored))
        assert found.tree.changes() == (text(f"{IGD}LANDevice.1.Name", "edited"),)
        assert value(found.tree, f"{IGD}LANDeviceNumberOfEntries") == "1"
        with pytest.raises(MethodFaultError) as caught:
            found.tree.add_object(f"{IGD}LANDevice.", "k")
        assert caught.value.code == 9005
        found.tree.lock()
        found.tree.unlock()
        found.tree.reset_providers()


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        ("[]", "expected an object of names, each an object with type and value"),
        ("{", "line 1: expected JSON: expecting property name enclosed in double quotes"),
        (
            '{"InternetGatewayDevice.DeviceInfo.X": {}}',
            "InternetGatewayDevice.DeviceInfo.X is not below InternetGatewayDevice.LANDevice.",
        ),
        (
            '{"InternetGatewayDevice.LANDevice.A": {"value": 5}}',
            "the value of InternetGatewayDevice.LANDevice.A must be a string of at most 65536 characters",
        ),
        (
            '{"InternetGatewayDevice.LANDevice.A": {"valeu": "5"}}',
            "InternetGatewayDevice.LANDevice.A: unknown key 'valeu'",
        ),
    ],
)
def test_a_file_that_is_wrong_is_9002(tmp_path: Path, contents: str, problem: str) -> None:
    (tmp_path / "parameters.json").write_text(contents)
    config = f'{CONFIG}[[provider]]\nname = "file"\nfile = "parameters.json"\npaths = ["LANDevice."]\n'
    with bench(tmp_path, config) as found:
        with pytest.raises(MethodFaultError) as caught:
            found.tree.get_values([IGD])

        assert fault(caught) == (9002, f"provider 'file': parameters.json: {problem}")
        assert found.tree.problems() == (f"provider 'file': parameters.json: {problem}",)
        assert value(found.tree, CODE) == "TLCO"


def test_a_file_that_is_not_there_is_9002(tmp_path: Path) -> None:
    config = f'{CONFIG}[[provider]]\nname = "file"\nfile = "parameters.json"\npaths = ["LANDevice."]\n'
    with bench(tmp_path, config) as found:
        with pytest.raises(MethodFaultError) as caught:
            found.tree.get_values([f"{IGD}LANDevice."])

    assert fault(caught) == (
        9002,
        f"provider 'file': {tmp_path / 'parameters.json'}: no such file or directory",
    )
