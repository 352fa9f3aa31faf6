"""A real firmware, with links and hundreds of names, through the command line and back."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import main
from spkg.common.obstacles import MOST_OBSTACLES
from tests.judges.programs import missing
from tests.support import firmware, kit


def spkg(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def done(*arguments: str | Path) -> dict[str, Any]:
    """Run a command that has to succeed, and return its document."""
    result = spkg(*arguments, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.fixture(scope="module")
def desk() -> Iterator[Path]:
    """Give a directory with the firmware and those who sign; it is large, so nothing of it stays."""
    with TemporaryDirectory() as name:
        path = Path(name).resolve()
        try:
            firmware.make_tree(path / "rootfs")
        except firmware.FirmwareUnavailableError as exc:
            missing(f"no firmware: {exc}")
        (path / "root.pem").write_bytes(kit.root().pem)
        (path / "signer.pem").write_bytes(kit.signer().pem + kit.root().pem)
        yield path


@pytest.fixture(scope="module")
def tree(desk: Path) -> Path:
    return desk / "rootfs"


@pytest.fixture(scope="module")
def links(tree: Path) -> dict[str, Path | None]:
    """Give every link, and the file of the tree that it leads to where it leads to one."""
    return {name_of(link, tree): leads_to(link, tree) for link in tree.rglob("*") if link.is_symlink()}


@pytest.fixture(scope="module")
def regular(tree: Path) -> dict[str, Path]:
    return {name_of(file, tree): file for file in tree.rglob("*") if file.is_file() and not file.is_symlink()}


@pytest.fixture(scope="module")
def package(desk: Path, links: dict[str, Path | None]) -> Path:
    """Give the package that takes every link that leads to a file as that file."""
    manifest = write_manifest(desk / "copy.toml", "copy", leave_out(links))
    return build(manifest, desk / "firmware.spkg")


def name_of(place: Path, tree: Path) -> str:
    return place.relative_to(tree).as_posix()


def leads_to(link: Path, tree: Path) -> Path | None:
    """Follow a link as the device does, for which the tree is all there is."""
    target = link.readlink()
    first = tree / target.relative_to("/") if target.is_absolute() else link.parent / target
    end = first.resolve()
    return end if end.is_relative_to(tree) and end.is_file() else None


def leave_out(links: dict[str, Path | None]) -> list[str]:
    return sorted(name for name, end in links.items() if end is None)


def contents(place: Path) -> tuple[bytes, bool]:
    """Return what is in a file, and whether its owner can run it: all that a package carries."""
    return place.read_bytes(), bool(place.stat().st_mode & 0o100)


def write_manifest(place: Path, links: str, exclude: list[str], source: str = "rootfs") -> Path:
    place.write_text(
        "[package]\n"
        'version = "12.11"\n'
        "strong-digests = true\n"
        "file-modes = true\n"
        "[[step]]\n"
        'extract-tree = "/"\n'
        f'from = "{source}"\n'
        f'links = "{links}"\n'
        f"exclude = {json.dumps(exclude)}\n",
        encoding="utf-8",
    )
    return place


def signer(desk: Path) -> tuple[str | Path, ...]:
    return ("--key", kit.KEYS / "signer.key", "--cert", desk / "signer.pem")


def trusted(desk: Path) -> tuple[str | Path, ...]:
    return ("--at", kit.AT.isoformat(), "--trust", desk / "root.pem")


def build(manifest: Path, output: Path, *more: str) -> Path:
    """Build a package and sign it, beside the signer's certificate."""
    done("build", manifest, "-o", output, *signer(output.parent), *more)
    return output


def test_the_firmware_has_links_and_hundreds_of_names(
    tree: Path, links: dict[str, Path | None], regular: dict[str, Path]
) -> None:
    copied = [name for name, end in links.items() if end is not None]

    assert len(regular) > 80
    assert len(copied) > 200
    assert {"etc/mtab", "var/run"} <= set(leave_out(links))
    assert links["sbin/init"] in {tree / one for one in firmware.BUSYBOX}


def test_a_package_that_cannot_be_had_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(firmware.FirmwareUnavailableError) as caught:
        firmware.fetch(tmp_path / "cache")

    assert str(caught.value) == (
        "apt-get download busybox-static dropbear-bin hostapd u-boot-qemu: "
        "[Errno 2] No such file or directory: 'apt-get'"
    )
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["lock"]


def test_links_are_errors_that_are_named_together(
    desk: Path, tree: Path, links: dict[str, Path | None]
) -> None:
    manifest = write_manifest(desk / "error.toml", "error", [])

    result = spkg("build", manifest, "-o", desk / "error.spkg", "--unsigned")

    places = sorted(links, key=os.fsencode)
    told = [
        f"spkg: error: {manifest.name}:7: step[0].from: {tree / link}: "
        "a symbolic link, which the format can't carry"
        for link in places[:MOST_OBSTACLES]
    ]
    *errors, hint = result.stderr.splitlines()
    left = len(places) - MOST_OBSTACLES
    assert (result.exit_code, result.stdout) == (3, "")
    assert errors == [*told, *[f"spkg: error: and {left} more"] * (left > 0)]
    assert hint.startswith("spkg: hint: exclude = [")
    assert hint.endswith(
        f'"/{places[:MOST_OBSTACLES][-1]}"] leaves them out; '
        'links = "skip" leaves out all links, "copy" takes the files they lead to'
    )
    assert not list(desk.glob("*error.spkg*"))


