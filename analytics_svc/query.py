"""Reports as data: what was asked for, checked. A specification's ``repr`` tells it from every other one."""

from dataclasses import dataclass

from analytics_svc.dimension import Dimension
from analytics_svc.metric import Metric
from analytics_svc.slice import Slice
from analytics_svc.steps import Comparison, Granularity, expected_count
from svc_runtime.errors import Violation

MOST_POINTS = 10_000
MOST_SERIES = 100
DEFAULT_SERIES = 10
MOST_DIMENSIONS = 5
MOST_PAGE_ROWS = 10_000
DEFAULT_PAGE_ROWS = 100
CAMPAIGN_METRICS = (
    *("clicks", "unique_users", "conversions", "conversion_rate", "revenue", "average_order_value", "roas"),
)
"""What a campaign's page shows by default."""


@dataclass(frozen=True, slots=True)
class TimeseriesSpec:
    """Metrics over time."""

    part: Slice
    granularity: Granularity
    metrics: tuple[Metric, ...]
    dimension: Dimension | None = None
    """A series for each of its values; None: one series."""
    series_limit: int = DEFAULT_SERIES
    """Most series with a dimension: those with most of the first metric."""
    comparison: Comparison | None = None

    def point_count(self, granularity: Granularity) -> int:
        """Return about how many points an answer by ``granularity`` would have."""
        series = self.series_limit if self.dimension else 1
        times = 2 if self.comparison else 1
        return expected_count(self.part.start_time, self.part.end_time, granularity) * series * times


@dataclass(frozen=True, slots=True)
class BreakdownSpec:
    """Metrics by values."""

    part: Slice
    dimensions: tuple[Dimension, ...]
    metrics: tuple[Metric, ...]
    order_by: int = 0
    """Place of the metric to order by."""
    is_ascending: bool = False
    page_size: int = DEFAULT_PAGE_ROWS
    offset: int = 0
    """Rows before the page."""
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True)
class CampaignSpec:
    """One campaign's page."""

    campaign_id: str
    part: Slice
    """With the campaign among its filters."""
    metrics: tuple[Metric, ...]
    is_whole: bool = False
    """True: from its first event to its last, whatever the slice's range is."""


def timeseries_violations(spec: TimeseriesSpec, *, path: str) -> list[Violation]:
    """Say whether the answer would have too many points, and what would not."""
    count = spec.point_count(spec.granularity)
    if count <= MOST_POINTS:
        return []
    fitting = ", ".join(one for one in Granularity if spec.point_count(one) <= MOST_POINTS)
    advice = f"of this range there may be {fitting}" if fitting else "ask for a shorter range or fewer series"
    return [Violation(path, f"{spec.granularity} gives {count} points, the limit is {MOST_POINTS}: {advice}")]
