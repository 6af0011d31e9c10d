"""What another set of mappings would change: the answer, and how it is found.

Events that a mapping could read otherwise are put into classes of the same reading: all that the reading of their
parameters rests on, with ids and labels, which nobody looks into, replaced by what they are equal to. The engine counts
the classes; the projection itself reads one event of each class twice, by the mappings that hold and by those that
would.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from analytics_svc.mappings.classes import MOST_SPELLINGS, Classes, Comparison, classes_of, spellings_statement
from analytics_svc.mappings.count import (
    Count,
    MonthPreview,
    linked_statement,
    own_statement,
    relinked_statement,
    sample_statement,
    time_statement,
)
from analytics_svc.mappings.mapping import ActiveMapping
from analytics_svc.mappings.reading import Reader, Reading, arrival_of_row, shown
from analytics_svc.projection.enricher import Enricher
from analytics_svc.statement import Statement
from analytics_svc.store import ReadingReader
from svc_runtime.errors import QueryLimitError


@dataclass(frozen=True, slots=True)
class SampleChange:
    """What would become of one event."""

    event_id: str
    event_time: datetime
    before: Mapping[str, str]
    """Values now, of the columns that would change."""
    after: Mapping[str, str]
    """Values then."""


@dataclass(frozen=True, slots=True)
class MappingPreview:
    """What a mapping would change."""

    months: Sequence[MonthPreview]
    """Those with an event that it matches or changes, in order."""
    samples: Sequence[SampleChange]

    @property
    def matched_count(self) -> int:
        """Events that the wanted version matches."""
        return sum(month.matched_count for month in self.months)

    @property
    def changed_count(self) -> int:
        """Events of which at least one value would change; also those that an earlier version does not match then."""
        return sum(month.changed_count for month in self.months)


class ReadingPreviewer:
    """``Previewer`` over the reading."""

    def __init__(self, reader: ReadingReader, enricher: Enricher) -> None:
        self._reader = reader
        self._enricher = enricher

    async def preview(
        self, organization_id: str, before: Sequence[ActiveMapping], after: Sequence[ActiveMapping]
    ) -> MappingPreview:
        """See ``Previewer.preview``."""
        comparison = Comparison(organization_id, tuple(before), tuple(after))
        if not comparison.changed:
            return MappingPreview((), ())
        spellings = (await self._rows(spellings_statement(comparison)))[0]["spellings"]
        if len(spellings) > MOST_SPELLINGS:
            raise QueryLimitError(
                f"the parameters in question are written in more than {MOST_SPELLINGS} ways: give a shorter time range"
            )
        classes, reader = classes_of(comparison, spellings), Reader(comparison, self._enricher)
        count = Count(organization_id, reader, classes)
        if not classes.is_by_source:
            count.add_matched(await self._rows(time_statement(comparison)))
        await asyncio.to_thread(count.add_own, await self._rows(own_statement(classes)))
        await asyncio.to_thread(count.add_linked, await self._rows(linked_statement(classes)))
        if count.moved_clicks:
            count.add_relinked(await self._rows(relinked_statement(classes, count.moved_clicks)))
        return MappingPreview(count.months(), await self._samples(organization_id, classes, reader, count))

    async def _samples(
        self, organization_id: str, classes: Classes, reader: Reader, count: Count
    ) -> Sequence[SampleChange]:
        if not count.changed_classes:
            return ()
        found = await self._rows(sample_statement(classes, count.changed_classes))
        rows = sorted(found, key=lambda row: (row["event_ms"], str(row["event_id"])), reverse=True)
        readings = [(row, _read_row(reader, organization_id, row)) for row in rows]
        return [
            SampleChange(
                str(row["event_id"]),
                datetime.fromtimestamp(row["event_ms"] / 1000, UTC),
                shown(reading.before, reading.changed),
                shown(reading.after, reading.changed),
            )
            for row, reading in readings
        ]

    async def _rows(self, statement: Statement) -> list[dict[str, Any]]:
        found = await self._reader.rows(statement)
        return [dict(zip(found.names, row, strict=True)) for row in found.rows]


def _read_row(reader: Reader, organization_id: str, row: Mapping[str, Any]) -> Reading:
    return reader.read(arrival_of_row(organization_id, row), bytes.fromhex(row["gateway_click_id_hex"]))
