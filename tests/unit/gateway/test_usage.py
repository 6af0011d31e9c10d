"""Caps: windows, who is over, and what workers tell each other."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from ingress_gateway.explanation import explain_campaign
from ingress_gateway.routing import Routing
from ingress_gateway.usage import Cap, Usage
from tests.unit.gateway.test_decision import action, campaign, click
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import rule_pb2

CLICKS, UNIQUES = rule_pb2.CAP_KIND_CLICKS, rule_pb2.CAP_KIND_UNIQUES
HOUR, DAY, TOTAL = rule_pb2.CAP_PERIOD_HOUR, rule_pb2.CAP_PERIOD_DAY, rule_pb2.CAP_PERIOD_TOTAL
BERLIN = ZoneInfo("Europe/Berlin")


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type, misc]  # year to second


NOON = at(2026, 3, 2, 12)


class Worker:
    """One worker and one campaign."""

    def __init__(self, *caps: Cap) -> None:
        self.usage = Usage()
        self.caps = caps

    def click(self, user_id: str = "usr_1", now_ms: int = NOON) -> bool:
        """Route a click if no cap is in the way; return whether it was routed."""
        if self.usage.is_over("org_a", "a", self.caps, user_id, now_ms):
            return False
        self.usage.count("org_a", "a", self.caps, user_id, now_ms)
        return True


def cap(kind: int, period: int, limit: int, zone: ZoneInfo = BERLIN) -> Cap:
    return Cap(kind, period, limit, zone)


def test_a_cap_lets_so_many_through_and_no_more() -> None:
    worker = Worker(cap(CLICKS, DAY, 3))
    assert [worker.click() for _ in range(5)] == [True, True, True, False, False]


def test_every_cap_holds() -> None:
    worker = Worker(cap(CLICKS, TOTAL, 4), cap(CLICKS, HOUR, 2))
    assert [worker.click(now_ms=NOON + minutes * 60_000) for minutes in (0, 1, 2, 60, 61, 120)] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]


def test_a_visitor_that_was_counted_may_come_again() -> None:
    worker = Worker(cap(UNIQUES, DAY, 2))
    assert [worker.click(user) for user in ("a", "b", "a", "c", "b")] == [True, True, True, False, True]


@pytest.mark.parametrize(
    ("period", "last", "first"),
    [
        (HOUR, at(2026, 3, 2, 12, 59, 59), at(2026, 3, 2, 13)),
        (DAY, at(2026, 3, 2, 22, 59, 59), at(2026, 3, 2, 23)),  # midnight in Berlin
        (DAY, at(2026, 3, 29, 21, 59, 59), at(2026, 3, 29, 22)),  # a day of 23 hours
        (DAY, at(2026, 10, 25, 22, 59, 59), at(2026, 10, 25, 23)),  # a day of 25 hours
    ],
)
def test_a_window_ends_where_the_time_zone_says(period: int, last: int, first: int) -> None:
    worker = Worker(cap(CLICKS, period, 1))
    assert worker.click(now_ms=last)
    assert not worker.click(now_ms=last)
    assert worker.click(now_ms=first)


def test_an_hour_is_a_whole_one_where_the_zone_is_half_an_hour_off() -> None:
    worker = Worker(cap(CLICKS, HOUR, 1, ZoneInfo("Asia/Kolkata")))
    assert worker.click(now_ms=at(2026, 3, 2, 12, 29, 59))
    assert worker.click(now_ms=at(2026, 3, 2, 12, 30))
    assert not worker.click(now_ms=at(2026, 3, 2, 13, 29, 59))


def test_what_others_counted_counts_and_ones_own_not_twice() -> None:
    worker = Worker(cap(CLICKS, DAY, 10))
    for _ in range(3):
        worker.click()
    taken = worker.usage.take(NOON)
    assert [(found.clicks, found.visitors) for found in taken] == [(3, [])]
    worker.click()  # while the exchange is under way
    worker.usage.settle(taken, [8])
    assert [worker.click() for _ in range(3)] == [True, False, False]


def test_visitors_are_told_once() -> None:
    worker = Worker(cap(UNIQUES, DAY, 10))
    for user in ("a", "b", "a"):
        worker.click(user)
    first = worker.usage.take(NOON)
    assert [(found.clicks, len(found.visitors)) for found in first] == [(0, 2)]
    worker.usage.settle(first, [2])
    assert worker.usage.take(NOON) == []
    worker.click("a")
    assert [len(found.visitors) for found in worker.usage.take(NOON)] == [0]


def test_windows_that_are_over_are_forgotten_once_they_are_told() -> None:
    worker = Worker(cap(CLICKS, HOUR, 10), cap(CLICKS, TOTAL, 10))
    worker.click()
    tomorrow = NOON + 86_400_000
    taken = worker.usage.take(tomorrow)
    assert len(taken) == 2, "what was counted must be told first"
    worker.usage.settle(taken, [1, 1])
    worker.usage.take(tomorrow)
    assert worker.usage.window_count == 1


def test_an_explanation_leaves_no_trace() -> None:
    explained = campaign(
        "a",
        action=action("https://x.example/"),
        over_cap_fallback=rule_pb2.Fallback(url="https://full.example/"),
        caps=[rule_pb2.Cap(kind=CLICKS, period=TOTAL, limit=2)],
    )
    routing = Routing()
    routing.apply(pb.WatchRoutingResponse(is_snapshot=True, campaigns=[explained]))
    for day in (1, 2, 3):
        explanation = explain_campaign(routing, explained, click(at=datetime(2030, 1, day, tzinfo=UTC)), "usr_1")
        assert (explanation.caps[0].count, explanation.verdict.marks) == (0, ())
    assert (routing.usage.window_count, routing.usage.take(NOON)) == (0, [])
    for _ in range(2):
        routing.usage.count("org_a", "a", Cap.compile_all(explained), "usr_1", NOON)
    routing.usage.settle(routing.usage.take(NOON), [2])
    assert explain_campaign(routing, explained, click(), "usr_1").verdict.marks == ("campaign_over_cap",)
    assert routing.usage.take(NOON) == []
