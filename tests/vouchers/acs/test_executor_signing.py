"""Issuing with an executor of the caller's: threads, processes, and those that answer anything."""

# ruff: noqa: ARG002, S301 - executors of others take what they do not use; what is read was written here

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from spkg.common.digests import Digest
from spkg.errors import FailedError, HostError, RefusedError, SpkgError, UsageError
from spkg.trust.exec_signer import ProgramSigner
from spkg.trust.key_elsewhere import KeyElsewhere, signatory_elsewhere
from spkg.trust.signers import KeySigner, Signer
from tests.support.acs_files import QUICK, assert_issued, entries, furnish, now, write_list
from tests.support.voucher_kit import signatory
from vouchers.acs import executor_signing
from vouchers.acs.bulk import DEVICES_AT_ONCE, LEAST_AHEAD, BulkOrder, BulkReport, issue_bulk
from vouchers.acs.executor_signing import WatchedExecutor
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_entry import SerialState
from vouchers.acs.templates import load_options
from vouchers.cli.worker_key import WorkerKey
from vouchers.signature.sign import VoucherSigner


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in: a key, Options, a device, a list of three, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def issued(executor: Executor, signer: VoucherSigner | None = None) -> BulkReport:
    """Issue to the list, with an executor."""
    order = BulkOrder(templates=load_options(Path("options.toml")), batch="may")
    ledger = Ledger("ledger.db", now, create=False)
    signer = signer or VoucherSigner(signatory(QUICK))
    return issue_bulk(order, Path("devices.csv"), Path("out"), signer, ledger, executor=executor)


def by_name(key: str = "signer.key", **more: Any) -> VoucherSigner:
    """Return a signer whose key is opened by whoever signs."""
    opener = WorkerKey(key=Path(key).absolute(), **more)
    return VoucherSigner(signatory_elsewhere(opener, Path("signer.pem")))


def test_threads_write_what_one_process_writes() -> None:
    write_list([*range(DEVICES_AT_ONCE + 1), 0])

    with ThreadPoolExecutor(2) as executor:
        report = issued(executor)

    assert (report.issued, report.confirmed, report.rejected) == (DEVICES_AT_ONCE + 1, DEVICES_AT_ONCE + 1, 1)
    assert_issued(DEVICES_AT_ONCE + 1)


def test_a_process_opens_the_key_by_its_name() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as executor:
        report = issued(executor, by_name())

    assert (report.issued, report.confirmed) == (3, 3)
    assert_issued(3)


def test_a_run_that_fails_leaves_its_list_closed() -> None:
    write_list(range(DEVICES_AT_ONCE + 1))
    executor = ThreadPoolExecutor(1)
    executor.shutdown()

    with pytest.raises(FailedError) as caught:
        issued(executor)

    held = [one.readlink() for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert Path("devices.csv").absolute() not in held
    assert caught.value.__traceback__ is not None  # with the frames that read it


def test_a_process_that_is_killed_is_told() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as executor:
        os.kill(executor.submit(os.getpid).result(), signal.SIGKILL)
        with pytest.raises(FailedError) as caught:
            issued(executor, by_name())

    assert str(caught.value) == "a signing process was killed"
    assert caught.value.hint == "run the same batch again to complete it"
    assert not Path("out").exists()


def test_the_name_of_a_key_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_PASSPHRASE", "hunter2")
    Path("pin").write_text("31415926")

    signer = by_name(key_password_env="KEY_PASSPHRASE", key_password_file=Path("pin"))
    sent = pickle.dumps(signer.key)

    assert b"KEY_PASSPHRASE" in sent
    assert b"hunter2" not in sent
    assert b"31415926" not in sent
    assert pickle.loads(sent) == signer.key


def test_a_key_itself_is_never_sent() -> None:
    who = signatory(QUICK)
    program = ProgramSigner.of("/bin/true", who.certificate, {"PIN": "31415926"}, lambda: 0.0)

    keys: tuple[Signer, ...] = (who.key, program)
    for key in keys:
        with pytest.raises(UsageError) as caught:
            pickle.dumps(key)
        assert str(caught.value) == "a key is not sent to another process"
        assert caught.value.hint == (
            "name the key with spkg.trust.key_elsewhere.KeyElsewhere: each process then opens it for itself"
        )


def test_a_key_by_name_must_be_that_of_the_certificate() -> None:
    Path("signer.key").write_bytes((Path(__file__).parents[2] / "keys" / "p256.key").read_bytes())

    with ThreadPoolExecutor(1) as executor, pytest.raises(HostError, match="does not match the certificate"):
        issued(executor, by_name())


def test_a_key_that_failed_is_opened_again() -> None:
    opened: list[int] = []

    class Failing:
        def __call__(self, _certificate: object) -> Signer:
            opened.append(1)
            return self

        public_key = signatory(QUICK).key.public_key

        def sign(self, digest: Digest, hashed: bytes) -> bytes:
            raise HostError("the token was taken away")

    key = KeyElsewhere(pickle.loads(pickle.dumps(by_name().key)).certificate, Failing())

    for _ in range(2):
        with pytest.raises(HostError, match="the token was taken away"):
            key.sign(Digest.SHA256, bytes(32))

    assert len(opened) == 2
    assert key.public_key == signatory(QUICK).key.public_key


def test_a_process_keeps_a_few_open_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    class Opener:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, _certificate: object) -> Signer:
            opened.append(self.name)
            return KeySigner(signatory(QUICK).key.private)  # type: ignore[attr-defined]

    certificate = by_name().key.certificate  # type: ignore[attr-defined]
    keys = [KeyElsewhere(certificate, Opener(str(number))) for number in range(18)]

    for key in (*keys, keys[-1], keys[0]):
        key.sign(Digest.SHA256, bytes(32))

    assert opened == [*map(str, range(18)), "0"]


