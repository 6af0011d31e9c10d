"""Puts the parts of a replica together, over any implementation of its stores."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from capture_svc.availability import StoreWatch
from capture_svc.batch import own_journal_id
from capture_svc.direct import DirectWriter
from capture_svc.duplicates import Duplicates
from capture_svc.feed import Feed
from capture_svc.hosts import HostDirectory
from capture_svc.intake import Intake
from capture_svc.ledger import JournalWords, Ledger
from capture_svc.own_journal import OwnJournal
from capture_svc.quarantine import UnclaimedQuota
from capture_svc.replay import Replayer
from capture_svc.servicer import Parts
from capture_svc.sessions import Sessions
from capture_svc.store import EventStore, JournalWordStore, QuarantineStore, ReceiptStore
from svc_runtime.clock import Clock
from svc_runtime.errors import DeadlineExceededError, UnavailableError
from svc_runtime.tasks import keep_running, running

SAVE_WORDS_SECONDS = 2.0
REPORT_LEDGER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Stores:
    """Where a replica keeps things."""

    events: EventStore
    receipts: ReceiptStore
    quarantine: QuarantineStore
    words: JournalWordStore
    is_shared: bool
    """Other replicas write to them too."""


def assemble(
    stores: Stores,
    *,
    replica: str,
    hosts: HostDirectory,
    clock: Clock,
    unclaimed_per_day: int,
    unclaimed_bytes_per_day: int,
) -> Parts:
    """Make the parts of the replica ``replica``. They do nothing yet."""
    watch = StoreWatch()
    feed = Feed(stores.events, stores.receipts, clock, is_shared=stores.is_shared)
    quota = UnclaimedQuota(stores.quarantine, count_per_day=unclaimed_per_day, bytes_per_day=unclaimed_bytes_per_day)
    intake = Intake(stores.events, stores.receipts, stores.quarantine, quota, clock=clock, listener=feed)

    def journal(kind: str) -> OwnJournal:
        return OwnJournal(own_journal_id(kind, replica), stores.events, stores.receipts, intake, clock)

    words = JournalWords(stores.words)
    return Parts(
        events=stores.events,
        quarantine=stores.quarantine,
        sessions=Sessions(intake, stores.receipts, watch, is_shared=stores.is_shared),
        words=words,
        direct=DirectWriter(journal("direct"), intake, watch),
        feed=feed,
        ledger=Ledger(stores.events, stores.receipts, words, clock),
        replayer=Replayer(
            journal("replay"),
            stores.events,
            Duplicates(stores.events, stores.receipts),
            stores.quarantine,
            intake,
            hosts,
            clock,
        ),
        watch=watch,
        clock=clock,
    )


@contextlib.asynccontextmanager
async def at_work(parts: Parts) -> AsyncIterator[None]:
    """Let the parts do what they do by themselves, for the time of the block."""
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(running("direct calls", keep_running("direct calls", parts.direct.run)))
        if parts.feed.is_shared:
            await stack.enter_async_context(running("feed", keep_running("feed", parts.feed.follow_replicas)))
        await stack.enter_async_context(running("words", _repeat(parts.words.save, SAVE_WORDS_SECONDS)))
        await stack.enter_async_context(running("ledger", _repeat(parts.ledger.report, REPORT_LEDGER_SECONDS)))
        yield


async def _repeat(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        # While the store is down there is nothing to say that others do not say already.
        with contextlib.suppress(UnavailableError, DeadlineExceededError):
            await work()
