"""Splitting money."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.models.allocate import allocate, allocation_steps, fixed_point, in_units, reverse
from tests.unit.models.journeys import UNHURRIED

AMOUNTS = st.integers(-(10**24), 10**24)
WEIGHTS = st.lists(st.integers(0, 10**18), min_size=1, max_size=40).filter(any)


@pytest.mark.parametrize(
    ("amount", "weights", "parts"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (-100, [1, 1, 1], [-34, -33, -33]),
        (101, [1, 1, 1], [34, 34, 33]),
        (10, [1, 0, 3], [3, 0, 7]),
        (11, [2, 2, 4], [3, 3, 5]),
        (0, [5, 7], [0, 0]),
        (7, [3], [7]),
        (19, [1] * 20, [1] * 19 + [0]),
    ],
)
def test_units_that_are_left_go_to_the_largest_remainders_and_ties_to_the_earlier(
    amount: int, weights: list[int], parts: list[int]
) -> None:
    assert allocate(amount, weights) == parts


@UNHURRIED
@given(AMOUNTS, WEIGHTS)
def test_parts_add_up_and_are_within_one_unit_of_their_quota(amount: int, weights: list[int]) -> None:
    parts = allocate(amount, weights)
    assert sum(parts) == amount
    total = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(amount * weight, total)) < 1
        assert weight or not part


@UNHURRIED
@given(AMOUNTS, WEIGHTS)
def test_the_negative_amount_is_split_into_the_exact_negation(amount: int, weights: list[int]) -> None:
    assert allocate(-amount, weights) == [-part for part in allocate(amount, weights)]


@pytest.mark.parametrize("weights", [[], [0, 0], [3, -1]])
def test_what_has_no_weight_or_a_negative_one_is_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights must be 0 or more and not all 0"):
        allocate(1, weights)


@UNHURRIED
@given(AMOUNTS, WEIGHTS, st.lists(st.integers(0, 100), min_size=1, max_size=5).filter(any))
def test_refunds_in_any_pieces_leave_exactly_nothing(amount: int, weights: list[int], pieces: list[int]) -> None:
    left = allocate(amount, weights)
    for refund in allocate(abs(amount), pieces):
        if not refund:
            continue
        parts = reverse(left, refund)
        assert sum(parts) == (-refund if amount > 0 else refund)
        assert all(abs(part) <= abs(has) for part, has in zip(parts, left, strict=True))
        left = [has + part for has, part in zip(left, parts, strict=True)]
    assert not any(left)


@UNHURRIED
@given(AMOUNTS.filter(bool), WEIGHTS)
def test_a_full_refund_is_the_exact_negation(amount: int, weights: list[int]) -> None:
    credited = allocate(amount, weights)
    assert reverse(credited, abs(amount)) == [-part for part in credited]


def test_a_negative_refund_and_one_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="a refund is 0 or more"):
        reverse([5], -1)
    with pytest.raises(ValueError, match="not all 0"):
        reverse([0, 0], 1)


@pytest.mark.parametrize(
    ("parts", "unit", "rounded"),
    [
        ([50_000, 50_000, 50_000], 100_000, [100_000, 100_000, 0]),
        ([25_000, 25_000], 100_000, [0, 0]),
        ([75_000, 75_000], 100_000, [100_000, 100_000]),
        ([-10_004, -9_996], 10_000, [-10_000, -10_000]),
        ([0, 0], 10_000, [0, 0]),
    ],
)
def test_parts_are_rounded_to_whole_units_half_to_even(parts: list[int], unit: int, rounded: list[int]) -> None:
    assert in_units(parts, unit) == rounded


@UNHURRIED
@given(st.integers(-(10**18), 10**18), WEIGHTS, st.sampled_from([1, 1_000, 10_000, 1_000_000]))
def test_rounded_parts_of_a_whole_amount_add_up_to_it(count: int, weights: list[int], unit: int) -> None:
    parts = allocate(count * unit, weights)
    rounded = in_units(parts, unit)
    assert sum(rounded) == count * unit
    assert all(part % unit == 0 for part in rounded)
    assert all(abs(after - before) <= unit for after, before in zip(rounded, parts, strict=True))


def test_fixed_point_keeps_proportions_and_drops_what_is_too_small() -> None:
    assert fixed_point([0.5, 0.25, 2.0**-60, 0.0]) == [1 << 52, 1 << 51, 0, 0]
    assert fixed_point([0.0, 0.0]) == [0, 0]
    assert fixed_point([]) == []


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_fixed_point_refuses_what_is_no_weight(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite and 0 or more"):
        fixed_point([1.0, wrong])


@UNHURRIED
@given(AMOUNTS, st.lists(st.integers(0, 2**52), min_size=1, max_size=12).filter(any))
def test_the_steps_of_a_split_lead_to_it(amount: int, weights: list[int]) -> None:
    steps = allocation_steps(amount, weights)
    assert [step.part for step in steps] == allocate(amount, weights)
    total = sum(weights)
    for step, weight in zip(steps, weights, strict=True):
        assert abs(step.floor) * total + step.remainder == abs(amount) * weight
        assert step.extra in (0, -1 if amount < 0 else 1)
