"""Statements of tenants, run in ClickHouse: each into a file beside the data, which is given out from there.

So an answer is whole before its first byte leaves, a failure is an error and not a broken stream, a slow reader holds
no query, and no answer is ever in this process's memory.
"""

import asyncio
import contextlib
import csv
import io
import os
import tempfile
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self, TypeVar

import orjson
from clickhouse_connect.driver.exceptions import ClickHouseError

from analytics_svc.sql_answer import AnswerColumn, SqlFormat, Totals
from analytics_svc.sql_guard import GuardedQuery
from analytics_svc.store.killer import QUERY_ID, QueryKiller
from analytics_svc.store.sql_engines import EmbeddedSession, ServerSession, Session
from analytics_svc.store.sql_errors import translate_statement
from svc_runtime.clickhouse import Dsn
from svc_runtime.tasks import uninterrupted

PIECE_BYTES = 256 * 1024
"""Of an answer, at a time."""
_FORMATS = {
    SqlFormat.JSON_ROWS: "JSONCompactEachRowWithNamesAndTypes",
    SqlFormat.CSV: "CSVWithNamesAndTypes",
    SqlFormat.ARROW: "ArrowStream",
    SqlFormat.PARQUET: "Parquet",
}
_SETTINGS = {
    "output_format_json_quote_64bit_integers": "1",
    "output_format_json_quote_decimals": "1",
    "output_format_json_quote_denormals": "0",
    "output_format_json_validate_utf8": "1",
    "output_format_csv_crlf_end_of_line": "1",
    "output_format_csv_serialize_tuple_into_separate_columns": "0",
    "format_csv_null_representation": "",
    "date_time_output_format": "iso",
    # What runs beside it and is waited for goes first.
    "os_thread_priority": "10",
}
_T = TypeVar("_T")


class StatementAnswer:
    """An answer that is whole, in a file that nobody else can open. ``pieces`` gives it out once."""

    def __init__(self, file: IO[bytes], head: "_Head", totals: Totals) -> None:
        self.columns = head.columns
        self.totals = totals
        self._first = head.first
        self._file = file

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the answer's bytes, at most ``PIECE_BYTES`` at a time."""
        if self._first:
            yield self._first
        while piece := await asyncio.to_thread(self._file.read, PIECE_BYTES):
            yield piece


class ClickHouseStatements:
    """``StatementStore``: as many statements at a time as callers ask for; each has a connection of its own."""

    def __init__(self, open_session: Callable[[], Session], killer: QueryKiller, *, thread_count: int) -> None:
        self._open_session = open_session
        self._killer = killer
        self._most_idle = thread_count
        self._idle: list[_Worker] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, dsn: Dsn, *, thread_count: int, has_roles: bool = False) -> AsyncIterator[Self]:
        """Hold up to ``thread_count`` idle connections for the time of the block; the database is migrated already.

        ``has_roles``: the DSN's user is the tenants' reader of server_policies.sql, who has a role per organisation.
        """
        killer = QueryKiller(dsn)

        def open_session() -> Session:
            return EmbeddedSession(dsn) if dsn.is_embedded else ServerSession(dsn, has_roles=has_roles)

        statements = cls(open_session, killer, thread_count=thread_count)
        try:
            yield statements
        finally:
            for worker in statements._idle:
                await worker.close()
            await killer.close()

    @contextlib.asynccontextmanager
    async def answer(
        self, query: GuardedQuery, answer_format: SqlFormat, *, organization_id: str, query_id: str
    ) -> AsyncIterator[StatementAnswer]:
        """See ``StatementStore.answer``."""
        # Not in a thread: who is cancelled meanwhile would leave it behind.
        file, path = _new_file(query_id)
        settings = {**query.settings, **_SETTINGS, QUERY_ID: query_id}

        def run(session: Session) -> Totals:
            return session.run(query.sql, query.parameters, settings, _FORMATS[answer_format], path, organization_id)

        try:
            try:
                totals = await self._run(run, query_id, settings)
            finally:
                # Whatever becomes of us from here on, the file goes with the descriptor.
                path.unlink()
            yield StatementAnswer(file, await asyncio.to_thread(_HEADS[answer_format], file), totals)
        finally:
            file.close()

    async def describe(self, query: GuardedQuery, *, organization_id: str) -> tuple[AnswerColumn, ...]:
        """See ``StatementStore.describe``."""
        query_id = str(uuid.uuid4())
        settings = {**query.settings, QUERY_ID: query_id}

        def describe(session: Session) -> tuple[AnswerColumn, ...]:
            return session.describe(query.sql, query.parameters, settings, organization_id)

        return await self._run(describe, query_id, settings)

    async def _run(self, work: Callable[[Session], _T], query_id: str, settings: Mapping[str, str]) -> _T:
        worker = self._idle.pop() if self._idle else _Worker(self._open_session)
        call = asyncio.wrap_future(worker.submit(work, settings))
        try:
            result = await asyncio.shield(call)
        except asyncio.CancelledError:
            await uninterrupted(self._end(call, worker, query_id))
            raise
        except BaseException:
            await uninterrupted(worker.close())
            raise
        if len(self._idle) < self._most_idle:
            self._idle.append(worker)
        else:
            await uninterrupted(worker.close())
        return result

    async def _end(self, call: "asyncio.Future[_T]", worker: "_Worker", query_id: str) -> None:
        await self._killer.end(call, query_id)
        await worker.close()


