"""Making the reading again from the raw events, month by month, while it goes on answering."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Protocol

from analytics_svc import metrics
from analytics_svc.operation import Operation, Scope, State, end_of, months_within, start_of
from analytics_svc.raw import RawEvents, RawPage
from svc_runtime.logs import get_logger
from svc_runtime.tasks import uninterrupted

ENOUGH_EVENTS = 50_000
ENOUGH_BYTES = 32 * 1024 * 1024
"""Pages are joined up to about this: one derivation."""
ROUNDS_BEFORE_LOCK = 5
"""How often we look for what arrived meanwhile before we keep others from writing."""
LOCKED_READ_SECONDS = 10.0
"""Longest time to read raw events while others cannot write."""
MOST_SPANS = 20
MINUTE = timedelta(minutes=1)
_log = get_logger(__name__)


class MonthMaker(Protocol):
    """Makes one month after the other. Every method raises UnavailableError while the store does not do its work.

    What readers see changes in ``switch`` alone.
    """

    async def begin(self, scope: Scope) -> None:
        """Begin a month, with nothing; what was made of another one is thrown away."""
        ...

    async def derive(self, batches: Sequence[bytes], event_count: int) -> None:
        """Add the rows of encoded ``EventBatch`` messages. Each event of the scope comes once."""
        ...

    async def settle(self) -> None:
        """Complete the rows, and count them, when all are there."""
        ...

    async def missing(self, mark: int) -> tuple[Collection[datetime], int]:
        """Return the minutes of which the visible reading has events of the scope that were not made yet.

        And a mark; with it, the next call of the same month looks only at what came since. 0: at everything.
        """
        ...

    async def add(self, batches: Sequence[bytes], event_count: int) -> None:
        """Add those events that were not made yet, completed and counted. After ``settle``."""
        ...

    async def switch(self, to_come: Collection[date]) -> int:
        """Let the month take the place of what is visible, roll-ups and all; return how many events it has.

        What other months take from it, those ``to_come`` apart, is changed too. Nobody else writes meanwhile. Readers
        see every row once at any moment: the old one or the new one.
        """
        ...

    async def resettle(self, scope: Scope) -> None:
        """Change what a month takes from others that were made while it was to come. Nobody else writes meanwhile."""
        ...


class ReadingMonths(Protocol):
    """Which months the visible reading has."""

    async def months(self, organization_id: str) -> Collection[date]:
        """Return the first days of the months with events of an organisation (empty: of any)."""
        ...


class Journal(Protocol):
    """Where an operation is written down."""

    async def read(self, operation_id: str) -> Operation:
        """Return it."""
        ...

    async def update(self, operation_id: str, change: Callable[[Operation], Operation]) -> Operation:
        """Change it."""
        ...

    def tell(self, operation_id: str, being_made: int) -> None:
        """Say how many events, beside those of the months that are done, are made by now."""
        ...


@dataclass(slots=True)
class _Progress:
    """Events made of months that are not done, by month."""

    journal: Journal
    operation_id: str
    left: tuple[date, ...]
    made: dict[date, int] = field(default_factory=dict)

    def to_come(self, month: date) -> tuple[date, ...]:
        """Return the months that are made after this one."""
        return tuple(left for left in self.left if left > month)

    def add(self, month: date, count: int) -> None:
        self.made[month] = self.made.get(month, 0) + count
        self._tell()

    def forget(self, month: date) -> None:
        self.made.pop(month, None)
        self._tell()

    def _tell(self) -> None:
        self.journal.tell(self.operation_id, sum(self.made.values()))


@dataclass(slots=True)
class _Month:
    """A month at work."""

    scope: Scope
    maker: MonthMaker
    mark: int = 0
    """Up to where the visible reading was looked at for what is missing."""


class Rederivation:
    """Makes months again: the engine of rebuilds and of changed mappings. One operation at a time.

    Months are made in their order, the raw events of the next one being read while one is completed: what a month's
    events take from others is there, as new as they are. A month takes the place of the visible one at once. Whatever
    ends the process leaves months that are done and months that are not.
    """

    def __init__(
        self,
        raw: RawEvents,
        makers: Sequence[MonthMaker],
        reading: ReadingMonths,
        journal: Journal,
        *,
        writing: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._raw = raw
        self._makers = makers
        self._reading = reading
        self._journal = journal
        self._writing = writing

    async def run(self, operation_id: str) -> None:
        """Do an operation from where it stands, until it is done or asked to stop. Can be done again after a failure.

        Raise UnavailableError while the store does not work; waits for capture_svc.
        """
        operation = await self._journal.read(operation_id)
        if operation.state is State.CANCELLING:
            # Given up, or cancelled before this process began.
            await self._leave(operation, self._makers[0])
            return
        if not operation.is_planned:
            operation = await self._plan(operation)
        progress = _Progress(self._journal, operation_id, operation.months_left())
        scopes = [Scope(month, operation.organization_id) for month in operation.months_left()]
        async with contextlib.aclosing(self._derived(scopes, progress)) as derived:
            async for month in derived:
                if (await self._journal.read(operation_id)).state is State.CANCELLING:
                    await self._leave(await self._journal.read(operation_id), month.maker)
                    return
                await self._finish(month, progress)

    async def _plan(self, operation: Operation) -> Operation:
        """Find out which months there are. Those that only the reading has are made again too: of nothing."""
        counts = await self._raw.counts(operation.organization_id)
        visible = await self._reading.months(operation.organization_id)
        months = months_within({*counts, *visible}, operation.span_start, operation.span_end)
        total = sum(counts.get(month, 0) for month in months)
        return await self._journal.update(
            operation.operation_id,
            lambda found: replace(found, is_planned=True, total_months=months, total_events=total),
        )

    async def _derived(self, scopes: Sequence[Scope], progress: _Progress) -> AsyncGenerator[_Month, None]:
        """Yield each month when its events are derived, in order; some of those behind it are at work meanwhile."""
        free, waiting = list(self._makers), list(scopes)
        at_work: list[tuple[_Month, asyncio.Task[None]]] = []
        try:
            while waiting or at_work:
                while waiting and free:
                    month = _Month(waiting.pop(0), free.pop(0))
                    at_work.append((month, asyncio.ensure_future(self._derive(month, progress))))
                month, task = at_work[0]
                await task
                yield month
                at_work.pop(0)
                free.append(month.maker)
        finally:
            await _ended([task for _, task in at_work])

    async def _derive(self, month: _Month, progress: _Progress) -> None:
        await month.maker.begin(month.scope)
        start, end = start_of(month.scope.month), end_of(month.scope.month)
        async with contextlib.aclosing(self._raw.pages(month.scope.organization_id, start, end)) as pages:
            async for batches, count in joined(pages):
                await month.maker.derive(batches, count)
                metrics.rederived_events.add(count)
                progress.add(month.scope.month, count)

    async def _leave(self, operation: Operation, maker: MonthMaker) -> None:
        """Stop here: the months that do not come any more are to agree with those that are made."""
        for month in operation.months_left() if operation.done_months else ():
            async with self._writing():
                await uninterrupted(maker.resettle(Scope(month, operation.organization_id)))

    async def _finish(self, month: _Month, progress: _Progress) -> None:
        await month.maker.settle()
        for _ in range(ROUNDS_BEFORE_LOCK):
            if not await self._catch_up(month):
                break
        while (count := await self._switched(month, progress.to_come(month.scope.month))) is None:
            await self._catch_up(month)
        progress.forget(month.scope.month)
        await self._journal.update(progress.operation_id, lambda found: _with_month(found, month.scope.month, count))
        _log.info("a month is made again", month=f"{month.scope.month:%Y-%m}", event_count=count)

    async def _catch_up(self, month: _Month) -> bool:
        """Add what arrived meanwhile; tell whether there was any."""
        minutes, mark = await month.maker.missing(month.mark)
        for start, end in spans_of(minutes):
            async with contextlib.aclosing(self._raw.pages(month.scope.organization_id, start, end)) as pages:
                async for batches, count in joined(pages):
                    await month.maker.add(batches, count)
        month.mark = mark
        return bool(minutes)

    async def _switched(self, month: _Month, to_come: Collection[date]) -> int | None:
        """Let the month take its place while nobody writes, and return its events.

        None, and nothing done, where what arrived last is much, or cannot be had quickly.
        """
        async with self._writing():
            began = asyncio.get_running_loop().time()
            minutes, mark = await month.maker.missing(month.mark)
            last = await self._read_quickly(month.scope, minutes)
            if last is None:
                return None
            if last:
                await month.maker.add([page.events for page in last], sum(page.event_count for page in last))
            month.mark = mark
            count = await uninterrupted(month.maker.switch(to_come))
            metrics.switch_duration.record(asyncio.get_running_loop().time() - began)
        return count

    async def _read_quickly(self, scope: Scope, minutes: Collection[datetime]) -> list[RawPage] | None:
        """Return the raw events of these minutes; None where they are many or take long."""
        found: list[RawPage] = []
        try:
            async with asyncio.timeout(LOCKED_READ_SECONDS):
                for start, end in spans_of(minutes):
                    async with contextlib.aclosing(self._raw.pages(scope.organization_id, start, end)) as pages:
                        async for page in pages:
                            found.append(page)
                            if sum(page.event_count for page in found) > ENOUGH_EVENTS:
                                return None
        except TimeoutError:
            return None
        return found


def spans_of(minutes: Collection[datetime]) -> list[tuple[datetime, datetime]]:
    """Return the fewest spans, but at most ``MOST_SPANS``, that these minutes lie in: cut where the gaps are widest."""
    ordered = sorted(set(minutes))
    if not ordered:
        return []
    gaps = sorted(
        (index for index in range(1, len(ordered)) if ordered[index] - ordered[index - 1] > MINUTE),
        key=lambda index: ordered[index] - ordered[index - 1],
        reverse=True,
    )
    cuts = [0, *sorted(gaps[: MOST_SPANS - 1]), len(ordered)]
    return [(ordered[first], ordered[last - 1] + MINUTE) for first, last in itertools.pairwise(cuts)]


async def joined(pages: AsyncIterator[RawPage]) -> AsyncIterator[tuple[Sequence[bytes], int]]:
    """Yield pages together, as batches with their number of events, until there is enough for one derivation."""
    batches: list[bytes] = []
    event_count = byte_count = 0
    async for page in pages:
        batches.append(page.events)
        event_count += page.event_count
        byte_count += len(page.events)
        if event_count >= ENOUGH_EVENTS or byte_count >= ENOUGH_BYTES:
            yield batches, event_count
            batches, event_count, byte_count = [], 0, 0
    if batches:
        yield batches, event_count


def _with_month(operation: Operation, month: date, event_count: int) -> Operation:
    done = operation.done_events + event_count
    return replace(
        operation,
        done_months=(*operation.done_months, month),
        done_events=done,
        total_events=max(operation.total_events, done),
    )


async def _ended(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel the tasks and wait for them, whatever they end with."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
