from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrichment.times import EARLIEST_SANE_MS, LARGEST_SKEW_MS, Instant, read_time

NOW = 1_793_000_000_000
MAY = 1_777_629_600_000  # 2026-05-01T10:00:00Z
NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("text", "unix_ms"),
    [
        ("1777629600", MAY),
        ("1777629600.1239", MAY + 123),
        ("1777629600123", MAY + 123),
        ("1777629600123.9", MAY + 123),
        ("1777629600123456", MAY + 123),
        ("1777629600123456789", MAY + 123),
        ("2026-05-01T10:00:00Z", MAY),
        ("2026-05-01T10:00:00.123456Z", MAY + 123),
        ("2026-05-01t12:00:00,5+02:00", MAY + 500),
        ("2026-05-01T12:00:00+0200", MAY),
        ("2026-05-01T12:00:00+02", MAY),
        ("2026-05-01T12:00:00 02:00", MAY),
        ("2026-05-01T04:30:00-05:30", MAY),
        ("2026-05-01 10:00:00 +00:00", MAY),
        ("2026-05-01T10:00Z", MAY),
        ("2026-05-01T09:59:60Z", MAY),
        (" 2026-05-01T10:00:00Z\n", MAY),
    ],
)
def test_instants_as_senders_write_them(text: str, unix_ms: int) -> None:
    assert read_time(text.encode(), received_ms=NOW, zone=NEW_YORK) == Instant(unix_ms)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-05-01 10:00:00", "2026-05-01T14:00:00+00:00"),
        ("2026-05-01T10:00:00", "2026-05-01T14:00:00+00:00"),
        ("2026-01-01 10:00", "2026-01-01T15:00:00+00:00"),
        ("2026-05-01", "2026-05-01T04:00:00+00:00"),
        ("2025-11-02 01:30:00", "2025-11-02T05:30:00+00:00"),  # twice that night: the earlier
        ("2026-03-08 02:30:00", "2026-03-08T07:30:00+00:00"),  # skipped: as if the clock had not changed yet
    ],
)
def test_a_wall_clock_is_in_the_organisations_zone(text: str, utc: str) -> None:
    unix_ms = int(datetime.fromisoformat(utc).timestamp()) * 1000
    assert read_time(text.encode(), received_ms=NOW, zone=NEW_YORK) == Instant(unix_ms, is_zone_assumed=True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"), (" ", "empty"), ("{timestamp}", "macro"), ("NaN", "macro"), ("null", "macro"),
        ("yesterday", "not_a_time"), ("Infinity", "not_a_time"), ("1e9", "not_a_time"), ("0x5", "not_a_time"),
        ("10:00:00", "not_a_time"), ("01/05/2026", "not_a_time"), ("1" * 21, "not_a_time"), ("٣" * 10, "not_a_time"),
        ("2026-05-01T10", "not_a_time"), ("2026-02-30", "no_such_time"), ("2026-13-01", "no_such_time"),
        ("2026-05-01 24:00:00", "no_such_time"), ("2026-05-01T10:00:00+99:00", "no_such_time"),
        ("0000-01-01", "no_such_time"), ("2" * 65, "not_a_time"),
    ],
)  # fmt: skip
def test_what_is_no_time_has_a_reason(text: str, reason: str) -> None:
    assert read_time(text.encode(), received_ms=NOW) == Instant(None, reason)


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("0", "too_early"),
        ("-1", "too_early"),
        ("1970-01-01T00:00:00Z", "too_early"),
        ("1999-12-31T23:59:59Z", "too_early"),
        ("2000-01-01T00:00:00Z", ""),
        ("20260501", "too_early"),
        ("2099-01-01T00:00:00Z", "too_late"),
        ("99999999999999999999", "too_late"),
        (str(NOW + LARGEST_SKEW_MS), ""),
        (str(NOW + LARGEST_SKEW_MS + 1), "too_late"),
        ("0001-01-01 00:00:00", "too_early"),
        ("9999-12-31 23:59:59", "too_late"),
    ],
)
def test_a_clock_out_of_order_is_kept_and_flagged(text: str, flag: str) -> None:
    instant = read_time(text.encode(), received_ms=NOW, zone=NEW_YORK)
    assert instant.unix_ms is not None
    assert instant.flag == flag


@given(st.integers(EARLIEST_SANE_MS, NOW))
def test_every_unit_says_the_same_instant(unix_ms: int) -> None:
    for text in (f"{unix_ms}", f"{unix_ms}000", f"{unix_ms}000000", f"{unix_ms // 1000}.{unix_ms % 1000:03}"):
        assert read_time(text.encode(), received_ms=NOW) == Instant(unix_ms)


@given(st.datetimes(datetime(2000, 1, 2), datetime(2026, 1, 1)), st.integers(-23 * 60, 23 * 60))  # noqa: DTZ001 - made aware
def test_iso_8601_is_read_as_python_reads_it(wall: datetime, minutes: int) -> None:
    sign = "-" if minutes < 0 else "+"
    text = f"{wall.isoformat(timespec='milliseconds')}{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    expected = (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert read_time(text.encode(), received_ms=NOW, zone=NEW_YORK).unix_ms == expected


@given(st.one_of(st.binary(max_size=80), st.text(alphabet="0123456789-:TZ+. ", max_size=40).map(str.encode)))
def test_no_bytes_are_too_odd_to_be_refused(raw: bytes) -> None:
    instant = read_time(raw, received_ms=NOW, zone=NEW_YORK)
    assert (instant.unix_ms is None) == bool(instant.reason)
