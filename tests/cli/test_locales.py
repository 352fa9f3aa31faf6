"""Names in packages and manifests are UTF-8 on disk, and all else is shown, whatever the locale."""

import json
import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.commands import process, run
from tests.support.package_files import KEY, TRUST, furnish

ASCII: Final = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": "utf-8"}
"""A locale that every system has, and no character beyond ASCII."""
LATIN_1: Final = "en_US.ISO-8859-1"
NAMES: Final = ("/datä/f", "/需求")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


@pytest.fixture(params=["ascii", pytest.param("latin-1", marks=pytest.mark.judge("localedef"))])
def locale(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a locale that is not UTF-8."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "PYTHON"))}
    if request.param == "ascii":
        return settings | ASCII
    place = tmp_path_factory.mktemp("locales")
    # It warns about what it does not need, and says so by its status.
    subprocess.run(
        ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(place / LATIN_1)],
        check=False,
        stderr=subprocess.DEVNULL,
    )
    assert (place / LATIN_1).is_dir()
    return settings | {
        "LOCPATH": str(place),
        "LC_ALL": LATIN_1,
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "utf-8",
    }


def below(directory: str) -> list[bytes]:
    """Return the files below a directory, as the octets of their names."""
    return sorted(
        os.path.relpath(os.path.join(place, name), os.fsencode(directory))  # noqa: PTH118 - octets
        for place, _, names in os.walk(os.fsencode(directory))
        for name in names
    )


def build(*names: str) -> None:
    """Write m.spkg, with a file for each path."""
    steps = "".join(f'[[step]]\nextract = "{one}"\nfrom = "app"\n' for one in names)
    Path("m.toml").write_text(steps, encoding="utf-8")
    assert run("build", "m.toml", "-o", "m.spkg", *KEY).exit_code == 0


def test_extract_and_apply_write_the_names_of_the_package(locale: dict[str, str]) -> None:
    build(*NAMES)
    Path("root").mkdir()

    extracted = process("extract", "m.spkg", "out", *TRUST, env=locale)
    applied = process("apply", "m.spkg", "--root", "root", *TRUST, env=locale)

    assert (extracted.returncode, extracted.stderr) == (0, "")
    assert applied.returncode == 0
    assert below("out") == sorted(one[1:].encode() for one in NAMES)
    for one in NAMES:
        assert Path(f"root{one}").is_file()


def test_what_was_extracted_with_a_manifest_builds_the_same_package(locale: dict[str, str]) -> None:
    build(*NAMES)

    extracted = process("extract", "m.spkg", "out", "--manifest", *TRUST, env=locale)
    built = process("build", "out/manifest.toml", "-o", "again.spkg", "--unsigned", env=locale)

    assert (extracted.returncode, extracted.stderr) == (0, "")
    assert (built.returncode, built.stderr) == (0, "")
    assert below("out") == [b"manifest.toml", *(b"rootfs" + one.encode() for one in NAMES)]
    kept = run("inspect", "m.spkg", "--json"), run("inspect", "again.spkg", "--json")
    one, other = (json.loads(result.stdout) for result in kept)
    assert one["header"] == other["header"]
    assert one["commands"] == other["commands"]


def test_a_tree_of_utf_8_names_gives_the_package_of_any_other_locale(locale: dict[str, str]) -> None:
    for name in (*NAMES, "/übrig"):
        path = Path(f"tree{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    Path("m.toml").write_text(
        '[[step]]\nextract-tree = "/"\nfrom = "tree"\nexclude = ["übrig"]\n', encoding="utf-8"
    )

    built = process("build", "m.toml", "-o", "there.spkg", "--unsigned", env=locale)
    run("build", "m.toml", "-o", "here.spkg", "--unsigned")

    assert (built.returncode, built.stderr) == (0, "")
    assert Path("there.spkg").read_bytes() == Path("here.spkg").read_bytes()


def test_a_source_that_is_missing_is_named_as_the_manifest_has_it(locale: dict[str, str]) -> None:
    Path("m.toml").write_text('[[step]]\nextract = "/f"\nfrom = "datä"\n', encoding="utf-8")

    result = process("build", "m.toml", "-o", "m.spkg", "--unsigned", env=locale)

    assert result.returncode == 9
    assert result.stderr == "spkg: error: m.toml:3: step[0].from: datä: no such file or directory\n"


@pytest.mark.judge("localedef")
@pytest.mark.parametrize("locale", ["latin-1"], indirect=True)
def test_what_is_shown_has_the_encoding_of_the_terminal(locale: dict[str, str]) -> None:
    build("/datä/f", "/€")
    del locale["PYTHONIOENCODING"]

    result = process("inspect", "m.spkg", env=locale, encoding="latin-1")

    assert (result.returncode, result.stderr) == (0, "")
    assert "Extract File  /datä/f, 21 bytes\n" in result.stdout
    assert "Extract File  /\\u20ac, 21 bytes\n" in result.stdout


@pytest.mark.parametrize("args", ["verify {} --json", "inspect {} --json", "extract {} out --json"])
def test_json_has_no_lone_surrogates(args: str) -> None:
    name = b"d\xe4.spkg"

    words = [name if word == "{}" else word.encode() for word in args.split()]
    result = process(*words, *(one.encode() for one in TRUST if "inspect" not in args))

    assert result.returncode == 9
    assert "d\\xe4.spkg" in json.loads(result.stdout)["message"]
    assert r"\ud" not in result.stdout
    assert r"d\xe4.spkg" in result.stderr
