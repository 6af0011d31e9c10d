"""Which tables answer a question, each for a part of the time: roll-ups where they can, events for the rest.

The answer is the same whatever the plan: parts of the range do not overlap, sums add up and states merge.
"""

import enum
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from analytics_svc.metric import Measure
from analytics_svc.slice import Slice
from rule_language.predicate import fields_of

DAY_DIMENSIONS = frozenset(
    {
        *("event_type", "source", "medium", "channel", "campaign", "campaign_id", "placement", "country", "region"),
        *("city", "device_type", "os", "browser", "language", "referer_host"),
    }
)
"""The dimensions that the roll-ups have by UTC day."""
HOUR_DIMENSIONS = frozenset({"campaign_id"})
"""Those whose unique counts there are by hour."""
_TIME_DIMENSIONS = frozenset({"hour", "weekday", "date"})
# A rule can tell "unknown" from "nobody said" in these, the roll-ups cannot.
_MAY_BE_UNKNOWN = frozenset({"country", "region", "city"})
_MOST_RANGES = 40
"""Of one part: with more, a finer table answers it all."""

Range: TypeAlias = tuple[int, int]
"""Unix milliseconds: the first inside and the first outside."""


class Source(enum.StrEnum):
    """A table, and its finest unit of time."""

    DAY = "rollup_day"
    UNIQUE_DAY = "rollup_unique by day"
    UNIQUE_HOUR = "rollup_unique by hour"
    MINUTE = "rollup_minute"
    EVENTS = "events"

    @property
    def shown(self) -> str:
        """The name that a result has for it."""
        return _SHOWN[self]


_SHOWN = {
    Source.DAY: "day",
    Source.UNIQUE_DAY: "day",
    Source.UNIQUE_HOUR: "hour",
    Source.MINUTE: "minute",
    Source.EVENTS: "events",
}
_UNIT_MS = {
    Source.DAY: 86_400_000,
    Source.UNIQUE_DAY: 86_400_000,
    Source.UNIQUE_HOUR: 3_600_000,
    Source.MINUTE: 60_000,
    Source.EVENTS: 1,
}
_FOR_SUMS = (Source.DAY, Source.MINUTE, Source.EVENTS)
_FOR_UNIQUES = (Source.UNIQUE_DAY, Source.UNIQUE_HOUR, Source.EVENTS)


