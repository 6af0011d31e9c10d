"""What is on disk and not acknowledged: the batches that wait to be shipped, and the count of their events."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Iterator

from ingress_gateway.journal.frame import Meta
from ingress_gateway.journal.recovery import Batch

_MOST_AT_ONCE = 64
_LONG = 8


class Backlog:
    """Closed batches in order. An event counts from its write, before its batch is closed."""

    def __init__(self, settled: int, batches: Iterable[Batch]) -> None:
        self.settled = settled
        """Every batch up to this sequence is stored for good."""
        self.pending: dict[str, int] = {}
        """Events by organisation."""
        self._batches: deque[Batch] = deque(batches)
        self._added = asyncio.Event()
        for batch in self._batches:
            self.count(batch.meta)

    def count(self, meta: Meta, sign: int = 1) -> None:
        """Count the events of a group that was written."""
        for organization_id, count in meta.counts.items():
            left = self.pending.get(organization_id, 0) + sign * count
            if left:
                self.pending[organization_id] = left
            else:
                self.pending.pop(organization_id, None)

    def add(self, batch: Batch) -> None:
        """Add a closed batch, whose events were counted when they were written."""
        self._batches.append(batch)
        self._added.set()

    def __iter__(self) -> Iterator[Batch]:
        """Walk the batches, oldest first."""
        return iter(self._batches)

    def after(self, sequence: int) -> list[Batch]:
        """Return the batches after ``sequence``, oldest first, at most 64."""
        found: list[Batch] = []
        for batch in self._batches:
            if batch.sequence > sequence:
                found.append(batch)
                if len(found) == _MOST_AT_ONCE:
                    break
        return found

    async def wait(self, seconds: float) -> None:
        """Return when a batch may have been added, or after ``seconds``."""
        self._added.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._added.wait()

    def acknowledge(self, sequence: int) -> None:
        """Everything up to the batch ``sequence`` is stored for good."""
        while self._batches and self._batches[0].sequence <= sequence:
            self.count(self._batches.popleft().meta, -1)
        self.settled = max(self.settled, sequence)

    @property
    def oldest(self) -> Batch | None:
        """The oldest batch, if any."""
        return self._batches[0] if self._batches else None

    @property
    def is_long(self) -> bool:
        """True while shipping does not keep up."""
        return len(self._batches) > _LONG

    @property
    def event_count(self) -> int:
        """Events on disk that are not acknowledged."""
        return sum(self.pending.values())