@pytest.mark.parametrize("link", ["etc/mtab", "var/run"])
def test_a_link_to_no_file_of_the_tree_is_not_copied(
    desk: Path, tree: Path, links: dict[str, Path | None], link: str
) -> None:
    others = [one for one in leave_out(links) if one != link]
    manifest = write_manifest(desk / "nowhere.toml", "copy", others)

    result = spkg("build", manifest, "-o", desk / "nowhere.spkg", "--unsigned")

    assert result.exit_code == 3
    assert result.stderr.splitlines()[0] == (
        f"spkg: error: {manifest.name}:7: step[0].from: {tree / link}: "
        "a symbolic link that does not lead to a file"
    )
    assert not list(desk.glob("*nowhere.spkg*"))


def test_links_can_be_left_out(desk: Path, links: dict[str, Path | None], regular: dict[str, Path]) -> None:
    manifest = write_manifest(desk / "skip.toml", "skip", [])

    document = done("build", manifest, "-o", desk / "skip.spkg", "--unsigned")

    (step,) = document["trees"]
    assert step["taken"] == sorted((f"/{name}" for name in regular), key=os.fsencode)
    assert step["skipped_links"] == sorted(links, key=os.fsencode)
    assert step["copied_links"] == []


def test_what_is_extracted_is_what_was_built(
    desk: Path, package: Path, links: dict[str, Path | None], regular: dict[str, Path]
) -> None:
    sources = regular | {name: end for name, end in links.items() if end is not None}
    order = [f"/{name}" for name in sorted(sources, key=os.fsencode)]
    twice_signed = desk / "twice.spkg"

    signed = spkg("sign", package, "--digest", "sha256", "-o", twice_signed, *signer(desk))
    verified = done("verify", twice_signed, *trusted(desk), "--digests", "sha256")
    with TemporaryDirectory(dir=desk) as place:
        extracted = done("extract", twice_signed, place, *trusted(desk))
        found = {name_of(file, Path(place)): file for file in Path(place).rglob("*") if not file.is_dir()}
        same = [name for name, file in found.items() if contents(file) == contents(sources[name])]
        real = [file for file in found.values() if not file.is_symlink()]

    assert signed.exit_code == 0
    assert [file["path"] for file in verified["files"]] == order
    assert [file["path"] for file in extracted["files"]] == order
    assert sorted(found) == sorted(same) == sorted(sources)
    assert len(real) == len(found)


def test_equal_files_are_stored_once(package: Path, regular: dict[str, Path]) -> None:
    different = {file.read_bytes() for file in regular.values()}

    header = done("inspect", package)["header"]

    assert header["payload_length"] == sum(map(len, different))


def test_another_copy_of_the_tree_gives_the_same_octets(
    desk: Path, tree: Path, package: Path, links: dict[str, Path | None]
) -> None:
    shutil.copytree(tree, desk / "copied", symlinks=True, copy_function=shutil.copy)
    manifest = write_manifest(desk / "copied.toml", "copy", leave_out(links), "copied")

    again = build(manifest, desk / "again.spkg")

    assert again.read_bytes() == package.read_bytes()


def test_a_manifest_that_was_extracted_gives_the_same_octets(desk: Path, package: Path) -> None:
    with TemporaryDirectory(dir=desk) as place:
        extracted = done("extract", package, place, "--manifest", *trusted(desk))
        again = build(Path(place) / "manifest.toml", desk / "rebuilt.spkg")

    assert extracted["rebuilds"] is True
    assert again.read_bytes() == package.read_bytes()


def test_the_firmware_is_installed_over_an_older_one(
    desk: Path, tree: Path, package: Path, links: dict[str, Path | None], regular: dict[str, Path]
) -> None:
    sources = regular | {name: end for name, end in links.items() if end is not None}
    with TemporaryDirectory(dir=desk) as place:
        root = Path(place) / "root"
        shutil.copytree(tree, root, symlinks=True, copy_function=shutil.copy)
        (root / "etc/households-own").write_text("kept")
        older, gone = sorted(regular)[:2]
        (root / older).write_bytes(b"of an older release")
        (root / gone).unlink()

        result = spkg("apply", package, "--root", root, *trusted(desk), "--json")

        assert result.exit_code == 0, result.output
        document = json.loads(result.stdout.splitlines()[-1])
        same = [name for name, file in sources.items() if contents(root / name) == contents(file)]
        changed = {(change["path"], change["replaces"]) for change in document["changes"]}
        left = {name for name, end in links.items() if end is None if (root / name).is_symlink()}
        kept = (root / "etc/households-own").read_text()
    assert document["status"] == "installed"
    assert sorted(same) == sorted(sources)
    assert changed == {
        (f"/{name}", None if name == gone else "symbolic link" if name in links else "file")
        for name in sources
    }
    assert left == set(leave_out(links))
    assert kept == "kept"
