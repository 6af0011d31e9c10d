"""The statistics of experiments against published numbers, and simulated."""

import math
import random
from collections.abc import Iterator
from fractions import Fraction
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.models.experiment import (
    Arm,
    always_valid_p,
    chi_square_tail,
    one_proportion_z,
    probability_b_beats_a,
    sample_ratio_mismatch,
    sample_size,
    two_proportion_z,
    wilson_interval,
)
from svc_runtime.errors import InvalidArgumentError
from tests.unit.models.journeys import UNHURRIED

ARMS = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda drawn: Arm(min(drawn), max(drawn)))


def test_two_proportions_of_the_statsmodels_example() -> None:
    found = two_proportion_z(Arm(5, 83), Arm(12, 99))
    assert found.statistic == pytest.approx(-1.4078304151, abs=5e-11)
    assert found.p_value == pytest.approx(0.1591812918, abs=5e-11)


def test_one_proportion_of_the_statsmodels_example() -> None:
    found = one_proportion_z(Arm(5, 83), 0.05)
    assert found.statistic == pytest.approx(0.3921260263, abs=5e-11)
    assert found.p_value == pytest.approx(0.6949650981, abs=5e-11)


@pytest.mark.parametrize(
    ("arm", "low", "high"), [(Arm(5, 83), 0.0260034, 0.1333843), (Arm(468, 15420), 0.02776, 0.03318)]
)
def test_wilson_intervals(arm: Arm, low: float, high: float) -> None:
    found = wilson_interval(arm)
    digits = 7 if arm.visitors == 83 else 5
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)


def test_wilson_intervals_end_at_zero_and_one_exactly() -> None:
    assert wilson_interval(Arm(0, 7)).low == 0.0
    assert wilson_interval(Arm(7, 7)).high == 1.0
    assert 0 < wilson_interval(Arm(0, 7)).high < 1
    none = wilson_interval(Arm(0, 0))
    assert (none.low, none.high) == (0.0, 1.0)


@UNHURRIED
@given(ARMS.filter(lambda arm: arm.visitors > 0), st.floats(0.5, 0.999))
def test_a_wilson_interval_holds_the_rate_and_its_ends_are_where_the_score_test_turns(
    arm: Arm, confidence: float
) -> None:
    found = wilson_interval(arm, confidence=confidence)
    assert 0 <= found.low <= arm.rate <= found.high <= 1
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    for end in (found.low, found.high):
        if 0 < end < 1:
            assert abs(arm.rate - end) == pytest.approx(z * math.sqrt(end * (1 - end) / arm.visitors), rel=1e-6)


@pytest.mark.parametrize(
    ("visitors", "chi2", "p_value"),
    [
        ([44_000, 45_000], pytest.approx(11.23596, abs=5e-6), pytest.approx(0.00080228, abs=5e-9)),
        ([600, 400], pytest.approx(40), pytest.approx(2.5396e-10, rel=2e-5)),
        ([10_000, 10_050], pytest.approx(0.12469, abs=5e-6), pytest.approx(0.7240, abs=5e-5)),
    ],
)
def test_sample_ratio_mismatch(visitors: list[int], chi2: object, p_value: object) -> None:
    found = sample_ratio_mismatch(visitors)
    assert found.statistic == chi2
    assert found.p_value == p_value


def test_arms_may_be_meant_to_be_of_different_size() -> None:
    assert sample_ratio_mismatch([600, 400], [3, 2]).p_value == 1.0
    assert sample_ratio_mismatch([500, 500], [3, 2]).p_value < 1e-9
    assert sample_ratio_mismatch([100, 100, 100]).statistic == 0
    assert sample_ratio_mismatch([0, 0]).p_value == 1.0


