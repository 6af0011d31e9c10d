"""Who is one person, in a real engine: whatever the order of the events, whatever was revoked and restored."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from analytics_svc.identity.end import Edge, End, EndKind, edges_of, is_known_visitor, value_id
from analytics_svc.store.edges import TABLE, keep_days, keep_page
from enrichment.identities import read_identifiers
from svc_runtime.errors import NotFoundError
from tests.integration.analytics.identity.conftest import (
    HASHER,
    MOST_NEIGHBOURS,
    Identity,
    event,
    login,
    sale,
    visitor,
)
from tests.integration.analytics.settling_cases import cut
from tests.reading import ACME, OTHER
from tests.unit.analytics.identity.union_find import persons

pytestmark = [pytest.mark.store, pytest.mark.timeout(300)]
ORGANIZATIONS = (ACME, OTHER)
CLICKS = tuple(f"click{number:017}" for number in range(12))


def traffic(dice: random.Random) -> list[dict[str, Any]]:
    """Return events of two organisations with equal names, some of which name nobody."""
    rows = []
    for _ in range(dice.choice((5, 30, 60))):
        make = dice.choice((event, event, sale))
        params = {
            **({dice.choice(("login_id", "userId")): f"c{dice.randrange(6)}"} if dice.random() < 0.5 else {}),
            **({"email": f"{dice.choice('ABCdef')}@shop.de"} if dice.random() < 0.3 else {}),
            **({"login_id": dice.choice(("guest", "null", "c1"))} if dice.random() < 0.2 else {}),
        }
        row = make(
            dice.uniform(0, 60 * 24 * 40),
            organization_id=dice.choice(ORGANIZATIONS),
            user_id=dice.choice(("", "usr_h0123456789ab", *(f"usr_{number}" for number in range(9)))),
            params=params,
        )
        if make is sale:
            row["order_id"] = dice.choice(("", "0", *(f"o{number}" for number in range(8))))
            row["references"] = dice.sample([*CLICKS, "k1"], dice.randrange(3))
        elif dice.random() < 0.4:
            row |= {"event_type": "click", "click_id": dice.choice((*CLICKS, "k1")), "conversion_event": ""}
        rows.append(row)
    return rows


def edges_by_rule(rows: Sequence[dict[str, Any]], organization_id: str) -> set[Edge]:
    """Return the edges of one organisation's events, each read on its own."""
    found: set[Edge] = set()
    own = [row for row in rows if row["organization_id"] == organization_id]
    references = {reference for row in own if row["conversion_event"] for reference in row["references"]}
    for row in own:
        if row["event_type"] == "click" and row["click_id"] in references and row["click_id"] in CLICKS:
            click = HASHER.end(organization_id, EndKind.CLICK, row["click_id"])
            if is_known_visitor(row["user_id"]):
                found.add(Edge.between(visitor(row["user_id"]), click))
        if row["organization_id"] == organization_id:
            pairs = [(name.encode(), value.encode()) for name, value in row["params"].items()]
            is_conversion = bool(row["conversion_event"])
            clicks = [reference for reference in row["references"] if is_conversion and reference in CLICKS]
            ends = HASHER.ends(organization_id, read_identifiers(pairs), row["order_id"], clicks)
            found.update(edges_of(row["user_id"], str(row["event_id"]), ends, is_conversion=is_conversion))
    return found


async def check(identity: Identity, revoked: dict[str, set[Edge]]) -> None:
    for organization_id in ORGANIZATIONS:
        known = edges_by_rule(identity.known, organization_id)
        ends = {end for edge in known for end in (edge.one, edge.other)}
        wanted = persons(ends, known - revoked[organization_id], MOST_NEIGHBOURS)
        for end in sorted(ends):
            found = await identity.people.person_of(organization_id, [end])
            assert frozenset(found.ends) == wanted[end]


def stored(identity: Identity) -> list[Any]:
    rows = identity.client.query(
        "SELECT organization_id, day, edition, side, other, min(evidence), max(last_time)"
        f" FROM {TABLE} GROUP BY ALL ORDER BY ALL"
    ).result_rows
    return list(rows)


