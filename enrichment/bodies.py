"""Reads the members of a body as parameters."""

import json
from collections.abc import Iterator
from typing import Any

from enrichment.parameters import Pair, query_pairs

MOST_MEMBERS = 1_000
"""Of a body; what comes after is not read."""
_DEEPEST = 4
# Where senders put what they say about the event itself: its members count under their own names too.
_PROMOTED = ("properties", "event_properties", "params", "parameters", "payload", "data", "custom_data")
_BYTE_ORDER_MARK = "\ufeff"
_FORM = b"application/x-www-form-urlencoded"


def body_pairs(body: bytes, content_type: bytes) -> list[Pair]:
    """Return name and value of each member of a form or of a JSON object, decoded, in order; nothing of other bodies.

    Numbers are as they are written, truth values ``true`` and ``false``, lists as JSON; a null is not there. A member
    of an object inside has a name with a point, ``context.ip``; one of ``properties`` and the like also its own, after
    all others.
    """
    if not body:
        return []
    if content_type.partition(b";")[0].strip().lower() == _FORM:
        return query_pairs(body)[:MOST_MEMBERS]
    value = _parsed(body)
    if not isinstance(value, dict):
        return []
    pairs = [pair for pair, _ in zip(_members(value, "", 1), range(MOST_MEMBERS), strict=False)]
    for name in _PROMOTED:
        inner = value.get(name)
        if isinstance(inner, dict):
            pairs += [pair for pair, _ in zip(_members(inner, "", 2), range(MOST_MEMBERS), strict=False)]
    return pairs


def _parsed(body: bytes) -> Any:
    """Return the document; None where it is none. Numbers stay texts: money must not become a float."""
    try:
        text = body.decode("utf-8").removeprefix(_BYTE_ORDER_MARK)
        return json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
    except (ValueError, RecursionError):
        return None


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _members(value: dict[str, Any], prefix: str, depth: int) -> Iterator[Pair]:
    for name, member in value.items():
        full = prefix + name
        if isinstance(member, dict):
            if depth < _DEEPEST:
                yield from _members(member, f"{full}.", depth + 1)
        elif member is not None:
            yield _encoded(full), _encoded(_text(member))


def _text(member: Any) -> str:
    if isinstance(member, str):
        return member
    try:
        return _written(member)
    except RecursionError:
        return ""


def _written(value: Any) -> str:
    """Return a value as JSON, its numbers as they were."""
    match value:
        case _Number():
            return str(value)
        case list():
            return f"[{','.join(map(_written, value))}]"
        case dict():
            return f"{{{','.join(f'{_written(name)}:{_written(member)}' for name, member in value.items())}}}"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
