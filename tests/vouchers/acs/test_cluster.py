"""Issuing on a cluster: workers that sign with keys of their own, killed and lying ones, and TLS."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from spkg.common.times import write_time
from spkg.errors import HostError
from tests.support.acs_files import (
    ISSUE,
    KEY,
    LEDGER,
    MANY,
    OPTIONS,
    PATIENCE,
    assert_issued,
    entries,
    failed,
    furnish,
    new_ledger,
    now,
    write_list,
)
from tests.support.commands import run
from tests.support.dask_kit import DaskCluster, tls_settings
from tests.support.issuing import process, wait
from tests.support.postgres import new_database, postgres
from tests.support.sampling import amount, chance
from vouchers.acs.cluster import cluster_executor
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_audit import audit_ledger

ON_CLUSTER: Final = (*MANY[:-2], "--out-dir", "out", "--no-progress")
"""Issue to the list, without saying where."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in: a key, Options, a device, a list of three, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def test_a_cluster_excludes_jobs_and_needs_a_directory_and_a_certificate() -> None:
    address = ("--cluster", "tcp://127.0.0.1:1")
    one = (*ISSUE, "--device", "device.toml", "--ledger", "ledger.db", *address)
    bare = [arg for arg in ON_CLUSTER if arg not in {"--cert", "signer.pem"}]

    assert failed(run(*ON_CLUSTER, *address, "--jobs", "2"), 2, "--cluster excludes --jobs")
    assert failed(run(*one, "-o", "v.xml"), 2, "--cluster needs --out-dir")
    assert failed(
        run(*bare, *address),
        2,
        "--cluster needs --key, as the workers have it, and --cert",
        "the key stays on the workers; only its certificate is read here",
    )


@pytest.mark.parametrize("address", ["", "tls://", "tls:// host:1"])
def test_what_is_no_address_is_wrong_usage(address: str) -> None:
    problem = f"--cluster: expected an address such as tls://host:8786, got {address!r}"

    assert failed(run(*ON_CLUSTER, "--cluster", address), 2, problem)


