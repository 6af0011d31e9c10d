"""One journey over two devices, and what it is credited with."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from analytics_svc.identity.end import Edge, value_id
from attribution_svc.crediting.visitor import Attribution, Visitor, VisitorEvent, attribute
from attribution_svc.models.registry import rule_named
from attribution_svc.models.touch import Lookback
from svc_runtime.errors import TrellisError
from svc_runtime.rpc_status import error_from_rpc
from tests.integration.analytics.behavior.conftest import CREDENTIALS
from tests.integration.analytics.identity.conftest import Identity, event, login, sale, visitor
from tests.reading import OTHER
from trellis.analytics.v1 import behavior_pb2
from trellis.analytics.v1 import identity_service_pb2 as pb

pytestmark = [pytest.mark.store, pytest.mark.timeout(120)]
DAY = 24 * 60
PHONE, LAPTOP = "usr_7000000000001", "usr_7000000000002"
SOURCES = ("facebook", "google", "instagram", "email")
LOGGED_IN = {"login_id": "customer123"}


def click(minutes: float, source: str, user_id: str, **values: Any) -> dict[str, Any]:
    return event(minutes, event_type="click", route="in", source=source, user_id=user_id, **values)


def example_3(purchaser: str = LAPTOP) -> list[dict[str, Any]]:
    """Return the journey of the specification's third example, begun on the phone and ended on the laptop."""
    return [
        click(-4.4 * DAY, "facebook", PHONE, click_id="k1"),
        event(-4.4 * DAY + 1, user_id=PHONE, params=LOGGED_IN, event_type="login"),
        click(-2 * DAY, "google", LAPTOP, click_id="k2"),
        click(-1 * DAY, "instagram", PHONE, click_id="k3"),
        click(-10, "email", LAPTOP, click_id="k4"),
        event(-5, user_id=LAPTOP, params=LOGGED_IN, event_type="login"),
        sale(0, "149.99", user_id=purchaser),
    ]


async def journey_of(identity: Identity, user_id: str = LAPTOP, whose: int = behavior_pb2.IDENTITY_PERSON) -> Any:
    request = behavior_pb2.ListJourneysRequest(user_id=user_id, identity=whose)  # type: ignore[arg-type]  # a number
    request.slice.includes_bots = True
    request.slice.time_range.start_time.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    request.slice.time_range.end_time.FromDatetime(datetime(2026, 6, 1, tzinfo=UTC))
    try:
        answer = await identity.analytics.ListJourneys(request, metadata=identity.caller())
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from None
    return answer.journeys[0] if answer.journeys else None


