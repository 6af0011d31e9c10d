"""A connection to ClickHouse: the engine in this process (chDB) or a server. The DSN decides; the code path is one."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from analytics_svc.store.dsn import Dsn
from svc_runtime.errors import UnavailableError

# An insert is over when it is on disk. One thread inserts, so a page makes one part per month.
_SETTINGS = {"async_insert": "0", "max_insert_threads": "1", "session_timezone": "UTC", "wait_end_of_query": "1"}
_UNKNOWN_DATABASE = 81
_T = TypeVar("_T")


def open_client(dsn: Dsn) -> Client:
    """Open a client, and make its database where there is none. Blocks; raises the driver's errors."""
    if directory := dsn.client.get("path"):
        Path(directory).mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return _open(dsn, dsn.database)
    except ClickHouseError as error:
        if not isinstance(error, Error) or error.code != _UNKNOWN_DATABASE:
            raise
    client = _open(dsn, "default")
    try:
        client.command("CREATE DATABASE IF NOT EXISTS {name:Identifier}", parameters={"name": dsn.database})
        return _open(dsn, dsn.database)
    finally:
        client.close()


def _open(dsn: Dsn, database: str) -> Client:
    return clickhouse_connect.get_client(database=database, settings={**_SETTINGS, **dsn.settings}, **dsn.client)


class ClickHouse:
    """One worker thread with one client: statements run one after the other, and the event loop never waits."""

    def __init__(self, dsn: Dsn) -> None:
        self.dsn = dsn
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="clickhouse")
        self._client: Client | None = None

    async def run(self, work: Callable[[Client], _T]) -> _T:
        """Run ``work`` with the client in the worker thread.

        A cancelled caller leaves at once; the work itself goes on to its end. Raise UnavailableError for every error
        of the driver: its text, which may quote rows, is left behind.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    async def close(self) -> None:
        """Wait for what runs, then close the client, and with it an embedded engine."""
        await asyncio.to_thread(self._thread.shutdown)
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    def _work(self, work: Callable[[Client], _T]) -> _T:
        try:
            if self._client is None:
                self._client = open_client(self.dsn)
            return work(self._client)
        except (ClickHouseError, OSError, RuntimeError) as error:
            raise translate(error) from None


def translate(error: Exception) -> UnavailableError:
    """Turn a driver's error into ours, with its code alone."""
    code = error.code if isinstance(error, Error) else None
    what = f"code {code}" if code is not None else type(error).__name__
    return UnavailableError(f"ClickHouse did not do it ({what})")
