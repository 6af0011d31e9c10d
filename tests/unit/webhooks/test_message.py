"""What is sent: Standard Webhooks' own example, payloads, postbacks."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.webhooks.body import DEEPEST, FORM_TYPE, JSON_TYPE, read_body_template
from attribution_svc.webhooks.change import Click, decimal_text
from attribution_svc.webhooks.message import (
    build_request,
    needs_click,
    secret_text,
    sign,
    signature_headers,
    write_payload,
)
from attribution_svc.webhooks.webhook import EventKind, Header, WebhookKind
from rule_language.predicate import Condition, Operator
from tests.contract.webhooks.things import make_change, make_webhook

# The example that Standard Webhooks publishes.
SECRET = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
ID, TIME, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_example_is_signed_as_published() -> None:
    assert sign(SECRET, delivery_id=ID, timestamp=TIME, body=BODY) == SIGNATURE
    assert secret_text(SECRET) == "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    "other",
    [
        {"delivery_id": "msg_p5jXN8AQM9LWM0D4loKWxJel"},
        {"timestamp": TIME + 1},
        {"body": BODY + b" "},
    ],
)
def test_anything_else_is_signed_otherwise(other: dict[str, object]) -> None:
    given_ = {"delivery_id": ID, "timestamp": TIME, "body": BODY, **other}
    assert sign(SECRET, **given_) != SIGNATURE  # type: ignore[arg-type]  # one of them is another


def test_each_secret_has_its_signature() -> None:
    headers = signature_headers([SECRET, b"other" * 6], delivery_id=ID, timestamp=TIME, body=BODY)
    first, second = headers["Webhook-Signature"].split(" ")
    assert (first, second.startswith("v1,"), headers["Webhook-Timestamp"]) == (SIGNATURE, True, "1614265330")


def test_a_payload_tells_what_was_different_before() -> None:
    before = make_change(1, status="lead", value_micros=None).conversion
    change = make_change(1, kind=EventKind.STATUS, previous=before)
    payload = json.loads(write_payload(change))
    assert payload["type"] == "conversion.status"
    assert payload["timestamp"] == "2026-11-20T08:00:00.123456Z"
    assert payload["data"]["previous"] == {"status": "lead", "value": None}
    assert "previous" not in json.loads(write_payload(make_change(1)))["data"]


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0.00"),
        (12_500_000, "12.50"),
        (12_345_678, "12.345678"),
        (12_345_600, "12.3456"),
        (-5, "-0.000005"),
        (-1_000_000, "-1.00"),
        (99_990_000, "99.99"),
    ],
)
def test_money_is_written_exactly(micros: int, text: str) -> None:
    assert decimal_text(micros) == text


@given(st.integers(-(10**18), 10**18))
def test_no_micro_is_lost(micros: int) -> None:
    whole, _, places = decimal_text(micros).removeprefix("-").partition(".")
    assert int(whole + places.ljust(6, "0")) == abs(micros)


def test_a_postback_fills_in_the_click_and_its_parameters_encoded() -> None:
    url = "https://n.example/pb?c={click_id}&z={param:zone id}&t={term|none}&v={payout}&e={txid|-}&x=1"
    webhook = make_webhook(url=url, headers=(Header("X-A", "a"), Header("X-S", "secret", is_secret=True)))
    change = make_change(1, click_id="a b&c", order_id="", click=Click({"term": "ä"}, {"zone id": "1=2"}))
    request = build_request(webhook, change, delivery_id="msg_1")
    assert request.url == "https://n.example/pb?c=a%20b%26c&z=1%3D2&t=%C3%A4&v=12.50&e=-&x=1"
    assert (request.method, request.headers, request.body) == ("GET", {"X-A": "a"}, b"")


def test_what_is_not_known_is_empty_or_its_default() -> None:
    webhook = make_webhook(url="https://n.example/pb?c={click_id|none}&p={payout}&d={param:x}&k={country}")
    change = make_change(1, click_id="", value_micros=None)
    assert build_request(webhook, change, delivery_id="m").url == "https://n.example/pb?c=none&p=&d=&k="


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_value_fills_its_place_and_nothing_else(one: str, two: str) -> None:
    webhook = make_webhook(url="https://n.example/pb?a={click_id}&b={param:p}#end", body='{"a": "x{click_id}y"}')
    change = make_change(1, click_id=one, click=Click({}, {"p": two}))
    request = build_request(webhook, change, delivery_id="m")
    assert request.url.startswith("https://n.example/pb?a=")
    assert request.url.endswith("#end")
    assert (request.url.count("?"), request.url.count("&"), request.url.count("#")) == (1, 1, 1)
    assert json.loads(request.body) == {"a": f"x{one}y"}


def test_a_body_is_json_where_it_parses_and_a_form_where_not() -> None:
    change = make_change(1, click_id='"\\\n&')
    as_json = build_request(
        make_webhook(body='{"a": ["{click_id}", 1, null, true], "{not}": {"b": "{payout}"}}'), change, delivery_id="m"
    )
    assert json.loads(as_json.body) == {"a": ['"\\\n&', 1, None, True], "{not}": {"b": "12.50"}}
    assert (as_json.headers["Content-Type"], as_json.method) == (JSON_TYPE, "POST")
    form = build_request(make_webhook(body="a={click_id}&b={payout}"), change, delivery_id="m")
    assert (form.body, form.headers["Content-Type"]) == (b"a=%22%5C%0A%26&b=12.50", FORM_TYPE)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": "{colour}"}', "has the macro {colour}"),
        ('{"a": "{"}', "has a { or } that belongs to no macro"),
        ('{"a": "\\ud800"}', "has half of a surrogate pair in a text"),
        ("a={colour}", "has the macro {colour}"),
        ("a={", "has a { or } that belongs to no macro"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), f"is nested deeper than {DEEPEST}"),
        ("[" * 5000 + "]" * 5000, "is not JSON: maximum recursion depth"),
        (json.dumps(["{click_id}"] * 51), "has 51 macros, 50 are allowed"),
        ("x" * 16_385, "has 16385 characters, 16384 are allowed"),
        ('{"a": NaN}', "is not JSON: NaN is no JSON"),
        ('{"a": 1,}', "is not JSON: "),
    ],
)
def test_a_bad_body_is_told(text: str, problem: str) -> None:
    assert any(found.startswith(problem) for found in read_body_template(text).problems)


@pytest.mark.parametrize(
    ("definition", "is_needed"),
    [
        ({"url": "https://n.example/?c={click_id}&e={external_click_id}&s={source}&p={payout}"}, False),
        ({"url": "https://n.example/?c={param:x}"}, True),
        ({"url": "https://n.example/?c={term}"}, True),
        ({"body": '["{ip}"]'}, True),
        ({"condition": Condition("country", Operator.EQUALS, ("DE",))}, True),
        ({"condition": Condition("param.x", Operator.EXISTS, ())}, True),
        ({"condition": Condition("value", Operator.GT, ("5",))}, False),
        ({"condition": Condition("source", Operator.EQUALS, ("facebook",))}, False),
    ],
)
def test_a_click_is_asked_for_only_where_something_of_it_is_wanted(
    definition: dict[str, object], is_needed: bool
) -> None:
    assert needs_click(make_webhook(**definition)) is is_needed  # type: ignore[arg-type]  # fields of a definition


def test_a_webhooks_request_is_its_payload_under_its_id() -> None:
    webhook = make_webhook(kind=WebhookKind.WEBHOOK, url="https://a.example/hook")
    request = build_request(webhook, make_change(1), delivery_id="msg_1")
    assert request.headers == {"Content-Type": "application/json", "Webhook-Id": "msg_1"}
    assert (request.method, request.url, request.body) == (
        "POST",
        "https://a.example/hook",
        write_payload(make_change(1)),
    )
