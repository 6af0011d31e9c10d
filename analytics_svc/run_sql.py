"""Statements of organisations: guarded, admitted, run, given out, and each of them written down."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from opentelemetry import trace

from analytics_svc import metrics
from analytics_svc.admission import Admission, Capacity, Weight
from analytics_svc.sql_answer import AnswerColumn, SqlFormat, Totals
from analytics_svc.sql_guard import GuardedQuery, QueryLimits, Table, TenantSchema, guard
from analytics_svc.sql_guard.parameters import Parameters
from analytics_svc.statement import bytes_for_tenants, rows_for_tenants
from svc_runtime.errors import Code, DeadlineExceededError, TrellisError
from svc_runtime.logs import get_logger

_LONGEST_ON_LOOP = 256
"""Characters of a statement that is parsed on the event loop, in a millisecond; 2,000 take ten."""
# Statements from their beginning until their answer is taken: each may hold a file.
_GIVING_OUT = Weight("answer", 0, running_per_organization=16, waiting_per_organization=0)
_ANSWERS = Capacity(slots=128, memory_bytes=0)
_ANSWER_SECONDS = 120.0
_OUTCOMES = {
    Code.INVALID_ARGUMENT: "refused",
    Code.QUERY_LIMIT: "limit",
    Code.RATE_LIMITED: "not_admitted",
}
_log = get_logger(__name__)
_audit = get_logger("analytics_svc.audit")
_tracer = trace.get_tracer("analytics_svc")


@dataclass(frozen=True, slots=True)
class SqlRequest:
    """A statement and whose it is."""

    organization_id: str
    actor: str
    """Who asks, for the audit."""
    sql: str
    parameters: Parameters
    """Values of `?` in order, or of `{name:Type}` by name."""
    answer_format: SqlFormat


@dataclass(frozen=True, slots=True)
class SqlTable:
    """A table that statements may name."""

    name: str
    description: str
    columns: tuple[AnswerColumn, ...]


class Answer(Protocol):
    """An answer that is whole."""

    @property
    def columns(self) -> tuple[AnswerColumn, ...]:
        """In their order; empty for Arrow and Parquet, which say it themselves."""
        ...

    @property
    def totals(self) -> Totals:
        """What it took."""
        ...

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield its bytes, once."""
        ...


class StatementStore(Protocol):
    """Runs statements that the guard has let through."""

    def answer(
        self, query: GuardedQuery, answer_format: SqlFormat, *, organization_id: str, query_id: str
    ) -> AbstractAsyncContextManager[Answer]:
        """Run a statement and hold its whole answer for the time of the block.

        Raise SqlRefusedError for what only the engine finds wrong with it, QueryLimitError with how to narrow it,
        UnavailableError; no error quotes a row or a table of ours. Cancelled, it ends the query and returns when the
        engine has let go of it. ``query_id`` is new.
        """
        ...

    async def describe(self, query: GuardedQuery, *, organization_id: str) -> tuple[AnswerColumn, ...]:
        """Return the columns that a statement's answer would have. Raise as ``answer`` does."""
        ...


@dataclass(slots=True)
class _Run:
    """What there is to say of a statement when it is over."""

    request: SqlRequest
    query_id: str
    began: float
    outcome: str = "abandoned"
    reason: str = ""
    tables: list[str] = field(default_factory=list)
    totals: Totals = field(default_factory=lambda: Totals(0, 0, 0))

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self.began


@dataclass(frozen=True, slots=True)
class RunningAnswer:
    """An answer on its way."""

    query_id: str
    watermark_time: datetime | None
    """Everything received before this instant is in it."""
    columns: tuple[AnswerColumn, ...]
    totals: Totals
    elapsed_seconds: float
    pieces: AsyncGenerator[bytes, None]


