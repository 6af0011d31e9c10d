"""GetEvent, ListEvents and ListQuarantine: whole events, pages, filters, and nobody else's."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from capture_svc import servicer
from svc_runtime.errors import Code
from tests.contract.capture.memory_store import Memory
from tests.contract.capture.store_contract import whole_event
from tests.contract.capture.things import (
    OPERATOR,
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

pytestmark = pytest.mark.loopback
ACME, GLOBEX, _ = ORGANIZATIONS
NOW_MS = 1_795_176_000_123


@pytest.fixture
async def capture() -> AsyncIterator[CaptureClient]:
    """Run a capture_svc on empty stores."""
    async with running_capture(Memory().stores()) as client:
        yield client


def at(milliseconds: int) -> Timestamp:
    """Return an instant."""
    stamp = Timestamp()
    stamp.FromDatetime(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds))
    return stamp


async def test_an_event_comes_back_whole(capture: CaptureClient) -> None:
    journal = FakeJournal()
    event = whole_event()
    await capture.send(journal, journal.batch([event], is_keyed=False))
    answer = await capture.stub.GetEvent(pb.GetEventRequest(event_id=event.event_id.upper()), metadata=member(ACME))
    assert answer.event == event
    assert abs((answer.ingest_time.ToDatetime(UTC) - datetime.now(UTC)).total_seconds()) < 60
    assert await capture.list_all() == [event]


async def test_another_organisations_event_is_as_missing_as_one_that_never_was(capture: CaptureClient) -> None:
    journal = FakeJournal()
    event = make_event()
    await capture.send(journal, journal.batch([event]))
    errors = []
    for event_id, organization_id in ((event.event_id, GLOBEX), ("01a1f83d-ed7e-7802-9852-7986ce481dd7", ACME)):
        call = capture.stub.GetEvent(pb.GetEventRequest(event_id=event_id), metadata=member(organization_id))
        error = await refusal(call)
        errors.append((error.code, error.reason, error.message.replace(event_id, "…")))
    assert errors[0] == errors[1]
    assert errors[0][0] is Code.NOT_FOUND
    assert await capture.list_all(GLOBEX) == []


@pytest.mark.parametrize("event_id", ["", "x", "01a1f83d-ed7e-7802-9852-7986ce481dd", "' OR 1=1 --"])
async def test_an_id_that_is_none_is_refused(capture: CaptureClient, event_id: str) -> None:
    call = capture.stub.GetEvent(pb.GetEventRequest(event_id=event_id), metadata=member(ACME))
    assert (await refusal(call)).code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("metadata", [(), SERVICE, member(ACME, "traffic:write")], ids=["nobody", "service", "scope"])
@pytest.mark.parametrize("method", ["GetEvent", "ListEvents", "GetLedger"])
async def test_reading_needs_its_scope_and_an_organisation(capture: CaptureClient, method: str, metadata: Any) -> None:
    call = getattr(capture.stub, method)(getattr(pb, f"{method}Request")(), metadata=metadata)
    assert (await refusal(call)).code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)


async def test_pages_hold_every_event_once_also_while_new_ones_arrive(capture: CaptureClient) -> None:
    journal = FakeJournal()
    events = [make_event(event_time_ms=NOW_MS + n // 3) for n in range(25)]
    await capture.send(journal, journal.batch(events))
    found = []
    request = pb.ListEventsRequest(page_size=4)
    while True:
        page = await capture.stub.ListEvents(request, metadata=member(ACME))
        found += ids(page.events)
        await capture.send(journal, journal.batch([make_event(event_time_ms=NOW_MS + 1_000_000)]))
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert sorted(found) == sorted(ids(events))


async def test_filters_reach_the_store(capture: CaptureClient) -> None:
    journal = FakeJournal()
    events = [
        make_event(event_time_ms=NOW_MS, event_type=b"\xff", marks=["late"]),
        make_event(event_time_ms=NOW_MS + 1, click_id="ours", user_id="usr_1", campaign_id="cmp_1"),
        make_event(event_time_ms=NOW_MS + 2, external_click_id=b"\xfetheirs"),
    ]
    await capture.send(journal, journal.batch(events))
    for fields, expected in (
        ({"event_type": b"\xff"}, [0]),
        ({"mark": "late"}, [0]),
        ({"click_id": b"ours"}, [1]),
        ({"click_id": b"\xfetheirs"}, [2]),
        ({"user_id": "usr_1", "campaign_id": "cmp_1"}, [1]),
        ({"start_time": at(NOW_MS + 1), "end_time": at(NOW_MS + 2)}, [1]),
        ({"start_time": at(NOW_MS)}, [2, 1, 0]),
        ({"user_id": "usr_1", "mark": "late"}, []),
    ):
        assert ids(await capture.list_all(**fields)) == [events[n].event_id for n in expected], fields


async def test_a_page_token_is_of_its_list(capture: CaptureClient) -> None:
    journal = FakeJournal()
    await capture.send(journal, journal.batch([make_event() for _ in range(3)]))
    page = await capture.stub.ListEvents(pb.ListEventsRequest(page_size=1), metadata=member(ACME))
    token = page.next_page_token
    for fields, organization_id in (
        ({"page_token": token, "mark": "x"}, ACME),
        ({"page_token": token}, GLOBEX),
        ({"page_token": token[:-2]}, ACME),
        ({"page_token": "nonsense"}, ACME),
        ({"page_token": "\u00fc"}, ACME),
    ):
        call = capture.stub.ListEvents(pb.ListEventsRequest(**fields), metadata=member(organization_id))
        assert (await refusal(call)).code is Code.INVALID_ARGUMENT, fields


@pytest.mark.parametrize(
    "fields",
    [
        {"page_size": 1001},
        {"start_time": at(NOW_MS), "end_time": at(NOW_MS)},
        {"start_time": Timestamp(seconds=10**15)},
        {"end_time": Timestamp(nanos=-5)},
    ],
    ids=str,
)
async def test_a_list_that_makes_no_sense_is_refused(capture: CaptureClient, fields: dict[str, Any]) -> None:
    call = capture.stub.ListEvents(pb.ListEventsRequest(**fields), metadata=member(ACME))
    assert (await refusal(call)).code is Code.INVALID_ARGUMENT


async def test_a_page_of_large_events_stays_sendable(capture: CaptureClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servicer, "_PAGE_BYTES", 100_000)
    journal = FakeJournal()
    await capture.send(journal, journal.batch([make_event(body=b"x" * 30_000) for _ in range(10)]))
    page = await capture.stub.ListEvents(pb.ListEventsRequest(page_size=100), metadata=member(ACME))
    assert 1 <= len(page.events) <= 3
    assert len(await capture.list_all()) == 10


async def test_the_quarantine_is_listed_by_pages_and_organisation(capture: CaptureClient) -> None:
    journal = FakeJournal()
    for n in range(5):
        await capture.send(journal, journal.batch([make_event(ORGANIZATIONS[n % 2], event_id=f"bad {n}")]))
    found = []
    request = pb.ListQuarantineRequest(page_size=2)
    while True:
        page = await capture.stub.ListQuarantine(request, metadata=OPERATOR)
        found += [item.quarantine_id for item in page.items]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert len(found) == len(set(found)) == 5
    assert {item.organization_id for item in await capture.quarantine(organization_id=GLOBEX)} == {GLOBEX}
    call = capture.stub.ListQuarantine(
        pb.ListQuarantineRequest(page_token=request.page_token, organization_id=ACME), metadata=OPERATOR
    )
    assert (await refusal(call)).code is Code.INVALID_ARGUMENT


async def test_a_replay_of_ids_that_are_none_is_refused(capture: CaptureClient) -> None:
    assert (await refusal(capture.replay("nonsense"))).code is Code.INVALID_ARGUMENT
    assert (
        await refusal(capture.replay(*["01a1f83d-ed7e-7802-9852-7986ce481dd7"] * 1001))
    ).code is Code.INVALID_ARGUMENT
    assert await capture.replay("01a1f83d-ed7e-7802-9852-7986ce481dd7") == (0, 0, 0)
