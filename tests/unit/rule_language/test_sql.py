"""The SQL of a rule; what it says of events is compared with the closure in tests/integration/rule_language."""

from typing import Any

import pytest

from rule_language.parse import predicate_from_json
from rule_language.sql import Sql, compile_sql
from svc_runtime.errors import Violation


def compiled(form: Any, **options: Any) -> Sql:
    violations: list[Violation] = []
    predicate = predicate_from_json(form, path="rule", violations=violations)
    assert predicate, violations
    return compile_sql(predicate, **options)


def condition(field: str, operator: str, *values: str) -> dict[str, Any]:
    return {"field": field, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("form", "text", "parameters"),
    [
        (condition("referer", "contains", "tiktok.com"), "(position(referer, {p0:String}) > 0)", {"p0": "tiktok.com"}),
        (condition("source", "not_in", "A", "b"), "(NOT (lower(source) IN {p0:Array(String)}))", {"p0": ["a", "b"]}),
        (condition("param.z", "equals", "1"), "(params[{p0:String}] = {p1:String})", {"p0": "z", "p1": "1"}),
        (
            condition("param.z", "equals", ""),
            "(mapContains(params, {p0:String}) AND (params[{p0:String}] = {p1:String}))",
            {"p0": "z", "p1": ""},
        ),
        (condition("url", "matches", "a"), "(match(url, {p0:String}))", {"p0": "(?-i)a"}),
        (condition("os", "matches", "a"), "(match(os, {p0:String}))", {"p0": "(?i)a"}),
        (condition("value", "gt", "5"), "ifNull((toDecimal256(value, 18) > {p0:Decimal(76,18)}), 0)", {"p0": "5"}),
        (
            condition("hour", "in", "1", "2"),
            "(toHour(event_time, {p0:String}) IN {p1:Array(UInt32)})",
            {"p0": "UTC", "p1": [1, 2]},
        ),
        (
            condition("url", "starts_with", "ab", "c", "d"),
            "((left(url, 2) = {p0:String}) OR (left(url, 1) IN {p1:Array(String)}))",
            {"p0": "ab", "p1": ["c", "d"]},
        ),
    ],
)
def test_a_condition_becomes_an_expression_with_parameters(form: Any, text: str, parameters: dict[str, Any]) -> None:
    assert compiled(form) == Sql(text, parameters)


def test_nothing_that_a_rule_says_is_text_of_the_query() -> None:
    evil = "x') OR 1=1 -- {p9:String} \\"
    conditions = [condition(f"param.{evil}", "equals", evil), condition("url", "in", evil, evil + "2")]
    conditions += [condition("url", name, evil) for name in ("contains", "starts_with", "ends_with")]
    conditions.append(condition("header.x'--", "matches", "1=1"))
    sql = compiled({"any": conditions})
    assert "1=1" not in sql.text
    assert "--" not in sql.text


def test_the_caller_names_columns_zone_and_parameters() -> None:
    form = [condition("country", "equals", "DE"), condition("date", "gte", "2024-03-31")]
    sql = compiled(form, columns={"country": "e.geo.country"}, time_zone="Europe/Berlin", prefix="rule7_")
    assert sql == Sql(
        "((lower(e.geo.country) = {rule7_0:String}) AND "
        "(toYYYYMMDD(event_time, {rule7_1:String}) >= {rule7_2:UInt32}))",
        {"rule7_0": "de", "rule7_1": "Europe/Berlin", "rule7_2": 20240331},
    )


def test_a_zone_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no time zone"):
        compiled(condition("hour", "equals", "1"), time_zone="right/UTC")
