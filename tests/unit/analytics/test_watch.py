"""Watching realtime: worked out once for everybody, not at all for nobody, and pushed when there is something new."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from analytics_svc import watch
from analytics_svc.realtime import Realtime, RealtimeQuery, Window
from analytics_svc.statement import Rows, Statement
from analytics_svc.watch import RealtimeQuestions
from svc_runtime.errors import QueryLimitError, RateLimitedError, TrellisError, UnavailableError

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
QUERY = RealtimeQuery("org_a")


class StoppedClock:
    def now(self) -> datetime:
        return NOON


class FakeReader:
    """Answers with as many clicks as it was asked for minutes, and counts."""

    def __init__(self) -> None:
        self.minute_count = self.day_count = 0
        self.statements: list[Statement] = []
        self.error: TrellisError | Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.elapsed_seconds = self.day_seconds = 0.0

    async def rows(self, statement: Statement) -> Rows:
        self.statements.append(statement)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        rows: list[tuple[Any, ...]] = []
        if "rollup_minute" in statement.sql:
            self.minute_count += 1
            rows = [(int(NOON.timestamp()), "", self.minute_count, 0, Decimal(0))]
        elif "uniqCombined64If" in statement.sql:
            rows = [(0, 0)]
        elif statement.parameters["start"] == int(NOON.replace(hour=0).timestamp()):
            self.day_count += 1
            return Rows((), rows, 1, 1, self.day_seconds)
        return Rows((), rows, 1, 1, self.elapsed_seconds)


class Bench:
    """A reader and a watermark that a test moves."""

    def __init__(self) -> None:
        self.reader = FakeReader()
        self.watermark_time = NOON
        self.questions = RealtimeQuestions(
            self.reader,
            clock=StoppedClock(),
            watermark_time=lambda: self.watermark_time,
            tick_seconds=0.01,
            silence_seconds=0.3,
        )

    def move(self) -> None:
        self.watermark_time += timedelta(seconds=1)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def following(states: AsyncGenerator[Realtime, None], seconds: float = 5.0) -> int:
    async with asyncio.timeout(seconds):
        return (await anext(states)).clicks_last_hour


async def test_a_watch_tells_at_once_and_after_each_change(bench: Bench) -> None:
    async with contextlib.aclosing(bench.questions.watch(QUERY)) as states:
        assert await following(states) == 1
        for count in (2, 3):
            bench.move()
            assert await following(states) == count


async def test_without_a_change_a_watch_tells_every_so_often(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    async with contextlib.aclosing(bench.questions.watch(QUERY)) as states:
        await following(states)
        began = loop.time()
        assert await following(states) == 2
        assert 0.25 <= loop.time() - began < 2


async def test_many_who_watch_cost_one_query(bench: Bench) -> None:
    async with contextlib.AsyncExitStack() as stack:
        watches = [
            await stack.enter_async_context(contextlib.aclosing(bench.questions.watch(QUERY))) for _ in range(50)
        ]
        assert await asyncio.gather(*map(following, watches)) == [1] * 50
        assert bench.reader.minute_count == 1
        bench.move()
        assert set(await asyncio.gather(*map(following, watches))) == {2}
        assert bench.questions.watcher_count == 50
    assert bench.questions.watcher_count == 0


async def test_nobody_costs_nothing(bench: Bench) -> None:
    async with contextlib.aclosing(bench.questions.watch(QUERY)) as states:
        await following(states)
    before = len(bench.reader.statements)
    bench.move()
    await asyncio.sleep(0.1)
    assert len(bench.reader.statements) == before
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_an_answer_of_long_ago_is_not_told_to_who_comes_now(bench: Bench) -> None:
    assert (await bench.questions.get(QUERY)).clicks_last_hour == 1
    await asyncio.sleep(0.4)
    async with contextlib.aclosing(bench.questions.watch(QUERY)) as states:
        assert await following(states) == 2


async def test_equal_questions_at_once_are_one(bench: Bench) -> None:
    bench.reader.gate.clear()
    asking = [asyncio.create_task(bench.questions.get(QUERY)) for _ in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    bench.reader.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {answer.clicks_last_hour for answer in answers[1:] if isinstance(answer, Realtime)} == {1}
    assert bench.reader.minute_count == 1


async def test_organisations_and_options_have_answers_of_their_own(bench: Bench) -> None:
    for query in (QUERY, RealtimeQuery("org_b"), RealtimeQuery("org_a", includes_bots=True)):
        await bench.questions.get(query)
        assert bench.reader.statements[-1].parameters["organization"] == query.organization_id
    assert bench.reader.minute_count == 3


async def test_what_takes_long_is_not_worked_out_all_the_time(bench: Bench) -> None:
    bench.reader.elapsed_seconds = 1.0
    async with contextlib.aclosing(bench.questions.watch(QUERY)) as states:
        await following(states)
        bench.move()
        with pytest.raises(TimeoutError):
            await following(states, 0.15)
    await bench.questions.get(QUERY)
    assert bench.reader.minute_count == 1


async def test_the_days_lists_of_a_long_day_may_be_older_than_the_rest(bench: Bench) -> None:
    bench.reader.day_seconds = 60.0
    async with contextlib.aclosing(bench.questions.watch(QUERY)) as states:
        for _ in range(3):
            await following(states)
            bench.move()
    assert bench.reader.minute_count == 3
    assert bench.reader.day_count == 1


async def test_an_error_at_the_beginning_is_told(bench: Bench) -> None:
    bench.reader.error = QueryLimitError("too much")
    with pytest.raises(QueryLimitError):
        await following(bench.questions.watch(QUERY))
    bench.reader.error = None
    async with contextlib.aclosing(bench.questions.watch(QUERY)) as states:
        assert await following(states) == 1


async def test_a_short_outage_is_borne_and_a_long_one_told(bench: Bench) -> None:
    async with contextlib.aclosing(bench.questions.watch(QUERY)) as states:
        await following(states)
        bench.reader.error = UnavailableError("away")
        bench.move()
        await asyncio.sleep(0.05)
        bench.reader.error = None
        assert await following(states) == 2
        bench.reader.error = UnavailableError("away")
        with pytest.raises(UnavailableError):
            await following(states)


async def test_a_defect_leaves_nobody_waiting(bench: Bench) -> None:
    bench.reader.error = RuntimeError("a defect")
    with pytest.raises(TrellisError, match="unexpected error"):
        await following(bench.questions.watch(QUERY))


async def test_a_service_that_leaves_ends_its_watches(bench: Bench) -> None:
    async with contextlib.aclosing(bench.questions.watch(QUERY)) as states:
        await following(states)
        asyncio.get_running_loop().call_later(0.02, bench.questions.close)
        with pytest.raises(StopAsyncIteration):
            await following(states)


async def test_an_organisation_may_not_watch_too_much(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_WATCHERS_PER_ORGANIZATION", 2)
    monkeypatch.setattr(watch, "_QUESTIONS_PER_ORGANIZATION", 1)
    async with contextlib.aclosing(bench.questions.watch(QUERY)) as states:
        await following(states)
        with pytest.raises(RateLimitedError, match="1 different questions"):
            await following(bench.questions.watch(RealtimeQuery("org_a", campaign_id="x")))
        async with contextlib.aclosing(bench.questions.watch(QUERY)) as others:
            await following(others)
            with pytest.raises(RateLimitedError, match="watches 2 times"):
                await following(bench.questions.watch(QUERY))
        async with contextlib.aclosing(bench.questions.watch(RealtimeQuery("org_b"))) as theirs:
            await following(theirs)


async def test_answers_that_nobody_asks_for_are_forgotten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_KEPT_BOARDS", 3)
    async with contextlib.aclosing(bench.questions.watch(QUERY)) as states:
        await following(states)
        for number in range(10):
            await bench.questions.get(RealtimeQuery("org_a", campaign_id=str(number)))
        gc.collect()
        assert len(bench.questions._boards) <= 3
        assert QUERY in bench.questions._boards


async def test_there_is_room_for_one_more_while_every_answer_is_watched(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_KEPT_BOARDS", 2)
    async with contextlib.AsyncExitStack() as stack:
        for organization_id in ("org_a", "org_b", "org_c"):
            states = bench.questions.watch(RealtimeQuery(organization_id))
            await following(await stack.enter_async_context(contextlib.aclosing(states)))
        assert (await bench.questions.get(RealtimeQuery("org_d"))).query.organization_id == "org_d"


@pytest.mark.parametrize(
    ("now", "zone", "midnight"),
    [
        (NOON, "UTC", NOON.replace(hour=0)),
        (NOON, "Asia/Kathmandu", datetime(2026, 3, 1, 18, 15, tzinfo=UTC)),
        (datetime(2026, 3, 1, 23, 30, tzinfo=UTC), "Europe/Berlin", datetime(2026, 3, 1, 23, tzinfo=UTC)),
        (datetime(2026, 3, 29, 12, tzinfo=UTC), "Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC)),
    ],
)
def test_a_day_begins_at_the_midnight_of_its_zone(now: datetime, zone: str, midnight: datetime) -> None:
    window = Window.at(now, zone)
    assert window.midnight == midnight
    assert window.end - window.hour_start == window.hour_start - window.before_start == timedelta(hours=1)