def credited(journey: Any, model: str) -> Attribution:
    """Credit a journey as attribution_svc does."""
    events = tuple(
        VisitorEvent(
            touch.event_id, touch.event_time.ToDatetime(UTC), touch.event_type, touch.source, touch.medium,
            touch.channel, touch.campaign_id, touch.session_id, touch.is_conversion, touch.value.amount_micros,
            touch.value.currency,
        )
        for touch in journey.touches
    )  # fmt: skip
    return attribute(
        Visitor(journey.user_id, events, None),
        rule_named(model, {}),
        lookback=Lookback(round(timedelta(days=30).total_seconds() * 1000)),
        start_time=datetime(2026, 1, 1, tzinfo=UTC),
        end_time=datetime(2026, 6, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize("asked", [PHONE, LAPTOP])
@pytest.mark.parametrize("model", ["linear", "time_decay", "position_based"])
async def test_example_3_over_two_cookies_is_credited_as_over_one(identity: Identity, asked: str, model: str) -> None:
    rows = [{**row, "user_id": PHONE} for row in example_3()]
    identity.take_in(rows)
    wanted = credited(await journey_of(identity, PHONE, behavior_pb2.IDENTITY_VISITOR), model)
    identity.client.command("TRUNCATE TABLE events")
    identity.client.command("TRUNCATE TABLE identity_edges")
    identity.take_in(example_3())
    journey = await journey_of(identity, asked)
    assert (journey.user_id, list(journey.user_ids)) == (asked, [PHONE, LAPTOP])
    assert [touch.user_id for touch in journey.touches if touch.event_type == "click"] == [PHONE, LAPTOP] * 2
    found = credited(journey, model)
    seen = [(point.event.source, point.value_micros) for point in found.touchpoints]
    assert seen == [(point.event.source, point.value_micros) for point in wanted.touchpoints]
    assert [source for source, _ in seen] == [*SOURCES]
    assert sum(value for _, value in seen) == found.total_micros == 149_990_000


async def test_a_journey_is_the_visitors_alone_where_nobody_asks_for_the_persons(identity: Identity) -> None:
    identity.take_in(example_3())
    journey = await journey_of(identity, whose=behavior_pb2.IDENTITY_UNSPECIFIED)
    assert {touch.user_id for touch in journey.touches} == {LAPTOP}
    assert (journey.person_id, list(journey.user_ids)) == ("", [])


async def test_a_sale_that_a_server_sends_with_the_login_alone_is_in_the_persons_journey(identity: Identity) -> None:
    rows = example_3()
    rows[-1] = sale(0, "149.99", user_id="usr_h0123456789ab", route="events", params=LOGGED_IN)
    rows.append(sale(1, "5", user_id="usr_h0123456789ab", route="events", params={"login_id": "somebody-else"}))
    identity.take_in(rows)
    journey = await journey_of(identity, PHONE)
    assert (journey.conversion_count, journey.revenue[0].amount_micros) == (1, 149_990_000)
    assert journey.touches[-1].user_id == "usr_h0123456789ab"


async def test_a_revoked_edge_splits_the_journey_until_it_is_restored(identity: Identity) -> None:
    identity.take_in(example_3())
    edge = Edge.between(login("customer123"), visitor(PHONE))
    before = await journey_of(identity)
    preview = await identity.stub.PreviewRevocation(
        pb.PreviewRevocationRequest(id=edge.edge_id), metadata=identity.caller()
    )
    assert [list(person.user_ids) for person in preview.before] == [[PHONE, LAPTOP]]
    assert [list(person.user_ids) for person in preview.after] == [[LAPTOP], [PHONE]]
    assert preview.conversion_count == 1
    assert await journey_of(identity) == before
    made = await identity.stub.DecideIdentity(
        pb.DecideIdentityRequest(id=edge.edge_id, is_revoked=True), metadata=identity.caller()
    )
    assert (made.decision.revision, made.decision.actor, made.decision.is_revoked) == (1, "key:1", True)
    assert {touch.user_id for touch in (await journey_of(identity)).touches} == {LAPTOP}
    person = (await identity.stub.GetPerson(pb.GetPersonRequest(id=PHONE), metadata=identity.caller())).person
    assert [(shown.is_revoked, shown.is_active) for shown in person.edges] == [(True, False)]
    for revision in (2, 2):  # restoring twice is restoring once
        made = await identity.stub.DecideIdentity(pb.DecideIdentityRequest(id=edge.edge_id), metadata=identity.caller())
        assert (made.decision.revision, made.decision.is_revoked) == (revision, False)
    assert await journey_of(identity) == before


async def test_a_preview_counts_conversions_without_a_visitor_too(identity: Identity) -> None:
    rows = [*example_3(), sale(1, "5", user_id="usr_h0123456789ab", route="events", params=LOGGED_IN)]
    identity.take_in(rows)
    preview = await identity.stub.PreviewRevocation(
        pb.PreviewRevocationRequest(id=value_id(login("customer123"))), metadata=identity.caller()
    )
    assert preview.conversion_count == 2
    assert sorted(list(person.user_ids) for person in preview.after) == [[], [], [PHONE], [LAPTOP]]


async def test_a_revoked_value_takes_all_of_its_edges_with_it(identity: Identity) -> None:
    identity.take_in(example_3())
    text = value_id(login("customer123"))
    await identity.stub.DecideIdentity(pb.DecideIdentityRequest(id=text, is_revoked=True), metadata=identity.caller())
    assert {touch.user_id for touch in (await journey_of(identity)).touches} == {LAPTOP}
    identity.take_in([event(5, user_id="usr_7000000000003", params=LOGGED_IN)])
    assert list((await journey_of(identity, PHONE)).user_ids) == [PHONE]


async def test_a_conversion_finds_the_last_click_of_who_it_names(identity: Identity) -> None:
    rows = example_3()
    identity.take_in([*rows, click(30, "late", LAPTOP)])
    request = pb.ResolveIdentityRequest(organization_id="org_acmecorp", parameters={"customer_id": "customer123"})
    request.before_time.FromDatetime(rows[-1]["event_time"])
    found = await identity.stub.ResolveIdentity(request, metadata=identity_service())
    assert list(found.user_ids) == [PHONE, LAPTOP]
    assert (found.last_touch.source, found.last_touch.click_id, found.touch_user_id) == ("email", "k4", LAPTOP)
    request.organization_id = OTHER
    assert (await identity.stub.ResolveIdentity(request, metadata=identity_service())) == pb.ResolveIdentityResponse()


async def test_an_event_that_names_nobody_known_has_no_person(identity: Identity) -> None:
    identity.take_in(example_3())
    for parameters in ({}, {"login_id": "guest"}, {"login_id": "new"}):
        request = pb.ResolveIdentityRequest(organization_id="org_acmecorp", parameters=parameters)
        request.before_time.FromDatetime(datetime(2026, 4, 1, tzinfo=UTC))
        assert (
            await identity.stub.ResolveIdentity(request, metadata=identity_service())
        ) == pb.ResolveIdentityResponse()


async def test_an_organisation_may_not_resolve_for_another(identity: Identity) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await identity.stub.ResolveIdentity(pb.ResolveIdentityRequest(), metadata=identity.caller())
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_what_a_journey_may_not_ask_is_told(identity: Identity) -> None:
    with pytest.raises(TrellisError) as refused:
        await journey_of(identity, "")
    assert [violation.field for violation in refused.value.violations] == ["identity"]
    with pytest.raises(TrellisError) as missing:
        await journey_of(identity, "usr_nobody")
    assert missing.value.reason == "NOT_FOUND"


def identity_service() -> tuple[tuple[str, str], ...]:
    """Return the metadata of another service."""
    return CREDENTIALS.as_service()


def question(row: dict[str, Any], *, minutes: float = 0, **fields: Any) -> pb.PersonClickQuestion:
    """Ask for the click behind a conversion, so many minutes after it."""
    asked = pb.PersonClickQuestion(
        **{
            "organization_id": row["organization_id"],
            "event_id": str(row["event_id"]),
            "user_id": row["user_id"],
            **fields,
        }
    )
    asked.before_time.FromDatetime(row["event_time"] + timedelta(minutes=minutes))
    return asked


async def test_conversions_find_the_last_clicks_of_whom_they_name_many_at_a_time(identity: Identity) -> None:
    rows = example_3()
    by_login = sale(-3, user_id="usr_h0123456789ab", route="events", params=LOGGED_IN)
    by_order = sale(3, user_id="usr_h0123456789ab", route="postback", order_id="o1")
    nobodys = sale(3, user_id="usr_h0123456789ab", route="postback", order_id="o2")
    rows[-1]["order_id"] = "o1"
    theirs = click(-1, "theirs", PHONE, organization_id=OTHER)
    identity.take_in([*rows, by_login, by_order, nobodys, theirs])
    early = question(by_login, minutes=-DAY)
    foreign = question(by_order, organization_id=OTHER)
    asked = [question(by_order), question(nobodys), early, question(rows[-1]), foreign, question(by_login)]
    answer = await identity.stub.FindPersonClicks(
        pb.FindPersonClicksRequest(questions=asked), metadata=identity_service()
    )
    found = [(told.click.click_id, told.user_id, bool(told.person_id)) for told in answer.found]
    last = ("k4", LAPTOP, True)
    assert found == [last, ("", "", False), ("k2", LAPTOP, True), last, ("", "", False), last]


async def test_questions_about_events_are_named_where_they_are_wrong(identity: Identity) -> None:
    asked = pb.FindPersonClicksRequest(questions=[pb.PersonClickQuestion(organization_id="org_acmecorp")])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await identity.stub.FindPersonClicks(asked, metadata=identity_service())
    fields = [violation.field for violation in error_from_rpc(refused.value).violations]
    assert fields == ["questions[0].event_id", "questions[0].before_time"]
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        await identity.stub.FindPersonClicks(asked, metadata=identity.caller())
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
