"""Building: the same octets from the same inputs, each source read once, the output whole or not at all."""

import io
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha1, sha256
from io import FileIO
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from cli import main
from spkg.build.build_plan import BuildPlan, PlannedFile, plan_build, source_mode, sources_size
from spkg.build.builder import BuildReport, build_package, check_build, stream_package
from spkg.build.manifest import SourceModes, load_manifest
from spkg.common.atomic_output import new_file
from spkg.common.digests import Digest
from spkg.errors import FormatError, HostError, SpkgError, UsageError
from spkg.format.commands import (
    AddVersioned,
    Description,
    End,
    Extract,
    FileModes,
    InitialTimeout,
    MinimumVersion,
    Reboot,
    Record,
    Remove,
    StrongDigests,
    UnknownCommand,
    Version,
)
from spkg.format.package import MAX_COMMAND_LIST, Header, Package
from spkg.format.paths import RootPath, VersionedPath
from spkg.format.signature_block import EMPTY_BLOCK
from spkg.verify.contents import check_payload
from spkg.verify.payload import CHUNK, open_package
from spkg.verify.signatures import verify_package
from tests.support.collision import COLLISION
from tests.support.kit import (
    AT,
    KEYS,
    ROOT,
    SAMPLE,
    Certified,
    Draft,
    certify,
    file,
    policy,
    read,
    root,
    signer,
)
from tests.support.messages import without_lines
from tests.support.restrictions import at_most


def make(directory: Path, text: str, files: Mapping[str, bytes] | None = None) -> Path:
    """Write a manifest and its sources."""
    for name, contents in (files or {}).items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(contents)
    (directory / "m.toml").write_text(text)
    return directory / "m.toml"


def steps(*names: str, more: str = "") -> str:
    """Return steps that extract each of these files under its name."""
    return "".join(f'[[step]]\nextract = "/{name}"\nfrom = "{name}"\n{more}' for name in names)


def planned(manifest: Path) -> BuildPlan:
    return plan_build(load_manifest(manifest))


def built(manifest: Path, **settings: Any) -> tuple[BuildReport, bytes]:
    """Build the package of a manifest, and return it."""
    settings.setdefault("identity", None)
    output = manifest.with_name("out.spkg")
    with new_file(output, force=True) as opened:
        report = build_package(planned(manifest), opened, **settings)
    return report, output.read_bytes()


def error(manifest: Path, kind: type[SpkgError] = FormatError, **settings: Any) -> str:
    """Return why no package is built, having made sure that none is."""
    with pytest.raises(kind) as caught:
        built(manifest, **settings)
    assert type(caught.value) is kind
    assert [entry.name for entry in manifest.parent.glob(".*")] == []
    assert not manifest.with_name("out.spkg").exists()
    return without_lines(str(caught.value))


def contents(octets: bytes) -> dict[str, bytes]:
    """Return the files of a package by their paths."""
    package = read(octets)
    payload = octets[package.payload_offset :]
    return {str(one.record.path): payload[one.range.start : one.range.end] for one in package.files}


def offsets(octets: bytes) -> list[int]:
    return [one.record.file_offset for one in read(octets).files]


# What is in a package


def test_a_package_holds_parameters_steps_and_end_then_the_signature_and_the_payload(tmp_path: Path) -> None:
    text = """
        [[step]]
        remove = "/old"
        unsafe = true
        [[step]]
        extract = "/bin/app"
        from = "app"
        unsafe = true
        [[step]]
        add-versioned = "plan.001"
        from = "plan"
        [[step]]
        vendor = 1000
        value = "00ff"
        [[step]]
        reboot = true
        [timeouts]
        initial = 60
        [package]
        minimum-version = "5.0"
        description = "d"
        version = "6.3"
    """
    manifest = make(tmp_path, text, {"app": b"application", "plan": b"a plan"})

    report, octets = built(manifest, identity=signer().identity())

    records: tuple[Record, ...] = (
        Version(text="6.3"),
        Description(text="d"),
        MinimumVersion(version=(5, 0)),
        InitialTimeout(timeout=60),
        Remove(path=RootPath(b"/old"), flags=1),
        file("/bin/app", b"application", flags=1),
        AddVersioned(
            path=VersionedPath(b"plan.001"),
            hash=sha1(b"a plan", usedforsecurity=False).digest(),
            file_offset=11,
            file_length=6,
        ),
        UnknownCommand(number=1000, value=b"\0\xff"),
        Reboot(),
        End(),
    )
    assert octets == Draft(records=records, payload=b"applicationa plan").encode()
    assert report == BuildReport(
        header=Header(command_list_length=len(read(octets).signed) - 24, payload_length=17),
        commands=10,
        files=2,
        shared=0,
        signer="CN=Test Signer",
        signed_sha256=sha256(read(octets).signed).digest(),
        size=len(octets),
    )


