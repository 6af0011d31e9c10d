"""Builds that break a promise on purpose: ``python -m tests.faults.mutants NAME`` runs one in its service's place.

A checker that convicts none of them checks nothing. Each changes one thing of the real build, at run time. The last two
are about the sync: ``power_loss`` is the honest gateway on a disk that forgets at the end of the process what was not
synced, as a machine does at a loss of power; ``skip_sync`` is the same with a gateway that does not sync.
"""

import asyncio
import os
import sys
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

import uvloop

from capture_svc import intake, sessions
from capture_svc import server as capture_server
from capture_svc.batch import Batch
from capture_svc.store.clickhouse import ClickHouseEventStore
from ingress_gateway import server as gateway_server
from ingress_gateway.journal import disk
from ingress_gateway.journal.journal import Journal
from ingress_gateway.journal.segments import SegmentWriter
from ingress_gateway.journal.waiting import Waiter

_WRITE_BEHIND_SECONDS = 0.02
_SETTLE_BEHIND_SECONDS = 0.3
_DROPPED_ONE_IN = 10_000


class _Nobody:
    """Waits for nothing."""

    def settled(self, is_durable: bool) -> None:
        """Nothing to do."""

    def overdue(self) -> None:
        """Nothing to do."""


def acknowledge_before_write() -> None:
    """A gateway that answers first and writes a moment later."""
    real_append, real_write = Journal.append, SegmentWriter.write

    def append(self: Journal, sequence: int, event: bytes, owner: str, waiter: Waiter, **more: Any) -> None:
        real_append(self, sequence, event, owner, _Nobody(), **more)
        asyncio.get_running_loop().call_soon(waiter.settled, True)

    def write(self: SegmentWriter, *what: Any) -> Any:
        time.sleep(_WRITE_BEHIND_SECONDS)
        return real_write(self, *what)

    _replace(Journal, "append", append)
    _replace(SegmentWriter, "write", write)


def drop_one_in_ten_thousand() -> None:
    """A gateway that forgets an event now and then, and says that it is stored."""
    real_append = Journal.append

    def append(self: Journal, sequence: int, event: bytes, owner: str, waiter: Waiter, **more: Any) -> None:
        if sequence % _DROPPED_ONE_IN == 0:
            asyncio.get_running_loop().call_soon(waiter.settled, True)
            return
        real_append(self, sequence, event, owner, waiter, **more)

    _replace(Journal, "append", append)


def acknowledge_before_insert() -> None:
    """A capture_svc that acknowledges a batch when it has it, and stores it a moment later."""
    real_take = sessions.JournalSession._take

    async def take(self: sessions.JournalSession, batches: Sequence[Batch]) -> None:
        self._acks.put_nowait(batches[-1].sequence)
        await asyncio.sleep(_SETTLE_BEHIND_SECONDS)
        await real_take(self, batches)

    _replace(sessions.JournalSession, "_take", take)


def forget_tokens() -> None:
    """A capture_svc that inserts a repeated batch as if it were a new one."""
    real_insert, real_confirm = ClickHouseEventStore.insert, intake.Intake.confirm
    real_store = intake.Intake.store

    async def insert(self: ClickHouseEventStore, events: bytes, *, token: str) -> None:
        await real_insert(self, events, token=f"{token}/{os.urandom(8).hex()}")

    async def store(self: intake.Intake, batch: Batch, *, is_resumed: bool = False) -> Any:
        return await real_store(self, batch, is_resumed=False)

    async def confirm(self: intake.Intake, settlement: Any) -> None:
        await asyncio.sleep(_SETTLE_BEHIND_SECONDS)
        await real_confirm(self, settlement)

    _replace(ClickHouseEventStore, "insert", insert)
    _replace(intake.Intake, "store", store)
    _replace(intake.Intake, "confirm", confirm)


def power_loss() -> types.SimpleNamespace:
    """The honest gateway; what it writes without a sync stays in this process until it syncs."""
    unsynced: dict[int, list[tuple[bytes, int]]] = {}
    volatile = types.SimpleNamespace(**vars(os))

    def pwritev(descriptor: int, views: Sequence[memoryview], offset: int, flags: int = 0) -> int:
        if flags & os.RWF_DSYNC:
            return os.pwritev(descriptor, views, offset, flags)
        data = b"".join(views)
        unsynced.setdefault(descriptor, []).append((data, offset))
        return len(data)

    def fsync(descriptor: int) -> None:
        for data, offset in unsynced.pop(descriptor, []):
            os.pwrite(descriptor, data, offset)
        os.fsync(descriptor)

    volatile.pwritev, volatile.fsync, volatile.fdatasync = pwritev, fsync, fsync
    _replace(disk, "os", volatile)
    return volatile


def skip_sync() -> None:
    """A gateway that writes without a sync, on the disk of ``power_loss``."""
    volatile = power_loss()

    def write_unsynced(_self: disk.OsDisk, descriptor: int, view: memoryview, offset: int) -> int:
        written: int = volatile.pwritev(descriptor, [view], offset)
        return written

    _replace(disk.OsDisk, "_write_synced", write_unsynced)


def _replace(owner: Any, name: str, value: Any) -> None:
    """Put another function in the place of one that is there: a mutant of what was renamed would be an honest build."""
    if not hasattr(owner, name):
        raise SystemExit(f"{owner} has no {name}: the mutant must follow the build")
    setattr(owner, name, value)


GATEWAYS: dict[str, Callable[[], object]] = {
    mutate.__name__: mutate for mutate in (acknowledge_before_write, drop_one_in_ten_thousand, power_loss, skip_sync)
}
CAPTURES: dict[str, Callable[[], object]] = {
    mutate.__name__: mutate for mutate in (acknowledge_before_insert, forget_tokens)
}


def main() -> None:
    """Become a mutant."""
    name = sys.argv[1]
    if name in GATEWAYS:
        GATEWAYS[name]()
        uvloop.run(gateway_server.main())
    else:
        CAPTURES[name]()
        uvloop.run(capture_server.main())


if __name__ == "__main__":
    main()
