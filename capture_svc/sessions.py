"""Journal streams: one session per journal, batches in order, acknowledgements behind them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from capture_svc import metrics
from capture_svc.availability import StoreWatch, ended, unbroken
from capture_svc.batch import Batch, Settlement
from capture_svc.intake import Intake
from capture_svc.store import JournalHead, ReceiptStore
from svc_runtime.errors import InvalidArgumentError, UnavailableError, Violation
from svc_runtime.logs import get_logger

PATIENCE_SECONDS = 20.0
"""How long a stream waits for the store before it ends with UNAVAILABLE; the sender may then find another replica."""
OWN_STORE_GROUP = 2
"""Batches that share their inserts when they are waiting, where nobody else writes to the store."""
_T = TypeVar("_T")
_log = get_logger(__name__)


class JournalSession:
    """A journal while one stream has it."""

    def __init__(self, head: JournalHead | None, intake: Intake, watch: StoreWatch, *, group_size: int) -> None:
        self.settled = head.sequence if head is not None else 0
        """Every batch up to this sequence is settled."""
        self._intake = intake
        self._watch = watch
        self._stored = self.settled
        self._last_event = head.last_sequence if head is not None else 0
        self._group_size = group_size
        # Batches of which an earlier session may have stored events without a receipt: the group that was being stored,
        # and the one whose receipts were on their way.
        self._doubtful = 2 * group_size
        self._confirming: asyncio.Task[None] | None = None
        self._acks: asyncio.Queue[int | None] = asyncio.Queue()
        """None: the end, or a failure."""
        self._taken: asyncio.Queue[Batch | None] = asyncio.Queue()
        """None: no more."""
        self._room = asyncio.Semaphore(group_size)
        self._reading: asyncio.Task[None] | None = None
        self._is_evicted = False

    async def acks(self, batches: AsyncIterator[Batch]) -> AsyncGenerator[int, None]:
        """Settle batches in their order; yield the settled sequence whenever there is something to acknowledge.

        The events of a group go into the store while the receipts of the one before do; acknowledged is what has its
        receipt. Errors: InvalidArgumentError (overlapping sequences), UnavailableError (after much patience).
        """
        self._reading = asyncio.create_task(self._read(batches))
        work = asyncio.create_task(self._work())
        try:
            while (ack := await self._acks.get()) is not None:
                yield ack
            if self._is_evicted:
                raise UnavailableError("another stream has the journal now")
            await self._confirmed()
            await work
        finally:
            tasks = [task for task in (self._reading, work, self._confirming) if task is not None]
            for task in tasks:
                task.cancel()
            # Nothing of this session touches the store after it.
            await ended(*tasks)

    def close(self) -> None:
        """Take no more batches; those that were taken are still settled and acknowledged."""
        if self._reading is not None:
            self._reading.cancel()

    def evict(self) -> None:
        """End with UNAVAILABLE, after the statements that run."""
        self._is_evicted = True
        self._acks.put_nowait(None)

    async def _read(self, batches: AsyncIterator[Batch]) -> None:
        try:
            async for batch in batches:
                await self._room.acquire()
                self._taken.put_nowait(batch)
        finally:
            self._taken.put_nowait(None)  # never waits: the end comes also when nobody takes batches any more

    async def _work(self) -> None:
        try:
            while (batch := await self._taken.get()) is not None:
                await self._take([batch, *self._waiting()])
            await self._confirmed()
            if self._reading is not None and not self._reading.cancelled():
                await self._reading
        finally:
            self._acks.put_nowait(None)

    def _waiting(self) -> list[Batch]:
        """Return the batches that wait and may join the next group."""
        found: list[Batch] = []
        while len(found) < self._group_size - 1 and not self._taken.empty():
            batch = self._taken.get_nowait()
            if batch is None:
                self._taken.put_nowait(None)
                break
            found.append(batch)
        return found

    async def _take(self, batches: Sequence[Batch]) -> None:
        """Store batches, and begin to store their receipts after those before."""
        started = time.perf_counter()
        group = [batch for batch in batches if self._is_new(batch)]
        for _ in batches:
            self._room.release()
        if not group:
            return
        settlements = await self._store(group)
        await self._confirmed()
        self._confirming = asyncio.create_task(self._confirm(settlements, started))

    def _is_new(self, batch: Batch) -> bool:
        """Say whether a batch is to be stored, and count on it; acknowledge one that is settled already."""
        if batch.sequence <= self._stored:
            if batch.sequence <= self.settled:
                self._acks.put_nowait(self.settled)
            return False  # else its acknowledgement is on its way
        if batch.sequence <= self._last_event:
            text = f"{batch.sequence} lies in a settled batch, which ends with {self._last_event}"
            raise InvalidArgumentError.of([Violation("batch.sequence", text)])
        self._stored, self._last_event = batch.sequence, batch.last_sequence
        return True

    async def _store(self, group: Sequence[Batch]) -> list[Settlement]:
        if len(group) > 1 and not self._doubtful:
            together = await self._persist(lambda: self._intake.store_together(group))
            if together is not None:
                return together
        settlements: list[Settlement] = []
        for batch in group:
            settlements.append(await self._store_one(batch, is_resumed=self._doubtful > 0))
            self._doubtful = max(0, self._doubtful - 1)
        return settlements

    async def _store_one(self, batch: Batch, *, is_resumed: bool) -> Settlement:
        return await self._persist(lambda: self._intake.store(batch, is_resumed=is_resumed))

    async def _persist(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        return await self._watch.persist(lambda: unbroken(work()), patience_seconds=PATIENCE_SECONDS)

    async def _confirm(self, settlements: Sequence[Settlement], started: float) -> None:
        try:
            await self._persist(lambda: self._intake.confirm(settlements))
        except BaseException:
            self._acks.put_nowait(None)  # the stream must not wait for another batch to hear of it
            raise
        self.settled = settlements[-1].sequence
        metrics.batches.add(len(settlements), {"source": "journal"})
        metrics.settle_seconds.record(time.perf_counter() - started)
        self._acks.put_nowait(self.settled)

    async def _confirmed(self) -> None:
        if self._confirming is not None:
            await self._confirming


@dataclass(slots=True)
class _Slot:
    """Who has a journal, and who waits for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    stream_count: int = 0
    newest: int = 0
    session: JournalSession | None = None


