"""Who is let in when: bounds, turns, the reserve, and who leaves while waiting."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_svc.admission import Admission, Capacity, Weight
from svc_runtime.errors import RateLimitedError

SQL = Weight("sql", 10, running_per_organization=2, waiting_per_organization=3)
REPORT = Weight("report", 5, running_per_organization=4, waiting_per_organization=50, may_use_reserve=True)


class Query:
    """A query that runs until it is told to end."""

    def __init__(self, admission: Admission, organization_id: str, weight: Weight = SQL) -> None:
        self.is_running = False
        self.end = asyncio.Event()
        self.task = asyncio.ensure_future(self._run(admission, organization_id, weight))

    async def _run(self, admission: Admission, organization_id: str, weight: Weight) -> None:
        async with admission.admitted(organization_id, weight):
            self.is_running = True
            try:
                await self.end.wait()
            finally:
                self.is_running = False

    async def finish(self) -> None:
        self.end.set()
        await self.task


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def _queries(admission: Admission, *wanted: tuple[str, Weight]) -> AsyncIterator[list[Query]]:
    queries = []
    for organization_id, weight in wanted:
        queries.append(Query(admission, organization_id, weight))
        await _settled()
    yield queries
    for query in queries:
        query.task.cancel()
    await asyncio.gather(*(query.task for query in queries), return_exceptions=True)
    assert (admission.running(), admission.memory_bytes) == ({}, 0), "every place is given back"
    assert not any(admission.waiting().values())


def _running(queries: list[Query]) -> list[bool]:
    return [query.is_running for query in queries]


async def test_an_organisation_runs_as_many_as_it_may_and_the_rest_waits() -> None:
    async with _queries(Admission(Capacity(10, 1000)), *[("a", SQL)] * 4) as queries:
        assert _running(queries) == [True, True, False, False]
        await queries[0].finish()
        await _settled()
        assert _running(queries) == [False, True, True, False]


async def test_a_queue_that_is_full_is_told_at_once_with_when_to_come_again() -> None:
    admission = Admission(Capacity(10, 1000))
    async with _queries(admission, *[("a", SQL)] * 5):
        with pytest.raises(RateLimitedError, match="2 queries of the organisation run and 3 wait") as refused:
            async with admission.admitted("a", SQL):
                pass
        assert refused.value.retry_after_seconds
        async with admission.admitted("b", SQL):
            assert admission.running() == {"sql": 3}


async def test_turns_go_round_the_organisations_that_wait() -> None:
    weight = Weight("sql", 1, running_per_organization=1, waiting_per_organization=9)
    async with _queries(
        Admission(Capacity(1, 100)), *[("large", weight)] * 4, ("small", weight), ("tiny", weight)
    ) as queries:
        order = []
        for _ in range(5):
            (now,) = [index for index, query in enumerate(queries) if query.is_running]
            order.append(now)
            await queries[now].finish()
            await _settled()
        assert order == [0, 1, 4, 5, 2]


async def test_the_memory_of_all_is_bounded() -> None:
    admission = Admission(Capacity(10, 25))
    async with _queries(admission, ("a", SQL), ("b", SQL), ("c", SQL)) as queries:
        assert _running(queries) == [True, True, False]
        assert admission.memory_bytes == 20
        await queries[0].finish()
        await _settled()
        assert _running(queries) == [False, True, True]


async def test_a_place_and_its_memory_are_kept_for_reports() -> None:
    admission = Admission(Capacity(3, 25, reserved_slots=1, reserved_memory_bytes=5))
    async with _queries(admission, ("a", SQL), ("b", SQL), ("c", SQL), ("a", REPORT)) as queries:
        assert _running(queries) == [True, True, False, True]


async def test_sql_has_its_turn_beside_many_reports() -> None:
    admission = Admission(Capacity(1, 100))
    report = Weight("report", 1, 1, 50, may_use_reserve=True)
    async with _queries(admission, *[("a", report)] * 5, ("b", SQL)) as queries:
        await queries[0].finish()
        await _settled()
        await next(query for query in queries if query.is_running).finish()
        await _settled()
        assert queries[1].is_running or queries[5].is_running or queries[5].task.done()
        assert queries[5].is_running or queries[5].task.done()


async def test_who_waits_too_long_is_told_so() -> None:
    admission = Admission(Capacity(1, 100), longest_wait_seconds=0.02)
    async with _queries(admission, ("a", SQL)):
        with pytest.raises(RateLimitedError, match=r"waited 0\.02 s"):
            async with admission.admitted("b", SQL):
                pass
        assert admission.waiting() == {"sql": 0}


async def test_who_leaves_while_waiting_takes_no_turn() -> None:
    async with _queries(Admission(Capacity(1, 100)), ("a", SQL), ("b", SQL), ("c", SQL)) as queries:
        queries[1].task.cancel()
        await queries[0].finish()
        await _settled()
        assert _running(queries) == [False, False, True]


async def test_who_leaves_in_the_moment_of_his_turn_gives_it_on() -> None:
    async with _queries(Admission(Capacity(1, 100)), ("a", SQL), ("b", SQL), ("c", SQL)) as queries:
        queries[0].end.set()
        await asyncio.sleep(0)
        queries[1].task.cancel()
        await _settled()
        assert queries[2].is_running


async def test_a_query_that_fails_gives_its_place_back() -> None:
    admission = Admission(Capacity(1, 100))
    with pytest.raises(ZeroDivisionError):
        async with admission.admitted("a", SQL):
            raise ZeroDivisionError
    async with admission.admitted("b", SQL):
        assert admission.running() == {"sql": 1}


@pytest.mark.parametrize("capacity", [Capacity(1, 5), Capacity(1, 100, 1), Capacity(2, 100, 1, 95)])
async def test_a_query_that_never_fits_is_a_defect(capacity: Capacity) -> None:
    with pytest.raises(ValueError, match="fits into no capacity"):
        async with Admission(capacity).admitted("a", SQL):
            pass


_STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.integers(0, 9)), max_size=60)


@settings(max_examples=150, deadline=None)
@given(_STEPS)
def test_whatever_comes_and_goes_the_bounds_hold_and_all_places_come_back(steps: list[tuple[str, bool, int]]) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, bool, int]]) -> None:
    capacity = Capacity(4, 30, reserved_slots=1, reserved_memory_bytes=5)
    admission = Admission(capacity, longest_wait_seconds=60)
    queries: list[tuple[str, Weight, Query]] = []
    for organization_id, is_report, choice in steps:
        if choice < 6 or not queries:
            weight = REPORT if is_report else SQL
            queries.append((organization_id, weight, Query(admission, organization_id, weight)))
        else:
            query = queries[choice * 7 % len(queries)][2]
            query.end.set() if is_report else query.task.cancel()
        await _settled()
        running = [(owner, weight) for owner, weight, query in queries if query.is_running]
        assert len(running) <= capacity.slots
        assert sum(weight.memory_bytes for _, weight in running) == admission.memory_bytes <= capacity.memory_bytes
        assert sum(weight is SQL for _, weight in running) <= capacity.slots - capacity.reserved_slots
        assert all(running.count(pair) <= pair[1].running_per_organization for pair in running)
        waits = sum(admission.waiting().values())
        assert not waits or running, "nobody waits for nothing"
    for _, _, query in queries:
        query.end.set()
    await asyncio.gather(*(query.task for *_, query in queries), return_exceptions=True)
    assert (admission.running(), admission.memory_bytes, sum(admission.waiting().values())) == ({}, 0, 0)
