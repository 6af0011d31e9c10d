"""Background tasks that must not die in silence."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from svc_runtime.logs import get_logger

T = TypeVar("T")
_log = get_logger(__name__)


async def keep_running(
    name: str,
    work: Callable[[], Awaitable[None]],
    *,
    first_delay_seconds: float = 0.1,
    longest_delay_seconds: float = 5.0,
) -> None:
    """Run ``work`` again whenever it ends or fails, with backoff and jitter, until cancelled.

    Work that ran for a while before it failed starts again at the first delay.
    """
    delay = first_delay_seconds
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        try:
            await work()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the work goes on
            _log.warning("background work failed, will go on", work=name, error=repr(error), delay_seconds=delay)
        if loop.time() - started > longest_delay_seconds * 2:
            delay = first_delay_seconds
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
        delay = min(delay * 2, longest_delay_seconds)


@contextlib.asynccontextmanager
async def running(name: str, work: Awaitable[None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run ``work`` as a task for the time of the block; cancel it and wait for it at the end.

    What the task failed with is raised then, unless the block itself raised something.
    """
    task = asyncio.ensure_future(work)
    task.set_name(name)
    try:
        yield task
    except BaseException:
        await _end(task)
        raise
    if (error := await _end(task)) is not None:
        raise error


async def uninterrupted(work: Awaitable[T]) -> T:
    """Run ``work`` to its end, also while the caller is cancelled; the cancellation is raised after it."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()


async def _end(task: asyncio.Task[None]) -> BaseException | None:
    """Cancel the task, wait for it and return what it failed with."""
    task.cancel()
    # Not `await task`: our own cancellation, arriving just now, could not be told from the task's.
    await asyncio.wait([task])
    return None if task.cancelled() else task.exception()
