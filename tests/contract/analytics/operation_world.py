"""A small world of operations: raw events of four months, a reading of them, and what makes it again, in memory."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from analytics_svc.operation import Operation
from analytics_svc.operations import Operations
from analytics_svc.rebuild import Rederivation
from svc_runtime.clock import SystemClock
from svc_runtime.paging import PageTokens
from svc_runtime.tasks import running
from tests.contract.analytics.memory_operations import (
    MemoryMaker,
    MemoryOperationStore,
    MemoryRaw,
    MemoryReading,
    events_around,
)

START = datetime(2026, 1, 20, tzinfo=UTC)
MONTHS = tuple(date(2026, month, 1) for month in (1, 2, 3, 4))


@dataclass
class World:
    """Raw events of four months, a reading of them, and what makes it again."""

    raw: MemoryRaw
    reading: MemoryReading
    store: MemoryOperationStore
    operations: Operations
    makers: list[MemoryMaker]
    engine: Rederivation

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Do operations for the time of the block."""
        async with running("operations", self.operations.run(self.engine.run)):
            yield

    async def over(self, operation: Operation) -> Operation:
        """Wait until an operation is over; return it."""
        async with asyncio.timeout(10):
            while not (found := self.store.operations[operation.operation_id]).state.is_over:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return found

    def versions(self) -> set[tuple[str, int]]:
        """Return by which readings each organisation's events were made."""
        return {(event.organization_id, version) for event, version in self.reading.visible.values()}


def make_world(store: MemoryOperationStore | None = None, *, maker_count: int = 2) -> World:
    """Return a world in which everything was followed."""
    raw = MemoryRaw(events_around(START, 50, timedelta(days=2)))
    reading = MemoryReading()
    for event in raw.events:
        reading.follow(event)
    reading.version = 2
    store = store or MemoryOperationStore()
    ids = itertools.count(1)
    operations = Operations(store, PageTokens("m" * 32, "t"), clock=SystemClock(), mint_id=lambda: f"op_{next(ids)}")
    makers = [MemoryMaker(raw, reading) for _ in range(maker_count)]
    engine = Rederivation(raw, makers, reading, operations, writing=reading.writing)
    return World(raw, reading, store, operations, makers, engine)
