"""Which touches are in a journey."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.models.touch import (
    DAY_MS,
    EVER,
    Conversion,
    Exclusion,
    Lookback,
    Touch,
    exclusion,
    journey_of,
    without_direct,
)
from svc_runtime.errors import InvalidArgumentError
from tests.unit.models.journeys import UNHURRIED

AT = 1_700_000_000_000
WEEK = Lookback.days(7)


@pytest.mark.parametrize(
    ("time_ms", "expected"),
    [
        (AT - 7 * DAY_MS - 1, Exclusion.TOO_OLD),
        (AT - 7 * DAY_MS, None),
        (AT - 1, None),
        (AT, None),
        (AT + 1, Exclusion.AFTER_CONVERSION),
    ],
)
def test_both_ends_of_the_lookback_are_in(time_ms: int, expected: Exclusion | None) -> None:
    touch, conversion = Touch("t", time_ms, "a"), Conversion("k", AT, 1)
    assert exclusion(touch, conversion, WEEK) is expected
    assert journey_of(conversion, [touch], WEEK).touches == (() if expected else (touch,))


def test_a_lookback_of_the_session_takes_no_touch_of_another_and_none_where_it_is_not_known() -> None:
    session = Lookback(is_same_session=True)
    here, elsewhere, unknown = (
        Touch("1", AT, "a", session_id="s1"),
        Touch("2", AT, "a", session_id="s2"),
        Touch("3", AT, "a"),
    )
    converted = Conversion("k", AT, 1, session_id="s1")
    assert journey_of(converted, [here, elsewhere, unknown], session).touches == (here,)
    assert exclusion(elsewhere, converted, session) is Exclusion.OTHER_SESSION
    assert journey_of(Conversion("k", AT, 1), [here, unknown], session).touches == ()


def test_touches_of_one_millisecond_are_ordered_by_their_sequence() -> None:
    late, early, older = Touch("l", AT, "a", 2), Touch("e", AT, "b", 1), Touch("o", AT - 1, "c", 9)
    assert journey_of(Conversion("k", AT, 1), [late, early, older]).touches == (older, early, late)


@UNHURRIED
@given(
    st.lists(
        st.builds(
            Touch,
            st.just("t"),
            st.integers(AT - 5, AT + 5),
            st.just("a"),
            st.integers(0, 2),
            session_id=st.sampled_from(["", "s"]),
        )
    ),
    st.builds(Lookback, st.none() | st.integers(1, 6), st.booleans()),
    st.sampled_from(["", "s"]),
)
def test_a_journey_has_exactly_the_touches_that_nothing_excludes(
    touches: list[Touch], lookback: Lookback, session_id: str
) -> None:
    conversion = Conversion("k", AT, 1, session_id=session_id)
    inside = journey_of(conversion, touches, lookback).touches
    expected = [touch for touch in touches if exclusion(touch, conversion, lookback) is None]
    assert list(inside) == sorted(expected, key=lambda touch: (touch.time_ms, touch.sequence))


@pytest.mark.parametrize("days", [0, -1, 3651, float("nan")])
def test_a_lookback_of_no_days_or_of_too_many_is_refused(days: float) -> None:
    with pytest.raises(InvalidArgumentError, match=r"lookback_days: is .*, must be above 0 and at most 3650"):
        Lookback.days(days)


def test_without_a_lookback_any_age_is_in() -> None:
    touch = Touch("t", 0, "a")
    assert journey_of(Conversion("k", AT, 1), [touch], EVER).touches == (touch,)


def test_direct_touches_are_left_out_unless_there_is_nothing_else() -> None:
    direct, search = Touch("d", AT, "direct", is_direct=True), Touch("s", AT, "search")
    assert without_direct((direct, search)) == (search,)
    assert without_direct((direct,)) == (direct,)
