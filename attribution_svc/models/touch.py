"""Touches, conversions and the journeys that lead from one to the other.

A touch is in a conversion's journey when it is not older than the look-back, **its start included**, and not later than
the conversion; one of the same millisecond is in. Touches of one millisecond are ordered by their sequence. A touch may
be in the journeys of several conversions: each conversion is credited by itself.

Times are Unix milliseconds (UTC), the resolution of the events; as integers, because a report reads millions of them.
"""

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from svc_runtime.errors import InvalidArgumentError, Violation

DAY_MS = 86_400_000
LONGEST_LOOKBACK_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Touch:
    """One contact that may be credited: a click, a view, a visit."""

    touch_id: str
    time_ms: int
    """Unix milliseconds."""
    channel: str
    """What credits are reported by: a source, a campaign, or whatever the report's dimension is."""
    sequence: int = 0
    """Orders touches of one millisecond."""
    is_direct: bool = False
    """The visitor came without any source."""
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What is to be credited."""

    conversion_id: str
    time_ms: int
    """Unix milliseconds."""
    value_micros: int
    """Millionths of the currency's unit; negative for a refund, 0 where there is no value."""
    touch_id: str = ""
    """The touch that is the converting event itself; empty where the conversion came without one."""
    session_id: str = ""
    """The session that converted; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class Lookback:
    """How far back a touch may be; evaluated for each conversion."""

    milliseconds: int | None = None
    """None for any age."""
    is_same_session: bool = False
    """Only touches of the session that converted; there are none where that session is not known."""

    @classmethod
    def days(cls, days: float) -> "Lookback":
        """Return a look-back in days of 24 hours. Raise InvalidArgumentError outside 0 < days <= 3,650."""
        if not 0 < days <= LONGEST_LOOKBACK_DAYS:
            problem = f"is {days}, must be above 0 and at most {LONGEST_LOOKBACK_DAYS}"
            raise InvalidArgumentError.of([Violation("lookback_days", problem)])
        return cls(round(days * DAY_MS))


EVER = Lookback()


@dataclass(frozen=True, slots=True)
class Journey:
    """A conversion and the touches that may be credited for it, oldest first; there may be none."""

    conversion: Conversion
    touches: tuple[Touch, ...]


@dataclass(frozen=True, slots=True)
class Credit:
    """What one touch gets of one conversion."""

    conversion_id: str
    touch: Touch | None
    """None for what nobody gets."""
    share: float
    """Of the conversion, 0 to 1; for people, the exact part is ``value_micros``."""
    value_micros: int


class Exclusion(enum.Enum):
    """Why a touch is not in a journey."""

    AFTER_CONVERSION = "after_conversion"
    TOO_OLD = "too_old"
    OTHER_SESSION = "other_session"


_in_order = attrgetter("time_ms", "sequence")


def exclusion(touch: Touch, conversion: Conversion, lookback: Lookback) -> Exclusion | None:
    """Say why ``touch`` is out, None where it is in."""
    if touch.time_ms > conversion.time_ms:
        return Exclusion.AFTER_CONVERSION
    if lookback.milliseconds is not None and touch.time_ms < conversion.time_ms - lookback.milliseconds:
        return Exclusion.TOO_OLD
    if lookback.is_same_session and (not conversion.session_id or touch.session_id != conversion.session_id):
        return Exclusion.OTHER_SESSION
    return None


def journey_of(conversion: Conversion, touches: Iterable[Touch], lookback: Lookback = EVER) -> Journey:
    """Return the journey of ``conversion``: the touches that are in, ordered. ``touches`` may be in any order."""
    latest = conversion.time_ms
    earliest = -math.inf if lookback.milliseconds is None else latest - lookback.milliseconds
    # What `exclusion` says, without a call for each of millions of touches.
    inside = [touch for touch in touches if earliest <= touch.time_ms <= latest]
    if lookback.is_same_session:
        session = conversion.session_id
        inside = [touch for touch in inside if session and touch.session_id == session]
    if len(inside) > 1:
        inside.sort(key=_in_order)
    return Journey(conversion, tuple(inside))


def without_direct(touches: tuple[Touch, ...]) -> tuple[Touch, ...]:
    """Return the touches that had a source; all of them where none had."""
    return tuple(touch for touch in touches if not touch.is_direct) or touches
