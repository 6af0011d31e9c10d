import asyncio

import pytest
from pydantic import TypeAdapter

from analytics_svc.cache import Kept, Results
from analytics_svc.store.cache_memory import MemoryResultCache

NUMBER = TypeAdapter(int)
KEPT = Kept("org_acmecorp", "question", "version", 60.0)


class Slow:
    """Makes a result when it is let."""

    def __init__(self, error: Exception | None = None) -> None:
        self.count = 0
        self.is_cancelled = False
        self.may_end = asyncio.Event()
        self.has_begun = asyncio.Event()
        self._error = error

    async def __call__(self) -> int:
        self.count += 1
        self.has_begun.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        if self._error:
            raise self._error
        return 42


async def test_a_hundred_equal_questions_at_once_are_one_query() -> None:
    results, make = Results(MemoryResultCache()), Slow()
    asked = [asyncio.create_task(results.get(KEPT, NUMBER, make)) for _ in range(100)]
    await make.has_begun.wait()
    make.may_end.set()
    answers = await asyncio.gather(*asked)
    assert make.count == 1
    assert [found for found, _ in answers] == [42] * 100
    assert [is_cached for _, is_cached in answers].count(False) == 1


@pytest.mark.parametrize(
    "other",
    [
        Kept("org_other", "question", "version", 60.0),
        Kept("org_acmecorp", "another", "version", 60.0),
        Kept("org_acmecorp", "question", "version 2", 60.0),
    ],
)
async def test_another_organization_question_or_version_is_another_result(other: Kept) -> None:
    results, first, second = Results(MemoryResultCache()), Slow(), Slow()
    first.may_end.set()
    second.may_end.set()
    await results.get(KEPT, NUMBER, first)
    assert (await results.get(other, NUMBER, second))[1] is False
    assert second.count == 1


async def test_one_who_leaves_takes_nobody_along() -> None:
    results, make = Results(MemoryResultCache()), Slow()
    leaving, staying = (asyncio.create_task(results.get(KEPT, NUMBER, make)) for _ in range(2))
    await make.has_begun.wait()
    leaving.cancel()
    await asyncio.wait([leaving])
    make.may_end.set()
    assert (await staying)[0] == 42
    assert not make.is_cancelled


async def test_the_query_ends_when_everybody_left_and_the_next_one_begins_anew() -> None:
    results, make = Results(MemoryResultCache()), Slow()
    asked = [asyncio.create_task(results.get(KEPT, NUMBER, make)) for _ in range(3)]
    await make.has_begun.wait()
    for task in asked:
        task.cancel()
    again = Slow()
    again.may_end.set()
    # Before what was left had time to end.
    await asyncio.wait(asked)
    assert (await results.get(KEPT, NUMBER, again))[0] == 42
    assert make.is_cancelled
    assert again.count == 1


async def test_an_error_reaches_everybody_and_is_not_kept() -> None:
    results, make = Results(MemoryResultCache()), Slow(ValueError("no"))
    asked = [asyncio.create_task(results.get(KEPT, NUMBER, make)) for _ in range(3)]
    await make.has_begun.wait()
    make.may_end.set()
    assert all(isinstance(one, ValueError) for one in await asyncio.gather(*asked, return_exceptions=True))
    good = Slow()
    good.may_end.set()
    assert await results.get(KEPT, NUMBER, good) == (42, False)


async def test_memory_keeps_no_more_than_it_may_and_forgets_what_was_not_asked_for() -> None:
    cache = MemoryResultCache(most_bytes=30)
    for name in ("a", "b", "c"):
        await cache.put(name, b"x" * 10, seconds=60)
    await cache.get("a")
    await cache.put("d", b"x" * 10, seconds=60)
    await cache.put("large", b"x" * 31, seconds=60)
    assert [name for name in ("a", "b", "c", "d", "large") if await cache.get(name)] == ["a", "c", "d"]
