"""The mirror: a follower of the feed that keeps a copy of every event in a warehouse, each exactly once.

It has its own cursor and its own patience. While the warehouse is down it stays where it is, holding one micro-batch
at most; the events wait in our own store, and nothing else notices.

One step: read a micro-batch from the feed, record it (intent), load it by a job whose id follows from what was
recorded, record that it is done. Whoever repeats a step after a crash, in this process, the next one or another
replica, reads the same rows and names the same job, and the warehouse takes a job id once.

A batch that the warehouse refuses for its rows is halved until the refused rows stand alone; those are set aside with
the warehouse's code, and the rest is loaded. Halving needs nothing but the job's state: the text that says which row it
was, where there is one, is made for people and changes.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime

from capture_svc.feed import FeedReader
from capture_svc.mirror import metrics
from capture_svc.mirror.pack import Packed, Packer
from capture_svc.mirror.settings import BigQuerySettings
from capture_svc.mirror.state import Batch, Key, MirrorState, Part
from capture_svc.mirror.state_store import MirrorStateStore, MirrorTakenError
from capture_svc.mirror.warehouse import JobOutcome, JobResult, Warehouse, WarehouseUnavailableError
from svc_runtime.clock import Clock, SystemClock
from svc_runtime.errors import TrellisError
from svc_runtime.logs import get_logger
from svc_runtime.tasks import keep_running, running

__all__ = ["Mirror", "follow"]

_log = get_logger(__name__)

_Rows = tuple[bytes, bytes, Key | None, Key | None]
"""Which rows a load file has: cursors before and after its batch, and the part's bounds."""

PAGE_BYTES = 8 * 2**20
"""What a page of the feed should weigh; how many events that is, the mirror learns from the page before."""
FIRST_PAGE_EVENTS = 1_000
MOST_PAGE_EVENTS = 20_000
IDLE_SECONDS = 30.0
"""Longest wait for news before the feed is asked again."""
FIRST_RETRY_SECONDS = 1.0
REPORT_SECONDS = 15.0


async def follow(
    open_feed: Callable[[], FeedReader],
    states: MirrorStateStore,
    warehouse: Warehouse,
    settings: BigQuerySettings,
    *,
    clock: Clock | None = None,
) -> None:
    """Mirror until cancelled. Failures are logged and tried again with backoff and jitter; none ends it.

    ``open_feed`` returns a reader of the feed that has read nothing yet.
    """
    mirror = Mirror(open_feed, states, warehouse, settings, clock=clock or SystemClock())
    delay = FIRST_RETRY_SECONDS
    async with running("mirror backlog", keep_running("mirror backlog", mirror.report_backlog)):
        while True:
            try:
                await mirror.step()
            except MirrorTakenError:
                # Another replica mirrors. Nothing is wrong: stand by, and see later whether it still does.
                mirror.forget()
                await asyncio.sleep(_jittered(2 * max(settings.max_seconds, 1.0)))
            except Exception as error:  # noqa: BLE001 - whatever it was, the mirror goes on where it stands
                mirror.forget()
                metrics.failures.add(1)
                _log_failure(error, delay)
                await asyncio.sleep(_jittered(delay))
                delay = min(delay * 2, settings.longest_retry_seconds)
            else:
                delay = FIRST_RETRY_SECONDS


