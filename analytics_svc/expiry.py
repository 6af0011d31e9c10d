"""Leaving out what the reading does not keep any longer: at start, and once a day."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from analytics_svc.retention import Retentions
from analytics_svc.store import ExpiryStore
from svc_runtime.clock import Clock
from svc_runtime.logs import get_logger
from svc_runtime.tasks import keep_running, uninterrupted

EVERY = timedelta(days=1)
_log = get_logger(__name__)


class Expiry:
    """Drops events, and what counts them, that are older than their organisation's retention."""

    def __init__(
        self,
        store: ExpiryStore,
        retentions: Retentions,
        *,
        clock: Clock,
        writing: Callable[[], AbstractAsyncContextManager[None]],
        tier_volume: str = "",
        tier_after_days: int = 0,
    ) -> None:
        self._store = store
        self._retentions = retentions
        self._clock = clock
        self._writing = writing
        self._tier_volume = tier_volume
        self._tier_after_days = tier_after_days

    async def run(self) -> None:
        """Expire now and then every day, until cancelled; after a failure again within minutes."""
        await keep_running("expiry", self._expire_and_wait, first_delay_seconds=5, longest_delay_seconds=300)

    async def expire(self) -> int:
        """Drop what is too old while nobody writes; return how many events that were. Raise UnavailableError."""
        cuts = (await self._retentions.read()).cuts(self._clock.now())
        async with self._writing():
            # A cancelled caller leaves: nobody else may write before the work is over.
            dropped = await uninterrupted(self._store.expire(cuts))
        if dropped:
            _log.info("events are older than they are kept", event_count=dropped)
        return dropped

    async def _expire_and_wait(self) -> None:
        await self.expire()
        await self._store.tier(self._tier_volume, self._tier_after_days)
        await asyncio.sleep(EVERY.total_seconds())
