import base64
from urllib.parse import quote_from_bytes, quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some

from ingress_gateway.event_view import event_view, header_pairs, query_pairs, raw_request, url_of, whole_event_view
from trellis.capture.v1.event_pb2 import Event


@pytest.mark.parametrize(
    ("block", "pairs"),
    [
        (b"", []),
        (b"Host: a\r\n", [(b"Host", b"a")]),
        (b"X: 1\r\nx: 2\r\n", [(b"X", b"1"), (b"x", b"2")]),
        (b"A:\r\nB: \t v \t\r\n", [(b"A", b""), (b"B", b"v")]),
        (b"A: b: c\r\n", [(b"A", b"b: c")]),
        (b"A: \xff\r\nno colon\r\n: no name\r\n", [(b"A", b"\xff")]),
    ],
)
def test_a_header_block_is_read_in_order(block: bytes, pairs: list[tuple[bytes, bytes]]) -> None:
    assert header_pairs(block) == pairs


@pytest.mark.parametrize(
    ("target", "pairs"),
    [
        (b"/in/a", []),
        (b"/in/a?", []),
        (b"/in/a?b", [(b"b", b"")]),
        (b"/in/a?b=1&b=2&&c=", [(b"b", b"1"), (b"b", b"2"), (b"c", b"")]),
        (b"/in/a?a+b=c%20d%2", [(b"a b", b"c d%2")]),
        (b"/in/a?a=b=c?d", [(b"a", b"b=c?d")]),
        (b"/in/a?%ff=%00", [(b"\xff", b"\0")]),
    ],
)
def test_a_query_is_read_in_order(target: bytes, pairs: list[tuple[bytes, bytes]]) -> None:
    assert query_pairs(target) == pairs


@given(some.lists(some.tuples(some.binary(), some.binary()).filter(any)))
def test_any_parameters_come_back_decoded(pairs: list[tuple[bytes, bytes]]) -> None:
    query = "&".join(f"{quote_from_bytes(name, safe='')}={quote_plus(value)}" for name, value in pairs)
    assert query_pairs(b"/in/a?" + query.encode()) == pairs


def test_a_direct_call_has_no_url_to_make_up() -> None:
    assert url_of(Event(scheme="https", host=b"a.example", target=b"/in/a?b")) == b"https://a.example/in/a?b"
    assert url_of(Event(target=b"")) == b""


def test_what_is_utf_8_needs_no_second_form() -> None:
    view = whole_event_view(Event(event_type="❄".encode(), external_click_id=b"fb", idempotency_key=b"k"))
    assert view["event_type"] == "❄"
    assert {name for name in view if name.endswith("_base64")} == {"target_base64", "headers_base64", "body_base64"}


@pytest.mark.parametrize("name", ["event_type", "external_click_id", "host", "location", "idempotency_key"])
def test_what_is_not_utf_8_is_given_in_base64_too(name: str) -> None:
    view = whole_event_view(Event(**{name: b"a\xff\x80"}))  # type: ignore[arg-type]  # five fields of bytes
    assert view[name] == "a\ufffd\ufffd"
    assert base64.b64decode(view[f"{name}_base64"]) == b"a\xff\x80"


_EVENTS = some.builds(
    Event,
    event_time_ms=some.integers(1_577_836_800_000, 4_102_444_799_999),
    event_type=some.binary(),
    method=some.sampled_from(["GET", "POST"]),
    target=some.binary(),
    headers=some.binary(),
    body=some.binary(),
    host=some.binary(),
    scheme=some.just("https"),
    http_version=some.just("1.1"),
    external_click_id=some.binary(),
    location=some.binary(),
    idempotency_key=some.binary(),
    marks=some.lists(some.text()),
)


@given(_EVENTS)
def test_any_bytes_can_be_shown_and_none_is_lost(event: Event) -> None:
    listed, whole = event_view(event), whole_event_view(event)
    orjson.dumps([listed, whole])
    assert listed.items() <= whole.items()
    for name in ("target", "headers", "body"):
        assert base64.b64decode(whole[f"{name}_base64"]) == getattr(event, name)
    for name in ("event_type", "external_click_id", "host", "location", "idempotency_key"):
        kept = base64.b64decode(whole[f"{name}_base64"]) if f"{name}_base64" in whole else whole[name].encode()
        assert kept == getattr(event, name)


@given(_EVENTS)
def test_the_raw_request_is_its_parts_and_nothing_else(event: Event) -> None:
    raw = raw_request(event)
    assert raw == b"".join(
        (event.method.encode(), b" ", event.target, b" HTTP/1.1\r\n", event.headers, b"\r\n", event.body)
    )
