"""Makes out what a body holds, as far as capture needs it. What is odd is marked, never refused."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

from ingress_gateway import click_ids

LONGEST_TYPE = 128
_TYPE_NAMES = ("event", "event_type", "type", "name")
_KEY_NAMES = ("idempotency_key", "event_id", "messageId", "message_id")
WRITE_KEY_NAMES = ("k", "key", "write_key", "writeKey", "api_key")


@dataclass(slots=True)
class Payload:
    """One item of a body."""

    data: bytes
    """Its bytes, as they came where they could be told apart."""
    value: Any = None
    """The parsed JSON, where there is one."""
    marks: list[str] = field(default_factory=list)

    @property
    def fields(self) -> dict[str, Any]:
        """The object, or an empty one."""
        return self.value if isinstance(self.value, dict) else {}

    def event_type(self, default: bytes) -> bytes:
        """Return what the client calls it."""
        return _first_text(self.fields, _TYPE_NAMES, LONGEST_TYPE) or default

    def idempotency_key(self) -> bytes:
        """Return the client's own id of the event."""
        return _first_text(self.fields, _KEY_NAMES, 256)

    def write_key(self) -> str:
        """Return the key that names the organisation, where the body carries one."""
        return write_key(self.fields)

    def external_click_id(self) -> bytes:
        """Return the source's click id."""
        return click_ids.in_object(self.fields)


def _first_text(fields: dict[str, Any], names: tuple[str, ...], limit: int) -> bytes:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value.encode("utf-8", "surrogatepass")[:limit]
    return b""


def write_key(fields: dict[str, Any]) -> str:
    """Return the publishable or secret key among an object's members, or the empty text."""
    found = _first_text(fields, WRITE_KEY_NAMES, 256).decode("utf-8", "replace")
    return found if found.startswith("wdn_") else ""


def parse_item(data: bytes) -> Payload:
    """Parse one JSON document."""
    if not data.strip():
        return Payload(data, None, ["empty_body"])
    payload = Payload(data)
    try:
        payload.value = orjson.loads(data)
    except orjson.JSONDecodeError:
        _parse_odd(payload)
    if b"\0" in data or b"\\u0000" in data:
        payload.marks.append("nul")
    if payload.value is not None and not isinstance(payload.value, dict):
        payload.marks.append("not_an_object")
    return payload


def _parse_odd(payload: Payload) -> None:
    """Say why strict JSON it is not; use what a lenient parser makes of it."""
    try:
        text = payload.data.decode("utf-8")
    except UnicodeDecodeError:
        payload.marks.append("invalid_utf8")
        return
    try:
        payload.value = json.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        payload.marks.append("too_deep")
        return
    except ValueError:
        payload.marks.append("malformed_json")
        return
    if text.startswith("\ufeff"):
        payload.marks.append("byte_order_mark")
    elif "\\ud" in text or "\\uD" in text:
        payload.marks.append("lone_surrogate")
    else:
        payload.marks.append("nonstandard_number")


def parse_form(data: bytes) -> Payload:
    """Parse a form body; the first value of a name wins here, the bytes keep them all."""
    try:
        pairs = parse_qsl(data.decode("latin-1"), keep_blank_values=True, max_num_fields=10_000)
    except ValueError:
        return Payload(data, None, ["malformed_form"])
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return Payload(data, fields)


def query_fields(query: bytes) -> dict[str, str]:
    """Parse a raw query; the first value of a name wins."""
    return {name: value for name, value in reversed(list(_query_pairs(query)))}  # noqa: C416 - the first one wins


def _query_pairs(query: bytes) -> Iterator[tuple[str, str]]:
    try:
        yield from parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=10_000, encoding="latin-1")
    except ValueError:
        return
