"""Whatever fails and whoever crashes, everything is stored once, accounted for, and fed once."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from capture_svc import availability
from capture_svc.assembly import assemble
from capture_svc.batch import Batch
from capture_svc.convert import batch_from_pb
from capture_svc.event_codec import encode_own
from capture_svc.event_ids import keyed_event_id, new_event_id
from capture_svc.servicer import Parts
from svc_runtime.clock import SystemClock
from svc_runtime.errors import TrellisError
from tests.contract.capture.memory_store import CrashedError, Memory
from tests.contract.capture.things import ORGANIZATIONS, FakeJournal, FixedHosts, make_event
from trellis.capture.v1 import event_pb2

FAULTY = ("events.insert", "events.claim", "receipts.insert", "receipts.head", "quarantine.insert")


class Replica:
    """A replica that lives until a fault ends it."""

    def __init__(self, memory: Memory, chance: random.Random, name: str, *, is_shared: bool) -> None:
        self.memory = memory.of_another_replica()
        self.is_dead = False
        self._chance = chance
        self.memory.faults.decide = self._decide
        self.failure_rate, self.crash_rate = 0.15, 0.02
        self.parts: Parts = assemble(
            self.memory.stores(is_shared=is_shared),
            replica=name,
            hosts=FixedHosts(),
            clock=SystemClock(),
            unclaimed_per_day=10_000,
            unclaimed_bytes_per_day=2**30,
        )

    def _decide(self, name: str) -> str:
        if self.is_dead:
            return "crash before"
        number = self._chance.random()
        if number < self.crash_rate:
            self.is_dead = True
            return self._chance.choice(["crash before", "crash after"])
        if name in FAULTY and number < self.failure_rate:
            return self._chance.choice(["before", "after"])
        return ""


class World:
    """Replicas over the same stores; a dead one is followed by another life of it."""

    def __init__(self, chance: random.Random, count: int, *, is_forgetful: bool = False) -> None:
        self.memory = Memory()
        self.is_forgetful = is_forgetful
        self.chance = chance
        self.is_shared = count > 1
        self.is_calm = False
        self._replicas = [self._new(f"replica-{n}") for n in range(count)]

    def _new(self, name: str) -> Replica:
        found = Replica(self.memory, self.chance, name, is_shared=self.is_shared)
        if self.is_calm:
            found.failure_rate = found.crash_rate = 0.0
        return found

    def replica(self) -> Replica:
        """Return one that lives."""
        number = self.chance.randrange(len(self._replicas))
        if self._replicas[number].is_dead:
            if self.is_forgetful:
                # The power went: rows are on disk, what the engine noted of its tokens is not.
                self.memory.events.tokens.clear()
            self._replicas[number] = self._new(f"replica-{number}")
        return self._replicas[number]

    def calm_down(self) -> None:
        """Let nothing fail from now on."""
        self.is_calm = True
        for replica in self._replicas:
            replica.failure_rate = replica.crash_rate = 0.0


async def offer(batches: Sequence[Batch]) -> AsyncIterator[Batch]:
    """Give batches one by one, as a network would."""
    for batch in batches:
        await asyncio.sleep(0)
        yield batch


async def gateway(world: World, batches: Sequence[Batch]) -> None:
    """Send a journal until all of it is acknowledged; now and then hang up in between."""
    settled = 0
    while settled < batches[-1].sequence:
        replica = world.replica()
        with contextlib.suppress(CrashedError, TrellisError):
            async with (
                asyncio.timeout(5),
                replica.parts.sessions.open(batches[0].journal_id, "test") as session,
            ):
                assert session.settled >= settled, "what was acknowledged stays settled"
                settled = session.settled
                rest = [batch for batch in batches if batch.sequence > settled]
                async with contextlib.aclosing(session.acks(offer(rest))) as acks:
                    async for ack in acks:
                        settled = max(settled, ack)
                        if world.chance.random() < 0.1:
                            break


async def direct_caller(world: World, key: bytes) -> None:
    """Write an event under a key until somebody says that it is stored."""
    event_id = keyed_event_id(ORGANIZATIONS[0], key)
    while True:
        replica = world.replica()
        event = event_pb2.Event(idempotency_key=key)
        encoded = encode_own(event, organization_id=ORGANIZATIONS[0], event_id=event_id, event_time_ms=NOW_MS)
        writing = asyncio.create_task(replica.parts.direct.run())
        try:
            async with asyncio.timeout(0.5):
                await replica.parts.direct.write(ORGANIZATIONS[0], [encoded], is_keyed=True)
        except (CrashedError, TrellisError, TimeoutError):
            continue
        else:
            return
        finally:
            writing.cancel()
            await asyncio.wait({writing})


NOW_MS = 1_795_176_000_123


def make_journal(
    chance: random.Random, keys: Sequence[bytes]
) -> tuple[list[Batch], Counter[str], list[event_pb2.Event]]:
    """Return a journal's batches, how many events each organisation has in it, and the events."""
    journal, received, everything = FakeJournal(), Counter[str](), []
    batches = []
    for _ in range(chance.randint(1, 8)):
        events: list[event_pb2.Event] = []
        kinds = chance.choice([["plain"], ["plain", "keyed"], ["plain", "bad"], ["plain", "keyed", "bad", "unclaimed"]])
        for _ in range(chance.randint(1, 6)):
            owner = chance.choice(ORGANIZATIONS[:2])
            match chance.choice(kinds):
                case "keyed":
                    key = chance.choice(keys)
                    events.append(
                        make_event(
                            ORGANIZATIONS[0], event_id=keyed_event_id(ORGANIZATIONS[0], key), idempotency_key=key
                        )
                    )
                case "bad":
                    events.append(make_event(owner, event_id="bad"))
                case "unclaimed":
                    events.append(make_event("", host=b"x.example"))
                case _:
                    events.append(make_event(owner, event_id=new_event_id(NOW_MS)))
        batches.append(batch_from_pb(journal.journal_id, journal.batch(events)))
        received.update(event.organization_id for event in events)
        everything += events
    return batches, received, everything


