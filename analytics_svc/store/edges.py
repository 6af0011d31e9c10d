"""Edges as rows bring them: of pages, of months that are made again, of history.

An edge is written before its event is seen, and again as often as the page comes: rows of one edge and day merge into
one, whatever their order and number.
"""

import itertools
from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

from analytics_svc.identity.end import EndHasher
from analytics_svc.store.edge_rows import MADE, click_rows, named_rows
from analytics_svc.store.links import REFERENCE_KEYS
from analytics_svc.store.settling import Settling
from analytics_svc.store.touches import CONVERSION, key_of
from svc_runtime.clickhouse import ClickHouse, insert_rows, select

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

TABLE = "identity_edges"
_MOST_ROWS = 100_000


def keep_page(client: "Client", staged: str, settled: str, hasher: EndHasher) -> None:
    """Add the edges of the rows of ``staged``, which were settled into ``settled`` just now.

    And those of the clicks to which conversions refer of which at least one, click or conversion, is among them.
    """
    rows = named_rows(client, staged, hasher, "1")
    settling = Settling(client, staged, settled)
    if settling.count("clicks"):
        ids = f"SELECT arrayJoin(references) FROM {settling.table('conversions')}"  # noqa: S608 - our own text
        rows = itertools.chain(rows, click_rows(client, settling.table("clicks"), hasher, f"click_id IN ({ids})"))
    _insert(client, TABLE, rows)


def keep_rows(client: "Client", table: str, hasher: EndHasher, *, where: str = "1", target: str = TABLE) -> None:
    """Add the edges of settled rows, and of those of their clicks to which a conversion anywhere refers."""
    clicks = f"{where} AND event_type = 'click'"
    own = f"SELECT {key_of('click_id')} FROM {table} WHERE {clicks} AND {MADE}"  # noqa: S608 - our own text
    keys = f"SELECT key FROM reference_keys WHERE key IN ({own})"  # noqa: S608 - our own text
    referred = click_rows(client, table, hasher, f"{clicks} AND {key_of('click_id')} IN ({keys})")
    _insert(client, target, itertools.chain(named_rows(client, table, hasher, where), referred))


def keep_days(client: "Client", table: str, hasher: EndHasher, *, target: str = TABLE) -> None:
    """Do the same for a table that is large, a day at a time."""
    days = client.query(f"SELECT DISTINCT toDate(event_time, 'UTC') FROM {table}").result_rows  # noqa: S608 - ours
    for (day,) in days:
        keep_rows(client, table, hasher, where=_of_day(day), target=target)


def keep_clicks_of(client: "Client", conversions: str, hasher: EndHasher) -> None:
    """Add the edges of clicks, anywhere in ``events``, to which the rows of a table refer."""
    keys = f"SELECT arrayJoin({REFERENCE_KEYS}) FROM {conversions} WHERE {CONVERSION}"  # noqa: S608 - our own text
    at = f"event_time IN (SELECT event_time FROM click_keys WHERE key IN ({keys}))"  # noqa: S608 - our own text
    where = f"event_type = 'click' AND {at} AND {key_of('click_id')} IN ({keys})"
    _insert(client, TABLE, click_rows(client, "events", hasher, where))


def _of_day(day: date) -> str:
    return f"toDate(event_time, 'UTC') = '{day:%Y-%m-%d}'"


def _insert(client: "Client", target: str, rows: Iterable[bytes]) -> None:
    left = iter(rows)
    while block := b"".join(itertools.islice(left, _MOST_ROWS)):
        client.raw_insert(target, insert_block=block, fmt="RowBinary", settings={"insert_deduplicate": "0"})


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
        await self._clickhouse.run(lambda client: keep_rows(client, "events", self._hasher, where=_of_day(day)))

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
