"""Direct calls: events of callers that keep no journal. Calls that wait together become one insert."""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from capture_svc import metrics, wire
from capture_svc.availability import StoreWatch, unbroken
from capture_svc.batch import Batch, Fate, Settlement
from capture_svc.intake import Intake
from capture_svc.own_journal import OwnJournal
from svc_runtime.errors import UnavailableError

CALLER_PATIENCE_SECONDS = 5.0
"""How long a caller waits for a store that fails. The writer goes on: part of the group may be stored already."""
_MOST_EVENTS = 5_000
_MOST_BYTES = 3 * 1024 * 1024
_MOST_WAITING_BYTES = 64 * 1024 * 1024
_T = TypeVar("_T")


@dataclass(slots=True)
class _Call:
    organization_id: str
    events: Sequence[bytes]
    is_keyed: bool
    traceparent: str
    done: "asyncio.Future[list[Fate | None]]"

    @property
    def byte_count(self) -> int:
        return sum(map(len, self.events))


@dataclass(slots=True)
class _Group:
    calls: list[_Call] = field(default_factory=list)

    def fail(self, error: UnavailableError) -> None:
        for call in self.calls:
            if not call.done.done():
                call.done.set_exception(error)


class DirectWriter:
    """Stores the events of direct calls, group by group."""

    def __init__(self, journal: OwnJournal, intake: Intake, watch: StoreWatch) -> None:
        self._journal = journal
        self._intake = intake
        self._watch = watch
        self._waiting: deque[_Call] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._is_stuck = False

    async def write(
        self, organization_id: str, events: Sequence[bytes], *, is_keyed: bool, traceparent: str = ""
    ) -> list[Fate | None]:
        """Store encoded events without a place in a journal; return the fate of each, None for a stored one.

        They are durable when this returns. Errors: UnavailableError: some may be stored, now or soon; a caller that
        must not store them twice gives them idempotency keys.
        """
        if self._is_stuck:
            raise UnavailableError("the event store is not available", retry_after_seconds=2.0)
        call = _Call(organization_id, events, is_keyed, traceparent, asyncio.get_running_loop().create_future())
        if self._waiting and self._waiting_bytes + call.byte_count > _MOST_WAITING_BYTES:
            raise UnavailableError(
                f"{self._waiting_bytes} bytes of events are waiting already", retry_after_seconds=1.0
            )
        self._waiting.append(call)
        self._waiting_bytes += call.byte_count
        self._arrived.set()
        return await call.done

    async def run(self) -> None:
        """Store groups for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await self._settle(self._next_group())

    def _next_group(self) -> _Group:
        group, count, size = _Group(), 0, 0
        while self._waiting:
            call = self._waiting[0]
            if count and (count + len(call.events) > _MOST_EVENTS or size + call.byte_count > _MOST_BYTES):
                break
            self._waiting.popleft()
            self._waiting_bytes -= call.byte_count
            if call.done.cancelled():
                continue
            group.calls.append(call)
            count, size = count + len(call.events), size + call.byte_count
        return group

    async def _settle(self, group: _Group) -> None:
        """Store a group, however long it takes: its numbers are given, so they must not mean anything else."""
        if not group.calls:
            return
        patience = asyncio.get_running_loop().call_later(CALLER_PATIENCE_SECONDS, self._give_up, group)
        try:
            if not self._journal.is_open:
                await self._persist(lambda: self._journal.open(adopt=True))
            batch = self._batch(group)
            settlement = await self._persist(lambda: unbroken(self._intake.store(batch)))
            await self._persist(lambda: unbroken(self._intake.confirm([settlement])))
            _answer(group, settlement)
        except BaseException:
            self._journal.close()  # what of the group is stored without a receipt is to get one
            group.fail(UnavailableError("the events were not stored in the life of this process"))
            raise
        finally:
            patience.cancel()
            self._is_stuck = False
        metrics.batches.add(1, {"source": "direct"})

    async def _persist(self, work: Callable[[], Awaitable[_T]]) -> _T:
        return await self._watch.persist(work, patience_seconds=math.inf)

    def _give_up(self, group: _Group) -> None:
        self._is_stuck = True
        error = UnavailableError("the event store is not available", retry_after_seconds=2.0)
        group.fail(error)
        for call in self._waiting:
            if not call.done.done():
                call.done.set_exception(error)
        self._waiting.clear()
        self._waiting_bytes = 0

    def _batch(self, group: _Group) -> Batch:
        events = [event for call in group.calls for event in call.events]
        first = self._journal.take(len(events))
        counts: Counter[str] = Counter()
        for call in group.calls:
            counts[call.organization_id] += len(call.events)
        journal_id = self._journal.journal_id
        return Batch(
            journal_id=journal_id,
            sequence=first,
            last_sequence=first + len(events) - 1,
            events=wire.join(wire.with_place(event, journal_id, first + i) for i, event in enumerate(events)),
            counts=counts,
            is_keyed=any(call.is_keyed for call in group.calls),
            traceparents=tuple(call.traceparent for call in group.calls if call.traceparent),
            is_direct=True,
            token_suffix=self._journal.life,
        )


def _answer(group: _Group, settlement: Settlement) -> None:
    index = 0
    for call in group.calls:
        fates = [settlement.fates.get(index + offset) for offset in range(len(call.events))]
        index += len(call.events)
        if not call.done.done():
            call.done.set_result(fates)
