"""An event as a row of the warehouse's table. Pure.

The table is the specification's: a few columns for common queries, and ``request_data`` with all the rest of what
arrived, order and repeats kept. Bytes are text where they are UTF-8. Where they are not, ``request_data`` has
``{"base64": …}`` in the place of the text (for the body, base64 and a flag), and a column has U+FFFD. What is derived
from the headers and the target is what the table ``events`` of our own store derives.
"""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from capture_svc.mirror.state import Key
from trellis.capture.v1 import event_pb2

Pairs = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a load file."""

    key: Key
    """Identity of the event."""
    line: bytes
    """The row as JSON, newline included."""


def rows_of(events: bytes, *, ingested_at: datetime) -> Iterator[Row]:
    """Turn an encoded EventBatch into rows, in its order. Errors: DecodeError (not an EventBatch)."""
    ingested = _timestamp(ingested_at)
    for event in event_pb2.EventBatch.FromString(events).events:
        columns = {**_columns(event), "ingested_at": ingested}
        yield Row((event.journal_id, event.sequence), orjson.dumps(columns, option=orjson.OPT_APPEND_NEWLINE))


def _columns(event: event_pb2.Event) -> dict[str, Any]:
    """Return the specification's columns; those that a query may look for are null where the event has nothing."""
    headers, params = header_pairs(event.headers), query_pairs(event.target)
    return {
        "organization_id": event.organization_id,
        "event_id": event.event_id,
        "timestamp": _timestamp(datetime.fromtimestamp(event.event_time_ms / 1000, UTC)),
        "request_data": _request_data(event, headers, params),
        "event_type": _column(event.event_type),
        "click_id": event.click_id or None,
        "session_id": _column(_first(params, b"session_id")),
        "source": _column(_first(params, b"source", b"utm_source")),
        "medium": _column(_first(params, b"medium", b"utm_medium")),
        "campaign": _column(_first(params, b"campaign", b"utm_campaign")),
    }


def _request_data(event: event_pb2.Event, headers: Pairs, params: Pairs) -> dict[str, Any]:
    body, body_is_base64 = _body(event.body)
    names_lowered = [(name.lower(), value) for name, value in headers]
    return {
        "method": event.method,
        "url": _exact(url(event.scheme, event.host, event.target)),
        "http_version": event.http_version,
        "headers": [(_exact(name), _exact(value)) for name, value in headers],
        "query_params": [(_exact(name), _exact(value)) for name, value in params],
        "body": body,
        "body_is_base64": body_is_base64,
        "ip": event.ip,
        "peer_address": event.peer_address,
        "user_agent": _exact(_first(names_lowered, b"user-agent")),
        "referer": _exact(_first(names_lowered, b"referer")),
        "marks": list(event.marks),
        "route": event.route,
        "status": event.status,
        "location": _exact(event.location),
        "external_click_id": _exact(event.external_click_id),
        "user_id": event.user_id,
        "campaign_id": event.campaign_id,
        "campaign_version": event.campaign_version,
        "rule_id": event.rule_id,
        "destination_id": event.destination_id,
        "tags": list(event.tags),
        "partner_id": event.partner_id,
        "network": event.network,
        "key_id": event.key_id,
        "idempotency_key": _exact(event.idempotency_key),
        "item_index": event.item_index,
        "trace_id": event.trace_id,
        "journal_id": event.journal_id,
        "sequence": event.sequence,
    }


def header_pairs(block: bytes) -> Pairs:
    """Split a header block into names and values, in order, repeats kept."""
    lines = (line.partition(b":") for line in block.split(b"\r\n"))
    return [(name, value.strip(b" \t")) for name, colon, value in lines if name and colon]


def query_pairs(target: bytes) -> Pairs:
    """Split and decode the query of a request target, in order, repeats kept."""
    items = (item.partition(b"=") for item in target.partition(b"?")[2].split(b"&") if item)
    return [(_decoded(name), _decoded(value)) for name, _, value in items]


def url(scheme: str, host: bytes, target: bytes) -> bytes:
    """Return the URL that the client asked for; a target that is a whole URL stands for itself."""
    return scheme.encode() + b"://" + host + target if target.startswith(b"/") else target


def _decoded(component: bytes) -> bytes:
    return unquote_to_bytes(component.replace(b"+", b" "))


def _first(pairs: Pairs, *names: bytes) -> bytes:
    """Return the first value under any of the names."""
    return next((value for name, value in pairs if name in names), b"")


def _column(value: bytes) -> str | None:
    return value.decode("utf-8", "replace") or None


def _exact(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def _body(value: bytes) -> tuple[str, bool]:
    try:
        return value.decode(), False
    except UnicodeDecodeError:
        return b64encode(value).decode(), True


def _timestamp(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
