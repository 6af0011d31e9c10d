"""Settles batches: events into the store, what cannot be stored into the quarantine, then a receipt.

Two steps. ``store`` puts the events away and may be repeated after any failure, by whoever has the batch: its token
makes a repeat a no-op. ``confirm`` stores the receipt; from then on the batch is settled. A crash between the two costs
nothing: the batch comes again, adds nothing, and gets its receipt.

The plain way never decodes an event. The careful way does, for batches with idempotency keys, with unclaimed events,
with counts that do not add up, with a row that the store refused, and for the first batches after a reconnect, where an
earlier try may be in the store and its token forgotten.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from capture_svc import metrics, wire
from capture_svc.batch import UNCLAIMED, Batch, Fate, QuarantinedEvent, Settlement, quarantine_id
from capture_svc.duplicates import Duplicates
from capture_svc.event_codec import read_head, read_heads
from capture_svc.quarantine import UNDECODABLE, UnclaimedQuota, insert_halving, unclaimed_reason
from capture_svc.sorting import Sorting, settle, settle_undecodable, settle_whole, sort
from capture_svc.store import ContentRefusedError, EventRange, EventStore, QuarantineStore, ReceiptStore
from capture_svc.traces import insert_span
from svc_runtime.clock import Clock
from svc_runtime.logs import get_logger

_log = get_logger(__name__)


class SettlementListener(Protocol):
    """Who wants to hear of receipts."""

    def confirming(self, settlement: Settlement) -> None:
        """Receipts with this settle time are being stored."""
        ...

    def settled(self, settlement: Settlement) -> None:
        """They are stored."""
        ...


class Intake:
    """The way of a batch into the store."""

    def __init__(
        self,
        events: EventStore,
        receipts: ReceiptStore,
        quarantine: QuarantineStore,
        unclaimed: UnclaimedQuota,
        *,
        clock: Clock,
        listener: SettlementListener,
    ) -> None:
        self._events = events
        self._receipts = receipts
        self._quarantine = quarantine
        self._unclaimed = unclaimed
        self._duplicates = Duplicates(events, receipts)
        self._clock = clock
        self._listener = listener

    async def store(self, batch: Batch, *, is_resumed: bool = False) -> Settlement:
        """Store the events of a batch and keep aside what cannot be stored. Idempotent.

        ``is_resumed``: an earlier try may have stored some of it. Errors: UnavailableError.
        """
        started = time.perf_counter()
        with insert_span(batch):
            settlement = await self._store(batch, is_resumed)
        metrics.insert_seconds.record(time.perf_counter() - started)
        return settlement

    async def _store(self, batch: Batch, is_resumed: bool) -> Settlement:
        try:
            spans = wire.split(batch.events)
        except wire.UndecodableError:
            return await self._keep_payload(batch)
        if not is_resumed and _is_plain(batch):
            settlement = await self._store_plainly(batch, spans)
            if settlement is not None:
                return settlement
        events = [batch.events[start:end] for start, end in spans]
        sorting = sort(batch, events, read_heads(batch.events, events))
        return await self._store_sorted(sorting, self._insert_anew if is_resumed else self._insert)

    async def _store_plainly(self, batch: Batch, spans: Sequence[tuple[int, int]]) -> Settlement | None:
        """Store a batch as it came; None when it needs care."""
        times = _times(batch, spans)
        if times is None or not await self._is_accepted(batch.events, batch.token):
            return None
        return settle_whole(batch, times, settle_time=self._clock.now())

    async def _is_accepted(self, events: bytes, token: str) -> bool:
        try:
            await self._events.insert(events, token=token)
        except ContentRefusedError as error:
            _log.warning("the store refuses a batch for its content", batch=token, reason=error.reason)
            return False
        return True

    async def store_together(self, batches: Sequence[Batch]) -> list[Settlement] | None:
        """Store batches of a journal that follow each other by one insert: half the work of two. Idempotent.

        Where nobody else writes to the store: whoever sends a batch again may send it with other ones, and its own
        token would not be known. None when one of them needs care, or is refused: nothing is stored then.

        Errors: UnavailableError.
        """
        started = time.perf_counter()
        times = [_plain_times(batch) for batch in batches]
        token = f"{batches[0].token}+{batches[-1].sequence}"
        with insert_span(*batches):
            if not all(times) or not await self._is_accepted(b"".join(batch.events for batch in batches), token):
                return None
        metrics.insert_seconds.record(time.perf_counter() - started)
        now = self._clock.now()
        return [
            settle_whole(batch, found, settle_time=now)
            for batch, found in zip(batches, times, strict=True)
            if found is not None
        ]

    async def _store_sorted(self, sorting: Sorting, insert: Callable[[Sorting], Awaitable[None]]) -> Settlement:
        now = self._clock.now()
        await self._mark_unclaimed(sorting, now)
        await self._duplicates.mark(sorting, now=now)
        await insert(sorting)
        await self._keep_aside(sorting, now)
        return settle(sorting, settle_time=self._clock.now())

    async def _mark_unclaimed(self, sorting: Sorting, now: datetime) -> None:
        unclaimed = [index for index in sorting.rest if sorting.owners[index] == UNCLAIMED]
        if not unclaimed:
            return
        kept = await self._unclaimed.admit([len(sorting.events[index]) for index in unclaimed], now)
        for index in unclaimed:
            sorting.fates[index] = Fate(is_duplicate=False, reason=unclaimed_reason(sorting.head(index).marks))
        sorting.dropped.update(unclaimed[kept:])

    async def _insert(self, sorting: Sorting) -> None:
        await self._insert_some(sorting, sorting.rest, sorting.batch.token)

    async def _insert_anew(self, sorting: Sorting) -> None:
        """Insert what an earlier try has not stored; the store may have forgotten its token."""
        batch, times = sorting.batch, sorting.times()
        span = EventRange(batch.journal_id, batch.sequence - 1, batch.last_sequence, times)
        stored = await self._events.stored_sequences(span) if sorting.rest else set()
        missing = [index for index in sorting.rest if sorting.head(index).sequence not in stored]
        # Other events than before must not come under the same token; as many as are stored, they are the same.
        await self._insert_some(sorting, missing, f"{batch.token}/{len(stored)}" if stored else batch.token)

    async def _insert_some(self, sorting: Sorting, indexes: Sequence[int], token: str) -> None:
        refused = await insert_halving(self._events, [sorting.events[index] for index in indexes], token=token)
        for position, reason in refused.items():
            sorting.fates[indexes[position]] = Fate(is_duplicate=False, reason=reason)

    async def _keep_aside(self, sorting: Sorting, now: datetime) -> None:
        batch = sorting.batch
        items = [
            QuarantinedEvent(
                quarantine_id=quarantine_id(batch.journal_id, batch.sequence, index),
                organization_id=sorting.owners[index],
                reason=fate.reason,
                quarantine_time=now,
                journal_id=batch.journal_id,
                sequence=head.sequence if (head := sorting.heads[index]) is not None else batch.sequence,
                event_count=1,
                event=sorting.events[index],
            )
            for index, fate in sorted(sorting.fates.items())
            if not fate.is_duplicate and index not in sorting.dropped
        ]
        if items:
            await self._quarantine.insert(items, token=batch.token)

    async def _keep_payload(self, batch: Batch) -> Settlement:
        """Keep bytes that are no sequence of events, once for each organisation that has events in them."""
        _log.error("a batch does not decode", journal=batch.journal_id, sequence=batch.sequence)
        now = self._clock.now()
        items = [
            QuarantinedEvent(
                quarantine_id=quarantine_id(batch.journal_id, batch.sequence, 0, organization_id),
                organization_id=organization_id,
                reason=UNDECODABLE,
                quarantine_time=now,
                journal_id=batch.journal_id,
                sequence=batch.sequence,
                event_count=count,
                event=batch.events,
            )
            for organization_id, count in sorted((batch.counts or {UNCLAIMED: 0}).items())
        ]
        await self._quarantine.insert(items, token=batch.token)
        return settle_undecodable(batch, settle_time=now)

    async def confirm(self, settlements: Sequence[Settlement]) -> None:
        """Store the receipts of stored batches of a journal: they are settled when this returns. Idempotent.

        Errors: UnavailableError; then call it again with the same batches, or read how far the journal is settled.
        """
        now = self._clock.now()
        settled = [replace(settlement, settle_time=now) for settlement in settlements]
        for settlement in settled:
            self._listener.confirming(settlement)
        await self._receipts.insert(settled)
        for settlement in settled:
            self._listener.settled(settlement)
            _count(settlement)


def _is_plain(batch: Batch) -> bool:
    """Say whether the sender says nothing that asks for care."""
    return not (batch.is_keyed or batch.is_direct or UNCLAIMED in batch.counts)


def _plain_times(batch: Batch) -> tuple[datetime, datetime] | None:
    """Return the times of a batch's first and last event; None when it needs care."""
    try:
        return _times(batch, wire.split(batch.events)) if _is_plain(batch) else None
    except wire.UndecodableError:
        return None


def _times(batch: Batch, spans: Sequence[tuple[int, int]]) -> tuple[datetime, datetime] | None:
    """Return the times of the first and the last event; None when something about the batch does not add up."""
    if not spans or sum(batch.counts.values()) != len(spans):
        return None
    ends = [read_head(batch.events[start:end]) for start, end in (spans[0], spans[-1])]
    times = [head.event_time for head in ends if head is not None and head.journal_id == batch.journal_id]
    return (times[0], times[1]) if len(times) == 2 else None


def _count(settlement: Settlement) -> None:
    for receipt in settlement.receipts:
        metrics.unclaimed_dropped.add(receipt.dropped)
        for outcome, count in (
            ("stored", receipt.stored),
            ("duplicate", receipt.duplicates),
            ("quarantined", receipt.quarantined),
            ("dropped", receipt.dropped),
        ):
            if count > 0:
                metrics.events.add(count, {"outcome": outcome})
