"""Whether the store works: what its users met, asked for by health; and patience with it."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from capture_svc import metrics
from svc_runtime.errors import UnavailableError
from svc_runtime.logs import get_logger

_T = TypeVar("_T")
_FIRST_DELAY_SECONDS = 0.05
_LONGEST_DELAY_SECONDS = 2.0
_PROBE_SECONDS = 5.0
"""Longer than the longest delay: who still tries has failed within this time."""
_log = get_logger(__name__)


class StoreWatch:
    """Remembers since when writes have been failing."""

    def __init__(self) -> None:
        self._failing_since: float | None = None
        self._last_failure = 0.0

    @property
    def failing_seconds(self) -> float:
        """How long writes have been failing, from the first failure on; 0 while all is well."""
        return 0.0 if self._failing_since is None else time.monotonic() - self._failing_since

    def succeeded(self) -> None:
        """Note that a write succeeded."""
        if self._failing_since is not None:
            _log.info("the store takes writes again", failing_seconds=round(self.failing_seconds, 1))
        self._failing_since = None

    def failed(self, error: UnavailableError) -> None:
        """Note that a write failed."""
        metrics.store_failures.add(1)
        self._last_failure = time.monotonic()
        if self._failing_since is None:
            self._failing_since = self._last_failure
            _log.warning("the store does not take writes", error=error.message)

    def probed(self) -> None:
        """Note that a probe succeeded: all is well again, unless somebody's larger write failed just now."""
        if time.monotonic() - self._last_failure > _PROBE_SECONDS:
            self.succeeded()

    async def persist(self, work: Callable[[], Awaitable[_T]], *, patience_seconds: float, is_write: bool = True) -> _T:
        """Repeat ``work`` while the store is unavailable, with backoff and jitter; after ``patience_seconds`` raise.

        ``work`` must be one that may run again.
        """
        until, delay = time.monotonic() + patience_seconds, _FIRST_DELAY_SECONDS
        while True:
            try:
                done = await work()
            except UnavailableError as error:
                if is_write:
                    self.failed(error)
                if time.monotonic() + delay > until:
                    raise
            else:
                if is_write:
                    self.succeeded()
                return done
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
            delay = min(delay * 2, _LONGEST_DELAY_SECONDS)


async def unbroken(work: Coroutine[Any, Any, _T]) -> _T:
    """Await ``work`` to its end also when the caller is cancelled meanwhile; then the cancellation goes on.

    A statement that was sent runs to its end anyway: nobody may take the journal over before that.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await ended(task)
        raise


async def ended(*tasks: "asyncio.Task[Any]") -> None:
    """Wait until the tasks have ended, whatever their outcome and however often we are cancelled."""
    was_cancelled = False
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            was_cancelled = True
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not call it forgotten
    if was_cancelled:
        raise asyncio.CancelledError