@pytest.mark.parametrize(
    ("statistic", "freedom", "tail"),
    [
        (3.841459, 1, 0.05),
        (5.991465, 2, 0.05),
        (7.814728, 3, 0.05),
        (9.487729, 4, 0.05),
        (18.307038, 10, 0.05),
        (11.344867, 3, 0.01),
        (0.0, 5, 1.0),
        (2.0, 2, math.exp(-1)),
    ],
)
def test_tails_of_chi_square_are_those_of_the_tables(statistic: float, freedom: int, tail: float) -> None:
    assert chi_square_tail(statistic, freedom) == pytest.approx(tail, abs=1e-7)


def test_the_size_of_a_sample() -> None:
    assert sample_size(0.05, 0.06) == 8158
    assert sample_size(0.06, 0.05) == 8158


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0, 0.1), "base_rate"),
        ((0.1, 1), "wanted_rate"),
        ((0.1, 0.1), "wanted_rate"),
        ((0.1, float("nan")), "wanted_rate"),
    ],
)
def test_rates_that_are_none_or_the_same_have_no_sample_size(arguments: tuple[float, float], named: str) -> None:
    with pytest.raises(InvalidArgumentError, match=named):
        sample_size(*arguments)


def test_the_probability_that_b_beats_a() -> None:
    assert probability_b_beats_a(Arm(100, 1000), Arm(120, 1000)) == pytest.approx(0.923183, abs=5e-7)
    assert probability_b_beats_a(Arm(0, 0), Arm(0, 0)) == pytest.approx(0.5)


def exactly(a: Arm, b: Arm) -> Fraction:
    """P(B > A) in fractions: every term of the sum."""
    won, lost = a.conversions + 1, a.visitors - a.conversions + 1
    b_won, b_lost = b.conversions + 1, b.visitors - b.conversions + 1

    def beta(x: int, y: int) -> Fraction:
        return Fraction(math.factorial(x - 1) * math.factorial(y - 1), math.factorial(x + y - 1))

    return sum(
        (
            beta(won + at, lost + b_lost) / ((b_lost + at) * beta(1 + at, b_lost) * beta(won, lost))
            for at in range(b_won)
        ),
        Fraction(0),
    )


@UNHURRIED
@given(ARMS, ARMS)
def test_the_probability_that_b_beats_a_is_that_of_the_whole_sum(a: Arm, b: Arm) -> None:
    assert probability_b_beats_a(a, b) == pytest.approx(float(exactly(a, b)), rel=1e-9)
    assert probability_b_beats_a(a, b) + probability_b_beats_a(b, a) == pytest.approx(1)


@pytest.mark.parametrize("b_won", [20_000_000, 20_010_000, 19_990_000, 25_000_000, 15_000_000])
def test_of_many_millions_of_visitors_the_probability_is_that_of_normal_rates(b_won: int) -> None:
    a, b = Arm(20_000_000, 300_000_000), Arm(b_won, 300_000_000)
    spread = math.sqrt(sum(arm.rate * (1 - arm.rate) / arm.visitors for arm in (a, b)))
    expected = NormalDist().cdf((b.rate - a.rate) / spread)
    assert probability_b_beats_a(a, b) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("a", "b"), [(Arm(0, 0), Arm(5, 9)), (Arm(0, 9), Arm(0, 9)), (Arm(9, 9), Arm(9, 9))])
def test_where_nothing_can_be_said_p_is_one(a: Arm, b: Arm) -> None:
    assert two_proportion_z(a, b).p_value == 1.0
    assert always_valid_p(a, b) == 1.0


@pytest.mark.parametrize(("conversions", "visitors"), [(2, 1), (-1, 5), (0, -1)])
def test_more_conversions_than_visitors_are_refused(conversions: int, visitors: int) -> None:
    with pytest.raises(InvalidArgumentError, match=f"has {conversions} conversions of {visitors} visitors"):
        Arm(conversions, visitors)


@pytest.mark.parametrize(
    ("visitors", "weights"), [([5], None), ([5, 5], [1.0]), ([5, 5], [1.0, 0.0]), ([5, -1], None), ([], None)]
)
def test_arms_that_are_none_are_refused(visitors: list[int], weights: list[float] | None) -> None:
    with pytest.raises(InvalidArgumentError, match="two or more arms, each with a weight above 0"):
        sample_ratio_mismatch(visitors, weights)


