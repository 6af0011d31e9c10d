"""Replays of the quarantine: everything once, whoever crashes where."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from capture_svc.assembly import assemble
from capture_svc.convert import batch_from_pb
from capture_svc.event_ids import keyed_event_id
from capture_svc.servicer import Parts
from svc_runtime.clock import SystemClock
from svc_runtime.errors import UnavailableError
from tests.contract.capture.memory_store import CrashedError, Memory
from tests.contract.capture.things import ORGANIZATIONS, FakeJournal, FixedHosts, ids, make_event
from trellis.capture.v1 import event_pb2

ACME, GLOBEX, _ = ORGANIZATIONS
POISON = b"poison"


def replica(memory: Memory, name: str = "replica-0", hosts: FixedHosts | None = None) -> Parts:
    """Assemble a replica."""
    return assemble(
        memory.stores(),
        replica=name,
        hosts=hosts or FixedHosts(),
        clock=SystemClock(),
        unclaimed_per_day=100,
        unclaimed_bytes_per_day=2**20,
    )


async def settle(parts: Parts, journal: FakeJournal, events: Sequence[event_pb2.Event]) -> None:
    """Settle one batch."""
    batch = batch_from_pb(journal.journal_id, journal.batch(events))

    async def one():  # type: ignore[no-untyped-def]  # an iterator of one batch
        yield batch

    async with (
        parts.sessions.open(journal.journal_id, "test") as session,
        contextlib.aclosing(session.acks(one())) as acks,
    ):
        async for _ in acks:
            pass


def poisoned(organization_id: str = ACME, *, key: bytes = b"") -> event_pb2.Event:
    """Return an event that the store refuses for now."""
    if key:
        event_id = keyed_event_id(organization_id, key)
        return make_event(organization_id, body=POISON, idempotency_key=key, event_id=event_id)
    return make_event(organization_id, body=POISON)


async def balance(parts: Parts, organization_id: str = ACME) -> tuple[int, int, int, int]:
    """Return (received, stored, duplicates, quarantined)."""
    account = await parts.ledger.account(organization_id)
    assert account.unaccounted == 0
    return account.received, account.stored, account.duplicates, account.quarantined


async def fed(parts: Parts) -> Counter[str]:
    """Return how often the feed gives out each event."""
    found, reader, cursor = Counter[str](), parts.feed.reader("test"), b""
    while True:
        page = await reader.read(cursor, max_event_count=4)
        found.update(ids(event_pb2.EventBatch.FromString(page.events).events))
        if page.cursor == cursor:
            return found
        cursor = page.cursor


@pytest.fixture
def memory() -> Memory:
    """Return stores that refuse poison."""
    found = Memory()
    found.events.refused.add(POISON)
    return found


async def test_what_is_still_refused_stays_and_what_is_not_is_stored(memory: Memory) -> None:
    parts = replica(memory)
    events = [poisoned(), make_event(), poisoned(GLOBEX), poisoned(key=b"k")]
    await settle(parts, FakeJournal(), events)
    counts = await parts.replayer.replay([], "")
    assert (counts.stored, counts.duplicate, counts.failed) == (0, 0, 3)
    assert await balance(parts) == (3, 1, 0, 2)
    memory.events.refused.clear()
    counts = await parts.replayer.replay([], GLOBEX)
    assert (counts.stored, counts.duplicate, counts.failed) == (1, 0, 0)
    counts = await parts.replayer.replay([], "")
    assert (counts.stored, counts.duplicate, counts.failed) == (2, 0, 0)
    counts = await parts.replayer.replay([], "")
    assert (counts.stored, counts.duplicate, counts.failed) == (0, 0, 0)
    assert await balance(parts) == (3, 3, 0, 0)
    assert await balance(parts, GLOBEX) == (1, 1, 0, 0)
    assert await fed(parts) == Counter(ids(events))
    page = await parts.quarantine.page(
        organization_id="", is_waiting=False, ids=[], before=None, limit=9, max_bytes=2**20
    )
    assert all(item.replay_time is not None for item in page.items)


async def test_items_are_chosen_by_id(memory: Memory) -> None:
    parts = replica(memory)
    await settle(parts, FakeJournal(), [poisoned(), poisoned()])
    memory.events.refused.clear()
    wanted = memory.quarantine.events[0].quarantine_id
    assert (await parts.replayer.replay([wanted], "")).stored == 1
    assert (await parts.replayer.replay([wanted], "")).stored == 0
    assert await balance(parts) == (2, 1, 0, 1)


async def test_a_repeat_that_came_meanwhile_was_a_duplicate_and_the_first_is_stored(memory: Memory) -> None:
    parts = replica(memory)
    first, repeat = poisoned(key=b"k"), poisoned(key=b"k")
    repeat.body = b"clean"
    await settle(parts, FakeJournal(), [first])
    await settle(parts, FakeJournal(), [repeat])
    assert await balance(parts) == (2, 0, 1, 1)
    memory.events.refused.clear()
    assert (await parts.replayer.replay([], "")).stored == 1
    assert [row.event.body for row in memory.events.rows] == [POISON]
    assert await balance(parts) == (2, 1, 1, 0)


async def test_what_is_stored_already_is_not_stored_again(memory: Memory) -> None:
    parts = replica(memory)
    event = poisoned()
    await settle(parts, FakeJournal(), [event])
    event.body = b"repaired by hand"
    await settle(parts, FakeJournal(), [event])
    memory.events.refused.clear()
    counts = await parts.replayer.replay([], "")
    assert (counts.stored, counts.duplicate, counts.failed) == (0, 1, 0)
    assert await balance(parts) == (2, 1, 1, 0)


async def test_two_replicas_that_replay_at_once_store_once(memory: Memory) -> None:
    one, other = replica(memory), replica(memory.of_another_replica(), "replica-1")
    events = [poisoned(key=b"%d" % n if n % 2 else b"") for n in range(8)]
    await settle(one, FakeJournal(), events)
    memory.events.refused.clear()

    async def persist(parts: Parts) -> None:
        # Whoever meets the other's fresh claim is told to come back.
        while True:
            with contextlib.suppress(UnavailableError):
                await parts.replayer.replay([], "")
                return
            await asyncio.sleep(0.01)

    await asyncio.gather(persist(one), persist(other))
    assert Counter(row.event.event_id for row in memory.events.rows) == Counter(ids(events))
    received, stored, _duplicates, quarantined = await balance(one)
    assert (received, stored) == (8, 8)
    assert quarantined <= 0


OPERATIONS = (
    "quarantine.intent",
    "events.claim",
    "events.insert",
    "quarantine.outcome",
    "receipts.insert",
)


@pytest.mark.parametrize("moment", ["before", "after", "crash before", "crash after"])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("turn", [1, 2])
async def test_a_replay_that_breaks_off_anywhere_is_finished_by_the_next(
    memory: Memory, operation: str, moment: str, turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capture_svc.replay._PAGE_ITEMS", 3)
    hosts = FixedHosts()
    hosts.known["go.example"] = GLOBEX
    parts = replica(memory, hosts=hosts)
    events = [poisoned(), poisoned(key=b"k"), poisoned(GLOBEX), make_event("", host=b"go.example"), poisoned()]
    await settle(parts, FakeJournal(), events)
    memory.events.refused.clear()
    memory.faults.called.clear()
    memory.faults.decide = _at(memory, operation, moment, turn)
    with contextlib.suppress(UnavailableError, CrashedError):
        await parts.replayer.replay([], "")
    memory.faults.decide = lambda _: ""
    if moment.startswith("crash"):
        parts = replica(memory, hosts=hosts)
    for _ in range(2):
        await parts.replayer.replay([], "")
    assert Counter(row.event.event_id for row in memory.events.rows) == Counter(ids(events))
    assert await balance(parts) == (3, 3, 0, 0)
    assert await balance(parts, GLOBEX) == (2, 2, 0, 0)
    assert await fed(parts) == Counter(ids(events))
    for receipt in memory.receipts.receipts():
        assert receipt.received == receipt.stored + receipt.duplicates + receipt.quarantined + receipt.dropped


def _at(memory: Memory, operation: str, moment: str, turn: int) -> Callable[[str], str]:
    return lambda name: moment if name == operation and memory.faults.called[name] == turn else ""
