"""The whole service on ClickHouse, embedded and over HTTP."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from svc_runtime.clickhouse import Dsn
from svc_runtime.errors import Code
from tests.contract.capture.store_contract import whole_event
from tests.contract.capture.things import (
    ORGANIZATIONS,
    SERVICE,
    CaptureClient,
    FakeJournal,
    counts_to_pb,
    ids,
    make_event,
    member,
    refusal,
    running_capture,
)
from tests.integration.capture.conftest import HttpServer, opened
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import event_pb2

pytestmark = [pytest.mark.store, pytest.mark.loopback]
ACME, GLOBEX, INITECH = ORGANIZATIONS


@pytest.fixture(params=["embedded", "http"])
def any_dsn(request: pytest.FixtureRequest) -> Dsn:
    """Return the DSN of an empty database, of either kind."""
    found: Dsn = request.getfixturevalue("dsn" if request.param == "embedded" else "http_dsn")
    return found


@contextlib.asynccontextmanager
async def running(dsn: Dsn, replica: str = "replica-0") -> AsyncIterator[CaptureClient]:
    """Run a capture_svc on a database."""
    async with (
        opened(dsn, is_shared=not dsn.is_embedded) as stores,
        running_capture(stores, replica=replica) as capture,
    ):
        yield capture


@pytest.fixture
async def capture(any_dsn: Dsn) -> AsyncIterator[CaptureClient]:
    """Run a capture_svc on an empty database."""
    async with running(any_dsn) as found:
        yield found


async def test_batches_go_in_and_come_out_by_every_way(capture: CaptureClient) -> None:
    journal = FakeJournal()
    events = [make_event(ORGANIZATIONS[n % 3]) for n in range(300)]
    events[9] = whole_event()
    await capture.send(journal, *(journal.batch(events[n : n + 60]) for n in range(0, 300, 60)))
    fed, _ = await capture.read_feed(300)
    assert fed == events, "the feed gives out what was sent, to the byte and in order"
    assert sorted(ids(await capture.list_all())) == sorted(e.event_id for e in events if e.organization_id == ACME)
    answer = await capture.stub.GetEvent(pb.GetEventRequest(event_id=events[9].event_id), metadata=member(ACME))
    assert answer.event == events[9]
    assert (await capture.list_all(click_id=events[9].external_click_id)) == [events[9]]
    for organization_id in ORGANIZATIONS:
        assert await capture.balance(organization_id) == (100, 100, 0, 0, 0)


async def test_the_same_batch_three_times_and_over_a_restart(any_dsn: Dsn) -> None:
    journal = FakeJournal()
    batches = [journal.batch([make_event(), make_event(GLOBEX)]) for _ in range(3)]
    for _ in range(3):
        async with running(any_dsn) as capture:
            await capture.send(journal, *batches)
            async with capture.stream(journal) as stream:
                assert stream.settled == batches[-1].sequence
    async with running(any_dsn) as capture:
        assert await capture.balance() == (3, 3, 0, 0, 0)
        assert len(await capture.list_all()) == 3


async def test_poison_costs_one_event_and_can_be_listed(capture: CaptureClient) -> None:
    journal = FakeJournal()
    good = [make_event() for _ in range(40)]
    bad = [make_event(event_id="nonsense"), make_event(GLOBEX, event_id="")]
    not_text = make_event(method="GETX")
    batch = journal.batch([*good[:20], bad[0], *good[20:], bad[1], not_text])
    batch.events = batch.events.replace(b"2\x04GETX", b"2\x04GE\xff\xfe")
    await capture.send(journal, batch)
    assert sorted(ids(await capture.list_all())) == sorted(ids(good))
    assert await capture.balance() == (42, 40, 0, 2, 0)
    assert await capture.balance(GLOBEX) == (1, 0, 0, 1, 0)
    items = await capture.quarantine()
    assert Counter((item.organization_id, item.reason) for item in items) == Counter(
        {
            (ACME, "store_refused: CANNOT_PARSE_UUID"): 1,
            (GLOBEX, "store_refused: VIOLATED_CONSTRAINT"): 1,
            (ACME, "undecodable"): 1,
        }
    )
    assert {item.event for item in items if item.organization_id == GLOBEX} == {bad[1].SerializeToString()}
    assert await capture.replay() == (0, 0, 3)
    assert await capture.balance() == (42, 40, 0, 2, 0)


async def test_bytes_that_do_not_decode_are_kept(capture: CaptureClient) -> None:
    journal = FakeJournal()
    payload = b"\xff\x00" * 500
    batch = pb.JournalBatch(sequence=1, last_sequence=5, events=payload, counts=counts_to_pb({ACME: 3, GLOBEX: 2}))
    journal.next_sequence = 6
    await capture.send(journal, batch, journal.batch([make_event()]))
    assert await capture.balance() == (4, 1, 0, 3, 0)
    assert {item.event for item in await capture.quarantine()} == {payload}


async def test_keys_are_stored_once_across_journals_and_direct_calls(capture: CaptureClient) -> None:
    request = pb.CaptureEventsRequest(events=[event_pb2.Event(idempotency_key=b"k%d" % n) for n in range(3)])
    answer = await capture.stub.CaptureEvents(request, metadata=member(ACME))
    keyed = [outcome.event_id for outcome in answer.outcomes]
    journals = [FakeJournal() for _ in range(5)]
    new = "ded2093e-1a73-5f1c-888b-695db4081143"
    await asyncio.gather(
        *(
            capture.send(
                journal,
                journal.batch([make_event(event_id=keyed[n % 3], idempotency_key=b"k%d" % (n % 3)), make_event()]),
                journal.batch([make_event(event_id=new, idempotency_key=b"new")]),
            )
            for n, journal in enumerate(journals)
        )
    )
    assert await capture.balance() == (18, 9, 9, 0, 0)
    assert Counter(ids(await capture.list_all()))[new] == 1


async def test_two_replicas_share_a_store(http_server: HttpServer, http_dsn: Dsn) -> None:
    async with running(http_dsn, "replica-0") as one, running(http_dsn, "replica-1") as other:
        journals = [FakeJournal() for _ in range(4)]
        key = "ded2093e-1a73-5f1c-888b-695db4081143"
        follower = asyncio.ensure_future(one.read_feed(4 * 5 * 4 + 1))
        for _ in range(4):
            await asyncio.gather(
                *(
                    (one if n % 2 else other).send(
                        journal,
                        journal.batch(
                            [*(make_event() for _ in range(5)), make_event(event_id=key, idempotency_key=b"k")]
                        ),
                    )
                    for n, journal in enumerate(journals)
                )
            )
        events, _ = await asyncio.wait_for(follower, 30)
        assert max(Counter(ids(events)).values()) == 1
        for capture in (one, other):
            assert await capture.balance() == (96, 81, 15, 0, 0)
        # A journal goes on with the other replica.
        async with other.stream(journals[1]) as stream:
            assert stream.settled == journals[1].next_sequence - 6
        answers = await asyncio.gather(
            *(
                capture.stub.CaptureEvents(
                    pb.CaptureEventsRequest(events=[event_pb2.Event()]), metadata=member(INITECH)
                )
                for capture in (one, other)
                for _ in range(10)
            )
        )
        assert {o.outcome for answer in answers for o in answer.outcomes} == {pb.OUTCOME_STORED}
        assert await one.balance(INITECH) == (20, 20, 0, 0, 0)


async def test_the_ledger_balances_at_every_moment_under_load(capture: CaptureClient) -> None:
    journals = [FakeJournal() for _ in range(3)]
    is_over = asyncio.Event()

    async def send(journal: FakeJournal, index: int) -> None:
        async with capture.stream(journal) as stream:
            for n in range(12):
                events = [make_event() for _ in range(30)]
                if index == 1 and n % 4 == 0:
                    events[3].event_id = "bad"
                if index == 2:
                    events[0].event_id, events[0].idempotency_key = f"ded2093e-1a73-5f1c-888b-{n % 3:012x}", b"k"
                batch = journal.batch(events)
                await stream.say(settled=stream.settled, pending={ACME: 30})
                await stream.settle(batch)
            await stream.say(settled=stream.settled, pending={})

    async def watch() -> int:
        looks, last = 0, 0
        while not is_over.is_set():
            received = (await capture.balance())[0]
            assert received >= last, "what was received is never forgotten"
            last, looks = received, looks + 1
        return looks

    watching = asyncio.ensure_future(watch())
    await asyncio.gather(*(send(journal, index) for index, journal in enumerate(journals)))
    is_over.set()
    assert await watching >= 3
    received, stored, duplicates, quarantined, _ = await capture.balance()
    assert (received, stored, duplicates, quarantined) == (1080, 1068, 9, 3)


async def test_an_event_is_found_by_the_sources_id_in_a_moment(capture: CaptureClient) -> None:
    journal = FakeJournal()
    async with capture.stream(journal) as stream:
        await stream.settle(journal.batch([make_event()]))
        began = time.monotonic()
        event = make_event(external_click_id=b"fb_123abc")
        await stream.settle(journal.batch([event]))
        assert await capture.list_all(click_id=b"fb_123abc") == [event]
        assert time.monotonic() - began < 1.5


async def test_an_outage_of_the_server_loses_nothing(http_server: HttpServer, http_dsn: Dsn) -> None:
    async with running(http_dsn) as capture:
        journal = FakeJournal()
        async with capture.stream(journal) as stream:
            await stream.settle(journal.batch([make_event() for _ in range(5)]))
            for kind in ("refuse", "drop", "code-243"):
                http_server.fail(kind)
                batch = journal.batch([make_event() for _ in range(5)])
                await stream.send(batch)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(stream.read())), 0.5)
                error = await refusal(
                    capture.stub.CaptureEvents(
                        pb.CaptureEventsRequest(events=[event_pb2.Event()]), metadata=member(GLOBEX), timeout=0.3
                    )
                )
                assert error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)
                assert capture.parts.watch.failing_seconds > 0
                http_server.fail("none")
                await _until_settled(capture, journal, batch.sequence)
        assert await capture.balance() == (20, 20, 0, 0, 0)
        assert len({e.event_id for e in await capture.list_all()}) == 20
        account = await capture.ledger(GLOBEX)
        assert account.unaccounted_count == 0


async def _until_settled(capture: CaptureClient, journal: FakeJournal, sequence: int) -> None:
    for _ in range(100):
        head = await capture.parts.feed.receipts.head(journal.journal_id)
        if head is not None and head.sequence >= sequence:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it was never settled")


async def test_a_range_is_read_again_by_months_and_organisations(capture: CaptureClient) -> None:
    journal, new_year_ms = FakeJournal(), 1_767_225_600_000
    events = [
        make_event(ORGANIZATIONS[n % 3], event_time_ms=new_year_ms + (n // 2 - 75) * 60_000, body=bytes([n % 256]) * n)
        for n in range(300)
    ]
    await capture.send(journal, *(journal.batch(events[n : n + 60]) for n in range(0, 300, 60)))
    counted = await capture.stub.CountEventsByMonth(pb.CountEventsByMonthRequest(), metadata=SERVICE)
    assert [month.event_count for month in counted.months] == [150, 150]
    for name in ("", ACME, GLOBEX):
        found: list[event_pb2.Event] = []
        for month, end in ((0, 1), (1, None)):
            request = pb.ReadEventsRequest(organization_id=name, max_event_count=11)
            request.start_time.CopyFrom(counted.months[month].start_time)
            if end is not None:
                request.end_time.CopyFrom(counted.months[end].start_time)
            async for answer in capture.stub.ReadEvents(request, metadata=SERVICE):
                found += event_pb2.EventBatch.FromString(answer.events).events
        wanted = [event for event in events if name in ("", event.organization_id)]
        assert {event.event_id: event for event in found} == {event.event_id: event for event in wanted}
        assert len(found) == len(wanted)
