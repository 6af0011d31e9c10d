"""Realtime, shared: however many watch an organisation's page, it is worked out once; while none does, not at all."""

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from datetime import datetime
from typing import Any

from analytics_svc import metrics
from analytics_svc.realtime import (
    Realtime,
    RealtimeQuery,
    Top,
    Window,
    change_of,
    compile_edges,
    compile_minutes,
    compile_tops,
    tops_of,
    traffic_of,
)
from analytics_svc.store import ReadingReader
from svc_runtime.clock import Clock
from svc_runtime.errors import InternalError, RateLimitedError, TrellisError
from svc_runtime.logs import get_logger

TICK_SECONDS = 1.0
"""Shortest time between two answers to one question."""
SILENCE_SECONDS = 15.0
"""Longest time between them for those who watch."""
_SHARE = 9
"""How many times as long as an answer took we wait before the next: watching takes a tenth of the time of a thread."""
_WATCHERS_PER_ORGANIZATION = 200
_QUESTIONS_PER_ORGANIZATION = 20
_KEPT_BOARDS = 256
_log = get_logger(__name__)


class RealtimeQuestions:
    """Answers and pushes. Errors are those of ``ReadingReader.rows``. For one event loop."""

    def __init__(
        self,
        reader: ReadingReader,
        *,
        clock: Clock,
        watermark_time: Callable[[], datetime | None] = lambda: None,
        tick_seconds: float = TICK_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._watermark_time = watermark_time
        self._tick_seconds = tick_seconds
        self._silence_seconds = silence_seconds
        self._boards: OrderedDict[RealtimeQuery, _Board] = OrderedDict()
        self._watchers: Counter[str] = Counter()

    def close(self) -> None:
        """End every watch: they never end by themselves, and a drain would last its whole time."""
        for board in self._boards.values():
            board.end()

    @property
    def watcher_count(self) -> int:
        """How many watch."""
        return self._watchers.total()

    async def get(self, query: RealtimeQuery) -> Realtime:
        """Return what is going on, at most a second old, or older where it takes long to work out."""
        board = self._board(query)
        await board.refresh(self._pause(board.took_seconds))
        return board.current

    async def watch(self, query: RealtimeQuery) -> AsyncGenerator[Realtime, None]:
        """Yield what is going on: at once, after every change, and every 15 seconds at least.

        Who is slow gets the newest, and misses those between. Raise RateLimitedError where the organisation watches
        too much already.
        """
        with self._watching(query) as board:
            # An answer that somebody asked for once, long ago, is none now.
            seen = 0 if board.age_seconds < self._silence_seconds else board.version
            while await board.is_newer(seen):
                seen = board.version
                yield board.current

    @contextlib.contextmanager
    def _watching(self, query: RealtimeQuery) -> "Iterator[_Board]":
        organization_id = query.organization_id
        watched = [q for q, b in self._boards.items() if b.watcher_count and q.organization_id == organization_id]
        if self._watchers[organization_id] >= _WATCHERS_PER_ORGANIZATION:
            raise RateLimitedError(
                f"the organisation watches {_WATCHERS_PER_ORGANIZATION} times, the limit", retry_after_seconds=10
            )
        if query not in watched and len(watched) >= _QUESTIONS_PER_ORGANIZATION:
            raise RateLimitedError(
                f"the organisation watches {_QUESTIONS_PER_ORGANIZATION} different questions, the limit",
                retry_after_seconds=10,
            )
        board = self._board(query)
        self._watchers[organization_id] += 1
        board.enter(lambda: self._keep_fresh(board))
        metrics.realtime_watchers.add(1)
        try:
            yield board
        finally:
            metrics.realtime_watchers.add(-1)
            board.leave()
            self._watchers[organization_id] -= 1
            if not self._watchers[organization_id]:
                del self._watchers[organization_id]

    async def _keep_fresh(self, board: "_Board") -> None:
        """Answer the board's question again and again while somebody watches."""
        try:
            while True:
                await self._look(board)
                await asyncio.sleep(self._pause(board.took_seconds))
        except TrellisError as error:
            board.fail(error)
        except Exception:  # noqa: BLE001 - whatever it was, nobody is to wait for ever
            _log.exception("realtime failed")
            board.fail(InternalError())

    async def _look(self, board: "_Board") -> None:
        """Make a new answer if there is reason to. Raise what prevents it once the old one is too old."""
        is_due = board.age_seconds >= self._silence_seconds
        if not is_due and board.watermark_time == self._watermark_time():
            return
        try:
            await board.refresh(self._tick_seconds)
        except TrellisError as error:
            _log.warning("realtime could not be worked out", reason=error.reason)
            if is_due:
                raise

    def _pause(self, took_seconds: float) -> float:
        return min(max(self._tick_seconds, _SHARE * took_seconds), self._silence_seconds)

    def _board(self, query: RealtimeQuery) -> "_Board":
        board = self._boards.get(query)
        if board is None:
            # Before the new one is among them: nobody uses it yet.
            self._forget()
            board = self._boards[query] = _Board(query, self._reader, self._clock, self._watermark_time)
        self._boards.move_to_end(query)
        return board

    def _forget(self) -> None:
        """Let go of the answers that nobody has asked for longest, to make room for one."""
        unused = [query for query, board in self._boards.items() if not board.is_used]
        for query in unused[: max(0, len(self._boards) + 1 - _KEPT_BOARDS)]:
            del self._boards[query]


class _Board:
    """One question, its newest answer, and those who wait for the next."""

    def __init__(
        self,
        query: RealtimeQuery,
        reader: ReadingReader,
        clock: Clock,
        watermark_time: Callable[[], datetime | None],
    ) -> None:
        self.query = query
        self.watcher_count = 0
        self._reader = reader
        self._clock = clock
        self._watermark_time = watermark_time
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self.version = 0
        """Rises with every answer."""
        self.took_seconds = 0.0
        """Of the newest answer, its day's lists aside."""
        self._is_ended = False
        self._error: TrellisError | None = None
        self._task: asyncio.Task[None] | None = None
        self._state: Realtime | None = None
        self._made_at = float("-inf")
        self._day: tuple[datetime, str, tuple[Top, ...]] | None = None
        self._day_due_at = 0.0

    @property
    def current(self) -> Realtime:
        """The newest answer; there is one after ``refresh`` and ``is_newer``."""
        if self._state is None:
            raise RuntimeError("asked before the first answer")
        return self._state

    @property
    def is_used(self) -> bool:
        """True while somebody watches or waits for an answer."""
        return bool(self.watcher_count) or self._lock.locked()

    @property
    def age_seconds(self) -> float:
        """Time since the newest answer was made."""
        return asyncio.get_running_loop().time() - self._made_at

    @property
    def watermark_time(self) -> datetime | None:
        """The watermark of the newest answer."""
        return self._state.watermark_time if self._state else None

    def enter(self, keep_fresh: "Callable[[], Coroutine[Any, Any, None]]") -> None:
        """Count one more who watches; the first one starts the work."""
        self.watcher_count += 1
        if self._task is None or self._task.done():
            self._error, self._is_ended = None, False
            self._task = asyncio.create_task(keep_fresh())

    def leave(self) -> None:
        """Count one less; with the last one the work ends."""
        self.watcher_count -= 1
        if not self.watcher_count and self._task is not None:
            self._task.cancel()
            self._task = None

    def fail(self, error: TrellisError) -> None:
        """Raise an error from everybody's ``is_newer``."""
        self._error = error
        self._wake()

    def end(self) -> None:
        """Let everybody's ``is_newer`` be false."""
        self._is_ended = True
        self._wake()

    async def is_newer(self, version: int) -> bool:
        """Wait until there is another answer than that of ``version``; false at the end. Raise what prevents it."""
        while self.version == version and self._error is None and not self._is_ended:
            await self._changed.wait()
        if self._error is not None:
            raise self._error
        return not self._is_ended

    async def refresh(self, fresh_seconds: float) -> None:
        """Make a new answer unless there is one that is fresh. Who comes meanwhile gets the same one."""
        async with self._lock:
            if self.age_seconds < fresh_seconds:
                return
            self._state = await self._answer()
            self.took_seconds = self._state.elapsed_seconds
            self._made_at = asyncio.get_running_loop().time()
        self.version += 1
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _answer(self) -> Realtime:
        query = self.query
        # Read before the rows are: they may have more than it says, never less.
        watermark_time = self._watermark_time()
        window = Window.at(self._clock.now(), query.time_zone)
        minutes = await self._reader.rows(compile_minutes(query, window))
        traffic = traffic_of(window, minutes)
        edges = await self._reader.rows(compile_edges(query, window))
        edge_clicks, active_users = edges.rows[0]
        hour = await self._reader.rows(compile_tops(query, window.hour_start, window.end, currency=traffic.currency))
        return Realtime(
            query,
            window,
            watermark_time,
            traffic,
            change_of(traffic, edge_clicks),
            active_users,
            tops_of(hour),
            await self._day_tops(window, traffic.currency),
            rows_read=sum(rows.rows_read for rows in (minutes, edges, hour)),
            elapsed_seconds=sum(rows.elapsed_seconds for rows in (minutes, edges, hour)),
        )

    async def _day_tops(self, window: Window, currency: str) -> tuple[Top, ...]:
        """Return the day's lists. A day of many events takes long to list: then they are older than the rest."""
        loop = asyncio.get_running_loop()
        if self._day is None or self._day[:2] != (window.midnight, currency) or loop.time() >= self._day_due_at:
            rows = await self._reader.rows(compile_tops(self.query, window.midnight, window.end, currency=currency))
            self._day = window.midnight, currency, tops_of(rows)
            self._day_due_at = loop.time() + _SHARE * rows.elapsed_seconds
        return self._day[2]
