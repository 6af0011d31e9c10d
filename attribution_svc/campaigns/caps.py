"""What gateways are told about caps: what they counted together, and the conversions, which no edge counts."""

import time
from collections.abc import Sequence
from typing import Protocol

from attribution_svc.campaigns.rule import CapKind
from attribution_svc.campaigns.usage import Exchange, Window
from attribution_svc.store import UsageStore

FRESH_SECONDS = 1.0
"""Conversions are counted at most so often: every worker asks once a second for the same windows."""
_REMEMBERED = 10_000


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
        old = [window for window in windows if self._known.get(window, (0, 0.0))[1] <= now]
        if len(self._known) + len(old) > _REMEMBERED:
            self._known.clear()
            old = list(windows)
        if old:
            counts = await self._conversions.conversion_counts(old)
            self._known.update(
                {window: (count, now + FRESH_SECONDS) for window, count in zip(old, counts, strict=True)}
            )
        return {window: self._known[window][0] for window in windows}
