"""Reports: a specification is answered by a few statements, or by what an equal one was answered with before."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from pydantic import TypeAdapter

from analytics_svc.cache import Results
from analytics_svc.compile import (
    Compiled,
    Order,
    Question,
    compile_campaign_days,
    compile_campaign_minutes,
    compile_campaign_then,
    compile_currencies,
    compile_question,
)
from analytics_svc.dimension import DIMENSIONS, Dimension
from analytics_svc.lifetime import kept_under
from analytics_svc.metric import METRICS, Metric, are_in_money, has_unique
from analytics_svc.query import BreakdownSpec, CampaignSpec, TimeseriesSpec
from analytics_svc.report import (
    Basis,
    Breakdown,
    BreakdownRow,
    CampaignReport,
    Number,
    Series,
    Timeseries,
    numbers_of,
    series_of,
    table_of,
)
from analytics_svc.slice import LONGEST, Slice
from analytics_svc.statement import Rows
from analytics_svc.steps import Granularity, earlier, steps_of
from analytics_svc.store import ReadingReader
from rule_language.operand import WEEKDAYS
from svc_runtime.clock import Clock
from svc_runtime.errors import NotFoundError

_MOST_ROWS_COMPARED = 1000
_TOP_HOURS = 3
_TOP_WEEKDAYS = 2
_MICROS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_Report = TypeVar("_Report", Timeseries, Breakdown, CampaignReport)
_TIMESERIES = TypeAdapter(Timeseries)
_BREAKDOWN = TypeAdapter(Breakdown)
_CAMPAIGN = TypeAdapter(CampaignReport)


class Reports:
    """Answers specifications. ``watermark`` says how far the reading is."""

    def __init__(
        self,
        reader: ReadingReader,
        results: Results,
        *,
        watermark: Callable[[], datetime | None],
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._results = results
        self._watermark = watermark
        self._clock = clock

    async def timeseries(self, spec: TimeseriesSpec) -> Timeseries:
        """Answer a time series. Raise QueryLimitError, RateLimitedError, UnavailableError, as do the others."""
        return await self._kept(spec, spec.part, _TIMESERIES, lambda asked: _timeseries(asked, spec))

    async def breakdown(self, spec: BreakdownSpec) -> Breakdown:
        """Answer a breakdown."""
        return await self._kept(spec, spec.part, _BREAKDOWN, lambda asked: _breakdown(asked, spec))

    async def campaign(self, spec: CampaignSpec) -> CampaignReport:
        """Answer a campaign's page. Raise NotFoundError where the organisation has no event of it."""
        if spec.part.as_of is not None:
            return await self._campaign_then(spec)
        organization_id = spec.part.organization_id
        found = await self._reader.rows(compile_campaign_days(organization_id, spec.campaign_id))
        first, last, count = found.rows[0]
        if not count:
            raise NotFoundError(f"no campaign {spec.campaign_id[:64]!r} has events")
        if spec.is_whole:
            statement = compile_campaign_minutes(organization_id, spec.campaign_id, (first, last))
            ((start, end),) = (await self._reader.rows(statement)).rows
            end_time = datetime.fromtimestamp(end + 60, UTC)
            start_time = max(datetime.fromtimestamp(start, UTC), end_time - LONGEST)
            spec = replace(spec, part=replace(spec.part, start_time=start_time, end_time=end_time))
        return await self._kept(spec, spec.part, _CAMPAIGN, lambda asked: _campaign(asked, spec))

    async def _campaign_then(self, spec: CampaignSpec) -> CampaignReport:
        """Answer a campaign's page as it was known then."""
        part = spec.part
        whole = replace(part, start_time=max(part.end_time - LONGEST, _EPOCH), includes_bots=True, filter=None)
        ((start, end, count),) = (await self._reader.rows(compile_campaign_then(whole))).rows
        if not count:
            raise NotFoundError(f"no campaign {spec.campaign_id[:64]!r} had events then")
        if spec.is_whole:
            end_time = min(datetime.fromtimestamp(end // 60 * 60 + 60, UTC), part.end_time)
            start_time = datetime.fromtimestamp(start // 60 * 60, UTC)
            spec = replace(spec, part=replace(part, start_time=start_time, end_time=end_time))
        return await self._kept(spec, spec.part, _CAMPAIGN, lambda asked: _campaign(asked, spec))

    async def _kept(
        self, spec: object, part: Slice, shape: TypeAdapter[_Report], make: Callable[["_Asked"], Awaitable[_Report]]
    ) -> _Report:
        began = time.monotonic()
        watermark_time = self._watermark()
        kept = await kept_under(
            self._reader,
            spec,
            # What it is compared with is earlier.
            replace(part, start_time=_first_instant(spec, part)),
            watermark_time=watermark_time,
            now=self._clock.now(),
        )

        async def made() -> _Report:
            return await make(_Asked(self._reader, part, watermark_time))

        result, is_cached = await self._results.get(kept, shape, made)
        if is_cached:
            elapsed = time.monotonic() - began
            basis = replace(result.basis, is_cached=True, rows_read=0, elapsed_seconds=elapsed)
            return replace(result, basis=basis)
        return result


class _Asked:
    """The statements of one report, and what they read."""

    def __init__(self, reader: ReadingReader, part: Slice, watermark_time: datetime | None) -> None:
        self._reader = reader
        self._part = part
        self._watermark_time = watermark_time
        self._began = time.monotonic()
        self._sources: dict[str, None] = {}
        self._rows_read = 0
        self.currency = part.currency
        self.other_revenue: tuple[tuple[str, int], ...] = ()

    async def rows(self, compiled: Compiled) -> Rows:
        found = await self._reader.rows(compiled.statement)
        self._sources |= dict.fromkeys(compiled.sources)
        self._rows_read += found.rows_read
        return found

    async def table(self, compiled: Compiled, question: Question) -> dict[tuple[str, ...], tuple[Number, ...]]:
        """Return the numbers by value. A large table takes long to read: not on the event loop."""
        return await asyncio.to_thread(table_of, question, await self.rows(compiled))

    async def choose_currency(self, metrics: Sequence[Metric]) -> None:
        """Find out which currency the slice's money is in, where money is asked for."""
        if not are_in_money(metrics):
            return
        compiled = compile_currencies(self._part)
        if compiled.sources == ("events",):
            # Often there is but one, and the roll-ups of all events tell.
            around = replace(
                self._part,
                start_time=_day_of(self._part.start_time),
                end_time=_day_of(self._part.end_time) + timedelta(days=1),
                time_zone="UTC",
                filter=None,
                dimension_filters=(),
            )
            everywhere = _currencies((await self.rows(compile_currencies(around))).rows)
            if len(everywhere) <= 1 and "" not in everywhere and (not self.currency or self.currency in everywhere):
                self.currency = next(iter(everywhere), self.currency)
                return
            fallback = _most_used(everywhere)
        else:
            fallback = ""
        there = _currencies((await self.rows(compiled)).rows)
        self.currency = self.currency or _most_used(there) or fallback
        self.other_revenue = tuple(
            (code, one.revenue)
            for code, one in sorted(there.items())
            if one.revenue and (not code or code != self.currency)
        )

    def question(self, metrics: tuple[Metric, ...], *dimensions: Dimension) -> Question:
        return Question(self._part, metrics, self.currency, dimensions)

    def basis(self) -> Basis:
        return Basis(
            self._watermark_time,
            self._part.start_time,
            self._part.end_time,
            self._part.time_zone,
            self.currency,
            self.other_revenue,
            tuple(self._sources),
            self._rows_read,
            time.monotonic() - self._began,
        )


async def _timeseries(asked: _Asked, spec: TimeseriesSpec) -> Timeseries:
    await asked.choose_currency(spec.metrics)
    question = asked.question(spec.metrics, *([spec.dimension] if spec.dimension else []))
    values: tuple[tuple[str, ...], ...] = ((),)
    if spec.dimension:
        first = replace(question, metrics=spec.metrics[:1], order=Order(0, False, spec.series_limit))
        top = await asked.rows(compile_question(first))
        values = tuple((row[0],) for row in top.rows)
    steps, series = await _series(asked, question, spec.granularity, values)
    earlier_steps: tuple[datetime, ...] = ()
    earlier_series: tuple[Series, ...] = ()
    if spec.comparison:
        start, end = earlier(spec.part.start_time, spec.part.end_time, spec.part.zone, spec.comparison)
        before = replace(question, part=replace(spec.part, start_time=start, end_time=end))
        earlier_steps, earlier_series = await _series(asked, before, spec.granularity, values)
    return Timeseries(steps, series, earlier_steps, earlier_series, asked.basis())


async def _series(
    asked: _Asked, question: Question, granularity: Granularity, values: Sequence[tuple[str, ...]]
) -> tuple[tuple[datetime, ...], tuple[Series, ...]]:
    """Return the series of these values, an empty point where nothing happened."""
    part = question.part
    steps = steps_of(part.start_time, part.end_time, part.zone, granularity)
    if not values:
        return steps, ()
    rows = tuple(values) if question.dimensions else ()
    found = (await asked.rows(compile_question(replace(question, steps=steps, rows=rows)))).rows
    return steps, await asyncio.to_thread(series_of, question, steps, values, found)


async def _breakdown(asked: _Asked, spec: BreakdownSpec) -> Breakdown:
    await asked.choose_currency(spec.metrics)
    question = asked.question(spec.metrics, *spec.dimensions)
    found = await _page(asked, question, spec)
    page = dict(list(found.items())[: spec.page_size])
    totals = await _totals(asked, question)
    before: Mapping[tuple[str, ...], tuple[Number, ...]] = {}
    earlier_totals: tuple[Number, ...] = ()
    if spec.comparison:
        start, end = earlier(spec.part.start_time, spec.part.end_time, spec.part.zone, spec.comparison)
        earlier_question = replace(question, part=replace(spec.part, start_time=start, end_time=end))
        before = await _rows_before(asked, earlier_question, tuple(page))
        earlier_totals = await _totals(asked, earlier_question)
    nothing = tuple(metric.of_nothing for metric in spec.metrics) if spec.comparison else ()
    rows = tuple(BreakdownRow(values, numbers, before.get(values, nothing)) for values, numbers in page.items())
    return Breakdown(rows, len(found) > spec.page_size, totals, earlier_totals, asked.basis())


async def _page(asked: _Asked, question: Question, spec: BreakdownSpec) -> Mapping[tuple[str, ...], tuple[Number, ...]]:
    """Return the rows of a page, in their order, and the one after it."""
    order = Order(spec.order_by, spec.is_ascending, spec.page_size + 1, spec.offset)
    compiled = compile_question(replace(question, order=order))
    is_read_twice = compiled.sources != ("events",) and spec.page_size < _MOST_ROWS_COMPARED
    by_order = question.metrics[spec.order_by]
    if is_read_twice and has_unique(question.metrics) and not has_unique([by_order]):
        # Sums by value are quickly there: the visitors of the page's values alone are merged.
        first = replace(question, metrics=(by_order,), order=replace(order, metric=0))
        rows = tuple(await asked.table(compile_question(first), first))
        if not rows:
            return {}
        compiled = compile_question(replace(question, rows=rows, order=replace(order, offset=0)))
    return await asked.table(compiled, question)


async def _rows_before(
    asked: _Asked, question: Question, wanted: tuple[tuple[str, ...], ...]
) -> Mapping[tuple[str, ...], tuple[Number, ...]]:
    """Return the numbers of these rows, a part of them at a time: values travel with the statement."""
    found: dict[tuple[str, ...], tuple[Number, ...]] = {}
    for at in range(0, len(wanted), _MOST_ROWS_COMPARED):
        part = replace(question, rows=wanted[at : at + _MOST_ROWS_COMPARED])
        found |= await asked.table(compile_question(part), part)
    return found


async def _totals(asked: _Asked, question: Question) -> tuple[Number, ...]:
    (row,) = (await asked.rows(compile_question(replace(question, dimensions=())))).rows
    return numbers_of(question.metrics, row)


async def _campaign(asked: _Asked, spec: CampaignSpec) -> CampaignReport:
    await asked.choose_currency(spec.metrics)
    numbers = await _totals(asked, asked.question(spec.metrics))
    hours = await _counts(asked, "conversions", "hour")
    weekdays = await _counts(asked, "conversions", "weekday")
    return CampaignReport(
        numbers,
        tuple(sorted(int(hour) for hour in _top(hours, sorted(hours), _TOP_HOURS))),
        tuple(sorted(_top(weekdays, WEEKDAYS, _TOP_WEEKDAYS), key=WEEKDAYS.index)),
        tuple(sorted((await _counts(asked, "clicks", "device_type")).items())),
        asked.basis(),
    )


async def _counts(asked: _Asked, metric: str, dimension: str) -> dict[str, int]:
    """Return a count by value, without those that have none."""
    question = asked.question((METRICS[metric],), DIMENSIONS[dimension])
    return {value: count for value, count in (await asked.rows(compile_question(question))).rows if count}


def _top(counts: Mapping[str, int], names: Sequence[str], most: int) -> list[str]:
    """Return the names with the highest counts; of the same count, those that come first."""
    return sorted((name for name in names if name in counts), key=lambda name: -counts[name])[:most]


@dataclass(slots=True)
class _Currency:
    conversions: int = 0
    revenue: int = 0
    costs: int = 0


def _currencies(rows: Sequence[Sequence[object]]) -> dict[str, _Currency]:
    """Return what there is of each currency; '' is revenue that has none."""
    found: dict[str, _Currency] = {}
    for revenue_code, cost_code, conversions, revenue, events in rows:
        if revenue_code or revenue:
            one = found.setdefault(str(revenue_code), _Currency())
            one.conversions += int(str(conversions))
            one.revenue += int(Decimal(str(revenue)) * _MICROS)
        if cost_code:
            found.setdefault(str(cost_code), _Currency()).costs += int(str(events))
    return found


def _most_used(found: Mapping[str, _Currency]) -> str:
    """Return the currency of most conversions, else of most costs, else none."""
    codes = sorted(code for code in found if code)
    return max(codes, key=lambda code: (found[code].conversions, found[code].costs), default="")


def _day_of(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _first_instant(spec: object, part: Slice) -> datetime:
    if isinstance(spec, TimeseriesSpec | BreakdownSpec) and spec.comparison is not None:
        return earlier(part.start_time, part.end_time, part.zone, spec.comparison)[0]
    return part.start_time
