"""Removal effects against published numbers, closed forms and an independent solver."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.models.markov import MOST_STATES, removal_effects
from attribution_svc.models.paths import Path, collapsed, split
from svc_runtime.errors import InvalidArgumentError
from tests.unit.models.chains import ruin_paths, solved_effects
from tests.unit.models.journeys import UNHURRIED

CHANNELS = "abcde"
ANY_PATHS = st.lists(
    st.builds(
        Path,
        st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=7).map(tuple),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=12,
)
PATHS = ANY_PATHS.filter(lambda paths: any(path.conversions for path in paths))
ORDERS = st.sampled_from([1, 2])


def close(expected: dict[str, float]) -> object:
    return pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_bryls_example() -> None:
    found = removal_effects([Path(("C1", "C2", "C3"), 1), Path(("C1",), 0, 1), Path(("C2", "C3"), 0, 1)])
    assert found.conversion_probability == pytest.approx(1 / 3)
    assert found.effects == close({"C1": 0.5, "C2": 1, "C3": 1})
    assert found.shares == close({"C1": 0.2, "C2": 0.4, "C3": 0.4})


def test_puzyrovs_example() -> None:
    paths = [Path(("google",), 2, 1), Path(("mailing",), 1), Path(("google", "mailing"), 1)]
    found = removal_effects(paths)
    assert found.conversion_probability == pytest.approx(0.8)
    assert found.effects == close({"google": 0.75, "mailing": 0.5})
    assert split(4_000_000, found.shares) == {"google": 2_400_000, "mailing": 1_600_000}


@pytest.mark.parametrize("up", [Fraction(1, 2), Fraction(3, 5), Fraction(1, 3)])
@pytest.mark.parametrize(("size", "start"), [(1, 0), (2, 0), (4, 1), (5, 2), (6, 4)])
def test_a_gamblers_ruin_has_the_effects_of_its_closed_form(up: Fraction, size: int, start: int) -> None:
    def wins(above_null: int, states: int) -> Fraction:
        """The probability to reach the top of ``states`` before 0, from ``above_null``."""
        odds = (1 - up) / up
        return Fraction(above_null, states) if odds == 1 else (1 - odds**above_null) / (1 - odds**states)

    channels = [f"c{at}" for at in range(size)]
    found = removal_effects(ruin_paths(channels, start, up))
    whole = wins(start + 1, size + 1)
    assert found.conversion_probability == pytest.approx(float(whole))
    # Nobody comes up past a channel at or above the start; one below it becomes the place of ruin.
    expected = {
        name: 1.0 if at >= start else float(1 - wins(start - at, size - at) / whole) for at, name in enumerate(channels)
    }
    assert found.effects == close(expected)


def test_a_long_ruin_keeps_its_figures_where_ten_thousand_walks_make_it() -> None:
    channels = [f"c{at:02}" for at in range(12)]
    paths = ruin_paths(channels, 6, Fraction(1, 2), times=800)
    assert sum(path.conversions + path.nulls for path in paths) >= 10_000
    found = removal_effects(paths)
    expected = {name: 1 - (6 - at) / (12 - at) * 13 / 7 if at < 6 else 1.0 for at, name in enumerate(channels)}
    assert found.effects == close(expected)
    assert found.conversion_probability == pytest.approx(7 / 13, rel=1e-14)


@UNHURRIED
@given(
    st.lists(st.tuples(st.lists(st.sampled_from("ab"), min_size=1, max_size=6), st.integers(0, 4), st.integers(0, 4)))
)
def test_two_channels_have_the_effects_of_their_formula(drawn: list[tuple[list[str], int, int]]) -> None:
    paths = [Path(tuple(channels), conversions, nulls) for channels, conversions, nulls in drawn]
    counts: dict[tuple[str, str], int] = {}
    for path in paths:
        steps = ["start", *path.channels]
        for source, target in pairwise(steps):
            counts[source, target] = counts.get((source, target), 0) + path.conversions + path.nulls
        counts[steps[-1], "won"] = counts.get((steps[-1], "won"), 0) + path.conversions
        counts[steps[-1], "lost"] = counts.get((steps[-1], "lost"), 0) + path.nulls

    def chance(source: str, target: str) -> Fraction:
        total = sum(count for (begins, _), count in counts.items() if begins == source)
        return Fraction(counts.get((source, target), 0), total) if total else Fraction(0)

    # Loops of a channel to itself are left out by what remains.
    stay = {name: 1 - chance(name, name) for name in "ab"}
    won = {name: chance(name, "won") / stay[name] for name in "ab"}
    go = {"a": chance("a", "b") / stay["a"], "b": chance("b", "a") / stay["b"]}
    first = {name: chance("start", name) for name in "ab"}
    whole = (first["a"] * (won["a"] + go["a"] * won["b"]) + first["b"] * (won["b"] + go["b"] * won["a"])) / (
        1 - go["a"] * go["b"]
    )
    found = removal_effects(paths)
    assert found.conversion_probability == pytest.approx(float(whole))
    for name, other in (("a", "b"), ("b", "a")):
        if name in found.effects:
            expected = 1 - first[other] * won[other] / whole if whole else Fraction(0)
            assert found.effects[name] == pytest.approx(float(expected), abs=1e-12)


@UNHURRIED
@given(ANY_PATHS, ORDERS)
def test_the_effects_are_those_of_the_linear_system_solved_in_fractions(paths: list[Path], order: int) -> None:
    expected = {channel: float(effect) for channel, effect in solved_effects(paths, order).items()}
    assert removal_effects(paths, order=order).effects == close(expected)


@UNHURRIED
@given(ANY_PATHS, ORDERS)
def test_the_chain_reproduces_the_overall_conversion_rate(paths: list[Path], order: int) -> None:
    walks = sum(path.conversions + path.nulls for path in paths)
    rate = sum(path.conversions for path in paths) / walks if walks else 0
    assert removal_effects(paths, order=order).conversion_probability == pytest.approx(rate, rel=1e-12)


@UNHURRIED
@given(PATHS, ORDERS)
def test_shares_add_up_and_effects_are_parts(paths: list[Path], order: int) -> None:
    found = removal_effects(paths, order=order)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert all(0 <= effect <= 1 for effect in found.effects.values())


@UNHURRIED
@given(PATHS, ORDERS)
def test_a_channel_on_every_way_to_a_conversion_has_the_effect_one_exactly(paths: list[Path], order: int) -> None:
    through = [Path((*path.channels, "gate"), path.conversions, path.nulls) for path in paths]
    assert removal_effects(through, order=order).effects["gate"] == 1.0


@UNHURRIED
@given(PATHS, ORDERS)
def test_a_channel_that_never_leads_to_a_conversion_has_the_effect_zero_exactly(paths: list[Path], order: int) -> None:
    lost = [*paths, *(Path((*path.channels, "dead end"), 0, 1 + path.nulls) for path in paths)]
    assert removal_effects(lost, order=order).effects["dead end"] == 0.0


@UNHURRIED
@given(PATHS, ORDERS, st.permutations(CHANNELS))
def test_other_names_permute_the_effects(paths: list[Path], order: int, names: list[str]) -> None:
    renamed = dict(zip(CHANNELS, names, strict=True))
    others = [Path(tuple(renamed[c] for c in path.channels), path.conversions, path.nulls) for path in paths]
    expected = {renamed[channel]: effect for channel, effect in removal_effects(paths, order=order).effects.items()}
    assert removal_effects(others, order=order).effects == close(expected)


@UNHURRIED
@given(PATHS, ORDERS, st.integers(2, 1000))
def test_scaled_counts_change_no_effect(paths: list[Path], order: int, times: int) -> None:
    scaled = [Path(path.channels, path.conversions * times, path.nulls * times) for path in paths]
    assert removal_effects(scaled, order=order).effects == close(removal_effects(paths, order=order).effects)


@UNHURRIED
@given(PATHS)
def test_repeats_of_a_channel_change_nothing_in_order_one(paths: list[Path]) -> None:
    shorter = [Path(collapsed(path.channels), path.conversions, path.nulls) for path in paths]
    assert removal_effects(shorter).effects == close(removal_effects(paths).effects)


@UNHURRIED
@given(PATHS)
def test_paths_may_be_given_in_pieces(paths: list[Path]) -> None:
    pieces = [
        *(Path(path.channels, path.conversions) for path in paths),
        *(Path(path.channels, 0, path.nulls) for path in paths),
    ]
    assert removal_effects(pieces).effects == close(removal_effects(paths).effects)


@pytest.mark.parametrize("order", [1, 2])
def test_a_single_channel_gets_everything(order: int) -> None:
    paths = [Path(("a",), 3, 5), Path(("a", "a", "a"), 1, 2)]
    assert removal_effects(paths, order=order).shares == {"a": 1.0}


def test_order_two_tells_apart_what_order_one_cannot() -> None:
    # b converts after a and never after c; of order one that is half and half.
    paths = [Path(("a", "b"), 10), Path(("c", "b"), 0, 10)]
    assert removal_effects(paths, order=1).effects == close({"a": 0.5, "b": 1, "c": 0.5})
    assert removal_effects(paths, order=2).effects == close({"a": 1, "b": 1, "c": 0})


def test_without_null_paths_other_effects_come_out() -> None:
    paths = [Path(("google",), 2, 1), Path(("mailing",), 1), Path(("google", "mailing"), 1)]
    found = removal_effects(paths, has_nulls=False)
    assert found.conversion_probability == pytest.approx(1)
    assert found.effects == close({"google": 0.75, "mailing": 0.5})
    paths.append(Path(("mailing", "google"), 0, 20))
    assert removal_effects(paths, has_nulls=False).effects == found.effects
    assert removal_effects(paths).effects != found.effects


@pytest.mark.parametrize("paths", [[], [Path(("a",))], [Path((), 3, 4)]])
def test_nothing_walked_is_nothing_credited(paths: list[Path]) -> None:
    found = removal_effects(paths)
    assert (found.conversion_probability, found.effects) == (0.0, {})
    assert split(5, found.shares) == {None: 5}


def test_where_nothing_converted_nobody_is_credited() -> None:
    found = removal_effects([Path(("a", "b"), 0, 4)])
    assert found.effects == {"a": 0.0, "b": 0.0}
    assert split(5, found.shares) == {None: 5}


def test_conversions_without_a_touch_are_nobodys_and_change_no_effect() -> None:
    paths = [Path(("a", "b"), 1, 1), Path(("b",), 1, 3)]
    assert removal_effects([*paths, Path((), 100, 7)]).effects == removal_effects(paths).effects


@pytest.mark.parametrize("order", [0, 3])
def test_another_order_is_refused(order: int) -> None:
    with pytest.raises(InvalidArgumentError, match=f"order: is {order}, must be 1 or 2"):
        removal_effects([], order=order)


def test_too_many_states_are_refused() -> None:
    paths = [Path((str(at),), 1) for at in range(MOST_STATES + 1)]
    with pytest.raises(InvalidArgumentError, match="more than 600 states of order 1: group rare channels"):
        removal_effects(paths)


def test_counts_below_zero_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="counts are 1 and -1"):
        Path(("a",), 1, -1)
