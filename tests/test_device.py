"""Device files: what is read, what is refused, and versions."""

from typing import Any, Final

import pytest

from spkg.common.toml_document import parse_table
from spkg.device import Device, DeviceAttribute, FileHandler, LinkPolicy, load_device, read_device
from spkg.errors import FormatError
from spkg.format.commands import ROLES
from spkg.format.modes import ModeRule
from spkg.format.versions import meets_maximum, meets_minimum
from tests.support.kit import ROOT
from tests.support.messages import without_lines

OUI: Final = "must be an OUI of six upper-case hexadecimal digits"
ROLE: Final = f'each must be one of {", ".join(ROLES)} or {{ vendor = "OUI" }}'


def device(text: str) -> Device:
    return read_device(parse_table(text.encode(), "device.toml"))


def test_the_sample_says_what_a_gateway_knows_about_itself() -> None:
    assert load_device(ROOT / "samples/gateway/device.toml") == Device(
        manufacturer="2Wire",
        oui="00D09E",
        product_class="Gateway",
        serial_number="123456789",
        software_version="5.3.0.12",
        provisioning_code="ISP-1",
        supported_options=("IPTV", "QoS"),
        non_volatile=32 << 20,
        volatile=64 << 20,
        roles=frozenset({1, 2, 3}),
        links=LinkPolicy.REFUSE,
        file_mode=0o644,
        modes=(
            ModeRule(pattern="/bin/*", mode=0o755),
            ModeRule(pattern="/sbin/*", mode=0o755),
            ModeRule(pattern="/etc/init.d/*", mode=0o755),
        ),
        recovery_command=("/sbin/recover", "--next-boot"),
        max_extracted=24 << 20,
        minimum_package_version=(6, 0),
        attributes=frozenset({DeviceAttribute(defining_entity=0xFF00D09E, class_=1, value=7)}),
    )


def test_a_device_file_may_say_nothing() -> None:
    assert device("") == Device()
    assert Device().roles == frozenset({1, 2, 3, 4})
    assert Device().supported_options is None
    assert device("[options]\nsupported = []").supported_options == ()


def test_a_provisioning_code_may_have_64_characters() -> None:
    code = "é" * 64

    assert device(f'[device]\nprovisioning-code = "{code}"').provisioning_code == code


def test_a_medium_may_be_larger_than_a_package() -> None:
    assert device('[storage]\nnon-volatile = "64GiB"').non_volatile == 64 << 30


def test_the_first_rule_that_is_for_a_path_says_its_mode() -> None:
    text = """
        [[install.mode]]
        path = "/etc/*"
        mode = "600"
        [[install.mode]]
        path = "/etc/*.sh"
        mode = "0755"
    """

    assert [device(text).mode_for(path) for path in ("/etc/a/b.sh", "/etc", "/bin/sh")] == [0o600, None, None]


def test_hooks_are_programs_with_their_arguments() -> None:
    text = """
        [install]
        before = ["/etc/spkg/before", "--quiet"]
        after = ["/etc/spkg/after", ""]
        failed = []
    """

    assert device(text) == Device(before=("/etc/spkg/before", "--quiet"), after=("/etc/spkg/after", ""))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("0.3", 0.3),
        ('"45"', 45),
        ('"30s"', 30),
        ('"1.5 s"', 1.5),
        ('"10min"', 600),
        ('"1h"', 3600),
    ],
)
def test_hooks_have_the_time_that_the_device_gives_them(value: str, seconds: float) -> None:
    assert device(f"[install]\nhook-timeout = {value}").hook_timeout == seconds


def test_hooks_have_five_minutes_unless_the_device_says_otherwise() -> None:
    assert device("").hook_timeout == 300


def test_the_first_handler_that_is_for_a_path_takes_the_file() -> None:
    text = """
        [[install.handler]]
        path = "/images/*.img"
        command = ["/sbin/write-image", "/dev/mtdblock4"]
        [[install.handler]]
        path = "/images/*"
        command = ["/bin/other"]
    """

    found = device(text)

    first, second = found.handlers
    assert first == FileHandler(pattern="/images/*.img", command=("/sbin/write-image", "/dev/mtdblock4"))
    assert [found.handler_for(path) for path in ("/images/a/b.img", "/images/x", "/etc/a.img")] == [
        first,
        second,
        None,
    ]


def test_of_the_accepted_roles_some_can_be_expected() -> None:
    accepted = Device(roles=frozenset({1, 2, 3, 0xFF00D09E}))

    assert accepted.expecting(["software-upgrade", "vendor"]).roles == frozenset({1, 0xFF00D09E})
    assert accepted.expecting(["vendor-configuration"]).roles == frozenset()
    assert accepted.roles == frozenset({1, 2, 3, 0xFF00D09E})


def test_the_roles_of_a_vendor_can_be_accepted() -> None:
    text = '[install]\nroles = ["web-content", { vendor = "00D09E" }, { vendor = "ABCDEF" }]'

    assert device(text).roles == frozenset({3, 0xFF00D09E, 0xFFABCDEF})