def test_a_package_that_was_built_is_trusted_and_intact(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a", "b"), {"a": b"a" * (CHUNK + 1), "b": b""})

    built(manifest, identity=signer().identity())

    with open_package(tmp_path / "out.spkg") as (package, payload):
        report = check_payload(verify_package(package, policy(), at=AT), payload)
    assert [one.problem for one in report.files] == ["", ""]
    assert report.uncovered == ()


def test_a_package_without_steps_holds_end_alone(tmp_path: Path) -> None:
    report, octets = built(make(tmp_path, ""))

    assert octets == Draft(records=(End(),), payload=b"", signers=()).encode()
    assert report == BuildReport(
        header=Header(command_list_length=8, payload_length=0),
        commands=1,
        files=0,
        shared=0,
        signer=None,
        signed_sha256=sha256(octets[:32]).digest(),
        size=len(octets),
    )


def test_a_package_that_is_not_signed_has_the_empty_block(tmp_path: Path) -> None:
    _, octets = built(make(tmp_path, steps("a"), {"a": b"a"}))

    assert read(octets).block.octets == EMPTY_BLOCK


def test_the_payload_is_in_the_order_of_the_steps(tmp_path: Path) -> None:
    text = steps("z") + '[[step]]\nextract-tree = "/t"\nfrom = "t"\n' + steps("a", "m")
    manifest = make(tmp_path, text, {"z": b"Z", "a": b"AA", "m": b"MMM", "t/y": b"yyyy", "t/x/y": b"xxxxx"})

    _, octets = built(manifest)

    assert octets.endswith(b"ZxxxxxyyyyAAMMM")
    assert offsets(octets) == [0, 1, 6, 10, 12]
    assert list(contents(octets)) == ["/z", "/t/x/y", "/t/y", "/a", "/m"]


def test_a_tree_is_laid_out_as_one_step_for_each_file(tmp_path: Path) -> None:
    text = '[[step]]\nextract-tree = "/t/"\nfrom = "t"\nunsafe = true\n[[step]]\nremove = "/r"\n'
    manifest = make(tmp_path, text, {"t/b": b"", "t/a": b""})

    plan = planned(manifest)

    a, b = (
        PlannedFile(
            field="step[0]",
            command=Extract,
            path=RootPath.of(f"/t/{name}"),
            source=tmp_path / "t" / name,
            flags=1,
            follow=False,
        )
        for name in ("a", "b")
    )
    assert plan.items == (
        ("step[0]", a),
        ("step[0]", b),
        ("step[1]", Remove(path=RootPath(b"/r"))),
    )
    assert plan.files == [a, b]
    assert [str(one.path) for one in plan.trees[0].taken] == ["/t/a", "/t/b"]


# Equal files


def test_equal_files_are_stored_once(tmp_path: Path) -> None:
    files = {"a": b"same", "b": b"other", "c": b"same", "d": b"other", "e": b"samf"}

    report, octets = built(make(tmp_path, steps(*files), files))

    assert octets.endswith(b"sameothersamf")
    assert offsets(octets) == [0, 4, 0, 4, 9]
    assert contents(octets) == {f"/{name}": octets for name, octets in files.items()}
    assert (report.files, report.shared, report.header.payload_length) == (5, 2, 13)


def test_equal_files_are_each_stored_where_sharing_is_off(tmp_path: Path) -> None:
    files = {"a": b"same", "b": b"other", "c": b"same"}

    report, octets = built(make(tmp_path, f"[package]\nshare-payload = false\n{steps(*files)}", files))

    assert octets.endswith(b"sameothersame")
    assert offsets(octets) == [0, 4, 9]
    assert (report.shared, report.header.payload_length) == (0, 13)


@pytest.mark.parametrize(("share", "length", "shared"), [(True, 5, 2), (False, 15, 0)])
def test_one_source_of_several_files_is_stored_as_equal_files_are(
    tmp_path: Path, length: int, shared: int, *, share: bool
) -> None:
    text = f"[package]\nshare-payload = {str(share).lower()}\n{steps('a', 'a', 'b')}"
    manifest = make(tmp_path, text, {"a": b"12345"})
    (tmp_path / "b").hardlink_to(tmp_path / "a")

    report, octets = built(manifest)

    assert octets.endswith(b"12345" * (length // 5))
    assert (report.header.payload_length, report.shared) == (length, shared)


def test_large_files_that_are_equal_but_for_the_last_octet_are_both_stored(tmp_path: Path) -> None:
    large = bytes(2 * CHUNK)
    files = {"a": large + b"0", "b": large + b"1", "c": large + b"0"}

    report, octets = built(make(tmp_path, steps(*files), files))

    assert contents(octets) == {f"/{name}": octets for name, octets in files.items()}
    assert (report.shared, report.header.payload_length) == (1, 2 * (2 * CHUNK + 1))


def test_empty_files_lie_somewhere_in_the_payload(tmp_path: Path) -> None:
    files = {"a": b"", "b": b"1", "c": b"", "d": b""}

    _, octets = built(make(tmp_path, steps(*files), files))

    assert octets.endswith(EMPTY_BLOCK + b"1")
    assert offsets(octets) == [0, 0, 0, 0]
    assert contents(octets) == {f"/{name}": octets for name, octets in files.items()}


def test_files_of_one_sha_1_are_not_taken_for_equal(tmp_path: Path) -> None:
    one, other = COLLISION
    manifest = make(tmp_path, steps("one", "other"), {"one": one, "other": other})

    assert one != other
    assert sha1(one, usedforsecurity=False).digest() == sha1(other, usedforsecurity=False).digest()
    assert error(manifest) == (
        f"m.toml: step[1].from: {tmp_path}/other: another file of this package has the same SHA-1 "
        "but different contents [TR-069 E.4.3]"
    )


def test_files_of_one_sha_1_are_told_apart_by_strong_digests_alone_where_sharing_is_off(
    tmp_path: Path,
) -> None:
    one, other = COLLISION
    text = f"[package]\nshare-payload = false\nstrong-digests = true\n{steps('one', 'other')}"

    _, octets = built(make(tmp_path, text, {"one": one, "other": other}))

    assert contents(octets) == {"/one": one, "/other": other}
    assert read(octets).records[0] == StrongDigests(digests=(Digest.SHA256.of(one), Digest.SHA256.of(other)))


# Strong digests and file modes


def test_extensions_stand_behind_the_parameters_and_speak_of_each_file_in_order(tmp_path: Path) -> None:
    text = f"""
        [package]
        version = "1"
        strong-digests = true
        file-modes = true
        [timeouts]
        initial = 1
        [[step]]
        remove = "/r"
        {steps("a", "b")}
        [[step]]
        add = "/c"
        from = "a"
    """
    manifest = make(tmp_path, text, {"a": b"A", "b": b"B"})
    (tmp_path / "b").chmod(0o755)

    _, octets = built(manifest)

    package = read(octets)
    assert package.records[:4] == (
        Version(text="1"),
        InitialTimeout(timeout=1),
        StrongDigests(digests=(Digest.SHA256.of(b"A"), Digest.SHA256.of(b"B"), Digest.SHA256.of(b"A"))),
        FileModes(modes=(0o644, 0o755, 0o644)),
    )
    assert [record.title for record in package.records[4:]] == [
        "Remove File",
        "Extract File",
        "Extract File",
        "Add File",
        "End",
    ]


@pytest.mark.parametrize(
    ("source", "mode"),
    [
        (0o644, 0o644),
        (0o600, 0o600),
        (0o640, 0o640),
        (0o000, 0o600),
        (0o444, 0o644),
        (0o666, 0o644),
        (0o677, 0o644),
        (0o700, 0o700),
        (0o500, 0o700),
        (0o750, 0o750),
        (0o777, 0o755),
        (0o4711, 0o711),
    ],
)
def test_a_mode_is_that_of_a_program_or_of_a_plain_file_and_never_wider_than_the_source(
    tmp_path: Path, source: int, mode: int
) -> None:
    manifest = make(tmp_path, f"[package]\nfile-modes = true\n{steps('a')}", {"a": b"A"})
    (tmp_path / "a").chmod(source)

    _, octets = built(manifest)

    assert read(octets).records[0] == FileModes(modes=(mode,))


@pytest.mark.parametrize("source", [0o600, 0o640, 0o644, 0o755, 0o4755, 0o777, 0o444, 0o111, 0o001])
def test_exact_modes_are_the_nine_bits_of_the_source(tmp_path: Path, source: int) -> None:
    manifest = make(tmp_path, f'[package]\nfile-modes = "exact"\n{steps("a")}', {"a": b"A"})
    (tmp_path / "a").chmod(source)

    _, octets = built(manifest)

    assert read(octets).records[0] == FileModes(modes=(source & 0o777,))


def test_a_source_that_nobody_may_read_is_for_its_owner_alone(tmp_path: Path) -> None:
    manifest = make(tmp_path, f'[package]\nfile-modes = "exact"\n{steps("a")}', {"a": b""})
    plan = planned(manifest)

    assert source_mode(SourceModes.EXACT, stat.S_IFREG) == 0o400
    assert source_mode(SourceModes.EXECUTABLE, stat.S_IFREG) == 0o600
    assert plan.states_modes


@given(st.integers(0, 0o7777), st.sampled_from([SourceModes.EXECUTABLE, SourceModes.EXACT]))
def test_no_mode_is_wider_than_the_source_for_group_and_others(mode: int, kind: SourceModes) -> None:
    stated = source_mode(kind, stat.S_IFREG | mode)

    assert 0 < stated <= 0o777
    assert not stated & ~mode & 0o077


@pytest.mark.parametrize("modes", ["", '[package]\nfile-modes = "exact"\n'])
def test_a_step_goes_before_a_rule_and_a_rule_before_the_source(tmp_path: Path, modes: str) -> None:
    text = f"""{modes}
        [[mode]]
        path = "/bin/*"
        mode = "0750"
        [[step]]
        extract = "/bin/a"
        from = "a"
        mode = "0700"
        [[step]]
        extract = "bin/b"
        from = "a"
        [[step]]
        add-versioned = "/lib/c.001"
        from = "a"
        [[step]]
        extract-tree = "/bin"
        from = "t"
        mode = "0640"
    """
    manifest = make(tmp_path, text, {"a": b"A", "t/d": b"", "t/e": b"A"})
    (tmp_path / "a").chmod(0o604)

    _, octets = built(manifest)

    others = 0o604 if modes else 0
    assert read(octets).records[0] == FileModes(modes=(0o700, 0o750, others, 0o640, 0o640))


def test_rules_that_no_file_fits_state_nothing(tmp_path: Path) -> None:
    text = '[[mode]]\npath = "/bin/*"\nmode = "0755"\n' + steps("a")

    _, octets = built(make(tmp_path, text, {"a": b"A"}))

    assert not any(isinstance(record, FileModes) for record in read(octets).records)


def test_all_sources_that_are_missing_or_no_files_are_told_at_once(tmp_path: Path) -> None:
    text = steps("nowhere", "ok", "d") + '[[step]]\nextract-tree = "/"\nfrom = "t"\n' + steps("gone")
    manifest = make(tmp_path, text, {"ok": b"", "d/x": b"", "t/ok": b""})
    (tmp_path / "t/link").symlink_to("ok")

    with pytest.raises(HostError) as caught:
        planned(manifest)

    assert [str(one) for one in (caught.value, *caught.value.others)] == [
        f"m.toml:3: step[0].from: {tmp_path}/nowhere: no such file or directory",
        f"m.toml:9: step[2].from: {tmp_path}/d: a directory, expected a file",
        f"m.toml:12: step[3].from: {tmp_path}/t/link: a symbolic link, which the format can't carry",
        f"m.toml:15: step[4].from: {tmp_path}/gone: no such file or directory",
    ]


# Without an output, and to one that can't be read back


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("more", ["", "strong-digests = true\n", "share-payload = false\n"])
def test_a_check_finds_what_a_build_gives(tmp_path: Path, more: str, jobs: int) -> None:
    files = {"a": b"A" * (CHUNK + 1), "b": b"", "c": b"A" * (CHUNK + 1), "d": b"D"}
    manifest = make(tmp_path, f"[package]\n{more}{steps(*files)}", files)

    checked = check_build(planned(manifest), signer().identity(), jobs=jobs)

    report, octets = built(manifest, identity=signer().identity())
    assert checked == report
    assert checked.size == len(octets)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("more", ["", "strong-digests = true\n", "share-payload = false\n"])
def test_a_pipe_gets_the_bytes_that_a_file_gets(tmp_path: Path, more: str, jobs: int) -> None:
    files = {"b": b"", "a": b"A" * 5000, "c": b"A" * 5000, "d": b"D", "e": b"", "f": b"D"}
    manifest = make(tmp_path, f"[package]\n{more}{steps(*files)}", files)
    reading, writing = os.pipe()

    with FileIO(writing, "wb") as output:
        report = stream_package(planned(manifest), output, signer().identity(), jobs=jobs)
    with FileIO(reading) as piped:
        octets = piped.readall()

    assert (report, octets) == built(manifest, identity=signer().identity())


def test_files_of_one_sha_1_are_not_taken_for_equal_without_an_output_either(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("one", "other"), dict(zip(("one", "other"), COLLISION, strict=True)))

    with pytest.raises(FormatError) as caught:
        check_build(planned(manifest), None)

    assert caught.value.problem.endswith("has the same SHA-1 but different contents")


def test_a_source_that_changes_before_it_is_piped_is_refused(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a", "b"), {"a": b"A", "b": b"B"})
    told: list[int] = []

    def progress(octets: int) -> None:
        told.append(octets)
        if len(told) == 3:  # everything was read once, and the first file again
            (tmp_path / "b").write_bytes(b"X")

    reading, writing = os.pipe()
    with FileIO(reading), FileIO(writing, "wb") as output, pytest.raises(FormatError) as caught:
        stream_package(planned(manifest), output, None, progress=progress)

    assert str(caught.value) == f"m.toml:6: step[1].from: {tmp_path}/b: changed while it was read"


def test_equal_files_of_other_modes_share_their_octets_and_not_their_modes(tmp_path: Path) -> None:
    manifest = make(tmp_path, f"[package]\nfile-modes = true\n{steps('a', 'b')}", {"a": b"A", "b": b"A"})
    (tmp_path / "b").chmod(0o755)

    _, octets = built(manifest)

    assert read(octets).records[0] == FileModes(modes=(0o644, 0o755))
    assert offsets(octets) == [0, 0]


def test_without_files_there_is_nothing_for_extensions_to_say(tmp_path: Path) -> None:
    text = '[package]\nstrong-digests = true\nfile-modes = true\n[[step]]\nremove = "/a"'

    _, octets = built(make(tmp_path, text))

    assert [record.title for record in read(octets).records] == ["Remove File", "End"]


# The same octets, always


@pytest.fixture(name="signing")
def _signing(tmp_path: Path) -> list[str]:
    """Return the options of the command line that sign with the test key."""
    (tmp_path / "signer.pem").write_bytes(signer().pem + root().pem)
    return ["--key", str(KEYS / "signer.key"), "--cert", str(tmp_path / "signer.pem")]


def test_neither_time_nor_place_nor_order_nor_mood_changes_the_octets(
    tmp_path: Path, signing: list[str]
) -> None:
    text = """
        [package]
        role = "web-content"
        file-modes = true
        strong-digests = true
        [[step]]
        extract-tree = "/"
        from = "tree"
        exclude = ["*0.map"]
        links = "copy"
    """
    names = [f"d{number % 3}/f{number}.map" for number in range(30)]
    packages: list[bytes] = []
    surroundings: list[tuple[str, int, str, str]] = [
        ("UTC", 0o022, "0", "C.UTF-8"),
        ("Asia/Kathmandu", 0o077, "12345", "POSIX"),
        ("America/St_Johns", 0o000, "4294967295", "tr_TR.UTF-8"),
    ]
    for number, (zone, mask, seed, locale) in enumerate(surroundings):
        there = tmp_path / f"place {number}"
        ordered = [names, names[::-1], sorted(names)][number]
        there.mkdir()
        make(there, text, {f"tree/{name}": name.encode() * 9 for name in ordered})
        (there / "tree/link").symlink_to("d0/f3.map")
        (there / "tree/d1/f1.map").chmod(0o755)
        for name in ordered:
            os.utime(there / "tree" / name, (number * 10**9, number * 10**9))

        ended = subprocess.run(
            [sys.executable, "-m", "cli", "build", "m.toml", "-o", "out", *signing],
            cwd=there,
            env={"TZ": zone, "PYTHONHASHSEED": seed, "LC_ALL": locale, "PYTHONPATH": str(ROOT)},
            umask=mask,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        packages.append((there / "out").read_bytes())

    assert packages == [packages[0]] * 3


@pytest.mark.parametrize("jobs", [2, 7])
@pytest.mark.parametrize("strong", ["true", "false"])
def test_several_jobs_give_what_one_gives(tmp_path: Path, jobs: int, strong: str) -> None:
    files = {"a": bytes(range(256)) * 3000, "b": b"b" * CHUNK, "c": b"", "d": b"b" * CHUNK}
    manifest = make(tmp_path, f"[package]\nstrong-digests = {strong}\n{steps(*files)}", files)

    assert built(manifest, jobs=jobs) == built(manifest)


def test_a_signing_time_is_claimed_only_where_it_is_given(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a"), {"a": b"A"})
    identity = signer().identity()
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)

    _, without = built(manifest, identity=identity)
    _, with_time = built(manifest, identity=identity, signing_time=noon)

    assert [one.signing_time for one in read(without).block.signers] == [None]
    assert [one.signing_time for one in read(with_time).block.signers] == [noon]
    assert built(manifest, identity=identity, signing_time=noon)[1] == with_time


def test_the_sample_is_built_as_it_stands(tmp_path: Path) -> None:
    output = tmp_path / "gateway.spkg"
    with new_file(output) as opened:
        report = build_package(planned(SAMPLE / "manifest.toml"), opened, signer().identity())

    with open_package(output) as (package, payload):
        trusted = verify_package(package, policy(), at=AT)
        checked = check_payload(trusted, payload)
    assert report.files == len(checked.files) == len(package.files)
    assert checked.uncovered == ()


# Sources


def octets_read() -> int:
    """Return how many octets this process has read so far, as the kernel counts them."""
    line = Path("/proc/self/io").read_text().splitlines()[0]
    return int(line.removeprefix("rchar: "))


@pytest.mark.parametrize(
    ("names", "octets"),
    [
        (["a", "b"], 5_000_000),
        (["a", "a", "a"], 3_000_000),
        (["a", "link", "b", "a"], 5_000_000),
    ],
)
def test_each_source_is_read_once_however_many_digests_and_steps_want_it(
    tmp_path: Path, names: list[str], octets: int
) -> None:
    text = f"[package]\nstrong-digests = true\n{steps(*names)}"
    manifest = make(tmp_path, text, {"a": b"a" * 3_000_000, "b": b"b" * 2_000_000})
    (tmp_path / "link").hardlink_to(tmp_path / "a")
    plan = planned(manifest)

    with new_file(tmp_path / "out") as output:
        before = octets_read()
        build_package(plan, output, None)
        after = octets_read()

    assert octets <= after - before < octets + 100_000


def test_a_plan_can_be_made_before_there_are_sources(tmp_path: Path) -> None:
    plan = plan_build(load_manifest(make(tmp_path, steps("nowhere"))), look=False)

    assert [one.source for one in plan.files] == [tmp_path / "nowhere"]


def test_progress_is_told_every_octet_of_the_sources(tmp_path: Path) -> None:
    told: list[int] = []
    manifest = make(tmp_path, steps("a", "b"), {"a": bytes(2 * CHUNK + 5), "b": b"b"})

    built(manifest, progress=told.append)

    assert told == [CHUNK, CHUNK, 5, 1]
    assert sum(told) == sources_size(planned(manifest))


def appended(path: Path) -> None:
    with path.open("ab") as opened:
        opened.write(b"more")


def overwritten(path: Path) -> None:
    with path.open("r+b") as opened:
        opened.write(b"X")


def overwritten_with_its_times_restored(path: Path) -> None:
    status = path.stat()
    overwritten(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("size", [10, CHUNK, 2 * CHUNK + 5])
@pytest.mark.parametrize(
    "change",
    [
        appended,
        overwritten,
        overwritten_with_its_times_restored,
        lambda path: os.truncate(path, 3),
        lambda path: path.write_bytes(b""),
        lambda path: path.touch(),
    ],
)
def test_a_source_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, size: int, change: Callable[[Path], object]
) -> None:
    manifest = make(tmp_path, steps("a", "b"), {"a": b"A", "b": b"b" * size})
    os.utime(tmp_path / "b", (10**9, 10**9))
    told: list[int] = []

    def progress(octets: int) -> None:
        told.append(octets)
        if len(told) == 2:  # the first is all of the other file
            change(tmp_path / "b")

    assert error(manifest, progress=progress) == (
        f"m.toml: step[1].from: {tmp_path}/b: changed while it was read"
    )


def test_a_source_that_changes_between_two_steps_is_two_files(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a", "b") + steps("a"), {"a": b"first", "b": b"b"})
    told: list[int] = []

    def progress(octets: int) -> None:
        told.append(octets)
        if len(told) == 2:  # the other file is read
            (tmp_path / "a").write_bytes(b"other")

    _, octets = built(manifest, progress=progress)

    assert octets.endswith(b"firstbother")
    assert offsets(octets) == [0, 5, 6]


def test_a_source_that_is_replaced_while_it_is_read_is_refused(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a"), {"a": b"first", "new": b"other"})

    def progress(_octets: int) -> None:
        (tmp_path / "new").replace(tmp_path / "a")

    assert error(manifest, progress=progress) == (
        f"m.toml: step[0].from: {tmp_path}/a: changed while it was read"
    )


def test_a_source_that_is_not_there_is_named_with_its_step(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a", "b"), {"a": b"A"})

    assert error(manifest, HostError) == (f"m.toml: step[1].from: {tmp_path}/b: no such file or directory")


def test_a_source_below_a_file_is_named_with_its_step(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a/b"), {"a": b"A"})

    assert error(manifest, HostError) == f"m.toml: step[0].from: {tmp_path}/a/b: not a directory"


def test_a_source_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("d"), {"d/a": b"A"})

    assert error(manifest) == f"m.toml: step[0].from: {tmp_path}/d: a directory, expected a file"


def test_a_directory_as_the_source_of_a_file_points_to_extract_tree(tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        planned(make(tmp_path, steps("d"), {"d/a": b"A"}))

    assert caught.value.hint == "to extract every file below a directory, use extract-tree"


def test_a_source_that_is_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("pipe"))
    os.mkfifo(tmp_path / "pipe")

    assert error(manifest) == f"m.toml: step[0].from: {tmp_path}/pipe: not a regular file"


def test_a_source_that_is_a_device_is_refused(tmp_path: Path) -> None:
    manifest = make(tmp_path, '[[step]]\nextract = "/a"\nfrom = "/dev/zero"\n')

    assert error(manifest) == "m.toml: step[0].from: /dev/zero: not a regular file"


def test_a_source_that_is_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make(tmp_path, steps("socket"))
    monkeypatch.chdir(tmp_path)  # the name of a socket can't be long

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        problem = error(manifest)

    assert problem == f"m.toml: step[0].from: {tmp_path}/socket: not a regular file"


def test_a_source_whose_octets_can_not_be_read_is_named_with_its_step(tmp_path: Path) -> None:
    # The memory of this process is a regular file, but nothing is at address 0.
    manifest = make(tmp_path, '[[step]]\nextract = "/a"\nfrom = "/proc/self/mem"\n')

    assert error(manifest, HostError) == ("m.toml: step[0].from: /proc/self/mem: input/output error")


def test_a_link_that_the_manifest_names_is_followed(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("link"), {"target": b"T"})
    (tmp_path / "link").symlink_to("target")

    assert contents(built(manifest)[1]) == {"/link": b"T"}


def test_a_link_that_takes_the_place_of_a_file_of_a_tree_is_not_followed(tmp_path: Path) -> None:
    manifest = make(tmp_path, '[[step]]\nextract-tree = "/"\nfrom = "t"\n', {"t/a": b"A", "secret": b"S"})
    plan = planned(manifest)
    (tmp_path / "t/a").unlink()
    (tmp_path / "t/a").symlink_to("../secret")

    with pytest.raises(HostError) as caught, new_file(tmp_path / "out") as output:
        build_package(plan, output, None)

    problem = f"m.toml:3: step[0].from: {tmp_path}/t/a: too many levels of symbolic links"
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("source", "problem"), [("nowhere", "no such file or directory"), ("m.toml", "not a directory")]
)
def test_a_tree_that_can_not_be_read_is_named_with_its_step(
    tmp_path: Path, source: str, problem: str
) -> None:
    manifest = make(tmp_path, f'[[step]]\nformat = true\n[[step]]\nextract-tree = "/"\nfrom = "{source}"\n')

    assert error(manifest, HostError) == f"m.toml: step[1].from: {tmp_path}/{source}: {problem}"


# Limits

OVERHEAD: Final = 8 + 8
"""Type and Length of the command that fills the list, and the whole of End."""


def filled(size: int) -> str:
    """Return steps of one command whose list has *size* octets with the End behind it."""
    return f'[[step]]\nvendor = 1000\nvalue = "{"00" * (size - OVERHEAD)}"\n'


def test_a_command_list_may_be_as_long_as_the_limit(tmp_path: Path) -> None:
    report, octets = built(make(tmp_path, filled(MAX_COMMAND_LIST)))

    assert report.header.command_list_length == MAX_COMMAND_LIST == 65535
    assert Package.read(io.BytesIO(octets)).header == report.header


def test_a_command_list_of_one_octet_more_names_the_step(tmp_path: Path) -> None:
    assert error(make(tmp_path, filled(65536))) == (
        "m.toml: step[0]: the command list would have 65536 bytes, the limit is 65535, exceeded here "
        "[TR-069 E.3]"
    )


@pytest.mark.parametrize("behind", [0, 1, 3])
def test_the_step_that_is_named_is_the_one_that_passes_the_limit(tmp_path: Path, behind: int) -> None:
    text = '[[step]]\nremove = "/a"\n' + filled(65504) + '[[step]]\nremove = "/b"\n' * (1 + behind)

    # Of 65535 octets 22 are the first step, 65496 the second and 8 the End: 9 are left, 22 wanted.
    assert error(make(tmp_path, text)) == (
        f"m.toml: step[2]: the command list would have {65526 + 22 * (1 + behind)} bytes, "
        "the limit is 65535, exceeded here [TR-069 E.3]"
    )


def test_a_tree_that_passes_the_limit_is_named_as_the_step_it_is(tmp_path: Path) -> None:
    text = filled(65000) + '[[step]]\nextract-tree = "/"\nfrom = "t"\n'
    manifest = make(tmp_path, text, {f"t/{number}": b"" for number in range(10)})

    assert error(manifest) == (
        "m.toml: step[1]: the command list would have 65620 bytes, the limit is 65535, exceeded here: "
        "8 of 10 files fit [TR-069 E.3]"
    )


def test_what_extensions_cost_is_told_where_a_command_list_is_too_long(tmp_path: Path) -> None:
    text = (
        '[package]\nstrong-digests = true\nfile-modes = "exact"\n'
        '[[step]]\nextract-tree = "/"\nfrom = "t"\n[[step]]\nremove = "/x"\n'
    )
    manifest = make(tmp_path, text, {f"t/f{number:04}": b"" for number in range(1000)})

    with pytest.raises(FormatError) as caught:
        planned(manifest)

    # End 8, the heads of the extensions 20 and 16; each file 66, and 32 and 4 more; the last step 22.
    assert (65535 - 8 - 20 - 16) // (66 + 36) == 642
    assert str(caught.value) == (
        "m.toml:6: step[0]: the command list would have 102066 bytes, the limit is 65535, exceeded here: "
        "642 of 1000 files fit [TR-069 E.3]"
    )
    assert caught.value.hint == (
        "carry the files in one image or archive that the device unpacks, or build several packages; "
        "strong digests cost 32 bytes a file, 32000 in all, modes cost 4 bytes a file, 4000 in all"
    )


@pytest.mark.parametrize("more", ["", '[[step]]\nremove = "/a"\n'])
def test_parameters_that_pass_the_limit_alone_are_not_blamed_on_a_step(tmp_path: Path, more: str) -> None:
    text = f'[package]\ndescription = "{"x" * 65536}"\n{more}'
    manifest = make(tmp_path, text)

    size = 8 + 65536 + 22 * bool(more) + 8
    assert error(manifest) == (
        f"m.toml: package: the command list would have {size} bytes, the limit is 65535, exceeded here "
        "[TR-069 E.3]"
    )


def test_a_tree_far_beyond_the_limit_is_refused_in_no_time(tmp_path: Path) -> None:
    manifest = make(
        tmp_path,
        '[[step]]\nextract-tree = "/"\nfrom = "t"\n',
        {f"t/f{number:04}": b"" for number in range(3000)},
    )
    program = (
        "import resource, sys, cli\nresource.setrlimit(resource.RLIMIT_CPU, (5, 5))\ncli.main(sys.argv[1:])\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program, "build", str(manifest), "-o", str(tmp_path / "out"), "--unsigned"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 3
    assert ended.stderr == (
        "spkg: error: m.toml:3: step[0]: the command list would have 198008 bytes, the limit is 65535, "
        "exceeded here: 992 of 3000 files fit [TR-069 E.3]\n"
        "spkg: hint: carry the files in one image or archive that the device unpacks, "
        "or build several packages\n"
    )


def test_a_source_longer_than_any_payload_is_refused_before_it_is_written(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a", "sparse"), {"a": b"A", "sparse": b""})
    os.truncate(tmp_path / "sparse", 5 << 30)

    with at_most(1 << 20):  # what is written before it is refused would be refused by the disk
        problem = error(manifest)

    assert problem == (
        f"m.toml: step[1].from: {tmp_path}/sparse: "
        "the payload would exceed the limit of 4294967295 bytes [TR-069 E.3]"
    )


class Holes(FileIO):
    """A file that has holes where zeros are written, so that gigabytes of them take no room."""

    def write(self, octets: Any) -> int:
        if bytes(octets) != ZEROS[: len(octets)]:
            return super().write(octets)
        self.seek(len(octets), os.SEEK_CUR)
        return len(octets)


ZEROS: Final = bytes(CHUNK)


@pytest.mark.part("large", turns=True)
@pytest.mark.proof
def test_sources_that_are_too_much_together_are_refused(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a", "b", "c"), {"a": b"", "b": b"b", "c": b"c"})
    os.truncate(tmp_path / "a", 3 << 30)
    os.truncate(tmp_path / "b", (1 << 30) - 1)

    with pytest.raises(FormatError) as caught, Holes(tmp_path / "out", "x+") as output:
        build_package(planned(manifest), output, None)

    assert str(caught.value) == (
        f"m.toml:9: step[2].from: {tmp_path}/c: "
        "the payload would exceed the limit of 4294967295 bytes [TR-069 E.3]"
    )


@pytest.mark.part("large", turns=True)
@pytest.mark.proof
def test_equal_sources_count_once_against_the_limit(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a", "b"), {"a": b"", "b": b""})
    os.truncate(tmp_path / "a", 5 << 29)
    os.truncate(tmp_path / "b", 5 << 29)

    with Holes(tmp_path / "out", "x+") as output:
        report = build_package(planned(manifest), output, None)

    assert (report.header.payload_length, report.shared) == (5 << 29, 1)


def heavy(octets: int) -> Certified:
    """Return a certificate that is as large as it is useless."""
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), bytes(octets))
    return certify("Heavy", root(), extension=extension)


def test_a_front_matter_may_be_as_long_as_the_limit(tmp_path: Path) -> None:
    manifest = make(tmp_path, filled(40_000))
    front = 24 + 40_000
    block = len(read(built(manifest, identity=signer().identity(heavy(100_000)))[1]).block.octets)

    _, octets = built(manifest, identity=signer().identity(heavy(100_000 + 150_000 - front - block)))

    assert read(octets).payload_offset == len(octets) == 150_000


def test_a_front_matter_of_one_octet_more_is_refused(tmp_path: Path) -> None:
    manifest = make(tmp_path, filled(40_000))
    front = 24 + 40_000
    block = len(read(built(manifest, identity=signer().identity(heavy(100_000)))[1]).block.octets)
    (tmp_path / "out.spkg").unlink()

    problem = error(manifest, identity=signer().identity(heavy(100_001 + 150_000 - front - block)))

    assert problem == (
        "header, command list and signatures would have 150001 bytes, the limit is 150000 [TR-069 E.5]"
    )


# The output


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a"), {"a": bytes(100_000)})

    with at_most(50_000), pytest.raises(OSError, match="File too large") as caught:
        built(manifest)

    assert caught.value.filename == str(tmp_path / "out.spkg")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "m.toml"]


def test_a_source_that_fails_late_leaves_the_package_that_was_there(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a", "nowhere"), {"a": bytes(CHUNK + 1), "out.spkg": b"old"})

    with pytest.raises(HostError):
        built(manifest)

    assert (tmp_path / "out.spkg").read_bytes() == b"old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "m.toml", "out.spkg"]


@pytest.mark.parametrize(
    ("there", "options", "status", "message"),
    [
        ("file", [], 2, "spkg: error: {}/out already exists\nspkg: hint: overwrite it with --force\n"),
        ("file", ["--force"], 0, ""),
        ("directory", [], 2, "spkg: error: {}/out is a directory\n"),
        ("directory", ["--force"], 2, "spkg: error: {}/out is a directory\n"),
        ("nothing", [], 0, ""),
        ("nothing", ["--force"], 0, ""),
    ],
)
def test_an_output_that_is_there_is_refused_before_the_manifest_is_read(
    tmp_path: Path, there: str, options: list[str], status: int, message: str
) -> None:
    manifest = make(tmp_path, steps("a") if status == 0 else "no manifest", {"a": b"A"})
    if there == "file":
        (tmp_path / "out").write_bytes(b"old")
    if there == "directory":
        (tmp_path / "out").mkdir()

    result = CliRunner().invoke(
        main, ["build", str(manifest), "-o", str(tmp_path / "out"), "--unsigned", *options]
    )

    assert (result.exit_code, result.stderr) == (status, message.format(tmp_path))
    if status == 0:
        assert contents((tmp_path / "out").read_bytes()) == {"/a": b"A"}
    elif there == "file":
        assert (tmp_path / "out").read_bytes() == b"old"


def test_a_package_that_appears_while_one_is_built_stays(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a"), {"a": b"A"})
    plan = planned(manifest)

    with pytest.raises(UsageError) as caught, new_file(tmp_path / "out") as output:
        build_package(plan, output, None, progress=lambda _: (tmp_path / "out").write_bytes(b"theirs"))

    assert str(caught.value) == f"{tmp_path}/out already exists"
    assert (tmp_path / "out").read_bytes() == b"theirs"


def test_results_are_told_as_one_document(tmp_path: Path, signing: list[str]) -> None:
    text = '[[step]]\nextract-tree = "/"\nfrom = "t"\nexclude = ["x"]\nlinks = "copy"\n'
    manifest = make(tmp_path, text, {"t/a": b"A", "t/b": b"A", "t/x": b""})
    (tmp_path / "t/d").mkdir()
    (tmp_path / "t/link").symlink_to("a")

    result = CliRunner().invoke(
        main, ["build", str(manifest), "-o", str(tmp_path / "out"), "--json", *signing]
    )

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "schema": "spkg.build/1",
        "output": f"{tmp_path}/out",
        "size": len(Path(tmp_path, "out").read_bytes()),
        "signed": True,
        "signed_sha256": sha256(read(Path(tmp_path, "out").read_bytes()).signed).hexdigest(),
        "signer": "CN=Test Signer",
        "sbom": None,
        "warnings": [],
        "commands": 4,
        "files": 3,
        "shared": 2,
        "command_list_length": 8 + 3 * (8 + 32 + 20) + len("/a/b/link"),
        "payload_length": 1,
        "trees": [
            {
                "step": "step[0]",
                "taken": ["/a", "/b", "/link"],
                "excluded": ["x"],
                "skipped_links": [],
                "copied_links": ["link"],
                "empty_directories": ["d"],
            }
        ],
    }


def test_a_plan_is_what_is_built_whatever_became_of_the_manifest(tmp_path: Path) -> None:
    manifest = make(tmp_path, steps("a"), {"a": b"A"})
    plan = planned(manifest)
    manifest.unlink()

    with new_file(tmp_path / "out") as output:
        build_package(replace(plan, items=plan.items * 2), output, None)

    assert len(read((tmp_path / "out").read_bytes()).files) == 2
