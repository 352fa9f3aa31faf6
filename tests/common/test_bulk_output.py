"""Outputs of many files: whole, or left aside to be begun anew."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from spkg.common.atomic_output import bulk_directory
from spkg.errors import HostError, UsageError
from tests.support.planted_tree import listing


@pytest.mark.parametrize("kind", ["file", "link to a cut-off one", "no marker"])
def test_what_only_looks_like_a_cut_off_output_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    (other := tmp_path / "other").mkdir()
    (other / ".unfinished").touch()
    (other / "diary").write_text("dear")
    part = tmp_path / "out.part"
    match kind:
        case "file":
            part.write_text("dear")
        case "no marker":
            part.mkdir()
            (part / "rejected.csv").touch()
        case _:
            part.symlink_to(other)

    with pytest.raises(UsageError) as caught, bulk_directory(tmp_path / "out"):
        pytest.fail("work was done for an output that is refused")

    assert str(caught.value) == f"{part} exists, and is not an interrupted bulk output"
    assert os.path.lexists(part)
    assert listing(other) == {".unfinished": b"", "diary": b"dear"}


@pytest.mark.parametrize("kind", ["directory", "file", "link to nothing"])
def test_an_output_that_is_there_is_refused(tmp_path: Path, kind: str) -> None:
    match kind:
        case "directory":
            (tmp_path / "out").mkdir()
        case "file":
            (tmp_path / "out").write_text("dear")
        case _:
            (tmp_path / "out").symlink_to("nowhere")
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part/.unfinished").touch()

    with pytest.raises(UsageError) as caught, bulk_directory(tmp_path / "out"):
        pytest.fail("work was done for an output that is refused")

    assert str(caught.value) == f"{tmp_path}/out already exists"
    assert listing(tmp_path / "out.part") == {".unfinished": b""}


def test_a_bulk_output_appears_when_it_is_whole(tmp_path: Path) -> None:
    with bulk_directory(tmp_path / "out") as part:
        (part / "a").write_bytes(b"ours")
        assert part == tmp_path / "out.part"
        assert not (tmp_path / "out").exists()

    assert listing(tmp_path / "out") == {"a": b"ours"}
    assert not part.exists()


def test_a_bulk_output_that_was_cut_off_is_begun_anew(tmp_path: Path) -> None:
    part = tmp_path / "out.part"
    with pytest.raises(KeyboardInterrupt):
        cut_off(tmp_path / "out")
    left = listing(part)

    with bulk_directory(tmp_path / "out") as again:
        assert again == part
        assert listing(part) == {".unfinished": b""}

    assert left == {".unfinished": b"", "a": b"ours"}
    assert listing(tmp_path / "out") == {}


def fill(path: Path, meanwhile: Callable[[], object]) -> None:
    """Make a bulk output of one file, and something else while it is made."""
    with bulk_directory(path) as part:
        (part / "a").write_bytes(b"ours")
        meanwhile()


def cut_off(path: Path) -> None:
    """Make a bulk output and be interrupted."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    fill(path, interrupt)


def test_a_bulk_output_that_was_not_begun_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), bulk_directory(tmp_path / "out"):
        raise KeyboardInterrupt

    assert listing(tmp_path).keys().isdisjoint({"out", "out.part"})


def test_an_output_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    part = tmp_path / "out.part"

    with pytest.raises(UsageError) as caught:
        fill(tmp_path / "out", (tmp_path / "out").mkdir)

    assert str(caught.value) == f"{tmp_path}/out was created in the meantime; the output is in {part}"
    assert listing(tmp_path / "out") == {}
    assert listing(part) == {".unfinished": b"", "a": b"ours"}


def test_a_bulk_output_is_written_by_one_at_a_time(tmp_path: Path) -> None:
    part = tmp_path / "out.part"
    with bulk_directory(tmp_path / "out"):
        (part / "a").write_bytes(b"ours")

        with pytest.raises(UsageError) as caught, bulk_directory(tmp_path / "out"):
            pytest.fail("two write one output")

    assert str(caught.value) == f"{part} is being written by another run"
    assert listing(tmp_path / "out") == {"a": b"ours"}


def test_what_was_not_confirmed_is_started_over(tmp_path: Path) -> None:
    def fail() -> None:
        assert (tmp_path / "out/a").read_text() == "one"
        raise HostError("no")

    with pytest.raises(HostError, match="no"), bulk_directory(tmp_path / "out", fail) as part:
        (part / "a").write_text("one")

    done: list[bool] = []
    with bulk_directory(tmp_path / "out", lambda: done.append(True)) as part:
        assert not (tmp_path / "out").exists()
        (part / "b").write_text("two")

    assert done == [True]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b"]


def test_what_another_run_is_about_to_confirm_is_left_to_it(tmp_path: Path) -> None:
    def meanwhile() -> None:
        with pytest.raises(UsageError) as caught, bulk_directory(tmp_path / "out"):
            pass
        assert str(caught.value) == f"{tmp_path}/out is being written by another run"

    with bulk_directory(tmp_path / "out", meanwhile) as part:
        (part / "a").touch()

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
