"""ClickHouse and plain Python count the same, whatever the events, ties of the same millisecond included."""

import itertools
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_svc.behavior.funnel import Actor, FunnelSpec, FunnelStep, compile_funnel, funnels_of
from analytics_svc.dimension import DIMENSIONS
from analytics_svc.slice import Slice
from analytics_svc.statement import Rows, Statement
from rule_language.predicate import Condition, Operator
from tests.integration.analytics.behavior.conftest import at
from tests.integration.analytics.behavior.funnel_reference import Fact, Modes, reached
from tests.reading import ACME, OTHER, insert_events

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.store

KINDS = "abcd"
ALL_MODES = [
    Modes(*flags)
    for flags in itertools.product([False, True], repeat=5)
    if flags[0] or not flags[4]  # reentry is of strict order alone
]
SLICE = Slice(ACME, at(-1000), at(1000))
streams = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(KINDS)), max_size=9)
steps_of_kinds = st.lists(st.sets(st.sampled_from(KINDS), min_size=1, max_size=3), min_size=1, max_size=4)


def asked(client: "Client", statement: Statement) -> Rows:
    """Run a statement."""
    result = client.query(statement.sql, parameters=dict(statement.parameters))
    return Rows(tuple(result.column_names), result.result_rows, 0, 0, 0.0)


def event_id(place: int) -> UUID:
    """Return an id whose halves disagree about the order: only its text is right."""
    return UUID(int=place << 64 | (10**7 - place))


@given(st.lists(streams, min_size=1, max_size=6), steps_of_kinds, st.integers(1, 9))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_clickhouse_and_python_take_the_same_steps(
    client: "Client", actors: list[list[tuple[int, str]]], steps: list[set[str]], window: int
) -> None:
    client.command("TRUNCATE TABLE events")
    rows = [
        {
            "user_id": f"user{actor}",
            "source": f"user{actor}",
            "event_id": event_id(place),
            "event_time": at(millisecond),
            "event_type": kind,
        }
        for actor, stream in enumerate(actors)
        for place, (millisecond, kind) in enumerate(stream)
    ]
    # Neither somebody else's event, nor a bot's, nor one without an actor takes or breaks a step.
    noise = [{"organization_id": OTHER, "user_id": "user0"}, {"user_id": "user0", "is_bot": 1}, {"user_id": ""}]
    noisy = [{**row, "event_time": at(ms), "event_type": kind} for row in noise for kind in KINDS for ms in (0, 5)]
    insert_events(client, rows + noisy, counts=False)
    for modes in ALL_MODES:
        spec = FunnelSpec(
            SLICE,
            tuple(FunnelStep("", Condition("event_type", Operator.IN, tuple(sorted(kinds)))) for kinds in steps),
            timedelta(milliseconds=window),
            dimension=DIMENSIONS["source"],
            **asdict(modes),
        )
        everybody, *each = funnels_of(spec, asked(client, compile_funnel(spec)))
        expected = {
            f"user{actor}": reached(facts(stream, steps), len(steps), window, modes)
            for actor, stream in enumerate(actors)
        }
        assert {one.value: sum(one.counts) for one in each} == {who: n for who, n in expected.items() if n}, modes
        assert everybody.counts == tuple(sum(n > at for n in expected.values()) for at in range(len(steps))), modes


def facts(stream: list[tuple[int, str]], steps: list[set[str]]) -> list[Fact]:
    """Return a stream as the reference has it."""
    return [
        Fact(millisecond, str(event_id(place)), frozenset(n for n, kinds in enumerate(steps, 1) if kind in kinds))
        for place, (millisecond, kind) in enumerate(stream)
    ]


@given(streams, steps_of_kinds, st.integers(1, 9))
def test_an_event_that_counts_once_never_makes_a_chain_longer(
    stream: list[tuple[int, str]], steps: list[set[str]], window: int
) -> None:
    found = facts(stream, steps)
    free = reached(found, len(steps), window, Modes())
    once = reached(found, len(steps), window, Modes(is_strict_once=True))
    rising = reached(found, len(steps), window, Modes(is_strict_once=True, is_strict_increase=True))
    assert rising <= once <= free


