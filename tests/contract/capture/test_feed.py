"""The feed: every event once, for every follower, from any cursor, over restarts."""

import asyncio
import contextlib
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from capture_svc import cursor as cursors
from capture_svc import feed as feeds
from capture_svc import servicer
from capture_svc.cursor import Cursor, decode_cursor
from capture_svc.feed import FeedPage
from capture_svc.store import EventRange
from svc_runtime.errors import Code, UnavailableError
from tests.contract.capture.memory_store import Memory, MemoryEventStore
from tests.contract.capture.things import (
    ORGANIZATIONS,
    SERVICE,
    CaptureClient,
    FakeJournal,
    ids,
    make_event,
    member,
    refusal,
    running_capture,
)
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import event_pb2

pytestmark = pytest.mark.loopback


async def fill(capture: CaptureClient, journal: FakeJournal, *sizes: int) -> list[str]:
    """Send batches of these sizes; return the ids of their events."""
    batches = [[make_event(ORGANIZATIONS[n % 3]) for n in range(size)] for size in sizes]
    await capture.send(journal, *(journal.batch(batch) for batch in batches))
    return [event.event_id for batch in batches for event in batch]


async def test_every_event_comes_once_and_each_journal_in_order(capture: CaptureClient) -> None:
    journals = [FakeJournal() for _ in range(3)]
    sent = [await fill(capture, journal, 3, 1, 5) for journal in journals]
    events, _ = await capture.read_feed(27)
    assert sorted(ids(events)) == sorted(itertools.chain(*sent))
    for journal, expected in zip(journals, sent, strict=True):
        assert [e.event_id for e in events if e.journal_id == journal.journal_id] == expected


@pytest.mark.parametrize("most", [1, 2, 4, 7])
async def test_answers_are_cut_as_the_follower_wants_and_every_cursor_resumes(
    capture: CaptureClient, most: int
) -> None:
    journals = [FakeJournal() for _ in range(3)]
    sent = [await fill(capture, journal, 3, 1, 9, 2) for journal in journals]
    found: list[str] = []
    cursor = b""
    while len(found) < 45:
        call = capture.stub.Subscribe(
            pb.SubscribeRequest(follower="f", cursor=cursor, max_event_count=most), metadata=SERVICE
        )
        answer = await call.read()
        call.cancel()
        assert 1 <= answer.event_count <= most
        found += ids(event_pb2.EventBatch.FromString(answer.events).events)
        cursor = answer.cursor
    assert len(found) == 45
    assert sorted(found) == sorted(itertools.chain(*sent))


async def test_the_feed_goes_on_after_a_restart(memory: Memory) -> None:
    journal = FakeJournal()
    found: list[str] = []
    sent: list[str] = []
    cursor = b""
    for _ in range(3):
        async with running_capture(memory.stores()) as capture:
            sent += await fill(capture, journal, 4, 4)
            events, cursor = await capture.read_feed(8, cursor)
            found += ids(events)
    assert found == sent


async def test_new_events_come_at_once(capture: CaptureClient) -> None:
    journal = FakeJournal()
    await fill(capture, journal, 1)
    call = capture.stub.Subscribe(pb.SubscribeRequest(follower="f"), metadata=SERVICE)
    assert (await call.read()).event_count == 1
    for _ in range(5):
        reading = asyncio.ensure_future(call.read())
        await asyncio.sleep(0.02)
        assert not reading.done()
        sent = await fill(capture, journal, 2)
        answer = await asyncio.wait_for(reading, 1)
        assert ids(event_pb2.EventBatch.FromString(answer.events).events) == sent
    call.cancel()


async def test_a_feed_that_begins_before_the_first_event_gets_it(capture: CaptureClient) -> None:
    reading = asyncio.ensure_future(capture.read_feed(2))
    await asyncio.sleep(0.05)
    sent = await fill(capture, FakeJournal(), 2)
    events, _ = await asyncio.wait_for(reading, 2)
    assert ids(events) == sent


async def test_many_followers_get_everything_and_a_slow_one_stops_nobody(capture: CaptureClient) -> None:
    journals = [FakeJournal() for _ in range(2)]
    slow = capture.stub.Subscribe(pb.SubscribeRequest(follower="slow", max_event_count=1), metadata=SERVICE)
    followers = [asyncio.ensure_future(capture.read_feed(200, follower=f"f{n}")) for n in range(8)]
    sent: list[str] = []
    for _ in range(10):
        for journal in journals:
            sent += await fill(capture, journal, 10)
    for events, _ in await asyncio.wait_for(asyncio.gather(*followers), 20):
        assert sorted(ids(events)) == sorted(sent)
    # The slow one reads now, and has missed nothing.
    found: list[str] = []
    while len(found) < 200:
        found += ids(event_pb2.EventBatch.FromString((await slow.read()).events).events)
    slow.cancel()
    assert sorted(found) == sorted(sent)


