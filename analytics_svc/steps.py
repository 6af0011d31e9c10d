"""Steps in time, and the earlier time that a report is compared with. Days, weeks and months are a time zone's."""

import enum
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MOST_DEFAULT_STEPS = 400
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class Granularity(enum.StrEnum):
    """The length of a step."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    """From Monday."""
    MONTH = "month"


class Comparison(enum.StrEnum):
    """Which earlier time."""

    PREVIOUS_PERIOD = "previous_period"
    """The same length right before: as many months where the range is whole months, as many days where it is whole
    days, else as many milliseconds."""
    PREVIOUS_YEAR = "previous_year"
    """The same days of the year before."""


_LENGTHS = {
    Granularity.MINUTE: _MINUTE,
    Granularity.HOUR: _HOUR,
    Granularity.DAY: _DAY,
    Granularity.WEEK: 7 * _DAY,
    Granularity.MONTH: 30 * _DAY,
}


def expected_count(start: datetime, end: datetime, granularity: Granularity) -> int:
    """Return about how many steps there are, without making them: off by a few."""
    return -(-(end - start) // _LENGTHS[granularity])


def default_granularity(start: datetime, end: datetime) -> Granularity:
    """Return the finest that gives at most 400 steps."""
    fitting = (one for one in Granularity if expected_count(start, end, one) <= MOST_DEFAULT_STEPS)
    return next(fitting, Granularity.MONTH)


def steps_of(start: datetime, end: datetime, zone: ZoneInfo, granularity: Granularity) -> tuple[datetime, ...]:
    """Return the first instants, in UTC, of all steps that have a part of the range; the first may begin before it."""
    match granularity:
        case Granularity.MINUTE:
            return _instants(_whole_minute(start), end, lambda at: at + _MINUTE)
        case Granularity.HOUR:
            # A zone that moves its clock by half an hour has a step of half an hour then.
            return _instants(_whole_hour(start, zone), end, lambda at: _whole_hour(at + _HOUR, zone))
        case Granularity.DAY:
            return _days(start.astimezone(zone).date(), end, zone, lambda day: day + _DAY)
        case Granularity.WEEK:
            day = start.astimezone(zone).date()
            return _days(day - day.weekday() * _DAY, end, zone, lambda day: day + 7 * _DAY)
        case Granularity.MONTH:
            return _days(start.astimezone(zone).date().replace(day=1), end, zone, lambda day: _months_later(day, 1))


def earlier(start: datetime, end: datetime, zone: ZoneInfo, comparison: Comparison) -> tuple[datetime, datetime]:
    """Return the range to compare with."""
    if comparison is Comparison.PREVIOUS_YEAR:
        return _year_before(start, zone), _year_before(end, zone)
    first, last = start.astimezone(zone), end.astimezone(zone)
    if first != _first_instant(first.date(), zone) or last != _first_instant(last.date(), zone):
        return start - (end - start), start
    if first.day == 1 and last.day == 1:
        months = 12 * (last.year - first.year) + last.month - first.month
        return _first_instant(_months_later(first.date(), -months), zone), start
    return _first_instant(first.date() - (last.date() - first.date()), zone), start


def _instants(first: datetime, end: datetime, following: Callable[[datetime], datetime]) -> tuple[datetime, ...]:
    found = []
    while first < end:
        found.append(first)
        first = following(first)
    return tuple(found)


def _days(day: date, end: datetime, zone: ZoneInfo, following: Callable[[date], date]) -> tuple[datetime, ...]:
    found: list[datetime] = []
    while (first := _first_instant(day, zone)) < end:
        # A zone that moved over the date line left a day out: it has no instant of its own.
        if not found or first > found[-1]:
            found.append(first)
        day = following(day)
    return tuple(found)


def _first_instant(day: date, zone: ZoneInfo) -> datetime:
    # Where midnight is left out, the offset from before makes it the instant at which the clock moves.
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _whole_minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)


def _whole_hour(instant: datetime, zone: ZoneInfo) -> datetime:
    local = instant.astimezone(zone)
    past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    return instant - past


def _months_later(day: date, months: int) -> date:
    year, month = divmod(12 * day.year + day.month - 1 + months, 12)
    return day.replace(year=year, month=month + 1)


def _year_before(instant: datetime, zone: ZoneInfo) -> datetime:
    local = instant.astimezone(zone)
    day = 28 if (local.month, local.day) == (2, 29) else local.day
    return local.replace(year=local.year - 1, day=day).astimezone(UTC)
