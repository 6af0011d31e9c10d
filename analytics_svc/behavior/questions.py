"""Questions about behaviour, asked of the reading, or answered by what an equal one was answered with before."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from analytics_svc.behavior import currency, funnel, journey, path, retention
from analytics_svc.behavior.columns import before
from analytics_svc.behavior.funnel import Funnel, FunnelSpec
from analytics_svc.behavior.journey import Journey, JourneySpec, Position
from analytics_svc.behavior.path import Path, PathSpec
from analytics_svc.behavior.retention import Cohort, RetentionMetric, RetentionSpec
from analytics_svc.cache import Results
from analytics_svc.identity.people import People
from analytics_svc.lifetime import kept_under
from analytics_svc.slice import Slice
from analytics_svc.statement import Rows, Statement
from analytics_svc.store import ReadingReader
from svc_runtime.clock import Clock
from svc_runtime.errors import NotFoundError, QueryLimitError

_LONGEST_TEXT = 200_000  # ClickHouse parses 256 KiB at most
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer rests on."""

    start_time: datetime
    end_time: datetime
    time_zone: str
    currency: str
    """Of every amount; empty when there is none."""
    other_revenue: tuple[tuple[str, Decimal], ...]
    """Revenue of the slice in other currencies."""
    watermark_time: datetime | None
    """Everything received before it is in the answer; None: not known."""
    rows_read: int
    elapsed_seconds: float
    is_cached: bool = False


@dataclass(frozen=True, slots=True)
class Answer(Generic[_T]):
    """What was asked for, and what it rests on."""

    value: _T
    basis: Basis


_FUNNELS: TypeAdapter[Answer[list[Funnel]]] = TypeAdapter(Answer[list[Funnel]])
_COHORTS: TypeAdapter[Answer[tuple[list[Cohort], Cohort]]] = TypeAdapter(Answer[tuple[list[Cohort], Cohort]])
_PATHS: TypeAdapter[Answer[tuple[list[Path], int]]] = TypeAdapter(Answer[tuple[list[Path], int]])


