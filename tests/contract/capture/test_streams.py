"""Journal streams: order, acknowledgements, resumption, and stores that fail."""

import asyncio
import contextlib
from typing import Any

import grpc
import pytest

from capture_svc import sessions
from svc_runtime.errors import Code
from tests.contract.capture.memory_store import Memory
from tests.contract.capture.things import (
    ORGANIZATIONS,
    SERVICE,
    CaptureClient,
    FakeJournal,
    keyed,
    make_event,
    member,
    refusal,
    running_capture,
)
from trellis.capture.v1 import capture_service_pb2 as pb

pytestmark = pytest.mark.loopback
ACME, GLOBEX, _ = ORGANIZATIONS


async def test_a_new_journal_is_settled_up_to_0(capture: CaptureClient) -> None:
    async with capture.stream(FakeJournal()) as stream:
        assert stream.settled == 0


async def test_batches_are_acknowledged_in_order_and_stored_once(capture: CaptureClient, memory: Memory) -> None:
    journal = FakeJournal()
    batches = [journal.batch([make_event(), make_event(GLOBEX)]) for _ in range(6)]
    async with capture.stream(journal) as stream:
        for batch in batches:
            await stream.send(batch)
        acks = []
        while stream.settled < batches[-1].sequence:
            acks.append(await stream.read())
        assert acks == sorted(acks)
    assert len(memory.events.rows) == 12
    assert await capture.balance() == (6, 6, 0, 0, 0)
    assert await capture.balance(GLOBEX) == (6, 6, 0, 0, 0)


async def test_a_journal_resumes_where_it_was_settled(capture: CaptureClient, memory: Memory) -> None:
    journal = FakeJournal()
    batches = [journal.batch([make_event()]) for _ in range(5)]
    await capture.send(journal, *batches[:3])
    async with capture.stream(journal) as stream:
        assert stream.settled == batches[2].sequence
        for batch in batches:
            await stream.settle(batch)
    assert len(memory.events.rows) == 5
    assert await capture.balance() == (5, 5, 0, 0, 0)


async def test_the_same_batch_three_times_is_stored_once(capture: CaptureClient, memory: Memory) -> None:
    journal = FakeJournal()
    batch = journal.batch([make_event() for _ in range(4)])
    async with capture.stream(journal) as stream:
        for _ in range(3):
            await stream.send(batch)
        assert await stream.read() == batch.sequence
    await capture.send(journal, batch)
    assert len(memory.events.rows) == 4
    assert await capture.balance() == (4, 4, 0, 0, 0)


async def test_a_batch_out_of_order_is_acknowledged_and_not_stored_again(
    capture: CaptureClient, memory: Memory
) -> None:
    journal = FakeJournal()
    first, second, third = (journal.batch([make_event()]) for _ in range(3))
    async with capture.stream(journal) as stream:
        for batch in (first, second, third):
            await stream.settle(batch)
        await stream.send(first)
        assert await stream.read() == third.sequence
        await stream.send(second)
        assert await stream.read() == third.sequence
    assert len(memory.events.rows) == 3


async def test_a_batch_that_overlaps_a_settled_one_is_refused(capture: CaptureClient, memory: Memory) -> None:
    journal = FakeJournal()
    await capture.send(journal, journal.batch([make_event() for _ in range(5)]))
    other = FakeJournal(journal.journal_id)
    other.next_sequence = 3
    async with capture.stream(journal) as stream:
        error = await refusal(stream.settle(other.batch([make_event()])))
    assert error.code is Code.INVALID_ARGUMENT
    assert len(memory.events.rows) == 5


async def test_gaps_between_batches_are_fine(capture: CaptureClient) -> None:
    journal = FakeJournal()
    first = journal.batch([make_event()])
    journal.next_sequence = 1_000
    await capture.send(journal, first, journal.batch([make_event()]))
    assert await capture.balance() == (2, 2, 0, 0, 0)