def same_arm(chance: random.Random, visitors: int) -> Arm:
    """An arm whose visitors convert in 30 of 100 cases."""
    return Arm(sum(chance.random() < 0.3 for _ in range(visitors)), visitors)


def same_arms(chance: random.Random, *, looks: int, visitors: int) -> Iterator[tuple[Arm, Arm]]:
    """An A/A test, looked at ``looks`` times, each after ``visitors`` more in either arm."""
    won = [0, 0]
    for look in range(1, looks + 1):
        for arm in (0, 1):
            won[arm] += same_arm(chance, visitors).conversions
        yield Arm(won[0], look * visitors), Arm(won[1], look * visitors)


def test_without_a_difference_p_values_are_uniform_and_five_percent_are_below_five_percent() -> None:
    chance, tests = random.Random(1), 1500
    # Arms of the same size would differ by whole conversions only: few p-values, each of 4 % of the tests.
    arms = [(same_arm(chance, 1000), same_arm(chance, 1117)) for _ in range(tests)]
    p_values = sorted(two_proportion_z(a, b).p_value for a, b in arms)
    # Kolmogorov and Smirnov, at 1 %.
    apart = max(max(abs(p - at / tests), abs(p - (at + 1) / tests)) for at, p in enumerate(p_values))
    assert apart * math.sqrt(tests) < 1.63
    wrong = sum(p < 0.05 for p in p_values)
    assert abs(wrong - 0.05 * tests) < 3 * math.sqrt(tests * 0.05 * 0.95)


def test_looking_often_finds_what_is_not_there_unless_the_p_value_is_made_for_it() -> None:
    chance, tests = random.Random(2), 400
    fooled = safe = 0
    for _ in range(tests):
        looks = list(same_arms(chance, looks=20, visitors=100))
        fooled += any(two_proportion_z(a, b).p_value < 0.05 for a, b in looks)
        safe += any(always_valid_p(a, b, typical_difference=0.05) < 0.05 for a, b in looks)
    assert fooled > 0.15 * tests
    assert safe <= 0.05 * tests


def test_the_p_value_for_looking_often_is_one_over_the_mixed_likelihood_ratio() -> None:
    a, b, typical = Arm(3000, 10_000), Arm(3200, 10_000), 0.02
    difference, pooled = b.rate - a.rate, 0.31
    variance = pooled * (1 - pooled) * 2 / 10_000
    # Differences are mixed as a normal of the typical size says; summed here where the product has a closed form.
    step = typical / 500
    mixed = sum(
        NormalDist(0, typical).pdf(true) * math.exp((true * difference - true * true / 2) / variance) * step
        for true in (at * step for at in range(-4000, 4001))
    )
    assert mixed > 1
    assert always_valid_p(a, b, typical_difference=typical) == pytest.approx(1 / mixed, rel=1e-9)


def test_the_p_value_for_looking_often_finds_what_is_there() -> None:
    assert always_valid_p(Arm(3000, 10_000), Arm(3500, 10_000)) < 1e-6
    assert always_valid_p(Arm(3000, 10_000), Arm(3010, 10_000)) > 0.5
    with pytest.raises(InvalidArgumentError, match="typical_difference: is 0"):
        always_valid_p(Arm(1, 2), Arm(1, 2), typical_difference=0)


def test_the_size_of_a_sample_has_the_power_that_it_promises() -> None:
    chance, tests, base, wanted = random.Random(3), 400, 0.3, 0.4
    size = sample_size(base, wanted)

    def arm(rate: float) -> Arm:
        return Arm(sum(chance.random() < rate for _ in range(size)), size)

    found = sum(two_proportion_z(arm(base), arm(wanted)).p_value < 0.05 for _ in range(tests))
    assert abs(found - 0.8 * tests) < 3 * math.sqrt(tests * 0.8 * 0.2)