async def test_replayed_events_reach_followers_too(capture: CaptureClient) -> None:
    journal = FakeJournal()
    strange = make_event()
    batch = journal.batch([make_event(), strange])
    strange.journal_id = "e" * 32
    raw = [make_event(journal_id=journal.journal_id, sequence=1), strange]
    batch.events = b"".join(
        b"\x0a" + bytes([len(e) & 0x7F | 0x80, len(e) >> 7]) + e for e in (event.SerializeToString() for event in raw)
    )
    await capture.send(journal, batch)
    events, cursor = await capture.read_feed(1)
    assert ids(events) == [raw[0].event_id]
    assert await capture.replay() == (1, 0, 0)
    events, _ = await capture.read_feed(1, cursor)
    assert ids(events) == [strange.event_id]
    assert await capture.replay() == (0, 0, 0)


async def test_direct_events_are_in_the_feed(capture: CaptureClient) -> None:
    request = pb.CaptureEventsRequest(events=[event_pb2.Event() for _ in range(3)])
    answer = await capture.stub.CaptureEvents(request, metadata=member(ORGANIZATIONS[0]))
    events, _ = await capture.read_feed(3)
    assert ids(events) == [outcome.event_id for outcome in answer.outcomes]


async def test_a_heartbeat_tells_the_watermark(capture: CaptureClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servicer, "HEARTBEAT_SECONDS", 0.2)
    await fill(capture, FakeJournal(), 3)
    call = capture.stub.Subscribe(pb.SubscribeRequest(follower="f"), metadata=SERVICE)
    first = await call.read()
    marks = [first.watermark_time.ToDatetime(UTC)]
    for _ in range(3):
        began = datetime.now(UTC)
        answer = await call.read()
        assert (answer.event_count, answer.events) == (0, b"")
        assert answer.cursor == first.cursor
        assert timedelta(seconds=0.1) < datetime.now(UTC) - began < timedelta(seconds=2)
        marks.append(answer.watermark_time.ToDatetime(UTC))
    call.cancel()
    assert marks == sorted(marks)
    assert datetime.now(UTC) - marks[-1] < timedelta(seconds=2)


@pytest.mark.parametrize("cursor", [b"x", b"\x01", b"\x02\x00\x00", b"\x01\x00\x01abc", b"\x01\x00\x00\x00"], ids=repr)
async def test_a_cursor_that_is_not_ours_is_refused(capture: CaptureClient, cursor: bytes) -> None:
    call = capture.stub.Subscribe(pb.SubscribeRequest(cursor=cursor), metadata=SERVICE)
    assert (await refusal(_first(call))).code is Code.INVALID_ARGUMENT


async def test_too_many_events_at_once_are_refused(capture: CaptureClient) -> None:
    call = capture.stub.Subscribe(pb.SubscribeRequest(max_event_count=100_001), metadata=SERVICE)
    assert (await refusal(_first(call))).code is Code.INVALID_ARGUMENT


async def _first(call: "grpc.aio.UnaryStreamCall[pb.SubscribeRequest, pb.SubscribeResponse]") -> None:
    async for _ in call:
        return


# -- the reader --------------------------------------------------------------------------------------------------------


async def test_the_watermark_stays_behind_what_was_not_given_out(capture: CaptureClient) -> None:
    journals = [FakeJournal() for _ in range(3)]
    for journal in journals:
        await fill(capture, journal, 2, 2, 2)
    settled = {(s.journal_id, s.sequence): s.settle_time for s in _memory(capture).receipts.settlements}
    reader, cursor, given = capture.parts.feed.reader("test"), b"", set[tuple[str, int]]()
    while len(given) < len(settled):
        page = await reader.read(cursor, max_event_count=2)
        cursor = page.cursor
        given |= {(e.journal_id, e.sequence) for e in event_pb2.EventBatch.FromString(page.events).events} & set(
            settled
        )
        waiting = [time for place, time in settled.items() if place not in given]
        assert all(page.watermark_time <= time for time in waiting)
    page = await reader.read(cursor, max_event_count=2)
    assert page.event_count == 0
    assert page.watermark_time > max(settled.values())


def _memory(capture: CaptureClient) -> Memory:
    events = capture.parts.events
    assert isinstance(events, MemoryEventStore)
    found = Memory(events.faults)
    found.events = events
    found.receipts = capture.parts.feed.receipts  # type: ignore[assignment]  # it is the one in memory
    return found


