"""The journal as the gateway sees it: append, be told when it is on disk, ship, acknowledge.

Group commit without a timer: events that arrive while one group is being written form the next, so the disk sets the
pace. One thread writes; everything else happens on the event loop. Memory is bounded by ``pending_bytes_limit``, disk
by ``disk_bytes_limit``.
"""

import asyncio
import errno
import fcntl
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from ingress_gateway.journal.backlog import Backlog
from ingress_gateway.journal.disk import Disk, OsDisk
from ingress_gateway.journal.frame import Damage, Meta, scan
from ingress_gateway.journal.limits import JournalCounters, JournalLimits
from ingress_gateway.journal.recovery import POSITION_FILE, Batch, Position, Recovered, recover, set_aside
from ingress_gateway.journal.segments import Extent, SegmentWriter
from ingress_gateway.journal.waiting import JournalFullError, Waiter
from svc_runtime.logs import get_logger
from svc_runtime.varint import encode_varint

LOCK_FILE = "lock"
_LARGEST_GROUP_BYTES = 1024 * 1024
_PAUSE_AFTER_FAILURE_SECONDS = 0.1
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_log = get_logger(__name__)


@dataclass(slots=True)
class _Group:
    sequence: int
    meta: Meta
    chunks: list[bytes] = field(default_factory=list)
    waiters: list[Waiter] = field(default_factory=list)
    byte_count: int = 0
    batch: int = 0
    timer: asyncio.TimerHandle | None = None
    """Set while a waiter has not heard that it is overdue."""
    told_count: int = 0
    """Waiters that have heard it."""


