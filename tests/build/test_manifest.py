"""The manifest: every key and verb there is, in the order of the wire, and every error with its place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spkg.build.manifest import Manifest, SourceModes, load_manifest, read_manifest
from spkg.build.steps import FileStep, ManifestStep, RecordStep, TreeLinks, TreeStep
from spkg.common.toml_document import MAX_DOCUMENT, Override, Table, parse_table
from spkg.errors import FormatError, UsageError
from spkg.format.commands import (
    Add,
    AddVersioned,
    Description,
    Extract,
    ExtractVersioned,
    Format,
    InitialActivityTimeout,
    InitialTimeout,
    MaximumVersion,
    Metadata,
    MinimumNonVolatileStorage,
    MinimumVersion,
    MinimumVolatileStorage,
    Move,
    MoveVersioned,
    Reboot,
    Record,
    RecoverableTimeout,
    Remove,
    RemoveSubTree,
    RemoveVersioned,
    RequiredAttributes,
    Role,
    UnknownCommand,
    UnrecoverableTimeout,
    Version,
)
from spkg.format.paths import RootPath, TreePath, VersionedPath
from spkg.format.versions import parse_version
from tests.support.kit import SAMPLE
from tests.support.messages import without_lines

HERE: Final = Path("here")
VERBS: Final = (
    "extract, extract-versioned, add, add-versioned, extract-tree, remove, remove-versioned, remove-tree, "
    "move, move-versioned, format, reboot, vendor"
)

STRING: Final = "must be a string in quotes"
SIZE: Final = 'must be a number of bytes, or a size such as "16MiB"'
TIME: Final = 'must be a number of seconds, or a time such as "10min"'
VERSION: Final = "must be a version such as 6.3.9, got"
OUI: Final = "must be an OUI of six upper-case hexadecimal digits"
MODE: Final = 'must be a mode in octal digits, such as "0755"'
MODES: Final = 'must be "exact", "executable", true or false'
ROLE: Final = (
    "expected software-upgrade, software-recovery, web-content, vendor-configuration "
    'or { vendor = "OUI" }, got '
)


def parse(text: str, overrides: Mapping[str, str] | None = None) -> Manifest:
    return read_manifest(parse_table(text.encode(), "m.toml", overrides), HERE)


def step(text: str) -> ManifestStep:
    (found,) = parse(f"[[step]]\n{text}").steps
    return found


def error(text: str, overrides: Mapping[str, str] | None = None) -> str:
    """Return what is wrong, without the line: lines have tests of their own."""
    with pytest.raises(FormatError) as caught:
        parse(text, overrides)
    return without_lines(str(caught.value))


# What stands before the steps


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ('version = "6.3.9.41"', Version(text="6.3.9.41")),
        ('version = "Ökosystem 2 €"', Version(text="Ökosystem 2 €")),
        ('version = ""', Version(text="")),
        ('description = "Gateway\\nfirmware"', Description(text="Gateway\nfirmware")),
        ('role = "software-upgrade"', Role(role=1)),
        ('role = "software-recovery"', Role(role=2)),
        ('role = "web-content"', Role(role=3)),
        ('role = "vendor-configuration"', Role(role=4)),
        ('role = { vendor = "00D09E" }', Role(role=0xFF00D09E)),
        (
            'role = { vendor = "FFFFFF", arguments = "00ff 10" }',
            Role(role=0xFFFFFFFF, arguments=b"\0\xff\x10"),
        ),
        ('minimum-version = "5.0"', MinimumVersion(version=(5, 0))),
        ('maximum-version = "6.3.9.40"', MaximumVersion(version=(6, 3, 9, 40))),
        ('maximum-version = "0.4294967295"', MaximumVersion(version=(0, 4294967295))),
        ('minimum-non-volatile-storage = "16MiB"', MinimumNonVolatileStorage(storage_size=16 << 20)),
        ("minimum-volatile-storage = 4294967295", MinimumVolatileStorage(storage_size=4294967295)),
    ],
)
def test_each_key_of_a_package_is_one_command(text: str, record: Record) -> None:
    assert parse(f"[package]\n{text}").parameters == (record,)


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        ("0", 0),
        ("1000", 1000),
        ('"1000"', 1000),
        ('"3KiB"', 3 << 10),
        ('"3 KiB"', 3 << 10),
        ('"16MiB"', 16 << 20),
        ('"3GiB"', 3 << 30),
    ],
)
def test_a_size_is_a_number_of_octets_or_has_a_binary_unit(value: str, octets: int) -> None:
    manifest = parse(f"[package]\nminimum-volatile-storage = {value}")

    assert manifest.parameters == (MinimumVolatileStorage(storage_size=octets),)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("600", 600),
        ('"30"', 30),
        ('"30s"', 30),
        ('"10min"', 600),
        ('"10 min"', 600),
        ('"1h"', 3600),
    ],
)
def test_a_time_is_a_number_of_seconds_or_has_a_unit(value: str, seconds: int) -> None:
    assert parse(f"[timeouts]\ninitial = {value}").parameters == (InitialTimeout(timeout=seconds),)


def test_parameters_have_one_order_on_the_wire_whatever_theirs_in_the_manifest() -> None:
    text = """
        [[required-attributes]]
        values = [7, 8]
        class = 1
        defining-entity = "00D09E"
        [timeouts]
        unrecoverable = "1h"
        recoverable = 900
        initial-activity = 30
        initial = 600
        [package]
        file-modes = true
        minimum-volatile-storage = "8MiB"
        minimum-non-volatile-storage = "16MiB"
        maximum-version = "6.3.9.40"
        minimum-version = "5.0"
        role = "software-upgrade"
        description = "Gateway firmware 6.3.9"
        version = "6.3.9.41"
        [[required-attributes]]
        defining-entity = 0
        class = 2
        values = [4294967295]
    """

    assert parse(text).parameters == (
        Version(text="6.3.9.41"),
        Description(text="Gateway firmware 6.3.9"),
        Role(role=1),
        MinimumVersion(version=(5, 0)),
        MaximumVersion(version=(6, 3, 9, 40)),
        MinimumNonVolatileStorage(storage_size=16 << 20),
        MinimumVolatileStorage(storage_size=8 << 20),
        InitialTimeout(timeout=600),
        InitialActivityTimeout(timeout=30),
        RecoverableTimeout(timeout=900),
        UnrecoverableTimeout(timeout=3600),
        RequiredAttributes(defining_entity=0xFF00D09E, class_=1, attributes=(7, 8)),
        RequiredAttributes(defining_entity=0, class_=2, attributes=(4294967295,)),
    )


@pytest.mark.parametrize(
    ("entity", "number"),
    [
        ('"00D09E"', 0xFF00D09E),
        ('"ABCDEF"', 0xFFABCDEF),
        ("0", 0),
        ("53406", 53406),
        ("4278243486", 0xFF00D09E),
    ],
)
def test_an_oui_is_marked_on_the_wire_and_a_number_is_taken_literally(entity: str, number: int) -> None:
    text = f"[[required-attributes]]\ndefining-entity = {entity}\nclass = 0\nvalues = [1]"

    assert parse(text).parameters == (RequiredAttributes(defining_entity=number, class_=0, attributes=(1,)),)


@pytest.mark.parametrize(
    ("other", "count"),
    [
        ('defining-entity = "00D09E"\nclass = 2\nvalues = [7]', 2),
        ('defining-entity = "00D09F"\nclass = 1\nvalues = [7]', 2),
        ("defining-entity = 0\nclass = 1\nvalues = [7]", 2),
    ],
)
def test_attributes_of_other_classes_or_entities_stand_beside_each_other(other: str, count: int) -> None:
    one = '[[required-attributes]]\ndefining-entity = "00D09E"\nclass = 1\nvalues = [7]'

    assert len(parse(f"{one}\n[[required-attributes]]\n{other}").parameters) == count


def test_nothing_at_all_is_a_manifest_of_an_empty_package() -> None:
    assert parse("") == Manifest(
        source="m.toml",
        parameters=(),
        steps=(),
        strong_digests=False,
        file_modes=SourceModes.NONE,
        modes=(),
        share_payload=True,
    )


@pytest.mark.parametrize(
    ("text", "switches"),
    [
        ("strong-digests = true", (True, True)),
        ("strong-digests = false", (False, True)),
        ("share-payload = true", (False, True)),
        ("share-payload = false", (False, False)),
    ],
)
def test_the_switches_of_a_package_are_off_but_for_sharing(text: str, switches: tuple[bool, ...]) -> None:
    manifest = parse(f"[package]\n{text}")

    assert (manifest.strong_digests, manifest.share_payload) == switches
    assert manifest.parameters == ()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", SourceModes.NONE),
        ("file-modes = false", SourceModes.NONE),
        ("file-modes = true", SourceModes.EXECUTABLE),
        ('file-modes = "executable"', SourceModes.EXECUTABLE),
        ('file-modes = "exact"', SourceModes.EXACT),
    ],
)
def test_the_modes_of_the_sources_are_taken_in_one_of_two_ways(text: str, kind: SourceModes) -> None:
    assert parse(f"[package]\n{text}").file_modes is kind


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("true", SourceModes.EXECUTABLE),
        ("executable", SourceModes.EXECUTABLE),
        ("exact", SourceModes.EXACT),
        ("false", SourceModes.NONE),
    ],
)
def test_the_way_can_be_set_from_outside(value: str, kind: SourceModes) -> None:
    manifest = parse('[package]\nfile-modes = "exact"', {"package.file-modes": value})

    assert manifest.file_modes is kind


def test_of_several_rules_for_modes_the_last_that_fits_wins() -> None:
    manifest = parse(
        '[[mode]]\npath = "/bin/*"\nmode = "0755"\n'
        '[[mode]]\npath = "/bin/x*"\nmode = "700"\n'
        '[[mode]]\npath = "/*.key"\nmode = "0600"\n'
    )

    places = ("/bin/a", "/bin/xz", "/bin/d/x.key", "/lib/a", "bin/a")
    assert [manifest.mode_for(path) for path in places] == [0o755, 0o700, 0o600, None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('path = "bin/*"\nmode = "0755"', ".path: must be a pattern that begins with a slash"),
        ('mode = "0755"', ".path: must be a pattern that begins with a slash"),
        ('path = "/bin/*"', f".mode: {MODE}"),
        ('path = "/bin/*"\nmode = "1777"', f".mode: {MODE}"),
        ('path = "/bin/*"\nmode = "0000"', ".mode: mode 0000 can't be stated in a package"),
        ('path = "/bin/*"\nmode = "0755"\nowner = 0', ".owner: unknown key"),
    ],
)
def test_a_wrong_rule_for_modes_is_named(text: str, message: str) -> None:
    assert error(f"[[mode]]\n{text}") == f"m.toml: mode[0]{message}"


# Metadata


def test_metadata_is_one_command_behind_the_other_parameters() -> None:
    text = (
        '[metadata]\nticket = "A-1"\n"built by" = "ci\u00e4"\n\n[[required-attributes]]\n'
        'defining-entity = 0\nclass = 1\nvalues = [1]\n[package]\nversion = "1"\n'
    )

    assert parse(text).parameters == (
        Version(text="1"),
        RequiredAttributes(defining_entity=0, class_=1, attributes=(1,)),
        Metadata(entries=(("built by", "ciä"), ("ticket", "A-1"))),
    )


def test_metadata_may_be_empty_or_missing() -> None:
    assert parse("[metadata]").parameters == (Metadata(entries=()),)
    assert parse("").parameters == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[metadata]\nk = 1", f"m.toml: metadata.k: {STRING}"),
        ('[metadata]\nk = ["a"]', f"m.toml: metadata.k: {STRING}"),
        ("metadata = 1", "m.toml: metadata: must be a table"),
        (
            f'[metadata]\nk = "{"x" * (16384 - 7)}"',
            "m.toml: metadata: the metadata has 16385 bytes, the limit is 16384",
        ),
    ],
)
def test_metadata_holds_strings_up_to_a_limit(text: str, message: str) -> None:
    assert error(text) == message


def test_metadata_may_be_as_long_as_the_limit() -> None:
    (record,) = parse(f'[metadata]\nk = "{"x" * (16384 - 8)}"').parameters

    assert len(record.encode()) == 8 + 16384


# Everything that is wrong


def test_all_that_is_wrong_is_told_at_once_with_its_lines() -> None:
    text = """