@pytest.mark.parametrize("address", ["tcp://192.0.2.7:8786", "ucx://192.0.2.7:8786"])
def test_a_cluster_without_tls_is_warned_of(address: str) -> None:
    result = run(*ON_CLUSTER, "--cluster", address, "--strict")

    assert result.exit_code == 5
    assert result.stderr.startswith(
        f"spkg: warning: {address}: without TLS, others who reach the scheduler can sign with the keys of its"
        " workers\n"
    )


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(HostError, match="the scheduler nothing://x:1 can't be used: "):
        with cluster_executor("nothing://x:1"):
            pass


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[str]:
    """A cluster in this process; what it gives is its address."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1,
        processes=False,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        protocol="inproc",
        local_directory=str(tmp_path),
    ) as cluster:
        yield cluster.scheduler_address


def test_a_local_cluster_writes_what_one_process_writes(inside: str) -> None:
    result = run(*ON_CLUSTER, "--cluster", inside)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "out: 3 vouchers, batch may\n", "")
    assert_issued(3)


def test_a_local_cluster_renews_what_ends_soon(inside: str) -> None:
    soon = write_time(now() - timedelta(days=10))
    Path("options.toml").write_text(OPTIONS.replace("2026-05-01T00:00:00Z", soon).replace("Months", "Days"))
    assert run(*MANY, "--out-dir", "out").exit_code == 0
    renew = ("voucher", "renew", *LEDGER, *KEY, "--within", "30d", "--batch", "next", "--out-dir", "next")

    lacking = run(*renew, "--key", "missing.key", "--no-progress", "--cluster", inside)
    result = run(*renew, "--no-progress", "--cluster", inside)

    assert lacking.exit_code == 9
    assert lacking.stderr.startswith("spkg: error: the worker inproc://")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "next: 3 vouchers, batch next\n", "")
    assert [(one.serial, one.renews, one.state.value) for one in entries()][-3:] == [
        *((7, 1, "issued"), (8, 3, "issued"), (9, 5, "issued")),
    ]


def test_a_worker_without_the_key_is_named(inside: str) -> None:
    result = run(*ON_CLUSTER, "--key", "missing.key", "--cluster", inside)

    assert result.exit_code == 9
    assert re.fullmatch(
        r"spkg: error: the worker inproc://\S+: missing\.key: no such file or directory\n", result.stderr
    )
    assert not Path("out").exists()


@pytest.mark.part("vouchers")
@pytest.mark.proof
def test_a_scheduler_without_workers_or_none_at_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vouchers.acs.cluster.SCHEDULER_WAIT", 3.0)
    with DaskCluster(0, Path.cwd()) as cluster:
        lonely = run(*ON_CLUSTER, "--cluster", cluster.address)
    gone = run(*ON_CLUSTER, "--cluster", cluster.address)

    assert failed(
        lonely,
        9,
        f"the scheduler {cluster.address} has no workers",
        "start one with 'dask worker', where spkg and its extra [cluster] are installed",
    )
    # The last attempt of Dask may be one that was cut short by its deadline.
    why = ": connection refused" if "refused" in gone.stderr else ""
    problem = f"the scheduler {cluster.address} does not answer{why}"
    assert failed(gone, 9, problem, "is its address right? TLS wants tls://")
    assert not Path("out.part").exists()


# With processes of their own.


LONG: Final = 3000
COMPLETE: Final = "spkg: hint: run the same batch again to complete it\n"


def written() -> int:
    """Return how many octets there are of an output on its way."""
    try:
        return Path("out.part/vouchers.ndjson").stat().st_size
    except FileNotFoundError:  # not there yet, or complete, and renamed
        return 0


@pytest.mark.part("vouchers")
@pytest.mark.proof
def test_workers_over_tls_sign_with_keys_of_their_own_machine(tmp_path: Path) -> None:
    tls = tls_settings(tmp_path)
    (workers := tmp_path / "workers").mkdir()
    Path("signer.key").rename(workers / "signer.key")
    write_list(range(LONG))

    with DaskCluster(2, workers, tls) as cluster:
        begun = process(*ON_CLUSTER, "--cluster", cluster.address, env={**os.environ, **tls})
        said = begun.communicate(timeout=PATIENCE)
        other = [*ON_CLUSTER[:-3], "--out-dir", "other", "--no-progress", "--cluster", cluster.address]
        plain = process(*other)
        refused = plain.communicate(timeout=PATIENCE)

    assert (begun.returncode, *said) == (0, f"out: {LONG} vouchers, batch may\n", "")
    assert_issued(LONG)
    assert (plain.returncode, refused[0]) == (9, "")
    assert refused[1].startswith(f"spkg: error: the scheduler {cluster.address} can't be used: ")
    assert refused[1].endswith("client.key and client.cert in Dask's configuration, distributed.comm.tls\n")
    assert not Path("other.part").exists()


@pytest.mark.part("vouchers")
@pytest.mark.proof
def test_a_killed_worker_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    write_list(range(LONG))

    with DaskCluster(2, tmp_path) as cluster:
        begun = process(*ON_CLUSTER, "--cluster", cluster.address)
        wait(lambda: written() or begun.poll() is not None)
        cluster.kill_worker(0)
        said = begun.communicate(timeout=PATIENCE)

    assert (begun.returncode, *said) == (0, f"out: {LONG} vouchers, batch may\n", "")
    assert_issued(LONG)


@pytest.mark.part("vouchers")
@pytest.mark.proof
def test_a_killed_scheduler_is_told_and_its_batch_goes_on(tmp_path: Path) -> None:
    write_list(range(LONG))

    with DaskCluster(2, tmp_path) as cluster:
        begun = process(*ON_CLUSTER, "--cluster", cluster.address)
        wait(lambda: written() or begun.poll() is not None)
        cluster.stop()
        said = begun.communicate(timeout=PATIENCE)
        cluster.start_again()
        again = process(*ON_CLUSTER, "--cluster", cluster.address)
        at_last = again.communicate(timeout=PATIENCE)

    assert (begun.returncode, *said) == (
        6,
        "",
        f"spkg: error: the scheduler {cluster.address} is gone\n{COMPLETE}",
    )
    assert (again.returncode, *at_last) == (0, f"out: {LONG} vouchers, batch may\n", "")
    assert_issued(LONG)


KILLS: Final = amount(12, 2)
KILLED: Final = amount(6000, 1500)


@pytest.mark.part("vouchers")
@pytest.mark.proof
def test_a_batch_of_a_cluster_killed_at_random_is_completed(tmp_path: Path) -> None:
    dice = chance("cluster")
    url = postgres().url(new_database())
    new_ledger(url)
    write_list(range(KILLED))
    args = [url if one == "ledger.db" else one for one in ON_CLUSTER]
    known: dict[int, tuple[str, str]] = {}

    with DaskCluster(2, tmp_path) as cluster:
        for _ in range(KILLS):
            shutil.rmtree("out", ignore_errors=True)  # where it came to its end in time
            begun = process(*args, "--cluster", cluster.address)
            wait(lambda begun=begun: written() or begun.poll() is not None)  # type: ignore[misc]
            time.sleep(dice.random())
            victim = dice.choice(["worker", "scheduler", "client"])
            if victim == "worker":
                cluster.kill_worker(dice.randrange(2))
            elif victim == "scheduler":
                cluster.stop()
                cluster.start_again()
            elif begun.poll() is None:
                os.killpg(begun.pid, signal.SIGKILL)
            told = begun.communicate(timeout=PATIENCE)[1]
            assert begun.returncode in {0, 6, -signal.SIGKILL}, told
            found = {one.serial: (one.serial_number, one.option) for one in entries(url)}
            assert found.items() >= known.items()
            known = found
        shutil.rmtree("out", ignore_errors=True)
        last = process(*args, "--cluster", cluster.address, "--json")
        said = last.communicate(timeout=PATIENCE)[0]

    result = json.loads(said.splitlines()[-1])
    assert (last.returncode, result["issued"], result["confirmed"]) == (0, KILLED, KILLED)
    assert_issued(KILLED, url=url)
    assert {one.serial: (one.serial_number, one.option) for one in entries(url)}.items() >= known.items()
    with Ledger(url, now, create=False) as ledger:
        assert audit_ledger(ledger).problems == ()
