"""Extraction: the files of a package, all or none, and a manifest that builds it again."""

import io
import os
import stat
import tempfile
from collections.abc import Mapping
from hashlib import sha1
from io import FileIO
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli import main
from spkg.build.build_plan import plan_build
from spkg.build.builder import build_package
from spkg.build.extract import Extraction, extract_package, unsafe_extract_package
from spkg.build.manifest import load_manifest, read_manifest
from spkg.build.manifest_writer import Rebuild
from spkg.common.digests import Digest
from spkg.common.toml_document import Table
from spkg.errors import FormatError, HostError, UsageError
from spkg.format.commands import (
    ROLES,
    Add,
    AddVersioned,
    Description,
    End,
    Extract,
    ExtractVersioned,
    FileModes,
    Format,
    InitialTimeout,
    Layout,
    MinimumVersion,
    PayloadCommand,
    Reboot,
    Record,
    RecoverableTimeout,
    Remove,
    RequiredAttributes,
    Role,
    StrongDigests,
    UnknownCommand,
    Version,
)
from spkg.format.package import MAX_PAYLOAD, Header, encode_commands
from spkg.format.paths import RootPath, VersionedPath
from spkg.format.ranges import Range
from spkg.report.extract import extraction_warnings
from spkg.trust.signers import Identity
from spkg.verify.contents import DamagedPayloadError
from spkg.verify.payload import open_package
from spkg.verify.signatures import verify_package
from tests.support.kit import AT, CONTENTS, Draft, file, policy, read, signer
from tests.support.restrictions import at_most, umask, without_privileges


def write(directory: Path, draft: Draft) -> Path:
    (directory / "p.spkg").write_bytes(draft.encode())
    return directory / "p.spkg"


def take(package: Path, directory: Path, *, manifest: bool = False) -> Extraction:
    with open_package(package) as (opened, payload):
        return unsafe_extract_package(opened, payload, directory, manifest=manifest)


def tree(directory: Path) -> dict[str, bytes]:
    """Return all files below a directory by their paths."""
    return {
        str(entry.relative_to(directory)): entry.read_bytes()
        for entry in sorted(directory.rglob("*"))
        if entry.is_file()
    }


def modes(directory: Path) -> dict[str, int]:
    return {
        str(entry.relative_to(directory)): stat.S_IMODE(entry.stat().st_mode)
        for entry in sorted(directory.rglob("*"))
        if entry.is_file()
    }


def draft(*files: tuple[str, bytes], before: tuple[Record, ...] = ()) -> Draft:
    """Return a package of files that lie one behind the other."""
    records: list[Record] = list(before)
    payload = b""
    for path, contents in files:
        records.append(file(path, contents, at=len(payload)))
        payload += contents
    return Draft(records=(*records, End()), payload=payload)


# Files and where they go


def test_files_go_under_their_paths(tmp_path: Path) -> None:
    kinds: tuple[tuple[type[PayloadCommand], type[RootPath], str], ...] = (
        (Extract, RootPath, "/bin/app"),
        (ExtractVersioned, VersionedPath, "lib/modem.007"),
        (Add, RootPath, "größe/ €"),
        (AddVersioned, VersionedPath, "/plan.001"),
    )
    records = tuple(
        command(
            path=path.of(name),
            hash=sha1(name.encode(), usedforsecurity=False).digest(),
            file_offset=100 * number,
            file_length=len(name.encode()),
        )
        for number, (command, path, name) in enumerate(kinds)
    )
    payload = b"".join(name.encode().ljust(100, b"-") for _, _, name in kinds)
    package = write(tmp_path, Draft(records=(Remove(path=RootPath(b"/x")), *records, End()), payload=payload))

    done = take(package, tmp_path / "out")

    assert tree(tmp_path / "out") == {
        "bin/app": b"/bin/app",
        "lib/modem.007": b"lib/modem.007",
        "größe/ €": "größe/ €".encode(),
        "plan.001": b"/plan.001",
    }
    assert done.places == ("bin/app", "lib/modem.007", "größe/ €", "plan.001")
    assert done.renamed == ()
    assert done.rebuild is None
    assert [one.problem for one in done.report.files] == [""] * 4
    assert done.report.uncovered == (Range(8, 92), Range(113, 87), Range(212, 88), Range(309, 91))


