"""Whose turn it is: so many heavy questions at a time, one of each organisation."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator

from svc_runtime.errors import RateLimitedError


class Turns:
    """Lets questions in. For one event loop."""

    def __init__(self, count: int, *, longest_wait_seconds: float = 10.0) -> None:
        self._free = asyncio.Semaphore(count)
        self._own: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()
        self._longest_wait_seconds = longest_wait_seconds

    @contextlib.asynccontextmanager
    async def turn(self, organization_id: str) -> AsyncIterator[None]:
        """Hold a place for the time of the block. Raise RateLimitedError where none is free in time."""
        async with contextlib.AsyncExitStack() as stack:
            # An organisation waits behind itself first, and keeps no place from others meanwhile.
            own = stack.enter_context(self._lock_of(organization_id))
            try:
                async with asyncio.timeout(self._longest_wait_seconds):
                    await stack.enter_async_context(own)
                    await stack.enter_async_context(self._free)
            except TimeoutError:
                raise RateLimitedError(
                    f"the question waited {self._longest_wait_seconds:g} s for its turn behind others: ask again later",
                    retry_after_seconds=5.0,
                ) from None
            yield

    @contextlib.contextmanager
    def _lock_of(self, organization_id: str) -> Iterator[asyncio.Lock]:
        """Keep an organisation's lock as long as somebody uses it."""
        self._users[organization_id] += 1
        try:
            yield self._own.setdefault(organization_id, asyncio.Lock())
        finally:
            self._users[organization_id] -= 1
            if not self._users[organization_id]:
                del self._users[organization_id], self._own[organization_id]
