"""What becomes of tasks and of the scheduler, as an issuer is told; the client of Dask is one of ours."""

import errno
import ssl
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from spkg import __version__
from spkg.errors import FailedError, HostError
from vouchers.acs.cluster import (
    ADDRESS_HINT,
    CLUSTER_TLS_HINT,
    LONELY_CHECKS,
    PLAIN_HINT,
    ClusterExecutor,
    cluster_executor,
)

distributed = pytest.importorskip("distributed")

EXPECTED = f"expected spkg {__version__}"
ADDRESS = "tls://acs.example:8786"


class SaidClient:
    """A client that is connected to a scheduler, which says what it is told to say."""

    def __init__(self) -> None:
        self.status = "running"
        self.scheduler = self
        self.identity = None
        self.says: Any = {"id": "one", "workers": {"w": {"nthreads": 2}}}

    def sync(self, _question: object, callback_timeout: float) -> Any:
        assert callback_timeout > 0
        if isinstance(self.says, BaseException):
            raise self.says
        return self.says

    def get_executor(self, *, pure: bool) -> ThreadPoolExecutor:
        assert not pure
        return ThreadPoolExecutor(1)


class Cancelling:
    """An executor whose tasks are cancelled: the scheduler has forgotten them."""

    def submit(self, *_: object, **__: object) -> "Future[Any]":
        done: Future[Any] = Future()
        done.cancel()
        done.set_running_or_notify_cancel()
        return done


@pytest.fixture
def client() -> SaidClient:
    return SaidClient()


def lost(executor: ClusterExecutor) -> str:
    with pytest.raises(FailedError) as caught:
        executor.check()
    return str(caught.value)


def test_an_answer_and_an_error_of_a_task_come_back(client: SaidClient) -> None:
    executor = ClusterExecutor(client, ADDRESS)

    assert executor.threads == 2
    assert executor.submit(len, b"four").result(10) == 4
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result(10)


def killed() -> None:
    raise distributed.KilledWorker("task", None, 3)


def unknown() -> None:
    raise ModuleNotFoundError("No module named 'vouchers'")


def test_what_the_workers_lack_is_told(client: SaidClient) -> None:
    executor = ClusterExecutor(client, ADDRESS)

    with pytest.raises(FailedError, match="were killed again and again"):
        executor.submit(killed).result(10)
    with pytest.raises(HostError, match="has no spkg of this version: No module named 'vouchers'"):
        executor.submit(unknown).result(10)


def test_a_task_that_is_forgotten_is_that_of_a_scheduler_that_is_gone(client: SaidClient) -> None:
    executor = ClusterExecutor(client, ADDRESS)
    executor._executor = Cancelling()

    with pytest.raises(FailedError, match=f"the scheduler {ADDRESS} is gone"):
        executor.submit(len, b"").result(10)


@pytest.mark.parametrize(
    "says",
    [
        OSError("closed"),
        ValueError("no message"),
        {"id": "another", "workers": {"w": {"nthreads": 2}}},
    ],
    ids=["gone", "garbled", "started again"],
)
def test_a_scheduler_that_is_gone_ends_the_run(says: object, client: SaidClient) -> None:
    executor = ClusterExecutor(client, ADDRESS)
    executor.check()

    client.says = says

    assert lost(executor) == f"the scheduler {ADDRESS} is gone"


def test_a_client_that_is_closed_has_no_scheduler(client: SaidClient) -> None:
    executor = ClusterExecutor(client, ADDRESS)

    client.status = "closed"

    assert lost(executor) == f"the scheduler {ADDRESS} is gone"


@pytest.mark.parametrize("says", [TimeoutError(), {"id": "one", "workers": {}}], ids=["busy", "alone"])
def test_without_workers_for_minutes_the_run_ends(says: object, client: SaidClient) -> None:
    executor = ClusterExecutor(client, ADDRESS)
    client.says = says
    for _ in range(LONELY_CHECKS - 1):
        executor.check()

    assert lost(executor) == f"the cluster {ADDRESS} has no workers any more"


def test_a_worker_in_between_begins_the_minutes_again(client: SaidClient) -> None:
    executor = ClusterExecutor(client, ADDRESS)
    there, gone = client.says, {"id": "one", "workers": {}}
    for says in (gone, there, gone):
        client.says = says
        for _ in range(LONELY_CHECKS - 1):
            executor.check()


