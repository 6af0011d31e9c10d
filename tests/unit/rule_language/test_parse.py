"""What is wrong with a rule is said all at once, with path, value and limit."""

from typing import Any

import pytest

from rule_language.check import time_zone_violations
from rule_language.parse import predicate_from_json, predicate_from_pb, predicate_to_json, predicate_to_pb
from rule_language.predicate import AllOf, Condition, Not, Operator, Predicate
from svc_runtime.errors import Violation
from trellis.type.v1 import predicate_pb2 as pb

GOOD = {"field": "referer", "operator": "contains", "value": "tiktok.com"}


def read(form: Any) -> Predicate:
    violations: list[Violation] = []
    predicate = predicate_from_json(form, path="rule", violations=violations)
    assert predicate is not None, violations
    assert not violations
    return predicate


def refused(form: Any) -> dict[str, str]:
    violations: list[Violation] = []
    assert predicate_from_json(form, path="rule", violations=violations) is None
    return {violation.field: violation.description for violation in violations}


def condition(field: str, operator: str, *values: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, "values": list(values)}


def test_the_condition_of_the_specification() -> None:
    assert read(GOOD) == Condition("referer", Operator.CONTAINS, ("tiktok.com",))
    assert read([GOOD]) == AllOf((Condition("referer", Operator.CONTAINS, ("tiktok.com",)),))


def test_both_forms_say_the_same() -> None:
    form = {
        "all": [GOOD, {"any": [condition("param.n", "between", "1", "2")]}, {"not": condition("header.X", "exists")}]
    }
    predicate = read(form)
    violations: list[Violation] = []
    assert predicate_from_pb(predicate_to_pb(predicate), path="rule", violations=violations) == predicate
    written = predicate_to_json(predicate)
    assert read(written) == predicate
    assert written["all"][0] == GOOD
    assert written["all"][2] == {"not": {"field": "header.x", "operator": "exists"}}


@pytest.mark.parametrize(
    ("value", "text"), [(5, "5"), (0.25, "0.25"), (1e-7, "0.0000001"), (-0.0, "-0.0"), (10**20, "1" + "0" * 20)]
)
def test_a_number_in_json_stands_for_its_text(value: float, text: str) -> None:
    assert read({"field": "value", "operator": "gt", "value": value}) == Condition("value", Operator.GT, (text,))


def test_a_truth_value_in_json_stands_for_its_text() -> None:
    assert read({"field": "is_bot", "operator": "equals", "value": True}).values == ("true",)  # type: ignore[union-attr]  # a condition


