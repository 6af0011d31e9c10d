"""Credits in columns are the credits of the rules, to the micro."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.models import columns
from attribution_svc.models.allocate import allocate
from attribution_svc.models.columns import Columns, Tally, allocate_rows
from attribution_svc.models.registry import KINDS, RuleKind, rule_named
from attribution_svc.models.rules import ByChannel, Linear, Position, Rule, TimeDecay, decayed
from attribution_svc.models.totals import NOBODY, Total, assists, totals
from attribution_svc.models.touch import Journey
from tests.unit.models.journeys import UNHURRIED, journey, journeys

NAMES = ["a", "b", "c", "direct"]
RULES: dict[str, Rule] = {name: rule_named(name) for name, kind in KINDS.items() if isinstance(kind, RuleKind)}
RULES |= {
    "a day": TimeDecay(1),
    "a minute": TimeDecay(1 / 1440),
    "ten years": TimeDecay(3650),
    "less direct": TimeDecay(7, 0.3),
    "never direct": TimeDecay(2, 0),
    "middle": Position(0, 1, 0),
    "odd": Position(1, 0.3333, 7),
}


def in_columns(walked: Sequence[Journey]) -> Columns:
    """Write journeys in columns."""
    touches = [(of.conversion.time_ms - touch.time_ms, touch) for of in walked for touch in of.touches]
    return Columns(
        np.array([of.conversion.value_micros for of in walked], np.int64),
        np.array([len(of.touches) for of in walked], np.int64),
        np.array([NAMES.index(touch.channel) for _, touch in touches], np.int64),
        np.array([age for age, _ in touches], np.int64),
        np.array([touch.is_direct for _, touch in touches], np.bool_),
        np.ones(len(walked), np.int64),
    )


def by_name(found: dict[int, Total]) -> dict[str | None, Total]:
    """Return what somebody got, by the channel's name."""
    return {
        NAMES[at] if at >= 0 else NOBODY: total
        for at, total in found.items()
        if total.conversions or total.value_micros
    }


# A converting touch is nothing that a reading has.
walks = st.lists(journeys(least=0), max_size=12).map(
    lambda walked: [journey_without_converting_touch(of) for of in walked]
)


def journey_without_converting_touch(of: Journey) -> Journey:
    """Leave out which touch converted."""
    conversion = of.conversion
    return Journey(type(conversion)(conversion.conversion_id, conversion.time_ms, conversion.value_micros), of.touches)


@UNHURRIED
@given(walks, walks)
def test_sums_in_columns_are_those_of_the_rules_to_the_micro(first: list[Journey], second: list[Journey]) -> None:
    tally = Tally(RULES)
    tally.add(in_columns(first))
    tally.add(in_columns(second))
    walked = [*first, *second]
    for name, expected in totals(walked, RULES).items():
        found = by_name(tally.totals()[name])
        expected = {channel: total for channel, total in expected.items() if total.conversions or total.value_micros}
        assert {channel: total.value_micros for channel, total in found.items()} == {
            channel: total.value_micros for channel, total in expected.items()
        }, name
        assert {channel: total.conversions for channel, total in found.items()} == pytest.approx(
            {channel: total.conversions for channel, total in expected.items()}
        )
    assert {NAMES[at]: found for at, found in tally.assists().items() if found.last or found.assisted} == assists(
        walked
    )
    assert (tally.conversion_count, tally.micros) == (len(walked), sum(of.conversion.value_micros for of in walked))


@UNHURRIED
@given(
    st.integers(-(2**49), 2**49),
    st.lists(st.integers(0, 2**52) | st.sampled_from([0, 1, 3, 2**52]), min_size=1, max_size=30).filter(any),
)
def test_a_row_is_split_as_a_value_is(micros: int, weights: list[int]) -> None:
    (found,) = allocate_rows(np.array([micros]), np.array([weights])).tolist()
    assert found == allocate(micros, weights)


def test_a_thousand_of_the_largest_weights_fit() -> None:
    weights = [2**52] * 999 + [2**52 - 1]
    (found,) = allocate_rows(np.array([2**49 - 1]), np.array([weights])).tolist()
    assert found == allocate(2**49 - 1, weights)


def test_pieces_that_are_cut_make_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    walked = [journey("abc"[: at % 4], value=at * 7) for at in range(50)]
    whole = Tally(RULES)
    whole.add(in_columns(walked))
    monkeypatch.setattr(columns, "_MOST_ROWS", 7)
    cut = Tally(RULES)
    cut.add(in_columns(walked))
    for name, expected in whole.totals().items():
        assert {at: total.value_micros for at, total in cut.totals()[name].items()} == {
            at: total.value_micros for at, total in expected.items()
        }


@UNHURRIED
@given(walks)
def test_what_only_adjusts_moves_values_and_counts_for_nothing(walked: list[Journey]) -> None:
    tally = Tally(RULES)
    sold = in_columns(walked)
    tally.add(sold)
    tally.add(replace(sold, micros=-sold.micros, conversions=np.zeros(len(walked), np.int64)))
    once = Tally(RULES)
    once.add(sold)
    assert (tally.conversion_count, tally.micros) == (len(walked), 0)
    for name, found in tally.totals().items():
        assert not any(total.value_micros for total in found.values())
        assert {at: total.conversions for at, total in found.items()} == pytest.approx(
            {at: total.conversions for at, total in once.totals()[name].items()}
        )
    assert {at: (each.last, each.assisted) for at, each in tally.assists().items()} == {
        at: (each.last, each.assisted) for at, each in once.assists().items()
    }


def test_conversions_without_a_journey_are_nobodys() -> None:
    tally = Tally({"linear": Linear()})
    tally.add_nobodys(3, 500)
    assert tally.totals() == {"linear": {-1: Total(3.0, 500)}}
    assert (tally.conversion_count, tally.micros) == (3, 500)


def test_a_learned_weight_is_no_rule_over_columns() -> None:
    with pytest.raises(TypeError, match="ByChannel"):
        Tally({"learned": ByChannel({"a": 1.0})})


@UNHURRIED
@given(st.floats(0, 1, exclude_max=True))
def test_a_power_of_a_half_is_right_to_the_last_bits_and_the_same_in_an_array(part: float) -> None:
    assert decayed(part) == pytest.approx(2.0**-part, rel=4 * math.ulp(1.0))
    assert decayed(np.array([part, part]))[1] == decayed(part)
    assert decayed(0.0) == 1.0
