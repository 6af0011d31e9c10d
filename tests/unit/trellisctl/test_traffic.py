import json
from collections import Counter
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trellisctl.traffic.unattributed import make_unattributed
from trellisctl.traffic.visits import CLICK_ID, Request, Site, make_visitors

SITE = Site(slug="summer_sale", publishable_key="wdn_pk_live_acmecorp_key")


def requests(event_count: int, seed: int = 7) -> list[Request]:
    return [request for visitor in make_visitors(event_count, SITE, seed=seed) for request in visitor.requests]


@given(event_count=st.integers(1, 400), seed=st.integers(0, 10_000))
def test_as_many_events_as_asked_for(event_count: int, seed: int) -> None:
    visitors = make_visitors(event_count, SITE, seed=seed)
    assert sum(len(visitor.requests) for visitor in visitors) == event_count
    assert all(visitor.requests for visitor in visitors)


def test_a_seed_repeats_itself_and_another_does_not() -> None:
    assert requests(200, seed=1) == requests(200, seed=1)
    assert requests(200, seed=1) != requests(200, seed=2)


def test_every_kind_and_every_source_comes_up() -> None:
    made = requests(3000)
    assert {request.kind for request in made} == {"click", "pixel", "event", "postback"}
    assert {r.source for r in made if r.source} == {"facebook", "google", "tiktok", "newsletter", "taboola", "direct"}


def test_bots_and_returning_visitors_are_among_them() -> None:
    visitors = make_visitors(3000, SITE, seed=7)
    counts = Counter((visitor.is_bot, visitor.is_returning) for visitor in visitors)
    assert counts[True, False] > 20
    assert counts[False, True] > 100
    assert counts[False, False] > counts[False, True]


@pytest.mark.parametrize(("source", "parameter"), [("facebook", "fbclid"), ("google", "gclid"), ("tiktok", "ttclid")])
def test_a_source_sends_its_own_click_id_each_time_another(source: str, parameter: str) -> None:
    values = [parse_qs(urlsplit(r.target).query)[parameter][0] for r in requests(2000) if r.source == source]
    assert len(values) > 100
    assert len(set(values)) == len(values)


def test_nobody_else_is_impersonated_by_address() -> None:
    prefixes = ("192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:")
    addresses = [value for r in requests(1000) for name, value in r.headers if name == "X-Forwarded-For"]
    assert addresses
    assert all(address.startswith(prefixes) for address in addresses)


def test_a_postback_waits_for_the_click_id_of_its_redirect() -> None:
    postbacks = [request for request in requests(3000) if request.kind == "postback"]
    assert postbacks
    assert all(request.target.endswith(f"&click_id={CLICK_ID}") for request in postbacks)


def test_event_bodies_are_json() -> None:
    bodies = [json.loads(request.body) for request in requests(2000) if request.kind == "event"]
    assert {"add_to_cart", "purchase"} == {body["event"] for body in bodies}
    assert all("order_id" in body for body in bodies if body["event"] == "purchase")


@given(click_count=st.integers(0, 200), seed=st.integers(0, 10_000))
def test_the_truth_about_unattributed_traffic_is_what_is_sent(click_count: int, seed: int) -> None:
    visitors, truth = make_unattributed(click_count, SITE, seed=seed)
    sent = [request for visitor in visitors for request in visitor.requests]
    matching = [r for r in sent if r.kind == "click" and truth.rule["value"] in dict(r.headers).get("Referer", "")]
    bought = [parse_qs(urlsplit(r.target).query) for r in sent if r.kind == "postback"]
    assert (len(matching), truth.click_count) == (click_count, click_count)
    assert len(sent) == truth.event_count + truth.other_unattributed_click_count
    assert len(bought) == truth.conversion_count
    assert len({order["order_id"][0] for order in bought}) == truth.conversion_count
    assert sum(Decimal(order["value"][0]) for order in bought) == Decimal(truth.revenue.get("USD", 0))
    clicked = {parse_qs(urlsplit(r.target).query)["ttclid"][0] for r in matching}
    assert {order["click_id"][0] for order in bought} <= clicked
    assert all(r.leads_nowhere and urlsplit(r.target).path == "/in" for r in matching)
    assert json.loads(truth.text())["event_count"] == truth.event_count
    assert make_unattributed(click_count, SITE, seed=seed) == (visitors, truth)
