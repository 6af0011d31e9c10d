"""Direct calls: outcomes, keys, groups, and what a crash leaves."""

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from capture_svc import direct
from capture_svc.batch import own_journal_id
from capture_svc.event_ids import keyed_event_id
from capture_svc.store import ContentRefusedError
from svc_runtime.errors import Code, UnavailableError
from tests.contract.capture.memory_store import Memory, MemoryEventStore
from tests.contract.capture.things import (
    ORGANIZATIONS,
    SERVICE,
    CaptureClient,
    FakeJournal,
    make_event,
    member,
    refusal,
    running_capture,
    until,
)
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import event_pb2

pytestmark = pytest.mark.loopback
ACME, GLOBEX, _ = ORGANIZATIONS
STORED, DUPLICATE, QUARANTINED = pb.OUTCOME_STORED, pb.OUTCOME_DUPLICATE, pb.OUTCOME_QUARANTINED


async def write(
    capture: CaptureClient, *events: event_pb2.Event, organization_id: str = ACME, timeout: float = 20
) -> list[pb.EventOutcome]:
    """Call CaptureEvents."""
    request = pb.CaptureEventsRequest(events=events)
    answer = await capture.stub.CaptureEvents(request, metadata=member(organization_id), timeout=timeout)
    return list(answer.outcomes)


async def test_events_are_stored_with_what_is_ours_to_say(capture: CaptureClient) -> None:
    sent = event_pb2.Event(
        organization_id=GLOBEX,
        event_id="00000000-0000-0000-0000-000000000001",
        event_time_ms=1,
        journal_id="x",
        sequence=99,
        route="in",
        event_type=b"purchase",
        body=b"\xff\x00",
        marks=["late"],
        external_click_id=b"fb_1",
    )
    (outcome,) = await write(capture, sent)
    assert outcome.outcome == STORED
    answer = await capture.stub.GetEvent(pb.GetEventRequest(event_id=outcome.event_id), metadata=member(ACME))
    found = answer.event
    assert (found.organization_id, found.route) == (ACME, "rpc")
    assert uuid.UUID(found.event_id).version == 7
    assert uuid.UUID(found.event_id).int >> 80 == found.event_time_ms
    assert found.journal_id == own_journal_id("direct", "replica-0")
    assert (found.event_type, found.body, list(found.marks)) == (b"purchase", b"\xff\x00", ["late"])
    assert await capture.balance() == (1, 1, 0, 0, 0)
    assert await capture.balance(GLOBEX) == (0, 0, 0, 0, 0)


async def test_each_event_has_its_own_outcome(capture: CaptureClient) -> None:
    events = [event_pb2.Event(idempotency_key=key) for key in (b"a", b"", b"b", b"a", b"")]
    outcomes = await write(capture, *events)
    assert [o.outcome for o in outcomes] == [STORED, STORED, STORED, DUPLICATE, STORED]
    assert outcomes[0].event_id == outcomes[3].event_id == keyed_event_id(ACME, b"a")
    again = await write(capture, event_pb2.Event(idempotency_key=b"b"))
    assert [o.outcome for o in again] == [DUPLICATE]
    other = await write(capture, event_pb2.Event(idempotency_key=b"b"), organization_id=GLOBEX)
    assert [o.outcome for o in other] == [STORED]
    assert await capture.balance() == (6, 4, 2, 0, 0)


async def test_a_key_that_a_gateway_brought_is_known(capture: CaptureClient) -> None:
    journal = FakeJournal()
    event = make_event(event_id=keyed_event_id(ACME, b"k"), idempotency_key=b"k")
    await capture.send(journal, journal.batch([event]))
    assert [o.outcome for o in await write(capture, event_pb2.Event(idempotency_key=b"k"))] == [DUPLICATE]


async def test_a_key_that_was_written_directly_is_known_to_gateways(capture: CaptureClient) -> None:
    await write(capture, event_pb2.Event(idempotency_key=b"k"))
    journal = FakeJournal()
    event = make_event(event_id=keyed_event_id(ACME, b"k"), idempotency_key=b"k")
    await capture.send(journal, journal.batch([event]))
    assert await capture.balance() == (2, 1, 1, 0, 0)


async def test_a_refused_event_is_kept_aside_and_says_why(capture: CaptureClient, memory: Memory) -> None:
    refuse = memory.events.insert

    async def picky(events: bytes, *, token: str) -> None:
        if b"poison" in events:
            raise ContentRefusedError("INCORRECT_DATA")
        await refuse(events, token=token)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(memory.events), "insert", lambda _self, events, *, token: picky(events, token=token))
        outcomes = await write(capture, event_pb2.Event(), event_pb2.Event(body=b"poison"), event_pb2.Event())
    assert [(o.outcome, o.reason) for o in outcomes] == [
        (STORED, ""),
        (QUARANTINED, "store_refused: INCORRECT_DATA"),
        (STORED, ""),
    ]
    assert await capture.balance() == (3, 2, 0, 1, 0)


