"""Exports of journeys: statements one after the other, each a bounded share of the visitors."""

import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from analytics_svc.behavior import currency, export, export_sql
from analytics_svc.behavior.export import (
    MOST_CONVERSIONS,
    MOST_PATH_VALUES,
    MOST_PATHS,
    MOST_TOUCHES,
    MOST_VALUES,
    SHARE_EVENTS,
    ExportSpec,
    Extent,
    JourneyColumns,
    PathColumns,
    Touched,
)
from analytics_svc.behavior.questions import Basis
from analytics_svc.statement import Rows, Statement
from analytics_svc.store import ReadingReader
from svc_runtime.errors import QueryLimitError, UnavailableError

_NARROW = "ask for a shorter time range or fewer conversion types"


@dataclass(frozen=True, slots=True)
class Summary:
    """What an export rests on."""

    basis: Basis
    extent: Extent


class JourneyExports:
    """Reads journeys. Errors are those of ``ReadingReader.rows``, and QueryLimitError for more than an export holds."""

    def __init__(self, reader: ReadingReader, *, watermark_time: Callable[[], datetime | None] = lambda: None) -> None:
        self._reader = reader
        self._watermark_time = watermark_time

    async def journeys(
        self, spec: ExportSpec
    ) -> AsyncGenerator[tuple[Mapping[int, str], JourneyColumns] | Summary, None]:
        """Yield conversions with the values that their codes stand for, then the summary."""
        asked = await self._begin(spec, of_everybody=False)
        for share in range(asked.share_count):
            statement = export_sql.compile_journeys(asked.spec, share=share, share_count=asked.share_count)
            for row in (await asked.rows(statement)).rows:
                yield asked.names, JourneyColumns(*row)
        yield asked.summary()

    async def paths(self, spec: ExportSpec) -> AsyncGenerator[tuple[Mapping[int, str], PathColumns] | Summary, None]:
        """Yield different paths with the values that their codes stand for, then the summary."""
        asked = await self._begin(spec, of_everybody=True)
        counted = _Counted()
        for share in range(asked.share_count):
            statement = export_sql.compile_counted(asked.spec, share=share, share_count=asked.share_count)
            for row in (await asked.rows(statement)).rows:
                counted.add(PathColumns(*row))
        for columns in counted.columns():
            yield asked.names, columns
        yield asked.summary()

    async def _begin(self, spec: ExportSpec, *, of_everybody: bool) -> "_Asked":
        """Choose the currency and find out how much there is."""
        # Read before the rows are: they may have more than it says, never less.
        asked = _Asked(self._reader, spec, self._watermark_time())
        part = spec.conversions
        found = await asked.rows(currency.compile_currencies(part, has_adjustments=True))
        if not found.rows and spec.conversion_types:
            # A refund may have a type of its own, and belongs to a conversion of one that is asked for.
            found = await asked.rows(currency.compile_currencies(spec.slice, has_adjustments=True))
        chosen, others = currency.choose_currency(part, found)
        asked.spec = replace(spec, slice=replace(spec.slice, currency=chosen))
        asked.other_revenue = tuple(others.items())
        asked.extent = export_sql.extent_of(await asked.rows(export_sql.compile_extent(asked.spec)))
        if asked.extent.conversion_count > MOST_CONVERSIONS:
            raise QueryLimitError(
                f"there are {asked.extent.conversion_count:,} conversions; the limit is {MOST_CONVERSIONS:,}: {_NARROW}"
            )
        asked.spec = replace(asked.spec, has_adjustments=asked.extent.adjustment_count > 0)
        values = await asked.rows(export_sql.compile_values(asked.spec, of_everybody=of_everybody))
        asked.know(export_sql.values_of(values))
        return asked


class _Asked:
    """The statements of one export."""

    def __init__(self, reader: ReadingReader, spec: ExportSpec, watermark_time: datetime | None) -> None:
        self._reader = reader
        self._watermark_time = watermark_time
        self._began = time.monotonic()
        self._rows_read = 0
        self.spec = spec
        self.other_revenue: tuple[tuple[str, Decimal], ...] = ()
        self.extent = Extent(0, 0, 0)
        self.names: Mapping[int, str] = {}
        self.share_count = 1

    async def rows(self, statement: Statement) -> Rows:
        rows = await self._reader.rows(statement)
        self._rows_read += rows.rows_read
        return rows

    def know(self, values: Sequence[Touched]) -> None:
        """Remember which values there are, and how many shares that makes."""
        if len(values) > MOST_VALUES:
            raise QueryLimitError(
                f"the dimension {self.spec.dimension.name} has more than {MOST_VALUES:,} values here: take another one"
            )
        touch_count = sum(each.touch_count for each in values)
        if touch_count > MOST_TOUCHES:
            raise QueryLimitError(
                f"there are {touch_count:,} touches; the limit is {MOST_TOUCHES:,}: {_NARROW}, or a shorter look-back"
            )
        self.names = {each.code: each.value for each in values}
        self.share_count = 1 + (touch_count + self.extent.conversion_count) // SHARE_EVENTS

    def summary(self) -> Summary:
        part = self.spec.slice
        basis = Basis(
            part.start_time,
            part.end_time,
            part.time_zone,
            part.currency,
            self.other_revenue,
            self._watermark_time,
            self._rows_read,
            time.monotonic() - self._began,
        )
        return Summary(basis, self.extent)


class _Counted:
    """Paths of all shares: the same one may have been gone in several."""

    def __init__(self) -> None:
        self._counts: dict[tuple[int, ...], list[int]] = {}
        self._value_count = 0

    def add(self, columns: PathColumns) -> None:
        at = 0
        for length, *counts in zip(
            columns.touch_counts, columns.conversion_counts, columns.unconverted_counts, columns.micros, strict=True
        ):
            path = tuple(columns.codes[at : at + length])
            at += length
            known = self._counts.get(path)
            if known is None:
                self._counts[path] = counts
                self._value_count += length
            else:
                for place, count in enumerate(counts):
                    known[place] += count
        if len(self._counts) > MOST_PATHS or self._value_count > MOST_PATH_VALUES:
            raise QueryLimitError(
                f"there are more than {MOST_PATHS:,} different paths, or {MOST_PATH_VALUES:,} values of them all:"
                f" {_NARROW}, a dimension with fewer values, a shorter look-back, or fewer of the last touches"
            )

    def columns(self) -> Iterator[PathColumns]:
        paths = list(self._counts.items())
        for first in range(0, len(paths), export.ROW_ENTRIES):
            part = paths[first : first + export.ROW_ENTRIES]
            converted, unconverted, micros = zip(*(counts for _, counts in part), strict=True)
            codes = [code for path, _ in part for code in path]
            yield PathColumns([len(path) for path, _ in part], codes, converted, unconverted, micros)


def names_of(codes: Sequence[int], names: Mapping[int, str]) -> tuple[list[str], list[int]]:
    """Return the values that occur, each once, and of each code its value's place.

    Raise UnavailableError for a code without a value: the reading changed between two statements.
    """
    distinct = list(dict.fromkeys(codes))
    try:
        values = [names[code] for code in distinct]
    except KeyError:
        raise UnavailableError("the reading changed while it was read: ask again") from None
    places = {code: place for place, code in enumerate(distinct)}
    return values, [places[code] for code in codes]