class _Worker:
    """One connection and the one thread that uses it."""

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._open_session = open_session
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="statement")
        self._session: Session | None = None

    def submit(self, work: Callable[[Session], _T], settings: Mapping[str, str]) -> "Future[_T]":
        return self._pool.submit(self._translated, work, settings)

    async def close(self) -> None:
        await asyncio.wrap_future(self._pool.submit(self._close_session))
        self._pool.shutdown(wait=False)

    def _translated(self, work: Callable[[Session], _T], settings: Mapping[str, str]) -> _T:
        try:
            if self._session is None:
                self._session = self._open_session()
            return work(self._session)
        except (ClickHouseError, OSError, RuntimeError) as error:
            # The engine's text quotes rows: it must not travel as a cause.
            raise translate_statement(error, settings) from None

    def _close_session(self) -> None:
        if self._session is not None:
            with contextlib.suppress(ClickHouseError, OSError, RuntimeError):
                self._session.close()


def _new_file(query_id: str) -> tuple[IO[bytes], Path]:
    """Make a file that nobody else can read."""
    descriptor, name = tempfile.mkstemp(prefix=f"trellis-{query_id}-", suffix=".answer")
    return os.fdopen(descriptor, "rb"), Path(name)


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands before the rows of a file."""

    columns: tuple[AnswerColumn, ...] = ()
    first: bytes = b""
    """What of it goes out before the rest of the file."""


def _json_head(file: IO[bytes]) -> _Head:
    names, types = orjson.loads(file.readline()), orjson.loads(file.readline())
    return _Head(tuple(map(AnswerColumn, names, types)))


def _csv_head(file: IO[bytes]) -> _Head:
    names, types = file.readline(), file.readline()
    return _Head(tuple(map(AnswerColumn, _cells(names), _cells(types))), first=names)


def _cells(line: bytes) -> Sequence[str]:
    return next(csv.reader(io.StringIO(line.decode("utf-8", "replace"), newline="")))


def _no_head(_file: IO[bytes]) -> _Head:
    return _Head()


_HEADS: dict[SqlFormat, Callable[[IO[bytes]], _Head]] = {
    SqlFormat.JSON_ROWS: _json_head,
    SqlFormat.CSV: _csv_head,
    SqlFormat.ARROW: _no_head,
    SqlFormat.PARQUET: _no_head,
}
