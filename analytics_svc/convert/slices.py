"""Slices, values and what a result rests on, between the contract and ours."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf import timestamp_pb2

from analytics_svc.dimension import dimension_of
from analytics_svc.slice import DEFAULT_LENGTH, LONGEST, DimensionFilter, Slice
from enrichment.money import read_currency
from rule_language.check import time_zone_violations
from rule_language.parse import predicate_from_pb
from svc_runtime.errors import Violation
from trellis.analytics.v1 import report_pb2 as pb

MOST_DIMENSION_FILTERS = 20
MOST_VALUES = 1000
LONGEST_VALUE_BYTES = 4096
_MILLISECOND = timedelta(milliseconds=1)


def slice_from_pb(
    message: pb.Slice,
    *,
    organization_id: str,
    now: datetime,
    violations: list[Violation],
    path: str = "slice",
    knows_as_of: bool = False,
) -> Slice:
    """Read a slice with its defaults; what is wrong is added to ``violations``, each named by its path.

    An ``as_of_time`` is refused unless the caller knows what to do with it.
    """
    if message.HasField("as_of_time") and not knows_as_of:
        violations.append(Violation(f"{path}.as_of_time", "is known to time series, breakdowns and campaigns only"))
    time_range = message.time_range
    has_start, has_end = time_range.HasField("start_time"), time_range.HasField("end_time")
    end = instant_from_pb(time_range.end_time) if has_end else _whole(now) + _MILLISECOND
    start = instant_from_pb(time_range.start_time) if has_start else end - DEFAULT_LENGTH
    if end <= start:
        violations.append(Violation(f"{path}.time_range", f"ends at {end:%FT%TZ}, not after its start {start:%FT%TZ}"))
    elif end - start > LONGEST:
        violations.append(Violation(f"{path}.time_range", f"is {(end - start).days} days; the limit is {LONGEST.days}"))
    time_zone = message.time_zone or "UTC"
    zone_problems = time_zone_violations(time_zone, f"{path}.time_zone")
    violations.extend(zone_problems)
    predicate = None
    if message.HasField("filter"):
        predicate = predicate_from_pb(message.filter, path=f"{path}.filter", violations=violations)
    currency = ""
    if message.currency and not (currency := read_currency(message.currency.encode()) or ""):
        violations.append(Violation(f"{path}.currency", f"{message.currency[:20]!r} is no ISO 4217 code"))
    chosen = _dimension_filters_from_pb(message.dimension_filters, f"{path}.dimension_filters", violations)
    return Slice(
        organization_id,
        start,
        end,
        "UTC" if zone_problems else time_zone,
        predicate,
        message.includes_bots,
        currency,
        chosen,
    )


def _dimension_filters_from_pb(
    messages: Sequence[pb.DimensionFilter], path: str, violations: list[Violation]
) -> tuple[DimensionFilter, ...]:
    if len(messages) > MOST_DIMENSION_FILTERS:
        violations.append(Violation(path, f"has {len(messages)} dimensions; the limit is {MOST_DIMENSION_FILTERS}"))
        return ()
    chosen = []
    for at, message in enumerate(messages):
        place = f"{path}[{at}]"
        dimension = dimension_of(message.dimension, path=f"{place}.dimension", violations=violations)
        if not 1 <= len(message.values) <= MOST_VALUES:
            violations.append(Violation(f"{place}.values", f"has {len(message.values)} values; 1 to {MOST_VALUES}"))
        elif any(len(value.encode()) > LONGEST_VALUE_BYTES for value in message.values):
            violations.append(Violation(f"{place}.values", f"has a value over {LONGEST_VALUE_BYTES} bytes"))
        elif dimension is not None:
            chosen.append(DimensionFilter(dimension, tuple(message.values)))
    return tuple(chosen)


def instant_from_pb(timestamp: timestamp_pb2.Timestamp) -> datetime:
    """Return an instant in UTC, cut to milliseconds."""
    return _whole(timestamp.ToDatetime(UTC))


def _whole(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)
