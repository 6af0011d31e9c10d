"""What another set of mappings would change: the answer, and how it is found.

Events that a mapping could read otherwise are put into classes of the same reading: all that the reading of their
parameters rests on, with ids and labels, which nobody looks into, replaced by what they are equal to. The engine counts
the classes; the projection itself reads one event of each class twice, by the mappings that hold and by those that
would.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from analytics_svc.mapping import ActiveMapping
from analytics_svc.mapping_classes import HAS_CLICK, IN_SPAN, OWN, Classes, Comparison, classes_of
from analytics_svc.mapping_reading import LABELS, Reader, Reading, arrival_of_class, arrival_of_row, shown
from analytics_svc.statement import Statement
from analytics_svc.store import ReadingReader

MOST_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class MonthPreview:
    """One month, in UTC."""

    month: str
    """As ``2026-03``."""
    matched_count: int
    changed_count: int


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

    def __init__(self, reader: ReadingReader) -> None:
        self._reader = reader

    async def preview(
        self, organization_id: str, before: Sequence[ActiveMapping], after: Sequence[ActiveMapping]
    ) -> MappingPreview:
        """See ``Previewer.preview``."""
        comparison = Comparison(organization_id, tuple(before), tuple(after))
        if not comparison.changed:
            return MappingPreview((), ())
        classes, reader = classes_of(comparison), Reader(comparison)
        count = _Count(organization_id, reader, classes)
        own = await self._rows(own_statement(classes))
        await asyncio.to_thread(count.add_own, own)
        linked = await self._rows(linked_statement(classes))
        await asyncio.to_thread(count.add_linked, linked)
        samples = await self._samples(organization_id, classes, reader, count.changed_classes)
        return MappingPreview(count.months(), samples)

    async def _samples(
        self, organization_id: str, classes: Classes, reader: Reader, changed: Sequence[int]
    ) -> Sequence[SampleChange]:
        if not changed:
            return ()
        rows = await self._rows(sample_statement(classes, changed))
        readings = [(row, reader.read(arrival_of_row(organization_id, row))) for row in rows]
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


class _Count:
    """Counts classes; what each is read as is found out once."""

    def __init__(self, organization_id: str, reader: Reader, classes: Classes) -> None:
        self._organization_id = organization_id
        self._reader = reader
        self._has_traffic = "class_referrer" in classes.columns
        self._readings: dict[int, Reading] = {}
        self._matched: Counter[int] = Counter()
        self._changed: Counter[int] = Counter()
        self.changed_classes: list[int] = []
        """Of events that change by themselves."""

    def add_own(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add events that have nothing of a click."""
        for row in rows:
            reading = self._reading(row["class"], row, row["event_ms"])
            is_changed = bool(reading.changed)
            self._add(row, is_matched=self._reader.is_matched(reading), is_changed=is_changed)
            if is_changed:
                self.changed_classes.append(row["class"])

    def add_linked(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add conversions that may have their labels from a click, each class beside that of its click."""
        for row in rows:
            reading = self._reading(row["class"], row, row["event_ms"])
            changed = set(reading.changed)
            takes_after = reading.takes_labels if self._has_traffic else bool(row["takes"])
            if takes_after and row["takes"]:
                click = {name.removeprefix("click_"): value for name, value in row.items() if name.startswith("click_")}
                of_click = (
                    self._reading(row["click_class"], click, row["click_ms"]).changed if row["click_class"] else ()
                )
                changed = (changed - LABELS) | (LABELS & set(of_click))
            is_changed = bool(changed) or takes_after != bool(row["takes"])
            self._add(row, is_matched=self._reader.is_matched(reading), is_changed=is_changed)

    def months(self) -> list[MonthPreview]:
        """Return what was counted."""
        return [
            MonthPreview(f"{month // 100:04}-{month % 100:02}", self._matched[month], self._changed[month])
            for month in sorted(self._matched.keys() | self._changed.keys())
        ]

    def _reading(self, key: int, found: Mapping[str, Any], event_time_ms: int) -> Reading:
        if key not in self._readings:
            arrival = arrival_of_class(self._organization_id, found, event_time_ms)
            self._readings[key] = self._reader.read(arrival)
        return self._readings[key]

    def _add(self, row: Mapping[str, Any], *, is_matched: bool, is_changed: bool) -> None:
        by_month = dict(zip(*row["months"], strict=True))
        if is_matched:
            self._matched.update(by_month)
        if is_changed:
            self._changed.update(by_month)


_MONTHS = "sumMap([toYYYYMM(event_time)], [toUInt64(1)]) AS months"
_MS = "toUnixTimestamp64Milli(event_time)"
_TOUCH_IN_SPAN = IN_SPAN.replace("event_time", "touch_time")


def own_statement(classes: Classes) -> Statement:
    """Count the events that have nothing of a click, by class."""
    columns = ", ".join(f"any({name}) AS {name}" for name in classes.columns)
    rows = classes.rows(f"NOT ({HAS_CLICK})", "event_time")
    return Statement(
        f"SELECT class, {columns}, min({_MS}) AS event_ms, {_MONTHS} FROM ({rows}) GROUP BY class",  # noqa: S608 - our own text
        classes.parameters,
    )


def linked_statement(classes: Classes) -> Statement:
    """Count the conversions that have a click, by their class and by that of the click."""
    conversions = classes.rows(
        f"{HAS_CLICK} AND ({IN_SPAN} OR {_TOUCH_IN_SPAN})",
        "event_time",
        "touch_event_id",
        "traffic_rule",
        prewhere=OWN,
    )
    touched = f"SELECT touch_event_id FROM events PREWHERE {OWN} WHERE {HAS_CLICK} AND {_TOUCH_IN_SPAN}"  # noqa: S608 - our own text
    clicks = classes.rows(f"event_type = 'click' AND event_id IN ({touched})", "event_time", "event_id")
    click_columns = ", ".join(f"{name} AS click_{name}" for name in ("class", *classes.columns))
    any_of = ", ".join(
        f"any({prefix}{name}) AS {prefix}{name}" for prefix in ("", "click_") for name in classes.columns
    )
    return Statement(
        f"SELECT class, click_class, takes, {any_of}, min({_MS}) AS event_ms, min(click_time_ms) AS click_ms, {_MONTHS}"  # noqa: S608 - our own text
        f" FROM (SELECT *, traffic_rule = 'click' AS takes FROM ({conversions})) AS c"
        f" LEFT JOIN (SELECT event_id, {_MS} AS click_time_ms, {click_columns} FROM ({clicks})) AS k"
        " ON c.touch_event_id = k.event_id GROUP BY class, click_class, takes",
        classes.parameters,
    )


def sample_statement(classes: Classes, changed: Sequence[int]) -> Statement:
    """Find the newest events of some classes."""
    texts = ", ".join(f"hex({name}) AS {name}_hex" for name in ("event_type", "host", "external_click_id"))
    maps = ", ".join(
        f"mapApply((name, value) -> (hex(name), hex(value)), {name}) AS {name}_hex" for name in ("params", "headers")
    )
    more = ("event_id", "event_time", "event_type", "route", "host", "click_id", "external_click_id", "marks")
    rows = classes.rows(f"NOT ({HAS_CLICK})", *more, "params", "headers")
    return Statement(
        f"SELECT event_id, {_MS} AS event_ms, toString(route) AS route, click_id, marks, {texts}, {maps} FROM ({rows})"  # noqa: S608 - our own text
        f" WHERE class IN {{classes:Array(UInt64)}} ORDER BY event_time DESC, event_id LIMIT {MOST_SAMPLES}",
        {**classes.parameters, "classes": list(changed)},
    )
