"""Makes out what a body holds, as far as capture needs it. What is odd is marked, never refused."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

from ingress_gateway import click_ids

_DEEPEST = 1000
LONGEST_TYPE = 128
_TYPE_NAMES = ("event", "event_type", "type", "name")
_KEY_NAMES = ("idempotency_key", "event_id", "messageId", "message_id")
_BATCH_NAMES = ("events", "batch", "data")
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
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
        found = _first_text(self.fields, WRITE_KEY_NAMES, 256).decode("utf-8", "replace")
        return found if found.startswith("wdn_") else ""

    def external_click_id(self) -> bytes:
        """Return the source's click id."""
        return click_ids.in_object(self.fields)


def _first_text(fields: dict[str, Any], names: tuple[str, ...], limit: int) -> bytes:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value.encode("utf-8", "surrogatepass")[:limit]
    return b""


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
    if _depth(payload.data) > _DEEPEST:
        payload.marks.append("too_deep")
        return
    try:
        payload.value = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        payload.marks.append("malformed_json")
        return
    if text.startswith("\ufeff"):
        payload.marks.append("byte_order_mark")
    elif "\\ud" in text or "\\uD" in text:
        payload.marks.append("lone_surrogate")
    else:
        payload.marks.append("nonstandard_number")


def _depth(data: bytes) -> int:
    """Return how deep brackets nest; those inside of texts count too, which only errs to the safe side."""
    deepest = depth = 0
    for bracket in data.translate(None, delete=_NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def split_batch(data: bytes, content_type: str) -> list[Payload]:
    """Split a batch: an array, an object with `events` / `batch` / `data`, NDJSON, or one object.

    Each item keeps its own bytes as they came. A body that cannot be split is one item, with the reason in its marks.
    """
    if content_type in ("application/x-ndjson", "application/ndjson", "application/jsonl"):
        return [parse_item(line) for line in data.split(b"\n") if line.strip()] or [parse_item(data)]
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
        return [parse_item(text[start:end].encode()) for start, end in _elements(text)]
    except UnicodeDecodeError:
        return [parse_item(data)]
    except (ValueError, IndexError, RecursionError):
        lines = [line for line in data.split(b"\n") if line.strip()]
        if len(lines) > 1 and lines[0].lstrip()[:1] == b"{":
            return [parse_item(line) for line in lines]
        return [parse_item(data)]


def _elements(text: str) -> list[tuple[int, int]]:
    """Return where each item of a batch begins and ends; raise ValueError when the text is no JSON."""
    start = _skip(text, 0)
    if text[start] == "[":
        spans, end = _array(text, start)
    else:
        spans, end = _object(text, start)
    if _skip(text, end) != len(text):
        raise ValueError("something follows the batch")
    return spans


def _object(text: str, start: int) -> tuple[list[tuple[int, int]], int]:
    """Walk an object's members for the array of items; an object without one is itself the item."""
    _, end = _DECODER.raw_decode(text, start)
    if text[start] != "{":
        return [(start, end)], end
    position = _skip(text, start + 1)
    while text[position] != "}":
        name, position = _DECODER.raw_decode(text, position)
        position = _skip(text, _skip(text, position) + 1)
        if name in _BATCH_NAMES and text[position] == "[":
            return _array(text, position)[0], end
        _, position = _DECODER.raw_decode(text, position)
        position = _skip(text, position)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return [(start, end)], end


def _array(text: str, start: int) -> tuple[list[tuple[int, int]], int]:
    spans: list[tuple[int, int]] = []
    position = _skip(text, start + 1)
    while text[position] != "]":
        _, end = _DECODER.raw_decode(text, position)
        spans.append((position, end))
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
        elif text[position] != "]":
            raise ValueError("no comma between two items")
    return spans, position + 1


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


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
