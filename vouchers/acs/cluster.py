"""Signing on a cluster: Dask's scheduler has workers sign, each with a key of its own machine.

The only module that knows Dask.  A worker gets digests and the name of a key, and answers with signatures;
a task whose worker is killed is given to another one.  Serial numbers are reserved by the client alone.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, Final

from spkg import __version__
from spkg.errors import FailedError, HostError, SpkgError, os_problem
from vouchers.acs.executor_signing import COMPLETE_HINT, WatchedExecutor

__all__ = ["ClusterExecutor", "cluster_executor"]

WORKER_HINT: Final = "start one with 'dask worker', where spkg and its extra [cluster] are installed"
CLUSTER_TLS_HINT: Final = (
    "state ca-file, client.key and client.cert in Dask's configuration, distributed.comm.tls"
)
ADDRESS_HINT: Final = "is its address right? TLS wants tls://"
PLAIN_HINT: Final = "start it with --tls-ca-file, --tls-cert and --tls-key"
SCHEDULER_WAIT: Final = 30.0
"""How many seconds the scheduler may take to answer, and the first worker to be there."""
DASK_LOGS: Final = frozenset({"distributed", "tornado", "asyncio"})
LOOK_WAIT: Final = 10.0
"""How many seconds the scheduler may take to say how it is."""
LONELY_CHECKS: Final = 24
"""How many checks in a row may find no worker: two minutes."""


class ClusterExecutor(WatchedExecutor):
    """The workers of a cluster, as an executor.

    Args:
        client: A connected client of Dask.
        address: The address of the scheduler, for errors.
    """

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address, self._alone = client, address, 0
        self._scheduler, self.threads = self._look()
        """Which scheduler it is, and how many tasks can run at the same time at first."""
        # None is pure: a signature of ECDSA is another one each time, and none is kept.
        self._executor = client.get_executor(pure=False)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Have a worker call a function of a module that is installed there.

        What is cancelled is forgotten when the client is closed: a scheduler that is gone can't be asked.
        """
        theirs = self._executor.submit(_on_worker, fn, *args, **kwargs)
        ours: Future[Any] = Future()

        def answer(done: "Future[Any]") -> None:
            if not ours.set_running_or_notify_cancel():
                return
            if done.cancelled():
                ours.set_exception(self._lost())
            elif (error := done.exception()) is not None:
                ours.set_exception(self._explained(error))
            else:
                ours.set_result(done.result())

        theirs.add_done_callback(answer)
        return ours

    def check(self) -> None:
        """Make sure that an answer can come.

        Raises:
            FailedError: The scheduler is gone, or there was no worker for minutes.
        """
        if self._client.status != "running":
            raise self._lost()
        try:
            scheduler, threads = self._look()
        except TimeoutError:  # busy, maybe
            scheduler, threads = self._scheduler, 0
        except (OSError, ValueError) as exc:
            raise self._lost() from exc
        if scheduler != self._scheduler:  # started again: it knows nothing of what it was given
            raise self._lost()
        self._alone = 0 if threads else self._alone + 1
        if self._alone >= LONELY_CHECKS:
            raise FailedError(f"the cluster {self._address} has no workers any more", hint=COMPLETE_HINT)

    def _look(self) -> tuple[str, int]:
        """Ask the scheduler which one it is, and how many threads its workers have."""
        found = self._client.sync(self._client.scheduler.identity, callback_timeout=LOOK_WAIT)
        return found["id"], sum(worker["nthreads"] for worker in found["workers"].values())

    def _lost(self) -> FailedError:
        return FailedError(f"the scheduler {self._address} is gone", hint=COMPLETE_HINT)

    def _explained(self, error: BaseException) -> BaseException:
        """Return what an exception of a task means for the issuer."""
        from distributed import KilledWorker  # noqa: PLC0415 - an optional library

        if isinstance(error, KilledWorker):
            problem = f"the workers of the cluster {self._address} were killed again and again"
            return FailedError(problem, hint=COMPLETE_HINT)
        if isinstance(error, ImportError):
            problem = f"a worker of the cluster {self._address} has no spkg of this version: {error}"
            return HostError(problem, hint=WORKER_HINT)
        return error


