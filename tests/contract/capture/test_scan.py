"""Reading stored events again: everything once, in order, from any cursor, over outages."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from capture_svc import servicer
from svc_runtime.errors import Code
from svc_runtime.rpc_status import error_from_rpc
from tests.contract.capture.memory_store import Memory
from tests.contract.capture.things import (
    ORGANIZATIONS,
    SERVICE,
    CaptureClient,
    FakeJournal,
    ids,
    make_event,
    member,
    refusal,
)
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import event_pb2

pytestmark = pytest.mark.loopback
ACME, GLOBEX, INITECH = ORGANIZATIONS
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
NEW_YEAR_MS = int(NEW_YEAR.timestamp() * 1000)


async def fill(capture: CaptureClient, count: int = 90) -> list[event_pb2.Event]:
    """Store events of three organisations around the new year."""
    journal = FakeJournal()
    events = [
        make_event(ORGANIZATIONS[n % 3], event_time_ms=NEW_YEAR_MS + (n - count // 2) * 3_600_000) for n in range(count)
    ]
    await capture.send(journal, journal.batch(events))
    return events


def instant(value: datetime) -> Timestamp:
    """Return it as the contract has it."""
    stamp = Timestamp()
    stamp.FromDatetime(value)
    return stamp


async def read_all(capture: CaptureClient, **fields: Any) -> list[pb.ReadEventsResponse]:
    """Return all answers of a call."""
    return [answer async for answer in capture.stub.ReadEvents(pb.ReadEventsRequest(**fields), metadata=SERVICE)]


def events_of(answers: list[pb.ReadEventsResponse]) -> list[event_pb2.Event]:
    """Return their events, and insist that their numbers are right."""
    found: list[event_pb2.Event] = []
    for answer in answers:
        events = event_pb2.EventBatch.FromString(answer.events).events
        assert len(events) == answer.event_count > 0
        found += events
    return found


async def test_every_event_comes_once_in_order(capture: CaptureClient) -> None:
    sent = await fill(capture)
    found = events_of(await read_all(capture, max_event_count=7))
    assert sorted(ids(found)) == sorted(ids(sent))
    places = [(event.organization_id, event.event_time_ms) for event in found]
    assert places == sorted(places)
    assert {event.event_id: event for event in found} == {event.event_id: event for event in sent}, "every byte"


async def test_it_goes_on_at_any_cursor(capture: CaptureClient) -> None:
    await fill(capture)
    answers = await read_all(capture, max_event_count=7)
    for n, answer in enumerate(answers):
        rest = events_of(await read_all(capture, max_event_count=10, cursor=answer.cursor))
        assert ids(rest) == ids(events_of(answers[n + 1 :]))


async def test_an_organisation_and_a_time_range_are_kept_to(capture: CaptureClient) -> None:
    sent = await fill(capture)
    start, end = NEW_YEAR - timedelta(hours=10), NEW_YEAR + timedelta(hours=10)
    answers = await read_all(
        capture, organization_id=GLOBEX, start_time=instant(start), end_time=instant(end), max_event_count=2
    )
    expected = [
        event
        for event in sent
        if event.organization_id == GLOBEX and start.timestamp() * 1000 <= event.event_time_ms < end.timestamp() * 1000
    ]
    assert ids(events_of(answers)) == ids(expected)
    assert expected
    assert await read_all(capture, organization_id="org_nobody") == []


async def test_months_are_counted(capture: CaptureClient) -> None:
    sent = await fill(capture)
    for name in ("", ACME):
        answer = await capture.stub.CountEventsByMonth(
            pb.CountEventsByMonthRequest(organization_id=name), metadata=SERVICE
        )
        mine = [event for event in sent if name in ("", event.organization_id)]
        before = sum(event.event_time_ms < NEW_YEAR_MS for event in mine)
        assert [(month.start_time.ToDatetime(UTC), month.event_count) for month in answer.months] == [
            (datetime(2025, 12, 1, tzinfo=UTC), before),
            (NEW_YEAR, len(mine) - before),
        ]


async def test_an_outage_of_the_store_is_sat_out(capture: CaptureClient, memory: Memory) -> None:
    await fill(capture)
    memory.faults.decide = lambda name: "before" if memory.faults.called[name] % 3 == 1 else ""
    assert len(events_of(await read_all(capture, max_event_count=20))) == 90


async def test_a_longer_outage_is_unavailable_and_the_cursor_goes_on(
    capture: CaptureClient, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servicer, "PATIENCE_SECONDS", 0.1)
    await fill(capture)
    memory.faults.decide = lambda name: "before" if memory.faults.called["events.scan"] > 2 else ""
    call = capture.stub.ReadEvents(pb.ReadEventsRequest(max_event_count=10), metadata=SERVICE)
    found = [await call.read(), await call.read()]
    assert (await refusal(call.read())).code is Code.UNAVAILABLE
    memory.faults.decide = lambda _name: ""
    found += await read_all(capture, max_event_count=10, cursor=found[-1].cursor)
    assert len(set(ids(events_of(found)))) == len(events_of(found)) == 90


async def test_a_leaving_replica_does_not_look_like_the_end(capture: CaptureClient) -> None:
    await fill(capture)
    capture.parts.feed.close()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await read_all(capture)
    assert error_from_rpc(raised.value).code is Code.UNAVAILABLE


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"cursor": b"nonsense"}, "cursor"),
        ({"max_event_count": 100_001}, "max_event_count"),
        ({"start_time": Timestamp(seconds=2**40)}, "start_time"),
        ({"start_time": instant(NEW_YEAR), "end_time": instant(NEW_YEAR)}, "end_time"),
    ],
)
async def test_a_wrong_request_is_named(capture: CaptureClient, fields: dict[str, Any], field: str) -> None:
    error = await refusal(read_all(capture, **fields))
    assert error.code is Code.INVALID_ARGUMENT
    assert [violation.field for violation in error.violations] == [field]


async def test_no_organisation_may_read(capture: CaptureClient) -> None:
    key = member(ACME)
    refused = await refusal(anext(aiter(capture.stub.ReadEvents(pb.ReadEventsRequest(), metadata=key))))
    assert refused.code is Code.PERMISSION_DENIED
    refused = await refusal(capture.stub.CountEventsByMonth(pb.CountEventsByMonthRequest(), metadata=key))
    assert refused.code is Code.PERMISSION_DENIED