class Mirror:
    """The steps of one mirror. For one task."""

    def __init__(
        self,
        open_feed: Callable[[], FeedReader],
        states: MirrorStateStore,
        warehouse: Warehouse,
        settings: BigQuerySettings,
        *,
        clock: Clock,
    ) -> None:
        self._open_feed = open_feed
        self._states = states
        self._warehouse = warehouse
        self._settings = settings
        self._clock = clock
        self._state: MirrorState | None = None
        # A reader's watermark never goes back: who reads something again does so with a reader of its own.
        self._feed = open_feed()
        # Where the feed goes on when there is nothing to store between the state's cursor and here.
        self._idle_cursor: bytes | None = None
        self._watermark_time: datetime | None = None
        self._settled_count: int | None = None
        self._page_events = FIRST_PAGE_EVENTS
        self._next_batch_at = 0.0
        # The load file of the job that is next, so that an upload that failed needs no second reading. One, no more.
        self._file: tuple[_Rows, Packed] | None = None

    def forget(self) -> None:
        """Forget what was known about the state: it is read again in the next step."""
        self._state = None
        self._idle_cursor = None
        self._feed = self._open_feed()

    async def step(self) -> None:
        """Take one step: begin a batch, or settle one part of it. Safe to repeat after any failure.

        Returns without a change when the feed has nothing new for a while.
        Errors: UnavailableError (the store), WarehouseUnavailableError, MirrorTakenError; after one call ``forget``.
        """
        state = self._state
        if state is None:
            state = await self._states.read()
            await self._warehouse.prepare()
            self._remember(state)
        if state.batch is None:
            await self._begin_batch(state)
        else:
            await self._settle_part(state, state.batch)

    async def _begin_batch(self, state: MirrorState) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._next_batch_at - loop.time()))
        started_at = loop.time()
        packer = self._new_packer()
        before = self._idle_cursor or state.cursor
        after, watermark_time = await self._collect(packer, before)
        if not packer.row_count:
            self._idle_cursor, self._watermark_time = after, watermark_time
            await self._feed.wait(IDLE_SECONDS)
            return
        packed = await asyncio.to_thread(packer.finish)
        batch = Batch(before, after, packed.through, packed.row_count, watermark_time, parts=(Part(),))
        self._file = (_rows(batch, Part()), packed)
        await self._write(state.with_batch(batch))
        self._idle_cursor = None
        self._next_batch_at = started_at + (0 if self._is_full(packer) else self._settings.max_seconds)

    async def _collect(self, packer: Packer, cursor: bytes) -> tuple[bytes, datetime]:
        """Read what the feed had when we began, up to a batch. Returns the cursor after it, and the watermark there."""
        began_at = self._clock.now()
        while True:
            asked = min(self._page_events, self._settings.max_rows - packer.row_count)
            page = await self._feed.read(cursor, max_event_count=asked)
            if page.event_count:
                await asyncio.to_thread(packer.add, page.events, wanted=lambda _: True, ingested_at=self._clock.now())
                self._learn_page_size(len(page.events), page.event_count)
            # Neither a short page nor an empty one says that there is no more: a feed cuts pages as it likes.
            is_end = not page.event_count and page.cursor == cursor
            if is_end or page.watermark_time >= began_at or self._is_full(packer):
                return page.cursor, page.watermark_time
            cursor = page.cursor

    def _new_packer(self) -> Packer:
        return Packer(is_compressed=self._settings.compression == "gzip")

    def _is_full(self, packer: Packer) -> bool:
        return packer.row_count >= self._settings.max_rows or packer.byte_count >= self._settings.max_bytes

    def _learn_page_size(self, byte_count: int, event_count: int) -> None:
        self._page_events = max(1, min(MOST_PAGE_EVENTS, PAGE_BYTES * event_count // max(byte_count, 1)))

    async def _settle_part(self, state: MirrorState, batch: Batch) -> None:
        part = batch.parts[0]
        result = await self._load(batch, part)
        metrics.jobs.add(1, {"outcome": result.outcome.value})
        if result.outcome is JobOutcome.LOADED:
            await self._write_batch(state, batch.loaded(result.row_count))
            metrics.events.add(result.row_count, {"outcome": "loaded"})
        elif result.outcome is JobOutcome.FAILED:
            await self._write_batch(state, batch.failed())
            raise WarehouseUnavailableError(f"a load job failed: {result.reason}")
        else:
            await self._search_refused(state, batch, part, result.reason)

    async def _load(self, batch: Batch, part: Part) -> JobResult:
        job_id = batch.job_id(self._settings.name, part)
        if self._file is None or self._file[0] != _rows(batch, part):
            # Somebody began this before, we before a restart perhaps: the job may be there, or even done.
            result = await self._warehouse.result_of(job_id)
            if result is not None:
                return result
        packed = await self._packed(batch, part)
        return await self._warehouse.load(job_id, packed.content)

    async def _packed(self, batch: Batch, part: Part) -> Packed:
        """Return the load file of a part; read it from the feed again unless it is at hand."""
        if self._file is None or self._file[0] != _rows(batch, part):
            self._file = None
            self._file = (_rows(batch, part), await self._read_again(batch, part))
        return self._file[1]

    async def _read_again(self, batch: Batch, part: Part) -> Packed:
        feed, packer = self._open_feed(), self._new_packer()
        ahead, cursor = dict(batch.through), batch.before
        while ahead:
            page = await feed.read(cursor, max_event_count=self._page_events)
            is_end = not page.event_count and page.cursor == cursor
            if is_end and page.watermark_time >= batch.watermark_time:
                break  # the feed has less than it had: events were erased
            if is_end:
                await feed.wait(1.0)
            last = await asyncio.to_thread(
                packer.add,
                page.events,
                wanted=lambda key: batch.holds(key) and part.holds(key),
                ingested_at=self._clock.now(),
            )
            ahead = {journal: end for journal, end in ahead.items() if last.get(journal, -1) < end}
            cursor = page.cursor
        return await asyncio.to_thread(packer.finish)

    async def _search_refused(self, state: MirrorState, batch: Batch, part: Part, reason: str) -> None:
        if not batch.loaded_count and not await self._warehouse.is_accepting():
            await self._write_batch(state, batch.failed())
            raise WarehouseUnavailableError(f"the table takes no rows at all: {reason}")
        packed = await self._packed(batch, part)
        searched = batch.refused(packed.keys(), reason)
        if searched.is_hopeless:
            await self._write_batch(state, batch.restarted())
            raise WarehouseUnavailableError(f"the table takes none of the rows: {reason}")
        await self._write_batch(state, searched)

    async def _write_batch(self, state: MirrorState, batch: Batch) -> None:
        if batch.refused_rows and (batch.loaded_count or not batch.parts):
            await self._states.set_aside(batch.refused_rows)
            metrics.events.add(len(batch.refused_rows), {"outcome": "refused"})
            _log.error("the warehouse refuses rows; they are set aside", rows=len(batch.refused_rows))
            batch = batch.with_refused_rows_set_aside()
        if batch.parts:
            await self._write(state.with_batch(batch))
            return
        await self._write(state.with_batch_settled(batch))
        self._file = None
        if batch.missing_count:
            metrics.events.add(batch.missing_count, {"outcome": "missing"})
            _log.error("a batch was settled with another number of rows than it began with", rows=batch.missing_count)

    async def _write(self, state: MirrorState) -> None:
        await self._states.write(state)
        self._remember(state)

    def _remember(self, state: MirrorState) -> None:
        self._state = state
        self._settled_count = state.settled_count
        self._watermark_time = state.watermark_time or self._watermark_time

    async def report_backlog(self) -> None:
        """Say for ever, through the metrics, how far behind the mirror is."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            if self._watermark_time is not None:
                behind = (self._clock.now() - self._watermark_time).total_seconds()
                metrics.backlog_seconds.set(max(0.0, behind))
            if self._settled_count is not None:
                await self._report_backlog_events(self._settled_count)

    async def _report_backlog_events(self, settled_count: int) -> None:
        try:
            total = await self._states.feed_event_count()
        except TrellisError:
            return  # the store is down: the gauge keeps its last value, others tell about the store
        metrics.backlog_events.set(max(0, total - settled_count))


def _rows(batch: Batch, part: Part) -> _Rows:
    return batch.before, batch.after, part.after, part.upto


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret


def _log_failure(error: Exception, delay_seconds: float) -> None:
    if isinstance(error, TrellisError):
        _log.warning("the mirror will try again", error=error.message, reason=error.reason, delay_seconds=delay_seconds)
    else:
        _log.error("the mirror failed, will try again", delay_seconds=delay_seconds, exc_info=error)
