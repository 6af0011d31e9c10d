"""Which events a question is about."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from analytics_svc.dimension import Dimension
from rule_language.predicate import Predicate

DEFAULT_LENGTH = timedelta(days=30)
LONGEST = timedelta(days=3660)
"""Ten years."""


@dataclass(frozen=True, slots=True)
class DimensionFilter:
    """Which values a dimension may have."""

    dimension: Dimension
    values: tuple[str, ...]
    """Any of these; '' for what has no value."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Events of one organisation."""

    organization_id: str
    start_time: datetime
    """First instant inside; aware, UTC, whole milliseconds."""
    end_time: datetime
    """First instant outside."""
    time_zone: str = "UTC"
    """IANA name: whose days, weeks and hours."""
    filter: Predicate | None = None
    """Checked. Events for which it is unknown are left out."""
    includes_bots: bool = False
    """True: events marked as bots too."""
    currency: str = ""
    """ISO 4217 code that money is reported in; empty: the one that most conversions have."""
    dimension_filters: tuple[DimensionFilter, ...] = ()
    """Only events that pass each of these, beside ``filter``."""
    as_of: datetime | None = None
    """As it was known at this instant, which is not before ``end_time``; None: as it is now."""

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.time_zone)
