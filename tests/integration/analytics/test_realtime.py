"""The last hour and the day over a real engine, against a plain count of the same events."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from analytics_svc.realtime import TOP_DIMENSIONS, Line, Realtime, RealtimeQuery
from analytics_svc.store.reader import ClickHouseReadingReader
from analytics_svc.watch import RealtimeQuestions
from svc_runtime.clickhouse import Dsn
from tests.reading import ACME, OTHER, insert_events, reading

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.store

NOW = datetime(2026, 3, 2, 1, 30, 20, 500_000, tzinfo=UTC)
Event = dict[str, Any]


class Clock:
    def now(self) -> datetime:
        return NOW


def events(count: int, seed: int) -> list[Event]:
    """Make events of thirty hours, most of them of the last two, and some of those on the edges."""
    chance = random.Random(seed)
    edges = [timedelta(hours=hours, milliseconds=ms) for hours in (0, 1, 2) for ms in (-1, 0, 1)]
    found = []
    for number in range(count):
        age = timedelta(seconds=chance.choice([chance.uniform(0, 7800), chance.uniform(0, 30 * 3600)]))
        kind = chance.choice(["click", "click", "click", "pageview", "purchase"])
        event: Event = {
            "organization_id": chance.choice([ACME, ACME, ACME, OTHER]),
            "event_time": NOW - (chance.choice(edges) if number % 10 == 0 else age),
            "event_type": kind,
            "is_bot": int(chance.random() < 0.2),
            "user_id": chance.choice(["", "u1", "u2", f"u{number}"]),
            "source": chance.choice(["facebook", "google", ""]),
            "campaign_id": chance.choice(["", "summer", "winter"]),
            "country": chance.choice(["US", "DE", None]),
            "device_type": chance.choice(["mobile", "desktop"]),
            "referer_host": chance.choice(["", "a.example"]),
            "path": f"/in/{chance.randrange(20)}",
        }
        if kind == "purchase":
            event |= {"is_conversion": 1, "conversion_event": "purchase"}
            if chance.random() < 0.8:
                event |= {"value": Decimal(chance.randrange(1, 10**6)).scaleb(-2), "currency": chance.choice("UUE")}
                event["currency"] = {"U": "USD", "E": "EUR"}[event["currency"]]
        found.append(event)
    return found


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[tuple[Dsn, Client]]":
    with reading(tmp_path_factory.mktemp("realtime")) as found:
        yield found


@pytest.fixture(scope="module")
def stored(engine: "tuple[Dsn, Client]") -> list[Event]:
    found = events(4000, 7)
    # An event of a gateway whose clock is a little ahead.
    found.append({**found[0], "organization_id": ACME, "event_time": NOW + timedelta(seconds=5), "is_bot": 0})
    insert_events(engine[1], found)
    return found


async def ask(dsn: Dsn, query: RealtimeQuery) -> Realtime:
    async with ClickHouseReadingReader.open(dsn, thread_count=1) as reader:
        return await RealtimeQuestions(reader, clock=Clock()).get(query)


def minute_of(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)


def line_of(found: list[Event], currency: str) -> Line:
    return Line(
        sum(event["event_type"] == "click" for event in found),
        sum(bool(event.get("is_conversion")) for event in found),
        sum((event.get("value", Decimal(0)) for event in found if event.get("currency") == currency), Decimal(0)),
    )


def tops_of(found: list[Event], dimension: str, limit: int) -> list[tuple[str, Line]]:
    by_value = {
        value: line_of([event for event in found if (event[dimension] or "") == value], "USD")
        for value in {event[dimension] or "" for event in found}
    }
    ordered = sorted(by_value.items(), key=lambda item: (-item[1].clicks, -item[1].conversions, item[0]))
    return [(value, line) for value, line in ordered if line.clicks][:limit]


@pytest.mark.parametrize(
    ("time_zone", "campaign_id", "includes_bots"),
    list(itertools.product(["UTC", "America/New_York", "Europe/Berlin"], ["", "summer"], [False, True])),
)
async def test_every_number_is_that_of_a_plain_count(
    engine: "tuple[Dsn, Client]", stored: list[Event], time_zone: str, campaign_id: str, includes_bots: bool
) -> None:
    query = RealtimeQuery(ACME, time_zone, campaign_id, includes_bots, top_limit=3)
    answer = await ask(engine[0], query)
    mine = [
        event
        for event in stored
        if event["organization_id"] == ACME
        and (includes_bots or not event["is_bot"])
        and (not campaign_id or event["campaign_id"] == campaign_id)
    ]
    zone = ZoneInfo(time_zone)
    today = [event for event in mine if event["event_time"].astimezone(zone).date() == NOW.astimezone(zone).date()]
    minutes = [minute_of(NOW) - timedelta(minutes=count) for count in range(60)]
    hour = [event for event in mine if event["event_time"] >= minutes[-1]]
    before = [
        event
        for event in mine
        if minutes[-1] - timedelta(hours=1) <= event["event_time"] < NOW - timedelta(hours=1)
        and event["event_type"] == "click"
    ]
    clicks = sum(event["event_type"] == "click" for event in hour)

    assert answer.traffic.currency == "USD"
    assert answer.clicks_last_hour == clicks
    assert answer.clicks_change == pytest.approx((clicks - len(before)) * 100 / len(before))
    active = {event["user_id"] for event in mine if event["event_time"] >= NOW - timedelta(minutes=5)} - {""}
    assert answer.active_users == len(active)
    assert answer.traffic.today == line_of(today, "USD")
    assert answer.traffic.other_revenue == {"EUR": line_of(today, "EUR").revenue}
    assert list(answer.traffic.timeline) == [
        (minute, line_of([event for event in mine if minute_of(event["event_time"]) == minute], "USD"))
        for minute in minutes
    ]
    assert [top.dimension for top in answer.top_last_hour] == list(TOP_DIMENSIONS)
    for tops, among in ((answer.top_last_hour, hour), (answer.top_today, today)):
        for top in tops:
            assert list(top.items) == tops_of(among, top.dimension, 3), top.dimension


async def test_an_organisation_without_events_has_zeros(engine: "tuple[Dsn, Client]", stored: list[Event]) -> None:
    answer = await ask(engine[0], RealtimeQuery("org_new"))
    assert (answer.clicks_last_hour, answer.clicks_change, answer.active_users) == (0, None, 0)
    assert (answer.traffic.today, answer.traffic.currency) == (Line(), "")
    assert len(answer.traffic.timeline) == 60
    assert all(not top.items for top in (*answer.top_last_hour, *answer.top_today))


async def test_amounts_are_in_the_currency_of_most_conversions_of_the_day(engine: "tuple[Dsn, Client]") -> None:
    sale = {"organization_id": "org_money", "event_time": NOW, "event_type": "purchase", "is_conversion": 1}
    amounts = [("0.000001", "EUR"), ("2", "EUR"), ("1000000.01", "USD")]
    insert_events(engine[1], [sale, *({**sale, "value": value, "currency": code} for value, code in amounts)])
    answer = await ask(engine[0], RealtimeQuery("org_money"))
    assert answer.traffic.today == Line(0, 4, Decimal("2.000001"))
    assert answer.traffic.other_revenue == {"USD": Decimal("1000000.01")}


def test_the_events_of_the_test_are_on_both_sides_of_every_edge() -> None:
    ages = Counter((NOW - event["event_time"]) // timedelta(hours=1) for event in events(4000, 7))
    assert min(ages[hours] for hours in (0, 1, 2, 20)) > 10