async def test_a_hundred_calls_at_once_are_a_few_inserts(
    capture: CaptureClient, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = type(memory.events).insert

    async def as_long_as_a_disk_takes(self: MemoryEventStore, events: bytes, *, token: str) -> None:
        await asyncio.sleep(0.02)
        await insert(self, events, token=token)

    monkeypatch.setattr(type(memory.events), "insert", as_long_as_a_disk_takes)

    async def call(number: int) -> list[pb.EventOutcome]:
        organization_id = ORGANIZATIONS[number % 3]
        return await write(
            capture, event_pb2.Event(), event_pb2.Event(body=b"%d" % number), organization_id=organization_id
        )

    answers = await asyncio.gather(*(call(number) for number in range(100)))
    assert all(o.outcome == STORED for outcomes in answers for o in outcomes)
    assert memory.faults.called["events.insert"] < 30
    by_id = {row.event.event_id: row.event for row in memory.events.rows}
    assert len(by_id) == 200
    for number, outcomes in enumerate(answers):
        event = by_id[outcomes[1].event_id]
        assert (event.body, event.organization_id) == (b"%d" % number, ORGANIZATIONS[number % 3])
    assert sorted(row.event.sequence for row in memory.events.rows) == list(range(1, 201))


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.CaptureEventsRequest(), Code.INVALID_ARGUMENT),
        (pb.CaptureEventsRequest(events=[event_pb2.Event()] * 1001), Code.INVALID_ARGUMENT),
        (pb.CaptureEventsRequest(events=[event_pb2.Event(event_type=b"x" * 129)]), Code.INVALID_ARGUMENT),
        (pb.CaptureEventsRequest(events=[event_pb2.Event(body=b"x" * 4 * 2**20)]), Code.TOO_LARGE),
    ],
    ids=["none", "too many", "long type", "too large"],
)
async def test_a_request_over_a_limit_is_refused(
    capture: CaptureClient, request_: pb.CaptureEventsRequest, code: Code
) -> None:
    error = await refusal(capture.stub.CaptureEvents(request_, metadata=member(ACME)))
    assert error.code is code


async def test_writing_needs_its_scope_and_an_organisation(capture: CaptureClient) -> None:
    request = pb.CaptureEventsRequest(events=[event_pb2.Event()])
    for metadata in (member(ACME, "traffic:read"), SERVICE):
        error = await refusal(capture.stub.CaptureEvents(request, metadata=metadata))
        assert error.code is Code.PERMISSION_DENIED