@dataclass(frozen=True, slots=True)
class Part:
    """What one table answers."""

    source: Source
    measures: tuple[Measure, ...]
    ranges: tuple[Range, ...]
    """Milliseconds, in order; they do not touch."""
    carried: str = ""
    """The dimension that its rows are of, where it has rows by dimension; '' for everything."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where an answer comes from."""

    parts: tuple[Part, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of what is read, each once."""
        return tuple(dict.fromkeys(part.source.shown for part in self.parts))


def plan_of(
    part: Slice, *, dimensions: Sequence[str], measures: Sequence[Measure], steps: Sequence[datetime] = ()
) -> Plan:
    """Choose the tables for measures by dimensions and steps. Every measure is answered for every instant once."""
    start, end = _milliseconds(part.start_time), _milliseconds(part.end_time)
    edges = [edge for edge in map(_milliseconds, steps) if start < edge < end]
    asked = _Asked(part, frozenset(dimensions))
    answers: dict[tuple[Source, tuple[Range, ...]], list[Measure]] = {}
    for is_unique, chain in ((False, _FOR_SUMS), (True, _FOR_UNIQUES)):
        wanted = [measure for measure in measures if measure.is_unique is is_unique]
        usable = [
            source
            for source in chain
            if source is Source.EVENTS or (asked.is_answered_by(source) and all(one.of_rollup for one in wanted))
        ]
        for source, ranges in _divide(start, end, edges, usable) if wanted else ():
            answers.setdefault((source, ranges), []).extend(wanted)
    whole = (Source.EVENTS, ((start, end),))
    if whole in answers:
        # All events are read anyhow.
        answers = {whole: list(measures)}
    return Plan(
        tuple(
            Part(source, tuple(found), ranges, asked.carried_by(source)) for (source, ranges), found in answers.items()
        )
    )


class _Asked:
    """What the rows of a table must tell for a question."""

    def __init__(self, part: Slice, dimensions: frozenset[str]) -> None:
        self._rules = fields_of(part.filter) if part.filter is not None else frozenset()
        self._shown = dimensions | {chosen.dimension.name for chosen in part.dimension_filters}
        self._is_utc = part.time_zone == "UTC"
        self._is_of_then = part.as_of is not None
        named = (self._rules | self._shown) & DAY_DIMENSIONS
        carried = named - {"campaign_id"}
        self._is_one = len(carried) <= 1
        self._carried = next(iter(carried), "")
        self._has_campaign = "campaign_id" in named

    def carried_by(self, source: Source) -> str:
        """Return the dimension that the rows of ``source`` are to be of."""
        if source in {Source.UNIQUE_DAY, Source.UNIQUE_HOUR} and self._has_campaign:
            return "campaign_id"
        return self._carried

    def is_answered_by(self, source: Source) -> bool:
        """Say whether the rows of ``source`` tell all that is asked for."""
        if self._is_of_then and source is not Source.EVENTS:
            return False
        shown, rules = self._shown, self._rules
        match source:
            case Source.DAY:
                known = {self._carried, "campaign_id", "is_bot"} | ({"weekday", "date"} if self._is_utc else set())
                return self._is_one and shown <= known and rules <= self._ruled() | {"is_bot"}
            case Source.UNIQUE_DAY | Source.UNIQUE_HOUR:
                carried = DAY_DIMENSIONS if source is Source.UNIQUE_DAY else HOUR_DIMENSIONS
                return (
                    self._is_one
                    and not (self._carried and self._has_campaign)
                    and shown & DAY_DIMENSIONS <= carried
                    and shown - DAY_DIMENSIONS <= {"is_bot"}
                    and rules <= (self._ruled() & carried) | {"is_bot"}
                )
            case Source.MINUTE:
                return shown <= _TIME_DIMENSIONS | {"campaign_id", "is_bot"} and rules <= _TIME_DIMENSIONS | {"is_bot"}
            case Source.EVENTS:
                return True

    def _ruled(self) -> frozenset[str]:
        """The dimensions that a rule may be about: it sees the same in a roll-up's row as in the event."""
        return frozenset({self._carried}) & DAY_DIMENSIONS - _MAY_BE_UNKNOWN


def _divide(
    start: int, end: int, edges: Sequence[int], sources: Iterable[Source]
) -> Iterable[tuple[Source, tuple[Range, ...]]]:
    """Give every source, the coarsest first, the whole units that no edge cuts; the last one takes what is left."""
    rest: list[Range] = [(start, end)]
    for source in sources:
        unit = _UNIT_MS[source]
        taken, left = _whole_units(rest, [edge for edge in edges if edge % unit], unit)
        if not taken or (len(taken) > _MOST_RANGES and source is not Source.EVENTS):
            continue
        yield source, tuple(taken)
        rest = left


def _whole_units(ranges: Sequence[Range], cuts: Sequence[int], unit: int) -> tuple[list[Range], list[Range]]:
    taken: list[Range] = []
    left: list[Range] = []
    for start, end in ranges:
        edges = [start, *(cut for cut in cuts if start < cut < end), end]
        for low, high in itertools.pairwise(edges):
            first, last = -(-low // unit) * unit, high // unit * unit
            if first >= last:
                _extend(left, (low, high))
                continue
            _extend(left, (low, first))
            _extend(taken, (first, last))
            _extend(left, (last, high))
    return taken, left


def _extend(ranges: list[Range], piece: Range) -> None:
    """Add a piece, as a part of the range before it where they touch."""
    if piece[0] >= piece[1]:
        return
    if ranges and ranges[-1][1] == piece[0]:
        ranges[-1] = (ranges[-1][0], piece[1])
    else:
        ranges.append(piece)


def _milliseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