class Sessions:
    """Hands out journals: a stream that comes takes its journal from the stream that had it."""

    def __init__(self, intake: Intake, receipts: ReceiptStore, watch: StoreWatch, *, is_shared: bool) -> None:
        self._group_size = 1 if is_shared else OWN_STORE_GROUP
        self._intake = intake
        self._receipts = receipts
        self._watch = watch
        self._slots: dict[str, _Slot] = {}
        self._is_closed = False

    @contextlib.asynccontextmanager
    async def open(self, journal_id: str, sender: str) -> AsyncIterator[JournalSession]:
        """Have a journal for the time of the block. An older stream of it ends first, whatever it is doing.

        Errors: UnavailableError.
        """
        slot = self._slots.setdefault(journal_id, _Slot())
        slot.stream_count += 1
        slot.newest = number = slot.newest + 1
        if slot.session is not None:
            _log.info("another stream takes a journal over", journal=journal_id, sender=sender)
            slot.session.evict()
        metrics.streams.add(1)
        try:
            async with slot.lock:
                head = await self._head(journal_id)
                if self._is_closed or slot.newest != number:
                    raise UnavailableError("the service is stopping, or another stream has the journal now")
                slot.session = JournalSession(head, self._intake, self._watch, group_size=self._group_size)
                try:
                    yield slot.session
                finally:
                    slot.session = None
        finally:
            metrics.streams.add(-1)
            slot.stream_count -= 1
            if not slot.stream_count:
                del self._slots[journal_id]

    async def _head(self, journal_id: str) -> JournalHead | None:
        return await self._watch.persist(
            lambda: self._receipts.head(journal_id), patience_seconds=PATIENCE_SECONDS, is_write=False
        )

    def close(self) -> None:
        """Let every stream end when what it has taken is acknowledged; refuse new ones."""
        self._is_closed = True
        for slot in self._slots.values():
            if slot.session is not None:
                slot.session.close()
