"""The first match by look-ups is the first match by asking each."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rule_language.evaluate import Fact, Facts, compile_test
from rule_language.first_match import FirstMatch
from rule_language.parse import predicate_from_json
from rule_language.predicate import Condition, Operator, Predicate
from tests.integration.rule_language.generate import ZONES, Generator


@given(seed=st.integers(0, 2**32), zone=st.sampled_from(ZONES), count=st.integers(0, 12))
def test_the_first_match_is_that_of_asking_each_in_turn(seed: int, zone: str, count: int) -> None:
    generator = Generator(seed)
    predicates = [predicate_from_json(generator.predicate(), path="", violations=[]) for _ in range(count)]
    if seed % 7 == 0:
        predicates.append(None)
    found = FirstMatch(((predicate, index) for index, predicate in enumerate(predicates)), time_zone=zone)
    assert len(found) == len(predicates)
    for _ in range(5):
        facts = generator.event()
        wanted = (
            index
            for index, predicate in enumerate(predicates)
            if predicate is None or compile_test(predicate, time_zone=zone)(facts)
        )
        assert found.find(facts) == next(wanted, None)


class Counting(dict[str, Fact]):
    """Facts that note who was asked for."""

    def __init__(self, **fields: Fact) -> None:
        super().__init__(fields)
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Fact:
        self.asked.append(name)
        return super().__getitem__(name)


def equals(field: str, value: str) -> Condition:
    return Condition(field, Operator.EQUALS, (value,))


def test_many_rules_on_one_field_cost_one_look_up() -> None:
    rules = FirstMatch((equals("source", f"Network{index}"), index) for index in range(50))
    facts = Counting(source=b"network49")
    assert rules.find(Facts(0, facts)) == 49
    # Once for all, and once by the rule that it leads to.
    assert facts.asked == ["source", "source"]


@pytest.mark.parametrize("first", ["path", "url"])
def test_what_no_rule_asks_for_before_the_match_is_not_read(first: str) -> None:
    rules = FirstMatch([(equals(first, "/in"), 1), (equals("country", "DE"), 2), (None, 3)])
    facts = Counting(path=b"/in", url=b"/in", country=b"DE")
    assert rules.find(Facts(0, facts)) == 1
    assert "country" not in facts.asked


def test_an_unknown_fact_matches_nothing() -> None:
    rules = FirstMatch([(equals("country", "DE"), 1), (None, 2)])
    assert rules.find(Facts(0, {})) == 2
    assert rules.find(Facts(0, {"country": None})) == 2


def test_an_unchecked_predicate_is_refused() -> None:
    def unchecked() -> Iterator[tuple[Predicate, int]]:
        yield Condition("nonsense", Operator.EXISTS), 1

    with pytest.raises(ValueError, match="nonsense"):
        FirstMatch(unchecked())
