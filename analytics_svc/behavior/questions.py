"""Questions about behaviour, asked of the reading."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar

from analytics_svc.behavior import currency, funnel, journey, path, retention
from analytics_svc.behavior.funnel import Funnel, FunnelSpec
from analytics_svc.behavior.journey import Journey, JourneySpec, Position
from analytics_svc.behavior.path import Path, PathSpec
from analytics_svc.behavior.retention import Cohort, RetentionMetric, RetentionSpec
from analytics_svc.slice import Slice
from analytics_svc.statement import Rows, Statement
from analytics_svc.store import ReadingReader
from svc_runtime.clock import Clock
from svc_runtime.errors import NotFoundError, QueryLimitError

_LONGEST_TEXT = 200_000  # ClickHouse parses 256 KiB at most
_T = TypeVar("_T")


@dataclass(slots=True)
class Basis:
    """What an answer rests on."""

    slice: Slice
    """With the currency that amounts are in."""
    watermark_time: datetime | None
    """Everything received before it is in the answer; None: not known."""
    other_revenue: Mapping[str, Decimal] = field(default_factory=dict)
    """Revenue of the slice in other currencies."""
    rows_read: int = 0
    elapsed_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer(Generic[_T]):
    """What was asked for, and what it rests on."""

    value: _T
    basis: Basis


class BehaviorQuestions:
    """Asks, with the organisation of the question's slice. Errors are those of ``ReadingReader.rows``."""

    def __init__(
        self, reader: ReadingReader, *, clock: Clock, watermark_time: Callable[[], datetime | None] = lambda: None
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._watermark_time = watermark_time

    async def funnel(self, spec: FunnelSpec) -> Answer[Sequence[Funnel]]:
        """Count a funnel: everybody first."""
        basis = self._basis(spec.slice)
        rows = await self._rows(funnel.compile_funnel(spec), basis)
        return Answer(funnel.funnels_of(spec, rows), basis)

    async def retention(self, spec: RetentionSpec) -> Answer[tuple[Sequence[Cohort], Cohort]]:
        """Count who comes back: the cohorts, and all of them together."""
        basis = self._basis(spec.slice)
        if spec.metric is RetentionMetric.REVENUE:
            spec = replace(spec, slice=await self._with_currency(basis))
        now = self._clock.now()
        rows = await self._rows(retention.compile_retention(spec), basis)
        known_until = basis.watermark_time or now
        return Answer(retention.cohorts_of(spec, rows, now=now, known_until=known_until), basis)

    async def journeys(
        self, spec: JourneySpec, *, after: Position | None = None
    ) -> Answer[tuple[Sequence[Journey], Position | None]]:
        """Return a page of journeys, and where the next one begins.

        Raise NotFoundError for a visitor or click of which the organisation has no event.
        """
        basis = self._basis(spec.slice)
        user_id = spec.user_id
        if spec.click_id:
            found = await self._rows(journey.compile_visitor_of_click(spec), basis)
            if not found.rows:
                raise NotFoundError("there is no click of this id that a visitor made")
            user_id = found.rows[0][0]
        listed = await self._rows(journey.compile_page(spec, user_id=user_id, after=after), basis)
        if not listed.rows:
            if spec.user_id and not (await self._rows(_is_known(spec), basis)).rows:
                raise NotFoundError("there is no visitor of this id")
            return Answer(([], None), basis)
        last_ms = dict(map(tuple, listed.rows[: spec.page_size]))
        summed = await self._rows(journey.compile_visitors(spec, list(last_ms)), basis)
        visitors = journey.page_of(journey.visitors_of(list(last_ms), summed))
        last = visitors[-1].user_id if visitors else listed.rows[-1][0]
        touches = await self._rows(journey.compile_touches(spec, [each.user_id for each in visitors]), basis)
        position = Position(last_ms[last], last) if last != listed.rows[-1][0] else None
        return Answer((journey.journeys_of(visitors, touches), position), basis)

    async def paths(self, spec: PathSpec) -> Answer[tuple[Sequence[Path], int]]:
        """Count paths: those asked for, and how many there are."""
        basis = self._basis(spec.slice)
        spec = replace(spec, slice=await self._with_currency(basis))
        rows = await self._rows(path.compile_paths(spec), basis)
        return Answer(path.paths_of(rows), basis)

    def _basis(self, part: Slice) -> Basis:
        # Read before the rows are: they may have more than it says, never less.
        return Basis(part, self._watermark_time())

    async def _with_currency(self, basis: Basis) -> Slice:
        rows = await self._rows(currency.compile_currencies(basis.slice), basis)
        chosen, basis.other_revenue = currency.choose_currency(basis.slice, rows)
        basis.slice = replace(basis.slice, currency=chosen)
        return basis.slice

    async def _rows(self, statement: Statement, basis: Basis) -> Rows:
        if len(statement.sql) > _LONGEST_TEXT:
            raise QueryLimitError(
                f"the question has {len(statement.sql):,} characters of SQL; the limit is {_LONGEST_TEXT:,}: use fewer"
                " conditions"
            )
        rows = await self._reader.rows(statement)
        basis.rows_read += rows.rows_read
        basis.elapsed_seconds += rows.elapsed_seconds
        return rows


def _is_known(spec: JourneySpec) -> Statement:
    return journey.compile_is_known(spec.slice.organization_id, spec.user_id)