@pytest.mark.parametrize(
    "message",
    [
        pb.CaptureRequest(),
        pb.CaptureRequest(status=pb.JournalStatus()),
        pb.CaptureRequest(hello=pb.JournalHello(journal_id="short")),
        pb.CaptureRequest(hello=pb.JournalHello(journal_id="A" * 32)),
        pb.CaptureRequest(hello=pb.JournalHello(journal_id="g" * 32)),
    ],
    ids=str,
)
async def test_a_stream_begins_with_a_journal(capture: CaptureClient, message: pb.CaptureRequest) -> None:
    call = capture.stub.Capture(metadata=SERVICE)
    await call.write(message)
    assert (await refusal(_end(call))).code is Code.INVALID_ARGUMENT


async def _end(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass
    code = await call.code()
    if code is not grpc.StatusCode.OK:
        raise grpc.aio.AioRpcError(code, await call.initial_metadata(), await call.trailing_metadata())


@pytest.mark.parametrize(
    "message",
    [
        pb.CaptureRequest(hello=pb.JournalHello(journal_id="a" * 32)),
        pb.CaptureRequest(),
        pb.CaptureRequest(batch=pb.JournalBatch(sequence=0, last_sequence=4)),
        pb.CaptureRequest(batch=pb.JournalBatch(sequence=5, last_sequence=4)),
    ],
    ids=str,
)
async def test_a_message_that_makes_no_sense_ends_the_stream(
    capture: CaptureClient, message: pb.CaptureRequest
) -> None:
    async with capture.stream(FakeJournal()) as stream:
        await stream.call.write(message)
        assert (await refusal(_end(stream.call))).code is Code.INVALID_ARGUMENT


async def test_what_was_taken_before_a_bad_message_is_stored(capture: CaptureClient, memory: Memory) -> None:
    journal = FakeJournal()
    async with capture.stream(journal) as stream:
        await stream.send(journal.batch([make_event()]))
        await stream.call.write(pb.CaptureRequest())
        await refusal(_end(stream.call))
    assert len(memory.receipts.settlements) == 1


@pytest.mark.parametrize("metadata", [(), member(ACME)], ids=["nobody", "an organisation"])
async def test_only_services_may_stream(capture: CaptureClient, metadata: Any) -> None:
    call = capture.stub.Capture(metadata=metadata)
    error = await refusal(_end(call))
    assert error.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
    call = capture.stub.Subscribe(pb.SubscribeRequest(), metadata=metadata)
    assert (await refusal(_end(call))).code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)


async def test_a_new_stream_takes_the_journal_from_the_old_one(capture: CaptureClient, memory: Memory) -> None:
    journal = FakeJournal()
    first, second = journal.batch([make_event()]), journal.batch([make_event()])
    async with capture.stream(journal) as old:
        await old.settle(first)
        async with capture.stream(journal) as new:
            assert new.settled == first.sequence
            with pytest.raises(grpc.aio.AioRpcError):
                await old.settle(second)
            await new.settle(second)
    assert len(memory.events.rows) == 2
    assert await capture.balance() == (2, 2, 0, 0, 0)


