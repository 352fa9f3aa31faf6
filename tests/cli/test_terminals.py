"""Terminals: colours and progress, where somebody wants them."""

import os
import pty
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path

import pytest

from spkg.cli.console import LONG_WORK
from spkg.common.times import write_time
from tests.support import acs_files
from tests.support.commands import NO_TRUST, PATIENCE, main, run
from tests.support.package_files import TRUST, furnish


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, with a package, its key and its root."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def on_terminal(*args: str) -> tuple[int, str]:
    """Run the program in this process with a terminal as its standard output and error."""

    def read_all(descriptor: int) -> bytes:
        octets = b""
        while True:
            try:
                octets += os.read(descriptor, 1 << 16)
            except OSError:  # EIO: so a terminal ends that nobody writes to any more
                os.close(descriptor)
                return octets

    master, slave = pty.openpty()
    with ThreadPoolExecutor(max_workers=1) as pool:
        shown = pool.submit(read_all, master)
        with (
            open(slave, "w", encoding="utf-8") as screen,  # noqa: PTH123 - it has no path
            redirect_stdout(screen),
            redirect_stderr(screen),
            pytest.raises(SystemExit) as ended,
        ):
            main.main(args, prog_name="spkg")
        text = shown.result(timeout=PATIENCE).decode()
    assert isinstance(ended.value.code, int)
    return ended.value.code, text.replace("\r\n", "\n")


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that can do all that any can, whatever the one that runs the tests is."""
    for variable in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def test_a_terminal_has_colours(colours: None) -> None:
    assert on_terminal("verify", "p.spkg", *TRUST) == (
        0,
        (
            "\x1b[32msignature 0: CN=Test Signer, sha1: accepted\x1b[0m\n"
            "  trusted through CN=Test Root\n"
            "files: 1 of 1 match the signed digests, 21 bytes\n"
            "\x1b[32mtrusted\x1b[0m\n"
        ),
    )
    assert on_terminal("diff", "p.spkg", "u.spkg") == (
        10,
        (
            "\x1b[1mno file added, removed or changed\x1b[0m\n"
            "\x1b[1msigners\x1b[0m\n\x1b[33m- signer: CN=Test Signer, serial 03E8, sha1\x1b[0m\n"
        ),
    )
    assert on_terminal("verify", "p.spkg") == (
        2,
        (
            f"\x1b[31m\x1b[1mspkg: error:\x1b[0m {NO_TRUST[0]}\n"
            f"\x1b[36m\x1b[1mspkg: hint:\x1b[0m {NO_TRUST[1]}\n"
        ),
    )


def test_a_terminal_has_no_colours_where_nobody_wants_them(
    colours: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    verified, refused = on_terminal("verify", "p.spkg", *TRUST), on_terminal("verify", "p.spkg")

    assert verified == (0, run("verify", "p.spkg", *TRUST).stdout)
    assert refused == (2, run("verify", "p.spkg").stderr)


def test_a_terminal_that_can_do_nothing_has_no_colours(
    colours: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")

    assert on_terminal("verify", "p.spkg", *TRUST) == (0, run("verify", "p.spkg", *TRUST).stdout)


def test_documents_have_no_colours(colours: None) -> None:
    status, text = on_terminal("verify", "p.spkg", *TRUST, "--json")

    assert (status, text) == (0, run("verify", "p.spkg", *TRUST, "--json").stdout)


@pytest.fixture
def long_work() -> None:
    """A manifest of a package that is long work to build."""
    with Path("big").open("wb") as big:
        big.truncate(LONG_WORK)
    Path("m.toml").write_text('[[step]]\nextract = "/big"\nfrom = "big"\n')


def test_long_work_draws_its_progress_on_a_terminal_and_wipes_it(colours: None, long_work: None) -> None:
    status, text = on_terminal("build", "m.toml", "-o", "new.spkg", "--unsigned")

    assert status == 0
    assert "building" in text
    assert text.endswith("new.spkg: 2 commands, 1 file, payload of 32.0 MiB, not signed\x1b[0m\n")


def test_renewals_are_counted_on_a_terminal(colours: None) -> None:
    acs_files.furnish()
    soon = write_time(acs_files.now() - timedelta(days=10))
    Path("options.toml").write_text(
        acs_files.OPTIONS.replace("2026-05-01T00:00:00Z", soon).replace("Months", "Days")
    )
    assert run(*acs_files.MANY, "--out-dir", "out").exit_code == 0

    status, text = on_terminal(
        *("voucher", "renew", *acs_files.LEDGER, *acs_files.KEY, "--within", "30d"),
        *("--batch", "next", "--jobs", "1", "--out-dir", "next"),
    )

    assert status == 0
    assert "renewing" in text
    assert re.search(r"3/3\b", text)
    assert text.endswith("next: 3 vouchers, batch next\x1b[0m\n")


def test_progress_is_drawn_only_where_it_is_wanted(colours: None, long_work: None) -> None:
    unwanted = on_terminal("build", "m.toml", "-o", "a.spkg", "--unsigned", "--no-progress")
    off_terminal = run("build", "m.toml", "-o", "b.spkg", "--unsigned")
    short = on_terminal("build", "m.toml", "-o", "/proc/c.spkg", "--unsigned")

    assert unwanted == (
        0,
        "\x1b[32ma.spkg: 2 commands, 1 file, payload of 32.0 MiB, not signed\x1b[0m\n",
    )
    assert (off_terminal.exit_code, off_terminal.stderr) == (0, "")
    assert off_terminal.stdout == "b.spkg: 2 commands, 1 file, payload of 32.0 MiB, not signed\n"
    assert short[0] == 9
