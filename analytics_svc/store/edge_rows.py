"""What rows of ``events`` are as edges: whom each names, by its own columns, never by what settling gave it."""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from analytics_svc.identity.end import Edge, End, EndHasher, EndKind, edges_of
from analytics_svc.projection import row_binary as rb
from analytics_svc.store.touches import own_values
from enrichment.identities import NAMES, Identifiers, read_identifiers

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MADE = "(click_id != '' AND user_id != '' AND NOT startsWith(user_id, 'usr_h'))"
"""A click has an id of ours, and a visitor of whom we know more than address and browser."""
_USER = own_values()["user_id"]
_CONVERSION = "(conversion_event != '' AND event_type != 'click')"
# The ids that our gateways give to clicks look so: what a partner takes for a click's id joins nobody.
_OURS = "match({}, '^[A-Za-z0-9_-]{{22}}$')"
_CLICKS = f"arraySort(arrayDistinct(arrayFilter(id -> {_OURS.format('id')}, references)))"
_PAIRS = "CAST(params, 'Array(Tuple(String, String))')"
_GIVEN = f"arraySort(arrayFilter(pair -> lower(pair.1) IN {{names:Array(String)}}, {_PAIRS}))"
# `hasAny` takes ten times as long.
_NAMES_ANY = "arrayExists(name -> lower(name) IN {names:Array(String)}, params.keys)"
# A visitor whom a gateway told by address and browser alone is none.
_NAMED = f"""
SELECT organization_id, visitor, converts, if(converts AND visitor = '', toString(event_id), '') AS event,
    toUInt16(toDate(event_time, 'UTC')) AS day, order_id, clicks, given.1, given.2,
    min((toUnixTimestamp64Milli(event_time), event_id)) AS evidence, max(toUnixTimestamp64Milli(event_time))
FROM (
    SELECT organization_id, event_id, event_time, order_id, {_GIVEN} AS given,
        if(converts, {_CLICKS}, []) AS clicks,
        if(startsWith({_USER}, 'usr_h'), '', {_USER}) AS visitor, toUInt8({_CONVERSION}) AS converts
    FROM {{table}} WHERE {{where}} AND (order_id != '' OR notEmpty(references) OR {_NAMES_ANY})
)
GROUP BY organization_id, visitor, converts, event, day, order_id, clicks, given
"""  # noqa: S608 - our own text
_uint16 = struct.Struct("<H").pack


class _Named(NamedTuple):
    """What events of one visitor and day, or one event, name."""

    organization_id: str
    visitor_id: str
    is_conversion: bool
    event_id: str
    day: int
    """Since 1970."""
    order_id: str
    click_ids: tuple[str, ...]
    identifiers: Identifiers
    first_ms: int
    first_event: bytes
    """As the engine writes a UUID."""
    last_ms: int


def named_rows(client: "Client", table: str, hasher: EndHasher, where: str) -> Iterator[bytes]:
    """Yield the edges of what rows name, which have the columns of ``events``, settled or not."""
    statement = _NAMED.replace("{table}", table).replace("{where}", where)
    answer = rb.Reader(client.raw_query(statement, parameters={"names": [*NAMES]}, fmt="RowBinary"))
    for named in _read(answer):
        ends = hasher.ends(named.organization_id, named.identifiers, named.order_id, named.click_ids)
        head = rb.text(named.organization_id) + _uint16(named.day) + rb.text(hasher.edition)
        seen = rb.int64(named.first_ms) + named.first_event + rb.int64(named.last_ms)
        for edge in edges_of(named.visitor_id, named.event_id, ends, is_conversion=named.is_conversion):
            yield from _both(edge, head, seen)


def click_rows(client: "Client", table: str, hasher: EndHasher, where: str) -> Iterator[bytes]:
    """Yield the edges between clicks, as our ids name them, and the visitors who made them."""
    answer = rb.Reader(
        client.raw_query(
            "SELECT organization_id, toUInt16(toDate(event_time, 'UTC')), user_id, click_id,"  # noqa: S608 - our own text
            f" toUnixTimestamp64Milli(event_time), event_id FROM {table}"
            f" WHERE {where} AND {MADE} AND {_OURS.format('click_id')}",
            fmt="RowBinary",
        )
    )
    while not answer.is_over:
        organization_id, day = _text(answer.text()), answer.take(2)
        made = End(EndKind.VISITOR, _text(answer.text()))
        click = hasher.end(organization_id, EndKind.CLICK, _text(answer.text()))
        at = answer.take(8)
        head = rb.text(organization_id) + day + rb.text(hasher.edition)
        yield from _both(Edge.between(made, click), head, at + answer.take(16) + at)


def _both(edge: Edge, head: bytes, seen: bytes) -> tuple[bytes, bytes]:
    """Return the rows of an edge, one from either side."""
    one, other = rb.text(str(edge.one)), rb.text(str(edge.other))
    return head + one + other + seen, head + other + one + seen


def _read(answer: rb.Reader) -> Iterator[_Named]:
    while not answer.is_over:
        organization_id, visitor_id = answer.text(), answer.text()
        is_conversion, event_id = bool(answer.uint8()), answer.text()
        day = int.from_bytes(answer.take(2), "little")
        order_id, clicks, given, values = answer.text(), answer.texts(), answer.texts(), answer.texts()
        first_ms, first_event = int.from_bytes(answer.take(8), "little", signed=True), answer.take(16)
        last_ms = int.from_bytes(answer.take(8), "little", signed=True)
        yield _Named(
            _text(organization_id),
            _text(visitor_id),
            is_conversion,
            _text(event_id),
            day,
            _text(order_id),
            tuple(map(_text, clicks)),
            read_identifiers(zip(given, values, strict=True)),
            first_ms,
            first_event,
            last_ms,
        )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
