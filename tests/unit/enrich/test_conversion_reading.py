"""Postbacks as each peer sends them are read as the same conversion; what is refused is none."""

import json

import pytest

from enrichment.conversion_reading import ConversionReading, Sent, read_conversion
from enrichment.parameters import DEFAULT_ALIASES
from enrichment.requests import sent_parameters

CLICK = b"Fb_123abc"
FORM, JSON = b"application/x-www-form-urlencoded", b"application/json"

# By peer: target, body, its content type, and whether a status and an order are told.
SHAPES: dict[str, tuple[str, bytes, bytes]] = {
    "Keitaro": (
        ("/wdn_pt_x/postback?subid=Fb_123abc&status=sale&payout=12.50&tid=ORD-1&currency=usd&sale_status=approved,1"
        "&lead_status=hold&rejected_status=trash&return=OK&from=Network"),
        b"", b"",
    ),
    "Orbitra": ("/postback.php?subid=Fb_123abc&status=approved&payout=12.50&tid=ORD-1&currency=USD", b"", b""),
    "Orbitra, other names": (
        "/postback.php?sub_id=Fb_123abc&type=sale&revenue=12,50&tid=ORD-1&currency=usd&return=OK", b"", b""
    ),
    "Voluum": ("/postback?cid=Fb_123abc&payout=12.5&txid=ORD-1&currency=USD&et=sale&param1=x", b"", b""),
    "Voluum pixel": ("/conversion.gif?cid=Fb_123abc&payout=12.5&txid=ORD-1&currency=USD&et=sale", b"", b""),
    "RedTrack": ("/postback?clickid=Fb_123abc&sum=12.5&type=sale&currency=USD&sub1=a&sub2=b&order_id=ORD-1", b"", b""),
    "Binom": (
        "/click.php?cnv_id=Fb_123abc&payout=12.5&cnv_status=sale&cnv_currency=USD&to_offer=1&txid=ORD-1", b"", b""
    ),
    "BeMob": ("/postback?cid=Fb_123abc&payout=12.50&txid=ORD-1&status=approved&currency=USD", b"", b""),
    "TUNE": (
        ("/aff_lsr?transaction_id=Fb_123abc&amount=12.50&currency=USD&security_token=wdn_pt_x&status=approved"
        "&order_id=ORD-1"), b"", b"",
    ),
    "Everflow": (
        ("/postback?nid=123&transaction_id=Fb_123abc&amount=12.5&order_id=ORD-1&currency=USD&status=approved"
        "&verification_token=wdn_pt_x"), b"", b"",
    ),
    "Affise": (
        "/postback?clickid=Fb_123abc&sum=12.5&status=confirmed&secure=wdn_pt_x&currency=USD&action_id=ORD-1", b"", b""
    ),
    "Prosper202": (
        "/tracking202/static/gpb.php?subid=Fb_123abc&amount=12.5&status=sale&currency=USD&tid=ORD-1", b"", b""
    ),
    "ours": ("/postback?click_id=Fb_123abc&status=sale&payout=12.50&currency=USD&transaction_id=ORD-1", b"", b""),
    "a form": (
        "/postback?token=wdn_pt_x", b"click_id=Fb_123abc&status=sale&payout=USD+12.50&transaction_id=ORD-1", FORM
    ),
    "JSON": (
        "/postback",
        json.dumps({"click_id": "Fb_123abc", "status": "sale", "payout": 12.5, "currency": "USD", "txid": "ORD-1"})
        .encode(),
        JSON,
    ),
    "nested JSON": (
        "/postback",
        (b'{"event":"sale","status":"sale","properties":{"clickid":"Fb_123abc","revenue":"12.50","currency":"usd",'
        b'"order_id":"ORD-1"}}'),
        JSON,
    ),
    "money in a value": ("/postback?click_id=Fb_123abc&status=sale&payout=12.50USD&order_id=ORD-1", b"", b""),
    "money with a comma": ("/postback?click_id=Fb_123abc&status=SALE&sum=12%2C50&cur=usd&order_id=ORD-1", b"", b""),
}  # fmt: skip


def reading_of(
    target: str, body: bytes, content_type: bytes, *, marks: tuple[str, ...] = ()
) -> ConversionReading | None:
    _, parameters = sent_parameters(target.encode(), body, content_type)
    sent = Sent(b"conversion", "postback", marks, "", b"")
    return read_conversion(sent, parameters, DEFAULT_ALIASES, DEFAULT_ALIASES.resolve(parameters))


@pytest.mark.parametrize("peer", SHAPES)
def test_every_peers_postback_is_the_same_conversion(peer: str) -> None:
    reading = reading_of(*SHAPES[peer])
    assert reading is not None
    assert (reading.value, reading.currency) == (12_500_000, "USD")
    assert reading.status == "sale"
    # `transaction_id` is the click to TUNE and Everflow, who name the order by another, and the order to others.
    assert CLICK in reading.references
    assert reading.order_id == b"ORD-1"
    assert reading.is_counted


@pytest.mark.parametrize("mark", ["refused_sender", "refused_signature"])
def test_what_a_known_partner_may_not_send_is_no_conversion(mark: str) -> None:
    assert reading_of(*SHAPES["ours"], marks=("late", mark)) is None
    assert reading_of(*SHAPES["ours"], marks=("late",)) is not None
