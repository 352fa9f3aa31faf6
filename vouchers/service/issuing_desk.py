"""Where requests to issue or to void meet the ledger: what waits goes through it together.

One transaction reserves serial numbers for all requests that wait, and one confirms them: under load the
ledger, in which one at a time writes, is asked once for many.  Two threads take turns, so that one signs
while the other one waits for the database.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from queue import Empty, Full, Queue
from threading import Thread
from typing import Final

from spkg.common.digests import Digest
from spkg.errors import SpkgError
from vouchers.acs.issuer import sign_voucher
from vouchers.acs.ledger_answers import Begun, KeptAnswer, KeyedRequest, begin_requests, finish_requests
from vouchers.service.ledger_access import LedgerAccess
from vouchers.service.problems import RETRY_AFTER, ServiceError, problem_of
from vouchers.signature.sign import VoucherSigner

__all__ = ["DeskAnswer", "IssuingDesk"]

REQUESTS_TOGETHER: Final = 64
"""How many requests go through the ledger together."""
WAITING: Final = 2000
"""How many requests wait at most."""
THREADS: Final = 2


@dataclass(frozen=True, kw_only=True)
class DeskAnswer:
    """The answer to a request."""

    kept: KeptAnswer
    repeated: bool
    """Whether it had been given before."""
    serials: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Waiting:
    request: KeyedRequest
    write: Callable[[tuple[int, ...], bytes], KeptAnswer]
    answered: "asyncio.Future[DeskAnswer]"
    loop: asyncio.AbstractEventLoop

    def tell(self, outcome: DeskAnswer | Exception) -> None:
        """Hand over the outcome, in the thread where it is awaited."""
        self.loop.call_soon_threadsafe(self._set, outcome)

    def _set(self, outcome: DeskAnswer | Exception) -> None:
        if self.answered.done():  # the client has gone
            return
        if isinstance(outcome, Exception):
            self.answered.set_exception(outcome)
        else:
            self.answered.set_result(outcome)


class IssuingDesk:
    """Carries out requests, each once.

    Args:
        access: The ledger.
        signer: Signs vouchers.
        defect: Called with an exception that nobody expected.
    """

    def __init__(
        self, access: LedgerAccess, signer: VoucherSigner, defect: Callable[[Exception], object]
    ) -> None:
        self._access, self._signer, self._defect = access, signer, defect
        self._queue: Queue[_Waiting | None] = Queue(WAITING)
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(THREADS)]

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work during the block; what waits then is finished."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            for _ in self._threads:
                self._queue.put(None)
            for thread in self._threads:
                thread.join()

    async def ask(
        self, request: KeyedRequest, write: Callable[[tuple[int, ...], bytes], KeptAnswer]
    ) -> DeskAnswer:
        """Carry out a request.

        Args:
            request: The request.
            write: Returns the answer for serial numbers, and the XML of the voucher if one was signed.

        Raises:
            ServiceError: It is refused, or the ledger is away.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request=request, write=write, answered=loop.create_future(), loop=loop)
        try:
            self._queue.put_nowait(waiting)
        except Full as exc:
            raise _busy() from exc
        return await waiting.answered

    def _work(self) -> None:
        held: list[_Waiting] = []
        ended = False
        while not ended or held:
            together, held = held[:REQUESTS_TOGETHER], held[REQUESTS_TOGETHER:]
            while not ended and len(together) < REQUESTS_TOGETHER:
                try:
                    one = self._queue.get(block=not together)
                except Empty:
                    break
                if one is None:
                    ended = True
                else:
                    together.append(one)
            keys = set[tuple[str, str]]()
            now: list[_Waiting] = []
            for one in together:
                name = (one.request.client, one.request.key) if one.request.key is not None else None
                if name is not None and name in keys:
                    held.append(one)  # its answer is there after this turn
                    continue
                if name is not None:
                    keys.add(name)
                now.append(one)
            if now:
                self._serve(now)

    def _serve(self, together: list[_Waiting]) -> None:
        """Carry out some requests; each is told what became of it, whatever happens."""
        try:
            self._carry_out(together)
        except SpkgError as exc:
            self._access.note(exc)
            for one in together:
                one.tell(problem_of(exc))
        except Exception as exc:  # noqa: BLE001 - the thread has to live on
            self._defect(exc)
            for one in together:
                one.tell(ServiceError(HTTPStatus.INTERNAL_SERVER_ERROR, 1, "a defect in spkg"))

    def _carry_out(self, together: list[_Waiting]) -> None:
        ledger = self._access.ledger()
        begun = begin_requests(
            ledger,
            [one.request for one in together],
            signer=self._signer.key_id,
            unpredictable=self._signer.digest is Digest.SHA1,
        )
        going: list[tuple[_Waiting, tuple[int, ...], KeptAnswer]] = []
        for one, outcome in zip(together, begun, strict=True):
            told = _told(outcome)
            if told is not None:
                one.tell(told)
                continue
            octets = b""
            if one.request.want is not None:
                octets = sign_voucher(one.request.want, outcome.serials, self._signer).octets
            going.append((one, outcome.serials, one.write(outcome.serials, octets)))
        if going:
            answers = finish_requests(ledger, [(one.request, serials, kept) for one, serials, kept in going])
            for (one, serials, kept), answer in zip(going, answers, strict=True):
                if isinstance(answer, str):
                    one.tell(ServiceError(HTTPStatus.CONFLICT, 5, answer))
                else:
                    one.tell(DeskAnswer(kept=answer, repeated=answer is not kept, serials=serials))
        self._access.note(None)


def _told(outcome: Begun) -> DeskAnswer | ServiceError | None:
    """Return what ends a request early; None if it goes on."""
    if outcome.kept is not None:
        return DeskAnswer(kept=outcome.kept, repeated=True)
    if outcome.missing is not None:
        return ServiceError(HTTPStatus.NOT_FOUND, 5, outcome.missing)
    if outcome.refusal is not None:
        return ServiceError(HTTPStatus.CONFLICT, 5, outcome.refusal)
    return None


def _busy() -> ServiceError:
    return problem_of_busy("too many requests wait for the ledger")


def problem_of_busy(detail: str) -> ServiceError:
    """Return the problem of a service that has too much to do."""
    retry = {"Retry-After": str(RETRY_AFTER)}
    return ServiceError(HTTPStatus.SERVICE_UNAVAILABLE, 9, detail, headers=retry)