@pytest.mark.parametrize("problem", [OSError("refused"), ValueError("TLS needs a certificate")])
def test_what_can_not_be_connected_to_is_told(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(distributed.Client, "start", refused)

    with pytest.raises(HostError) as caught, cluster_executor(ADDRESS):
        pass
    assert str(caught.value).startswith(f"the scheduler {ADDRESS}")
    assert "tls" in (caught.value.hint or "").lower()


def caused(error: OSError, cause: BaseException | None = None) -> OSError:
    """Return what Dask raises: it keeps the reason as a cause."""
    error.__cause__ = cause
    return error


class BrokenStreamError(OSError):
    """As tornado raises it: with what broke the stream beside it."""

    real_error = ssl.SSLError(1, "[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2580)")


UNKNOWN = BrokenStreamError.real_error
UNKNOWN.reason = "TLSV1_ALERT_UNKNOWN_CA"
UNFIT = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
UNFIT.reason, UNFIT.verify_message = "CERTIFICATE_VERIFY_FAILED", "certificate has expired"
OTHER = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
OTHER.reason = "WRONG_VERSION_NUMBER"
LATE = "Timed out trying to connect to tls://acs.example:8786 after 30 s"


@pytest.mark.parametrize(
    ("error", "problem", "hint"),
    [
        (OSError(LATE), "does not answer", ADDRESS_HINT),
        (
            caused(OSError(LATE), ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")),
            "does not answer: connection refused",
            ADDRESS_HINT,
        ),
        (
            caused(OSError("closed"), BrokenStreamError("Stream is closed")),
            "can't be used: TLS: tlsv1 alert unknown ca",
            CLUSTER_TLS_HINT,
        ),
        (caused(OSError("no"), UNFIT), "can't be used: TLS: certificate has expired", CLUSTER_TLS_HINT),
        (
            caused(OSError("no"), ssl.SSLError(8, "EOF occurred in violation of protocol (_ssl.c:2427)")),
            "closed the connection during the TLS handshake",
            CLUSTER_TLS_HINT,
        ),
        (caused(OSError("no"), OTHER), "does not speak TLS", PLAIN_HINT),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory"),
            "can't be used: a file for TLS: no such file or directory",
            CLUSTER_TLS_HINT,
        ),
        (
            ValueError("IOStream is not idle; cannot convert to SSL"),
            "does not speak TLS",
            PLAIN_HINT,
        ),
        (ValueError("missing port number in address ''"), "can't be used: missing port number", ADDRESS_HINT),
        (TypeError("expected a context"), "can't be used: expected a context", CLUSTER_TLS_HINT),
    ],
)
def test_why_a_scheduler_can_not_be_reached_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception, problem: str, hint: str
) -> None:
    class Refused:
        def __init__(self, *_: object, **__: object) -> None:
            raise error

    monkeypatch.setattr(distributed, "Client", Refused)

    with pytest.raises(HostError) as caught, cluster_executor(ADDRESS):
        pass

    assert str(caught.value).startswith(f"the scheduler {ADDRESS} {problem}")
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("versions", "problem"),
    [
        ({"tls://a:1": __version__, "tls://b:1": "0.0.9"}, f"the worker tls://b:1: {EXPECTED}, got 0.0.9"),
        (
            {"tls://a:1": Exception("ModuleNotFoundError"), "tls://b:1": __version__},
            f"the worker tls://a:1: {EXPECTED}, got none or an earlier one",
        ),
        (TimeoutError(), f"the scheduler {ADDRESS} does not answer"),
    ],
)
def test_a_worker_of_another_version_is_named(
    monkeypatch: pytest.MonkeyPatch, versions: object, problem: str
) -> None:
    class Connected:
        """A client whose workers say what their version is."""

        status, _run = "running", "run"

        def __init__(self, *_: object, **__: object) -> None:
            self.said = SaidClient()
            self.scheduler, self.get_executor = self.said, self.said.get_executor

        def wait_for_workers(self, _count: int, timeout: float) -> None:
            assert timeout > 0

        def sync(self, question: object, *what: object, callback_timeout: float, on_error: str = "") -> Any:
            if question != self._run:
                return self.said.sync(question, callback_timeout)
            assert (len(what), on_error) == (1, "return")
            if isinstance(versions, BaseException):
                raise versions
            return versions

        def close(self, timeout: float) -> None:
            assert timeout > 0

    monkeypatch.setattr(distributed, "Client", Connected)

    with pytest.raises(HostError) as caught, cluster_executor(ADDRESS):
        pass

    assert str(caught.value) == problem
