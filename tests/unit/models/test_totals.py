"""Many journeys, side by side."""

from collections import defaultdict
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.models.registry import KINDS, RuleKind, rule_named
from attribution_svc.models.rules import ByChannel, Linear, Position, Rule, credits_of
from attribution_svc.models.totals import NOBODY, Assists, assists, totals
from attribution_svc.models.touch import Journey
from tests.unit.models.journeys import UNHURRIED, journey, journeys

RULES: dict[str, Rule] = {name: rule_named(name) for name, kind in KINDS.items() if isinstance(kind, RuleKind)}
RULES |= {"learned": ByChannel({"a": 0.7, "b": 0.2}), "middle": Position(0, 1, 0)}


@UNHURRIED
@given(st.lists(journeys(least=0), max_size=8))
def test_totals_are_the_sums_of_the_credits_to_the_micro(walked: list[Journey]) -> None:
    for name, by_channel in totals(walked, RULES).items():
        values: defaultdict[str | None, int] = defaultdict(int)
        shares: defaultdict[str | None, float] = defaultdict(float)
        for of in walked:
            for credit in credits_of(of, RULES[name]):
                channel = credit.touch.channel if credit.touch else NOBODY
                values[channel] += credit.value_micros
                shares[channel] += credit.share
        assert {channel: total.value_micros for channel, total in by_channel.items() if channel in values} == values
        assert {channel: total.conversions for channel, total in by_channel.items() if channel in values} == (
            pytest.approx(dict(shares))
        )
        assert not any(total.value_micros for channel, total in by_channel.items() if channel not in values)
        if RULES[name].is_additive:
            assert sum(total.value_micros for total in by_channel.values()) == sum(
                of.conversion.value_micros for of in walked
            )


def test_shares_of_a_place_are_summed_without_drift() -> None:
    by_channel = totals([journey("abc")] * 3000 + [journey("aab")] * 300, {"linear": Linear()})["linear"]
    assert by_channel["a"].conversions == 3000 * Fraction(1, 3) + 300 * Fraction(2, 3)
    assert by_channel["c"].conversions == 1000


def test_assists_count_who_helped_and_did_not_close() -> None:
    walked = [journey("aab", value=5), journey("ba", value=7), journey("bb", value=9), journey("", value=1)]
    assert assists(walked) == {"a": Assists(1, 1, 5), "b": Assists(2, 1, 7)}


def test_nothing_has_empty_totals() -> None:
    assert totals([], RULES) == {name: {} for name in RULES}
    assert assists([]) == {}
