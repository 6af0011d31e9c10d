"""Edges of rows: who an event names, taken from its own columns, never from what settling gave it.

An edge is written before its event is seen, and again as often as the page comes: rows of one edge and day merge into
one, whatever their order and number.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from analytics_svc.identity.end import Edge, End, EndHasher, EndKind, edges_of
from analytics_svc.projection import row_binary as rb
from analytics_svc.store.links import REFERENCE_KEYS
from analytics_svc.store.settling import Settling
from analytics_svc.store.touches import CONVERSION, key_of, own_values
from enrichment.identities import NAMES, Identifiers, read_identifiers
from svc_runtime.clickhouse import ClickHouse, insert_rows, select

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

TABLE = "identity_edges"
_USER = own_values()["user_id"]
_CONVERSION = "(conversion_event != '' AND event_type != 'click')"
_MADE = "(click_id != '' AND user_id != '' AND NOT startsWith(user_id, 'usr_h'))"
# The ids that our gateways give to clicks look so: what a partner takes for a click's id joins nobody.
_OURS = "match({}, '^[A-Za-z0-9_-]{{22}}$')"
_CLICKS = f"arraySort(arrayDistinct(arrayFilter(id -> {_OURS.format('id')}, references)))"
_PAIRS = "CAST(params, 'Array(Tuple(String, String))')"
_GIVEN = f"arraySort(arrayFilter(pair -> lower(pair.1) IN {{names:Array(String)}}, {_PAIRS}))"
# `hasAny` takes ten times as long.
_NAMES_ANY = "arrayExists(name -> lower(name) IN {names:Array(String)}, params.keys)"
# A visitor whom a gateway told by address and browser alone is none.
_NAMED = f"""
SELECT organization_id, visitor, is_conversion, if(is_conversion AND visitor = '', toString(event_id), '') AS event,
    toUInt16(toDate(event_time, 'UTC')) AS day, order_id, clicks, given.1, given.2,
    min((toUnixTimestamp64Milli(event_time), event_id)) AS evidence, max(toUnixTimestamp64Milli(event_time))
