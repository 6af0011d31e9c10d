"""Reads instants that senders report: numbers by magnitude, ISO 8601, and wall clocks in the organisation's zone."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from enrichment.macros import is_macro

LONGEST_BYTES = 64
EARLIEST_SANE_MS = 946_684_800_000
"""2000-01-01: nobody reports an older event on purpose."""
LARGEST_SKEW_MS = 86_400_000
"""How far a sender's clock may be ahead of ours."""

_NUMBER = re.compile(r"-?([0-9]{1,20})(?:\.([0-9]{1,9})[0-9]*)?")
_CLOCK = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})"
    r"(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?: ?([Zz])| ?([+\- ])(\d{2}):?(\d{2})?)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks are subtracted from it before their zone is known
_MILLISECOND = timedelta(milliseconds=1)
# Digits of a present instant: 10 in seconds, 13 in milliseconds, 16 in microseconds, 19 in nanoseconds.
_UNITS = ((10**11, 1_000, 1), (10**14, 1, 1), (10**17, 1, 1_000), (10**20, 1, 1_000_000))


class Instant(NamedTuple):
    """An instant, or why there is none."""

    unix_ms: int | None
    """Milliseconds since 1970, UTC, rounded down."""
    reason: str = ""
    """Why there is none: ``empty``, ``macro``, ``not_a_time`` or ``no_such_time``. Else empty."""
    flag: str = ""
    """``too_early`` or ``too_late`` when no clock in order says so: keep it, but file nothing by it."""
    is_zone_assumed: bool = False
    """The text named no zone: the organisation's was taken."""


def read_time(raw: bytes, *, received_ms: int, zone: tzinfo = UTC) -> Instant:
    """Read a decoded time text; ``received_ms`` is when the event arrived, ``zone`` the organisation's.

    A wall clock that the zone has twice is the earlier instant; one that it skips counts as if it had not changed yet.
    """
    text = raw.decode("utf-8", "replace").strip() if len(raw) <= LONGEST_BYTES else "?"
    if not text:
        return Instant(None, "empty")
    if is_macro(raw):
        return Instant(None, "macro")
    if number := _NUMBER.fullmatch(text):
        return _flagged(_by_magnitude(number), received_ms, is_zone_assumed=False)
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        return Instant(None, "not_a_time")
    try:
        unix_ms, is_zone_assumed = _by_clock(clock, zone)
    except (ValueError, OverflowError):
        return Instant(None, "no_such_time")
    return _flagged(unix_ms, received_ms, is_zone_assumed=is_zone_assumed)


def _by_magnitude(number: re.Match[str]) -> int:
    whole = int(number[1])
    for limit, factor, divisor in _UNITS:
        if whole < limit:
            fraction = int((number[2] or "").ljust(3, "0")[:3]) if factor > 1 else 0
            unix_ms = whole * factor // divisor + fraction
            break
    else:
        unix_ms = whole
    return -unix_ms if number[0][0] == "-" else unix_ms


def _by_clock(clock: re.Match[str], zone: tzinfo) -> tuple[int, bool]:
    """Return the instant and whether the zone was assumed. Raise ValueError or OverflowError: there is no such time."""
    year, month, day, hour, minute, second, fraction, is_utc, sign, zone_hours, zone_minutes = clock.groups()
    is_leap_second = second == "60"
    wall = datetime(  # noqa: DTZ001 - the zone comes from the text or from the organisation, below
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), 59 if is_leap_second else int(second or 0)
    )
    milliseconds = int((fraction or "").ljust(3, "0")[:3]) + (1_000 if is_leap_second else 0)
    wall_ms = (wall - _EPOCH) // _MILLISECOND + milliseconds
    if is_utc:
        return wall_ms, False
    if sign is None:
        offset = wall.replace(tzinfo=zone).utcoffset() or timedelta()
        return wall_ms - offset // _MILLISECOND, True
    if int(zone_hours) > 23 or int(zone_minutes or 0) > 59:
        raise ValueError("no such zone")
    # A blank is a plus that was not percent-encoded.
    offset_ms = (int(zone_hours) * 60 + int(zone_minutes or 0)) * 60_000
    return wall_ms + (offset_ms if sign == "-" else -offset_ms), False


def _flagged(unix_ms: int, received_ms: int, *, is_zone_assumed: bool) -> Instant:
    flag = ""
    if unix_ms < EARLIEST_SANE_MS:
        flag = "too_early"
    elif unix_ms > received_ms + LARGEST_SKEW_MS:
        flag = "too_late"
    return Instant(unix_ms, "", flag, is_zone_assumed)