@pytest.mark.parametrize("seed", range(6))
async def test_persons_are_those_of_a_union_find_whatever_the_order_and_the_decisions(
    identity: Identity, seed: int
) -> None:
    dice = random.Random(seed)
    rows = traffic(dice)
    revoked: dict[str, set[Edge]] = {organization_id: set() for organization_id in ORGANIZATIONS}
    for page in cut(rows, dice):
        identity.take_in(page)
        if dice.random() < 0.2:
            identity.known = identity.known[: -len(page)]
            keep_page(identity.client, "staged", "settled", HASHER)  # the page comes again after a crash
            identity.known += page
        for _ in range(dice.randrange(4)):
            organization_id = dice.choice(ORGANIZATIONS)
            known = sorted(edges_by_rule(identity.known, organization_id), key=str)
            if known:
                edge, is_revoked = dice.choice(known), dice.random() < 0.6
                await identity.decisions.decide(organization_id, edge.edge_id, is_revoked=is_revoked, actor="key:1")
                (revoked[organization_id].add if is_revoked else revoked[organization_id].discard)(edge)
    await check(identity, revoked)


@pytest.mark.parametrize("seed", range(100, 103))
async def test_edges_made_again_are_the_same(identity: Identity, seed: int) -> None:
    dice = random.Random(seed)
    for page in cut(traffic(dice), dice):
        identity.take_in(page)
    before = stored(identity)
    identity.client.command(f"TRUNCATE TABLE {TABLE}")
    keep_days(identity.client, "events", HASHER)
    assert stored(identity) == before != []


async def test_nothing_that_was_sent_is_in_the_edges(identity: Identity) -> None:
    identity.take_in([sale(0, user_id="usr_1", order_id="o-4711", params={"email": "bob@shop.de", "login_id": "c42"})])
    text = str(stored(identity))
    assert text.count("usr_1") == 6
    for sent in ("bob", "shop.de", "c42", "4711", HASHER.end(OTHER, EndKind.LOGIN, "c42").value):
        assert sent not in text


async def test_an_organisations_edges_are_its_own(identity: Identity) -> None:
    for organization_id, first in ((ACME, 0), (OTHER, 2)):
        identity.take_in([
            event(first, organization_id=organization_id, user_id=f"usr_{first}", params={"login_id": "c1"}),
            event(first, organization_id=organization_id, user_id=f"usr_{first + 1}", params={"login_id": "c1"}),
        ])  # fmt: skip
    assert (await identity.people.person_of(ACME, [visitor("usr_0")])).user_ids == ("usr_0", "usr_1")
    assert (await identity.people.person_of(ACME, [visitor("usr_2")])).links == ()
    (edge,) = {link.edge for link in await identity.people.links(OTHER, visitor("usr_2"))}
    for text in (edge.edge_id, value_id(login("c1", OTHER))):
        with pytest.raises(NotFoundError):
            await identity.decisions.decide(ACME, text, is_revoked=True, actor="key:1")
    with pytest.raises(NotFoundError):
        await identity.people.find(ACME, "usr_2")


async def test_who_was_one_person_is_known_as_of_any_time(identity: Identity) -> None:
    rows = [event(number, user_id=f"usr_{number}", params={"login_id": "c1"}) for number in (0, 10, 20)]
    identity.take_in(rows)
    start = rows[0]["event_time"]
    identity.clock.time = start + timedelta(minutes=30)
    (edge,) = {link.edge for link in await identity.people.links(ACME, visitor("usr_10"))}
    await identity.decisions.decide(ACME, edge.edge_id, is_revoked=True, actor="key:1")
    identity.clock.time = start + timedelta(minutes=40)
    await identity.decisions.decide(ACME, edge.edge_id, is_revoked=False, actor="key:1")
    seen = {}
    for minutes in (5, 15, 25, 35, 45):
        person = await identity.people.person_of(ACME, [visitor("usr_0")], as_of=start + timedelta(minutes=minutes))
        seen[minutes] = person.user_ids
    everybody = ("usr_0", "usr_10", "usr_20")
    assert seen == {5: ("usr_0",), 15: ("usr_0", "usr_10"), 25: everybody, 35: ("usr_0", "usr_20"), 45: everybody}


