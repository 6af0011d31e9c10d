"""Paths and the split of totals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.models.paths import Path, collapsed, credited, paths_of, split
from attribution_svc.models.registry import KINDS, LearnerKind, learner_named
from tests.unit.models.journeys import UNHURRIED, VALUES, journey

LEARNERS = [name for name, kind in KINDS.items() if isinstance(kind, LearnerKind)]
PATHS = st.lists(
    st.builds(
        Path,
        st.lists(st.sampled_from("abc"), max_size=5).map(tuple),
        st.integers(0, 9),
        st.integers(0, 9),
        VALUES,
    ),
    max_size=10,
)


def test_journeys_are_counted_by_their_path() -> None:
    found = paths_of(
        [journey("ab", value=5), journey("ab", value=7), journey("a", value=-1), journey("", value=2)],
        [("a",), ("c", "a"), ("a",)],
    )
    assert found == [
        Path(("a", "b"), 2, 0, 12),
        Path(("a",), 1, 2, -1),
        Path((), 1, 0, 2),
        Path(("c", "a"), 0, 1, 0),
    ]
    assert credited(found) == (3, 11)


def test_runs_of_a_channel_are_one() -> None:
    assert collapsed("aabba") == ("a", "b", "a")
    assert collapsed(()) == ()


@UNHURRIED
@given(PATHS, st.sampled_from(LEARNERS))
def test_every_learned_model_splits_money_to_the_micro_and_refunds_to_its_negation(
    paths: list[Path], name: str
) -> None:
    shares = learner_named(name)(paths).shares
    conversions, value = credited(paths)
    assert sum(split(value, shares).values()) == value
    assert split(-value, shares) == {channel: -part for channel, part in split(value, shares).items()}
    assert sum(shares.values()) == pytest.approx(1 if conversions else 0)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learned_model_gives_a_single_channel_everything(name: str) -> None:
    shares = learner_named(name)([Path(("a", "a"), 1, 5), Path(("a",), 2, 5)]).shares
    assert split(99, shares) == {"a": 99}


def test_ties_go_to_the_first_in_alphabetical_order() -> None:
    assert split(100, {"c": 1 / 3, "a": 1 / 3, "b": 1 / 3}) == {"a": 34, "b": 33, "c": 33}
