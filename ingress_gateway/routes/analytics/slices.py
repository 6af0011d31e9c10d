"""Which events a report is about: the parameters that every report takes."""

from collections.abc import Collection
from typing import Any

from ingress_gateway.given import shown, text_problem
from ingress_gateway.routes.analytics.question import DIMENSIONS, Question
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import report_pb2 as pb
from trellis.type.v1 import time_range_pb2

COMPARISONS = {
    "previous_period": pb.COMPARISON_PREVIOUS_PERIOD,
    "previous_year": pb.COMPARISON_PREVIOUS_YEAR,
}
GRANULARITIES = {
    "minute": pb.GRANULARITY_MINUTE,
    "hour": pb.GRANULARITY_HOUR,
    "day": pb.GRANULARITY_DAY,
    "week": pb.GRANULARITY_WEEK,
    "month": pb.GRANULARITY_MONTH,
}


def slice_of(asked: Question, *, taken: Collection[str] = (), knows_as_of: bool = False) -> pb.Slice:
    """Return the slice; ``taken`` are dimensions whose parameters mean something else in this call."""
    zone = asked.zone()
    start, end = asked.moment("start", zone), asked.moment("end", zone)
    if start and end and end <= start:
        asked.refuse("end", "must be after start; a date is the midnight that it begins with")
    chosen = _where(asked) | _equalities(asked, taken)
    return pb.Slice(
        time_range=time_range_pb2.TimeRange(start_time=timestamp_of(start), end_time=timestamp_of(end)),
        time_zone=zone.key,
        filter=asked.predicate("filter"),
        # Who asks for bots by name means to see them.
        includes_bots=bool(asked.flag("include_bots")) or "is_bot" in chosen,
        currency=asked.text("currency") or "",
        as_of_time=timestamp_of(asked.moment("as_of", zone) if knows_as_of else None),
        dimension_filters=[pb.DimensionFilter(dimension=name, values=chosen[name]) for name in chosen],
    )


def comparison_of(asked: Question) -> "pb.Comparison.ValueType":
    """Return what to compare with."""
    return asked.choice("compare", COMPARISONS) or pb.COMPARISON_UNSPECIFIED


def _equalities(asked: Question, taken: Collection[str]) -> dict[str, list[str]]:
    """Return the dimensions that are parameters of a query by themselves: ``source=facebook``."""
    if not asked.is_query:
        return {}
    found = {name: asked.many(name) for name in DIMENSIONS if name not in taken} | asked.named()
    return {name: values for name, values in found.items() if values}


def _where(asked: Question) -> dict[str, list[str]]:
    """Return ``where``: an object of dimensions, each with a value or a list of values."""
    value = asked.json("where")
    if value is None:
        return {}
    if not isinstance(value, dict):
        asked.refuse("where", 'must be an object of dimensions, for example {"source": ["facebook", "google"]}')
        return {}
    return {name: _values(asked, name, values) for name, values in value.items()}


def _values(asked: Question, name: str, values: Any) -> list[str]:
    found = [value for value in (values if isinstance(values, list) else [values]) if isinstance(value, str)]
    if not found or (isinstance(values, list) and len(found) < len(values)):
        asked.refuse(f"where.{shown(name)}", "must be a text or a list of texts")
    for value in found:
        if problem := text_problem(value):
            asked.refuse(f"where.{shown(name)}", problem)
            return []
    return found