class Journal:
    """One directory, one writer. Open it with ``Journal.open``; use it on one event loop."""

    def __init__(
        self,
        directory: Path,
        lock_descriptor: int,
        found: Recovered,
        writer: SegmentWriter,
        disk: Disk,
        limits: JournalLimits,
    ) -> None:
        self._directory = directory
        self._lock_descriptor = lock_descriptor
        self._disk = disk
        self._limits = limits
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._key = found.key
        self.journal_id = found.journal_id
        self.counters = JournalCounters(damaged_count=found.damaged_count)
        self.backlog = Backlog(found.settled, found.batches)
        # Above all that an earlier run has used, even one whose position file or last frames are lost: no journal
        # counts a million events a second since 1970. A number that comes twice would be taken for stored already.
        self._sequence = max(found.last_sequence, time.time_ns() // 1000)
        self._segments = found.segments
        self._segment_bytes = found.segment_bytes
        self._last_sequences = found.last_sequences
        self._disk_bytes = sum(found.segment_bytes.values())
        self._batch: Batch | None = None
        self._batch_opened_at = 0.0
        self._closing_batch: asyncio.TimerHandle | None = None
        self._filling: _Group | None = None
        self._waiting: deque[_Group] = deque()
        self._in_flight: _Group | None = None
        self._pending_bytes = 0
        self._fail_until = 0.0
        self._next_hand_over = 0.0
        self._paced: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._queue: SimpleQueue[_Group | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write_groups, name="journal-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(
        cls,
        directory: Path,
        limits: JournalLimits | None = None,
        *,
        disk: Disk | None = None,
        spare_directory: Path | None = None,
    ) -> "Journal":
        """Lock and recover a directory. Raises BlockingIOError when another process has it."""
        limits, disk = limits or JournalLimits(), disk or OsDisk()
        disk.make_directory(directory)
        lock_descriptor = _lock(directory)
        try:
            found = await asyncio.to_thread(recover, disk, directory, spare_directory)
        except BaseException:
            os.close(lock_descriptor)
            raise
        writer = SegmentWriter(
            disk,
            directory,
            found.key,
            next_number=found.next_segment,
            segment_bytes=limits.segment_bytes,
            spare_directory=spare_directory,
        )
        return cls(directory, lock_descriptor, found, writer, disk, limits)

    # -- append ---------------------------------------------------------------------------------------------------

    def next_sequence(self) -> int:
        """Return the sequence for the next event; encode it into the event, then append it before the next one."""
        self._sequence += 1
        return self._sequence

    def append(
        self,
        sequence: int,
        event: bytes,
        organization_id: str,
        waiter: Waiter,
        *,
        is_keyed: bool = False,
        traceparent: str = "",
    ) -> None:
        """Take an encoded Event; ``waiter`` hears when it is on disk. Raises JournalFullError at a bound."""
        size = len(event) + 6
        if self._pending_bytes + size > self._limits.pending_bytes_limit:
            self.counters.refused_event_count += 1
            raise JournalFullError(
                f"{self._pending_bytes} bytes wait for the disk; the limit is {self._limits.pending_bytes_limit}"
            )
        if self._disk_bytes > self._limits.disk_bytes_limit:
            self.counters.refused_event_count += 1
            raise JournalFullError(
                f"the journal holds {self._disk_bytes} bytes; the limit is {self._limits.disk_bytes_limit}"
            )
        if self._fail_until and self._loop.time() < self._fail_until:
            self.counters.refused_event_count += 1
            raise JournalFullError("the journal's disk does not take writes")
        group = self._filling
        if group is None or group.byte_count + size > _LARGEST_GROUP_BYTES:
            group = self._begin_group(sequence)
        group.chunks.append(b"\x0a" + encode_varint(len(event)))
        group.chunks.append(event)
        group.waiters.append(waiter)
        if group.timer is None:
            group.timer = self._loop.call_later(self._limits.overdue_seconds, self._overdue, group)
        group.byte_count += size
        self._pending_bytes += size
        meta = group.meta
        meta.last_sequence = sequence
        meta.counts[organization_id] = meta.counts.get(organization_id, 0) + 1
        if is_keyed:
            meta.is_keyed = True
        if traceparent:
            meta.traceparents.append(traceparent)

    def _begin_group(self, sequence: int) -> _Group:
        if self._filling is not None:
            self._waiting.append(self._filling)
        group = self._filling = _Group(sequence, Meta(last_sequence=sequence))
        if self._in_flight is None and not self._waiting:
            self._idle.clear()
            # At the end of this turn of the loop: everything that the turn read joins the group.
            self._loop.call_soon(self._hand_over)
        return group

    def _overdue(self, group: _Group) -> None:
        """Tell who waits; who joins the group after that gets a timer of their own."""
        group.timer = None
        waiters = group.waiters[group.told_count :]
        group.told_count = len(group.waiters)
        for waiter in waiters:
            try:
                waiter.overdue()
            except Exception:  # noqa: BLE001 - one waiter's defect must not leave the others waiting
                _log.exception("a waiter failed")

    def _hand_over(self) -> None:
        """Give the oldest group to the writer, if it is free and its last one began a pace ago.

        A group costs the same whatever it holds. Under load a short wait makes few large ones of many small ones.
        """
        if self._in_flight is not None or self._paced is not None:
            return
        now = self._loop.time()
        if now < self._next_hand_over and (self._waiting or self._filling is not None):
            self._paced = self._loop.call_at(self._next_hand_over, self._hand_over_paced)
            return
        if self._waiting:
            group = self._waiting.popleft()
        elif self._filling is not None:
            group, self._filling = self._filling, None
        else:
            self._idle.set()
            return
        group.meta.event_count = len(group.waiters)
        group.batch = self._batch_for(group)
        self._in_flight = group
        self._next_hand_over = now + self._limits.group_seconds
        self._queue.put(group)

    def _hand_over_paced(self) -> None:
        self._paced = None
        self._next_hand_over = 0.0
        self._hand_over()

    def _batch_for(self, group: _Group) -> int:
        """Decide here, before the bytes are written, to which batch a group belongs: the frame says it for ever."""
        batch = self._batch
        if batch is not None and batch.byte_count + group.byte_count > self._limits.batch_bytes:
            self._close_batch()
            batch = None
        if batch is None:
            self._batch = batch = Batch(group.sequence, Meta(last_sequence=group.sequence))
            self._batch_opened_at = self._loop.time()
            self._schedule_closing(self._limits.batch_seconds)
        return batch.sequence

    # -- the writer thread ----------------------------------------------------------------------------------------

    def _write_groups(self) -> None:
        while (group := self._queue.get()) is not None:
            started = time.perf_counter()
            outcome: Extent | Exception
            try:
                outcome = self._writer.write(group.sequence, group.batch, group.meta.encode(), b"".join(group.chunks))
            except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for a dead thread
                outcome = error
            self.counters.write_seconds += time.perf_counter() - started
            try:
                self._loop.call_soon_threadsafe(self._written, group, outcome)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more
        self._writer.close()

    # -- after a write --------------------------------------------------------------------------------------------

    def _written(self, group: _Group, outcome: Extent | Exception) -> None:
        self._in_flight = None
        self._pending_bytes -= group.byte_count
        if group.timer is not None:
            group.timer.cancel()
        is_durable = isinstance(outcome, Extent)
        if isinstance(outcome, Extent):
            self._fail_until = 0.0
            self._note_written(group, outcome)
        else:
            self._note_failed(group, outcome)
        self.counters.abandoned_segment_count = self._writer.abandoned_count
        # The next group goes to the disk while we answer this one.
        self._hand_over()
        for waiter in group.waiters:
            try:
                waiter.settled(is_durable)
            except Exception:  # noqa: BLE001 - one waiter's defect must not leave the others waiting
                _log.exception("a waiter failed")

    def _note_written(self, group: _Group, extent: Extent) -> None:
        counters = self.counters
        counters.group_count += 1
        counters.written_event_count += group.meta.event_count
        counters.written_byte_count += extent.payload_length
        if extent.segment not in self._segments:
            # A first frame that is larger than a segment has one of its own size.
            size = max(self._limits.segment_bytes, extent.offset + extent.length)
            self._segments[extent.segment] = extent.path
            self._segment_bytes[extent.segment] = size
            self._disk_bytes += size
        self._last_sequences[extent.segment] = group.meta.last_sequence
        self.backlog.count(group.meta)
        batch = self._batch
        if batch is None:
            raise RuntimeError("a batch was closed while its group was being written")
        batch.take(group.meta, extent)

    def _note_failed(self, group: _Group, error: Exception) -> None:
        # What failed may be on the disk nevertheless: it must not be found in the batch of a later group.
        self._close_batch()
        self.counters.failed_event_count += group.meta.event_count
        self._fail_until = self._loop.time() + _PAUSE_AFTER_FAILURE_SECONDS
        _log.error("journal write failed", event_count=group.meta.event_count, error=repr(error))

    # -- batches --------------------------------------------------------------------------------------------------

    def _schedule_closing(self, seconds: float) -> None:
        self._closing_batch = self._loop.call_later(seconds, self._batch_is_old)

    def _batch_is_old(self) -> None:
        self._closing_batch = None
        if self._batch is None:
            return
        age = self._loop.time() - self._batch_opened_at
        still_writing = self._in_flight is not None and self._in_flight.batch == self._batch.sequence
        has_backlog = self.backlog.is_long and age < self._limits.backlog_batch_seconds
        if still_writing or has_backlog:
            self._schedule_closing(self._limits.batch_seconds)
            return
        self._close_batch()

    def _close_batch(self) -> None:
        if self._closing_batch is not None:
            self._closing_batch.cancel()
            self._closing_batch = None
        batch, self._batch = self._batch, None
        if batch is not None and batch.extents:
            self.backlog.add(batch)

    def read(self, batch: Batch) -> bytes:
        """Return a batch's EventBatch bytes. Blocks on the disk; call it in a thread.

        Frames that were damaged since they were written are set aside and left out: the rest must not wait for them.
        Raises OSError when the disk does not read.
        """
        payloads: list[bytes] = []
        for extent in batch.extents:
            try:
                data = self._disk.read(extent.path, extent.offset, extent.length)
            except FileNotFoundError:
                data = b""
            left = extent.payload_length
            for item in scan(memoryview(data), self._key, 0):
                if isinstance(item, Damage):
                    stretch = data[item.offset : item.offset + item.length]
                    set_aside(self._disk, self._directory, extent.path, extent.offset + item.offset, stretch)
                else:
                    payloads.append(data[item.end - item.payload_length : item.end])
                    left -= item.payload_length
            if left:
                self.counters.damaged_count += 1
                _log.error("a batch of the journal is damaged", sequence=batch.sequence, lost_byte_count=left)
        return b"".join(payloads)

    async def checkpoint(self) -> None:
        """Remember what is settled, then remove the segments that hold nothing else: in that order."""
        position = Position(self.backlog.settled, self._sequence).encode(self._key)
        oldest = self.backlog.oldest or self._batch
        oldest_needed = oldest.sequence if oldest is not None else self._sequence + 1
        current = self._writer.current_number
        removable = [
            number
            for number, last in self._last_sequences.items()
            if last < oldest_needed and number != current and number in self._segments
        ]
        path = self._directory / POSITION_FILE
        try:
            await asyncio.to_thread(self._disk.replace, path, position)
        except OSError as error:
            if error.errno not in _NO_SPACE or not removable:
                raise
            # We have filled the disk ourselves: there is no room for the position before a segment makes it.
            await self._remove(removable.pop(0))
            await asyncio.to_thread(self._disk.replace, path, position)
        for number in removable:
            await self._remove(number)

    async def _remove(self, number: int) -> None:
        await asyncio.to_thread(self._disk.remove, self._segments[number])
        del self._segments[number], self._last_sequences[number]
        self._disk_bytes -= self._segment_bytes.pop(number)

    # -- state ----------------------------------------------------------------------------------------------------

    @property
    def disk_bytes(self) -> int:
        """Bytes of segments on disk."""
        return self._disk_bytes

    @property
    def is_accepting(self) -> bool:
        """False while a bound is reached or the disk fails."""
        return (
            self._disk_bytes <= self._limits.disk_bytes_limit
            and self._pending_bytes < self._limits.pending_bytes_limit
            and self._loop.time() >= self._fail_until
        )

    async def flush(self) -> None:
        """Wait until everything appended so far is on disk or failed, and close the batch."""
        while self._in_flight is not None or self._filling is not None:
            await self._idle.wait()
        self._close_batch()

    async def close(self) -> None:
        """Flush, stop the writer, save the position, and let the directory go."""
        await self.flush()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        try:
            await self.checkpoint()
        except OSError as error:
            _log.warning("the journal's position could not be saved", error=repr(error))
        finally:
            os.close(self._lock_descriptor)


def _lock(directory: Path) -> int:
    descriptor = os.open(directory / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
