"""What follows on an attempt: another one, when, or none."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution_svc.webhooks.attempt import (
    FIRST_DELAY,
    LEAST_DELAY,
    LONGEST_DELAY,
    LONGEST_OPEN,
    LONGEST_RETRY_AFTER,
    MOST_REFUSED_ATTEMPTS,
    OPEN_AFTER_FAILURES,
    Circuit,
    DeliveryState,
    Failure,
    Next,
    Outcome,
    Pace,
    after_attempt,
    delay_after,
)
from tests.contract.webhooks.things import BROKEN, CUT, GONE, NOW, OK

DAY = timedelta(days=1)


def following(outcome: Outcome, attempt_count: int = 1, *, jitter: float = 1.0, age: timedelta = 3 * DAY) -> Next:
    """Return what follows with the default settings."""
    return after_attempt(
        outcome, attempt_count=attempt_count, max_attempts=12, expire_time=NOW + age, now=NOW, jitter=jitter
    )


def test_what_is_acknowledged_is_over() -> None:
    assert following(OK) == Next(DeliveryState.SUCCEEDED)


@pytest.mark.parametrize("outcome", [BROKEN, CUT, Outcome(Failure.TIMEOUT), Outcome(Failure.DNS)])
def test_what_failed_is_tried_again_until_its_attempts_are_used_up(outcome: Outcome) -> None:
    assert following(outcome, 11).state is DeliveryState.FAILED
    assert following(outcome, 12) == Next(DeliveryState.DEAD)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_is_refused_is_tried_a_few_times(status: int) -> None:
    refused = Outcome(Failure.STATUS, status=status)
    assert following(refused, MOST_REFUSED_ATTEMPTS - 1).state is DeliveryState.FAILED
    assert following(refused, MOST_REFUSED_ATTEMPTS).state is DeliveryState.DEAD


@pytest.mark.parametrize("status", [301, 302, 408, 425, 429, 500, 502, 503])
def test_what_speaks_of_the_moment_has_all_its_attempts(status: int) -> None:
    outcome = Outcome(Failure.STATUS, status=status)
    assert not outcome.is_refusal
    assert following(outcome, 11).state is DeliveryState.FAILED


def test_gone_is_gone_at_once() -> None:
    assert following(GONE) == Next(DeliveryState.DEAD)


def test_delays_grow_threefold_to_a_limit() -> None:
    assert [delay_after(count, 1.0) for count in (1, 2, 3)] == [FIRST_DELAY, 3 * FIRST_DELAY, 9 * FIRST_DELAY]
    assert delay_after(40, 1.0) == LONGEST_DELAY


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_a_delay_is_anything_up_to_its_limit(attempt_count: int, jitter: float) -> None:
    assert LEAST_DELAY <= delay_after(attempt_count, jitter) <= max(delay_after(attempt_count, 1.0), LEAST_DELAY)


def test_twelve_attempts_fit_into_three_days() -> None:
    assert sum((delay_after(count, 1.0) for count in range(1, 12)), timedelta()) < 3 * DAY


def test_a_receiver_may_ask_for_time_but_not_for_ever() -> None:
    def asked(time: timedelta) -> Next:
        return following(Outcome(Failure.STATUS, status=429, retry_after=time), jitter=0)

    assert asked(timedelta(minutes=5)).attempt_time == NOW + timedelta(minutes=5)
    assert asked(timedelta(0)).attempt_time == NOW + LEAST_DELAY
    assert asked(10 * DAY).attempt_time == NOW + LONGEST_RETRY_AFTER


def test_what_would_come_too_late_is_given_up() -> None:
    assert following(BROKEN, 5, age=timedelta(minutes=1)) == Next(DeliveryState.DEAD)


def test_a_circuit_opens_after_failures_in_a_row_and_longer_each_time() -> None:
    circuit = Circuit()
    for count in range(1, OPEN_AFTER_FAILURES):
        circuit = circuit.after(BROKEN, NOW)
        assert (circuit.failure_count, circuit.allowance(9, NOW)) == (count, 9)
    opened = circuit.after(CUT, NOW)
    assert opened.open_until is not None
    assert opened.allowance(9, NOW) == 0
    assert opened.allowance(9, opened.open_until) == 1
    again = opened.after(CUT, NOW)
    assert again.open_until is not None
    assert again.open_until - NOW == 2 * (opened.open_until - NOW)
    for _ in range(100):
        again = again.after(CUT, NOW)
    assert again.open_until == NOW + LONGEST_OPEN
    assert again.after(OK, NOW) == Circuit()


def test_while_it_is_probed_nobody_else_is_let_through() -> None:
    half = Circuit(OPEN_AFTER_FAILURES, NOW)
    probed = half.probed(NOW, timedelta(seconds=45))
    assert (half.allowance(5, NOW), probed.allowance(5, NOW)) == (1, 0)
    assert Circuit(3).probed(NOW, DAY) == Circuit(3)


def test_what_is_not_the_destinations_fault_does_not_count_against_it() -> None:
    for failure in (Failure.SECRET, Failure.ABANDONED):
        assert Circuit(4).after(Outcome(failure), NOW) == Circuit(4)
    for outcome in (Outcome(Failure.STATUS, status=404), Outcome(Failure.REFUSED_ADDRESS), GONE):
        assert Circuit(4).after(outcome, NOW) == Circuit()


@given(st.integers(1, 50), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 100)), max_size=60))
def test_a_pace_never_lets_more_through_than_its_rate(rate: int, steps: list[tuple[int, int]]) -> None:
    pace, now, begun = Pace(), NOW, []
    for wait_ms, wanted in steps:
        now += timedelta(milliseconds=wait_ms)
        count = pace.allowance(rate, wanted, now)
        pace = pace.after(rate, count, now)
        begun += [now] * count
    for start in begun:
        within = sum(start <= when < start + timedelta(seconds=1) for when in begun)
        # What was saved up in the second before, and what the second itself brings.
        assert within <= 2 * rate


def test_a_pace_that_is_kept_up_with_is_the_rate() -> None:
    pace, begun = Pace(NOW), 0
    for tick in range(1, 101):
        now = NOW + tick * timedelta(milliseconds=100)
        count = pace.allowance(7, 100, now)
        pace, begun = pace.after(7, count, now), begun + count
    assert 68 <= begun <= 70
    assert Pace().allowance(0, 100, NOW) == 100
