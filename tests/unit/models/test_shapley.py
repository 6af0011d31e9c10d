"""Shapley values against published games, and their axioms."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.models import shapley
from attribution_svc.models.paths import Path
from attribution_svc.models.shapley import exact, sampled, shapley_values
from svc_runtime.errors import InvalidArgumentError, QueryLimitError
from tests.unit.models.journeys import UNHURRIED

GAMES = st.integers(1, 5).flatmap(
    lambda count: st.lists(st.integers(-1000, 1000), min_size=1 << count, max_size=1 << count)
)
CHANNELS = "abcd"
PATHS = st.lists(
    st.builds(
        Path,
        st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=6).map(tuple),
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=12,
)


def players(worth: list[int]) -> int:
    return len(worth).bit_length() - 1


def inside(paths: list[Path], channels: set[str]) -> tuple[int, int]:
    """Conversions and walks of the paths that touch no other channel."""
    of = [path for path in paths if set(path.channels) <= channels]
    return sum(path.conversions for path in of), sum(path.conversions + path.nulls for path in of)


def test_facebook_google_and_linkedin() -> None:
    ratios = {"F": 18, "G": 4, "L": 8, "FG": 10, "FL": 26, "GL": 7, "FGL": 27}
    found = shapley_values([Path(tuple(channels), count) for channels, count in ratios.items()])
    assert found.values == pytest.approx({"F": 45, "G": 21.5, "L": 33.5})
    assert found.is_exact

    def worth(coalition: int) -> float:
        held = {name for bit, name in enumerate("FGL") if coalition >> bit & 1}
        return sum(ratio for channels, ratio in ratios.items() if set(channels) <= held) / 100

    assert exact(worth, 3) == pytest.approx([0.45, 0.215, 0.335])


def test_the_glove_game() -> None:
    # Two have a left glove, the third a right one; a pair is worth 1.
    assert exact(lambda coalition: float(coalition in (0b101, 0b110, 0b111)), 3) == pytest.approx([1 / 6, 1 / 6, 4 / 6])


@UNHURRIED
@given(GAMES)
def test_values_add_up_to_what_all_together_are_worth(worth: list[int]) -> None:
    assert math.fsum(exact(lambda coalition: worth[coalition], players(worth))) == pytest.approx(worth[-1] - worth[0])


@UNHURRIED
@given(GAMES, st.data())
def test_players_that_add_the_same_have_the_same_value(worth: list[int], data: st.DataObject) -> None:
    count = players(worth) + 2
    one, other = 1 << (count - 2), 1 << (count - 1)

    def alike(coalition: int) -> float:
        both = bool(coalition & one) + bool(coalition & other)
        return worth[coalition & (one - 1)] * (1 + both) + 7 * both

    values = exact(alike, count)
    assert values[-1] == pytest.approx(values[-2])


@UNHURRIED
@given(GAMES, st.integers(-100, 100))
def test_a_player_who_adds_nothing_has_none_and_one_who_adds_a_constant_has_it(worth: list[int], alone: int) -> None:
    count = players(worth) + 1
    bit = 1 << (count - 1)
    values = exact(lambda coalition: worth[coalition & (bit - 1)] + (alone if coalition & bit else 0), count)
    assert values[-1] == pytest.approx(alone)
    assert values[:-1] == pytest.approx(exact(lambda coalition: worth[coalition], count - 1))


@UNHURRIED
@given(
    st.integers(1, 4).flatmap(
        lambda n: st.tuples(*[st.lists(st.integers(-99, 99), min_size=1 << n, max_size=1 << n)] * 2)
    )
)
def test_values_of_a_sum_of_games_are_the_sums_of_the_values(games: tuple[list[int], list[int]]) -> None:
    one, other = games
    count = players(one)
    both = exact(lambda coalition: one[coalition] + other[coalition], count)
    apart = zip(exact(lambda c: one[c], count), exact(lambda c: other[c], count), strict=True)
    assert both == pytest.approx([a + b for a, b in apart], abs=1e-9)


@UNHURRIED
@given(PATHS)
def test_conversions_split_over_distinct_channels_are_the_values_of_their_game(paths: list[Path]) -> None:
    found = shapley_values(paths)
    channels = sorted(found.values)

    def worth(coalition: int) -> float:
        return inside(paths, {name for bit, name in enumerate(channels) if coalition >> bit & 1})[0]

    assert list(found.values.values()) == pytest.approx(exact(worth, len(channels)), abs=1e-9)
    assert sum(found.values.values()) == pytest.approx(sum(path.conversions for path in paths))


@UNHURRIED
@given(PATHS)
def test_the_rate_game_is_the_rate_of_the_journeys_inside_a_coalition(paths: list[Path]) -> None:
    found = shapley_values(paths, characteristic="conversion_rate")
    channels = sorted(found.values)

    def worth(coalition: int) -> float:
        converted, walked = inside(paths, {name for bit, name in enumerate(channels) if coalition >> bit & 1})
        return converted / walked if walked else 0.0

    assert list(found.values.values()) == pytest.approx(exact(worth, len(channels)), abs=1e-12)
    assert found.is_exact
    assert all(share >= 0 for share in found.shares.values())


@UNHURRIED
@given(PATHS, st.permutations(CHANNELS), st.sampled_from(["conversions", "conversion_rate"]))
def test_other_names_permute_the_values(paths: list[Path], names: list[str], characteristic: str) -> None:
    renamed = dict(zip(CHANNELS, names, strict=True))
    others = [Path(tuple(renamed[c] for c in path.channels), path.conversions, path.nulls) for path in paths]
    found = shapley_values(paths, characteristic=characteristic).values
    expected = {renamed[channel]: value for channel, value in found.items()}
    assert shapley_values(others, characteristic=characteristic).values == pytest.approx(expected, abs=1e-12)


def crowd(count: int) -> list[Path]:
    """Paths of ``count`` channels, some alike."""
    names = [f"c{at:02}" for at in range(count)]
    return [
        *(Path((name,), at % 5, 10) for at, name in enumerate(names)),
        *(Path((one, other), 3 + at % 7, 6) for at, (one, other) in enumerate(zip(names, names[3:], strict=False))),
        *(Path(tuple(names[at : at + 4]), 9, 1 + at) for at in range(count - 4)),
    ]


def test_sampled_values_are_within_their_error_of_the_exact_ones() -> None:
    paths = crowd(12)
    right = shapley_values(paths, characteristic="conversion_rate")
    channels = list(right.values)

    def along(order: Sequence[int]) -> list[float]:
        worth = []
        for joined in range(len(order) + 1):
            converted, walked = inside(paths, {channels[at] for at in order[:joined]})
            worth.append(converted / walked if walked else 0.0)
        return worth

    means, errors = sampled(along, 12, samples=1000, seed=3)
    away = [abs(mean - value) / error for mean, value, error in zip(means, right.values.values(), errors, strict=True)]
    assert all(error > 0 for error in errors)
    # Twelve normal deviates: none beyond 4, and not all of them tiny, which would say that the error is too large.
    assert max(away) < 4
    assert sum(square * square for square in away) > 2


def test_beyond_twelve_channels_values_are_sampled_with_an_error_and_still_add_up() -> None:
    paths = crowd(15)
    found = shapley_values(paths, characteristic="conversion_rate", samples=500, seed=1)
    assert not found.is_exact
    assert all(error > 0 for error in found.standard_errors.values())
    converted, walked = inside(paths, set(found.values))
    assert sum(found.values.values()) == pytest.approx(converted / walked)
    assert shapley_values(paths, characteristic="conversion_rate", samples=500, seed=1) == found
    assert shapley_values(paths, characteristic="conversion_rate", samples=500, seed=2) != found
    more = shapley_values(paths, characteristic="conversion_rate", samples=8000, seed=1)
    ratio = sum(found.standard_errors.values()) / sum(more.standard_errors.values())
    assert ratio == pytest.approx(4, rel=0.15), "sixteen times the sample is a quarter of the error"


def test_beyond_twelve_channels_the_sample_is_of_the_rates() -> None:
    paths, count = crowd(13), 13
    channels = [f"c{at:02}" for at in range(count)]
    worth = []
    for coalition in range(1 << count):
        converted, walked = inside(paths, {name for bit, name in enumerate(channels) if coalition >> bit & 1})
        worth.append(converted / walked if walked else 0.0)
    found = shapley_values(paths, characteristic="conversion_rate", samples=1000, seed=4)
    for at, name in enumerate(channels):
        bit = 1 << at
        right = sum(
            (worth[coalition | bit] - worth[coalition]) / math.comb(count - 1, coalition.bit_count()) / count
            for coalition in range(1 << count)
            if not coalition & bit
        )
        assert abs(found.values[name] - right) < 4 * found.standard_errors[name]


def test_a_game_without_chance_has_no_error() -> None:
    means, errors = sampled(lambda order: [float(joined) for joined in range(len(order) + 1)], 20, samples=50, seed=0)
    assert means == [1.0] * 20
    assert errors == [0.0] * 20


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="channels: are 13, at most 12 are exact"):
        exact(lambda _: 0.0, 13)
    with pytest.raises(InvalidArgumentError, match="samples: is 1, must be 2 or more"):
        sampled(lambda order: [0.0] * (len(order) + 1), 3, samples=1, seed=0)
    with pytest.raises(
        InvalidArgumentError, match="characteristic: is 'luck', must be one of conversions, conversion_rate"
    ):
        shapley_values([], characteristic="luck")


def test_too_much_to_sample_is_refused_with_what_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapley, "MOST_STEPS", 130)
    paths = [Path((f"c{at}",), 1, 1) for at in range(13)]
    with pytest.raises(QueryLimitError, match="at most 10 samples, not 11"):
        shapley_values(paths, characteristic="conversion_rate", samples=11)
    assert len(shapley_values(paths, characteristic="conversion_rate", samples=10).values) == 13


def test_nothing_walked_has_no_values() -> None:
    assert shapley_values([Path((), 5)]).values == {}
    assert shapley_values([], characteristic="conversion_rate").shares == {}