@contextmanager
def cluster_executor(address: str) -> Iterator[ClusterExecutor]:
    """Connect to a scheduler, with the TLS that Dask's own configuration states.

    Args:
        address: Its address, as ``tls://host:8786``.

    Raises:
        HostError: Dask is not installed, the scheduler does not answer, or has no worker.
    """
    try:
        from distributed import Client  # noqa: PLC0415 - an optional library
    except ImportError as exc:
        hint = "pip install 'tr069-spkg[cluster]'"
        raise HostError("a cluster needs dask.distributed, which is not installed", hint=hint) from exc

    class Connected(Client):
        """A client that is closed, as its loop is still there to do it, if it can't connect."""

        def start(self, **options: Any) -> None:
            try:
                super().start(**options)  # type: ignore[no-untyped-call]
            except BaseException:
                self.close()  # type: ignore[no-untyped-call]
                raise

    with _quiet(), _loop() as loop:
        try:
            client: Any = Connected(address, loop=loop, set_as_default=False, timeout=SCHEDULER_WAIT)  # type: ignore[no-untyped-call]
        except OSError as exc:
            raise _unreachable(address, exc) from exc
        except ValueError as exc:
            if "SSL" in str(exc):  # it sent something before there was TLS
                raise _plain(address) from exc
            raise HostError(f"the scheduler {address} can't be used: {exc}", hint=ADDRESS_HINT) from exc
        except (TypeError, RuntimeError) as exc:  # what Dask raises for its configuration
            raise HostError(f"the scheduler {address} can't be used: {exc}", hint=CLUSTER_TLS_HINT) from exc
        try:
            found = _connected(client, address)
            yield found
        finally:
            with suppress(OSError, TimeoutError):
                client.close(timeout=SCHEDULER_WAIT / 10)


def _plain(address: str) -> HostError:
    return HostError(f"the scheduler {address} does not speak TLS", hint=PLAIN_HINT)


def _unreachable(address: str, error: OSError) -> HostError:
    """Return what it means that there is no connection to a scheduler: Dask keeps the reason as a cause."""
    cause: BaseException = error
    while (deeper := getattr(cause, "real_error", None) or cause.__cause__) is not None:
        cause = deeper
    if isinstance(cause, ssl.SSLError):
        reason = getattr(cause, "reason", None) or "EOF"
        if reason == "WRONG_VERSION_NUMBER":
            return _plain(address)
        why = getattr(cause, "verify_message", "") or reason.replace("_", " ").lower()
        problem = f"the scheduler {address} can't be used: TLS: {why}"
        if "EOF" in reason:
            problem = f"the scheduler {address} closed the connection during the TLS handshake"
        return HostError(problem, hint=CLUSTER_TLS_HINT)
    if isinstance(cause, FileNotFoundError | PermissionError):
        problem = f"the scheduler {address} can't be used: a file for TLS: {os_problem(cause)}"
        return HostError(problem, hint=CLUSTER_TLS_HINT)
    why = f": {os_problem(cause)}" if isinstance(cause, OSError) and cause.strerror else ""
    return HostError(f"the scheduler {address} does not answer{why}", hint=ADDRESS_HINT)


def _connected(client: Any, address: str) -> ClusterExecutor:
    """Return the workers of a cluster, once one is there, and all have this version.

    A worker that can't read a task ends without a word, so the versions are looked at before.

    Raises:
        HostError: The cluster has no workers, or one has no spkg, or another version of it.
    """
    try:
        with suppress(TimeoutError):
            client.wait_for_workers(1, timeout=SCHEDULER_WAIT)
        found = ClusterExecutor(client, address)
        asked = client._run, _version  # noqa: SLF001 - its run() would wait without an end
        versions = client.sync(*asked, on_error="return", callback_timeout=SCHEDULER_WAIT)
    except TimeoutError as exc:
        raise HostError(f"the scheduler {address} does not answer", hint=ADDRESS_HINT) from exc
    if not found.threads:
        raise HostError(f"the scheduler {address} has no workers", hint=WORKER_HINT)
    for worker, version in sorted(versions.items()):
        if version != __version__:
            got = version if isinstance(version, str) else "none or an earlier one"
            raise HostError(f"the worker {worker}: expected spkg {__version__}, got {got}", hint=WORKER_HINT)
    return found


def _version() -> str:
    """Return the version of spkg on a worker."""
    return __version__


def _on_worker(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Do some work on a worker; an error says which."""
    try:
        return work(*args, **kwargs)
    except (SpkgError, OSError) as exc:
        from distributed import get_worker  # noqa: PLC0415 - an optional library

        problem = os_problem(exc) if isinstance(exc, OSError) else str(exc)
        hint = exc.hint if isinstance(exc, SpkgError) else None
        # Without its cause, which may have more in it than others need to know.
        raise HostError(f"the worker {get_worker().address}: {problem}", hint=hint) from None


@contextmanager
def _loop() -> Iterator[Any]:
    """Run the loop of a client in a thread that ends with the block.

    Dask has a client start one for itself, and leaves it running if the client can't connect.
    """
    from tornado.ioloop import IOLoop  # noqa: PLC0415 - an optional library

    started: Future[tuple[IOLoop, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def until_stopped() -> None:
        stop = asyncio.Event()
        started.set_result((IOLoop.current(), asyncio.get_running_loop(), stop))
        await stop.wait()

    thread = Thread(target=lambda: asyncio.run(until_stopped()), name="cluster", daemon=True)
    thread.start()
    loop, plain, stop = started.result()
    try:
        yield loop
    finally:
        plain.call_soon_threadsafe(stop.set)
        thread.join()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what Dask logs about connections that break: what it means is in our own errors."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in DASK_LOGS]
    logs = [log for name in names if not (log := logging.getLogger(name)).disabled]
    for log in logs:
        log.disabled = True
    try:
        yield
    finally:
        for log in logs:
            log.disabled = False
