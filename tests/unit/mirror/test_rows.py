"""An event as a row: the specification's columns, and a request that loses nothing."""

import json
from base64 import b64decode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_svc.mirror import rows
from trellis.capture.v1 import event_pb2

NOW = datetime(2026, 11, 20, 8, 0, 1, 500_000, tzinfo=UTC)

CLICK = event_pb2.Event(
    organization_id="org_acmecorp",
    event_id="0193d1d0-0000-7000-8000-000000000001",
    event_time_ms=1_795_161_600_123,
    event_type=b"click",
    route="in",
    method="GET",
    target=b"/in/summer_sale?click_id=fb_123abc&source=facebook&utm_medium=cpc&x=1&x=2&q=a+b%20c%ff&empty=&flag",
    http_version="1.1",
    headers=b"Host: track.acmecorp.com\r\nX-A: 1\r\nuser-agent: Mozilla/5.0\r\nX-a:  2 \r\nREFERER: https://a.example/\r\n",
    body=b'{"a": 1}',
    peer_address="10.0.0.1:5000",
    ip="198.51.100.42",
    scheme="https",
    host=b"track.acmecorp.com",
    click_id="01J0E8ZQ4T",
    external_click_id=b"fb_123abc",
    user_id="usr_1",
    campaign_id="cmp_1",
    campaign_version=3,
    rule_id="r1",
    destination_id="d1",
    tags=["a", "b"],
    location=b"https://shop.acmecorp.com/",
    status=302,
    marks=["late", "bot"],
    trace_id="0af7651916cd43dd8448eb211c80319c",
    journal_id="a" * 32,
    sequence=2**63 + 1,
    idempotency_key=b"k",
    item_index=7,
    key_id="kid",
    partner_id="ptr_1",
    network="cj",
)


def _row(event: event_pb2.Event) -> dict[str, Any]:
    (row,) = rows.rows_of(event_pb2.EventBatch(events=[event]).SerializeToString(), ingested_at=NOW)
    assert row.line.endswith(b"\n")
    assert b"\n" not in row.line[:-1]
    found: dict[str, Any] = json.loads(row.line)
    return found


def test_a_click_becomes_the_columns_of_the_specification() -> None:
    row = _row(CLICK)
    assert list(row) == [
        "organization_id",
        "event_id",
        "timestamp",
        "request_data",
        "event_type",
        "click_id",
        "session_id",
        "source",
        "medium",
        "campaign",
        "ingested_at",
    ]
    del row["request_data"]
    assert row == {
        "organization_id": "org_acmecorp",
        "event_id": "0193d1d0-0000-7000-8000-000000000001",
        "timestamp": "2026-11-20T08:00:00.123000Z",
        "event_type": "click",
        "click_id": "01J0E8ZQ4T",
        "session_id": None,
        "source": "facebook",
        "medium": "cpc",
        "campaign": None,
        "ingested_at": "2026-11-20T08:00:01.500000Z",
    }


def test_the_request_keeps_order_repeats_and_our_ids() -> None:
    assert _row(CLICK)["request_data"] == {
        "method": "GET",
        "url": "https://track.acmecorp.com" + CLICK.target.decode(),
        "http_version": "1.1",
        "headers": [
            ["Host", "track.acmecorp.com"],
            ["X-A", "1"],
            ["user-agent", "Mozilla/5.0"],
            ["X-a", "2"],
            ["REFERER", "https://a.example/"],
        ],
        "query_params": [
            ["click_id", "fb_123abc"],
            ["source", "facebook"],
            ["utm_medium", "cpc"],
            ["x", "1"],
            ["x", "2"],
            ["q", {"base64": "YSBiIGP/"}],
            ["empty", ""],
            ["flag", ""],
        ],
        "body": '{"a": 1}',
        "body_is_base64": False,
        "ip": "198.51.100.42",
        "peer_address": "10.0.0.1:5000",
        "user_agent": "Mozilla/5.0",
        "referer": "https://a.example/",
        "marks": ["late", "bot"],
        "route": "in",
        "status": 302,
        "location": "https://shop.acmecorp.com/",
        "external_click_id": "fb_123abc",
        "user_id": "usr_1",
        "campaign_id": "cmp_1",
        "campaign_version": 3,
        "rule_id": "r1",
        "destination_id": "d1",
        "tags": ["a", "b"],
        "partner_id": "ptr_1",
        "network": "cj",
        "key_id": "kid",
        "idempotency_key": "k",
        "item_index": 7,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "journal_id": "a" * 32,
        "sequence": 2**63 + 1,
    }


def test_every_field_of_an_event_is_in_its_row() -> None:
    """A field that the contract gains must not be forgotten here."""
    plain = json.dumps(_row(CLICK))
    for field in event_pb2.Event.DESCRIPTOR.fields:
        changed = event_pb2.Event()
        changed.CopyFrom(CLICK)
        changed.ClearField(field.name)  # type: ignore[arg-type]  # the stub wants a literal
        assert json.dumps(_row(changed)) != plain, f"{field.name} leaves no trace in the row"


@given(body=st.binary())
def test_a_body_comes_back_byte_for_byte(body: bytes) -> None:
    request = _row(event_pb2.Event(body=body))["request_data"]
    assert (b64decode(request["body"]) if request["body_is_base64"] else request["body"].encode()) == body


@given(pairs=st.lists(st.tuples(st.binary(min_size=1), st.binary())))
def test_query_parameters_come_back_byte_for_byte(pairs: list[tuple[bytes, bytes]]) -> None:
    def quoted(text: bytes) -> bytes:
        return b"".join(b"%%%02X" % byte for byte in text)

    target = b"/in?" + b"&".join(quoted(name) + b"=" + quoted(value) for name, value in pairs)
    assert rows.query_pairs(target) == pairs


def _bytes_of(value: str | dict[str, str]) -> bytes:
    return b64decode(value["base64"]) if isinstance(value, dict) else value.encode()


@given(
    st.lists(
        st.tuples(
            st.binary(min_size=1).filter(lambda name: not set(name) & set(b":\r\n")),
            st.binary().filter(lambda value: not set(value) & set(b"\r\n") and value == value.strip(b" \t")),
        )
    )
)
def test_headers_come_back_byte_for_byte(pairs: list[tuple[bytes, bytes]]) -> None:
    block = b"".join(name + b": " + value + b"\r\n" for name, value in pairs)
    found = _row(event_pb2.Event(headers=block))["request_data"]["headers"]
    assert [(_bytes_of(name), _bytes_of(value)) for name, value in found] == pairs


@pytest.mark.parametrize(
    ("target", "source", "campaign"),
    [
        (b"/in?source=a&utm_source=b", "a", None),
        (b"/in?utm_source=b&source=a", "b", None),
        (b"/in?source=&utm_source=b", None, None),
        (b"/in?source=a&source=c", "a", None),
        (b"/in?x=?&utm_campaign=summer2024", None, "summer2024"),
        (b"/in?source=%ff", "�", None),
        (b"/in", None, None),
    ],
)
def test_source_and_campaign_come_from_the_parameters(target: bytes, source: str | None, campaign: str | None) -> None:
    row = _row(event_pb2.Event(target=target))
    assert (row["source"], row["campaign"]) == (source, campaign)


def test_a_target_that_is_a_whole_url_stands_for_itself() -> None:
    assert rows.url("https", b"a.example", b"http://b.example/x") == b"http://b.example/x"
