"""Questions to the reading in ClickHouse: a few threads beside the one that writes."""

import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Self

from analytics_svc.statement import Rows, Statement
from analytics_svc.store.connect import open_client, translate
from svc_runtime.clickhouse import ClickHouse, Dsn, error_code
from svc_runtime.errors import QueryLimitError, TrellisError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MOST_ROWS = 100_000
RUN_SECONDS = 30
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
_LIMITS = {
    158: f"the query would read more rows than it may: {_NARROW}",
    159: f"the query ran longer than it may: {_NARROW}",
    160: f"the query would run longer than it may: {_NARROW}",
    191: f"the query keeps more values in memory than it may: {_NARROW}",
    241: f"the query needs more memory than it may have: {_NARROW}",
    307: f"the query would read more bytes than it may: {_NARROW}",
    396: f"the answer has more rows than the limit of {MOST_ROWS}: {_NARROW}, or page through it",
}


class ClickHouseReadingReader:
    """``ReadingReader`` with ``thread_count`` queries at a time."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, dsn: Dsn, *, thread_count: int = 4) -> AsyncIterator[Self]:
        """Hold the threads for the time of the block; the database is migrated already."""
        clickhouse = ClickHouse(
            dsn, open_client=open_client, translate=translate_query, thread_count=thread_count, name="reader"
        )
        try:
            yield cls(clickhouse)
        finally:
            await clickhouse.close()

    async def rows(self, statement: Statement) -> Rows:
        """See ``ReadingReader.rows``."""

        def work(client: "Client") -> Rows:
            began = time.monotonic()
            result = client.query(
                statement.sql,
                parameters=dict(statement.parameters),
                settings={**_SETTINGS, **statement.settings, "query_id": str(uuid.uuid4())},
            )
            summary = result.summary or {}
            return Rows(
                tuple(result.column_names),
                result.result_rows,
                int(summary.get("read_rows", 0)),
                int(summary.get("read_bytes", 0)),
                time.monotonic() - began,
            )

        return await self._clickhouse.run(work)


def translate_query(error: Exception) -> TrellisError:
    """Turn a driver's error into ours, with its code alone: its text quotes rows."""
    code = error_code(error)
    if code in _LIMITS:
        return QueryLimitError(_LIMITS[code])
    return translate(error)
