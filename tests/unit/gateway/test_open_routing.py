"""Clicks that no link takes: they go by the rules of campaigns that claim such clicks of history too."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from ingress_gateway.counters import Counters
from ingress_gateway.ids import VisitorIds
from ingress_gateway.links import Links
from ingress_gateway.organisations import Organisations
from ingress_gateway.recorder import Recorder
from ingress_gateway.routing import Routing
from ingress_gateway.visitors import Visitors
from tests.unit.gateway.test_decision import MONDAY_NOON, READER, action, campaign, click, rule, where
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import claim_pb2, rule_pb2

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
TIKTOK = click("/in?source=tiktok")


def wide(campaign_id: str, value: str = "tiktok", *, age: int = 0, is_withdrawn: bool = False, **fields: Any) -> Any:
    """Return an open campaign; the lower ``age``, the older its claim."""
    made = campaign(
        campaign_id,
        rules=[rule("r", "source", value, f"https://{campaign_id}.example/")],
        action=action("https://own.example/"),
        claim=claim_pb2.Claim(is_withdrawn=is_withdrawn),
        **fields,
    )
    made.claim.make_time.FromDatetime(CREATED + timedelta(seconds=age))
    return made


def routing_of(*campaigns: pb.Campaign) -> Routing:
    routing = Routing()
    routing.apply(pb.WatchRoutingResponse(is_snapshot=True, campaigns=campaigns))
    return routing


def taker(routing: Routing, of: Any = TIKTOK) -> str | None:
    verdict = routing.decide_open("org_a", of, "usr_1")
    return verdict.route.campaign_id if verdict else None


def test_a_rule_takes_what_no_link_does_and_the_campaigns_own_action_does_not() -> None:
    routing = routing_of(wide("a"))
    verdict = routing.decide_open("org_a", TIKTOK, "usr_1")
    assert verdict is not None
    assert (where(verdict), verdict.decision and verdict.decision.rule_id, verdict.marks) == (
        "https://a.example/",
        "r",
        (),
    )
    assert taker(routing, click("/in?source=facebook")) is None
    assert routing.decide_open("org_b", TIKTOK, "usr_1") is None


def test_the_highest_priority_takes_it_then_the_oldest_then_the_first_by_name() -> None:
    campaigns = [wide("c", age=2), wide("b", age=1), wide("a", age=1), wide("z", age=9, priority=1)]
    for expected in ("z", "a", "b", "c"):
        assert taker(routing_of(*campaigns)) == expected
        campaigns = [found for found in campaigns if found.campaign_id != expected]
    assert taker(routing_of(wide("other", "x", priority=9), wide("a"))) == "a", "one that has no rule for it is passed"


@pytest.mark.parametrize(
    "closed",
    [
        {"status": pb.CAMPAIGN_STATUS_PAUSED},
        {"status": pb.CAMPAIGN_STATUS_ARCHIVED},
        {"is_withdrawn": True},
        {"schedule": rule_pb2.Schedule(windows=[rule_pb2.WeeklyWindow(start_minute=0, end_minute=60)])},
    ],
)
def test_a_campaign_that_does_not_run_takes_none(closed: dict[str, Any]) -> None:
    assert taker(routing_of(wide("a", priority=5, **closed), wide("b"))) == "b"
    assert taker(routing_of(wide("a", **closed))) is None


def test_a_schedule_is_asked_for_the_time_of_the_click() -> None:
    hours = rule_pb2.Schedule(windows=[rule_pb2.WeeklyWindow(start_minute=12 * 60, end_minute=13 * 60)])
    routing = routing_of(wide("a", schedule=hours))
    assert taker(routing) == "a"
    assert taker(routing, click("/in?source=tiktok", at=MONDAY_NOON + timedelta(hours=1))) is None


def test_over_its_cap_it_takes_none_and_the_next_does() -> None:
    cap = rule_pb2.Cap(kind=rule_pb2.CAP_KIND_CLICKS, period=rule_pb2.CAP_PERIOD_TOTAL, limit=1)
    routing = routing_of(wide("a", priority=5, caps=[cap]), wide("b"))
    verdict = routing.decide_open("org_a", TIKTOK, "usr_1")
    assert verdict is not None
    assert verdict.route.campaign_id == "a"
    routing.usage.count("org_a", "a", verdict.route.caps, "usr_1", TIKTOK.event_time_ms)
    assert taker(routing) == "b"


def test_a_campaign_opens_and_closes_with_its_changes() -> None:
    routing = routing_of(wide("a"), wide("b", age=1))

    def change(*campaigns: pb.Campaign) -> None:
        routing.apply(pb.WatchRoutingResponse(revision=routing.revision + 1, campaigns=campaigns))

    change(wide("b", age=1, priority=1))
    assert taker(routing) == "b"
    change(wide("b", age=1, is_withdrawn=True))
    assert taker(routing) == "a"
    change(wide("a", status=pb.CAMPAIGN_STATUS_ARCHIVED))
    assert taker(routing) is None
    change(wide("b", age=1))
    assert taker(routing) == "b"


def test_a_plain_campaign_is_never_open() -> None:
    plain = campaign("a", rules=[rule("r", "source", "tiktok", "https://a.example/")])
    assert taker(routing_of(plain)) is None


def test_it_is_known_where_no_campaign_wants_such_clicks() -> None:
    routing = routing_of(campaign("plain", action=action("https://x.example/")))
    assert not routing.has_open("org_a")
    routing.apply(pb.WatchRoutingResponse(revision=1, campaigns=[wide("a")]))
    assert (routing.has_open("org_a"), routing.has_open("org_b")) == (True, False)
    routing.apply(pb.WatchRoutingResponse(revision=2, campaigns=[wide("a", is_withdrawn=True)]))
    assert not routing.has_open("org_a")


def test_of_a_click_that_nobody_wants_nothing_is_made() -> None:
    asked: list[str] = []

    class NotedIds(VisitorIds):
        def new(self) -> str:
            asked.append("an id")
            return super().new()

    routing = routing_of(campaign("plain", action=action("https://x.example/")))
    links = Links(
        Organisations("p" * 32, mesh_secret="m" * 40),
        routing,
        recorder=cast("Recorder", None),  # nothing is recorded here
        visitors=Visitors(NotedIds("s" * 32)),
        counters=Counters(),
        reader=READER,
    )
    assert links.plan_open(TIKTOK.arrival, "org_a") is None
    assert asked == []
    routing.apply(pb.WatchRoutingResponse(revision=1, campaigns=[wide("a")]))
    assert links.plan_open(TIKTOK.arrival, "org_a") is not None
    assert asked == ["an id"]
