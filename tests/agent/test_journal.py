"""The log: what is kept in memory, what reaches the disk, and how much of it."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spkg.agent.journal import Journal, read_log

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def journal(path: Path | None, size: int = 4096, **more: Any) -> Journal:
    return Journal(path, size, lambda: AT, **more)


def texts(path: Path) -> list[str]:
    return [entry["text"] for entry in read_log(path, 1 << 20)]


def test_only_lasting_entries_reach_the_disk(tmp_path: Path) -> None:
    log = journal(tmp_path / "log")

    log.note("session", "quiet")
    log.note("transfer", "a download begins", lasting=True, command_key="k")

    assert texts(tmp_path / "log") == ["a download begins"]
    assert [entry["text"] for entry in log.last(9)] == ["quiet", "a download begins"]
    assert [*read_log(tmp_path / "log", 1 << 20)] == [
        {
            "time": "2026-01-31T12:00:00Z",
            "kind": "transfer",
            "text": "a download begins",
            "command_key": "k",
        }
    ]


def test_what_was_put_in_the_place_of_the_log_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "hidden").write_text('{"time": null, "kind": "x", "text": "hidden"}\n')
    (tmp_path / "log").symlink_to("hidden")
    os.mkfifo(tmp_path / "log.1")

    assert texts(tmp_path / "log") == []
    (tmp_path / "log").unlink()
    (tmp_path / "log").write_text("[" * 100_000 + '\n{"time": null, "kind": "x", "text": "whole"}\n')
    assert texts(tmp_path / "log") == ["whole"]


def test_nothing_is_written_for_what_is_not_lasting(tmp_path: Path) -> None:
    log = journal(tmp_path / "log")

    for _ in range(100):
        log.note("session", "over")

    assert [*tmp_path.iterdir()] == []


def test_the_same_failure_again_and_again_is_written_once(tmp_path: Path) -> None:
    log = journal(tmp_path / "log")

    for _ in range(5):
        log.note("failure", "no way to the server", lasting=True)
        log.note("session", "begins")
    log.note("failure", "another", lasting=True)
    log.note("failure", "no way to the server", lasting=True)

    assert texts(tmp_path / "log") == ["no way to the server", "another", "no way to the server"]


def test_the_files_never_exceed_the_size(tmp_path: Path) -> None:
    log = journal(tmp_path / "log", 4096)

    for number in range(200):
        log.note("failure", f"number {number} {'x' * 100}", lasting=True)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 4096

    assert texts(tmp_path / "log")[-1].startswith("number 199 ")
    assert len(texts(tmp_path / "log")) > 10


def test_an_entry_longer_than_the_file_is_cut(tmp_path: Path) -> None:
    log = journal(tmp_path / "log", 512)

    log.note("failure", "x" * 1000, lasting=True)

    assert (tmp_path / "log").stat().st_size <= 256
    assert texts(tmp_path / "log") == []


def test_lines_that_a_power_cut_damaged_are_left_out(tmp_path: Path) -> None:
    lines = (
        b'{"time": null, "kind": "failure", "text": "whole"}',
        b"[1]",
        b'{"time": null, "kind": "failure", "text": 1}',
        b'{"time": 1, "kind": "failure", "text": "x"}',
        b'{"kind": "failure", "text": "x"}',
        b'{"time": null, "text": "x"}',
        b"\xff\xfe",
        b'{"text": "cut o',
    )
    (tmp_path / "log").write_bytes(b"\n".join(lines))

    assert texts(tmp_path / "log") == ["whole"]


def test_an_entry_after_one_that_was_cut_off_is_whole(tmp_path: Path) -> None:
    for text in ("before", "cut off"):
        journal(tmp_path / "log").note("failure", text, lasting=True)
    os.truncate(tmp_path / "log", (tmp_path / "log").stat().st_size - 9)

    journal(tmp_path / "log").note("failure", "after", lasting=True)

    assert texts(tmp_path / "log") == ["before", "after"]


def test_after_a_restart_the_log_goes_on(tmp_path: Path) -> None:
    log = journal(tmp_path / "log")
    log.note("session", "quiet")
    log.note("failure", "no way", lasting=True)

    again = journal(tmp_path / "log")
    again.note("session", "begins")

    assert [entry["text"] for entry in again.last(9)] == ["no way", "begins"]
    assert texts(tmp_path / "log") == ["no way"]


def test_control_characters_of_others_are_shown_escaped(tmp_path: Path) -> None:
    log = journal(tmp_path / "log")

    log.note("failure", "a\x1b[31mb\n", lasting=True)

    assert "\x1b" not in (tmp_path / "log").read_text()
    assert "\n" not in texts(tmp_path / "log")[0]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    log = journal(tmp_path / "missing" / "log")

    log.note("failure", "no disk", lasting=True)

    assert [entry["text"] for entry in log.last(1)] == ["no disk"]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "victim")

    journal(tmp_path / "log").note("failure", "x", lasting=True)

    assert not (tmp_path / "victim").exists()


def test_envelopes_are_kept_only_while_traces_are_on(tmp_path: Path) -> None:
    log = journal(tmp_path / "log")

    log.trace("sent", "<a/>")
    log.traces = True
    log.trace("sent", "<b/>")

    assert [(entry["kind"], entry["direction"], entry["text"]) for entry in log.last(9)] == [
        ("trace", "sent", "<b/>")
    ]


def test_without_a_clock_an_entry_has_no_time() -> None:
    seen: list[dict[str, Any]] = []
    log = Journal(None, 4096, lambda: None, seen.append)

    log.note("session", "begins", lasting=True)

    assert json.loads(json.dumps(seen)) == [{"time": None, "kind": "session", "text": "begins"}]
