"""An explanation says what the evaluator does, of every part."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rule_language.evaluate import Facts, compile_test
from rule_language.explain import Explained, Found, deciding, explain
from rule_language.parse import predicate_from_json
from rule_language.predicate import AllOf, AnyOf, Condition, Not, Predicate
from tests.integration.rule_language.generate import ZONES, Generator


def read(form: Any) -> Predicate:
    predicate = predicate_from_json(form, path="rule", violations=[])
    assert predicate is not None
    return predicate


def condition(field: str, operator: str, *values: str) -> dict[str, Any]:
    return {"field": field, "operator": operator, "values": list(values)}


@given(seed=st.integers(0, 2**32), zone=st.sampled_from(ZONES))
def test_the_verdict_of_every_part_is_the_evaluators(seed: int, zone: str) -> None:
    generator = Generator(seed)
    for _ in range(5):
        predicate = read(generator.predicate())
        facts = generator.event()

        def check(part: Predicate, explained: Explained, facts: Facts = facts) -> None:
            assert explained.verdict is compile_test(part, time_zone=zone)(facts)
            match part:
                case Not(child):
                    check(child, explained.children[0])
                case AllOf(children) | AnyOf(children):
                    for inner, found in zip(children, explained.children, strict=True):
                        check(inner, found)
                case Condition():
                    assert explained.condition == part
                    assert explained.found is not None
                    assert (explained.verdict is None) == (explained.found.state == "unknown")

        explained = explain(predicate, facts, time_zone=zone)
        check(predicate, explained)
        assert bool(deciding(explained)) is (explained.verdict is not True)


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("referer", Found("known", b"https://TikTok.com/")),
        ("country", Found("unknown")),
        ("param.zone", Found("missing")),
        ("param.a", Found("known", b"\xff")),
        ("header.X-A", Found("known", b"1")),
        ("is_bot", Found("known", b"false")),
        ("asn", Found("missing")),
        ("value", Found("missing")),
        ("hour", Found("known", b"13")),
        ("weekday", Found("known", b"monday")),
        ("date", Found("known", b"2026-03-02")),
    ],
)
def test_what_an_event_has_is_said(field: str, found: Found) -> None:
    facts = Facts(
        1_772_452_800_000,
        {"referer": b"https://TikTok.com/", "is_bot": False, "asn": 0},
        {b"a": b"\xff"},
        {b"x-a": b"1"},
    )
    values = {"hour": ["13"], "weekday": ["monday"], "date": ["2026-03-02"]}.get(field, ["1"])
    values = ["true"] if field == "is_bot" else values
    explained = explain(read(condition(field, "equals", *values)), facts, time_zone="Europe/Berlin")
    assert explained.found == found


def test_the_conditions_that_decide_are_those_that_failed() -> None:
    facts = Facts(0, {"referer": b"x"})
    a, b, c = (
        condition("referer", "equals", "x"),
        condition("referer", "equals", "y"),
        condition("country", "equals", "DE"),
    )

    def names(form: Any) -> list[str]:
        return [found.condition.values[0] for found in deciding(explain(read(form), facts)) if found.condition]

    assert names({"all": [a, b, c]}) == ["y"]
    assert names({"all": [a, c]}) == ["DE"]
    assert names({"any": [b, c]}) == ["y", "DE"]
    assert names({"not": a}) == ["x"]
    assert names(a) == []
