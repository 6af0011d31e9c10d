"""Where a link leads, and how campaigns come and go."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_gateway.routing import Routing
from ingress_gateway.target import Target
from trellis.attribution.v1 import attribution_service_pb2 as pb

CLICK_ID = "0123456789abcdefghijkl"
ACTIVE, PAUSED, ARCHIVED = pb.CAMPAIGN_STATUS_ACTIVE, pb.CAMPAIGN_STATUS_PAUSED, pb.CAMPAIGN_STATUS_ARCHIVED


def _location(url: str, query: bytes, *, passes: bool = True) -> str:
    return Target.compile(url).location(query, CLICK_ID, names=None if passes else frozenset()).decode("ascii")


OURS = f"click_id={CLICK_ID}"


@pytest.mark.parametrize(
    ("url", "query", "expected"),
    [
        ("https://x.example", b"", f"https://x.example/?{OURS}"),
        ("https://x.example/p", b"a=1", f"https://x.example/p?a=1&{OURS}"),
        ("https://x.example/p?", b"a=1", f"https://x.example/p?a=1&{OURS}"),
        ("https://x.example/p?q=1", b"a=1", f"https://x.example/p?q=1&a=1&{OURS}"),
        ("https://x.example/p?a=1&b", b"a=2&b=3&c=4", f"https://x.example/p?a=1&b&c=4&{OURS}"),
        ("https://x.example/p?a%20b=1", b"a+b=2&a%20b=3&a%2520b=4", f"https://x.example/p?a%20b=1&a%2520b=4&{OURS}"),
        ("https://x.example/p?click_id=fixed", b"click_id=theirs&a=1", "https://x.example/p?click_id=fixed&a=1"),
        ("https://x.example/p?click_id=fixed", b"", "https://x.example/p?click_id=fixed"),
        ("https://x.example/p#frag", b"a=1", f"https://x.example/p?a=1&{OURS}#frag"),
        ("https://x.example/p?q=1#frag?no", b"", f"https://x.example/p?q=1&{OURS}#frag?no"),
        ("https://x.example/p#", b"", f"https://x.example/p?{OURS}"),
        ("https://x.example:8443/p", b"", f"https://x.example:8443/p?{OURS}"),
        ("https://x.example/p", b"click_id=A&click_id=B", "https://x.example/p?click_id=A&click_id=B"),
        ("https://x.example/p", b"&&", f"https://x.example/p?&&&{OURS}"),
        ("https://x.example/p", b"a=\r\nSet-Cookie: x", f"https://x.example/p?a=%0D%0ASet-Cookie:%20x&{OURS}"),
        ("https://x.example/p", b"a=\x00\x7f\xff#", f"https://x.example/p?a=%00%7F%FF%23&{OURS}"),
        ("https://x.example/p", b"a=%0d%0a", f"https://x.example/p?a=%0d%0a&{OURS}"),
        ("https://x.example/p", b"k=wdn_pk_live_x", f"https://x.example/p?{OURS}"),
        ("https://x.example/p", b"a=1&KEY=wdn_sk_live_x&b=2", f"https://x.example/p?a=1&b=2&{OURS}"),
        ("https://x.example/p", b"kk=wdn_pk_live_x", f"https://x.example/p?kk=wdn_pk_live_x&{OURS}"),
    ],
)
def test_a_location_is_the_destination_with_the_incoming_parameters(url: str, query: bytes, expected: str) -> None:
    assert _location(url, query) == expected


@pytest.mark.parametrize("query", [b"", b"a=1", b"click_id=x"])
def test_a_campaign_may_pass_nothing_on(query: bytes) -> None:
    assert _location("https://x.example/p?q=1", query, passes=False) == f"https://x.example/p?q=1&{OURS}"


@given(query=st.binary(max_size=200))
def test_no_query_changes_anything_but_the_query(query: bytes) -> None:
    for url in ("https://x.example/p", "https://x.example/p?own=1#top", "http://[2001:db8::1]:8080"):
        location = _location(url, query)
        assert not any(ord(character) <= 32 or ord(character) >= 127 for character in location)
        parts, own = urlsplit(location), urlsplit(url)
        assert (parts.scheme, parts.netloc, parts.path, parts.fragment) == (
            own.scheme,
            own.netloc,
            own.path or "/",
            own.fragment,
        )
        assert b"click_id" in parts.query.encode()


_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(pairs=st.lists(st.tuples(_texts, _texts), max_size=8))
def test_every_parameter_arrives_once_in_order_and_the_destination_s_own_wins(pairs: list[tuple[str, str]]) -> None:
    from urllib.parse import quote_plus

    query = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode()
    arrived = parse_qsl(urlsplit(_location("https://x.example/?own=1", query)).query, keep_blank_values=True)
    expected = [("own", "1"), *((name, value) for name, value in pairs if name != "own" and (name or value))]
    has_click_id = any(name == "click_id" for name, _ in pairs)
    ours = [] if has_click_id else [("click_id", CLICK_ID)]
    # An empty pair is kept as it came, which a parser may or may not call a parameter.
    assert [pair for pair in arrived if pair != ("", "")] == expected + ours


# -- campaigns --------------------------------------------------------------------------------------------------------


def _campaign(campaign_id: str, slug: str, *, status: Any = ACTIVE, version: int = 1, **more: Any) -> pb.Campaign:
    return pb.Campaign(
        campaign_id=campaign_id,
        organization_id=more.pop("organization_id", "org_a"),
        slug=slug,
        status=status,
        version=version,
        destination_url=more.pop("destination_url", f"https://{campaign_id}.example/"),
        **more,
    )


def _snapshot(*campaigns: pb.Campaign, revision: int = 1, epoch: int = 1) -> pb.WatchRoutingResponse:
    return pb.WatchRoutingResponse(revision=revision, epoch=epoch, is_snapshot=True, campaigns=campaigns)


def _change(*campaigns: pb.Campaign, revision: int = 2, epoch: int = 1) -> pb.WatchRoutingResponse:
    return pb.WatchRoutingResponse(revision=revision, epoch=epoch, campaigns=campaigns)


def _found(routing: Routing, slug: str, organization_id: str = "org_a") -> str | None:
    route = routing.find(organization_id, slug)
    return route.campaign_id if route else None


def test_a_slug_belongs_to_one_organisation() -> None:
    routing = Routing()
    assert not routing.is_ready
    assert routing.apply(_snapshot(_campaign("a", "sale"), _campaign("b", "sale", organization_id="org_b")))
    assert routing.is_ready
    assert (_found(routing, "sale"), _found(routing, "sale", "org_b"), _found(routing, "sale", "org_c")) == (
        "a",
        "b",
        None,
    )
    assert _found(routing, "Sale") is None


def test_a_slug_moves_with_its_campaign_and_is_free_again() -> None:
    routing = Routing()
    routing.apply(_snapshot(_campaign("a", "one")))
    routing.apply(_change(_campaign("a", "two", version=2)))
    assert (_found(routing, "one"), _found(routing, "two")) == (None, "a")
    routing.apply(_change(_campaign("b", "one")))
    assert (_found(routing, "one"), _found(routing, "two")) == ("b", "a")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_campaigns_swap_a_slug_in_any_order(order: tuple[int, int]) -> None:
    routing = Routing()
    routing.apply(_snapshot(_campaign("a", "one"), _campaign("b", "two")))
    changes = [_campaign("a", "two", version=2), _campaign("b", "one", version=2)]
    routing.apply(_change(*(changes[index] for index in order)))
    assert (_found(routing, "one"), _found(routing, "two")) == ("b", "a")


def test_an_archived_campaign_is_forgotten_and_takes_nobody_s_slug_along() -> None:
    routing = Routing()
    routing.apply(_snapshot(_campaign("a", "one")))
    routing.apply(_change(_campaign("a", "two", version=2), _campaign("b", "one")))
    routing.apply(_change(_campaign("a", "two", status=ARCHIVED, version=3)))
    assert (_found(routing, "one"), _found(routing, "two")) == ("b", None)
    routing.apply(_change(_campaign("never seen", "one", status=ARCHIVED)))
    assert _found(routing, "one") == "b"


def test_a_paused_campaign_is_found_and_says_so() -> None:
    routing = Routing()
    routing.apply(_snapshot(_campaign("a", "one", status=PAUSED, fallback_url="https://fallback.example/")))
    route = routing.find("org_a", "one")
    assert route is not None
    assert route.is_paused
    assert route.paused.target is not None
    assert route.plain is None


def test_a_campaign_is_found_by_its_id_within_its_organisation() -> None:
    routing = Routing()
    routing.apply(_snapshot(_campaign("cmp_1", "one")))
    route = routing.find_campaign("org_a", "cmp_1")
    assert route is not None
    assert route.version == 1
    assert routing.find_campaign("org_b", "cmp_1") is None
    assert routing.find_campaign("org_a", "one") is None


def test_a_snapshot_replaces_everything() -> None:
    routing = Routing()
    routing.apply(_snapshot(_campaign("a", "one")))
    routing.apply(_snapshot(_campaign("b", "two"), revision=2))
    assert (_found(routing, "one"), _found(routing, "two")) == (None, "b")


@pytest.mark.parametrize(
    ("revision", "epoch", "is_taken"),
    [(5, 3, True), (6, 3, True), (4, 3, False), (9, 2, False), (1, 4, True), (0, 0, False)],
)
def test_a_snapshot_of_the_past_is_refused(revision: int, epoch: int, is_taken: bool) -> None:
    routing = Routing()
    routing.apply(_snapshot(_campaign("a", "one"), revision=5, epoch=3))
    assert routing.apply(_snapshot(_campaign("b", "two"), revision=revision, epoch=epoch)) is is_taken
    assert _found(routing, "one") == (None if is_taken else "a")


def test_what_is_saved_is_what_was_held() -> None:
    routing = Routing()
    routing.apply(_snapshot(_campaign("a", "one"), _campaign("b", "two", status=PAUSED), revision=7, epoch=9))
    routing.apply(_change(_campaign("c", "three"), revision=8, epoch=9))
    again = Routing()
    again.apply(pb.WatchRoutingResponse.FromString(routing.snapshot().SerializeToString()))
    assert (again.revision, again.epoch) == (8, 9)
    assert [_found(again, slug) for slug in ("one", "two", "three")] == ["a", "b", "c"]


@pytest.mark.parametrize("url", ["https://[::1/", "", "nonsense", "https://exa\u2100mple.example/"])
def test_a_campaign_that_cannot_be_compiled_stops_no_other(url: str) -> None:
    routing = Routing()
    assert routing.apply(_snapshot(_campaign("bad", "bad", destination_url=url), _campaign("a", "one")))
    assert _found(routing, "one") == "a"
