"""Reading ahead."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from analytics_svc.gather import gathered
from analytics_svc.store import Bookmark, Page


def page(number: int, size: int = 10) -> Page:
    """Return a page of one event."""
    return Page((bytes([number]) * size,), 1, Bookmark(bytes([number]), None))


async def pages(count: int, *, size: int = 10, fails: bool = False) -> AsyncGenerator[Page, None]:
    """Yield pages at once, then end or fail."""
    for number in range(count):
        yield page(number, size)
    if fails:
        raise ConnectionError("gone")


async def test_what_waits_is_joined_in_order_with_the_last_bookmark() -> None:
    found: list[Page] = []
    async for item in gathered(pages(30), enough_bytes=25):
        found.append(item)
        await asyncio.sleep(0)
    assert b"".join(part for item in found for part in item.events) == b"".join(bytes([n]) * 10 for n in range(30))
    assert sum(item.event_count for item in found) == 30
    assert found[-1].bookmark == Bookmark(bytes([29]), None)
    assert all(item.bookmark.cursor == item.events[-1][:1] for item in found)
    assert max(item.event_count for item in found) == 3


async def test_a_page_that_is_enough_comes_alone() -> None:
    assert [item.event_count async for item in gathered(pages(5, size=100), enough_bytes=100)] == [1] * 5


@pytest.mark.parametrize("count", [0, 1, 3, 50])
async def test_a_failure_comes_after_everything_before_it(count: int) -> None:
    seen: list[int] = []

    async def read() -> None:
        async for item in gathered(pages(count, fails=True), enough_bytes=25):
            seen.append(item.event_count)  # noqa: PERF401 - what came before the failure is to be kept

    with pytest.raises(ConnectionError, match="gone"):
        await read()
    assert sum(seen) == count


async def test_a_reader_that_is_far_ahead_waits() -> None:
    read = 0

    async def endless() -> AsyncGenerator[Page, None]:
        nonlocal read
        while True:
            read += 1
            yield page(1, 100)

    async for _ in gathered(endless(), enough_bytes=100):
        for _turn in range(100):
            await asyncio.sleep(0)
        break
    assert read <= 3


async def test_many_small_pages_may_wait() -> None:
    found: list[Page] = []
    async for item in gathered(pages(200), enough_bytes=100_000):
        found.append(item)
        for _turn in range(1000):
            await asyncio.sleep(0)
    assert len(found) <= 2


async def test_leaving_early_stops_the_reader() -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncGenerator[Page, None]:
        try:
            while True:
                yield page(1)
                await asyncio.sleep(0)
        finally:
            ended.set()

    source = endless()
    items = gathered(source, enough_bytes=10)
    await anext(items)
    await items.aclose()
    assert ended.is_set()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "feed reader"]
