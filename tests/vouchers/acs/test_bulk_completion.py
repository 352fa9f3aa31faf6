"""A bulk run that was cut off anywhere is completed by the next one, whoever else runs the same batch."""

import csv
import json
from pathlib import Path
from typing import Final

import pytest

from spkg.errors import HostError
from tests.support.acs_files import (
    MANY,
    ONE,
    PATIENCE,
    QUICK,
    assert_issued,
    device,
    entries,
    failed,
    furnish,
    new_ledger,
    states,
    write_list,
)
from tests.support.commands import run
from tests.support.issuing import process, run_killed, run_killed_at_commit, wait
from tests.support.kit import AT
from tests.support.postgres import new_database, postgres
from tests.support.sampling import few
from tests.support.voucher_kit import signatory
from vouchers.acs import given_serials
from vouchers.acs.bulk import DEVICES_AT_ONCE, BulkOrder, issue_many
from vouchers.acs.device_list import read_devices
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_audit import audit_ledger
from vouchers.acs.ledger_entry import SerialState
from vouchers.acs.ledger_wants import Want
from vouchers.acs.serial_log import NUMBERS_AT_ONCE, SerialLog
from vouchers.acs.templates import Template, load_options
from vouchers.acs.voucher_form import VoucherForm
from vouchers.signature.sign import VoucherSigner

TOGETHER: Final = 3 * DEVICES_AT_ONCE


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in: a key, Options, a device, a list of three, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


# Killed just before a transaction of the ledger is committed.


COMMITS: Final = 4
"""Opening the ledger, looking for the batch, reserving and confirming."""


@pytest.mark.part("vouchers", turns=True, few=4)
@pytest.mark.parametrize("number", range(1, COMMITS + 1))
@pytest.mark.parametrize("change", few(["both", "order", "directory", "nothing"], every=4, part="vouchers"))
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_run_killed_at_any_commit_is_completed(number: int, change: str, kind: str) -> None:
    url = "ledger.db" if kind == "sqlite" else postgres().url(new_database())
    new_ledger(url)
    args = [url if one == "ledger.db" else one for one in MANY]
    run_killed_at_commit(number, *args, "--out-dir", "out")
    before = states(url)
    if change in {"order", "both"}:
        write_list([2, 0, 1])
    directory = "other" if change in {"directory", "both"} else "out"

    result = run(*args, "--out-dir", directory, "--json")

    last = json.loads(result.stdout.splitlines()[-1])
    assert result.exit_code == 0
    assert (last["event"], last["issued"], last["confirmed"], last["rejected"]) == ("result", 3, 3, 0)
    assert_issued(3, directory, url=url)
    assert [one[:3] for one in states(url)][: len(before)] == [one[:3] for one in before]
    assert right(url)


def right(url: str) -> bool:
    """Whether the books are."""
    with Ledger(url, lambda: AT, create=False) as ledger:
        return audit_ledger(ledger).problems == ()


def test_a_run_confirms_what_it_wrote_though_another_took_it_over_and_died() -> None:
    Path("ours").mkdir()
    signer, order = VoucherSigner(signatory(QUICK)), BulkOrder(templates=options(), batch="may")
    wants = [Want(device=device(number), templates=options()) for number in range(3)]
    with Ledger("ledger.db", lambda: AT) as ledger, SerialLog() as log:
        issue_many(order, read_devices(Path("devices.csv")), Path("ours"), signer, ledger, log=log)
        # The same, by a run that is killed before it has written anything.
        ledger.reserve(wants, run="dead", batch="may", signer=signer.key_id)

        assert ledger.confirm_all(log) == 6

    assert_issued(3, "ours")


def options() -> tuple[Template, ...]:
    return load_options(Path("options.toml"))


def test_two_runs_of_one_batch_at_once_leave_nothing_reserved() -> None:
    write_list(range(TOGETHER))
    runs = [process(*MANY, "--out-dir", name) for name in ("one", "two", "three")]
    wait(lambda: any(Path(f"{name}.part/vouchers.ndjson").exists() for name in ("one", "two", "three")))
    runs[2].kill()

    said = [begun.communicate(timeout=PATIENCE) for begun in runs]

    assert [begun.returncode for begun in runs[:2]] == [0, 0], said
    assert_issued(TOGETHER, "one")
    assert_issued(TOGETHER, "two")
    assert right("ledger.db")


