"""Journeys of many visitors in columns, for who credits conversions: what is asked for, and how much that may be.

A touch is what it is in ``path``: a click or page view that is no conversion, of the same visitor, within the look-back
of the conversion, both ends included. The slice's filters choose conversions; touches are all that belong to them.

What adjusts a conversion (a refund) has the journey of the first conversion of its order, as far back as the look-back
reaches, and changes that one's value; where that one is before the slice, it is an entry of its own that counts as no
conversion. So a refund takes back what was credited, exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from analytics_svc.behavior.columns import before
from analytics_svc.behavior.path import DEFAULT_LOOKBACK, LONGEST_PATH
from analytics_svc.dimension import DIMENSIONS, Dimension
from analytics_svc.slice import DimensionFilter, Slice

LONGEST_AGE = timedelta(days=3650)
MOST_RULES = 101
MOST_TYPES = 100
MOST_CONVERSIONS = 5_000_000
MOST_TOUCHES = 20_000_000
"""Of the visitors that converted, whether in a journey or not."""
MOST_VALUES = 10_000
"""Of the dimension."""
MOST_PATHS = 200_000
MOST_PATH_VALUES = 2_000_000
"""Of all paths together."""
SHARE_EVENTS = 2_000_000
"""Events of the visitors that one statement groups, about."""
ROW_ENTRIES = 20_000
"""Conversions, or paths, of one row of an answer."""
_ANY_AGE_MS = 1 << 60


@dataclass(frozen=True, slots=True)
class LookbackRule:
    """How old a touch may be."""

    longest: timedelta | None = DEFAULT_LOOKBACK
    """Whole milliseconds; None: any age."""
    is_same_session: bool = False

    @property
    def longest_ms(self) -> int:
        """In milliseconds; more than any event's age for any."""
        return _ANY_AGE_MS if self.longest is None else self.longest // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """Which conversions, and which touches belong to them."""

    slice: Slice
    """Its currency is set before anything is compiled."""
    dimension: Dimension
    conversion_types: tuple[str, ...] = ()
    rules: tuple[tuple[str, LookbackRule], ...] = ()
    """By type of the conversion."""
    default_rule: LookbackRule = LookbackRule()
    touch_limit: int = LONGEST_PATH
    has_adjustments: bool = False
    """There are refunds and their like: to look for them takes longer."""

    @property
    def conversions(self) -> Slice:
        """The slice with the types among its filters."""
        if not self.conversion_types:
            return self.slice
        chosen = DimensionFilter(DIMENSIONS["conversion_event"], self.conversion_types)
        return replace(self.slice, dimension_filters=(*self.slice.dimension_filters, chosen))

    @property
    def earliest_time(self) -> datetime:
        """Touches may be that old."""
        every = [self.default_rule, *(rule for _, rule in self.rules)]
        longest = [rule.longest for rule in every if rule.longest is not None]
        age = max(longest) if len(longest) == len(every) else LONGEST_AGE
        return before(self.slice.start_time, age)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is."""

    conversion_count: int
    """Of known visitors."""
    anonymous_count: int
    anonymous_micros: int
    adjustment_count: int = 0
    """Of known visitors, of any type."""


@dataclass(frozen=True, slots=True)
class Touched:
    """A value of the dimension that touches have."""

    code: int
    """64 bits of its hash, by which the other statements name it."""
    value: str
    touch_count: int


@dataclass(frozen=True, slots=True)
class JourneyColumns:
    """Conversions and their touches."""

    micros: Sequence[int]
    touch_counts: Sequence[int]
    conversion_counts: Sequence[int]
    """1; 0 for what only adjusts one."""
    codes: Sequence[int]
    ages_ms: Sequence[int]
    directs: Sequence[int]


@dataclass(frozen=True, slots=True)
class PathColumns:
    """Paths."""

    touch_counts: Sequence[int]
    codes: Sequence[int]
    conversion_counts: Sequence[int]
    unconverted_counts: Sequence[int]
    micros: Sequence[int]