def test_links_can_be_followed_in_the_root() -> None:
    assert device('[install]\nsymlinks = "follow-in-root"').links is LinkPolicy.FOLLOW_IN_ROOT


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[device]\nname = 1", "device.name: unknown key"),
        ("[devices]", "devices: unknown key; did you mean 'device'?"),
        ("[device]\nserial-number = 7", "device.serial-number: must be a string in quotes"),
        (
            '[device]\noui = "00d09e"',
            "device.oui: must be an OUI of six upper-case hexadecimal digits, got '00d09e'",
        ),
        (
            '[install]\nroles = ["upgrade"]',
            f"install.roles: {ROLE}, got 'upgrade' [TR-069 E.4.11]",
        ),
        (
            '[install]\nroles = [{ vendor = "00d09e" }]',
            f"install.roles[0].vendor: {OUI}",
        ),
        (
            '[install]\nroles = ["web-content", {}]',
            f"install.roles[1].vendor: {OUI}",
        ),
        (
            '[install]\nroles = [{ vendor = "00D09E", arguments = "" }]',
            "install.roles[0].arguments: unknown key",
        ),
        (
            "[device]\nprovisioning-code = '" + "x" * 65 + "'",
            "device.provisioning-code: must have at most 64 characters, got 65 [TR-069 B]",
        ),
        (
            '[install]\nsymlinks = "follow"',
            'install.symlinks: must be "refuse" or "follow-in-root", got \'follow\'',
        ),
        (
            '[install]\nfile-mode = "4755"',
            'install.file-mode: must be a mode in octal digits, such as "0755"',
        ),
        ("[install]\nfile-mode = 755", "install.file-mode: must be a string in quotes"),
        (
            '[[install.mode]]\npath = "bin/*"\nmode = "0755"',
            "install.mode[0].path: must be a pattern that begins with a slash",
        ),
        (
            '[[install.mode]]\npath = "/bin/*"',
            'install.mode[0].mode: must be a mode in octal digits, such as "0755"',
        ),
        (
            '[[install.mode]]\npath = "/bin/*"\nmode = "0755"\nowner = 0',
            "install.mode[0].owner: unknown key",
        ),
        ('[install]\nbefore = "/bin/true"', "install.before: must be an array"),
        ('[install]\nafter = ["/bin/true", 1]', "install.after: must be an array of strings"),
        ('[install]\nfailed = [""]', "install.failed: must begin with a program, got an empty string"),
        (
            '[install]\nrecovery-command = ["/bin/true", "a\\u0000b"]',
            "install.recovery-command: must have no NUL in any string",
        ),
        *(
            (
                f"[install]\nhook-timeout = {value}",
                'install.hook-timeout: must be a number of seconds, or a time such as "30s", "10min" or "1h"',
            )
            for value in ('"5 minutes"', '""', '"-1s"', "true", "[]")
        ),
        *(
            (
                f"[install]\nhook-timeout = {value}",
                f"install.hook-timeout: must be from 0 to 4294967295 s, got {told}",
            )
            for value, told in (("-1", "-1"), ("nan", "nan"), ("inf", "inf"), ('"1193047h"', "4.29497e+09"))
        ),
        (
            '[[install.handler]]\npath = "images/*"\ncommand = ["/bin/true"]',
            "install.handler[0].path: must be a pattern that begins with a slash",
        ),
        (
            '[[install.handler]]\ncommand = ["/bin/true"]',
            "install.handler[0].path: must be a pattern that begins with a slash",
        ),
        (
            '[[install.handler]]\npath = "/images/*"',
            "install.handler[0].command: must be an array of a program and its arguments",
        ),
        (
            '[[install.handler]]\npath = "/images/*"\ncommand = ["/bin/true"]\nlimit = 3',
            "install.handler[0].limit: unknown key",
        ),
        (
            '[install]\nminimum-package-version = "6.x"',
            "install.minimum-package-version: must be a version such as 6.3.9, got '6.x'",
        ),
        (
            "[[attribute]]\ndefining-entity = 0\nclass = 1",
            "attribute[0]: needs defining-entity, class and value [TR-069 E.4.13]",
        ),
        (
            '[storage]\nvolatile = "many"',
            'storage.volatile: must be a number of bytes, or a size such as "16MiB"',
        ),
        (
            "[storage]\nvolatile = 9223372036854775808",
            "storage.volatile: must be from 0 to 9223372036854775807, got 9223372036854775808",
        ),
    ],
)
def test_what_is_no_device_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        device(text)

    assert without_lines(str(caught.value)) == f"device.toml: {problem}"


@pytest.mark.parametrize(
    ("version", "bound", "minimum", "maximum"),
    [
        ((5, 3), (5, 3), True, True),
        ((5, 3), (5, 4), False, True),
        ((5, 3), (5, 2), True, False),
        ((6, 3, 9), (6, 3), True, True),
        ((6, 3), (6, 3, 1), False, True),
        ((6, 3), (6, 3, 0), True, True),
        ((6,), (5, 9, 9), True, False),
        ((4, 9, 9), (5,), False, True),
        ((10,), (9,), True, False),
        ((5, 9), (6, 3), False, True),  # not element by element: the first that differs decides
        ((6, 1), (5, 9), True, False),
    ],
)
def test_versions_are_compared_element_by_element(
    version: tuple[int, ...], bound: tuple[int, ...], minimum: Any, maximum: Any
) -> None:
    assert (meets_minimum(version, bound), meets_maximum(version, bound)) == (minimum, maximum)
