"""Which values a dimension may have: read, checked, and compiled so that nothing of the caller becomes text."""

from datetime import UTC, datetime

import pytest

from analytics_svc.convert.slices import slice_from_pb
from analytics_svc.statement import condition_of
from svc_runtime.errors import Violation
from trellis.analytics.v1 import report_pb2 as pb

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def read(*chosen: pb.DimensionFilter, time_zone: str = "") -> tuple[str, dict[str, object], list[Violation]]:
    violations: list[Violation] = []
    message = pb.Slice(dimension_filters=chosen, time_zone=time_zone)
    part = slice_from_pb(message, organization_id="org_a", now=NOW, violations=violations)
    condition = condition_of(part)
    return condition.where, condition.parameters, violations


def test_each_filter_has_parameters_of_its_own() -> None:
    where, parameters, violations = read(
        pb.DimensionFilter(dimension="campaign_id", values=["a' OR 1"]),
        pb.DimensionFilter(dimension="param.zoneid", values=["7", ""]),
        pb.DimensionFilter(dimension="date", values=["2026-03-01"]),
        time_zone="Europe/Berlin",
    )
    assert not violations
    assert where == (
        "is_bot = 0 AND (toString(campaign_id) = {f_d0:String})"
        " AND (params[{f_d1_key:String}] IN {f_d1:Array(String)})"
        " AND (toString(toDate(event_time, {f_d2_time_zone:String})) = {f_d2:String})"
    )
    assert parameters["f_d0"] == "a' OR 1"
    assert (parameters["f_d1"], parameters["f_d1_key"]) == (["7", ""], "zoneid")
    assert (parameters["f_d2"], parameters["f_d2_time_zone"]) == ("2026-03-01", "Europe/Berlin")


@pytest.mark.parametrize(
    ("chosen", "field", "text"),
    [
        (pb.DimensionFilter(dimension="colour", values=["red"]), "dimension", "'colour' is no dimension"),
        (pb.DimensionFilter(dimension="source"), "values", "has 0 values; 1 to 1000"),
        (pb.DimensionFilter(dimension="source", values=["x" * 4097]), "values", "has a value over 4096 bytes"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(chosen: pb.DimensionFilter, field: str, text: str) -> None:
    *_, violations = read(pb.DimensionFilter(dimension="os", values=["iOS"]), chosen)
    (violation,) = violations
    assert violation.field == f"slice.dimension_filters[1].{field}"
    assert violation.description.startswith(text)


def test_too_many_filters_are_refused() -> None:
    *_, violations = read(*[pb.DimensionFilter(dimension="os", values=["iOS"])] * 21)
    assert violations == [Violation("slice.dimension_filters", "has 21 dimensions; the limit is 20")]
