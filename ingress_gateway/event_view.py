"""A stored event as JSON, and as the bytes of its request.

Text in the JSON is UTF-8; bytes that are not appear as U+FFFD there, and as base64 beside it where the whole event is
asked for, so nothing is lost.
"""

import base64
from typing import Any
from urllib.parse import unquote_to_bytes

from ingress_gateway.instants import milliseconds_text
from trellis.capture.v1.event_pb2 import Event

Pair = tuple[bytes, bytes]
# What a client chose and may hold any bytes. The request itself is always given in base64 too, these where they must.
_LOSSY_FIELDS = ("event_type", "external_click_id", "host", "location", "idempotency_key")


def event_view(event: Event) -> dict[str, Any]:
    """Return an event as lists show it."""
    headers = header_pairs(event.headers)
    return {
        "event_id": event.event_id,
        "event_time": milliseconds_text(event.event_time_ms),
        "event_type": _text(event.event_type),
        "route": event.route,
        "click_id": event.click_id,
        "external_click_id": _text(event.external_click_id),
        "campaign_id": event.campaign_id,
        "campaign_version": event.campaign_version,
        "rule_id": event.rule_id,
        "destination_id": event.destination_id,
        "tags": list(event.tags),
        "user_id": event.user_id,
        "method": event.method,
        "url": _text(url_of(event)),
        "headers": [[_text(name), _text(value)] for name, value in headers],
        "params": [[_text(name), _text(value)] for name, value in query_pairs(event.target)],
        "ip": event.ip,
        "user_agent": _text(_first(headers, b"user-agent")),
        "referer": _text(_first(headers, b"referer")),
        "status": event.status,
        # Lists and look-ups read the store: what is elsewhere, or a duplicate, is not in them.
        "outcome": "stored",
        "location": _text(event.location),
        "marks": list(event.marks),
        "key_id": event.key_id,
        "partner_id": event.partner_id,
        "network": event.network,
        "idempotency_key": _text(event.idempotency_key),
        "item_index": event.item_index,
        "trace_id": event.trace_id,
    }


def whole_event_view(event: Event) -> dict[str, Any]:
    """Return an event with everything that arrived."""
    view = event_view(event) | {
        "scheme": event.scheme,
        "host": _text(event.host),
        "http_version": event.http_version,
        "peer_address": event.peer_address,
        "target": _text(event.target),
        "body": _text(event.body),
        "target_base64": _base64(event.target),
        "headers_base64": _base64(event.headers),
        "body_base64": _base64(event.body),
    }
    for name in _LOSSY_FIELDS:
        data: bytes = getattr(event, name)
        if _text(data).encode() != data:
            view[f"{name}_base64"] = _base64(data)
    return view


def raw_request(event: Event) -> bytes:
    """Return the request as it came: request line, header block, empty line, body."""
    line = b"%b %b HTTP/%b\r\n" % (event.method.encode(), event.target, event.http_version.encode())
    return b"".join((line, event.headers, b"\r\n", event.body))


def url_of(event: Event) -> bytes:
    """Return the absolute URL where there was one; a direct call of a service may have none."""
    if event.target.startswith(b"/"):
        return b"%b://%b%b" % (event.scheme.encode(), event.host, event.target)
    return event.target


def header_pairs(block: bytes) -> list[Pair]:
    """Return (name, value) of each line of a header block, in order."""
    pairs = (line.partition(b":") for line in block.split(b"\r\n"))
    return [(name, value.strip(b" \t")) for name, colon, value in pairs if name and colon]


def query_pairs(target: bytes) -> list[Pair]:
    """Return the decoded parameters of a target's query, in order, repeats kept."""
    pieces = (piece.partition(b"=") for piece in target.partition(b"?")[2].split(b"&") if piece)
    return [(_decoded(name), _decoded(value)) for name, _, value in pieces]


def _decoded(part: bytes) -> bytes:
    return unquote_to_bytes(part.replace(b"+", b" "))


def _first(pairs: list[Pair], wanted: bytes) -> bytes:
    return next((value for name, value in pairs if name.lower() == wanted), b"")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
