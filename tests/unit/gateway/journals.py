"""A journal on a fake disk, with a ledger of what was acknowledged, and the checker of promise P1."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ingress_gateway.journal.journal import Journal
from ingress_gateway.journal.limits import JournalLimits
from ingress_gateway.journal.recovery import Batch
from ingress_gateway.journal.waiting import JournalFullError
from tests.unit.gateway.disks import FakeDisk, Operation
from trellis.capture.v1 import event_pb2

SMALL = JournalLimits(segment_bytes=4096, batch_seconds=60.0, backlog_batch_seconds=60.0)
QUICK = JournalLimits(segment_bytes=4096, batch_seconds=0.02, backlog_batch_seconds=0.05, overdue_seconds=0.02)
ORGANIZATION = "org_acmecorp"


async def until(condition: Callable[[], object], *, seconds: float = 5.0) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in threads and in code that has no event
            await asyncio.sleep(0.0005)


class Gate:
    """A fault that lets no append through until it is opened."""

    def __init__(self, kind: str = "append") -> None:
        self._kind = kind
        self._open = threading.Event()
        self.reached = threading.Event()

    def __call__(self, operation: Operation) -> None:
        if operation.kind == self._kind and operation.offset >= 40:
            self.reached.set()
            assert self._open.wait(10)

    def open(self) -> None:
        self._open.set()


class Heard:
    """A waiter that remembers what it heard, and how far the disk was by then."""

    def __init__(self, disk: FakeDisk | None = None) -> None:
        self._disk = disk
        self.outcomes: list[bool] = []
        self.operation_count = -1
        self.overdue_count = 0
        self.done = asyncio.Event()

    def settled(self, is_durable: bool) -> None:
        self.outcomes.append(is_durable)
        if self._disk is not None:
            self.operation_count = len(self._disk.operations)
        self.done.set()

    def overdue(self) -> None:
        self.overdue_count += 1

    @property
    def is_acknowledged(self) -> bool:
        return self.outcomes == [True]


def encoded(sequence: int, body: bytes = b"") -> bytes:
    """Return an encoded Event."""
    return event_pb2.Event(sequence=sequence, organization_id=ORGANIZATION, body=body).SerializeToString()


def sequences(batch_bytes: bytes) -> list[int]:
    """Return the sequences of the events in an EventBatch."""
    return [event.sequence for event in event_pb2.EventBatch.FromString(batch_bytes).events]


@dataclass(slots=True)
class Run:
    """One life of a journal, from its opening to its end."""

    journal: Journal
    disk: FakeDisk
    heard: dict[int, Heard] = field(default_factory=dict)
    """By sequence: everything that was appended."""

    @classmethod
    async def begin(
        cls,
        directory: Path,
        disk: FakeDisk,
        limits: JournalLimits = SMALL,
        *,
        spare_directory: Path | None = None,
        journal_class: type[Journal] = Journal,
    ) -> "Run":
        journal = await journal_class.open(directory, limits, disk=disk, spare_directory=spare_directory)
        return cls(journal, disk)

    def append(self, body: bytes = b"", *, organization_id: str = ORGANIZATION) -> Heard:
        """Append an event; nobody waits yet."""
        sequence = self.journal.next_sequence()
        heard = Heard(self.disk)
        self.journal.append(sequence, encoded(sequence, body), organization_id, heard)
        self.heard[sequence] = heard
        return heard

    async def append_and_wait(self, *bodies: bytes) -> list[int]:
        """Append events, one group, and return their sequences when they are settled."""
        before = set(self.heard)
        heards = [self.append(body) for body in bodies]
        for heard in heards:
            await heard.done.wait()
        return sorted(set(self.heard) - before)

    @property
    def acknowledged(self) -> list[int]:
        """Sequences that somebody was told are safe."""
        return [sequence for sequence, heard in self.heard.items() if heard.is_acknowledged]

    async def batches(self) -> dict[int, bytes]:
        """Close the current batch and return all that wait, by their sequence."""
        await self.journal.flush()
        return await waiting_batches(self.journal)

    async def kill(self) -> None:
        """End without a flush, as SIGKILL does; the disk keeps what it has."""
        self.disk.fault = _powered_off
        self.journal._queue.put(None)
        await asyncio.to_thread(self.journal._thread.join)
        if self.journal._closing_batch is not None:
            self.journal._closing_batch.cancel()
        os.close(self.journal._lock_descriptor)


def _powered_off(_operation: object) -> None:
    raise OSError("there is no power")


async def waiting_batches(journal: Journal) -> dict[int, bytes]:
    """Return the closed batches that wait to be shipped, with their bytes."""
    found: dict[int, bytes] = {}
    after = 0
    while page := journal.backlog.after(after):
        for batch in page:
            assert batch.sequence not in found, "two batches have one number"
            found[batch.sequence] = await asyncio.to_thread(journal.read, batch)
            _check_meta(batch, found[batch.sequence])
        after = page[-1].sequence
    return found


def _check_meta(batch: Batch, data: bytes) -> None:
    held = sequences(data)
    assert batch.meta.event_count == len(held) == sum(batch.meta.counts.values())
    assert batch.meta.last_sequence == held[-1]
    assert batch.byte_count == len(data)


def check_kept(batches: dict[int, bytes], acknowledged: Iterable[int], settled: int = 0) -> None:
    """Raise AssertionError unless every acknowledged event above ``settled`` is in exactly one batch, in order.

    ``settled`` is what capture_svc has acknowledged: the last sequence of the last such batch.
    """
    held = [sequence for number in sorted(batches) for sequence in sequences(batches[number])]
    assert held == sorted(set(held)), "events are there twice, or out of order"
    missing = [sequence for sequence in acknowledged if sequence > settled and sequence not in set(held)]
    assert not missing, f"{len(missing)} acknowledged events are lost, the first is {missing[0]}"


async def reopened_batches(directory: Path, disk: FakeDisk, **more: Path) -> dict[int, bytes]:
    """Open a journal, read what waits in it, and end it."""
    run = await Run.begin(directory, disk, **more)
    try:
        return await run.batches()
    finally:
        await run.kill()


__all__ = [
    "SMALL",
    "Heard",
    "JournalFullError",
    "Run",
    "check_kept",
    "encoded",
    "reopened_batches",
    "sequences",
    "until",
    "waiting_batches",
]


async def wait_for(run: Run, count: int) -> None:
    """Wait until so many events are acknowledged."""
    await until(lambda: len(run.acknowledged) >= count)
