"""An event as a row of the warehouse's table. Pure.

The table is the specification's: a few columns for common queries, and ``request_data`` with all the rest of what
arrived, order and repeats kept. Bytes are text where they are UTF-8. Where they are not, ``request_data`` has
``{"base64": …}`` in the place of the text (for the body, base64 and a flag), and a column has U+FFFD.
"""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

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


def _byte_batch_class() -> Any:
    """Return EventBatch with every ``string`` as ``bytes``.

    Events come here undecoded, so nobody has checked that their strings are UTF-8. The real class refuses a whole
    batch for one that is not, and the mirror would stand still for it.
    """
    file = descriptor_pb2.FileDescriptorProto()
    event_pb2.DESCRIPTOR.CopyToProto(file)
    for message in file.message_type:
        for field in message.field:
            if field.type == field.TYPE_STRING:
                field.type = field.TYPE_BYTES
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(event_pb2.EventBatch.DESCRIPTOR.full_name))


_ByteBatch = _byte_batch_class()


def rows_of(events: bytes, *, ingested_at: datetime) -> Iterator[Row]:
    """Turn an encoded EventBatch into rows, in its order. Errors: DecodeError (not an EventBatch)."""
    ingested = _timestamp(ingested_at)
    for event in _ByteBatch.FromString(events).events:
        columns = {**_columns(event), "ingested_at": ingested}
        yield Row((_text(event.journal_id), event.sequence), orjson.dumps(columns, option=orjson.OPT_APPEND_NEWLINE))


def _columns(event: Any) -> dict[str, Any]:
    """Return the specification's columns; those that a query may look for are null where the event has nothing."""
    headers, params = header_pairs(event.headers), query_pairs(event.target)
    return {
        "organization_id": _text(event.organization_id),
        "event_id": _text(event.event_id),
        "timestamp": _event_time(event.event_time_ms),
        "request_data": _request_data(event, headers, params),
        "event_type": _text(event.event_type) or None,
        "click_id": _text(event.click_id) or None,
        "session_id": _param(params, b"session_id"),
        "source": _param(params, b"source", b"utm_source"),
        "medium": _param(params, b"medium", b"utm_medium"),
        "campaign": _param(params, b"campaign", b"utm_campaign"),
    }


def _request_data(event: Any, headers: Pairs, params: Pairs) -> dict[str, Any]:
    body, body_is_base64 = _body(event.body)
    return {
        "method": _exact(event.method),
        "url": _exact(url(event.scheme, event.host, event.target)),
        "http_version": _exact(event.http_version),
        "headers": [(_exact(name), _exact(value)) for name, value in headers],
        "query_params": [(_exact(name), _exact(value)) for name, value in params],
        "body": body,
        "body_is_base64": body_is_base64,
        "ip": _exact(event.ip),
        "peer_address": _exact(event.peer_address),
        "user_agent": _exact(_header(headers, b"user-agent")),
        "referer": _exact(_header(headers, b"referer")),
        "marks": [_exact(mark) for mark in event.marks],
        "route": _exact(event.route),
        "status": event.status,
        "location": _exact(event.location),
        "external_click_id": _exact(event.external_click_id),
        "user_id": _exact(event.user_id),
        "campaign_id": _exact(event.campaign_id),
        "campaign_version": event.campaign_version,
        "key_id": _exact(event.key_id),
        "idempotency_key": _exact(event.idempotency_key),
        "item_index": event.item_index,
        "trace_id": _exact(event.trace_id),
        "journal_id": _exact(event.journal_id),
        "sequence": event.sequence,
    }


def header_pairs(block: bytes) -> Pairs:
    """Split a header block into names and values, in order, repeats kept."""
    lines = (line.partition(b":") for line in block.split(b"\r\n") if line)
    return [(name, value.strip(b" \t")) for name, _, value in lines]


def query_pairs(target: bytes) -> Pairs:
    """Split and decode the query of a request target, in order, repeats kept."""
    query = target.partition(b"?")[2].partition(b"#")[0]
    items = (item.partition(b"=") for item in query.split(b"&") if item)
    return [(_decoded(name), _decoded(value)) for name, _, value in items]


def url(scheme: bytes, host: bytes, target: bytes) -> bytes:
    """Return the URL that the client asked for; a target that is a whole URL stands for itself."""
    return scheme + b"://" + host + target if target.startswith(b"/") else target


def _decoded(component: bytes) -> bytes:
    return unquote_to_bytes(component.replace(b"+", b" "))


def _header(headers: Pairs, name: bytes) -> bytes:
    return next((value for found, value in headers if found.lower() == name), b"")


def _param(params: Pairs, *names: bytes) -> str | None:
    """Return the first value that is not empty, names in the order of their rank."""
    for name in names:
        for found, value in params:
            if found == name and value:
                return _text(value)
    return None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _exact(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def _body(value: bytes) -> tuple[str, bool]:
    try:
        return value.decode("utf-8"), False
    except UnicodeDecodeError:
        return b64encode(value).decode(), True


def _event_time(event_time_ms: int) -> str:
    try:
        return _timestamp(datetime.fromtimestamp(event_time_ms / 1000, UTC))
    except (ValueError, OverflowError, OSError):
        # No calendar has it. The warehouse will refuse the row, and it is set aside as any refused row is.
        return f"{event_time_ms} ms"


def _timestamp(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