@pytest.mark.parametrize(
    ("replica_count", "is_forgetful"), [(1, False), (1, True), (2, False)], ids=["one", "forgetful", "two"]
)
@pytest.mark.parametrize("seed", range(20))
async def test_everything_is_stored_once(
    seed: int, replica_count: int, is_forgetful: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "_FIRST_DELAY_SECONDS", 0.0005)
    monkeypatch.setattr(availability, "_LONGEST_DELAY_SECONDS", 0.002)
    chance = random.Random(seed)
    world = World(chance, replica_count, is_forgetful=is_forgetful)
    keys = [b"k%d" % n for n in range(6)]
    journals = [make_journal(chance, keys) for _ in range(4)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(gateway(world, batches) for batches, _, _ in journals))
    world.calm_down()
    await check(world, [event for _, _, events in journals for event in events])
    # What was kept aside can be stored later, once, also when the replay crashes half-way.
    for _ in range(2):
        await world.replica().parts.replayer.replay([], "")
    await check(world, [event for _, _, events in journals for event in events])


async def check(world: World, sent: Sequence[event_pb2.Event]) -> None:
    """Compare the stores with what was sent."""
    memory = world.memory
    stored = Counter(row.event.event_id for row in memory.events.rows)
    good = {event.event_id for event in sent if event.organization_id and event.event_id != "bad"}
    assert set(stored) == good, "nothing is lost, and nothing made up"
    assert set(stored.values()) <= {1}, "nothing is stored twice"
    receipts = memory.receipts.receipts()
    places = Counter((r.journal_id, r.sequence, r.organization_id) for r in receipts)
    assert set(places.values()) <= {1}, "no batch has two receipts"
    for receipt in receipts:
        assert receipt.received == receipt.stored + receipt.duplicates + receipt.quarantined + receipt.dropped
    received = Counter(event.organization_id for event in sent)
    bad = Counter(event.organization_id for event in sent if event.event_id == "bad")
    for organization_id in ORGANIZATIONS[:2]:
        account = await world.replica().parts.ledger.account(organization_id)
        assert account.unaccounted == 0
        assert account.received == received[organization_id]
        assert account.quarantined == bad[organization_id]
    assert await fed(world) == stored, "the feed gives out each stored event once"


async def fed(world: World) -> Counter[str]:
    """Return how often the feed gives out each event."""
    found, reader, cursor = Counter[str](), world.replica().parts.feed.reader("test"), b""
    while True:
        page = await reader.read(cursor, max_event_count=world.chance.randint(1, 9))
        found.update(event.event_id for event in event_pb2.EventBatch.FromString(page.events).events)
        if page.cursor == cursor:
            return found
        cursor = page.cursor


@pytest.mark.parametrize("seed", range(10))
async def test_direct_calls_and_journals_with_the_same_keys(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "_FIRST_DELAY_SECONDS", 0.0005)
    monkeypatch.setattr(availability, "_LONGEST_DELAY_SECONDS", 0.002)
    monkeypatch.setattr("capture_svc.duplicates.DIRECT_CLAIM_LIFETIME", timedelta(seconds=0.2))
    chance = random.Random(seed)
    world = World(chance, 1)
    keys = [b"k%d" % n for n in range(4)]
    journals = [make_journal(chance, keys) for _ in range(2)]
    async with asyncio.timeout(60):
        await asyncio.gather(
            *(gateway(world, batches) for batches, _, _ in journals), *(direct_caller(world, key) for key in keys)
        )
    world.calm_down()
    # Whatever the last life left without a receipt gets one with the first call of the next.
    await direct_caller(world, b"last")
    stored = Counter(row.event.event_id for row in world.memory.events.rows)
    assert await fed(world) == stored
    for organization_id in ORGANIZATIONS[:2]:
        assert (await world.replica().parts.ledger.account(organization_id)).unaccounted == 0
    assert {keyed_event_id(ORGANIZATIONS[0], key) for key in keys} <= set(stored)
    assert set(stored.values()) <= {1}