async def test_a_new_stream_waits_for_the_insert_of_the_old_one(
    capture: CaptureClient, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else both would insert at once, and a batch would be confirmed while its events are still on their way."""
    journal, order = FakeJournal(), list[str]()
    go_on, begun = asyncio.Event(), asyncio.Event()
    insert, head = memory.events.insert, memory.receipts.head

    async def slow_insert(events: bytes, *, token: str) -> None:
        begun.set()
        await go_on.wait()
        await insert(events, token=token)
        order.append("inserted")

    async def noted_head(journal_id: str) -> Any:
        order.append("head")
        return await head(journal_id)

    monkeypatch.setattr(type(memory.events), "insert", lambda _self, events, *, token: slow_insert(events, token=token))
    monkeypatch.setattr(type(memory.receipts), "head", lambda _self, journal_id: noted_head(journal_id))
    batch = journal.batch([make_event()])
    async with capture.stream(journal) as old:
        await old.send(batch)
        await begun.wait()
        async with contextlib.AsyncExitStack() as stack:
            opening = asyncio.create_task(stack.enter_async_context(capture.stream(journal)))
            await asyncio.sleep(0.1)
            assert not opening.done()
            go_on.set()
            new = await opening
            assert order == ["head", "inserted", "head"]
            await new.settle(batch)
    assert len(memory.events.rows) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "name", ["events.insert", "receipts.insert", "receipts.head", "quarantine.insert", "events.claim"]
)
async def test_a_store_that_fails_for_a_while_loses_nothing(
    capture: CaptureClient, memory: Memory, name: str, moment: str
) -> None:
    memory.faults.decide = lambda called: moment if called == name and memory.faults.called[called] < 4 else ""
    journal = FakeJournal()
    batches = [
        journal.batch(
            [make_event(), make_event(idempotency_key=b"k%d" % n, event_id=keyed(n)), make_event(event_id="bad")]
        )
        for n in range(3)
    ]
    await capture.send(journal, *batches)
    memory.faults.decide = lambda _: ""
    assert await capture.balance() == (9, 6, 0, 3, 0)
    assert len(memory.events.rows) == 6


async def test_a_stream_gives_up_when_the_store_stays_away_and_nothing_is_acknowledged(
    capture: CaptureClient, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PATIENCE_SECONDS", 0.3)
    journal = FakeJournal()
    batch = journal.batch([make_event()])
    async with capture.stream(journal) as stream:
        memory.faults.decide = lambda name: "before" if name == "events.insert" else ""
        error = await refusal(stream.settle(batch))
        assert error.code is Code.UNAVAILABLE
        assert stream.settled == 0
    tries = memory.faults.called["events.insert"]
    assert 2 <= tries <= 12, "it must wait between tries"
    memory.faults.decide = lambda _: ""
    await capture.send(journal, batch)
    assert await capture.balance() == (1, 1, 0, 0, 0)


async def test_a_receipt_that_is_not_taken_ends_the_stream_also_without_another_batch(
    capture: CaptureClient, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PATIENCE_SECONDS", 0.2)
    journal = FakeJournal()
    memory.faults.decide = lambda name: "before" if name == "receipts.insert" else ""
    async with capture.stream(journal) as stream:
        error = await refusal(stream.settle(journal.batch([make_event()])))
    assert error.code is Code.UNAVAILABLE


async def test_a_stopping_service_acknowledges_what_it_took_and_ends_its_streams(memory: Memory) -> None:
    journal = FakeJournal()
    batches = [journal.batch([make_event()]) for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        capture = await stack.enter_async_context(running_capture(memory.stores()))
        stream = await stack.enter_async_context(capture.stream(journal))
        for batch in batches:
            await stream.settle(batch)
        feed = capture.stub.Subscribe(pb.SubscribeRequest(), metadata=SERVICE)
        assert (await feed.read()).event_count == 3
        capture.parts.sessions.close()
        capture.parts.feed.close()
        await _end(stream.call)
        await _end(feed)
        error = await refusal(capture.send(FakeJournal(), FakeJournal().batch([make_event()])))
        assert error.code is Code.UNAVAILABLE
    assert len(memory.receipts.settlements) == 3


async def test_other_journals_go_on_while_one_waits(
    capture: CaptureClient, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, free = FakeJournal(), FakeJournal()
    insert, go_on, begun = type(memory.events).insert, asyncio.Event(), asyncio.Event()

    async def choosy(self: Any, events: bytes, *, token: str) -> None:
        if token.startswith(stuck.journal_id):
            begun.set()
            await go_on.wait()
        await insert(self, events, token=token)

    monkeypatch.setattr(type(memory.events), "insert", choosy)
    async with capture.stream(stuck) as stream:
        await stream.send(stuck.batch([make_event()]))
        await begun.wait()
        await capture.send(free, *(free.batch([make_event()]) for _ in range(5)))
        assert len(memory.events.rows) == 5
        go_on.set()
        await stream.read()
    assert len(memory.events.rows) == 6
