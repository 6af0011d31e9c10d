"""What becomes of a click: rules, weights, schedules and fallbacks."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrichment.geo import Geo
from ingress_gateway.decision import Act, Hours, value_of
from ingress_gateway.facts import Click, ClickReader
from ingress_gateway.routing import Routing, Verdict
from ingress_gateway.target import Target
from tests.unit.gateway.arrivals import arrival
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import rule_pb2
from trellis.type.v1 import predicate_pb2

READER = ClickReader(Geo([]))
MONDAY_NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CLICK_ID = "0123456789abcdefghijkl"
OURS = f"click_id={CLICK_ID}"
X = "https://x.example/"


def click(target: str = "/in/x", *headers: tuple[str, str], at: datetime = MONDAY_NOON) -> Click:
    return Click(arrival(target, ("Host", "track.acmecorp.com"), *headers), int(at.timestamp() * 1000), READER)


def action(*urls: str, weights: tuple[int, ...] = (), **fields: Any) -> rule_pb2.Action:
    given = weights or (100,) if len(urls) == 1 else weights
    return rule_pb2.Action(
        destinations=[
            rule_pb2.Destination(destination_id=f"d{index}", url=url, weight=weight)
            for index, (url, weight) in enumerate(zip(urls, given, strict=True), 1)
        ],
        **fields,
    )


def rule(rule_id: str, field: str, value: str, url: str, **fields: Any) -> rule_pb2.Rule:
    condition = predicate_pb2.Condition(field=field, operator=predicate_pb2.OPERATOR_EQUALS, values=[value])
    return rule_pb2.Rule(
        rule_id=rule_id, predicate=predicate_pb2.Predicate(condition=condition), action=action(url), **fields
    )


def campaign(campaign_id: str, **fields: Any) -> pb.Campaign:
    return pb.Campaign(
        organization_id="org_a",
        **{
            "campaign_id": campaign_id,
            "slug": campaign_id,
            "status": pb.CAMPAIGN_STATUS_ACTIVE,
            "version": 1,
            **fields,
        },
    )


def decide(campaigns: list[pb.Campaign], of: Click, user_id: str = "usr_1") -> Verdict:
    routing = Routing()
    routing.apply(pb.WatchRoutingResponse(is_snapshot=True, campaigns=campaigns))
    route = routing.find("org_a", campaigns[0].slug)
    assert route is not None
    return routing.decide(route, of, user_id)


def where(verdict: Verdict) -> str:
    assert verdict.decision is not None
    return verdict.decision.target.base.decode()


RULES = campaign(
    "a",
    rules=[
        rule("phones", "device_type", "mobile", "https://phone.example/", is_disabled=True),
        rule("fb", "source", "Facebook", "https://fb.example/"),
        rule("de", "country", "DE", "https://de.example/"),
        rule("zone", "param.Zone", "7", "https://zone.example/"),
    ],
    action=action("https://shop.example/", tags=["rest"]),
)


@pytest.mark.parametrize(
    ("target", "expected", "rule_id"),
    [
        ("/in/a?source=facebook", "https://fb.example/", "fb"),
        ("/in/a?utm_source=FACEBOOK&Zone=7", "https://fb.example/", "fb"),
        ("/in/a?Zone=7", "https://zone.example/", "zone"),
        ("/in/a?zone=7", "https://shop.example/", ""),
        ("/in/a", "https://shop.example/", ""),
    ],
)
def test_the_first_rule_that_is_true_decides_else_the_campaign(target: str, expected: str, rule_id: str) -> None:
    verdict = decide([RULES], click(target))
    assert (where(verdict), verdict.decision and verdict.decision.rule_id) == (expected, rule_id)
    assert verdict.marks == ()


def test_a_rule_without_a_predicate_takes_every_click() -> None:
    every = rule_pb2.Rule(rule_id="all", action=action("https://all.example/"))
    assert where(decide([campaign("a", rules=[every])], click())) == "https://all.example/"


@pytest.mark.parametrize("weights", [(70, 30), (1, 99), (34, 33, 33)])
def test_visitors_are_shared_out_by_weight_and_stay_where_they_are(weights: tuple[int, ...]) -> None:
    act = Act.compile(action(*(f"https://d{index}.example/" for index in weights), weights=weights), "a")
    users = [f"usr_{number}" for number in range(20_000)]
    chosen = [act.choose(user).destination_id for user in users]
    assert chosen == [act.choose(user).destination_id for user in users]
    shares = Counter(chosen)
    for index, weight in enumerate(weights, 1):
        # Five standard deviations.
        expected, bound = 200 * weight, 5 * (20_000 * weight / 100 * (1 - weight / 100)) ** 0.5
        assert abs(shares[f"d{index}"] - expected) < bound


def test_another_campaign_shares_the_same_visitors_out_anew() -> None:
    both = [Act.compile(action("https://a.example/", "https://b.example/", weights=(50, 50)), name) for name in "ab"]
    users = [f"usr_{number}" for number in range(1000)]
    same = sum(both[0].choose(user).destination_id == both[1].choose(user).destination_id for user in users)
    assert 400 < same < 600


def test_a_new_destination_url_moves_nobody_but_a_new_split_does() -> None:
    users = [f"usr_{number}" for number in range(500)]

    def chosen(weights: tuple[int, ...], host: str) -> list[str]:
        act = Act.compile(action(f"https://{host}/", "https://b.example/", weights=weights), "a")
        return [act.choose(user).destination_id for user in users]

    assert chosen((50, 50), "a.example") == chosen((50, 50), "new.example")
    assert chosen((50, 50), "a.example") != chosen((60, 40), "a.example")


@pytest.mark.parametrize(
    ("at", "runs"),
    [
        (datetime(2026, 3, 2, 7, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 3, 2, 8, 0, tzinfo=UTC), True),
        (datetime(2026, 3, 2, 15, 59, 59, tzinfo=UTC), True),
        (datetime(2026, 3, 2, 16, 0, tzinfo=UTC), False),
        (datetime(2026, 3, 3, 12, 0, tzinfo=UTC), False),  # a Tuesday
        (datetime(2026, 3, 30, 7, 0, tzinfo=UTC), True),  # summer time has begun
        (datetime(2026, 3, 30, 15, 0, tzinfo=UTC), False),
        (datetime(2026, 2, 23, 12, 0, tzinfo=UTC), False),  # before it begins
    ],
)
def test_hours_are_those_of_the_time_zone(at: datetime, runs: bool) -> None:
    schedule = rule_pb2.Schedule(
        windows=[rule_pb2.WeeklyWindow(weekdays=["monday"], start_minute=540, end_minute=1020)],
        time_zone="Europe/Berlin",
    )
    schedule.start_time.FromDatetime(datetime(2026, 3, 1, tzinfo=UTC))
    assert Hours.compile(schedule).runs_at(int(at.timestamp() * 1000)) is runs


def test_a_schedule_ends_with_its_first_instant_outside() -> None:
    schedule = rule_pb2.Schedule()
    schedule.end_time.FromDatetime(MONDAY_NOON)
    hours, noon_ms = Hours.compile(schedule), int(MONDAY_NOON.timestamp() * 1000)
    assert hours.runs_at(noon_ms - 1)
    assert not hours.runs_at(noon_ms)


def expired(campaign_id: str, **fields: Any) -> pb.Campaign:
    found = campaign(campaign_id, action=action("https://shop.example/"), **fields)
    found.schedule.end_time.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    return found


def to(campaign_id: str) -> rule_pb2.Fallback:
    return rule_pb2.Fallback(campaign_id=campaign_id)


PAUSED = pb.CAMPAIGN_STATUS_PAUSED
NOWHERE = rule_pb2.Fallback()


def paused(campaign_id: str, following: str) -> pb.Campaign:
    return campaign(campaign_id, status=PAUSED, paused_fallback=to(following))


OPEN = campaign("open", action=action("https://open.example/"))


@pytest.mark.parametrize(
    ("campaigns", "expected", "marks"),
    [
        ([campaign("a", status=PAUSED, fallback_url="https://f.example/")], "https://f.example/", ("campaign_paused",)),
        ([expired("a", fallback_url="https://f.example/")], "https://f.example/", ("campaign_expired",)),
        (
            [
                expired(
                    "a", fallback_url="https://f.example/", expired_fallback=rule_pb2.Fallback(url="https://e.example/")
                )
            ],
            "https://e.example/",
            ("campaign_expired",),
        ),
        (
            [campaign("a", status=PAUSED, paused_fallback=to("open")), OPEN],
            "https://open.example/",
            ("campaign_paused",),
        ),
        (
            [paused("a", "b"), expired("b", expired_fallback=to("open")), OPEN],
            "https://open.example/",
            ("campaign_paused", "campaign_expired"),
        ),
        (
            [campaign("a", rules=[rule("r", "source", "x", "https://x.example/")], fallback_url="https://f.example/")],
            "https://f.example/",
            ("no_rule_matched",),
        ),
    ],
)
def test_what_does_not_run_hands_its_traffic_on(
    campaigns: list[pb.Campaign], expected: str, marks: tuple[str, ...]
) -> None:
    verdict = decide(campaigns, click())
    assert (where(verdict), verdict.marks) == (expected, marks)


@pytest.mark.parametrize(
    ("campaigns", "marks"),
    [
        ([campaign("a", status=PAUSED)], ("campaign_paused",)),
        ([expired("a")], ("campaign_expired",)),
        ([paused("a", "gone")], ("campaign_paused",)),
        (
            [expired("a", fallback_url="https://f.example/", expired_fallback=NOWHERE)],
            ("campaign_expired",),
        ),
        (
            [
                campaign("a", status=PAUSED, paused_fallback=to("b")),
                campaign("b", status=PAUSED, paused_fallback=to("a")),
            ],
            (*["campaign_paused"] * 5, "campaign_circle"),
        ),
    ],
)
def test_what_has_nowhere_to_go_leads_nowhere_and_never_in_a_circle(
    campaigns: list[pb.Campaign], marks: tuple[str, ...]
) -> None:
    verdict = decide(campaigns, click())
    assert verdict.decision is None
    assert verdict.marks == marks


def test_the_campaign_that_took_the_click_in_the_end_is_told() -> None:
    verdict = decide([paused("a", "open"), OPEN], click())
    assert verdict.route.campaign_id == "open"


@pytest.mark.parametrize(
    ("url", "query", "expected"),
    [
        (
            "?s={source}",
            "source=A%20b",
            "?s=a%20b&source=A%20b&click_id=" + CLICK_ID,
        ),
        ("?s={source|none}", "", "?s=direct&" + OURS),
        ("?c={clickid}", "a=1", f"?c={CLICK_ID}&a=1"),
        ("?z={param:Z|x&y#}#top", "", "?z=x%26y%23&click_id=" + CLICK_ID + "#top"),
        (
            "?z={param:Z}&q",
            "Z=%26b%3D1",
            "?z=%26b%3D1&q&Z=%26b%3D1&click_id=" + CLICK_ID,
        ),
        ("?h={header:X-A|upper}", "", "?h=VALUE&" + OURS),
        ("?d={date}&c={campaign_id}", "", "?d=2026-03-02&c=a&" + OURS),
        ("?p={country}", "", "?p=&" + OURS),
    ],
)
def test_macros_are_filled_in_with_what_the_click_brought(url: str, query: str, expected: str) -> None:
    found = click(f"/in/a?{query}", ("X-A", "value"))
    minted = {"click_id": CLICK_ID, "campaign_id": "a"}
    location = Target.compile(X + url).location(query.encode(), CLICK_ID, value_of=value_of(found, minted))
    assert location.decode() == X + expected


def test_only_some_parameters_may_go_along() -> None:
    target = Target.compile("https://x.example/?own=1")
    location = target.location(b"a=1&b=2&own=9&A=3&a=4", CLICK_ID, names=frozenset({b"a", b"own"}))
    assert location.decode() == f"https://x.example/?own=1&a=1&a=4&click_id={CLICK_ID}"


@pytest.mark.parametrize(
    "url", ["https://x.example/?s={nope}", "nothing", "https://", "ftp://x.example/", "https:///p"]
)
def test_what_is_no_destination_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="destination"):
        Target.compile(url)


_QUERIES = st.text(st.sampled_from("azn=&%+2 0é"), max_size=12).map(str.encode)


@given(query=_QUERIES, name=st.text(st.sampled_from("azn %+é"), min_size=1, max_size=3).map(str.encode))
def test_a_parameter_is_the_same_whether_or_not_the_query_is_read_for_it(query: bytes, name: bytes) -> None:
    target = f"/in/x?{query.decode()}"
    read = click(target).params
    assert click(target).facts.params.get(name) == read.get(name)
    assert click(target).facts.params.get(name, b"none") == read.get(name, b"none")