def test_of_two_issuers_with_other_options_one_is_refused() -> None:
    write_list(range(TOGETHER))
    Path("one.toml").write_text(ONE)
    with_one = ["one.toml" if word == "options.toml" else word for word in MANY]
    runs = [process(*MANY, "--out-dir", "all"), process(*with_one, "--out-dir", "few")]

    said = [begun.communicate(timeout=PATIENCE) for begun in runs]

    assert sorted(begun.returncode for begun in runs) == [0, 5], said
    (refused,) = (told for begun, (_, told) in zip(runs, said, strict=True) if begun.returncode == 5)
    assert refused == (
        "spkg: error: the batch may was begun with other Options\n"
        "spkg: hint: give changed Options another --batch\n"
    )
    kept = entries()
    assert len({one.serial_number for one in kept}) == TOGETHER
    assert len({(one.serial_number, one.option) for one in kept}) == len(kept)
    assert len({one.option for one in kept}) * TOGETHER == len(kept)
    assert {one.state for one in kept} == {SerialState.ISSUED}


def test_a_refused_batch_leaves_no_output() -> None:
    assert run(*MANY, "--out-dir", "out").exit_code == 0
    Path("options.toml").write_text(ONE)

    result = run(*MANY, "--out-dir", "again")

    told = "the batch may was begun with other Options"
    assert failed(result, 5, told, "give changed Options another --batch")
    assert not Path("again").exists()
    assert not Path("again.part").exists()


def test_an_unconfirmed_output_beside_an_unfinished_one_is_no_dead_end() -> None:
    args = (*MANY, "--format", "xml", "--out-dir", "out")
    run_killed("open", ".", *args)
    assert Path("out/.unfinished").exists()
    for left in ((), ("1.xml", ".unfinished")):  # where another run was killed, early and later
        Path("out.part").mkdir()
        for name in left:
            Path("out.part", name).touch()

        result = run(*args)

        assert result.exit_code == 0
        assert not Path("out.part").exists()
        assert {state for *_, state in states()} == {"issued"}
        Path("out/.unfinished").touch()


def test_a_log_of_serial_numbers_keeps_millions_in_their_order() -> None:
    numbers = [*range(3 * NUMBERS_AT_ONCE, 0, -1), 1 << 32]

    with SerialLog() as log:
        log.add(iter(numbers[:5]))
        log.add(numbers[5:])

        assert len(log) == len(numbers)
        assert [*log] == numbers


APART: Final = DEVICES_AT_ONCE + 1
"""So many lines are between two of the same device that they are in different transactions."""


@pytest.mark.parametrize("form", VoucherForm)
def test_a_device_twice_in_a_list_gets_one_voucher_though_another_run_was_given_it_between(
    form: VoucherForm,
) -> None:
    write_list([*range(APART), 0, 1])
    Path("ours").mkdir()
    signer = VoucherSigner(signatory(QUICK))
    order = BulkOrder(templates=options(), batch="may", form=form)
    wants = [Want(device=device(number), templates=options()) for number in range(2)]

    with Ledger("ledger.db", lambda: AT) as ledger, SerialLog() as log:

        def by_another_run(_done: int) -> None:
            ledger.reserve(wants, run=ledger.new_run(), batch="may", signer=signer.key_id)

        report = issue_many(
            *(order, read_devices(Path("devices.csv")), Path("ours"), signer, ledger),
            log=log,
            progress=by_another_run,
        )

        assert ledger.confirm_all(log) == 2 * APART
    assert (report.issued, report.rejected) == (APART, 2)
    assert [one.serial for one in entries()] == [*range(1, 2 * APART + 1)]
    assert sorted(int(one) for one in first_serials(form)) == [*range(1, 2 * APART + 1, 2)]
    assert Path("ours/rejected.csv").read_text().splitlines()[1:] == [
        f"{APART + 2},the device occurs twice,00D09E,Gateway,000000",
        f"{APART + 3},the device occurs twice,00D09E,Gateway,000001",
    ]


def first_serials(form: VoucherForm) -> list[str]:
    """Return the first serial number of each voucher that was written."""
    if form is VoucherForm.NDJSON:
        return [
            json.loads(line)["serials"][0] for line in Path("ours/vouchers.ndjson").read_text().splitlines()
        ]
    rows = [*csv.DictReader(Path("ours/index.csv").read_text().splitlines())]
    if form is VoucherForm.BASE64:
        assert len(Path("ours/vouchers.base64").read_text().splitlines()) == len(rows)
    else:
        assert {one.name for one in Path("ours").glob("*.xml")} == {row["file"] for row in rows}
    return [row["serials"].split()[0] for row in rows]


def test_a_temporary_file_that_can_not_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_serials, "PRAGMAS", ("max_page_count = 2", *given_serials.PRAGMAS))

    with given_serials.GivenSerials() as given, pytest.raises(HostError) as caught:
        all(map(given.add, range(NUMBERS_AT_ONCE)))

    problem = "the serial numbers of this run can't be kept in a temporary file: database or disk is full"
    assert (str(caught.value), caught.value.hint) == (problem, "TMPDIR names its directory")