async def test_news_between_a_read_and_a_wait_are_not_missed(capture: CaptureClient) -> None:
    reader = capture.parts.feed.reader("test")
    page = await reader.read(b"", max_event_count=10)
    assert page.event_count == 0
    await fill(capture, FakeJournal(), 1)
    async with asyncio.timeout(1):
        await reader.wait(60)
    page = await reader.read(page.cursor, max_event_count=10)
    assert page.event_count == 1
    began = asyncio.get_running_loop().time()
    await reader.wait(0.1)
    assert asyncio.get_running_loop().time() - began >= 0.09


async def test_another_replicas_events_are_seen_soon(memory: Memory) -> None:
    async with contextlib.AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(running_capture(memory.stores(is_shared=True), replica=name))
            for name in ("replica-0", "replica-1")
        ]
        call = one.stub.Subscribe(pb.SubscribeRequest(follower="f"), metadata=SERVICE)
        await asyncio.sleep(0.1)
        for _ in range(3):
            sent = await fill(other, FakeJournal(), 2)
            answer = await asyncio.wait_for(call.read(), 2)
            assert ids(event_pb2.EventBatch.FromString(answer.events).events) == sent
        call.cancel()


async def test_events_that_another_clickhouse_replica_does_not_show_yet_are_waited_for(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receipt may be visible before the events that it is of."""
    async with running_capture(memory.stores(is_shared=True)) as capture:
        sent = await fill(capture, FakeJournal(), 6)
        hidden = memory.events.rows[4:]
        del memory.events.rows[4:]
        reader = capture.parts.feed.reader("test")
        with pytest.raises(UnavailableError):
            await reader.read(b"", max_event_count=100)
        page = await reader.read(b"", max_event_count=3)
        rest = page.cursor
        with pytest.raises(UnavailableError):
            await reader.read(rest, max_event_count=100)
        memory.events.rows += hidden
        page = await reader.read(rest, max_event_count=100)
        assert ids(event_pb2.EventBatch.FromString(page.events).events) == sent[3:]


async def test_events_that_were_erased_do_not_stop_the_feed(
    memory: Memory, capture: CaptureClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(capture, FakeJournal(), 3)
    sent = await fill(capture, FakeJournal(), 2)
    long_ago = timedelta(days=400)
    memory.receipts.settlements = [
        replace(s, settle_time=s.settle_time - long_ago) for s in memory.receipts.settlements
    ]
    del memory.events.rows[:3]
    events, _ = await capture.read_feed(2)
    assert ids(events) == sent


async def test_events_far_from_their_hint_are_found(capture: CaptureClient, memory: Memory) -> None:
    """A clock that stepped: first and last event tell nothing of the ones between."""
    read, asked = type(memory.events).read, list[bool]()

    async def strict(self: MemoryEventStore, ranges: list[EventRange], *, limit: int) -> bytes:
        asked.append(ranges[0].times is not None)
        return b"" if ranges[0].times is not None else await read(self, ranges, limit=limit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(memory.events), "read", strict)
        sent = await fill(capture, FakeJournal(), 4)
        events, _ = await capture.read_feed(4)
    assert ids(events) == sent
    assert asked[:2] == [True, False]


async def test_a_cursor_stays_small_however_many_journals_there_were(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursors, "MOST_ENTRIES", 3)
    monkeypatch.setattr(feeds, "_ENTRY_LIFETIME", timedelta(milliseconds=30))
    found: list[str] = []
    sent: list[str] = []
    cursor = b""
    journals = [FakeJournal() for _ in range(12)]
    async with running_capture(memory.stores()) as capture:
        for journal in journals:
            sent += await fill(capture, journal, 2)
            events, cursor = await capture.read_feed(2, cursor)
            found += ids(events)
            await asyncio.sleep(0.04)
        assert len(decode_cursor(cursor).positions) <= 4
        # A journal whose entry is gone goes on where it was.
        for journal in journals[:5]:
            sent += await fill(capture, journal, 1)
        events, cursor = await capture.read_feed(5, cursor)
        found += ids(events)
    assert found[:24] == sent[:24]
    assert sorted(found) == sorted(sent)


async def test_a_busy_journal_does_not_keep_the_others_waiting(capture: CaptureClient) -> None:
    busy, quiet = FakeJournal("f" * 32), FakeJournal("0" * 32)
    await fill(capture, busy, *[5] * 20)
    sent = await fill(capture, quiet, 1)
    reader = capture.parts.feed.reader("test")
    cursor, seen = b"", list[str]()
    for _ in range(3):
        page: FeedPage = await reader.read(cursor, max_event_count=5)
        cursor = page.cursor
        seen += ids(event_pb2.EventBatch.FromString(page.events).events)
    assert sent[0] in seen


def test_the_beginning_is_the_empty_cursor() -> None:
    assert decode_cursor(b"") == Cursor()