def test_a_trusted_package_is_extracted_as_any_other(tmp_path: Path) -> None:
    package = write(tmp_path, draft(("/a", b"A"), ("/b", b"B")))

    with open_package(package) as (opened, payload):
        done = extract_package(verify_package(opened, policy(), at=AT), payload, tmp_path / "out")

    assert tree(tmp_path / "out") == {"a": b"A", "b": b"B"}
    assert done == take(package, tmp_path / "other")


def test_a_package_without_files_gives_an_empty_directory(tmp_path: Path) -> None:
    done = take(write(tmp_path, Draft(records=(Reboot(), End()), payload=b"")), tmp_path / "out")

    assert list((tmp_path / "out").iterdir()) == []
    assert done.places == ()


def test_progress_is_told_every_octet_that_somebody_wants(tmp_path: Path) -> None:
    package = write(tmp_path, draft(("/a", b"A" * 300_000), ("/b", b"B")))
    told: list[int] = []

    with open_package(package) as (opened, payload):
        unsafe_extract_package(opened, payload, tmp_path / "out", progress=told.append)

    assert sum(told) == 300_001


@pytest.mark.parametrize(
    ("mask", "expected"),
    [(0o022, {"a": 0o755, "b": 0o644, "c": 0o640}), (0o077, {"a": 0o700, "b": 0o600, "c": 0o600})],
)
def test_files_have_the_modes_of_the_package_or_that_of_a_plain_file(
    tmp_path: Path, mask: int, expected: Mapping[str, int]
) -> None:
    stated = FileModes(modes=(0o755, 0, 0o640))
    package = write(tmp_path, draft(("/a", b"A"), ("/b", b"B"), ("/c", b"C"), before=(stated,)))

    with umask(mask):
        take(package, tmp_path / "out")

    assert modes(tmp_path / "out") == expected


def test_without_modes_in_the_package_all_files_are_plain(tmp_path: Path) -> None:
    with umask(0):
        take(write(tmp_path, draft(("/a", b"A"), ("/b", b"A"))), tmp_path / "out")

    assert modes(tmp_path / "out") == {"a": 0o644, "b": 0o644}


# Octets that several files share


def test_files_that_share_their_octets_are_files_of_their_own(tmp_path: Path) -> None:
    records = (
        FileModes(modes=(0o644, 0o755, 0o600)),
        *(file(path) for path in ("/a", "/b", "/d/c")),
        End(),
    )

    with umask(0):
        done = take(write(tmp_path, Draft(records=records)), tmp_path / "out")

    assert tree(tmp_path / "out") == {"a": CONTENTS, "b": CONTENTS, "d/c": CONTENTS}
    assert modes(tmp_path / "out") == {"a": 0o644, "b": 0o755, "d/c": 0o600}
    assert {(tmp_path / "out" / name).stat().st_nlink for name in done.places} == {1}


def test_ranges_may_overlap_and_be_in_any_order(tmp_path: Path) -> None:
    payload = b"0123456789"
    ranges = {"/all": (0, 10), "/tail": (7, 3), "/head": (0, 3), "/middle": (2, 6), "/none": (5, 0)}
    records = tuple(
        file(path, payload[start : start + length], at=start) for path, (start, length) in ranges.items()
    )

    take(write(tmp_path, Draft(records=(*records, End()), payload=payload)), tmp_path / "out")

    assert tree(tmp_path / "out") == {
        "all": b"0123456789",
        "tail": b"789",
        "head": b"012",
        "middle": b"234567",
        "none": b"",
    }


