"""Results kept in Redis or Valkey, which may be away at any time."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from svc_runtime.logs import get_logger

WAIT_SECONDS = 0.05
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
_CONNECTIONS = 16
_log = get_logger(__name__)
_T = TypeVar("_T")


class RedisResultCache:
    """``ResultCache`` in Redis. After a failure nobody asks it for a pause, which grows while it fails."""

    def __init__(
        self,
        redis: "Redis",
        *,
        wait_seconds: float = WAIT_SECONDS,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._wait_seconds = wait_seconds
        self._first_pause_seconds = first_pause_seconds
        self._clock = clock
        self._pause_seconds = 0.0
        self._paused_until = 0.0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, *, wait_seconds: float = WAIT_SECONDS) -> AsyncIterator[Self]:
        """Hold connections for the time of the block. Nothing is asked yet: Redis need not be there."""
        # One that waits: many who ask at once are no failure.
        pool = BlockingConnectionPool.from_url(
            url,
            timeout=wait_seconds,
            socket_timeout=wait_seconds,
            socket_connect_timeout=wait_seconds,
            max_connections=_CONNECTIONS,
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
        redis = Redis.from_pool(pool)
        try:
            yield cls(redis, wait_seconds=wait_seconds)
        finally:
            with contextlib.suppress(RedisError, OSError):
                await redis.aclose()

    async def get(self, key: str) -> bytes | None:
        """See ``ResultCache.get``."""
        found: object = await self._tried(lambda: self._redis.get(key))
        return found if isinstance(found, bytes) else None

    async def put(self, key: str, value: bytes, *, seconds: float) -> None:
        """See ``ResultCache.put``."""
        milliseconds = max(1, round(seconds * 1000))
        await self._tried(lambda: self._redis.set(key, value, px=milliseconds))

    async def _tried(self, command: Callable[[], Awaitable[_T]]) -> _T | None:
        if self._clock() < self._paused_until:
            return None
        try:
            async with asyncio.timeout(self._wait_seconds):
                answer = await command()
        except (RedisError, OSError, TimeoutError) as error:
            self._pause(error)
            return None
        if self._pause_seconds:
            _log.info("the cache of results answers again")
            self._pause_seconds = 0.0
        return answer

    def _pause(self, error: Exception) -> None:
        if not self._pause_seconds:
            # Its text may hold the address, and with it the password.
            _log.warning("the cache of results does not answer; going on without", error=type(error).__name__)
        self._pause_seconds = min(max(self._first_pause_seconds, 2 * self._pause_seconds), LONGEST_PAUSE_SECONDS)
        self._paused_until = self._clock() + self._pause_seconds