Answer = Callable[[Signer, Digest, Sequence[bytes]], object]


class Strange(Executor):
    """Answers at once, whatever it likes."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(self.answer(*args))
        except BrokenExecutor as exc:
            future.set_exception(exc)
        return future


def others(key: Signer, digest: Digest, some: Sequence[bytes]) -> object:
    """Sign, but in another order."""
    return [key.sign(digest, hashed) for hashed in reversed(some)]


def of_another_key(_key: Signer, digest: Digest, some: Sequence[bytes]) -> object:
    """Sign with a key that is not the signer's, of the same length."""
    return [bytes(96) for _ in some]


LIES: dict[str, tuple[Answer, str]] = {
    "for other vouchers": (others, "the signature is not valid for the key of the signer's certificate"),
    "too few": (lambda *_: [], "expected 3 signatures, got 0"),
    "none": (lambda *_: None, "expected a list of signatures, got NoneType"),
    "texts": (lambda *_: ["a", "b", "c"], "expected a list of signatures, got list"),
    "too short": (lambda *_: [b"", b"", b""], "expected a signature of 128 bytes, got 0"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_an_executor_answers_is_verified(lie: str) -> None:
    answer, problem = LIES[lie]

    with pytest.raises(HostError) as caught:
        issued(Strange(answer))

    assert str(caught.value) == f"what signs: {problem}"
    assert not Path("out").exists()
    assert (Path("out.part") / "vouchers.ndjson").read_bytes() == b""
    assert {one.state for one in entries()} == {SerialState.RESERVED}


def broken(*_: object) -> object:
    raise BrokenExecutor("broken")


def test_an_executor_that_is_broken_or_shut_down_is_told() -> None:
    (stopped := ThreadPoolExecutor(1)).shutdown()

    for executor in (Strange(broken), stopped):
        with pytest.raises(FailedError, match="a signing process was killed"):
            issued(executor)


def test_an_executor_has_a_bounded_number_of_tasks() -> None:
    write_list(range((LEAST_AHEAD + 3) * DEVICES_AT_ONCE))
    begun: list[Future[Any]] = []
    most = 0

    class Late(Strange):
        """Answers the oldest task when it has as many as it may have."""

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
            nonlocal most
            most = max(most, 1 + sum(not one.done() for one in begun))
            begun.append(Future())
            if len(begun) == LEAST_AHEAD:
                begun[0].set_exception(HostError("no more"))
            return begun[-1]

    with pytest.raises(HostError, match="no more"):
        issued(Late(broken))

    assert most == len(begun) == LEAST_AHEAD
    assert all(one.cancelled() for one in begun[1:])


def test_an_executor_that_is_watched_is_asked_whether_an_answer_can_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executor_signing, "ANSWER_INTERVAL", 0.001)
    asked: list[int] = []

    class Silent(WatchedExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
            return Future()

        def check(self) -> None:
            asked.append(1)
            if len(asked) == 2:
                raise FailedError("nothing will come")

    with pytest.raises(SpkgError) as caught:
        issued(Silent())

    assert str(caught.value) == "nothing will come"
    assert not isinstance(caught.value, RefusedError)
    assert len(asked) == 2