@pytest.mark.parametrize("mode", [0o444, 0o200, 0o111])
def test_files_that_share_their_octets_may_have_any_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    tmp_path.chmod(0o777)
    package = write(tmp_path, Draft(records=(FileModes(modes=(mode, mode)), file("/a"), file("/b"), End())))
    monkeypatch.chdir(tmp_path)  # what lies above is nobody's business

    # Whoever is not root can't open again what a mode forbids.
    with without_privileges():
        take(Path(package.name), Path("out"))

    found = modes(tmp_path / "out")
    for name in found:
        (tmp_path / "out" / name).chmod(0o600)
    assert found == {"a": mode, "b": mode}
    assert tree(tmp_path / "out") == {"a": CONTENTS, "b": CONTENTS}


# Paths that meet


@pytest.mark.parametrize(
    ("files", "expected", "renamed"),
    [
        ([("/a", b"1"), ("/a", b"2")], {"a": b"1", "a.2": b"2"}, [1]),
        ([("/a", b"1"), ("a", b"2"), ("/a", b"3")], {"a": b"1", "a.2": b"2", "a.3": b"3"}, [1, 2]),
        ([("/a", b"1"), ("/a.2", b"x"), ("/a", b"2")], {"a": b"1", "a.2": b"x", "a.3": b"2"}, [2]),
        ([("/a", b"1"), ("/a", b"2"), ("/a.2", b"x")], {"a": b"1", "a.2": b"2", "a.2.2": b"x"}, [1, 2]),
        ([("/a", b"1"), ("/a/b", b"2")], {"a": b"1", "a.2/b": b"2"}, [1]),
        ([("/a/b", b"2"), ("/a", b"1")], {"a/b": b"2", "a.2": b"1"}, [1]),
        (
            [("/a", b"1"), ("/a/b/c", b"2"), ("/a/b", b"3")],
            {"a": b"1", "a.2/b/c": b"2", "a.2/b.2": b"3"},
            [1, 2],
        ),
        ([("/a", b"1"), ("/a", b"2"), ("/a.2/b", b"3")], {"a": b"1", "a.2": b"2", "a.2.2/b": b"3"}, [1, 2]),
        (
            [("/a/b", b"1"), ("/a/c", b"2"), ("/a/b/d", b"3")],
            {"a/b": b"1", "a/c": b"2", "a/b.2/d": b"3"},
            [2],
        ),
    ],
)
def test_what_can_not_have_its_own_path_has_one_like_it(
    tmp_path: Path, files: list[tuple[str, bytes]], expected: dict[str, bytes], renamed: list[int]
) -> None:
    done = take(write(tmp_path, draft(*files)), tmp_path / "out")

    assert tree(tmp_path / "out") == expected
    assert list(done.places) == list(expected)
    assert list(done.renamed) == renamed


def test_the_same_file_twice_is_there_once(tmp_path: Path) -> None:
    done = take(write(tmp_path, Draft(records=(file("/a"), file("a"), End()))), tmp_path / "out")

    assert tree(tmp_path / "out") == {"a": CONTENTS}
    assert (done.places, done.renamed) == (("a", "a"), ())


def test_the_same_path_with_another_mode_is_another_file(tmp_path: Path) -> None:
    records = (FileModes(modes=(0o644, 0o755)), file("/a"), file("/a"), End())

    with umask(0):
        take(write(tmp_path, Draft(records=records)), tmp_path / "out")

    assert modes(tmp_path / "out") == {"a": 0o644, "a.2": 0o755}


def test_the_longest_name_twice_has_one_like_it(tmp_path: Path) -> None:
    name = "n" * 255

    done = take(write(tmp_path, draft((f"/{name}", b"1"), (f"/{name}", b"2"))), tmp_path / "out")

    assert sorted(tree(tmp_path / "out").values()) == [b"1", b"2"]
    assert done.places[0] == name


# All or nothing


