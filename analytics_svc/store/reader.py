"""Questions to the reading in ClickHouse: a few threads beside the one that writes."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from analytics_svc.admission import Admission, Capacity, Weight
from analytics_svc.statement import ORGANIZATION, Rows, Statement, bytes_for_tenants, rows_for_tenants
from analytics_svc.store.connect import open_client, translate
from analytics_svc.store.killer import QUERY_ID, QueryKiller
from svc_runtime.clickhouse import ClickHouse, Dsn, error_code
from svc_runtime.errors import QueryLimitError, TrellisError
from svc_runtime.tasks import uninterrupted

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MOST_ROWS = 100_000
RUN_SECONDS = 30
_MEMORY_BYTES = 1024**3
_SETTINGS = {
    "readonly": "2",
    "max_execution_time": str(RUN_SECONDS),
    "timeout_overflow_mode": "throw",
    "max_result_rows": str(MOST_ROWS),
    "result_overflow_mode": "throw",
    # Neither cache knows about organisations.
    "use_query_cache": "0",
    "use_query_condition_cache": "0",
    "session_timezone": "UTC",
}
_NARROW = "ask for a shorter time range, a narrower filter, or fewer dimensions"
_MEMORY_CODE = 241
_LIMITS = {
    158: f"the query would read more rows than it may: {_NARROW}",
    159: f"the query ran longer than {RUN_SECONDS} s: {_NARROW}",
    160: f"the query would run longer than {RUN_SECONDS} s: {_NARROW}",
    191: f"the query keeps more values in memory than it may: {_NARROW}",
    _MEMORY_CODE: f"the query needs more memory than it may have: {_NARROW}",
    307: f"the query would read more bytes than it may: {_NARROW}",
    396: f"the answer has more rows than the limit of {MOST_ROWS}: {_NARROW}, or page through it",
}


class QueryMemoryError(QueryLimitError):
    """A query needs more memory than it may have."""


class ClickHouseReadingReader:
    """``ReadingReader`` with ``thread_count`` queries at a time, each of them admitted."""

    def __init__(self, clickhouse: ClickHouse, killer: QueryKiller, admission: Admission, weight: Weight) -> None:
        self._clickhouse = clickhouse
        self._killer = killer
        self._admission = admission
        self._weight = weight

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        dsn: Dsn,
        *,
        thread_count: int = 4,
        admission: Admission | None = None,
        weight: Weight | None = None,
    ) -> AsyncIterator[Self]:
        """Hold the threads for the time of the block; the database is migrated already.

        Queries are let in by ``admission``, with ``weight``; by default as many as there are threads.
        """
        if weight is None:
            weight = Weight(
                "report", _MEMORY_BYTES, running_per_organization=thread_count, waiting_per_organization=200
            )
        admission = admission or Admission(Capacity(thread_count, thread_count * weight.memory_bytes))
        clickhouse = ClickHouse(
            dsn, open_client=open_client, translate=translate_query, thread_count=thread_count, name="reader"
        )
        killer = QueryKiller(dsn)
        try:
            yield cls(clickhouse, killer, admission, weight)
        finally:
            await killer.close()
            await clickhouse.close()

    def weighing(self, weight: Weight) -> Self:
        """Return a reader with the same threads whose queries are admitted with another weight."""
        return type(self)(self._clickhouse, self._killer, self._admission, weight)

    async def rows(self, statement: Statement) -> Rows:
        """See ``ReadingReader.rows``."""
        async with self._admission.admitted(str(statement.parameters.get(ORGANIZATION, "")), self._weight):
            try:
                return await self._run(statement)
            except QueryMemoryError:
                if not statement.can_spill:
                    raise
            spilling = {"max_bytes_before_external_group_by": str(self._weight.engine_memory_bytes // 5)}
            return await self._run(replace(statement, settings={**statement.settings, **spilling}))

    async def _run(self, statement: Statement) -> Rows:
        query_id = str(uuid.uuid4())
        call = asyncio.ensure_future(self._clickhouse.run(lambda client: self._ask(client, statement, query_id)))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await uninterrupted(self._killer.end(call, query_id))
            raise

    def _ask(self, client: "Client", statement: Statement, query_id: str) -> Rows:
        began = time.monotonic()
        own = {"max_memory_usage": str(self._weight.engine_memory_bytes), QUERY_ID: query_id, "query_id": query_id}
        result = client.query(
            statement.sql,
            parameters=dict(statement.parameters),
            settings={**_SETTINGS, **own, **statement.settings},
        )
        summary = result.summary or {}
        return Rows(
            tuple(result.column_names),
            result.result_rows,
            rows_for_tenants(int(summary.get("read_rows", 0))),
            bytes_for_tenants(int(summary.get("read_bytes", 0))),
            time.monotonic() - began,
        )


def translate_query(error: Exception) -> TrellisError:
    """Turn a driver's error into ours, with its code alone: its text quotes rows."""
    code = error_code(error)
    if code == _MEMORY_CODE:
        return QueryMemoryError(_LIMITS[code])
    if code in _LIMITS:
        return QueryLimitError(_LIMITS[code])
    return translate(error)
