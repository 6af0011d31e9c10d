"""Edges of what was there before they were kept, or before other rules or another key: month by month, the newest
first, while everything else goes on.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import date
from typing import Protocol

from svc_runtime.logs import get_logger

_log = get_logger(__name__)


class EdgeHistory(Protocol):
    """Edges of events that are there. Every method raises UnavailableError while the store does not do its work."""

    async def missing_months(self) -> list[date]:
        """Return the months of which not all events were looked at by the present rules, the newest first."""
        ...

    async def days(self, month: date) -> list[date]:
        """Return the UTC days of a month that have events."""
        ...

    async def keep_day(self, day: date) -> None:
        """Add the edges of a day's events. Can be done again."""
        ...

    async def keep_month(self, month: date) -> None:
        """Say that all days of a month were looked at."""
        ...

    async def drop_others(self) -> None:
        """Drop the edges that other rules made."""
        ...


async def make_history(history: EdgeHistory, *, writing: Callable[[], AbstractAsyncContextManager[None]]) -> None:
    """Make what is missing. Goes on where a process before stopped, at the beginning of a month."""
    for month in await history.missing_months():
        for day in await history.days(month):
            # A month that takes the place of this one brings its own edges: never between our reading and writing.
            async with writing():
                await history.keep_day(day)
        await history.keep_month(month)
        _log.info("the edges of a month are there", month=f"{month:%Y-%m}")
    await history.drop_others()
