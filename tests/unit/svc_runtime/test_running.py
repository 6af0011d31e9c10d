"""Tasks that run for the time of a block."""

import asyncio

import pytest

from svc_runtime.tasks import running


async def test_the_task_is_cancelled_and_waited_for_at_the_end_of_the_block() -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    async with running("work", work()) as task:
        await asyncio.sleep(0)
        assert task.get_name() == "work"
    assert steps == ["cleaned up"]
    assert task.cancelled()


async def test_what_the_task_failed_with_is_raised_at_the_end_of_the_block() -> None:
    async def work() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        async with running("work", work()):
            await asyncio.sleep(0)


async def test_a_cancellation_that_comes_while_the_task_is_ending_is_not_lost() -> None:
    is_ending = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            is_ending.set()
            await asyncio.sleep(0.01)

    async def outer() -> None:
        async with running("work", slow_to_end()):
            await asyncio.sleep(0)
        await asyncio.sleep(60)

    task = asyncio.create_task(outer())
    await is_ending.wait()
    task.cancel()
    async with asyncio.timeout(1):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_cancellation_is_not_replaced_by_what_the_task_failed_with() -> None:
    async def work() -> None:
        raise ConnectionError("gone")

    async def outer() -> None:
        async with running("work", work()) as inner:
            await asyncio.wait([inner])
            await asyncio.sleep(60)

    task = asyncio.create_task(outer())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_block_raises_comes_before_what_the_task_failed_with() -> None:
    async def work() -> None:
        raise ConnectionError("gone")

    async def block() -> None:
        async with running("work", work()):
            await asyncio.sleep(0)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await block()