FROM (
    SELECT organization_id, event_id, event_time, order_id, {_GIVEN} AS given,
        if(is_conversion, {_CLICKS}, []) AS clicks,
        if(startsWith({_USER}, 'usr_h'), '', {_USER}) AS visitor, toUInt8({_CONVERSION}) AS is_conversion
    FROM {{table}} WHERE {{where}} AND (order_id != '' OR notEmpty(references) OR {_NAMES_ANY})
)
GROUP BY organization_id, visitor, is_conversion, event, day, order_id, clicks, given
"""  # noqa: S608 - our own text
_MOST_ROWS = 100_000
_uint16 = struct.Struct("<H").pack


@dataclass(frozen=True, slots=True)
class _Named:
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


def keep_edges(client: "Client", table: str, hasher: EndHasher, *, where: str = "1", target: str = TABLE) -> None:
    """Add the edges of the rows of ``table``, which has the columns of ``events``, settled or not."""
    names = {"names": [*NAMES]}
    answer = rb.Reader(
        client.raw_query(_NAMED.replace("{table}", table).replace("{where}", where), parameters=names, fmt="RowBinary")
    )
    rows: list[bytes] = []
    for named in _read(answer):
        rows += _rows_of(named, hasher)
        if len(rows) >= _MOST_ROWS:
            _insert(client, target, rows)
            rows = []
    _insert(client, target, rows)


def keep_matched_clicks(client: "Client", settled: str, hasher: EndHasher) -> None:
    """Add the edges of clicks to which conversions refer, when a page was settled into ``settled``."""
    settling = Settling(client, "", settled)
    ids = f"SELECT arrayJoin(references) FROM {settling.table('conversions')}"  # noqa: S608 - our own text
    if settling.count("clicks"):
        _keep_clicks(client, settling.table("clicks"), hasher, f"click_id IN ({ids})", TABLE)


def keep_clicks_of(client: "Client", conversions: str, hasher: EndHasher) -> None:
    """Add the edges of clicks, anywhere in ``events``, to which the rows of a table refer."""
    keys = f"SELECT arrayJoin({REFERENCE_KEYS}) FROM {conversions} WHERE {CONVERSION}"  # noqa: S608 - our own text
    at = f"event_time IN (SELECT event_time FROM click_keys WHERE key IN ({keys}))"  # noqa: S608 - our own text
    _keep_clicks(client, "events", hasher, f"event_type = 'click' AND {at} AND {key_of('click_id')} IN ({keys})", TABLE)


def _keep_referenced_clicks(client: "Client", table: str, hasher: EndHasher, where: str, target: str) -> None:
    clicks = f"{where} AND event_type = 'click'"
    own = f"SELECT {key_of('click_id')} FROM {table} WHERE {clicks} AND {_MADE}"  # noqa: S608 - our own text
    keys = f"SELECT key FROM reference_keys WHERE key IN ({own})"  # noqa: S608 - our own text
    _keep_clicks(client, table, hasher, f"{clicks} AND {key_of('click_id')} IN ({keys})", target)


def _keep_clicks(client: "Client", table: str, hasher: EndHasher, where: str, target: str) -> None:
    """Add the edges between clicks, as our ids name them, and the visitors who made them."""
    answer = rb.Reader(
        client.raw_query(
            "SELECT organization_id, toUInt16(toDate(event_time, 'UTC')), user_id, click_id,"  # noqa: S608 - our own text
            f" toUnixTimestamp64Milli(event_time), event_id FROM {table}"
            f" WHERE {where} AND {_MADE} AND {_OURS.format('click_id')}",
            fmt="RowBinary",
        )
    )
    rows: list[bytes] = []
    while not answer.is_over:
        organization_id, day = _text(answer.text()), answer.take(2)
        made = End(EndKind.VISITOR, _text(answer.text()))
        click = hasher.end(organization_id, EndKind.CLICK, _text(answer.text()))
        at = answer.take(8)
        head = rb.text(organization_id) + day + rb.text(hasher.edition)
        rows += _both(Edge.between(made, click), head, at + answer.take(16) + at)
    _insert(client, target, rows)


def keep_edges_of_days(
    client: "Client", table: str, hasher: EndHasher, *, where: str = "1", target: str = TABLE
) -> None:
    """Do the same a day at a time, for tables that are large."""
    days = client.query(f"SELECT DISTINCT toDate(event_time, 'UTC') FROM {table} WHERE {where}").result_rows  # noqa: S608
    for (day,) in days:
        keep_all_edges(client, table, hasher, where=f"{where} AND {_of_day(day)}", target=target)


def keep_all_edges(client: "Client", table: str, hasher: EndHasher, *, where: str = "1", target: str = TABLE) -> None:
    """Add the edges of settled rows: those of ``keep_edges``, and of their clicks to which anything refers."""
    keep_edges(client, table, hasher, where=where, target=target)
    _keep_referenced_clicks(client, table, hasher, where, target)


def _of_day(day: date) -> str:
    return f"toDate(event_time, 'UTC') = '{day:%Y-%m-%d}'"


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


def _rows_of(named: _Named, hasher: EndHasher) -> Iterator[bytes]:
    ends = hasher.ends(named.organization_id, named.identifiers, named.order_id, named.click_ids)
    head = rb.text(named.organization_id) + _uint16(named.day) + rb.text(hasher.edition)
    seen = rb.int64(named.first_ms) + named.first_event + rb.int64(named.last_ms)
    for edge in edges_of(named.visitor_id, named.event_id, ends, is_conversion=named.is_conversion):
        yield from _both(edge, head, seen)


def _both(edge: Edge, head: bytes, seen: bytes) -> tuple[bytes, bytes]:
    """Return the rows of an edge, one from either side."""
    one, other = rb.text(str(edge.one)), rb.text(str(edge.other))
    return head + one + other + seen, head + other + one + seen


def _insert(client: "Client", target: str, rows: Sequence[bytes]) -> None:
    if rows:
        client.raw_insert(target, insert_block=b"".join(rows), fmt="RowBinary", settings={"insert_deduplicate": "0"})


class ClickHouseEdges:
    """``EdgeHistory`` on the tables ``events``, ``identity_edges`` and ``identity_months``."""

    def __init__(self, clickhouse: ClickHouse, hasher: EndHasher) -> None:
        self._clickhouse = clickhouse
        self._hasher = hasher

    async def missing_months(self) -> list[date]:
        """See ``EdgeHistory.missing_months``."""
        rows = await select(
            self._clickhouse,
            "SELECT DISTINCT toStartOfMonth(event_time) AS month FROM events WHERE month NOT IN"
            " (SELECT month FROM identity_months WHERE edition = {edition:String}) ORDER BY month DESC",
            {"edition": self._hasher.edition},
        )
        return [row[0] for row in rows]

    async def days(self, month: date) -> list[date]:
        """See ``EdgeHistory.days``."""
        rows = await select(
            self._clickhouse,
            "SELECT DISTINCT toDate(event_time, 'UTC') AS day FROM events"
            " WHERE toYYYYMM(event_time) = {month:UInt32} ORDER BY day",
            {"month": month.year * 100 + month.month},
        )
        return [row[0] for row in rows]

    async def keep_day(self, day: date) -> None:
        """See ``EdgeHistory.keep_day``."""
        await self._clickhouse.run(lambda client: keep_all_edges(client, "events", self._hasher, where=_of_day(day)))

    async def keep_month(self, month: date) -> None:
        """See ``EdgeHistory.keep_month``."""
        row = [month, self._hasher.edition]
        await insert_rows(self._clickhouse, "identity_months", {"month": "Date", "edition": "String"}, [row])

    async def drop_others(self) -> None:
        """See ``EdgeHistory.drop_others``."""
        await self._clickhouse.run(self._drop_others)

    def _drop_others(self, client: "Client") -> None:
        others = "edition != {edition:String}"
        values = {"edition": self._hasher.edition}
        for table in (TABLE, "identity_months"):
            if client.query(f"SELECT 1 FROM {table} WHERE {others} LIMIT 1", parameters=values).result_rows:  # noqa: S608 - our own table
                client.command(f"DELETE FROM {table} WHERE {others}", parameters=values)  # noqa: S608 - our own table
