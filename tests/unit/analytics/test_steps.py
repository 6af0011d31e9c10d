import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from analytics_svc.steps import Comparison, Granularity, default_granularity, earlier, expected_count, steps_of

BERLIN = ZoneInfo("Europe/Berlin")


def local(text: str, zone: str = "Europe/Berlin") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def lengths(start: str, end: str, granularity: Granularity, zone: str = "Europe/Berlin") -> list[float]:
    last = local(end, zone)
    steps = [*steps_of(local(start, zone), last, ZoneInfo(zone), granularity), last]
    return [(later - first) / timedelta(hours=1) for first, later in itertools.pairwise(steps)]


def test_the_days_on_which_the_clock_moves_have_23_and_25_hours() -> None:
    assert lengths("2026-03-28", "2026-03-31", Granularity.DAY) == [24, 23, 24]
    assert lengths("2026-10-24", "2026-10-27", Granularity.DAY) == [24, 25, 24]
    assert lengths("2026-03-23", "2026-04-06", Granularity.WEEK) == [167, 168]


def test_the_hour_that_comes_twice_is_two_steps_and_the_one_left_out_is_none() -> None:
    assert len(lengths("2026-10-25", "2026-10-26", Granularity.HOUR)) == 25
    assert len(lengths("2026-03-29", "2026-03-30", Granularity.HOUR)) == 23
    assert set(lengths("2026-10-25", "2026-10-26", Granularity.HOUR)) == {1}


def test_a_clock_that_moves_by_half_an_hour_has_a_step_of_half_an_hour() -> None:
    hours = lengths("2026-04-05", "2026-04-06", Granularity.HOUR, "Australia/Lord_Howe")
    assert sum(hours) == 24.5
    assert sorted(set(hours)) == [0.5, 1]


def test_hours_of_a_zone_with_half_an_hour_begin_at_its_own_hour() -> None:
    start = datetime(2026, 3, 1, 10, 10, tzinfo=UTC)
    first, *_ = steps_of(start, start + timedelta(hours=2), ZoneInfo("Asia/Kolkata"), Granularity.HOUR)
    assert first == datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def test_a_day_without_a_midnight_begins_when_the_clock_moves() -> None:
    zone = ZoneInfo("America/Santiago")
    days = steps_of(local("2026-09-05", str(zone)), local("2026-09-08", str(zone)), zone, Granularity.DAY)
    assert days[1].astimezone(zone).isoformat() == "2026-09-06T01:00:00-03:00"
    assert days[1] - days[0] == timedelta(hours=24)
    assert days[2] - days[1] == timedelta(hours=23)


def test_a_day_that_a_zone_left_out_is_no_step() -> None:
    zone = ZoneInfo("Pacific/Apia")
    days = steps_of(local("2011-12-29", str(zone)), local("2012-01-01", str(zone)), zone, Granularity.DAY)
    assert [day.astimezone(zone).day for day in days] == [29, 31]


@pytest.mark.parametrize(
    ("granularity", "wanted"),
    [
        (Granularity.MINUTE, "2026-03-18T13:14"),
        (Granularity.HOUR, "2026-03-18T13:00"),
        (Granularity.DAY, "2026-03-18T00:00"),
        (Granularity.WEEK, "2026-03-16T00:00"),
        (Granularity.MONTH, "2026-03-01T00:00"),
    ],
)
def test_the_first_step_begins_where_it_would_on_a_calendar(granularity: Granularity, wanted: str) -> None:
    start = local("2026-03-18T13:14:15.678")
    assert steps_of(start, start + timedelta(milliseconds=1), BERLIN, granularity) == (local(wanted),)


def test_an_end_on_a_boundary_adds_no_step() -> None:
    assert len(steps_of(local("2026-03-01"), local("2026-04-01"), BERLIN, Granularity.DAY)) == 31
    assert len(steps_of(local("2025-12-01"), local("2026-04-01"), BERLIN, Granularity.MONTH)) == 4


@pytest.mark.parametrize(
    ("length", "wanted"),
    [
        (timedelta(minutes=400), Granularity.MINUTE),
        (timedelta(minutes=401), Granularity.HOUR),
        (timedelta(days=30), Granularity.DAY),
        (timedelta(days=401), Granularity.WEEK),
        (timedelta(days=3660), Granularity.MONTH),
    ],
)
def test_the_default_is_the_finest_of_at_most_400_steps(length: timedelta, wanted: Granularity) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert default_granularity(start, start + length) is wanted
    assert expected_count(start, start + length, wanted) <= 400


@pytest.mark.parametrize(
    ("start", "end", "comparison", "wanted"),
    [
        # As many days, whatever their hours.
        ("2026-03-25", "2026-04-01", Comparison.PREVIOUS_PERIOD, ("2026-03-18", "2026-03-25")),
        # As many months, whatever their days.
        ("2026-03-01", "2026-04-01", Comparison.PREVIOUS_PERIOD, ("2026-02-01", "2026-03-01")),
        ("2026-01-01", "2026-04-01", Comparison.PREVIOUS_PERIOD, ("2025-10-01", "2026-01-01")),
        ("2026-03-03T10:00", "2026-03-03T12:30", Comparison.PREVIOUS_PERIOD, ("2026-03-03T07:30", "2026-03-03T10:00")),
        ("2026-03-25", "2026-04-01", Comparison.PREVIOUS_YEAR, ("2025-03-25", "2025-04-01")),
        ("2028-02-29", "2028-03-01", Comparison.PREVIOUS_YEAR, ("2027-02-28", "2027-03-01")),
    ],
)
def test_what_a_range_is_compared_with(start: str, end: str, comparison: Comparison, wanted: tuple[str, str]) -> None:
    assert earlier(local(start), local(end), BERLIN, comparison) == (local(wanted[0]), local(wanted[1]))
