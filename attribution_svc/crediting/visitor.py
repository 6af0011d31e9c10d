"""What one visitor did, and what each touch is credited with. Pure: no clock, no store."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from attribution_svc.crediting.money import in_minor_units
from attribution_svc.models.allocate import allocate
from attribution_svc.models.rules import Rule, credits_of
from attribution_svc.models.touch import DAY_MS, Conversion, Journey, Lookback, Touch, journey_of
from svc_runtime.mesh_token import Caller

TOUCH_TYPES = frozenset({"click", "pageview"})
"""Events that may be credited, as in the paths of analytics_svc."""
_HUNDREDTHS = 10_000


@dataclass(frozen=True, slots=True)
class VisitorEvent:
    """One event of a visitor."""

    event_id: str
    event_time: datetime
    event_type: str
    source: str
    medium: str
    channel: str
    campaign_id: str
    session_id: str
    is_conversion: bool
    value_micros: int = 0
    currency: str = ""

    @property
    def time_ms(self) -> int:
        """Unix milliseconds."""
        return round(self.event_time.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A visitor's events."""

    user_id: str
    events: tuple[VisitorEvent, ...]
    """In the order of time."""
    watermark_time: datetime | None


class Visitors(Protocol):
    """Where journeys come from."""

    async def visitor(
        self,
        caller: Caller,
        *,
        user_id: str,
        click_id: str,
        start_time: datetime,
        end_time: datetime,
        is_person: bool = False,
    ) -> Visitor:
        """Return what a visitor of the caller's organisation did, named by its id or by a click's.

        With ``is_person`` what all visitors did who are one person with this one.
        Raise NotFoundError for one that is not there, UnavailableError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Touchpoint:
    """A touch and its credit."""

    event: VisitorEvent
    days_before_conversion: float | None
    """To the first conversion that it may be credited for; None when there is none."""
    value_micros: int
    """In whole minor units of the currency."""
    percent: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """The credits of one visitor."""

    total_micros: int
    currency: str
    conversion_count: int
    touchpoints: tuple[Touchpoint, ...]
    nobody_micros: int
    insights: tuple[str, ...]


def attribute(
    visitor: Visitor, rule: Rule, *, lookback: Lookback, start_time: datetime, end_time: datetime, currency: str = ""
) -> Attribution:
    """Credit the conversions from ``start_time`` to before ``end_time`` to the touches before each of them."""
    in_time = [e for e in visitor.events if e.is_conversion and start_time <= e.event_time < end_time]
    currency = currency or _most_common(in_time)
    converted = [event for event in in_time if event.currency in ("", currency)]
    events = [event for event in visitor.events if not event.is_conversion and event.event_type in TOUCH_TYPES]
    touches = [_touch(event, index) for index, event in enumerate(events)]
    journeys = [journey_of(_conversion(event), touches, lookback) for event in converted]
    credited, nobody = _credited(journeys, rule, len(events))
    total = sum(event.value_micros for event in converted)
    *values, nobody = in_minor_units([*credited, nobody], currency)
    percents = _percents([*values, nobody])
    points = tuple(
        Touchpoint(event, _days_before(index, journeys), value, percent)
        for index, (event, value, percent) in enumerate(zip(events, values, percents[:-1], strict=True))
    )
    inside = [point for point in points if point.days_before_conversion is not None]
    return Attribution(total, currency, len(converted), points, nobody, tuple(_insights(inside)))


def _most_common(conversions: Sequence[VisitorEvent]) -> str:
    counted = Counter(event.currency for event in conversions if event.currency)
    return min(counted, key=lambda code: (-counted[code], code)) if counted else ""


def _touch(event: VisitorEvent, index: int) -> Touch:
    # Credits are asked for touch by touch: each is a channel of its own.
    is_direct = event.source in ("", "direct")
    return Touch(event.event_id, event.time_ms, str(index), index, is_direct, event.session_id)


def _conversion(event: VisitorEvent) -> Conversion:
    return Conversion(event.event_id, event.time_ms, event.value_micros, session_id=event.session_id)


def _credited(journeys: Sequence[Journey], rule: Rule, count: int) -> tuple[list[int], int]:
    """Return micros by index of the touch, and nobody's."""
    credited, nobody = [0] * count, 0
    for journey in journeys:
        for credit in credits_of(journey, rule):
            if credit.touch is None:
                nobody += credit.value_micros
            else:
                credited[int(credit.touch.channel)] += credit.value_micros
    return credited, nobody


def _percents(parts: list[int]) -> list[float]:
    if not any(parts) or min(parts) < 0 < max(parts):
        return [0.0] * len(parts)
    return [share / 100 for share in allocate(_HUNDREDTHS, [abs(part) for part in parts])]


def _days_before(index: int, journeys: Sequence[Journey]) -> float | None:
    for journey in journeys:
        for touch in journey.touches:
            if touch.sequence == index:
                return (journey.conversion.time_ms - touch.time_ms) / DAY_MS
    return None


def _insights(points: Sequence[Touchpoint]) -> list[str]:
    """Say in words what is to be seen."""
    if not points:
        return []
    first, last = points[0], points[-1]
    insights = []
    named = [point for point in points if point.event.source not in ("", "direct")]
    if named:
        insights.append(f"{_name(named[-1])} was the final major touchpoint before conversion")
    days = first.days_before_conversion or 0.0
    insights.append(f"Customer journey spanned {days:.1f} days with {len(points)} touchpoint{'s' * (len(points) > 1)}")
    # A direct visit is how people come who made up their mind elsewhere: it drives where nothing else is credited.
    drivers = [point for point in named if point.value_micros > 0] or points
    best = max(drivers, key=lambda point: point.value_micros)
    if best.event.event_id != first.event.event_id and best.value_micros > 0:
        insights.append(f"{_name(first)} initiated awareness, {_name(best).lower()} drove conversion")
    elif last is first:
        insights.append(f"{_name(first)} did it alone")
    return insights


def _name(point: Touchpoint) -> str:
    return (point.event.source or "direct").capitalize()
