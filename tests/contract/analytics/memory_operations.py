"""Operations, months and raw events in memory, which can be made to break."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from analytics_svc.operation import Kind, Operation, Scope, month_of
from analytics_svc.raw import RawPage
from analytics_svc.store import OperationPosition
from svc_runtime.errors import UnavailableError


class MemoryOperationStore:
    """``OperationStore`` in memory."""

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}
        self.is_down = False

    async def put(self, operation: Operation) -> None:
        """See ``OperationStore.put``."""
        self._check()
        self.operations[operation.operation_id] = operation

    async def get(self, operation_id: str) -> Operation | None:
        """See ``OperationStore.get``."""
        self._check()
        return self.operations.get(operation_id)

    async def open(self) -> list[Operation]:
        """See ``OperationStore.open``."""
        self._check()
        found = [operation for operation in self.operations.values() if not operation.state.is_over]
        return sorted(found, key=_place)

    async def last_of_claim(self, organization_id: str, campaign_id: str, version: int) -> Operation | None:
        """See ``OperationStore.last_of_claim``."""
        self._check()
        wanted = (Kind.CLAIM, organization_id, campaign_id, version)
        found = [
            operation
            for operation in self.operations.values()
            if (operation.kind, operation.organization_id, operation.campaign_id, operation.claim_version) == wanted
        ]
        return max(found, key=_place, default=None)

    async def list_page(
        self, organization_id: str | None, kind: Kind | None, *, after: OperationPosition | None, limit: int
    ) -> list[Operation]:
        """See ``OperationStore.list_page``."""
        self._check()
        found = sorted(self.operations.values(), key=_place, reverse=True)
        return [
            operation
            for operation in found
            if organization_id in (None, operation.organization_id)
            and kind in (None, operation.kind)
            and (after is None or _place(operation) < (after.create_time, after.operation_id))
        ][:limit]

    def _check(self) -> None:
        if self.is_down:
            raise UnavailableError("made to fail")


def _place(operation: Operation) -> tuple[datetime, str]:
    return operation.create_time, operation.operation_id


@dataclass(frozen=True, slots=True)
class FakeEvent:
    """An event, as far as making months goes; its bytes are its number."""

    number: int
    organization_id: str
    time: datetime

    @property
    def raw(self) -> bytes:
        """What a page has of it."""
        return b"%d;" % self.number


@dataclass(slots=True)
class MemoryRaw:
    """``RawEvents`` in memory."""

    events: list[FakeEvent] = field(default_factory=list)
    page_size: int = 3
    gate: asyncio.Event | None = None
    """Pages wait for it."""
    pages_read: list[tuple[str, datetime, datetime]] = field(default_factory=list)

    async def counts(self, organization_id: str) -> Mapping[date, int]:
        """See ``RawEvents.counts``."""
        found: dict[date, int] = {}
        for event in sorted(self._of(organization_id), key=lambda event: event.time):
            found[month_of(event.time)] = found.get(month_of(event.time), 0) + 1
        return found

    async def pages(self, organization_id: str, start: datetime, end: datetime) -> AsyncGenerator[RawPage, None]:
        """See ``RawEvents.pages``."""
        self.pages_read.append((organization_id, start, end))
        found = [event for event in self._of(organization_id) if start <= event.time < end]
        found.sort(key=lambda event: (event.organization_id, event.time))
        for first in range(0, len(found), self.page_size):
            if self.gate is not None:
                await self.gate.wait()
            page = found[first : first + self.page_size]
            yield RawPage(b"".join(event.raw for event in page), len(page))

    def _of(self, organization_id: str) -> list[FakeEvent]:
        return [event for event in self.events if organization_id in ("", event.organization_id)]

    def of(self, batches: Sequence[bytes]) -> dict[int, FakeEvent]:
        """Return the events of batches, by number."""
        numbers = [int(number) for batch in batches for number in batch.split(b";") if number]
        by_number = {event.number: event for event in self.events}
        return {number: by_number[number] for number in numbers}


class MemoryReading:
    """A visible reading: what each event was made as. Its writer's lock, and its months."""

    def __init__(self) -> None:
        self.visible: dict[int, tuple[FakeEvent, int]] = {}
        """By number: the event, and the reading by which it was made."""
        self.version = 1
        self.lock = asyncio.Lock()

    def follow(self, event: FakeEvent) -> None:
        """Add what the feed brings."""
        assert not self.lock.locked(), "somebody replaces a month"
        self.visible.setdefault(event.number, (event, self.version))

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Keep the follower waiting."""
        async with self.lock:
            yield

    async def months(self, organization_id: str) -> Collection[date]:
        """See ``ReadingMonths.months``."""
        return {
            month_of(event.time) for event, _ in self.visible.values() if organization_id in ("", event.organization_id)
        }


class MemoryMaker:
    """``MonthMaker`` in memory. ``fails`` says how often each method is to fail before it works."""

    def __init__(self, raw: MemoryRaw, reading: MemoryReading) -> None:
        self._raw = raw
        self._reading = reading
        self._scope = Scope(date(1970, 1, 1))
        self._made: dict[int, FakeEvent] = {}
        self._is_settled = False
        self.fails: dict[str, int] = {}
        self.called: list[str] = []
        self.unsettled: set[date] = set()
        """Months that were to come at the last switch."""
        self.resettled: list[date] = []
        self.meanwhile: Callable[[str], None] = lambda _name: None
        """What happens while a method runs."""

    async def begin(self, scope: Scope) -> None:
        """See ``MonthMaker.begin``."""
        await self._call("begin")
        self._scope, self._made, self._is_settled = scope, {}, False

    async def derive(self, batches: Sequence[bytes], event_count: int) -> None:
        """See ``MonthMaker.derive``."""
        await self._call("derive")
        found = self._raw.of(batches)
        assert len(found) == event_count
        assert not found.keys() & self._made.keys(), "an event came twice"
        self._made |= found

    async def settle(self) -> None:
        """See ``MonthMaker.settle``."""
        await self._call("settle")
        self._is_settled = True

    async def missing(self, mark: int) -> tuple[Collection[datetime], int]:
        """See ``MonthMaker.missing``."""
        await self._call("missing")
        numbers = list(self._reading.visible)
        new = [self._reading.visible[number][0] for number in numbers[mark:]]
        return {
            event.time.replace(second=0, microsecond=0)
            for event in new
            if self._is_ours(event) and event.number not in self._made
        }, len(numbers)

    async def add(self, batches: Sequence[bytes], event_count: int) -> None:
        """See ``MonthMaker.add``."""
        await self._call("add")
        assert self._is_settled
        assert len(self._raw.of(batches)) <= event_count
        self._made |= self._raw.of(batches)

    async def switch(self, to_come: Collection[date]) -> int:
        """See ``MonthMaker.switch``."""
        await self._call("switch")
        assert self._is_settled
        assert self._reading.lock.locked()
        assert all(month > self._scope.month for month in to_come)
        self.unsettled = set(to_come)
        reading = self._reading
        kept = {number: row for number, row in reading.visible.items() if not self._is_ours(row[0])}
        reading.visible = kept | {number: (event, reading.version) for number, event in self._made.items()}
        return len(self._made)

    async def resettle(self, scope: Scope) -> None:
        """See ``MonthMaker.resettle``."""
        await self._call("resettle")
        assert self._reading.lock.locked()
        self.resettled.append(scope.month)

    def _is_ours(self, event: FakeEvent) -> bool:
        return month_of(event.time) == self._scope.month and self._scope.organization_id in ("", event.organization_id)

    async def _call(self, name: str) -> None:
        self.called.append(name)
        await asyncio.sleep(0)
        self.meanwhile(name)
        if self.fails.get(name, 0) > 0:
            self.fails[name] -= 1
            raise UnavailableError(f"{name} is made to fail")


def event_of(number: int, organization_id: str, time: datetime) -> FakeEvent:
    """Return an event."""
    return FakeEvent(number, organization_id, time)


def events_around(first: datetime, count: int, step: timedelta) -> list[FakeEvent]:
    """Return events of two organisations in turn."""
    return [event_of(n + 1, ("org_a", "org_b")[n % 2], first + n * step) for n in range(count)]
