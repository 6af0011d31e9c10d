"""Counting the classes of events that two sets of mappings read differently."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analytics_svc.mappings.classes import HAS_CLICK, IN_SPAN, OWN, SPANS, Classes, Comparison, parameters_of
from analytics_svc.mappings.reading import LABELS, Reader, Reading, arrival_of_class
from analytics_svc.statement import Statement
from analytics_svc.store.touches import CONVERSION, IDS, NIL

MOST_SAMPLES = 20
_CLICK = "click"
_MONTHS = "sumMap([toYYYYMM(event_time)], [toUInt64(1)]) AS months"
_MS = "toUnixTimestamp64Milli(event_time)"
_TOUCH_IN_SPAN = IN_SPAN.replace("event_time", "touch_time")
_IS_CLICK = "event_type = 'click'"
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MonthPreview:
    """One month, in UTC."""

    month: str
    """As ``2026-03``."""
    matched_count: int
    changed_count: int


class Count:
    """Counts classes; what each is read as is found out once."""

    def __init__(self, organization_id: str, reader: Reader, classes: Classes) -> None:
        self._organization_id = organization_id
        self._reader = reader
        self._names = classes.names
        self._is_by_source = classes.is_by_source
        self._readings: dict[int, Reading] = {}
        self._verdicts: dict[tuple[int, int, int], bool] = {}
        self._matched: Counter[int] = Counter()
        self._changed: Counter[int] = Counter()
        self.changed_classes: list[int] = []
        """Of events that change by themselves."""
        self.moved_clicks: dict[int, int] = {}
        """Classes of clicks that are found by another id then, and where it is: see ``_place``."""

    def add_matched(self, rows: Iterable[Row]) -> None:
        """Add all events of some time: those of a mapping that asks for no source are matched by that alone."""
        for row in rows:
            if self._reader.is_wanted_at(row["event_ms"]):
                self._matched.update(_by_month(row))

    def add_own(self, rows: Iterable[Row]) -> None:
        """Add events that have nothing of a click."""
        for row in rows:
            reading = self._reading(row["class"], row, row["event_ms"])
            self._add(row, (row["class"], 0, 0), reading, is_changed=bool(reading.changed))
            if reading.changed:
                self.changed_classes.append(row["class"])
            if "external_click_id" in reading.changed and reading.after.event_type == _CLICK.encode():
                self.moved_clicks[row["class"]] = _place(row, reading.after.external_click_id)

    def add_linked(self, rows: Iterable[Row]) -> None:
        """Add conversions that may have their labels from a click, each class beside that of its click."""
        for row in rows:
            reading = self._reading(row["class"], row, row["event_ms"])
            changed = set(reading.changed)
            if row["takes"] and not reading.turns:
                changed = (changed - LABELS) | (LABELS & self._changed_of_click(row))
            self._add(row, (row["class"], row["click_class"], row["takes"]), reading, is_changed=bool(changed))

    def add_relinked(self, rows: Iterable[Row]) -> None:
        """Add conversions that go back to another click then, where nothing else changes them."""
        for row in rows:
            if not self._verdicts.get((row["class"], row["click_class"], row["takes"]), False):
                self._changed.update(_by_month(row))

    def months(self) -> list[MonthPreview]:
        """Return what was counted."""
        return [
            MonthPreview(f"{month // 100:04}-{month % 100:02}", self._matched[month], self._changed[month])
            for month in sorted(self._matched.keys() | self._changed.keys())
        ]

    def _changed_of_click(self, row: Row) -> frozenset[str]:
        if not row["click_class"]:
            return frozenset()  # received when no mapping in question held
        click = {name.removeprefix("click_"): value for name, value in row.items() if name.startswith("click_")}
        return self._reading(row["click_class"], click, row["click_ms"]).changed

    def _reading(self, key: int, found: Row, event_time_ms: int) -> Reading:
        if key not in self._readings:
            arrival = arrival_of_class(self._organization_id, self._names, found, event_time_ms)
            self._readings[key] = self._reader.read(arrival, bytes.fromhex(found.get("class_gateway_click_id", "")))
        return self._readings[key]

    def _add(self, row: Row, key: tuple[int, int, int], reading: Reading, *, is_changed: bool) -> None:
        self._verdicts[key] = is_changed
        if self._is_by_source and self._reader.is_matched(reading):
            self._matched.update(_by_month(row))
        if is_changed:
            self._changed.update(_by_month(row))


def _by_month(row: Row) -> dict[int, int]:
    return dict(zip(*row["months"], strict=True))


def _any_of(name: str) -> str:
    """Return the column of a class; values go out in hexadecimal, for they may be any bytes."""
    return f"arrayMap(value -> hex(value), any({name}))" if name.endswith("class_values") else f"any({name})"


def own_statement(classes: Classes) -> Statement:
    """Count the events that have nothing of a click, by class."""
    columns = ", ".join(f"{_any_of(name)} AS {name}" for name in classes.columns)
    rows = classes.rows(f"{IN_SPAN} AND NOT ({HAS_CLICK})", "event_time")
    where = "1" if classes.is_by_source else "is_candidate"
    return Statement(
        f"SELECT class, {columns}, min({_MS}) AS event_ms, {_MONTHS} FROM ({rows}) WHERE {where} GROUP BY class",  # noqa: S608 - our own text
        classes.parameters,
    )


def time_statement(comparison: Comparison) -> Statement:
    """Count all events by time."""
    return Statement(
        f"SELECT {SPANS} AS part, min({_MS}) AS event_ms, {_MONTHS} FROM events"  # noqa: S608 - our own text
        f" PREWHERE {OWN} AND {IN_SPAN} GROUP BY part",
        parameters_of(comparison),
    )


def linked_statement(classes: Classes) -> Statement:
    """Count the conversions that have a click, by their class and by that of the click."""
    conversions = classes.rows(
        f"{HAS_CLICK} AND ({IN_SPAN} OR {_TOUCH_IN_SPAN})", "event_time", "touch_event_id", "traffic_rule"
    )
    any_of = ", ".join(
        f"{_any_of(prefix + name)} AS {prefix}{name}" for prefix in ("", "click_") for name in classes.columns
    )
    return Statement(
        f"SELECT class, click_class, takes, {any_of}, min({_MS}) AS event_ms, min(click_time_ms) AS click_ms, {_MONTHS}"  # noqa: S608 - our own text
        f" FROM (SELECT *, traffic_rule = 'click' AS takes FROM ({conversions})) AS c"
        f" LEFT JOIN ({_touched_clicks(classes)}) AS k ON c.touch_event_id = k.event_id"
        " GROUP BY class, click_class, takes",
        classes.parameters,
    )


def _touched_clicks(classes: Classes) -> str:
    """Return the clicks, received while a mapping in question holds, that conversions go back to."""
    touched = f"SELECT touch_event_id FROM events PREWHERE {OWN} AND {HAS_CLICK} AND {_TOUCH_IN_SPAN}"  # noqa: S608 - our own text
    clicks = classes.rows(f"{IN_SPAN} AND {_IS_CLICK} AND event_id IN ({touched})", "event_time", "event_id")
    columns = ", ".join(f"{name} AS click_{name}" for name in ("class", *classes.columns))
    return f"SELECT event_id, {_MS} AS click_time_ms, {columns} FROM ({clicks})"  # noqa: S608 - our own text


def relinked_statement(classes: Classes, moved: Mapping[int, int]) -> Statement:
    """Count the conversions that go back to another click once clicks of the classes ``moved`` have another id."""
    references = f"SELECT arrayJoin(references) FROM events PREWHERE {OWN} AND {CONVERSION}"  # noqa: S608 - our own text
    new_id = (
        "transform(class, {moved:Array(UInt64)}, {places:Array(Int32)}, toInt32(-1)) AS place,"
        " multiIf(place = -1, external_click_id, place = -2, gateway_click_id, place = 0, '', cuts[place]) AS moved_id"
    )
    columns = ("event_id", "event_time", "click_id", "external_click_id", "gateway_click_id")
    clicks = (
        f"SELECT event_id, event_time, click_id, {new_id} FROM ({classes.rows(f'{IN_SPAN} AND {_IS_CLICK}', *columns)})"  # noqa: S608 - our own text
        " UNION ALL SELECT event_id, event_time, click_id, 0, external_click_id"
        f" FROM events PREWHERE {OWN} AND NOT ({IN_SPAN}) AND {_IS_CLICK}"
    )
    ids = IDS.replace("external_click_id", "moved_id")
    found = (
        "argMinIf(k.event_id, (c.place, k.event_time > c.at,"
        " if(k.event_time > c.at, 1, -1) * toUnixTimestamp64Milli(k.event_time), toString(k.event_id)),"
        f" k.event_id != {NIL})"
    )
    conversions = classes.rows(
        f"{CONVERSION} AND notEmpty(references)",
        *("event_id", "event_time", "touch_event_id", "traffic_rule", "references", "conversion_time"),
    )
    relinked = (
        f"SELECT c.event_id AS event_id, any(c.class) AS class, any(c.event_time) AS event_time,"  # noqa: S608 - our own text
        f" any(c.takes) AS takes, any(c.touch_event_id) AS touch_event_id, {found} AS found FROM ("
        " SELECT event_id, class, event_time, touch_event_id, traffic_rule = 'click' AS takes,"
        " least(event_time, ifNull(conversion_time, event_time)) AS at, reference AS id, place"
        f" FROM ({conversions}) ARRAY JOIN references AS reference, arrayEnumerate(references) AS place"
        ") AS c LEFT JOIN ("
        f" SELECT event_id, event_time, id FROM (SELECT event_id, event_time, arrayJoin({ids}) AS id FROM ({clicks}))"
        f" WHERE id IN ({references})"
        ") AS k USING (id) GROUP BY c.event_id HAVING found != touch_event_id"
    )
    return Statement(
        f"SELECT class, click_class, takes, {_MONTHS} FROM ({relinked}) AS c"  # noqa: S608 - our own text
        f" LEFT JOIN (SELECT event_id, click_class FROM ({_touched_clicks(classes)})) AS k"
        " ON c.touch_event_id = k.event_id GROUP BY class, click_class, takes",
        {
            **classes.parameters,
            "moved": list(moved),
            "places": list(moved.values()),
        },
    )


def _place(row: Row, external_click_id: bytes) -> int:
    """Return where an id of a class is: among its parameters, from 1; -2: with the gateway's; 0: nowhere."""
    if external_click_id and external_click_id.hex() == row["class_gateway_click_id"].lower():
        return -2
    values = list(map(bytes.fromhex, row["class_values"]))
    return values.index(external_click_id) + 1 if external_click_id in values else 0


def sample_statement(classes: Classes, changed: Sequence[int]) -> Statement:
    """Find events of some classes."""
    texts = ", ".join(
        f"hex({name}) AS {name}_hex" for name in ("event_type", "host", "external_click_id", "gateway_click_id")
    )
    maps = ", ".join(
        f"mapApply((name, value) -> (hex(name), hex(value)), {name}) AS {name}_hex" for name in ("params", "headers")
    )
    more = (
        "event_id",
        "event_time",
        "event_type",
        "route",
        "host",
        "click_id",
        "external_click_id",
        "gateway_click_id",
        "marks",
    )
    rows = classes.rows(f"{IN_SPAN} AND NOT ({HAS_CLICK})", *more, "params", "headers")
    return Statement(
        f"SELECT event_id, {_MS} AS event_ms, toString(route) AS route, click_id, marks, {texts}, {maps} FROM ({rows})"  # noqa: S608 - our own text
        f" WHERE class IN {{classes:Array(UInt64)}} LIMIT {MOST_SAMPLES}",
        {**classes.parameters, "classes": list(changed)},
    )
