"""Splits a batch into its items without parsing them: each keeps its bytes, and a bad one spoils no other."""

import re
from collections.abc import Iterator

import orjson

from ingress_gateway.payloads import WRITE_KEY_NAMES, write_key
from svc_runtime.errors import TooLargeError

_BATCH_NAMES = frozenset((b'"events"', b'"batch"', b'"data"'))
_KEY_NAMES = frozenset(b'"%b"' % name.encode() for name in WRITE_KEY_NAMES)
_NDJSON = frozenset(("application/x-ndjson", "application/ndjson", "application/jsonl"))
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_NOT_SPACE = re.compile(rb"[^ \t\r\n]")
# A text, whole or cut off, so that the marks inside of it are none; or a mark.
_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"?'
_MARK = re.compile(_TEXT + rb"|[\[\]{},]", re.DOTALL)
_MEMBER_MARK = re.compile(_TEXT + rb"|[\[\]{}:]", re.DOTALL)
_OPENING, _CLOSING = frozenset(b"[{"), frozenset(b"]}")


class _NoDocumentError(ValueError):
    """The bytes are not one JSON document, as far as its brackets tell."""


def split_batch(data: bytes, content_type: str, limit: int) -> list[bytes]:
    """Return the items of an array, of an object with `events`, `batch` or `data`, or of NDJSON, as they came.

    A body that cannot be split is one item. Raises TooLargeError when there are more than ``limit``.
    """
    if content_type in _NDJSON:
        return _lines(data, limit) or [data]
    text = data.removeprefix(_BYTE_ORDER_MARK)
    try:
        items = _items(text, limit)
    except _NoDocumentError:
        first_line = text.lstrip(_SPACE).partition(b"\n")[0].rstrip(_SPACE)
        is_lines = first_line.startswith(b"{") and first_line.endswith(b"}")
        return _lines(text, limit) if is_lines else [data]
    return [data] if items is None else items


def batch_key(data: bytes) -> str:
    """Return the write key of a batch that is an object, or the empty text."""
    text = data.removeprefix(_BYTE_ORDER_MARK)
    start = _not_space(text, 0)
    if b"wdn_" not in text or text[start : start + 1] != b"{":
        return ""
    members = {}
    try:
        for name, at in _members(text, start):
            if name in _KEY_NAMES and text[at : at + 1] == b'"':
                found = _MARK.match(text, at)
                members[name[1:-1].decode()] = orjson.loads(found[0]) if found else None
    except ValueError:
        return ""
    return write_key(members)


def _items(text: bytes, limit: int) -> list[bytes] | None:
    """Return the items of a batch, or None when the document is not one but a single item."""
    start = _not_space(text, 0)
    if text[start : start + 1] == b"[":
        items, end = _array(text, start, limit)
        if _not_space(text, end) < len(text):
            raise _NoDocumentError
        return items
    if text[start : start + 1] != b"{":
        return None
    batches = [at for name, at in _members(text, start) if name in _BATCH_NAMES and text[at : at + 1] == b"["]
    return _array(text, batches[0], limit)[0] if batches else None


def _array(text: bytes, start: int, limit: int) -> tuple[list[bytes], int]:
    """Return the items of the array at ``start``, and where it ends."""
    items: list[bytes] = []
    begin, depth = start + 1, 0
    for found in _MARK.finditer(text, start):
        at = found.start()
        mark = text[at]
        if mark in _OPENING:
            depth += 1
        elif mark in _CLOSING:
            depth -= 1
            if not depth:
                _add(items, text[begin:at].strip(_SPACE), limit, is_last=True)
                return items, at + 1
        elif mark == 0x2C and depth == 1:
            _add(items, text[begin:at].strip(_SPACE), limit)
            begin = at + 1
    raise _NoDocumentError


def _members(text: bytes, start: int) -> Iterator[tuple[bytes, int]]:
    """Yield each member of the object at ``start``: its name as it is written, and where its value begins."""
    name, depth = b"", 0
    for found in _MEMBER_MARK.finditer(text, start):
        at = found.start()
        mark = text[at]
        if mark in _OPENING:
            depth += 1
        elif mark in _CLOSING:
            depth -= 1
            if not depth:
                if _not_space(text, at + 1) < len(text):
                    break
                return
        elif depth == 1:
            if mark == 0x22:
                name = found[0]
            else:
                yield name, _not_space(text, at + 1)
    raise _NoDocumentError


def _lines(data: bytes, limit: int) -> list[bytes]:
    items: list[bytes] = []
    begin = 0
    while begin < len(data):
        end = data.find(b"\n", begin)
        end = len(data) if end == -1 else end
        _add(items, data[begin:end].strip(_SPACE), limit, is_last=True)
        begin = end + 1
    return items


def _add(items: list[bytes], item: bytes, limit: int, *, is_last: bool = False) -> None:
    """Take an item in; nothing at all is one only between two commas."""
    if not item and is_last:
        return
    if len(items) == limit:
        raise TooLargeError(f"the batch has more than {limit} items, the limit")
    items.append(item)


def _not_space(text: bytes, position: int) -> int:
    """Return where the next thing that is not white space begins; the end when there is none."""
    found = _NOT_SPACE.search(text, position)
    return found.start() if found else len(text)
