"""What gateways are told about caps: what they counted together, and the conversions, which no edge counts."""

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from attribution_svc.campaigns.rule import CapKind
from attribution_svc.campaigns.usage import Exchange, Window
from attribution_svc.store import UsageStore
from svc_runtime.errors import UnavailableError
from svc_runtime.logs import get_logger

FRESH_SECONDS = 1.0
"""Conversions are counted at most so often: every worker asks once a second for the same windows."""
COUNTED_PER_SECOND = 100_000
"""A count stays fresh for a second more for each so many conversions: that of all history takes a while."""
LONGEST_COUNT_SECONDS = 2.0
"""There may be two counts in an exchange, for which a worker waits 5 s."""
PAUSE_SECONDS = 15.0
"""After a count that failed: the last one is told for so long."""
_REMEMBERED = 10_000
_log = get_logger(__name__)


class ConversionCounts(Protocol):
    """Knows conversions."""

    async def conversion_counts(self, windows: Sequence[Window]) -> list[int]:
        """Return how many conversions count for the campaigns of windows, since each began, in their order.

        Raise UnavailableError.
        """
        ...


class CapCounts:
    """Answers exchanges."""

    def __init__(self, usage: UsageStore, conversions: ConversionCounts) -> None:
        self._usage = usage
        self._conversions = conversions
        self._known: dict[Window, tuple[int, float]] = {}

    async def exchange(self, exchange: Exchange) -> list[int]:
        """Add what a worker counted, once, and return the totals of its windows. Raise UnavailableError."""
        totals = await self._usage.exchange(exchange)
        windows = [usage.window for usage in exchange.usages]
        counted = await self._counted([window for window in windows if window.kind == CapKind.CONVERSIONS.value])
        return [counted.get(window, total) for window, total in zip(windows, totals, strict=True)]

    async def _counted(self, windows: Sequence[Window]) -> dict[Window, int]:
        now = time.monotonic()
        if len(self._known) + len(windows) > _REMEMBERED:
            self._known = {window: self._known[window] for window in windows if window in self._known}
        unknown = [window for window in windows if window not in self._known]
        old = [window for window in windows if window in self._known and self._known[window][1] <= now]
        # Apart: one that takes too long must not keep those from being known that nobody has counted yet.
        for asked in filter(None, (unknown, old)):
            await self._count(asked, now)
        return {window: self._known[window][0] for window in windows}

    async def _count(self, windows: Sequence[Window], now: float) -> None:
        """Count anew; what cannot be counted now keeps its last count, unless there is none, which raises."""
        try:
            async with asyncio.timeout(LONGEST_COUNT_SECONDS):
                counts = await self._conversions.conversion_counts(windows)
        except (TimeoutError, UnavailableError):
            if any(window not in self._known for window in windows):
                raise UnavailableError("conversions cannot be counted now; try again") from None
            _log.warning("caps of conversions go by their last count", window_count=len(windows))
            self._known |= {window: (self._known[window][0], now + PAUSE_SECONDS) for window in windows}
            return
        for window, count in zip(windows, counts, strict=True):
            self._known[window] = (count, now + FRESH_SECONDS + count / COUNTED_PER_SECOND)