class BehaviorQuestions:
    """Asks, with the organisation of the question's slice. Errors are those of ``ReadingReader.rows``.

    ``grouping`` reads what groups by visitor, which takes much memory; not given: ``reader`` does. ``people`` say who
    is one person; not given: everybody is alone.
    """

    def __init__(
        self,
        reader: ReadingReader,
        results: Results,
        *,
        clock: Clock,
        watermark_time: Callable[[], datetime | None] = lambda: None,
        grouping: ReadingReader | None = None,
        people: People | None = None,
    ) -> None:
        self._reader = reader
        self._people = people
        self._grouping = grouping or reader
        self._results = results
        self._clock = clock
        self._watermark_time = watermark_time

    async def funnel(self, spec: FunnelSpec) -> Answer[list[Funnel]]:
        """Count a funnel: everybody first."""

        async def make(asked: _Asked) -> list[Funnel]:
            return funnel.funnels_of(spec, await asked.rows(funnel.compile_funnel(spec)))

        return await self._kept(spec, spec.slice, _FUNNELS, make)

    async def retention(self, spec: RetentionSpec) -> Answer[tuple[list[Cohort], Cohort]]:
        """Count who comes back: the cohorts, and all of them together."""

        async def make(asked: _Asked) -> tuple[list[Cohort], Cohort]:
            if spec.metric is RetentionMetric.REVENUE:
                await asked.choose_currency()
            chosen = replace(spec, slice=asked.slice)
            now = self._clock.now()
            rows = await asked.rows(retention.compile_retention(chosen))
            return retention.cohorts_of(chosen, rows, now=now, known_until=asked.watermark_time or now)

        return await self._kept(spec, spec.slice, _COHORTS, make)

    async def paths(self, spec: PathSpec) -> Answer[tuple[list[Path], int]]:
        """Count paths: those asked for, and how many there are."""

        async def make(asked: _Asked) -> tuple[list[Path], int]:
            await asked.choose_currency()
            return path.paths_of(await asked.rows(path.compile_paths(replace(spec, slice=asked.slice))))

        reach = replace(spec.slice, start_time=before(spec.slice.start_time, spec.lookback))
        return await self._kept(spec, reach, _PATHS, make, part=spec.slice)

    async def journeys(
        self, spec: JourneySpec, *, after: Position | None = None
    ) -> Answer[tuple[Sequence[Journey], Position | None]]:
        """Return a page of journeys, and where the next one begins. Nothing of it is kept.

        Raise NotFoundError for a visitor or click of which the organisation has no event.
        """
        asked = self._asked(spec.slice)
        user_id = spec.user_id
        if spec.click_id:
            found = await asked.rows(journey.compile_visitor_of_click(spec))
            if not found.rows:
                raise NotFoundError("there is no click of this id that a visitor made")
            user_id = found.rows[0][0]
        if spec.is_person and self._people:
            return await self._person_journey(asked, spec, user_id, self._people)
        listed = await asked.rows(journey.compile_page(spec, user_id=user_id, after=after))
        if not listed.rows:
            if spec.user_id and not (await asked.rows(journey.compile_is_known(spec))).rows:
                raise NotFoundError("there is no visitor of this id")
            return Answer(([], None), asked.basis())
        last_ms = dict(map(tuple, listed.rows[: spec.page_size]))
        summed = await asked.rows(journey.compile_visitors(spec, list(last_ms)))
        visitors = journey.page_of(journey.visitors_of(list(last_ms), summed))
        last = visitors[-1].user_id if visitors else list(last_ms)[-1]
        touches = await asked.rows(journey.compile_touches(spec, [each.user_id for each in visitors]))
        position = Position(last_ms[last], last) if last != listed.rows[-1][0] else None
        return Answer((journey.journeys_of(visitors, touches), position), asked.basis())

    async def _person_journey(
        self, asked: "_Asked", spec: JourneySpec, user_id: str, people: People
    ) -> Answer[tuple[Sequence[Journey], Position | None]]:
        person = await people.person_of_visitor(spec.slice.organization_id, user_id, as_of=spec.as_of)
        sums, touches = journey.compile_person(spec, person.user_ids, person.event_ids)
        made = journey.person_journey_of(
            user_id, person.person_id, person.user_ids, await asked.rows(sums), await asked.rows(touches)
        )
        if not made.visitor.event_count:
            is_known = len(person.user_ids) > 1 or (await asked.rows(journey.compile_is_known(spec))).rows
            if spec.user_id and not is_known:
                raise NotFoundError("there is no visitor of this id")
            return Answer(([], None), asked.basis())
        is_wanted = made.visitor.conversion_count or not spec.is_converted_only
        return Answer(([made] if is_wanted else [], None), asked.basis())

    def _asked(self, part: Slice) -> "_Asked":
        # Read before the rows are: they may have more than it says, never less.
        return _Asked(self._reader, self._grouping, part, self._watermark_time())

    async def _kept(
        self,
        spec: object,
        reach: Slice,
        shape: TypeAdapter[Answer[_T]],
        make: "Callable[[_Asked], Awaitable[_T]]",
        *,
        part: Slice | None = None,
    ) -> Answer[_T]:
        """Answer from what is kept. ``reach`` is what the answer depends on, ``part`` what it is about, if less."""
        began = time.monotonic()
        asked = self._asked(part or reach)

        async def made() -> Answer[_T]:
            value = await make(asked)
            return Answer(value, asked.basis())

        kept = await kept_under(self._reader, spec, reach, watermark_time=asked.watermark_time, now=self._clock.now())
        answer, is_cached = await self._results.get(kept, shape, made)
        if not is_cached:
            return answer
        elapsed = time.monotonic() - began
        return replace(answer, basis=replace(answer.basis, is_cached=True, rows_read=0, elapsed_seconds=elapsed))


class _Asked:
    """The statements of one question, and what they read."""

    def __init__(
        self, reader: ReadingReader, grouping: ReadingReader, part: Slice, watermark_time: datetime | None
    ) -> None:
        self._reader = reader
        self._grouping = grouping
        self._began = time.monotonic()
        self._rows_read = 0
        self._other_revenue: tuple[tuple[str, Decimal], ...] = ()
        self.slice = part
        self.watermark_time = watermark_time

    async def rows(self, statement: Statement) -> Rows:
        if len(statement.sql) > _LONGEST_TEXT:
            raise QueryLimitError(
                f"the question has {len(statement.sql):,} characters of SQL; the limit is {_LONGEST_TEXT:,}: use fewer"
                " conditions"
            )
        rows = await (self._grouping if statement.can_spill else self._reader).rows(statement)
        self._rows_read += rows.rows_read
        return rows

    async def choose_currency(self) -> None:
        """Find out which currency amounts are in."""
        rows = await self.rows(currency.compile_currencies(self.slice))
        chosen, others = currency.choose_currency(self.slice, rows)
        self.slice, self._other_revenue = replace(self.slice, currency=chosen), tuple(others.items())

    def basis(self) -> Basis:
        part = self.slice
        return Basis(
            part.start_time,
            part.end_time,
            part.time_zone,
            part.currency,
            self._other_revenue,
            self.watermark_time,
            self._rows_read,
            time.monotonic() - self._began,
        )
