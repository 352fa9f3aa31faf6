"""Every vector through everything that reads packages, and every vector made again from its keys."""

import importlib
import io
import json
import os
import pkgutil
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner

from cli import main
from spkg.errors import FormatError, RefusedError, SpkgError
from spkg.format.package import Package, survey
from spkg.verify.contents import DamagedPayloadError, check_payload
from spkg.verify.payload import open_package
from spkg.verify.signatures import UntrustedPackageError, verify_package
from tests.support import kit
from tests.vectors import make
from tests.vectors.make.base import HERE, VECTORS, Vector, load

for module in pkgutil.iter_modules(make.__path__):
    importlib.import_module(f"{make.__name__}.{module.name}")

NAMES = sorted(path.stem for path in HERE.glob("*.vec"))
AT = kit.AT.isoformat()
VERDICTS = {0: "trusted", 3: "malformed", 4: "untrusted", 5: "refused"}


def outcome(path: Path) -> str:
    """Return what our own library says of a package, in the words of the vectors."""
    try:
        with open_package(path) as (package, payload):
            trusted = verify_package(package, kit.policy(), at=kit.AT)
            check_payload(trusted, payload)
    except FormatError as exc:
        assert exc.offset is not None  # noqa: PT017 - the outcome is what is returned
        return f"format error at 0x{exc.offset:x}"
    except DamagedPayloadError as exc:
        return f"damaged: {exc.problem}"
    except UntrustedPackageError as exc:
        return f"untrusted: {exc.problem}"
    except RefusedError as exc:
        return f"refused: {exc.problem}"
    return "trusted"


def feed(write_end: int, octets: bytes) -> None:
    """Write to a pipe until the reader has seen enough."""
    with suppress(BrokenPipeError), os.fdopen(write_end, "wb") as pipe:
        pipe.write(octets)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return tmp_path / "vector.spkg"


@pytest.mark.parametrize("name", NAMES)
def test_the_library_says_what_the_vector_expects(name: str, package: Path) -> None:
    vector = load(HERE / f"{name}.vec")
    package.write_bytes(vector.octets)

    assert outcome(package) == vector.expect


@pytest.mark.parametrize("name", NAMES)
def test_the_error_names_the_section(name: str, package: Path) -> None:
    vector = load(HERE / f"{name}.vec")
    package.write_bytes(vector.octets)

    section: str | None = vector.section
    try:
        with open_package(package):
            pass
    except FormatError as exc:
        section = exc.section

    assert section == vector.section


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_gives_the_status_and_one_line(name: str, package: Path) -> None:
    vector = load(HERE / f"{name}.vec")
    package.write_bytes(vector.octets)
    status = {"trusted": 0, "format": 3, "untrusted": 4, "damaged": 4, "refused": 5}[
        vector.expect.split(" ")[0].rstrip(":")
    ]

    result = CliRunner().invoke(
        main, ["verify", "--json", "--at", AT, "--trust", str(HERE / "root.pem"), str(package)]
    )

    assert result.exit_code == status
    errors = [line for line in result.stderr.splitlines() if not line.startswith("spkg: hint: ")]
    assert len(errors) == (status != 0)
    assert json.loads(result.stdout)["verdict"] == VERDICTS[status]


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_gives_the_same_verdict_as_a_file(name: str) -> None:
    vector = load(HERE / f"{name}.vec")
    read_end, write_end = os.pipe()
    feeder = Thread(target=feed, args=(write_end, vector.octets))
    feeder.start()

    try:
        with os.fdopen(read_end, "rb") as stream, open_package(stream) as (package, payload):
            check_payload(verify_package(package, kit.policy(), at=kit.AT), payload)
        said = "trusted"
    except SpkgError as exc:
        said = str(exc)
    feeder.join()

    assert (said == "trusted") == (vector.expect == "trusted")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_accepted_encodes_back_to_the_same_octets(name: str) -> None:
    vector = load(HERE / f"{name}.vec")
    if vector.expect.startswith("format error"):
        return

    package = Package.read(io.BytesIO(vector.octets))

    assert package.encode() == vector.octets[: package.payload_offset]


@pytest.mark.parametrize("name", NAMES)
def test_inspect_shows_all_that_frames(name: str, package: Path) -> None:
    vector = load(HERE / f"{name}.vec")
    package.write_bytes(vector.octets)

    result = CliRunner().invoke(main, ["inspect", "--json", str(package)])

    assert result.exit_code == (3 if vector.expect.startswith("format error") else 0)
    document = json.loads(result.stdout)
    if document["schema"] == "spkg.inspect/1":
        surveyed = survey(io.BytesIO(vector.octets))
        assert len(document["commands"]) == len(surveyed.commands)
        assert bool(document["problems"]) == (result.exit_code == 3)


@pytest.mark.parametrize("name", sorted(VECTORS))
def test_a_vector_is_made_again_from_its_keys(name: str) -> None:
    assert load(HERE / f"{name}.vec") == VECTORS[name]()


def test_every_vector_has_its_maker() -> None:
    assert sorted(VECTORS) == NAMES


def test_the_root_of_the_vectors_is_that_of_the_kit() -> None:
    assert (HERE / "root.pem").read_bytes() == kit.root().pem


def write_all() -> None:
    """Write the vectors; each is then to be read over before it is committed."""
    (HERE / "root.pem").write_bytes(kit.root().pem)
    for made in VECTORS.values():
        vector: Vector = made()
        (HERE / f"{vector.name}.vec").write_bytes(vector.encode())


if __name__ == "__main__":
    write_all()
