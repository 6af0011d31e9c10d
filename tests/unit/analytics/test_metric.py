import re

import pytest

from analytics_svc.metric import MEASURES, METRICS, measures_of, metrics_of
from svc_runtime.errors import Violation


def test_a_metric_is_made_of_the_measures_that_it_names() -> None:
    for metric in METRICS.values():
        used = set(re.findall(r"m_([a-z]+)", metric.expression))
        assert used == set(metric.measures), metric.name
        assert used <= set(MEASURES)


def test_the_catalogue_has_what_dashboards_ask_for() -> None:
    wanted = (
        "events clicks unique_users sessions conversions conversion_rate revenue average_order_value revenue_per_click"
        " cost profit roas bot_events unique_ips"
    )
    assert set(wanted.split()) <= set(METRICS)


@pytest.mark.parametrize("names", [["clicks", "nonsense"], [], ["clicks"] * 2, ["clicks"] * 21, ["x" * 1000]])
def test_what_is_no_list_of_metrics_is_named_with_those_that_are(names: list[str]) -> None:
    violations: list[Violation] = []
    metrics_of(names, path="metrics", violations=violations)
    assert violations
    assert all(len(one.description) < 600 for one in violations)
    if names != ["clicks"] * 2:
        assert any("average_order_value" in one.description for one in violations)


def test_what_several_metrics_need_is_counted_once() -> None:
    found = measures_of([METRICS["conversion_rate"], METRICS["clicks"], METRICS["conversions"]])
    assert [one.name for one in found] == ["conversions", "clicks"]
