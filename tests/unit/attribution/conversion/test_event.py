"""What is read of an event, and that the reading reads the same."""

from dataclasses import fields, replace
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_svc.projection.arrival import Arrival
from analytics_svc.projection.enricher import Enricher
from analytics_svc.projection.read import read_event
from attribution_svc.conversions.event import Arrived, conversion_event_of, text_of
from attribution_svc.conversions.settle import own_share
from tests.unit.attribution.conversion.reports import NOON, postback

_ENRICHER = Enricher()
_EVENT_ID = "019b76da-a800-7000-8000-000000000001"


def test_the_specifications_postback_is_read() -> None:
    body = b'{"click_id":"fb_123abc","event":"purchase","value":99.99,"currency":"USD","order_id":"ORD-456789"}'
    headers = b"Host: track.acmecorp.com\r\nContent-Type: application/json\r\n"
    event = postback(1, event_type=b"purchase", target=b"/postback", headers=headers, body=body)
    assert (event.event_type, event.value_micros, event.currency) == ("purchase", 99_990_000, "USD")
    assert (event.order_id, event.click_references, event.amount_text) == ("ORD-456789", ("fb_123abc",), "99.99")
    assert (event.group_key, event.is_counted, event.status) == ("o:ORD-456789", True, "")


def test_a_postback_with_nothing_usable_is_an_event_too() -> None:
    event = postback(1, "click_id={clickid}&status=&payout={payout}")
    assert (event.event_type, event.value_micros, event.click_references) == ("conversion", None, ())
    assert event.marks == ("literal_macro", "no_reference")


@pytest.mark.parametrize(
    ("event_type", "route", "query", "is_kept"),
    [
        (b"click", "in", "payout=5", False),
        (b"pageview", "pixel", "order_id=5", False),
        (b"purchase", "events", "", True),
        (b"thing", "events", "value=5", True),
        (b"thing", "events", "", False),
        (b"Order Refunded", "events", "order_id=5&value=3", True),
        (b"click", "postback", "", True),
    ],
)
def test_what_speaks_of_a_conversion_or_a_refund_is_kept(
    event_type: bytes, route: str, query: str, is_kept: bool
) -> None:
    arrived = Arrived("org_a", _EVENT_ID, 1_772_452_800_000, event_type, route, target=f"/x?{query}".encode())
    event = conversion_event_of(arrived)
    assert (event is not None) is is_kept


@pytest.mark.parametrize("mark", ["refused_sender", "refused_signature"])
@pytest.mark.parametrize("event_type", [b"purchase", b"refund"])
def test_a_sender_who_was_not_believed_says_nothing(event_type: bytes, mark: str) -> None:
    query = b"/x?order_id=5&value=3"
    refused = Arrived("org_a", _EVENT_ID, 1_772_452_800_000, event_type, "postback", target=query, marks=("late", mark))
    assert conversion_event_of(refused) is None
    assert conversion_event_of(replace(refused, marks=("late",))) is not None


def test_when_it_happened_is_told_by_the_sender_where_that_can_be() -> None:
    assert postback(1, "time=1772452700").conversion_time.isoformat() == "2026-03-02T11:58:20+00:00"
    assert postback(0, "time=9999999999").conversion_time == NOON


def test_the_partner_says_which_network_it_is_before_the_postback_does() -> None:
    assert postback(1, "source=NetA").network == "neta"
    assert postback(1, "source=NetA", network="Partner1").network == "partner1"
    assert postback(1).network == ""


def test_bytes_that_are_no_text_stay_apart() -> None:
    texts = [text_of(raw) for raw in (b"a\xff", b"a\xfe", b"a\0", "ä".encode())]
    assert texts == ["a\\xff", "a\\xfe", "a\\x00", "ä"]


_words = st.sampled_from(
    [b"", b"conversion", b"purchase", b"lead", b"click", b"refund", b"thing", b"Test", b"order completed", b"\xff"]
)
_NAMES = (
    b"click_id cid sub1 transaction_id txid order_id event_id payout amount value currency cur status goal type event "
    b"action test gclid ts time source ref utm_source x"
)
_VALUES = b"5 9,99 1,234 $5 -2.50 EUR xx approved 2 1,2 trash test REPLACE refund"
_names = st.sampled_from(_NAMES.split())
_values = st.sampled_from([b"", *_VALUES.split()]) | st.binary(max_size=12)
_pairs = st.lists(st.tuples(_names, _values), max_size=7)


@given(
    _words,
    st.sampled_from(["postback", "events", "pixel", "in", "batch"]),
    _pairs,
    _pairs,
    st.sampled_from(["", "clk"]),
    st.sampled_from([b"", b"fb_1"]),
    st.sampled_from([(), ("test",), ("late",)]),
)
@settings(max_examples=600, deadline=None)
def test_the_reading_and_the_conversions_read_an_event_alike(
    event_type: bytes,
    route: str,
    query: list[tuple[bytes, bytes]],
    form: list[tuple[bytes, bytes]],
    click_id: str,
    external_click_id: bytes,
    marks: tuple[str, ...],
) -> None:
    target, body = (
        "&".join(f"{quote_from_bytes(name)}={quote_from_bytes(value)}" for name, value in pairs).encode()
        for pairs in (query, form)
    )
    arrived = Arrived(
        organization_id="org_a",
        event_id=_EVENT_ID,
        event_time_ms=1_772_452_800_000,
        event_type=event_type,
        route=route,
        target=b"/x?" + target,
        headers=b"Content-Type: application/x-www-form-urlencoded\r\n",
        body=body,
        click_id=click_id,
        external_click_id=external_click_id,
        marks=marks,
    )
    both = {field.name for field in fields(Arrived)} & {field.name for field in fields(Arrival)}
    row = read_event(Arrival(**{name: getattr(arrived, name) for name in both}), (), _ENRICHER)
    event = conversion_event_of(arrived)
    if event is None or not event.is_read:
        assert (row.conversion_event, row.is_conversion, row.value) == (b"", 0, None)
        return
    assert text_of(row.conversion_event) == event.event_type
    assert (row.value, row.currency, row.conversion_status) == (event.value_micros, event.currency, event.status)
    assert (text_of(row.order_id), bool(row.is_conversion)) == (event.order_id, event.is_counted)
    assert tuple(map(text_of, row.references)) == event.click_references
    assert row.conversion_time == round(event.conversion_time.timestamp() * 1000)
    own = own_share(event)
    assert own.is_conversion == bool(row.is_conversion)
    assert own.value_micros == (row.value if row.is_conversion else None)