@given(streams, steps_of_kinds, st.integers(1, 9))
def test_without_flags_the_longest_chain_there_is_counts(
    stream: list[tuple[int, str]], steps: list[set[str]], window: int
) -> None:
    """Events of one millisecond have any order that helps, and an event is every step that it fits."""
    found = facts(stream, steps)
    longest = 0
    for first in found:
        ends = {first.at} if 1 in first.fits else set()
        level = 0
        while ends and level < len(steps):
            level += 1
            longest = max(longest, level)
            later = (fact.at for fact in found if level + 1 in fact.fits and fact.at - first.at <= window)
            ends = {time for time in later if time >= min(ends)}
    assert reached(found, len(steps), window, Modes()) == longest


def test_a_funnel_is_of_sessions_too(client: "Client") -> None:
    events = [("u", "s1", "a", 0), ("u", "s2", "b", 1), ("v", "s3", "a", 0), ("v", "s3", "b", 1), ("w", "", "a", 0)]
    insert_events(
        client,
        [
            {"user_id": user, "session_id": session, "event_type": kind, "event_time": at(ms)}
            for user, session, kind, ms in events
        ],
        counts=False,
    )
    steps = tuple(FunnelStep("", Condition("event_type", Operator.EQUALS, (kind,))) for kind in "ab")
    by_user, by_session = (FunnelSpec(SLICE, steps, actor=actor) for actor in (Actor.USER, Actor.SESSION))
    assert funnels_of(by_user, asked(client, compile_funnel(by_user)))[0].counts == (3, 2)
    assert funnels_of(by_session, asked(client, compile_funnel(by_session)))[0].counts == (2, 1)


def test_a_window_is_exact_to_the_millisecond_in_either_mode(client: "Client") -> None:
    for gap, who in ((999, "under"), (1000, "at"), (1001, "over")):
        rows = [{"user_id": who, "event_type": kind, "event_time": at(ms)} for kind, ms in (("a", 0), ("b", gap))]
        insert_events(client, rows, counts=False)
    steps = tuple(FunnelStep("", Condition("event_type", Operator.EQUALS, (kind,))) for kind in "ab")
    part = Slice(ACME, at(-1), at(2000))
    for is_once in (False, True):
        spec = FunnelSpec(part, steps, timedelta(seconds=1), is_strict_once=is_once)
        assert funnels_of(spec, asked(client, compile_funnel(spec)))[0].counts == (3, 2)


def test_a_visitor_of_many_events_is_counted_once_each(client: "Client") -> None:
    """The engine's own mode would need gigabytes for this."""
    client.command(
        "INSERT INTO events (organization_id, event_id, event_time, event_type, user_id)"
        " SELECT {org:String}, generateUUIDv4(), {from:DateTime64(3, 'UTC')} + toIntervalSecond(number), 'a', 'u'"
        " FROM numbers(20000)",
        parameters={"org": ACME, "from": at(0)},
    )
    step = FunnelStep("", Condition("event_type", Operator.EQUALS, ("a",)))
    spec = FunnelSpec(Slice(ACME, at(0), at(10**9)), (step,) * 8, timedelta(seconds=6), is_strict_once=True)
    assert funnels_of(spec, asked(client, compile_funnel(spec)))[0].counts == (1,) * 7 + (0,)


def test_a_step_asks_for_money_and_parameters_while_the_split_has_a_name_of_its_own(client: "Client") -> None:
    rows = [
        {"user_id": "u", "params": {"p": "x"}, "event_time": at(0)},
        {"user_id": "u", "event_type": "sale", "is_conversion": 1, "value": "100.01", "event_time": at(1)},
        {"user_id": "v", "params": {"p": "y"}, "event_time": at(0)},
        {"user_id": "v", "event_type": "sale", "is_conversion": 1, "value": "99.99", "event_time": at(1)},
    ]
    insert_events(client, rows, counts=False)
    steps = (
        FunnelStep("", Condition("param.p", Operator.EXISTS)),
        FunnelStep("", Condition("value", Operator.GT, ("100",))),
    )
    spec = FunnelSpec(SLICE, steps, dimension=DIMENSIONS["date"])
    everybody, day = funnels_of(spec, asked(client, compile_funnel(spec)))
    assert everybody.counts == day.counts == (2, 1)
    assert day.value == "2026-03-02"