@pytest.mark.parametrize("name", ["events.insert", "receipts.insert", "events.claim"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_store_that_fails_for_a_moment_is_not_noticed(
    capture: CaptureClient, memory: Memory, name: str, moment: str
) -> None:
    memory.faults.decide = lambda called: moment if called == name and memory.faults.called[name] < 4 else ""
    outcomes = await write(capture, event_pb2.Event(idempotency_key=b"a"), event_pb2.Event())
    assert [o.outcome for o in outcomes] == [STORED, STORED]
    assert await capture.balance() == (2, 2, 0, 0, 0)


async def test_callers_do_not_wait_for_ever_and_the_numbers_stay_theirs(
    capture: CaptureClient, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "CALLER_PATIENCE_SECONDS", 0.2)
    memory.faults.decide = lambda name: "after" if name == "events.insert" else ""
    assert (await refusal(write(capture, event_pb2.Event(body=b"1")))).code is Code.UNAVAILABLE
    # While it is stuck others are told at once.
    error = await refusal(asyncio.wait_for(write(capture, event_pb2.Event()), 0.1))
    assert error.code is Code.UNAVAILABLE
    memory.faults.decide = lambda _: ""
    await until(lambda: len(memory.receipts.settlements) > 0)
    await write(capture, event_pb2.Event(body=b"2"))
    assert [row.event.body for row in memory.events.rows] == [b"1", b"2"]
    assert len({row.event.sequence for row in memory.events.rows}) == 2
    assert await capture.balance() == (2, 2, 0, 0, 0)


async def test_what_a_crash_left_without_a_receipt_gets_one(memory: Memory) -> None:
    """The caller was never told; the event is stored all the same, so the ledger and followers must know it."""
    memory.faults.decide = lambda name: "before" if name == "receipts.insert" else ""
    async with running_capture(memory.stores()) as capture:
        call = asyncio.ensure_future(write(capture, event_pb2.Event(body=b"1"), event_pb2.Event(idempotency_key=b"k")))
        await until(lambda: memory.faults.called["receipts.insert"] > 0)
        call.cancel()
    memory.faults.decide = lambda _: ""
    async with running_capture(memory.stores()) as capture:
        # The caller comes back with its key.
        outcomes = await write(capture, event_pb2.Event(idempotency_key=b"k"), event_pb2.Event(body=b"2"))
        assert [o.outcome for o in outcomes] == [DUPLICATE, STORED]
        assert await capture.balance() == (4, 3, 1, 0, 0)
        events, _cursor = await capture.read_feed(3)
        assert sorted(event.body for event in events) == [b"", b"1", b"2"]
        sequences = [event.sequence for event in events]
        assert sequences == sorted(set(sequences))


async def test_a_claim_of_a_caller_that_died_before_its_event_was_stored_does_not_stand_for_ever(
    memory: Memory,
) -> None:
    memory.faults.decide = lambda name: "before" if name == "events.insert" else ""
    async with running_capture(memory.stores()) as capture:
        call = asyncio.ensure_future(write(capture, event_pb2.Event(idempotency_key=b"k")))
        await until(lambda: memory.faults.called["events.insert"] > 0)
        call.cancel()
    memory.faults.decide = lambda _: ""
    assert [claim.is_direct for claim in memory.events.claims] == [True]
    # A minute later.
    memory.events.claims = [
        replace(claim, claim_time=claim.claim_time - timedelta(minutes=2)) for claim in memory.events.claims
    ]
    async with running_capture(memory.stores()) as capture:
        outcomes = await write(capture, event_pb2.Event(idempotency_key=b"k"))
        assert [o.outcome for o in outcomes] == [STORED]
        journal = FakeJournal()
        event = make_event(event_id=keyed_event_id(ACME, b"k"), idempotency_key=b"k")
        await capture.send(journal, journal.batch([event]))
        assert await capture.balance() == (2, 1, 1, 0, 0)


async def test_a_fresh_claim_of_somebody_who_is_storing_is_waited_for(capture: CaptureClient, memory: Memory) -> None:
    go_on, begun = asyncio.Event(), asyncio.Event()
    insert = type(memory.events).insert

    async def slow(self: object, events: bytes, *, token: str) -> None:
        if not begun.is_set():
            begun.set()
            await go_on.wait()
        await insert(memory.events, events, token=token)

    journal = FakeJournal()
    event = make_event(event_id=keyed_event_id(ACME, b"k"), idempotency_key=b"k")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(memory.events), "insert", slow)
        call = asyncio.ensure_future(write(capture, event_pb2.Event(idempotency_key=b"k")))
        await begun.wait()
        sending = asyncio.ensure_future(capture.send(journal, journal.batch([event])))
        await asyncio.sleep(0.2)
        assert not sending.done()
        go_on.set()
        assert [o.outcome for o in await call] == [STORED]
        await sending
    assert await capture.balance() == (2, 1, 1, 0, 0)


async def test_a_claim_that_outlived_its_time_in_an_outage_gives_way(
    capture: CaptureClient, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While our insert fails, a gateway's event of the same key is stored: then ours is the duplicate."""
    monkeypatch.setattr("capture_svc.duplicates.DIRECT_CLAIM_LIFETIME", timedelta(seconds=0.3))
    insert, is_away = type(memory.events).insert, [True]

    async def picky(self: MemoryEventStore, events: bytes, *, token: str) -> None:
        if is_away and token.startswith(own_journal_id("direct", "replica-0")):
            raise UnavailableError("away")
        await insert(self, events, token=token)

    monkeypatch.setattr(type(memory.events), "insert", picky)
    call = asyncio.ensure_future(write(capture, event_pb2.Event(idempotency_key=b"k")))
    await until(lambda: len(memory.events.claims) > 0)
    journal = FakeJournal()
    event = make_event(event_id=keyed_event_id(ACME, b"k"), idempotency_key=b"k")
    await asyncio.wait_for(capture.send(journal, journal.batch([event])), 5)
    assert len(memory.events.rows) == 1
    is_away.clear()
    assert [o.outcome for o in await call] == [DUPLICATE]
    assert len(memory.events.rows) == 1
    assert await capture.balance() == (2, 1, 1, 0, 0)


async def test_an_unforeseen_failure_leaves_no_event_without_a_receipt(
    capture: CaptureClient, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = memory.faults.called
    memory.faults.decide = lambda name: "crash before" if name == "receipts.insert" and called[name] == 1 else ""
    error = await refusal(write(capture, event_pb2.Event(body=b"1")))
    assert error.code is Code.UNAVAILABLE
    assert [o.outcome for o in await write(capture, event_pb2.Event(body=b"2"))] == [STORED]
    assert await capture.balance() == (2, 2, 0, 0, 0)
    events, _ = await capture.read_feed(2)
    assert [event.body for event in events] == [b"1", b"2"]
