"""Counterfactual credits of positions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.models.counterfactual import counterfactual_credits, position_shares
from attribution_svc.models.paths import Path
from tests.unit.models.journeys import UNHURRIED

PATHS = st.lists(
    st.builds(
        Path, st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(tuple), st.integers(0, 9), st.integers(0, 9)
    ),
    max_size=10,
)


@pytest.mark.parametrize(
    ("channels", "rates", "expected"),
    [
        ("a", {}, [1.0]),
        ("ab", {"ab": 0.5, "a": 0.2, "b": 0.4}, [0.25, 0.75]),
        ("ab", {"ab": 0.5, "a": 0.9, "b": 0.4}, [1.0, 0.0]),
        ("ab", {"ab": 0.5, "a": 0.9, "b": 0.6}, [0.0, 1.0]),
        ("ab", {"ab": 0.5}, [0.5, 0.5]),
        ("aba", {"aba": 0.6, "ba": 0.3, "aa": 0.6, "ab": 0.5}, [0.75, 0.0, 0.25]),
    ],
)
def test_a_position_is_worth_the_rate_that_is_lost_without_it(
    channels: str, rates: dict[str, float], expected: list[float]
) -> None:
    observed = {tuple(path): rate for path, rate in rates.items()}
    assert position_shares(tuple(channels), observed) == pytest.approx(expected)


def test_credits_are_summed_by_channel_and_paths_may_come_in_pieces() -> None:
    whole = [Path(("a", "b"), 5, 5), Path(("a",), 2, 8), Path(("b",), 4, 6)]
    pieces = [Path(("a", "b"), 3, 1), Path(("a", "b"), 2, 4), *whole[1:]]
    expected = {"a": 2 + 5 * 0.25, "b": 4 + 5 * 0.75}
    assert counterfactual_credits(whole).conversions == pytest.approx(expected)
    assert counterfactual_credits(pieces).conversions == pytest.approx(expected)


@UNHURRIED
@given(PATHS)
def test_credits_add_up_to_the_conversions(paths: list[Path]) -> None:
    found = counterfactual_credits(paths)
    assert sum(found.conversions.values()) == pytest.approx(sum(path.conversions for path in paths))
    assert set(found.conversions) == {channel for path in paths for channel in path.channels}
