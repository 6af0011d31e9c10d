"""Results kept in this process alone: what is used where there is no Redis."""

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_BYTES = 32 * 1024 * 1024


class MemoryResultCache:
    """``ResultCache`` in memory: what was not asked for longest goes first."""

    def __init__(self, *, most_bytes: int = _MOST_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_bytes = most_bytes
        self._clock = clock
        self._values: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    async def get(self, key: str) -> bytes | None:
        """See ``ResultCache.get``."""
        until, value = self._values.get(key, (0.0, b""))
        if not value:
            return None
        if until <= self._clock():
            self._forget(key)
            return None
        self._values.move_to_end(key)
        return value

    async def put(self, key: str, value: bytes, *, seconds: float) -> None:
        """See ``ResultCache.put``."""
        self._forget(key)
        if not value or len(value) > self._most_bytes:
            return
        self._values[key] = (self._clock() + seconds, value)
        self._bytes += len(value)
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._values)))

    def _forget(self, key: str) -> None:
        _, value = self._values.pop(key, (0.0, b""))
        self._bytes -= len(value)