@pytest.fixture(params=["absent", "empty"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a directory that can be extracted into."""
    if request.param == "empty":
        (tmp_path / "out").mkdir()
    return tmp_path / "out"


def left(directory: Path) -> list[str]:
    """Return what is left of an extraction into *directory*: there, and beside it."""
    inside = [entry.name for entry in directory.iterdir()] if directory.exists() else []
    return inside + [entry.name for entry in directory.parent.iterdir() if entry.name.startswith(".")]


def test_damaged_contents_leave_nothing(tmp_path: Path, target: Path) -> None:
    good = draft(("/a", b"A"), ("/d/b", b"B"), ("/c", b"C"))
    package = write(tmp_path, Draft(records=good.records, payload=b"AbC"))
    existed = target.exists()

    with pytest.raises(DamagedPayloadError) as caught:
        take(package, target)

    assert str(caught.value) == "/d/b: contents do not match the signed SHA-1 digest [TR-069 E.4.3]"
    assert left(target) == []
    assert target.exists() is existed


def test_a_strong_digest_that_does_not_match_leaves_nothing(tmp_path: Path, target: Path) -> None:
    package = write(tmp_path, draft(("/a", b"A"), before=(StrongDigests(digests=(bytes(32),)),)))

    with pytest.raises(DamagedPayloadError) as caught:
        take(package, target)

    assert str(caught.value) == "/a: contents do not match the signed SHA-256 digest [TR-069 E.4.3]"
    assert left(target) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [(-1, "1 of 4 bytes are missing"), (1, "more data follows after the 4 bytes that the header states")],
)
def test_a_payload_of_another_length_leaves_nothing(target: Path, change: int, problem: str) -> None:
    octets = draft(("/a", b"A"), ("/b", b"BBB")).encode()
    octets = octets[:change] if change < 0 else octets + b"x"
    stream = io.BufferedReader(io.BytesIO(octets))

    with pytest.raises(FormatError) as caught, open_package(stream) as (package, payload):
        unsafe_extract_package(package, payload, target)

    assert caught.value.problem == problem
    assert left(target) == []


def test_a_package_from_a_pipe_is_extracted_as_it_comes(tmp_path: Path) -> None:
    octets = draft(("/a", b"A" * 100_000), ("/b", b"B")).encode()
    read, written = os.pipe()

    def send() -> None:
        with os.fdopen(written, "wb") as sending:
            sending.write(octets)

    sender = Thread(target=send)
    sender.start()
    with os.fdopen(read, "rb") as stream, open_package(stream) as (package, payload):
        unsafe_extract_package(package, payload, tmp_path / "out")
    sender.join()

    assert tree(tmp_path / "out") == {"a": b"A" * 100_000, "b": b"B"}


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, target: Path) -> None:
    package = write(tmp_path, draft(("/a", b"A"), ("/b", bytes(10_000))))

    with pytest.raises(OSError, match="File too large") as caught, at_most(5_000):
        take(package, target)

    assert caught.value.filename == str(target / "b")
    assert left(target) == []


def test_files_for_which_there_is_no_room_are_refused_before_any_is_made(
    tmp_path: Path, target: Path
) -> None:
    # A hundred octets of commands for each 4 GiB: the file that holds the payload is one hole.
    wanted = Extract(path=RootPath(b"/a"), hash=bytes(20), file_offset=0, file_length=MAX_PAYLOAD)
    records = (*[wanted] * 900, End())
    length = len(encode_commands(records))
    header = Header(command_list_length=length, payload_length=MAX_PAYLOAD).encode()
    package = write(tmp_path, Draft(records=records, header=header, payload=b""))
    os.truncate(package, package.stat().st_size + MAX_PAYLOAD)
    assert os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize < 900 * MAX_PAYLOAD

    with pytest.raises(HostError) as caught:
        take(package, target)

    start, free = str(caught.value).rsplit(", but only ", 1)
    assert start == f"the files need {900 * MAX_PAYLOAD} bytes"
    assert free.endswith(" are free")
    assert left(target) == []


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    package = write(tmp_path, draft(("/a", b"A")))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_bytes(b"")

    with pytest.raises(UsageError) as caught:
        take(package, tmp_path / "out")

    assert str(caught.value) == f"{tmp_path}/out is not empty"
    assert left(tmp_path / "out") == ["mine"]


def test_a_file_is_no_directory_to_extract_into(tmp_path: Path) -> None:
    package = write(tmp_path, draft(("/a", b"A")))

    with pytest.raises(UsageError) as caught:
        take(package, package)

    assert str(caught.value) == f"{package} exists and is not a directory"


# A manifest that builds the package again


def test_a_manifest_stands_beside_the_tree_of_the_files(tmp_path: Path) -> None:
    records = (
        Version(text='1 "beta"\n'),
        Description(text="back\\slash, \u202egnp.exe, \U000e0001 and 𝄞"),
        Role(role=0xFF00D09E, arguments=b"\x01\x02"),
        MinimumVersion(version=(5, 0)),
        InitialTimeout(timeout=60),
        RequiredAttributes(defining_entity=0xFF00D09E, class_=1, attributes=(7, 8)),
        RequiredAttributes(defining_entity=0, class_=2, attributes=(9,)),
        file("/bin/app", flags=1),
        Remove(path=RootPath("größe".encode())),
        UnknownCommand(number=1000, value=b"\x00\xff"),
        Format(),
        Reboot(),
        End(),
    )
    package = write(tmp_path, Draft(records=records))

    done = take(package, tmp_path / "out", manifest=True)

    assert done.rebuild == Rebuild(same=True, problem="")
    assert done.places == ("rootfs/bin/app",)
    assert (tmp_path / "out/rootfs/bin/app").read_bytes() == CONTENTS
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["manifest.toml", "rootfs"]
    assert (tmp_path / "out/manifest.toml").read_text(encoding="utf-8") == (
        "[package]\n"
        'version = "1 \\"beta\\"\\n"\n'
        'description = "back\\\\slash, \\u202egnp.exe, \\U000e0001 and 𝄞"\n'
        'role = { vendor = "00D09E", arguments = "0102" }\n'
        'minimum-version = "5.0"\n'
        "\n"
        "[timeouts]\n"
        "initial = 60\n"
        "\n"
        "[[required-attributes]]\n"
        'defining-entity = "00D09E"\n'
        "class = 1\n"
        "values = [7, 8]\n"
        "\n"
        "[[required-attributes]]\n"
        "defining-entity = 0\n"
        "class = 2\n"
        "values = [9]\n"
        "\n"
        "[[step]]\n"
        'extract = "/bin/app"\n'
        'from = "rootfs/bin/app"\n'
        "unsafe = true\n"
        "\n"
        "[[step]]\n"
        'remove = "größe"\n'
        "\n"
        "[[step]]\n"
        "vendor = 1000\n"
        'value = "00ff"\n'
        "\n"
        "[[step]]\n"
        "format = true\n"
        "\n"
        "[[step]]\n"
        "reboot = true\n"
    )


def test_a_manifest_says_where_equal_files_are_not_shared(tmp_path: Path) -> None:
    done = take(write(tmp_path, draft(("/a", b"A"), ("/b", b"A"))), tmp_path / "out", manifest=True)

    assert done.rebuild == Rebuild(same=True, problem="")
    assert "share-payload = false\n" in (tmp_path / "out/manifest.toml").read_text()


def test_a_path_of_two_files_has_two_sources_in_the_manifest(tmp_path: Path) -> None:
    done = take(write(tmp_path, draft(("/a", b"1"), ("/a", b"2"))), tmp_path / "out", manifest=True)

    assert done.rebuild == Rebuild(same=True, problem="")
    assert done.places == ("rootfs/a", "rootfs/a.2")
    text = (tmp_path / "out/manifest.toml").read_text()
    assert text.endswith(
        '[[step]]\nextract = "/a"\nfrom = "rootfs/a"\n\n[[step]]\nextract = "/a"\nfrom = "rootfs/a.2"\n'
    )


def test_a_file_called_manifest_does_not_meet_the_manifest(tmp_path: Path) -> None:
    package = write(tmp_path, draft(("/manifest.toml", b"A"), ("/rootfs", b"B")))

    take(package, tmp_path / "out", manifest=True)

    assert tree(tmp_path / "out").keys() == {"manifest.toml", "rootfs/manifest.toml", "rootfs/rootfs"}


IDENTITY: Final[Identity] = signer().identity()

texts = st.text(st.characters(codec="utf-8"), max_size=12)
names = st.sampled_from(["a", "b", "a.2", "ab"]) | st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=4
).filter(lambda name: name not in {".", "..", ".spkg"})
slashes = st.sampled_from(["", "/"])
directories = st.lists(names, max_size=2)
versioned_names = st.builds(
    "{}.{}".format,
    st.text(st.characters(codec="utf-8", exclude_characters="/\0."), min_size=1, max_size=8),
    st.text(st.characters(codec="utf-8", exclude_characters="/\0."), min_size=3, max_size=3),
)
paths = st.builds(lambda slash, above, name: slash + "/".join([*above, name]), slashes, directories, names)
versioned = st.builds(
    lambda slash, above, name: slash + "/".join([*above, name]), slashes, directories, versioned_names
)
tree_paths = st.just("/") | st.builds(str.__add__, paths, slashes)
u32 = st.integers(0, (1 << 32) - 1)
flag = st.fixed_dictionaries({}, optional={"unsafe": st.booleans()})
sources = st.sampled_from([f"source{number}" for number in range(4)])
versions = st.lists(u32, min_size=1, max_size=4).map(lambda numbers: ".".join(map(str, numbers)))
ouis = st.integers(0, (1 << 24) - 1).map("{:06X}".format)
hexadecimal = st.binary(max_size=40).map(bytes.hex)


octal = st.integers(1, 0o777).map(lambda mode: f"{mode:04o}")


def steps_of(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    named = {name.replace("_", "-"): strategy for name, strategy in keys.items()}
    own = st.fixed_dictionaries({}, optional={"mode": octal}) if "from" in named else st.just({})
    return st.builds(lambda step, more, mode: step | more | mode, st.fixed_dictionaries(named), flag, own)


steps = st.one_of(
    steps_of(extract=paths, **{"from": sources}),
    steps_of(extract_versioned=versioned, **{"from": sources}),
    steps_of(add=paths, **{"from": sources}),
    steps_of(add_versioned=versioned, **{"from": sources}),
    steps_of(extract_tree=tree_paths, **{"from": st.just("tree")}),
    steps_of(remove=paths),
    steps_of(remove_versioned=versioned),
    steps_of(remove_tree=tree_paths),
    steps_of(move=paths, to=paths),
    steps_of(move_versioned=versioned, to=versioned),
    st.just({"format": True}),
    st.builds(
        lambda number, value: {"vendor": number, "value": value},
        st.integers(1000, 9999).filter(lambda number: number not in {9256, 9257, 9258}),
        hexadecimal,
    ),
)
patterns = st.sampled_from(["/*", "/a*", "/*/b"])
rules: st.SearchStrategy[dict[str, str]] = st.fixed_dictionaries({"path": patterns, "mode": octal})
attributes = st.fixed_dictionaries(
    {
        "defining-entity": u32 | ouis,
        "class": u32,
        "values": st.lists(u32, min_size=1, max_size=3),
    }
)
packages = st.fixed_dictionaries(
    {},
    optional={
        "version": texts,
        "description": texts,
        "role": st.sampled_from(sorted(ROLES))
        | st.fixed_dictionaries({"vendor": ouis}, optional={"arguments": hexadecimal}),
        "minimum-version": versions,
        "maximum-version": versions,
        "minimum-non-volatile-storage": u32,
        "minimum-volatile-storage": u32,
        "strong-digests": st.booleans(),
        "file-modes": st.sampled_from([False, True, "executable", "exact"]),
        "share-payload": st.booleans(),
    },
)
documents = st.builds(
    lambda document, last: document | {"step": document["step"] + last},
    st.fixed_dictionaries(
        {
            "package": packages,
            "timeouts": st.fixed_dictionaries(
                {},
                optional=dict.fromkeys(("initial", "initial-activity", "recoverable", "unrecoverable"), u32),
            ),
            "required-attributes": st.lists(attributes, max_size=3, unique_by=lambda one: str(one["class"])),
            "step": st.lists(steps, max_size=6),
            "mode": st.lists(rules, max_size=3),
        },
        optional={"metadata": st.dictionaries(texts, texts, max_size=3)},
    ),
    st.sampled_from([[], [{"reboot": True}]]),
)
contents = st.sampled_from([b"", b"A", b"AB"]) | st.binary(max_size=40)


def before_signatures(octets: bytes) -> tuple[bytes, bytes]:
    """Return all of a package but its signatures."""
    package = read(octets)
    return package.signed, octets[package.payload_offset :]


def build_from(document: Table | Path, directory: Path) -> bytes:
    manifest = load_manifest(document) if isinstance(document, Path) else read_manifest(document, directory)
    with FileIO(directory / "p.spkg", "w+") as output:
        build_package(plan_build(manifest), output, IDENTITY)
    return (directory / "p.spkg").read_bytes()


@given(
    documents,
    st.lists(contents, min_size=6, max_size=6),
    st.lists(st.integers(0, 0o377).map(lambda mode: 0o400 | mode), min_size=6, max_size=6),
)
def test_every_package_of_our_builder_is_built_again_from_its_manifest(
    document: dict[str, Any], files: list[bytes], sources: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        (directory / "tree/d").mkdir(parents=True)
        places = ["tree/a", "tree/d/b", *(f"source{number}" for number in range(4))]
        for number, (place, octets) in enumerate(zip(places, files, strict=True)):
            (directory / place).write_bytes(octets)
            (directory / place).chmod(sources[number])
        octets = build_from(Table(document, "m.toml"), directory)

        done = take(directory / "p.spkg", directory / "out", manifest=True)

        assert done.rebuild == Rebuild(same=True, problem="")
        assert build_from(directory / "out/manifest.toml", directory) == octets


def test_a_manifest_states_modes_whatever_the_umask_made_of_the_files(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").write_bytes(b"A")
    text = "".join(
        f'[[step]]\nextract = "/{name}"\nfrom = "a"\n{mode}\n'
        for name, mode in (("w", 'mode = "0666"'), ("x", 'mode = "0600"'), ("none", ""))
    )
    (tmp_path / "m.toml").write_text(f'{text}[metadata]\n"a $b" = "${{"\n'.replace("${", "$${"))
    octets = build_from(tmp_path / "m.toml", tmp_path)
    before = os.umask(0o077)

    take(tmp_path / "p.spkg", tmp_path / "out", manifest=True)
    os.umask(before)

    manifest = (tmp_path / "out/manifest.toml").read_text()
    assert [line for line in manifest.splitlines() if line.startswith(("mode", "file-modes"))] == [
        'mode = "0666"',
        'mode = "0600"',
    ]
    assert '[metadata]\n"a $b" = "$${"\n' in manifest
    assert build_from(tmp_path / "out/manifest.toml", tmp_path) == octets


# Packages of other builders


def header_of(records: tuple[Record, ...], payload: bytes, minor: int) -> bytes:
    return Header(
        minor=minor, command_list_length=len(encode_commands(records)), payload_length=len(payload)
    ).encode()


APP: Final = file("/a")
ODD: Final = Extract(
    path=RootPath(b"/a"),
    hash=sha1(CONTENTS, usedforsecurity=False).digest(),
    file_offset=0,
    file_length=len(CONTENTS),
    layout=Layout(offsets=(52, 32), gaps=()),  # the digest before the path
)
FOREIGN: Final = {
    "fields in another order": Draft(records=(ODD, End())),
    "octets between fields": Draft(
        records=(Remove(path=RootPath(b"/a"), layout=Layout(offsets=(13,), gaps=((12, b"x"),))), APP, End())
    ),
    "a gap in the payload": Draft(records=(file("/a", at=1), End()), payload=b"-" + CONTENTS),
    "octets behind the files": Draft(records=(APP, End()), payload=CONTENTS + b"-"),
    "the payload in another order": Draft(
        records=(file("/a", b"A", at=1), file("/b", b"B"), End()), payload=b"BA"
    ),
    "files that overlap": Draft(
        records=(file("/a", b"ABC"), file("/b", b"BCD", at=1), End()), payload=b"ABCD"
    ),
    "some equal files shared and some not": Draft(
        records=(file("/a", b"A"), file("/b", b"A"), file("/c", b"A", at=1), End()), payload=b"AA"
    ),
    "parameters in another order": Draft(
        records=(MinimumVersion(version=(1,)), Version(text="1"), APP, End())
    ),
    "parameters behind a step": Draft(records=(APP, Version(text="1"), End())),
    "timeouts in another order": Draft(
        records=(RecoverableTimeout(timeout=1), InitialTimeout(timeout=1), APP, End())
    ),
    "a reserved flag": Draft(records=(file("/a", flags=2), End())),
    "no End": Draft(records=(APP,)),
    "octets behind End": Draft(records=(APP, End()), commands=encode_commands((APP, End())) + b"behind"),
    "another minor version": Draft(records=(APP, End()), header=header_of((APP, End()), CONTENTS, minor=1)),
    "strong digests in front": Draft(
        records=(StrongDigests(digests=(Digest.SHA256.of(CONTENTS),)), Version(text="1"), APP, End())
    ),
    "strong digests of no file": Draft(records=(StrongDigests(digests=()), End()), payload=b""),
    "a mode that is not stated": Draft(records=(FileModes(modes=(0,)), APP, End())),
}
UNLOADABLE: Final = {
    "a parameter twice": Draft(records=(Version(text="1"), Version(text="2"), APP, End())),
    "a timeout twice": Draft(records=(InitialTimeout(timeout=1), InitialTimeout(timeout=2), APP, End())),
    "a class of attributes twice": Draft(
        records=(*[RequiredAttributes(defining_entity=0, class_=1, attributes=(1,))] * 2, APP, End())
    ),
    "a reserved role": Draft(records=(Role(role=5), APP, End())),
    "a reserved type": Draft(records=(UnknownCommand(number=23, value=b"script"), APP, End())),
    "another vendor's 9256": Draft(records=(UnknownCommand(number=9256, value=b"other"), APP, End())),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_package_of_another_builder_is_said_to_be_one(tmp_path: Path, name: str) -> None:
    package = write(tmp_path, FOREIGN[name])

    done = take(package, tmp_path / "out", manifest=True)
    octets = build_from(tmp_path / "out/manifest.toml", tmp_path / "out")

    assert done.rebuild == Rebuild(same=False, problem="")
    assert before_signatures(octets) != before_signatures(package.read_bytes())


@pytest.mark.parametrize("name", UNLOADABLE)
def test_what_no_manifest_can_say_is_told(tmp_path: Path, name: str) -> None:
    package = write(tmp_path, UNLOADABLE[name])

    done = take(package, tmp_path / "out", manifest=True)
    with pytest.raises(FormatError) as caught:
        build_from(tmp_path / "out/manifest.toml", tmp_path / "out")

    assert done.rebuild is not None
    assert not done.rebuild.same
    assert str(caught.value) == done.rebuild.problem
    assert [str(one) for one in extraction_warnings(done, None)][1:] == [
        f"another builder wrote this package, and spkg can't rebuild it: {done.rebuild.problem}"
    ]


def test_what_is_out_of_the_ordinary_is_hinted_at(tmp_path: Path) -> None:
    records = (file("/a", b"1"), file("/a", b"2", at=1), End())
    package = write(tmp_path, Draft(records=records, payload=b"12-"))

    result = CliRunner().invoke(
        main, ["extract", str(package), str(tmp_path / "out"), "--unsafe-skip-signatures", "--manifest"]
    )

    assert result.exit_code == 0
    assert result.stderr == (
        "spkg: warning: no signature was checked: these files may come from anyone\n"
        "spkg: warning: /a: another file has this path: this one was written to rootfs/a.2\n"
        "spkg: warning: left out 1 byte at 0x00000002 of the payload, which no command covers\n"
        "spkg: warning: another builder wrote this package: "
        "building from the manifest gives different bytes\n"
    )
