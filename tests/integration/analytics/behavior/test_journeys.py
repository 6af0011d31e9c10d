"""What visitors did, page by page."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import grpc
import pytest

from analytics_svc.behavior import journey
from tests.integration.analytics.behavior.conftest import Asked, at
from tests.integration.analytics.behavior.test_funnel_vectors import march
from tests.reading import OTHER, insert_events
from trellis.analytics.v1 import behavior_pb2 as pb
from trellis.analytics.v1 import report_pb2
from trellis.type.v1 import money_pb2

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = [pytest.mark.store, pytest.mark.loopback]


async def pages(asked: Asked, **fields: object) -> list[list[pb.Journey]]:
    """Return every page of a list."""
    request = pb.ListJourneysRequest(slice=march(), **fields)  # type: ignore[arg-type]  # a test's own fields
    found = []
    while True:
        response = await asked.stub.ListJourneys(request, metadata=Asked.caller())
        found.append(list(response.journeys))
        if not response.next_page_token:
            return found
        request.page_token = response.next_page_token


def users(journeys: Sequence[pb.Journey]) -> list[str]:
    """Return whose journeys they are."""
    return [each.user_id for each in journeys]


async def test_the_journey_of_the_specification(asked: Asked, client: "Client") -> None:
    """Specification 004, example 3."""
    steps = [
        ("2024-06-01T10:15:00", "facebook", "cpc", "summer_awareness", "click"),
        ("2024-06-03T14:22:00", "google", "organic", "", "click"),
        ("2024-06-05T19:45:00", "email", "newsletter", "june_promo", "click"),
        ("2024-06-05T19:52:00", "direct", "", "", "click"),
        ("2024-06-05T19:55:00", "direct", "", "", "purchase"),
    ]
    events = [
        {
            "user_id": "usr_customer123",
            "event_id": UUID(int=number),
            "event_time": datetime.fromisoformat(time).replace(tzinfo=UTC),
            "source": source,
            "medium": medium,
            "channel": f"{source} channel",
            "campaign_id": campaign_id,
            "event_type": event_type,
            "session_id": f"s{min(number, 2)}",
            "click_id": f"c{number}" if event_type == "click" else "c3",
        }
        for number, (time, source, medium, campaign_id, event_type) in enumerate(steps)
    ]
    events[-1] |= {"is_conversion": 1, "value": "149.99", "currency": "USD", "conversion_event": "purchase"}
    insert_events(client, reversed(events), counts=False)
    request = pb.ListJourneysRequest(user_id="usr_customer123")
    request.slice.time_range.start_time.FromJsonString("2024-06-01T00:00:00Z")
    request.slice.time_range.end_time.FromJsonString("2024-07-01T00:00:00Z")
    response = await asked.stub.ListJourneys(request, metadata=Asked.caller())
    (found,) = response.journeys
    assert [
        (touch.event_time.ToJsonString(), touch.source, touch.medium, touch.campaign_id, touch.event_type)
        for touch in found.touches
    ] == [(f"{time}Z", *rest) for time, *rest in steps]
    paid = money_pb2.Money(amount_micros=149_990_000, currency="USD")
    assert found.touches[-1] == pb.Touch(
        event_id=str(UUID(int=4)),
        event_time=found.touches[-1].event_time,
        event_type="purchase",
        source="direct",
        channel="direct channel",
        session_id="s2",
        click_id="c3",
        value=paid,
        is_conversion=True,
        user_id="usr_customer123",
    )
    assert not any(touch.is_conversion or touch.HasField("value") for touch in found.touches[:-1])
    assert (found.event_count, found.session_count, found.conversion_count) == (5, 3, 1)
    assert list(found.revenue) == [paid]
    by_click = pb.ListJourneysRequest(slice=request.slice, click_id="c1")
    assert list((await asked.stub.ListJourneys(by_click, metadata=Asked.caller())).journeys) == [found]


async def test_pages_have_every_visitor_once_newest_last_event_first(asked: Asked, client: "Client") -> None:
    events = [{"user_id": f"u{n:02}", "event_time": at(n // 3), "is_bot": 0} for n in range(25)]
    events += [{"user_id": "u03", "event_time": at(50)}, {"user_id": "", "event_time": at(60)}]
    events += [{"user_id": "bot", "event_time": at(70), "is_bot": 1}]
    insert_events(client, events, counts=False)
    ordered = ["u03", *(f"u{n:02}" for n in sorted(range(25), key=lambda n: (n // 3, n), reverse=True) if n != 3)]
    for size in (1, 7, 25, 500):
        found = await pages(asked, page_size=size)
        assert [user for page in found for user in users(page)] == ordered
        assert {len(page) for page in found[:-1]} <= {size}


async def test_pages_keep_to_the_slice_of_the_first_one(asked: Asked, client: "Client") -> None:
    asked.clock.time = at(10)
    insert_events(client, [{"user_id": user, "event_time": at(n)} for n, user in enumerate("abc")], counts=False)
    first = await asked.stub.ListJourneys(pb.ListJourneysRequest(page_size=1), metadata=Asked.caller())
    insert_events(client, [{"user_id": "a", "event_time": at(20)}], counts=False)
    asked.clock.time = at(30)
    rest = await asked.stub.ListJourneys(
        pb.ListJourneysRequest(page_size=5, page_token=first.next_page_token), metadata=Asked.caller()
    )
    assert users(first.journeys) == ["c"]
    assert users(rest.journeys) == ["b", "a"]
    assert rest.info.time_range == first.info.time_range


async def test_a_token_is_good_for_its_own_list_alone(asked: Asked, client: "Client") -> None:
    insert_events(client, [{"user_id": user} for user in "ab"], counts=False)
    first = await asked.stub.ListJourneys(pb.ListJourneysRequest(slice=march(), page_size=1), metadata=Asked.caller())
    token = first.next_page_token
    for request, organization_id in (
        (pb.ListJourneysRequest(slice=march(), page_token=token, is_converted_only=True), "org_acmecorp"),
        (pb.ListJourneysRequest(slice=march(), page_token=token), OTHER),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await asked.stub.ListJourneys(request, metadata=Asked.caller(organization_id))
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "page_token" in (error.value.details() or "")


async def test_only_those_who_converted(asked: Asked, client: "Client") -> None:
    insert_events(client, [{"user_id": "a"}, {"user_id": "b"}, {"user_id": "b", "is_conversion": 1}], counts=False)
    (page,) = await pages(asked, is_converted_only=True)
    assert users(page) == ["b"]
    assert page[0].conversion_count == 1
    assert not page[0].revenue


async def test_revenue_is_told_by_currency(asked: Asked, client: "Client") -> None:
    paid = [("EUR", "1.5"), ("USD", "0.000001"), ("EUR", "2")]
    rows = [{"user_id": "a", "is_conversion": 1, "value": value, "currency": code} for code, value in paid]
    insert_events(client, [*rows, {"user_id": "a", "value": "9", "currency": "EUR"}], counts=False)
    ((found,),) = await pages(asked)
    assert [(money.currency, money.amount_micros) for money in found.revenue] == [("EUR", 3_500_000), ("USD", 1)]


async def test_a_click_is_found_by_either_id_ours_first_whenever_it_was(asked: Asked, client: "Client") -> None:
    insert_events(
        client,
        [
            {"user_id": "old", "click_id": "ours", "external_click_id": "x", "event_time": at(0) - timedelta(days=90)},
            {"user_id": "old", "event_time": at(5)},
            {"user_id": "new", "click_id": "else", "external_click_id": "ours", "event_time": at(1)},
            {"user_id": "other", "organization_id": OTHER, "click_id": "theirs"},
        ],
        counts=False,
    )
    for click_id, user_id in (("ours", "old"), ("x", "old"), ("else", "new")):
        ((found,),) = await pages(asked, click_id=click_id)
        assert found.user_id == user_id


@pytest.mark.parametrize("name", ["user_id", "click_id"])
async def test_another_organisations_visitor_is_as_unknown_as_nobody(asked: Asked, client: "Client", name: str) -> None:
    insert_events(client, [{"organization_id": OTHER, "user_id": "theirs", "click_id": "theirs"}], counts=False)
    said = []
    for wanted in ("theirs", "nobodys"):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await pages(asked, **{name: wanted})
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        said.append(error.value.details())
    assert said[0] == said[1]


async def test_a_known_visitor_without_events_in_the_slice_is_an_empty_page(asked: Asked, client: "Client") -> None:
    insert_events(client, [{"user_id": "a", "click_id": "c", "event_time": at(0) - timedelta(days=90)}], counts=False)
    assert await pages(asked, user_id="a") == await pages(asked, click_id="c") == [[]]


async def test_a_page_ends_early_where_journeys_are_long(
    asked: Asked, client: "Client", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journey, "MOST_TOUCHES", 4)
    monkeypatch.setattr(journey, "MOST_PAGE_TOUCHES", 7)
    events = [
        {"user_id": user, "event_time": at(n)} for user, count in (("a", 9), ("b", 3), ("c", 2)) for n in range(count)
    ]
    insert_events(client, events, counts=False)
    found = await pages(asked)
    assert [users(page) for page in found] == [["a", "b"], ["c"]]
    assert [(len(each.touches), each.event_count) for each in found[0]] == [(4, 9), (3, 3)]
    assert [touch.event_time.ToDatetime(UTC) for touch in found[0][0].touches] == [at(n) for n in range(4)]


async def test_touches_of_a_millisecond_are_in_the_order_of_their_ids(asked: Asked, client: "Client") -> None:
    ids = [UUID(int=place << 64 | (100 - place)) for place in range(10)]
    insert_events(client, [{"user_id": "a", "event_id": each} for each in reversed(ids)], counts=False)
    ((found,),) = await pages(asked)
    assert [touch.event_id for touch in found.touches] == [str(each) for each in ids]


async def test_what_a_result_rests_on_is_told(asked: Asked, client: "Client") -> None:
    insert_events(client, [{"user_id": "a"}], counts=False)
    response = await asked.stub.ListJourneys(pb.ListJourneysRequest(slice=march()), metadata=Asked.caller())
    info = response.info
    assert (info.time_zone, list(info.sources), info.time_range) == ("UTC", ["events"], march().time_range)
    assert info.elapsed_seconds > 0
    assert isinstance(info, report_pb2.ResultInfo)
