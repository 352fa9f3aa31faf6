"""What a service answers to requests that have a key: each key leads to one answer, in every process.

A request begins in one transaction, which keeps its key together with the serial numbers it was given, and
ends in another one, which confirms them together with the answer.  A request that died in between is found
again by its key, and completed with the same numbers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Connection

from spkg.errors import HostError
from vouchers.acs.ledger import Ledger
from vouchers.acs.ledger_entry import SerialState
from vouchers.acs.ledger_journal import LedgerChange
from vouchers.acs.ledger_reserve import Reserving
from vouchers.acs.ledger_tables import ANSWERS, STATES
from vouchers.acs.ledger_wants import Want

__all__ = ["Begun", "KeptAnswer", "KeyedRequest", "begin_requests", "finish_requests", "forget_answers"]

ROUNDS_AT_ONCE: Final = 64
"""How often to try again if the numbers are taken."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KeyedRequest:
    """Something to do once: issue a voucher, or void a serial number."""

    client: str
    """Who asks, for the journal; each client has keys of its own."""
    key: str | None
    """What the client calls it; None if it is to be done each time that it is asked for."""
    digest: str
    """The SHA-256 of the request, in hex: the same key must not stand for another one."""
    want: Want | None = None
    given: tuple[int, ...] = ()
    """The serial numbers that the voucher has already; empty for new ones."""
    void: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class KeptAnswer:
    """An answer as it was sent."""

    status: int
    media: str
    body: str


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What became of a request in its first transaction; exactly one of the four is there."""

    serials: tuple[int, ...] = ()
    """Go on with these."""
    kept: KeptAnswer | None = None
    """It was answered before."""
    refusal: str | None = None
    missing: str | None = None
    """What it names does not exist."""


REUSED: Final = "this Idempotency-Key was used for another request"


def begin_requests(
    ledger: Ledger, requests: Sequence[KeyedRequest], *, signer: str, unpredictable: bool
) -> list[Begun]:
    """Find the answers that are kept, and reserve serial numbers for the other requests, all or none.

    Args:
        ledger: The ledger.
        requests: At most one with the same key of the same client.
        signer: The signing key: the SHA-256 of its public key, in hex.
        unpredictable: Whether the next number must be hard to guess, as SHA-1 needs.

    Raises:
        HostError: The database can't be used, or there are no numbers left.
    """
    found: dict[int, Begun] = {}
    at = ledger.timestamp()
    with ledger.database.transaction() as connection:
        for client, indexes in _by_client(requests).items():
            # As long as this is held nobody else writes, so what is found below is all there is.
            journal = ledger.journal_writer(connection, client)
            known = _known(connection, [requests[index] for index in indexes])
            new = []
            for index in indexes:
                row = known.get(requests[index].key)
                if row is None:
                    new.append(index)
                else:
                    found[index] = _again(row, requests[index])
            asked = Reserving(
                database=ledger.database,
                run=ledger.new_run(),
                batch=None,
                signer=signer,
                unpredictable=unpredictable,
                terms=None,
            )
            given = {index: requests[index].given for index in new if requests[index].given}
            found |= {index: Begun(serials=serials) for index, serials in given.items()}
            wanting = [index for index in new if requests[index].want is not None and index not in given]
            asked.add([want for index in wanting if (want := requests[index].want) is not None])
            for _ in range(ROUNDS_AT_ONCE):
                if not asked.waiting:
                    break
                asked.answer(connection, journal, at)
            if asked.waiting:
                raise HostError(f"{ledger.database.name}: too few serial numbers are left")
            for place, index in enumerate(wanting):
                outcome = asked.outcomes[place]
                found[index] = Begun(serials=outcome.serials, refusal=outcome.refusal)
            for index in new:
                request = requests[index]
                if request.void is not None:
                    found[index] = _voidable(connection, request.void)
                    if found[index].serials:
                        journal.change(LedgerChange.VOID, [request.void], reason=request.reason)
            rows = [
                {
                    "client": client,
                    "key": requests[index].key,
                    "request": requests[index].digest,
                    "at": at,
                    "serials": " ".join(map(str, found[index].serials)),
                }
                for index in new
                if requests[index].key is not None and found[index].serials
            ]
            if rows:
                connection.execute(sqlalchemy.insert(ANSWERS), rows)
    return [found[index] for index in range(len(requests))]


def finish_requests(
    ledger: Ledger, done: Sequence[tuple[KeyedRequest, tuple[int, ...], KeptAnswer]]
) -> list[KeptAnswer | str]:
    """Confirm serial numbers in the ledger, and keep the answers, in one transaction.

    Returns:
        For each request its answer, the one that another process gave meanwhile if there is one; or text,
        why it has no answer.

    Raises:
        HostError: The database can't be used.
    """
    found: dict[int, KeptAnswer | str] = {}
    requests = [request for request, _, _ in done]
    with ledger.database.transaction() as connection:
        for client, indexes in _by_client(requests).items():
            journal = ledger.journal_writer(connection, client)
            known = _known(connection, [requests[index] for index in indexes])
            issuing = [index for index in indexes if requests[index].want is not None]
            states = _states(connection, [serial for index in issuing for serial in done[index][1]])
            confirmed: list[int] = []
            for index in indexes:
                request, serials, answer = done[index]
                row = known.get(request.key)
                if row is not None and row.status is not None:
                    found[index] = _kept(row)
                    continue
                void = [serial for serial in serials if states.get(serial) == SerialState.VOID.value]
                if request.want is not None and void:
                    found[index] = f"serial number {void[0]} has been voided in the meantime"
                    continue
                found[index] = answer
                if request.want is not None:
                    confirmed += [one for one in serials if states.get(one) == SerialState.RESERVED.value]
                if row is not None:
                    connection.execute(
                        sqlalchemy.update(ANSWERS)
                        .where(ANSWERS.c.client == client, ANSWERS.c.key == request.key)
                        .values(status=answer.status, media=answer.media, body=answer.body)
                    )
            if confirmed:
                journal.change(LedgerChange.ISSUE, confirmed)
    return [found[index] for index in range(len(done))]


def forget_answers(ledger: Ledger, before: str) -> int:
    """Remove the keys of requests before a time; return how many there were.

    Raises:
        HostError: The database can't be used.
    """
    with ledger.database.transaction() as connection:
        return connection.execute(sqlalchemy.delete(ANSWERS).where(ANSWERS.c.at < before)).rowcount


def _by_client(requests: Iterable[KeyedRequest]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, request in enumerate(requests):
        found.setdefault(request.client, []).append(index)
    return found


def _known(connection: Connection, requests: Sequence[KeyedRequest]) -> dict[str | None, Any]:
    """Return the rows of the keys of some requests, which are of one client."""
    keys = [request.key for request in requests if request.key is not None]
    if not keys:
        return {}
    query = sqlalchemy.select(ANSWERS).where(ANSWERS.c.client == requests[0].client, ANSWERS.c.key.in_(keys))
    return {row.key: row for row in connection.execute(query)}


def _again(row: Any, request: KeyedRequest) -> Begun:
    if row.request != request.digest:
        return Begun(refusal=REUSED)
    if row.status is not None:
        return Begun(kept=_kept(row))
    return Begun(serials=tuple(map(int, row.serials.split())))


def _kept(row: Any) -> KeptAnswer:
    return KeptAnswer(status=row.status, media=row.media, body=row.body)


def _states(connection: Connection, serials: Sequence[int]) -> dict[int, str]:
    return (
        {row.serial: row.state for row in connection.execute(STATES, {"serials": serials})} if serials else {}
    )


def _voidable(connection: Connection, serial: int) -> Begun:
    state = _states(connection, [serial]).get(serial)
    if state is None:
        return Begun(missing=f"serial number {serial} is not in this ledger")
    if state == SerialState.VOID.value:
        return Begun(refusal=f"serial number {serial} is already void")
    return Begun(serials=(serial,))
