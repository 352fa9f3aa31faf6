"""The locked environments are complete: what one library needs of another is locked, with its extras."""

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS: Final = sorted((Path(__file__).parents[2] / ".requirements").glob("*.lock"))
Locked = dict[str, tuple[str, frozenset[str]]]
"""The version and the extras of each library."""


def locked(text: str) -> Locked:
    lines = re.findall(r"^([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?==([^\s;]+)", text, re.MULTILINE)
    return {
        canonicalize_name(name): (version, frozenset(filter(None, extras.split(","))))
        for name, extras, version in lines
    }


def needed(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """Give what an installed library requires here, with some of its extras."""
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        ):
            yield requirement


def problems(lock: Locked) -> Iterator[str]:
    """Give what is wrong with a lock, by the metadata of what is installed."""
    for name, (version, extras) in lock.items():
        try:
            if metadata.version(name) != version:
                continue
        except metadata.PackageNotFoundError:
            continue
        for requirement in needed(name, extras):
            found, with_extras = lock.get(canonicalize_name(requirement.name), ("", frozenset()))
            if not found or not requirement.specifier.contains(found, prereleases=True):
                yield f"{name} requires {requirement}, and {found or 'nothing'} is locked"
            elif not requirement.extras <= with_extras:
                yield f"{name} requires {requirement}, and its extras are not locked"


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_has_all_that_its_libraries_require(path: Path) -> None:
    lock = locked(path.read_text())

    found = [*problems(lock)]

    assert found == []
    assert len(lock) >= 7


def test_all_that_is_locked_for_tests_is_what_is_installed() -> None:
    lock = locked((LOCKS[0].parent / "test.lock").read_text())

    installed = {name: metadata.version(name) for name in lock}

    assert installed == {name: version for name, (version, _) in lock.items()}


def test_a_lock_without_an_extra_is_found() -> None:
    text = (LOCKS[0].parent / "test.lock").read_text()
    assert "coverage[toml]==" in text

    found = [*problems(locked(text.replace("coverage[toml]==", "coverage==")))]

    assert len(found) == 1
    assert found[0].startswith("pytest-cov requires coverage[toml]")


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_has_a_hash_for_every_library_and_names_no_host(path: Path) -> None:
    text = path.read_text()

    entries = re.findall(r"^[A-Za-z0-9].*(?:\n    --hash=sha256:[0-9a-f]{64}.*)+", text, re.MULTILINE)

    assert len(entries) == len(locked(text))
    assert "://" not in text