class SqlRunner:
    """Runs organisations' statements."""

    def __init__(
        self,
        store: StatementStore,
        admission: Admission,
        *,
        schema: TenantSchema,
        limits: QueryLimits,
        weight: Weight,
        watermark: Callable[[], datetime | None],
        answer_seconds: float = _ANSWER_SECONDS,
    ) -> None:
        """``weight`` is what a statement is admitted with; it may use the weight's memory."""
        self._store = store
        self._admission = admission
        self._answers = Admission(_ANSWERS)
        self._schema = schema
        self._limits = replace(limits, memory_bytes=weight.engine_memory_bytes)
        self._weight = weight
        self._watermark = watermark
        self._answer_seconds = answer_seconds
        self._tables: tuple[SqlTable, ...] = ()

    @contextlib.asynccontextmanager
    async def run(self, request: SqlRequest) -> AsyncIterator[RunningAnswer]:
        """Run a statement over the rows of the request's organisation; its answer is there for the time of the block.

        Raise SqlRefusedError, QueryLimitError, RateLimitedError, UnavailableError; DeadlineExceededError where nobody
        takes the answer in time. Leaving, or being cancelled, ends the query.
        """
        run = _Run(request, str(uuid.uuid4()), time.monotonic())
        span = _tracer.start_span("analytics.sql", attributes={"trellis.query_id": run.query_id})
        try:
            async with self._answers.admitted(request.organization_id, _GIVING_OUT), self._answered(run) as answer:
                yield answer
            run.outcome = "answered"
        except TrellisError as error:
            run.outcome, run.reason = _OUTCOMES.get(error.code, "failed"), error.reason
            raise
        except Exception as error:
            run.outcome, run.reason = "failed", type(error).__name__
            raise
        finally:
            _write_down(run, span)

    @contextlib.asynccontextmanager
    async def _answered(self, run: _Run) -> AsyncIterator[RunningAnswer]:
        request = run.request
        query = await self._guarded(request)
        run.tables = sorted(query.tables)
        async with contextlib.AsyncExitStack() as stack:
            async with self._admission.admitted(request.organization_id, self._weight):
                # Before the query begins: it sees this much, or more.
                watermark_time = self._watermark()
                answer = await stack.enter_async_context(
                    self._store.answer(
                        query,
                        request.answer_format,
                        organization_id=request.organization_id,
                        query_id=run.query_id,
                    )
                )
            run.totals = answer.totals
            pieces = await stack.enter_async_context(contextlib.aclosing(answer.pieces()))
            try:
                async with asyncio.timeout(self._answer_seconds):
                    totals = _for_tenants(answer.totals)
                    yield RunningAnswer(
                        run.query_id, watermark_time, answer.columns, totals, run.elapsed_seconds, pieces
                    )
            except TimeoutError:
                raise DeadlineExceededError(f"the answer was not taken within {self._answer_seconds:g} s") from None

    async def _guarded(self, request: SqlRequest) -> GuardedQuery:
        def guarded() -> GuardedQuery:
            return guard(
                request.sql,
                request.parameters,
                organization_id=request.organization_id,
                schema=self._schema,
                query_limits=self._limits,
            )

        return guarded() if len(request.sql) <= _LONGEST_ON_LOOP else await asyncio.to_thread(guarded)

    async def tables(self, *, organization_id: str) -> tuple[SqlTable, ...]:
        """Return the tables that a statement may name, the same for everybody. Raise UnavailableError.

        The store is asked once, in the role of the organisation that asks first.
        """
        if not self._tables:
            found = [await self._described(table, organization_id) for table in self._schema.tables.values()]
            self._tables = tuple(found)
        return self._tables

    async def _described(self, table: Table, organization_id: str) -> SqlTable:
        names = ", ".join(column.name for column in table.columns)
        query = guard(f"SELECT {names} FROM {table.name}", organization_id=organization_id, schema=self._schema)  # noqa: S608 - our own names
        columns = await self._store.describe(query, organization_id=organization_id)
        return SqlTable(table.name, table.description, columns)


def _for_tenants(totals: Totals) -> Totals:
    return Totals(totals.row_count, rows_for_tenants(totals.rows_read), bytes_for_tenants(totals.bytes_read))


def _write_down(run: _Run, span: trace.Span) -> None:
    """Tell the audit log, the metrics and the trace what became of a statement. None of them sees its text."""
    request, totals = run.request, run.totals
    _audit.info(
        "sql",
        organization_id=request.organization_id,
        actor=request.actor,
        query_id=run.query_id,
        outcome=run.outcome,
        reason=run.reason,
        tables=run.tables,
        answer_format=request.answer_format.value,
        elapsed_seconds=round(run.elapsed_seconds, 4),
        row_count=totals.row_count,
        rows_read=totals.rows_read,
        bytes_read=totals.bytes_read,
    )
    metrics.sql_duration.record(run.elapsed_seconds, {"outcome": run.outcome})
    metrics.sql_rows_read.add(totals.rows_read)
    span.set_attributes(
        {
            "trellis.outcome": run.outcome,
            "trellis.rows_read": totals.rows_read,
            "trellis.row_count": totals.row_count,
        }
    )
    if run.reason:
        span.set_attribute("error.type", run.reason)
    span.end()
