"""Slices, values and what a result rests on, between the contract and ours."""

from datetime import UTC, datetime, timedelta

from google.protobuf import timestamp_pb2

from analytics_svc.slice import DEFAULT_LENGTH, LONGEST, Slice
from enrichment.money import read_currency
from rule_language.check import time_zone_violations
from rule_language.parse import predicate_from_pb
from svc_runtime.errors import Violation
from trellis.analytics.v1 import report_pb2 as pb

_MILLISECOND = timedelta(milliseconds=1)


def slice_from_pb(
    message: pb.Slice, *, organization_id: str, now: datetime, violations: list[Violation], path: str = "slice"
) -> Slice:
    """Read a slice with its defaults; what is wrong is added to ``violations``, each named by its path."""
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
    return Slice(
        organization_id,
        start,
        end,
        "UTC" if zone_problems else time_zone,
        predicate,
        message.includes_bots,
        currency,
    )


def instant_from_pb(timestamp: timestamp_pb2.Timestamp) -> datetime:
    """Return an instant in UTC, cut to milliseconds."""
    return _whole(timestamp.ToDatetime(UTC))


def instant_to_pb(instant: datetime) -> timestamp_pb2.Timestamp:
    """Return an instant as the contract has it."""
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(instant.astimezone(UTC))
    return message


def _whole(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)
