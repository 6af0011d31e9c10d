"""Ending queries that nobody waits for any more."""

import asyncio
from typing import Any

from analytics_svc.store.connect import open_client, translate
from svc_runtime.clickhouse import ClickHouse, Dsn
from svc_runtime.logs import get_logger

QUERY_ID = "log_comment"
"""The setting that names a query: the embedded engine takes no query id."""
_KILL_AGAIN_SECONDS = 0.1
_log = get_logger(__name__)


class QueryKiller:
    """Ends queries by the value of their setting ``QUERY_ID``, on a connection of its own."""

    def __init__(self, dsn: Dsn) -> None:
        self._clickhouse = ClickHouse(dsn, open_client=open_client, translate=translate, name="killer")

    async def end(self, call: "asyncio.Future[Any]", query_id: str) -> None:
        """End the query that ``call`` waits for; return when it is over. What it came to is dropped."""
        while not call.done():
            # Again and again: it may not have begun when it is asked to end.
            await self._kill(query_id)
            await asyncio.wait([call], timeout=_KILL_AGAIN_SECONDS)
        if not call.cancelled():
            call.exception()

    async def _kill(self, query_id: str) -> None:
        try:
            await self._clickhouse.run(
                lambda client: client.command(
                    f"KILL QUERY WHERE Settings['{QUERY_ID}'] = {{query_id:String}} ASYNC",
                    parameters={"query_id": query_id},
                )
            )
        except Exception as error:  # noqa: BLE001 - it is tried again, and the query's own time limit ends it too
            _log.warning("an abandoned query could not be ended yet", query_id=query_id, error=repr(error))

    async def close(self) -> None:
        """Close the connection."""
        await self._clickhouse.close()
