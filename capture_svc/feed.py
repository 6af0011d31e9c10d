"""The feed: every stored event once, in journal order, resumable by a cursor."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from capture_svc import metrics, wire
from capture_svc.batch import Settlement
from capture_svc.cursor import Cursor, decode_cursor, shortened
from capture_svc.event_codec import read_head
from capture_svc.feed_plan import Plan, plan_page
from capture_svc.store import EventRange, EventStore, JournalHead, ReceiptStore, SettledBatch
from svc_runtime.clock import Clock
from svc_runtime.errors import UnavailableError
from svc_runtime.logs import get_logger

POLL_SECONDS = 0.2
"""How often the receipts of other replicas are looked for."""
_MOST_JOURNALS = 16
_BATCHES_PER_LOOK = 64
_POLL_OVERLAP = timedelta(minutes=2)
_SHARED_MARGIN = timedelta(seconds=5)
"""On a shared store: time from which on another replica's receipts may not be visible yet."""
_ENTRY_LIFETIME = timedelta(hours=1)
_REPLICATION_PATIENCE = timedelta(minutes=10)
_CONFIRMATION_PATIENCE = timedelta(minutes=2)
"""After it nobody waits for a receipt any more: its sender has gone, and will come again."""
_NO_LIMIT = 2**31
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A piece of the feed."""

    events: bytes
    """An encoded ``EventBatch``, never decoded on its way; empty when there is nothing new."""
    event_count: int
    """Number of events in it."""
    cursor: bytes
    """Where to go on after it. Opaque, at most 64 KiB; keep it with the data."""
    watermark_time: datetime
    """Everything that was settled before this instant has been given out up to ``cursor``."""


class FeedReader(Protocol):
    """The feed as one follower reads it. A reader belongs to one follower and one task."""

    async def read(self, cursor: bytes, *, max_event_count: int) -> FeedPage:
        """Return what comes after ``cursor`` (empty: from the beginning); an empty page when nothing does.

        The same cursor gives the same events again, so a follower that kept its cursor with its data misses nothing
        and sees nothing twice. Within a journal events come in rising sequence. A page holds at most
        ``max_event_count`` events, and about 32 MiB.

        Errors: InvalidArgumentError (not a cursor of ours); UnavailableError (the store is down: try again).
        """
        ...

    async def wait(self, timeout_seconds: float) -> None:
        """Return when something new may be there, also if it came since the last ``read`` began, or after the time."""
        ...


class Feed:
    """What all followers of this process share: how far each journal is settled, and the news of it."""

    def __init__(self, events: EventStore, receipts: ReceiptStore, clock: Clock, *, is_shared: bool) -> None:
        self.events = events
        self.receipts = receipts
        self.clock = clock
        self.generation = 0
        """Rises whenever something was settled."""
        self.waiting_count = 0
        self.is_closed = False
        """True when followers are to leave."""
        self.is_shared = is_shared
        """Other replicas settle batches in the same store."""
        self._heads: dict[str, JournalHead] | None = None
        self._looked_at = _BEGINNING
        self._confirming: dict[str, datetime] = {}
        self._changed = asyncio.Event()
        self._loading = asyncio.Lock()

    def reader(self, follower: str) -> "JournalFeedReader":
        """Return the feed for a follower; its name is for metrics."""
        return JournalFeedReader(self, follower)

    async def heads(self) -> Mapping[str, JournalHead]:
        """Return how far each journal is settled. Errors: UnavailableError."""
        async with self._loading:
            if self._heads is None:
                looked_at = self.clock.now()
                found = await self.receipts.heads()
                self._heads, self._looked_at = {}, looked_at
                self._learn(found)
        return self._heads

    def confirming(self, settlement: Settlement) -> None:
        """Hear that receipts with this settle time are on their way: the watermark stays behind them."""
        self._confirming[settlement.token] = settlement.settle_time

    def settled(self, settlement: Settlement) -> None:
        """Hear that receipts are stored, and wake the followers."""
        self._confirming.pop(settlement.token, None)
        head = JournalHead(settlement.sequence, settlement.last_sequence, settlement.settle_time)
        self._learn({settlement.journal_id: head})

    def _learn(self, found: Mapping[str, JournalHead]) -> None:
        if self._heads is None:
            return  # nobody has asked yet; who asks first reads all of them
        news = {j: head for j, head in found.items() if j not in self._heads or self._heads[j].sequence < head.sequence}
        self._heads |= news
        if news:
            self._wake()

    def _wake(self) -> None:
        self.generation += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Wake the followers and let them leave."""
        self.is_closed = True
        self._wake()

    def watermark(self) -> datetime:
        """Return the instant before which every receipt is known here; take it before looking at the heads."""
        now = self.clock.now()
        self._confirming = {
            token: instant for token, instant in self._confirming.items() if now - instant < _CONFIRMATION_PATIENCE
        }
        return min([now - (_SHARED_MARGIN if self.is_shared else timedelta()), *self._confirming.values()])

    async def wait(self, seen: int, timeout_seconds: float) -> None:
        """Return when the generation is not ``seen`` any more, or after the time."""
        if self.generation != seen:
            return
        self.waiting_count += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await self._changed.wait()
        finally:
            self.waiting_count -= 1

    async def follow_replicas(self) -> None:
        """Look for the receipts of other replicas for ever, while somebody waits for news. Errors: UnavailableError."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if not self.waiting_count or self._heads is None:
                continue
            now = self.clock.now()
            self._learn(await self.receipts.heads(self._looked_at - _POLL_OVERLAP))
            self._looked_at = now


class JournalFeedReader:
    """``FeedReader`` over journals and their receipts."""

    def __init__(self, feed: Feed, follower: str) -> None:
        self._feed = feed
        self._follower = follower
        self._seen = -1
        self._turn = 0
        self._watermark = _BEGINNING

    async def wait(self, timeout_seconds: float) -> None:
        """See FeedReader."""
        await self._feed.wait(self._seen, timeout_seconds)

    async def read(self, cursor: bytes, *, max_event_count: int) -> FeedPage:
        """See FeedReader."""
        feed = self._feed
        place = decode_cursor(cursor)
        settled_before = feed.watermark()
        heads = await feed.heads()
        self._seen = feed.generation
        place = await self._with_new_journals(place, heads)
        behind = [j for j, head in heads.items() if place.positions.get(j, head.last_sequence) < head.last_sequence]
        if not behind:
            return self._page(b"", 0, self._shortened(place, heads), settled_before)
        chosen = self._choose(sorted(behind))
        batches = await feed.receipts.batches_after(
            {journal_id: place.positions[journal_id] for journal_id in chosen}, limit=_BATCHES_PER_LOOK
        )
        plan = plan_page(batches, place.positions, order=chosen, max_event_count=max_event_count)
        events, count, positions = await self._events(plan, max_event_count)
        place = replace(place, positions={**place.positions, **positions})
        bound = self._bound(batches, place, set(behind) - set(chosen))
        return self._page(events, count, self._shortened(place, heads), min(settled_before, bound))

    async def _with_new_journals(self, place: Cursor, heads: Mapping[str, JournalHead]) -> Cursor:
        """Give an entry to every journal that has news and none."""
        new = [j for j, head in heads.items() if j not in place.positions and head.settle_time > place.horizon]
        if not new:
            return place
        starts: Mapping[str, int] = dict.fromkeys(new, 0)
        if place.horizon > _BEGINNING:
            starts = await self._feed.receipts.positions_at(new, place.horizon)
        return replace(place, positions={**place.positions, **starts})

    def _choose(self, behind: Sequence[str]) -> list[str]:
        """Take the journals in turn, so that a busy one does not keep the others waiting."""
        start = self._turn % len(behind)
        self._turn += 1
        return [*behind[start:], *behind[:start]][:_MOST_JOURNALS]

    async def _events(self, plan: Plan, max_event_count: int) -> tuple[bytes, int, dict[str, int]]:
        """Read the events of a plan. Return them, their number, and the positions after them."""
        if not plan.ranges:
            return b"", 0, plan.positions
        limit = max_event_count if plan.is_partial else _NO_LIMIT
        events = await self._feed.events.read(plan.ranges, limit=limit)
        spans = wire.split(events)
        if not await self._is_whole(plan, len(spans), limit):
            # Not where the hint says: clocks step.
            events = await self._feed.events.read([replace(r, times=None) for r in plan.ranges], limit=limit)
            spans = wire.split(events)
            if not await self._is_whole(plan, len(spans), limit):
                self._accept_incomplete(plan.batches)
        if len(spans) == limit:
            head = read_head(events[spans[-1][0] : spans[-1][1]])
            if head is None:
                raise RuntimeError("a stored event does not decode")
            return events, len(spans), {plan.ranges[0].journal_id: head.sequence}
        return events, len(spans), plan.positions

    async def _is_whole(self, plan: Plan, found: int, limit: int) -> bool:
        """Compare what was found with what the receipts say."""
        if found >= limit:
            return True
        begun = plan.begun
        if begun is None:
            return found >= plan.event_count
        whole = EventRange(begun.journal_id, begun.sequence - 1, begun.last_sequence)
        after = next(span.after for span in plan.ranges if span.journal_id == begun.journal_id)
        stored = await self._feed.events.stored_sequences(whole)
        left = sum(sequence > after for sequence in stored)
        return len(stored) >= begun.stored_count and found >= plan.event_count + left

    def _accept_incomplete(self, batches: Sequence[SettledBatch]) -> None:
        """Go on without events that were erased; wait for those that another ClickHouse replica does not show yet."""
        metrics.feed_incomplete.add(1)
        youngest = max(batch.settle_time for batch in batches)
        if self._feed.clock.now() - youngest < _REPLICATION_PATIENCE:
            raise UnavailableError("the event store does not show all settled events yet")
        _log.info("events of old batches are gone", follower=self._follower)

    def _bound(self, batches: Sequence[SettledBatch], place: Cursor, left_out: set[str]) -> datetime:
        """Return an instant before which nothing is waiting; never earlier than what was said before."""
        if left_out:
            return self._watermark
        last: dict[str, datetime] = {}
        bounds: list[datetime] = []
        for batch in batches:
            if batch.last_sequence > place.positions[batch.journal_id]:
                bounds.append(batch.settle_time)
            else:
                last[batch.journal_id] = batch.settle_time
        # Of a journal whose next batches were not looked at, the last one given out says it.
        looked_at: dict[str, int] = {}
        for batch in batches:
            looked_at[batch.journal_id] = looked_at.get(batch.journal_id, 0) + 1
        bounds += [last[j] for j, count in looked_at.items() if count == _BATCHES_PER_LOOK and j in last]
        return min(bounds, default=datetime.max.replace(tzinfo=UTC))

    def _shortened(self, place: Cursor, heads: Mapping[str, JournalHead]) -> Cursor:
        ended = {
            journal_id: head.settle_time
            for journal_id, head in heads.items()
            if place.positions.get(journal_id, -1) >= head.last_sequence
        }
        return shortened(place, ended, before=self._feed.clock.now() - _ENTRY_LIFETIME)

    def _page(self, events: bytes, count: int, place: Cursor, watermark: datetime) -> FeedPage:
        self._watermark = max(self._watermark, watermark)
        if count:
            metrics.feed_events.add(count, {"follower": self._follower})
        lag = (self._feed.clock.now() - self._watermark).total_seconds()
        metrics.feed_lag_seconds.set(lag, {"follower": self._follower})
        return FeedPage(events, count, place.encode(), self._watermark)
