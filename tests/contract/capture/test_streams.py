"""Journal streams: order, acknowledgements, resumption, and stores that fail."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
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
    FixedHosts,
    counts_to_pb,
    ids,
    make_event,
    member,
    refusal,
    running_capture,
)
from trellis.capture.v1 import capture_service_pb2 as pb

pytestmark = pytest.mark.loopback
ACME, GLOBEX, _ = ORGANIZATIONS


@pytest.fixture
def memory() -> Memory:
    """Return empty stores."""
    return Memory()


@pytest.fixture
async def capture(memory: Memory) -> AsyncIterator[CaptureClient]:
    """Run a capture_svc on them."""
    async with running_capture(memory.stores()) as client:
        yield client


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


def keyed(number: int) -> str:
    """Return the id that a gateway gives to an event with a key."""
    return f"ded2093e-1a73-5f1c-888b-{number:012x}"


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


# -- the careful way ---------------------------------------------------------------------------------------------------


async def test_one_bad_event_costs_one_event(capture: CaptureClient, memory: Memory) -> None:
    journal = FakeJournal()
    good = [make_event() for _ in range(20)]
    bad = make_event(GLOBEX, event_id="not a uuid", body=b"\xff\x00")
    await capture.send(journal, journal.batch([*good[:13], bad, *good[13:]]))
    assert sorted(ids(await capture.list_all())) == sorted(ids(good))
    assert await capture.balance() == (20, 20, 0, 0, 0)
    assert await capture.balance(GLOBEX) == (1, 0, 0, 1, 0)
    (item,) = await capture.quarantine()
    assert (item.organization_id, item.reason) == (GLOBEX, "store_refused: CANNOT_PARSE_UUID")
    assert item.event == bad.SerializeToString()
    # Halving 21 events takes few inserts, not one for each.
    assert memory.faults.called["events.insert"] <= 12


async def test_a_batch_of_bad_events_only_is_settled(capture: CaptureClient) -> None:
    journal = FakeJournal()
    await capture.send(journal, journal.batch([make_event(event_id=f"bad {n}") for n in range(7)]))
    assert await capture.balance() == (7, 0, 0, 7, 0)
    await capture.send(journal, journal.batch([make_event()]))
    assert await capture.balance() == (8, 1, 0, 7, 0)


async def test_an_event_that_does_not_decode_is_kept_aside_alone(capture: CaptureClient) -> None:
    journal = FakeJournal()
    await capture.send(journal, journal.batch([make_event(), b"\xff\xff\xff", make_event(GLOBEX)]))
    assert await capture.balance() == (2, 1, 0, 1, 0)
    assert await capture.balance(GLOBEX) == (1, 1, 0, 0, 0)
    (item,) = await capture.quarantine()
    assert (item.organization_id, item.reason, item.event) == (ACME, "undecodable", b"\xff\xff\xff")


@pytest.mark.parametrize("payload", [b"\xff" * 50, b"\x0a\x7fshort", b"\x12\x01a", b"\x0a" + b"\xff" * 11], ids=repr)
async def test_bytes_that_do_not_split_are_kept_aside_whole(capture: CaptureClient, payload: bytes) -> None:
    journal = FakeJournal()
    counts = counts_to_pb({ACME: 3, GLOBEX: 2})
    batch = pb.JournalBatch(sequence=1, last_sequence=5, events=payload, counts=counts)
    journal.next_sequence = 6
    await capture.send(journal, batch, journal.batch([make_event()]))
    assert await capture.balance() == (4, 1, 0, 3, 0)
    assert await capture.balance(GLOBEX) == (2, 0, 0, 2, 0)
    items = await capture.quarantine()
    assert {(i.organization_id, i.reason, i.event) for i in items} == {
        (ACME, "undecodable", payload),
        (GLOBEX, "undecodable", payload),
    }
    assert await capture.replay() == (0, 0, 2)
    assert await capture.balance(GLOBEX) == (2, 0, 0, 2, 0)


async def test_an_empty_batch_is_settled(capture: CaptureClient) -> None:
    journal = FakeJournal()
    await capture.send(journal, pb.JournalBatch(sequence=1, last_sequence=1))
    async with capture.stream(journal) as stream:
        assert stream.settled == 1


async def test_counts_that_do_not_add_up_are_counted_again(capture: CaptureClient) -> None:
    journal = FakeJournal()
    await capture.send(journal, journal.batch([make_event(), make_event(GLOBEX)], counts=counts_to_pb({ACME: 9})))
    assert await capture.balance() == (1, 1, 0, 0, 0)
    assert await capture.balance(GLOBEX) == (1, 1, 0, 0, 0)


async def test_an_event_of_another_journal_is_kept_aside(capture: CaptureClient) -> None:
    journal = FakeJournal()
    first, last = make_event(), make_event()
    batch = journal.batch([first, last])
    first.journal_id = "f" * 32
    batch.events = b"".join(
        b"\x0a" + _varint(len(e)) + e for e in (first.SerializeToString(), last.SerializeToString())
    )
    await capture.send(journal, batch)
    assert await capture.balance() == (2, 1, 0, 1, 0)
    assert [item.reason for item in await capture.quarantine()] == ["misplaced"]
    assert await capture.replay() == (1, 0, 0)
    assert await capture.balance() == (2, 2, 0, 0, 0)


def _varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80, number >> 7])


async def test_keys_in_one_batch_and_across_journals_are_stored_once(capture: CaptureClient, memory: Memory) -> None:
    one, other = FakeJournal(), FakeJournal()
    first = make_event(event_id=keyed(1), idempotency_key=b"k1")
    repeated = make_event(event_id=keyed(1), idempotency_key=b"k1")
    await capture.send(one, one.batch([first, repeated, make_event()]))
    again = make_event(event_id=keyed(1), idempotency_key=b"k1")
    await capture.send(other, other.batch([again, make_event(event_id=keyed(2), idempotency_key=b"k2")]))
    assert await capture.balance() == (5, 3, 2, 0, 0)
    assert sorted(row.event.event_id for row in memory.events.rows if row.event.idempotency_key) == [keyed(1), keyed(2)]


async def test_one_key_from_many_journals_at_once_is_stored_once(capture: CaptureClient, memory: Memory) -> None:
    journals = [FakeJournal() for _ in range(10)]
    await asyncio.gather(
        *(
            capture.send(
                journal, *(journal.batch([make_event(event_id=keyed(n), idempotency_key=b"k")]) for n in range(5))
            )
            for journal in journals
        )
    )
    assert await capture.balance() == (50, 5, 45, 0, 0)


async def test_the_unclaimed_are_kept_within_their_bound_and_replayed_to_whom_their_host_names(memory: Memory) -> None:

    hosts = FixedHosts()
    async with running_capture(memory.stores(), hosts=hosts, unclaimed_per_day=3) as capture:
        journal = FakeJournal()
        unclaimed = [
            make_event("", host=b"Go.Example:8080", marks=["unclaimed_host"]),
            make_event("", host=b"other.example", marks=["unclaimed_key"]),
        ]
        await capture.send(journal, journal.batch([make_event(), *unclaimed]))
        many = [make_event("", host=b"x.example") for _ in range(5)]
        await capture.send(journal, journal.batch(many))
        assert len(memory.quarantine.events) == 3
        assert sum(r.dropped for r in memory.receipts.receipts()) == 4
        assert sorted(i.reason for i in await capture.quarantine()) == [
            "unclaimed_host",
            "unclaimed_host",
            "unclaimed_key",
        ]
        assert await capture.balance() == (1, 1, 0, 0, 0)
        assert await capture.replay() == (0, 0, 3)
        hosts.known["go.example"] = GLOBEX
        assert await capture.replay() == (1, 0, 2)
        (event,) = await capture.list_all(GLOBEX)
        assert event.event_id == unclaimed[0].event_id
        assert await capture.balance(GLOBEX) == (1, 1, 0, 0, 0)
        assert await capture.balance() == (1, 1, 0, 0, 0)
        for receipt in memory.receipts.receipts():
            assert receipt.received == receipt.stored + receipt.duplicates + receipt.quarantined + receipt.dropped


# -- what a journal says of itself -------------------------------------------------------------------------------------


async def test_the_ledger_knows_what_is_in_the_journal(capture: CaptureClient) -> None:
    journal = FakeJournal()
    batches = [journal.batch([make_event(), make_event(), make_event(GLOBEX)]) for _ in range(3)]
    async with capture.stream(journal) as stream:
        await stream.say(settled=0, pending={ACME: 6, GLOBEX: 3})
        await stream.settle(batches[0])
        # The word is of before: what was settled since is not in the journal any more.
        assert await capture.balance() == (6, 2, 0, 0, 4)
        await stream.settle(batches[1])
        assert await capture.balance() == (6, 4, 0, 0, 2)
        assert await capture.balance(GLOBEX) == (3, 2, 0, 0, 1)
        await stream.say(settled=batches[1].sequence, pending={ACME: 7, GLOBEX: 1})
        await stream.settle(batches[2])
        assert await capture.balance() == (11, 6, 0, 0, 5)
        await stream.say(settled=batches[2].sequence, pending={})
        await asyncio.sleep(0.05)
        assert await capture.balance() == (6, 6, 0, 0, 0)


async def test_the_last_word_of_a_journal_outlives_the_process(memory: Memory) -> None:
    journal = FakeJournal()
    async with running_capture(memory.stores()) as capture:
        async with capture.stream(journal) as stream:
            await stream.say(settled=0, pending={ACME: 3})
            await stream.settle(journal.batch([make_event()]))
        await capture.parts.words.save()
    async with running_capture(memory.stores()) as capture:
        assert await capture.balance() == (3, 1, 0, 0, 2)


async def test_an_account_of_nothing_is_empty(capture: CaptureClient) -> None:
    assert await capture.balance("org_new") == (0, 0, 0, 0, 0)


async def test_the_ledger_is_the_callers_own(capture: CaptureClient) -> None:
    assert (await refusal(capture.stub.GetLedger(pb.GetLedgerRequest(), metadata=SERVICE))).code in (
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
    )
    assert (
        await refusal(capture.stub.ListQuarantine(pb.ListQuarantineRequest(), metadata=member(ACME)))
    ).code is Code.PERMISSION_DENIED
    assert (
        await refusal(capture.stub.ReplayQuarantine(pb.ReplayQuarantineRequest(), metadata=SERVICE))
    ).code is Code.PERMISSION_DENIED
