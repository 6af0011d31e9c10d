"""Periods are numbered without a gap, whatever the clocks do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_svc.behavior.period import Period

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Asia/Kolkata", "Africa/Cairo"]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-28", 24),
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("UTC", "2026-03-29", 24),
        # Clocks go forward at midnight: the day begins at 01:00.
        ("America/Santiago", "2026-09-06", 23),
        ("Africa/Cairo", "2026-04-24", 23),
    ],
)
def test_a_day_has_as_many_hours_as_its_zone_gives_it(zone: str, day: str, hours: int) -> None:
    known = ZoneInfo(zone)
    number = Period.DAY.number_of(datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=known), known)
    start, end = (Period.DAY.start_of(each, known) for each in (number, number + 1))
    assert (end - start) == timedelta(hours=hours)


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    instant = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)  # 1 April, 00:30, a Wednesday
    week, month = (period.start_of(period.number_of(instant, berlin), berlin) for period in (Period.WEEK, Period.MONTH))
    assert week == datetime(2026, 3, 29, 22, tzinfo=UTC)
    assert month == datetime(2026, 3, 31, 22, tzinfo=UTC)


@given(
    st.sampled_from(list(Period)),
    st.sampled_from(ZONES),
    st.integers(86_400, 3_786_912_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
)
def test_every_instant_is_in_the_period_of_its_number(period: Period, zone: str, instant: datetime) -> None:
    known = ZoneInfo(zone)
    number = period.number_of(instant, known)
    assert period.start_of(number, known) <= instant < period.start_of(number + 1, known)
    assert period.number_of(period.start_of(number, known), known) == number