@pytest.mark.parametrize(
    ("form", "path", "said"),
    [
        (condition("refferer", "exists"), "rule.field", "there is no field `refferer`; there are asn, browser, "),
        (condition("param.", "exists"), "rule.field", "1 to 256 bytes"),
        (condition("param." + "é" * 129, "exists"), "rule.field", "1 to 256 bytes"),
        (condition("header.a b", "exists"), "rule.field", "`header.a b` names no parameter or header"),
        (condition("url", "like", "x"), "rule.operator", "there is no operator `like`; there are equals, "),
        (condition("url", "gt", "1"), "rule.operator", "`url` is a text and has no gt; it has equals, "),
        (condition("ip", "contains", "1"), "rule.operator", "`ip` is an address and has no contains"),
        (condition("url", "exists", "x"), "rule.values", "has 1 values, exists needs none"),
        (condition("url", "equals"), "rule.values", "has 0 values, equals needs 1 to 10000"),
        (condition("value", "gt", "1", "2"), "rule.values", "has 2 values, gt needs 1"),
        (condition("value", "between", "1"), "rule.values", "has 1 values, between needs 2"),
        (condition("value", "between", "2", "1"), "rule.values", "nothing is between 2 and 1"),
        (condition("param.n", "gt", "1e3"), "rule.values[0]", "`1e3` is no number: a sign, 1 to 38 digits"),
        (condition("value", "in", "1", "x"), "rule.values[1]", "`x` is no number"),
        (condition("value", "gt", float("inf")), "rule.values[0]", "`Infinity` is no number"),
        (condition("is_bot", "equals", "yes"), "rule.values[0]", "`yes` must be true or false"),
        (condition("hour", "equals", "24"), "rule.values[0]", "`24` is no hour: 0 to 23"),
        (condition("hour", "equals", "²"), "rule.values[0]", "`²` is no hour"),
        (condition("weekday", "equals", "mon"), "rule.values[0]", "`mon` is no weekday: monday, "),
        (condition("date", "gt", "2024-02-30"), "rule.values[0]", "`2024-02-30` is no date: YYYY-MM-DD"),
        (condition("date", "gt", "20240230"), "rule.values[0]", "is no date"),
        (condition("ip", "equals", "192.0.2"), "rule.values[0]", "`192.0.2` is no IPv4 or IPv6 address"),
        (condition("ip", "cidr", "192.0.2.0/33"), "rule.values[0]", "is no network: an IPv4 or IPv6 address, `/`"),
        (condition("ip", "cidr", "192.0.2.0/255.255.255.0"), "rule.values[0]", "is no network"),
        (condition("ip", "cidr", "fe80::%eth0/64"), "rule.values[0]", "is no network"),
        (condition("ip", "cidr", "192.0.2.1/24"), "rule.values[0]", "the network is 192.0.2.0/24"),
        (condition("url", "contains", ""), "rule.values[0]", "is empty, which every text contains"),
        (condition("url", "equals", "x" * 4097), "rule.values[0]", "has 4097 bytes, at most 4096"),
        (condition("url", "equals", "é" * 2049), "rule.values[0]", "has 4098 bytes, at most 4096"),
        (condition("url", "equals", "\ud800"), "rule.values[0]", "is not valid Unicode"),
        (condition("url", "in", *["x"] * 10_001), "rule.values", "has 10001 values, in needs 1 to 10000"),
        (condition("url", "matches", *["x"] * 101), "rule.values", "has 101 values, matches needs 1 to 100"),
        (condition("url", "in", *["x" * 4096] * 257), "rule.values[256]", "over 1048576 bytes together"),
        (condition("url", "matches", "a(b"), "rule.values[0]", "`a(b` is no RE2 expression: missing ): a(b"),
        (condition("url", "matches", "ab**"), "rule.values[0]", "bad repetition operator: ** (at character 3)"),
        (condition("url", "matches", r"x\8"), "rule.values[0]", r"invalid escape sequence: \8 (at character 2)"),
        (condition("url", "matches", r"(?:\pL{500}){2}"), "rule.values[0]", "pattern too large"),
        ({"field": "url", "operator": "equals", "value": None}, "rule.values[0]", "is null, must be a text"),
        ({"field": "url", "operator": "equals", "value": {}}, "rule.values[0]", "is an object, must be a text"),
        (
            {"field": "url", "operator": "equals", "value": 1, "values": []},
            "rule",
            "has field, operator, value, values;",
        ),
        ({"field": "url"}, "rule", "has field; a condition is an object with field, operator and value"),
        ({"field": "url", "operator": "exists", "case": 1}, "rule", "has field, operator, case;"),
        ({"all": [], "any": []}, "rule", "has all, any;"),
        ({}, "rule", "has nothing;"),
        ([], "rule", "has 0 conditions, must have 1 to 100"),
        ({"any": [GOOD] * 101}, "rule.any", "has 101 conditions, must have 1 to 100"),
        ({"all": GOOD}, "rule.all", "is an object, must be a list of conditions"),
        ({"not": [1]}, "rule.not[0]", "is a number; a condition is an object"),
        ("referer", "rule", "is a text; a condition is an object"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(form: Any, path: str, said: str) -> None:
    problems = refused(form)
    assert list(problems) == [path]
    assert said in problems[path]


def test_all_mistakes_are_named_at_once() -> None:
    problems = refused(
        {"all": [condition("x", "exists"), {"not": condition("ip", "cidr", "a", "b")}, condition("url", "?")]}
    )
    assert list(problems) == [
        "rule.all[0].field",
        "rule.all[1].not.values[0]",
        "rule.all[1].not.values[1]",
        "rule.all[2].operator",
    ]


def test_ten_thousand_mistakes_are_a_hundred_violations() -> None:
    assert len(refused(condition("hour", "in", *["x"] * 10_000))) == 100


def nested(depth: int) -> Any:
    form: Any = condition("url", "exists")
    for _ in range(depth - 1):
        form = {"not": form}
    return form


def test_a_rule_may_be_twenty_deep() -> None:
    assert isinstance(read(nested(20)), Not)
    assert list(refused(nested(21)).values()) == ["is nested 21 deep, at most 20"]


def test_a_rule_may_have_five_hundred_conditions() -> None:
    read([{"any": [GOOD] * 100}] * 5)
    problems = refused([{"any": [GOOD] * 100}] * 6)
    assert problems == {"rule[5].any[0]": "is condition 501, at most 500 in one predicate"}


def test_the_contract_is_read_as_strictly() -> None:
    message = pb.Predicate(
        all_of=pb.PredicateList(
            predicates=[
                pb.Predicate(),
                pb.Predicate(condition=pb.Condition(field="url", operator=pb.OPERATOR_UNSPECIFIED)),
                pb.Predicate(condition=pb.Condition(field="ip", operator=pb.OPERATOR_CIDR, values=["x"])),
                pb.Predicate(any_of=pb.PredicateList()),
            ]
        )
    )
    violations: list[Violation] = []
    assert predicate_from_pb(message, path="rule", violations=violations) is None
    assert [(violation.field, violation.description[:40]) for violation in violations] == [
        ("rule.all_of.predicates[0]", "is empty: set condition, all_of, any_of "),
        ("rule.all_of.predicates[1].condition.operator", "there is no operator 0; there are OPERAT"),
        ("rule.all_of.predicates[2].condition.values[0]", "`x` is no network: an IPv4 or IPv6 addre"),
        ("rule.all_of.predicates[3].any_of.predicates", "has 0 conditions, must have 1 to 100"),
    ]


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"])
def test_a_time_zone_that_there_is(name: str) -> None:
    assert time_zone_violations(name, "time_zone") == []


@pytest.mark.parametrize(
    "name", ["", "Mars", "America", "../UTC", "/etc/passwd", "localtime", "right/UTC", "UTC\0", "é"]
)
def test_a_time_zone_that_there_is_not(name: str) -> None:
    (violation,) = time_zone_violations(name, "time_zone")
    assert violation.field == "time_zone"
    assert "there is no time zone" in violation.description
