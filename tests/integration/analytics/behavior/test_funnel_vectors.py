"""The vectors of ClickHouse's own test of windowFunnel (00632_aggregation_window_funnel), asked of our API."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
from google.protobuf import duration_pb2, timestamp_pb2

from rule_language.parse import predicate_to_pb
from rule_language.predicate import Condition, Operator
from tests.integration.analytics.behavior.conftest import Asked, at
from tests.integration.analytics.behavior.funnel_reference import Fact, Modes, reached
from tests.reading import insert_events
from trellis.analytics.v1 import behavior_pb2 as pb
from trellis.analytics.v1 import report_pb2
from trellis.type.v1 import time_range_pb2

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = [pytest.mark.store, pytest.mark.loopback]

Stream = list[tuple[int, str]]
Steps = list[set[str]]
DEFAULT = Modes()
ORDER = Modes(is_strict_order=True)
DEDUPLICATION = Modes(is_strict_deduplication=True)
BOTH = Modes(is_strict_order=True, is_strict_deduplication=True)
INCREASE = Modes(is_strict_increase=True)
ONCE = Modes(is_strict_once=True)
REENTRY = Modes(is_strict_order=True, allows_reentry=True)
LONG = 10_000


def each(first: int, last: int) -> Stream:
    """One event a second, by its number."""
    return [(number - first, str(number)) for number in range(first, last + 1)]


def one(*names: object) -> Steps:
    """Steps of one kind of event each."""
    return [{str(name)} for name in names]


def between(first: int, last: int) -> set[str]:
    """A step of several kinds."""
    return {str(number) for number in range(first, last + 1)}


def word(letters: str) -> Stream:
    """One event a second, by its letter."""
    return list(enumerate(letters, 1))


TIES = [(0, "1000"), (1, "1001"), (1, "1002"), (1, "1003"), (2, "1004")]
REPEATED = [*((10 * n, str(1000 + n)) for n in range(6)), (51, "1005"), (60, "1006"), (70, "1007"), (80, "1008")]
OVERLAPPING = [between(1001, 1007), between(1002, 1008), between(1001, 1006), between(1004, 1008)]
FAILURES = {
    123: [(180, "f"), (220, "f"), (250, "s")],
    234: [(100, "f"), (250, "f")],
    345: [(200, "s"), (210, "f"), (230, "s")],
}
VECTORS: list[tuple[Stream, Steps, int, Modes, int]] = [
    (each(1000, 1008), one(1000), LONG, DEFAULT, 1),
    (each(1000, 1008), one(1000, 1001), LONG, DEFAULT, 2),
    (each(1000, 1008), one(1000, 1001, 1002), LONG, DEFAULT, 3),
    (each(1000, 1008), one(1000, 1001, 1002, 1008), LONG, DEFAULT, 4),
    (each(1000, 1008), one(1000), 1, DEFAULT, 1),
    (each(1000, 1008), one(1003, 1004, 1005, 1006, 1007), 2, DEFAULT, 3),
    (each(1000, 1008), one(1003, 1004, 1005, 1006, 1007), 3, DEFAULT, 4),
    (each(1000, 1008), one(1003, 1004, 1005, 1006, 1007), 4, DEFAULT, 5),
    (each(1001, 1008), one(1001, 1008), LONG, DEFAULT, 2),
    (each(1001, 1008), one(1008, 1001), LONG, DEFAULT, 1),
    (each(1001, 1008), OVERLAPPING, 4, DEFAULT, 4),
    (REPEATED, one(*range(1000, 1007)), LONG, DEDUPLICATION, 6),
    (REPEATED, one(*range(1000, 1007)), LONG, DEFAULT, 7),
    *(
        (word(letters), one(*"abc"), 86_400, modes, count)
        for letters, counts in {
            "abc": (3, 3, 3),
            "adbc": (3, 1, 1),
            "aabbcc": (3, 3, 2),
            "aaaabbcc": (3, 3, 2),
            "aabbdcc": (3, 2, 2),
            "ccbbaa": (1, 1, 1),
        }.items()
        for modes, count in zip((DEFAULT, ORDER, BOTH), counts, strict=True)
    ),
    (word("acb"), one(*"abc"), 10, ORDER, 1),
    (word("abcbd"), one(*"abcd"), 86_400, DEDUPLICATION, 3),
    (TIES, one(1000, 1001, 1002, 1003, 1004), LONG, DEFAULT, 5),
    (TIES, one(1000, 1001, 1002, 1003, 1004), LONG, INCREASE, 2),
    (TIES, one(1004, 1004, 1004), LONG, DEFAULT, 3),
    (TIES, one(1004, 1004, 1004), LONG, ONCE, 1),
    (TIES, one(1004, 1004, 1004), LONG, INCREASE, 1),
    *(
        (FAILURES[user], one("f", "f", "s"), 200, modes, count)
        for user, count in ((123, 3), (234, 2), (345, 1))
        for modes in (
            Modes(is_strict_once=True, is_strict_increase=True),
            ONCE,
            Modes(is_strict_once=True, is_strict_deduplication=True),
        )
    ),
    ([(10, "a"), (20, "a"), (30, "b"), (40, "a"), (50, "c")], one(*"abac"), 100, ORDER, 1),
    ([(10, "a"), (20, "a"), (30, "b"), (40, "a"), (50, "c")], one(*"abac"), 100, REENTRY, 4),
    ([(10, "a"), (20, "c"), (30, "b"), (40, "c")], one(*"abc"), 100, ORDER, 1),
    ([(10, "a"), (20, "c"), (30, "b"), (40, "c")], one(*"abc"), 100, REENTRY, 3),
    ([(10, "a"), (20, "c")], one(*"abc"), 100, REENTRY, 1),
    # Not upstream's: an event that is no step ends the chain with reentry too.
    (word("adbc"), one(*"abc"), 100, REENTRY, 1),
]


@pytest.mark.parametrize(("stream", "steps", "window", "modes", "expected"), VECTORS)
def test_the_reference_takes_as_many_steps_as_upstream(
    stream: Stream, steps: Steps, window: int, modes: Modes, expected: int
) -> None:
    facts = [
        Fact(second * 1000, f"{place:03}", frozenset(n for n, kinds in enumerate(steps, 1) if kind in kinds))
        for place, (second, kind) in enumerate(stream)
    ]
    assert reached(facts, len(steps), window * 1000, modes) == expected


async def test_the_funnel_takes_as_many_steps_as_upstream(asked: Asked, client: "Client") -> None:
    insert_events(
        client,
        [
            {"organization_id": f"org_{number}", "user_id": "u", "event_time": at(second * 1000), "event_type": kind}
            for number, (stream, *_) in enumerate(VECTORS)
            for second, kind in stream
        ],
        counts=False,
    )
    found = []
    for number, (_, steps, window, modes, _) in enumerate(VECTORS):
        request = funnel_request(steps, window * 1000, modes)
        response = await asked.stub.QueryFunnel(request, metadata=Asked.caller(f"org_{number}"))
        found.append(sum(step.count for step in response.funnels[0].steps))
    assert found == [expected for *_, expected in VECTORS]


def funnel_request(steps: Steps, window_ms: int, modes: Modes = DEFAULT, **more: str) -> pb.QueryFunnelRequest:
    """Return a funnel over March 2026 with steps of kinds of events."""
    window = duration_pb2.Duration()
    window.FromMilliseconds(window_ms)
    return pb.QueryFunnelRequest(
        slice=march(),
        steps=[
            pb.FunnelStep(predicate=predicate_to_pb(Condition("event_type", Operator.IN, tuple(sorted(kinds)))))
            for kinds in steps
        ],
        window=window,
        **asdict(modes),
        **more,
    )


def march() -> report_pb2.Slice:
    """Return March 2026, UTC."""
    start, end = timestamp_pb2.Timestamp(), timestamp_pb2.Timestamp()
    start.FromJsonString("2026-03-01T00:00:00Z")
    end.FromJsonString("2026-04-01T00:00:00Z")
    return report_pb2.Slice(time_range=time_range_pb2.TimeRange(start_time=start, end_time=end))