[package]
version = 1
colour = "red"
maximum-version = "x"
[timeouts]
initial = "soon"
recoverable = 5
[[step]]
extract = "/a"
[[step]]
reboot = true
[[step]]
extract = "/ok"
from = "ok"
[[step]]
remove = ""
move = "/x"
[[mode]]
path = "/x"
mode = "9"
[metadata]
a = 1
b = 2
"""

    with pytest.raises(FormatError) as caught:
        parse(text)

    assert [str(one) for one in (caught.value, *caught.value.others)] == [
        "m.toml:3: package.version: must be a string in quotes",
        "m.toml:4: package.colour: unknown key",
        "m.toml:5: package.maximum-version: must be a version such as 6.3.9, got 'x'",
        'm.toml:7: timeouts.initial: must be a number of seconds, or a time such as "10min"',
        "m.toml:9: step[0].from: the path of the source is required",
        "m.toml:12: step[1].reboot: a reboot must be the last step [TR-069 E.4.8]",
        "m.toml:16: step[3]: expected exactly one verb, got remove, move",
        f"m.toml:21: mode[0].mode: {MODE}",
        "m.toml:23: metadata.a: must be a string in quotes",
        "m.toml:24: metadata.b: must be a string in quotes",
    ]


def test_a_value_from_the_command_line_has_no_line() -> None:
    with pytest.raises(FormatError) as caught:
        parse('[package]\nversion = "1"\nminimum-version = "x"', {"package.minimum-version": "y"})

    assert caught.value.line is None


def test_the_placeholders_of_a_manifest_are_filled(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(
        '[package]\nversion = "${V}"\n[[step]]\nextract = "/a/$$${V}"\nfrom = "${DIR}/a"\n'
    )

    manifest = load_manifest(tmp_path / "m.toml", definitions={"V": "6.4", "DIR": "out"})

    assert manifest.parameters == (Version(text="6.4"),)
    assert manifest.steps == (
        FileStep(
            field="step[0]",
            command=Extract,
            path=RootPath(b"/a/$6.4"),
            source=tmp_path / "out/a",
            flags=0,
        ),
    )


# The steps


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'extract = "/bin/app"\nfrom = "rootfs/app"',
            FileStep(
                field="step[0]",
                command=Extract,
                path=RootPath(b"/bin/app"),
                source=HERE / "rootfs/app",
                flags=0,
            ),
        ),
        (
            'extract-versioned = "lib/modem.007"\nfrom = "modem"\nunsafe = true',
            FileStep(
                field="step[0]",
                command=ExtractVersioned,
                path=VersionedPath(b"lib/modem.007"),
                source=HERE / "modem",
                flags=1,
            ),
        ),
        (
            'add = "/größe"\nfrom = "/absolute/size"\nunsafe = false',
            FileStep(
                field="step[0]",
                command=Add,
                path=RootPath("/größe".encode()),
                source=Path("/absolute/size"),
                flags=0,
            ),
        ),
        (
            'add-versioned = "/plan.001"\nfrom = "../plan"',
            FileStep(
                field="step[0]",
                command=AddVersioned,
                path=VersionedPath(b"/plan.001"),
                source=HERE / "../plan",
                flags=0,
            ),
        ),
        (
            'extract-tree = "/"\nfrom = "rootfs"',
            TreeStep(
                field="step[0]",
                path=TreePath(b"/"),
                source=HERE / "rootfs",
                exclude=(),
                links=TreeLinks.ERROR,
                flags=0,
            ),
        ),
        (
            'extract-tree = "www/"\nfrom = "web"\nexclude = ["*.map", "/a/b"]\nlinks = "copy"\nunsafe = true',
            TreeStep(
                field="step[0]",
                path=TreePath(b"www/"),
                source=HERE / "web",
                exclude=("*.map", "/a/b"),
                links=TreeLinks.COPY,
                flags=1,
            ),
        ),
        (
            'extract-tree = "/www"\nfrom = "web"\nlinks = "skip"',
            TreeStep(
                field="step[0]",
                path=TreePath(b"/www"),
                source=HERE / "web",
                exclude=(),
                links=TreeLinks.SKIP,
                flags=0,
            ),
        ),
    ],
)
def test_each_verb_that_carries_files(text: str, expected: ManifestStep) -> None:
    assert step(text) == expected


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ('remove = "/etc/telnetd"', Remove(path=RootPath(b"/etc/telnetd"))),
        ('remove = "/etc/telnetd"\nunsafe = true', Remove(path=RootPath(b"/etc/telnetd"), flags=1)),
        ('remove-versioned = "/lib/dsp.001"', RemoveVersioned(path=VersionedPath(b"/lib/dsp.001"))),
        ('remove-tree = "/www/"', RemoveSubTree(path=TreePath(b"/www/"))),
        ('remove-tree = "/"\nunsafe = true', RemoveSubTree(path=TreePath(b"/"), flags=1)),
        ('move = "/a"\nto = "b/c"', Move(source_path=RootPath(b"/a"), destination_path=RootPath(b"b/c"))),
        (
            'move-versioned = "/crash.001"\nto = "/kept.old"\nunsafe = true',
            MoveVersioned(
                source_path=VersionedPath(b"/crash.001"),
                destination_path=VersionedPath(b"/kept.old"),
                flags=1,
            ),
        ),
        ("format = true", Format()),
        ("reboot = true", Reboot()),
        ("vendor = 1000", UnknownCommand(number=1000, value=b"")),
        ('vendor = 9999\nvalue = "00 Ff"', UnknownCommand(number=9999, value=b"\0\xff")),
    ],
)
def test_each_verb_that_needs_no_source(text: str, record: Record) -> None:
    assert step(text) == RecordStep(field="step[0]", record=record)


def test_steps_keep_their_order_and_know_their_place() -> None:
    manifest = parse('[[step]]\nformat = true\n[[step]]\nremove = "/a"\n[[step]]\nreboot = true')

    assert manifest.steps == (
        RecordStep(field="step[0]", record=Format()),
        RecordStep(field="step[1]", record=Remove(path=RootPath(b"/a"))),
        RecordStep(field="step[2]", record=Reboot()),
    )


def test_a_manifest_is_named_as_its_file_and_its_sources_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "release.toml").write_text('[[step]]\nextract = "/a"\nfrom = "files/a"\n')

    manifest = load_manifest(tmp_path / "release.toml")

    assert manifest.source == "release.toml"
    assert manifest.steps == (
        FileStep(
            field="step[0]",
            command=Extract,
            path=RootPath(b"/a"),
            source=tmp_path / "files/a",
            flags=0,
        ),
    )


def test_a_manifest_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_manifest(tmp_path / "manifest.toml")


def test_the_manifests_of_the_sample_use_every_verb_there_is() -> None:
    manifests = [load_manifest(SAMPLE / name) for name in ("manifest.toml", "recovery.toml")]

    kinds: set[type] = set()
    for one in [one for manifest in manifests for one in manifest.steps]:
        match one:
            case FileStep(command=command):
                kinds.add(command)
            case TreeStep():
                kinds.add(TreeStep)
            case RecordStep(record=record):
                kinds.add(type(record))
    assert kinds == {
        Extract,
        ExtractVersioned,
        Add,
        AddVersioned,
        TreeStep,
        Remove,
        RemoveVersioned,
        RemoveSubTree,
        Move,
        MoveVersioned,
        Format,
        Reboot,
        UnknownCommand,
    }


# Values from the command line


@pytest.mark.parametrize(
    ("name", "text", "record"),
    [
        ("package.version", "6.4", Version(text="6.4")),
        ("package.version", "true", Version(text="true")),
        ("package.version", "", Version(text="")),
        ("package.role", "web-content", Role(role=3)),
        ("package.maximum-version", "6.4.1", MaximumVersion(version=(6, 4, 1))),
        ("package.minimum-volatile-storage", "12", MinimumVolatileStorage(storage_size=12)),
        ("package.minimum-volatile-storage", "1MiB", MinimumVolatileStorage(storage_size=1 << 20)),
        ("timeouts.recoverable", "2min", RecoverableTimeout(timeout=120)),
    ],
)
def test_an_override_takes_the_type_that_its_key_wants(name: str, text: str, record: Record) -> None:
    assert parse("", {name: text}).parameters == (record,)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_an_override_can_be_true_or_false(text: str, *, value: bool) -> None:
    manifest = parse(
        "[package]\nstrong-digests = false\nshare-payload = true",
        {
            "package.strong-digests": text,
            "package.share-payload": text,
        },
    )

    assert (manifest.strong_digests, manifest.share_payload) == (value, value)


def test_an_override_of_a_number_takes_no_unit() -> None:
    table = Table({"n": Override("12"), "m": Override("12KiB")}, "m.toml")

    assert table.integer("n") == 12
    with pytest.raises(FormatError, match=r"^m\.toml: m: must be a number from 0 to 4294967295$"):
        table.integer("m")


def test_overrides_take_the_place_of_what_the_manifest_says_and_leave_the_rest() -> None:
    text = '[package]\nversion = "1"\ndescription = "d"\nrole = { vendor = "00D09E" }'

    manifest = parse(
        text, {"package.version": "2", "package.role": "software-recovery", "timeouts.initial": "9"}
    )

    assert manifest.parameters == (
        Version(text="2"),
        Description(text="d"),
        Role(role=2),
        InitialTimeout(timeout=9),
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "version"),
        ("", ""),
        ("", "package."),
        ("", "package.role.vendor"),
        ('[[step]]\nremove = "/a"', "step.remove"),
        ("package = 1", "package.version"),
    ],
)
def test_an_override_that_names_no_key_of_a_table_is_wrong_usage(text: str, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, {name: "1"})

    assert str(caught.value) == f"--set {name}: expected table.key, such as package.version"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("package.verison", "1", "m.toml: package.verison: unknown key; did you mean 'version'?"),
        ("pakage.version", "1", "m.toml: pakage: unknown key; did you mean 'package'?"),
        ("package.role", "upgrade", f"m.toml: package.role: {ROLE}'upgrade' [TR-069 E.4.11]"),
        ("package.version", "6.4\udcff", "m.toml: package.version: the text can't be written in UTF-8"),
        ("package.file-modes", "yes", f"m.toml: package.file-modes: {MODES}, got 'yes'"),
        (
            "package.minimum-version",
            "5.x",
            "m.toml: package.minimum-version: must be a version such as 6.3.9, got '5.x'",
        ),
        (
            "timeouts.initial",
            "soon",
            'm.toml: timeouts.initial: must be a number of seconds, or a time such as "10min"',
        ),
        (
            "required-attributes.class",
            "1",
            "m.toml: required-attributes: must be an array, written as [[required-attributes]]",
        ),
    ],
)
def test_an_override_is_checked_as_what_the_manifest_says(name: str, text: str, message: str) -> None:
    assert error("", {name: text}) == message


# What is wrong, and where


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"[package", "m.toml: expected ']' at the end of a table declaration (at end of document)"),
        (b"[package]\nversion = 1\nversion = 2\n", "m.toml:3: cannot overwrite a value (column 12)"),
        (b"\n# \xff", "m.toml:2: offset 0x0003: not UTF-8: invalid start byte"),
        (b"a = " + b"[" * 100_000, "m.toml: nested too deeply"),
    ],
    ids=["no TOML", "a key twice", "no UTF-8", "deep"],
)
def test_what_is_no_toml_document_is_no_manifest(octets: bytes, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_table(octets, "m.toml")

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (0, "m.toml:1: offset 0x0000: not UTF-8: invalid start byte"),
        (1, "m.toml: the document has more than 16777216 bytes"),
    ],
)
def test_a_document_may_be_as_large_as_the_limit(more: int, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_table(b"\xff" * (MAX_DOCUMENT + more), "m.toml")

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 6.3", f"package.version: {STRING}"),
        ("version = true", f"package.version: {STRING}"),
        ("description = []", f"package.description: {STRING}"),
        ("role = 1", f"package.role: {STRING}"),
        ("role = []", f"package.role: {STRING}"),
        ('role = "upgrade"', f"package.role: {ROLE}'upgrade' [TR-069 E.4.11]"),
        ('role = ""', f"package.role: {ROLE}'' [TR-069 E.4.11]"),
        ("role = {}", f"package.role.vendor: {OUI}"),
        ('role = { vendor = "00d09e" }', f"package.role.vendor: {OUI}"),
        ('role = { vendor = "00D09" }', f"package.role.vendor: {OUI}"),
        ('role = { vendor = "00D09E1" }', f"package.role.vendor: {OUI}"),
        ('role = { vendor = "00D0 E" }', f"package.role.vendor: {OUI}"),
        ('role = { vendor = "00D09\u0660" }', f"package.role.vendor: {OUI}"),
        ("role = { vendor = 53406 }", f"package.role.vendor: {STRING}"),
        (
            'role = { vendor = "00D09E", arguments = "0" }',
            "package.role.arguments: must be bytes in hex, got '0'",
        ),
        ('role = { vendor = "00D09E", arguments = 0 }', f"package.role.arguments: {STRING}"),
        (
            'role = { vendor = "00D09E", argument = "" }',
            "package.role.argument: unknown key; did you mean 'arguments'?",
        ),
        ('minimum-version = ""', f"package.minimum-version: {VERSION} ''"),
        ('minimum-version = "5."', f"package.minimum-version: {VERSION} '5.'"),
        ('minimum-version = "5.-1"', f"package.minimum-version: {VERSION} '5.-1'"),
        ('minimum-version = "5.0b1"', f"package.minimum-version: {VERSION} '5.0b1'"),
        ('minimum-version = "\u0665.0"', f"package.minimum-version: {VERSION} '\u0665.0'"),
        ('maximum-version = "4294967296"', f"package.maximum-version: {VERSION} '4294967296'"),
        ('maximum-version = "00000000001"', f"package.maximum-version: {VERSION} '00000000001'"),
        ("maximum-version = 6", f"package.maximum-version: {STRING}"),
        ('minimum-volatile-storage = "16MB"', f"package.minimum-volatile-storage: {SIZE}"),
        ('minimum-volatile-storage = "16mib"', f"package.minimum-volatile-storage: {SIZE}"),
        ('minimum-volatile-storage = "-1"', f"package.minimum-volatile-storage: {SIZE}"),
        ('minimum-volatile-storage = "1.5MiB"', f"package.minimum-volatile-storage: {SIZE}"),
        ('minimum-volatile-storage = "\u0661"', f"package.minimum-volatile-storage: {SIZE}"),
        ('minimum-volatile-storage = "1MiB\\n"', f"package.minimum-volatile-storage: {SIZE}"),
        ("minimum-volatile-storage = 1.5", f"package.minimum-volatile-storage: {SIZE}"),
        ("minimum-volatile-storage = true", f"package.minimum-volatile-storage: {SIZE}"),
        (
            "minimum-volatile-storage = -1",
            "package.minimum-volatile-storage: must be from 0 to 4294967295, got -1",
        ),
        (
            "minimum-non-volatile-storage = 4294967296",
            "package.minimum-non-volatile-storage: must be from 0 to 4294967295, got 4294967296",
        ),
        (
            'minimum-non-volatile-storage = "4GiB"',
            "package.minimum-non-volatile-storage: must be from 0 to 4294967295, got 4294967296",
        ),
        ("strong-digests = 1", "package.strong-digests: must be true or false"),
        ('file-modes = "true"', f"package.file-modes: {MODES}, got 'true'"),
        ("file-modes = 1", f"package.file-modes: {MODES}, got 1"),
        ("share-payload = []", "package.share-payload: must be true or false"),
        ('verison = "1"', "package.verison: unknown key; did you mean 'version'?"),
        (
            "minimum-storage = 1",
            "package.minimum-storage: unknown key; did you mean 'minimum-volatile-storage'?",
        ),
        ("zzz = 1", "package.zzz: unknown key"),
        ("[timeouts]\ninitial = true", f"timeouts.initial: {TIME}"),
        ('[timeouts]\nrecoverable = "10 minutes"', f"timeouts.recoverable: {TIME}"),
        ('[timeouts]\nrecoverable = "1H"', f"timeouts.recoverable: {TIME}"),
        (
            '[timeouts]\nunrecoverable = "1193047h"',
            "timeouts.unrecoverable: must be from 0 to 4294967295, got 4294969200",
        ),
        ("[timeouts]\ninital = 1", "timeouts.inital: unknown key; did you mean 'initial'?"),
    ],
)
def test_a_wrong_value_of_a_parameter_is_named(text: str, message: str) -> None:
    assert error(f"[package]\n{text}") == f"m.toml: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("package = 1", "package: must be a table"),
        ("[[package]]", "package: must be a table"),
        ("timeouts = []", "timeouts: must be a table"),
        (
            "required-attributes = [1]",
            "required-attributes: must be an array of tables, written as [[required-attributes]]",
        ),
        ("step = 1", "step: must be an array"),
        ('step = ["a"]', "step: must be an array of tables, written as [[step]]"),
        ("[packages]", "packages: unknown key; did you mean 'package'?"),
        ("[[steps]]", "steps: unknown key; did you mean 'step'?"),
        ('extract = "/a"', "extract: unknown key"),
    ],
)
def test_a_document_holds_what_a_manifest_has_and_nothing_else(text: str, message: str) -> None:
    assert error(text) == f"m.toml: {message}"


ARRAY: Final = "must be an array of numbers from 0 to 4294967295"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class = 1\nvalues = [7]", f".defining-entity: {OUI}"),
        ('defining-entity = "0"\nclass = 1\nvalues = [7]', f".defining-entity: {OUI}"),
        ("defining-entity = true\nclass = 1\nvalues = [7]", f".defining-entity: {STRING}"),
        (
            "defining-entity = -1\nclass = 1\nvalues = [7]",
            ".defining-entity: must be from 0 to 4294967295, got -1",
        ),
        ("defining-entity = 0\nvalues = [7]", ": defining-entity and class are required [TR-069 E.4.13]"),
        (
            "defining-entity = 0\nclass = 1",
            ".values: expected an array of at least one number [TR-069 E.4.13]",
        ),
        (
            "defining-entity = 0\nclass = 1\nvalues = []",
            ".values: expected an array of at least one number [TR-069 E.4.13]",
        ),
        ('defining-entity = 0\nclass = "1"\nvalues = [7]', ".class: must be a number from 0 to 4294967295"),
        (
            "defining-entity = 0\nclass = 4294967296\nvalues = [7]",
            ".class: must be from 0 to 4294967295, got 4294967296",
        ),
        ("defining-entity = 0\nclass = 1\nvalues = 7", ".values: must be an array"),
        ('defining-entity = 0\nclass = 1\nvalues = ["7"]', f".values: {ARRAY}"),
        ("defining-entity = 0\nclass = 1\nvalues = [true]", f".values: {ARRAY}"),
        ("defining-entity = 0\nclass = 1\nvalues = [-1]", f".values: {ARRAY}"),
        ("defining-entity = 0\nclass = 1\nvalues = [4294967296]", f".values: {ARRAY}"),
        ("defining-entity = 0\nclass = 1\nvalue = [7]", ".value: unknown key; did you mean 'values'?"),
    ],
)
def test_wrong_required_attributes_are_named(text: str, message: str) -> None:
    good = "[[required-attributes]]\ndefining-entity = 0\nclass = 0\nvalues = [1]"

    assert error(f"{good}\n[[required-attributes]]\n{text}") == f"m.toml: required-attributes[1]{message}"


def test_a_class_of_attributes_is_asked_for_once() -> None:
    one = "[[required-attributes]]\ndefining-entity = 0\nclass = 1\nvalues = [{}]\n"

    assert error(one.format(1) + one.format(2)) == (
        "m.toml: required-attributes[1].class: a class of a defining-entity may occur only once "
        "[TR-069 E.4.13]"
    )


FROM: Final = "the path of the source is required"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f": expected exactly one of the verbs {VERBS}"),
        ('extrct = "/a"\nfrom = "a"', ".extrct: unknown key; did you mean 'extract'?"),
        (
            'extract = "/a"\nfrm = "a"',
            ".from: the path of the source is required; unknown key 'frm'; did you mean 'from'?",
        ),
        ('remove = "/a"\nformat = true', ": expected exactly one verb, got remove, format"),
        (
            'extract = "/a"\nadd = "/a"\nmove = "/a"',
            ": expected exactly one verb, got extract, add, move",
        ),
        ("format = false", ".format: must be true"),
        ('format = "true"', ".format: must be true or false"),
        ("reboot = 1", ".reboot: must be true or false"),
        ("reboot = false", ".reboot: must be true"),
        ("remove = 1", f".remove: {STRING}"),
        ('remove = ""', ".remove: the path is empty"),
        ('remove = "/"', ".remove: the path has an empty part"),
        ('remove = "/a/"', ".remove: the path has an empty part"),
        ('remove = "//a"', ".remove: the path has an empty part"),
        ('remove = "/a/../b"', ".remove: the path contains the part '..'"),
        ('remove = "./b"', ".remove: the path contains the part '.'"),
        ('remove = "/a\\u0000"', ".remove: the path contains a NUL byte"),
        ('remove = "/.spkg/x"', ".remove: the path is in the installer's own directory .spkg"),
        (f'remove = "{"a" * 256}"', ".remove: a part of the path has 256 bytes, the limit is 255"),
        (f'remove = "/{"a/" * 512}"', ".remove: the path has 1025 bytes, the limit is 1024"),
        (f'remove = "{"a/" * 32}a"', ".remove: the path has 33 parts, the limit is 32"),
        ('remove-tree = "/www//"', ".remove-tree: the path has an empty part"),
        (
            'remove-versioned = "/lib/dsp"',
            ".remove-versioned: a versioned name must end in a dot and 3 characters",
        ),
        (
            'remove-versioned = "/lib/dsp.1"',
            ".remove-versioned: a versioned name must end in a dot and 3 characters",
        ),
        (
            'remove-versioned = "/lib/.001"',
            ".remove-versioned: the base of a versioned name must have 1 to 8 characters, got 0",
        ),
        (
            'remove-versioned = "/lib/ninechars.001"',
            ".remove-versioned: the base of a versioned name must have 1 to 8 characters, got 9",
        ),
        (
            'remove-versioned = "/lib/a.b.001"',
            ".remove-versioned: the base of a versioned name must not contain a dot",
        ),
        ('remove = "/a"\nunsafe = 1', ".unsafe: must be true or false"),
        ('remove = "/a"\nunsave = true', ".unsave: unknown key; did you mean 'unsafe'?"),
        ('remove = "/a"\nfrom = "a"', ".from: unknown key"),
        ("format = true\nunsafe = true", ".unsafe: unknown key"),
        ("vendor = 1000\nunsafe = true", ".unsafe: unknown key"),
        ('move = "/a"', ".to: a path is required"),
        ('move = "/a"\nto = ""', ".to: the path is empty"),
        ('move = "/a"\nto = 1', f".to: {STRING}"),
        ('move-versioned = "/a.001"\nto = "/b"', ".to: a versioned name must end in a dot and 3 characters"),
        ('extract = "/a"', f".from: {FROM}"),
        ('extract = "/a"\nfrom = ""', f".from: {FROM}"),
        ('extract = "/a"\nfrom = "a\\u0000"', f".from: {FROM}"),
        ('extract = "/a"\nfrom = 1', f".from: {STRING}"),
        ('remove = "/a"\nmode = "0755"', ".mode: unknown key; did you mean 'remove'?"),
        ('extract = "/a"\nfrom = "a"\nmode = "4755"', f".mode: {MODE}"),
        ('extract-tree = "/a"\nfrom = "a"\nmode = 755', f".mode: {STRING}"),
        ('add = "/a"\nfrom = "a"\nmode = "000"', ".mode: mode 0000 can't be stated in a package"),
        ('extract = "/a"\nfrom = "a"\nlinks = "skip"', ".links: unknown key"),
        (
            'extract-versioned = "/a"\nfrom = "a"',
            ".extract-versioned: a versioned name must end in a dot and 3 characters",
        ),
        (
            'add-versioned = "/a"\nfrom = "a"',
            ".add-versioned: a versioned name must end in a dot and 3 characters",
        ),
        ('extract-tree = "/"', f".from: {FROM}"),
        ('extract-tree = ""\nfrom = "a"', ".extract-tree: the path is empty"),
        ('extract-tree = "/"\nfrom = "a"\nexclude = "*.map"', ".exclude: must be an array"),
        ('extract-tree = "/"\nfrom = "a"\nexclude = [1]', ".exclude: must be an array of strings"),
        (
            'extract-tree = "/"\nfrom = "a"\nlinks = "follow"',
            '.links: expected "error", "skip" or "copy", got \'follow\'',
        ),
        ('extract-tree = "/"\nfrom = "a"\nlinks = 1', f".links: {STRING}"),
        ('extract-tree = "/"\nfrom = "a"\nexcludes = []', ".excludes: unknown key; did you mean 'exclude'?"),
        ("vendor = 999", ".vendor: expected a type from 1000 to 9999, got 999 [TR-069 Table 68]"),
        ("vendor = 10000", ".vendor: expected a type from 1000 to 9999, got 10000 [TR-069 Table 68]"),
        ("vendor = true", ".vendor: must be a number from 0 to 4294967295"),
        ('vendor = "1000"', ".vendor: must be a number from 0 to 4294967295"),
        ("vendor = -1", ".vendor: must be from 0 to 4294967295, got -1"),
        *(
            (
                f"vendor = {code}",
                f".vendor: {code} is an extension of spkg: state it in [package] or [metadata] instead",
            )
            for code in (9256, 9257, 9258)
        ),
        ('vendor = 1000\nvalue = "0g"', ".value: must be bytes in hex, got '0g'"),
        ("vendor = 1000\nvalue = 10", f".value: {STRING}"),
        ('vendor = 1000\nvalues = ""', ".values: unknown key; did you mean 'value'?"),
    ],
)
def test_a_wrong_step_is_named(text: str, message: str) -> None:
    assert error(f'[[step]]\nremove = "/good"\n[[step]]\n{text}') == f"m.toml: step[1]{message}"


@pytest.mark.parametrize("path", ["/", "/www", "/www/", "www"])
def test_a_tree_may_be_named_with_a_slash_behind_it(path: str) -> None:
    assert step(f'remove-tree = "{path}"') == RecordStep(
        field="step[0]", record=RemoveSubTree(path=TreePath.of(path))
    )


@pytest.mark.parametrize("follower", ["reboot = true", 'remove = "/a"', "vendor = 1000"])
def test_a_reboot_is_the_last_step(follower: str) -> None:
    text = f"[[step]]\nformat = true\n[[step]]\nreboot = true\n[[step]]\n{follower}"

    assert error(text) == "m.toml: step[1].reboot: a reboot must be the last step [TR-069 E.4.8]"


# What holds for all inputs


@given(st.lists(st.integers(0, 4294967295), min_size=1))
def test_every_version_that_fits_is_parsed_as_its_numbers(numbers: list[int]) -> None:
    assert parse_version(".".join(map(str, numbers))) == tuple(numbers)


keys = st.sampled_from(
    [
        *("package", "timeouts", "required-attributes", "step", "version", "description", "role", "vendor"),
        *("arguments", "minimum-version", "maximum-version", "minimum-volatile-storage", "initial", "class"),
        *("defining-entity", "values", "extract", "add-versioned", "extract-tree", "remove", "remove-tree"),
        *("move", "to", "from", "exclude", "links", "unsafe", "format", "reboot", "value", "file-modes"),
    ]
)
scalars = st.one_of(
    st.booleans(),
    st.integers(-1, 1 << 33),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["/a", "/a.001", "6.3", "16MiB", "1h", "00D09E", "copy", "00ff", "web-content"]),
)
documents = st.dictionaries(
    keys,
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4)
    ),
    max_size=4,
)


@given(documents)
def test_no_document_raises_anything_but_a_located_error(values: dict[str, Any]) -> None:
    try:
        manifest = read_manifest(Table(values, "m.toml"), HERE)
    except FormatError as exc:
        assert str(exc).startswith("m.toml: ")  # noqa: PT017 - most documents end here, some do not
        assert exc.field  # noqa: PT017
        return
    assert set(values) <= {"package", "timeouts", "required-attributes", "step"}
    assert len(manifest.steps) == len(values.get("step", []))
