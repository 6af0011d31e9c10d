"""Days, weeks and months of a time zone, numbered: what follows is one more, however many hours a day has."""

import enum
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_EPOCH = date(1970, 1, 1)
_FIRST_MONDAY = date(1970, 1, 5)
_DATE = "toDate32(event_time, {time_zone:String})"


class Period(enum.Enum):
    """A length of time."""

    DAY = "day"
    WEEK = "week"
    """From Monday."""
    MONTH = "month"

    @property
    def expression(self) -> str:
        """The number of the period of ``event_time`` in ``{time_zone:String}``: Int32."""
        return {
            Period.DAY: f"toInt32({_DATE})",
            Period.WEEK: f"toInt32(floor((toInt32({_DATE}) - 4) / 7))",
            Period.MONTH: f"toInt32((toYear({_DATE}) - 1970) * 12 + toMonth({_DATE}) - 1)",
        }[self]

    def number_of(self, instant: datetime, zone: ZoneInfo) -> int:
        """Return the number of the period that an instant is in."""
        day = instant.astimezone(zone).date()
        match self:
            case Period.DAY:
                return (day - _EPOCH).days
            case Period.WEEK:
                return (day - _FIRST_MONDAY).days // 7
            case Period.MONTH:
                return (day.year - 1970) * 12 + day.month - 1

    def start_of(self, number: int, zone: ZoneInfo) -> datetime:
        """Return the first instant of a period, in UTC."""
        day = self._first_day(number)
        # Where clocks are set forward at midnight there is no such time: this reads it by the clock before, which is
        # the instant of the change.
        return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)

    def _first_day(self, number: int) -> date:
        match self:
            case Period.DAY:
                return _EPOCH + timedelta(days=number)
            case Period.WEEK:
                return _FIRST_MONDAY + timedelta(weeks=number)
            case Period.MONTH:
                return date(1970 + number // 12, number % 12 + 1, 1)
