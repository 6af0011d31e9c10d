"""Which click an event goes back to, and which clicks a reference may mean, asked of a real reading."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from analytics_svc.linking.questions import LinkQuestions
from analytics_svc.linking.reference import Match, MatchKind, Reference
from analytics_svc.linking.touch import EventKey
from analytics_svc.store.reader import ClickHouseReadingReader
from svc_runtime.clickhouse import Dsn
from tests.integration.analytics.settling_cases import empty, plain, take_in
from tests.reading import reading

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.store
NOON = datetime(2026, 3, 2, 12, 0, 0, 123000, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
WATERMARK = NOON + MINUTE
ORG, OTHER = "org_a", "org_b"
GCLID = "EAIaIQobChMI8p-T0uKZ9QIVxAeICR2nPwB1EAAYASAAEgK3B_D_BwE"


class Clock:
    def now(self) -> datetime:
        return NOON


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[tuple[Dsn, Client]]":
    with reading(tmp_path_factory.mktemp("links")) as opened:
        yield opened


@pytest.fixture
def client(engine: "tuple[Dsn, Client]") -> "Client":
    empty(engine[1])
    return engine[1]


@pytest_asyncio.fixture
async def links(engine: "tuple[Dsn, Client]") -> AsyncIterator[LinkQuestions]:
    async with ClickHouseReadingReader.open(engine[0], thread_count=2) as reader:
        yield LinkQuestions(reader, clock=Clock(), watermark_time=lambda: WATERMARK, window=90 * DAY)


def key_of(row: dict[str, Any]) -> EventKey:
    return EventKey(row["organization_id"], str(row["event_id"]), row["event_time"])


def click(click_id: str, **values: Any) -> dict[str, Any]:
    return plain(**{"event_type": "click", "event_time": NOON - DAY, "click_id": click_id, **values})


def shown(matches: tuple[Match, ...]) -> list[tuple[MatchKind, str]]:
    return [(match.kind, match.matched_id) for match in matches]


async def test_a_conversion_has_its_click_and_what_it_took_from_it(client: "Client", links: LinkQuestions) -> None:
    first = click("k1", external_click_id="x1", campaign_id="cmp_1", campaign_version=3, rule_id="r1", user_id="u1",
                  destination_id="d1", source="facebook", medium="cpc", channel="paid_social")  # fmt: skip
    sale = plain(event_time=NOON, route="postback", conversion_event="sale", references=["x1"])
    orphan = plain(event_time=NOON, route="postback", conversion_event="sale", references=["nobody"])
    take_in(client, [first, sale, orphan])
    found = await links.touches([key_of(orphan), key_of(sale)])
    assert found.watermark_time == WATERMARK
    linked = found.events[key_of(sale)]
    assert linked.touch is not None
    assert (linked.touch.key, linked.touch.click_id, linked.touch.external_click_id) == (key_of(first), "k1", "x1")
    event = linked.event
    assert (event.campaign_id, event.campaign_version, event.rule_id, event.destination_id) == ("cmp_1", 3, "r1", "d1")
    routed = event.routed_campaign_id, event.routed_campaign_version, event.routed_rule_id
    assert routed == ("cmp_1", 3, "r1")
    assert (event.user_id, event.source, event.medium, event.channel) == ("u1", "facebook", "cpc", "paid_social")
    assert event.session_id == linked.touch.session_id != ""
    assert found.events[key_of(orphan)].touch is None


async def test_what_routing_said_stays_when_a_campaign_claims_the_click(client: "Client", links: LinkQuestions) -> None:
    routed = click("k1", campaign_id="cmp_1", campaign_version=3, rule_id="r1")
    take_in(client, [routed])
    client.command(
        "UPDATE events SET campaign_id = 'cmp_2', campaign_version = 7, rule_id = 'r2', routed = ['cmp_1', '3', 'r1']"
        " WHERE organization_id = 'org_a'"
    )
    event = (await links.touches([key_of(routed)])).events[key_of(routed)].event
    assert (event.campaign_id, event.campaign_version, event.rule_id) == ("cmp_2", 7, "r2")
    assert (event.routed_campaign_id, event.routed_campaign_version, event.routed_rule_id) == ("cmp_1", 3, "r1")


async def test_an_event_is_found_under_its_own_organisation_and_time_alone(
    client: "Client", links: LinkQuestions
) -> None:
    sale = plain(event_time=NOON, conversion_event="sale")
    theirs = plain(event_time=NOON, organization_id=OTHER)
    take_in(client, [sale, theirs])
    foreign = EventKey(OTHER, str(sale["event_id"]), NOON)
    late = EventKey(ORG, str(sale["event_id"]), NOON + timedelta(milliseconds=1))
    found = await links.touches([foreign, late, key_of(theirs), key_of(sale)])
    assert found.events.keys() == {key_of(theirs), key_of(sale)}


async def test_a_thousand_events_of_two_organisations_are_asked_for_at_once(
    client: "Client", links: LinkQuestions
) -> None:
    rows = [plain(organization_id=(ORG, OTHER)[n % 2], event_time=NOON + n * MINUTE) for n in range(1000)]
    take_in(client, rows)
    assert (await links.touches(list(map(key_of, rows)))).events.keys() == set(map(key_of, rows))


@pytest.mark.parametrize(
    ("there", "reference", "kind"),
    [
        ("fb_123abc", "fb_123abc", MatchKind.EXACT),
        ("a b/ü", "a%20b%2F%C3%BC", MatchKind.ENCODED),
        ("a b/ü", "a%2520b%252F%25C3%25BC", MatchKind.ENCODED),
        ("a%2Fb", "a/b", MatchKind.ENCODED),
        ("fb_123ABC", "FB_123abc", MatchKind.CASE),
        ("k1", "K1", MatchKind.CASE),
        (GCLID, GCLID.lower(), MatchKind.CASE),
        (GCLID, GCLID[:8], MatchKind.PREFIX),
        (GCLID, GCLID[:17], MatchKind.PREFIX),
        (GCLID, GCLID[:50], MatchKind.PREFIX),
        ("ключ-один-два", "ключ-один", MatchKind.PREFIX),
    ],
)
async def test_a_reference_that_was_changed_on_its_way_finds_its_click(
    client: "Client", links: LinkQuestions, there: str, reference: str, kind: MatchKind
) -> None:
    mine = click("ours", external_click_id=there, campaign_id="cmp_1")
    take_in(client, [mine, click("others", external_click_id="unlike-any"), plain(external_click_id=there)])
    [found] = await links.find([Reference(ORG, reference)])
    assert shown(found.matches) == [(kind, there)]
    assert found.matches[0].click.key == key_of(mine)
    assert found.matches[0].click.campaign_id == "cmp_1"
    assert not found.has_more


ODD = [
    "a'b\"c",
    "a\\b\\",
    "a\tb\nc",
    "{x:String}",
    "a\0b",
    "\x01\x7f",
    "🗝\u2028'",
    "%00",
    "['a','b']",
    "NULL",
    "\\N",
    "%",
]


@pytest.mark.parametrize("odd", ODD)
async def test_a_reference_may_hold_anything(client: "Client", links: LinkQuestions, odd: str) -> None:
    there = f"{odd}-and-More"
    take_in(client, [click("ours", external_click_id=there)])
    texts = [there, there.lower(), there[:-2], odd, *ODD]
    found = await links.find([Reference(ORG, text) for text in texts])
    assert shown(found[0].matches) == [(MatchKind.EXACT, there)]
    assert shown(found[1].matches) == [(MatchKind.CASE, there)]
    assert (MatchKind.PREFIX, there) in shown(found[2].matches)


@pytest.mark.parametrize("reference", ["fb_123abd", "b_123abc", "fb_123", "FB_123abcX", "fb_123abc ", "%ff%fe"])
async def test_what_is_nobodys_id_finds_nothing(client: "Client", links: LinkQuestions, reference: str) -> None:
    take_in(client, [click("ours", external_click_id="fb_123abcd")])
    [found] = await links.find([Reference(ORG, reference)])
    assert found.matches == ()


async def test_references_find_clicks_of_their_own_organisation_alone(client: "Client", links: LinkQuestions) -> None:
    mine, theirs = click("same-id-1"), click("same-id-1", organization_id=OTHER)
    secret = click("their-secret-id", organization_id=OTHER)
    take_in(client, [mine, theirs, secret])
    texts = ["same-id-1", "SAME-id-1", "same-id-", "their-secret-id", "THEIR-secret-id", "their-se"]
    found = await links.find([Reference(ORG, text) for text in texts] + [Reference(OTHER, text) for text in texts])
    assert [match.click.key for one in found[:6] for match in one.matches] == [key_of(mine)] * 3
    assert [match.click.key for one in found[6:] for match in one.matches] == [key_of(theirs)] * 3 + [
        key_of(secret)
    ] * 3


async def test_of_an_id_with_many_clicks_the_last_is_shown(client: "Client", links: LinkQuestions) -> None:
    rows = [click(f"k{n}", external_click_id="one-ad-id", event_time=NOON - n * MINUTE) for n in range(20)]
    take_in(client, rows)
    for found in await links.find(
        [Reference(ORG, "one-ad-id"), Reference(ORG, "one-ad-i"), Reference(ORG, "One-ad-id")]
    ):
        assert [match.click.key for match in found.matches] == [key_of(rows[0])]


async def test_a_beginning_of_many_ids_shows_five_and_says_so(client: "Client", links: LinkQuestions) -> None:
    take_in(client, [click(f"beginning-{n}") for n in range(9)])
    some, all_ = await links.find([Reference(ORG, "beginning"), Reference(ORG, "beginning-3")])
    assert (len(some.matches), some.has_more) == (5, True)
    assert shown(all_.matches) == [(MatchKind.EXACT, "beginning-3")]
    assert len({match.matched_id for match in some.matches}) == 5


async def test_the_same_in_another_case_is_believed_before_a_beginning(client: "Client", links: LinkQuestions) -> None:
    take_in(client, [click("Click-0001"), click("click-0001-longer")])
    [found] = await links.find([Reference(ORG, "click-0001")])
    assert shown(found.matches) == [(MatchKind.CASE, "Click-0001"), (MatchKind.PREFIX, "click-0001-longer")]


async def test_an_old_click_is_found_by_its_very_id_alone(client: "Client", links: LinkQuestions) -> None:
    take_in(client, [click("long-ago-1", event_time=NOON - 91 * DAY)])
    exact, cut = await links.find([Reference(ORG, "long-ago-1"), Reference(ORG, "long-ago")])
    assert shown(exact.matches) == [(MatchKind.EXACT, "long-ago-1")]
    assert cut.matches == ()


async def test_two_hundred_references_are_looked_for_at_once(client: "Client", links: LinkQuestions) -> None:
    take_in(client, [click(f"{GCLID}-{n:03}") for n in range(200)])
    found = await links.find([Reference(ORG, f"{GCLID}-{n:03}".upper()) for n in range(200)])
    assert [shown(one.matches) for one in found] == [[(MatchKind.CASE, f"{GCLID}-{n:03}")] for n in range(200)]