async def test_a_value_on_too_many_visitors_is_listed_and_joins_nobody(identity: Identity) -> None:
    identity.take_in([event(n, user_id=f"usr_{n}", params={"login_id": "shared"}) for n in range(MOST_NEIGHBOURS)])
    assert len((await identity.people.person_of(ACME, [visitor("usr_0")])).user_ids) == MOST_NEIGHBOURS
    assert await identity.people.suspicious(ACME, None, limit=10) == []
    identity.take_in([event(n, user_id=f"usr_{n}", params={"login_id": "shared"}) for n in (50, 51)])
    assert (await identity.people.person_of(ACME, [visitor("usr_0")])).user_ids == ("usr_0",)
    (found,) = await identity.people.suspicious(ACME, EndKind.LOGIN, limit=10)
    assert (found.end, found.neighbour_kind, found.neighbour_count) == (login("shared"), EndKind.VISITOR, 6)
    assert await identity.people.suspicious(ACME, EndKind.EMAIL, limit=10) == []
    assert await identity.people.suspicious(OTHER, None, limit=10) == []


async def test_the_evidence_is_the_first_event_that_named_both(identity: Identity) -> None:
    first, last = event(-3000, user_id="usr_1", params={"uid": "c1"}), event(10, user_id="usr_1", params={"uid": "c1"})
    identity.take_in([last])
    identity.take_in([first])
    (link,) = (await identity.people.person_of(ACME, [visitor("usr_1")])).links
    assert (link.event_id, link.first_time, link.last_time) == (
        str(first["event_id"]),
        first["event_time"],
        last["event_time"],
    )


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_partners_postback_joins_the_clicks_visitor_with_the_orders(identity: Identity, is_late: bool) -> None:
    click = event(0, event_type="click", route="in", click_id=CLICKS[0], user_id="usr_1")
    page = sale(1, user_id="usr_2", order_id="o1")
    postback = sale(5, route="postback", user_id="usr_h0123456789ab", references=[CLICKS[0]], order_id="o1")
    for row in (postback, page, click) if is_late else (click, page, postback):
        identity.take_in([row])
    assert (await identity.people.person_of(ACME, [visitor("usr_2")])).user_ids == ("usr_1", "usr_2")
    before = stored(identity)
    identity.client.command(f"TRUNCATE TABLE {TABLE}")
    keep_days(identity.client, "events", HASHER)
    assert stored(identity) == before


async def test_what_a_partner_takes_for_a_clicks_id_joins_nobody(identity: Identity) -> None:
    identity.take_in([
        event(0, event_type="click", click_id=CLICKS[0], external_click_id="spring", user_id="usr_1"),
        sale(1, user_id="usr_2", references=["spring"]),
        sale(2, user_id="usr_3", references=["spring"]),
    ])  # fmt: skip
    assert (await identity.people.person_of(ACME, [visitor("usr_2")])).user_ids == ("usr_2",)


async def test_a_visitor_told_by_address_and_browser_is_nobody_else(identity: Identity) -> None:
    daily = "usr_h0123456789abcdef01234567"
    identity.take_in([event(n, user_id=user, params={"login_id": "c1"}) for n, user in enumerate((daily, "usr_1"))])
    assert (await identity.people.person_of(ACME, [visitor("usr_1")])).user_ids == ("usr_1",)
    assert (await identity.people.person_of_visitor(ACME, daily)).user_ids == (daily,)


async def test_conversions_of_settled_rows_keep_the_visitor_that_sent_them(identity: Identity) -> None:
    click = event(0, event_type="click", route="in", click_id="k1", user_id="usr_2")
    postback = sale(5, route="postback", user_id="usr_h0", references=["k1"], order_id="o1")
    page = sale(1, user_id="usr_1", order_id="o1")
    identity.take_in([click, postback, page])
    before = stored(identity)
    identity.client.command(f"TRUNCATE TABLE {TABLE}")
    keep_days(identity.client, "events", HASHER)
    assert stored(identity) == before
    person = await identity.people.person_of(ACME, [End(EndKind.VISITOR, "usr_1")])
    assert person.event_ids == (str(postback["event_id"]),)
    assert datetime.now(UTC) > person.links[0].first_time
