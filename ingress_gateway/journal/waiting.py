"""Waiting for the disk: who waits, and what is said when the journal takes nothing."""

import asyncio
from typing import Protocol

from svc_runtime.errors import UnavailableError


class Waiter(Protocol):
    """Who waits for an event to be on disk. Both are called on the event loop; ``settled`` exactly once."""

    def settled(self, is_durable: bool) -> None:
        """The event is on disk, or it could not be written."""
        ...

    def overdue(self) -> None:
        """The redirect budget is over and the event is not on disk yet; ``settled`` still comes."""
        ...


class JournalFullError(UnavailableError):
    """The journal takes nothing now: its memory or disk bound is reached, or the disk fails."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="JOURNAL_FULL", retry_after_seconds=2.0)


class FutureWaiter:
    """Lets one coroutine wait for the events of its request."""

    __slots__ = ("_is_durable", "_left", "future")

    def __init__(self, future: asyncio.Future[None], count: int) -> None:
        self.future = future
        self._left = count
        self._is_durable = True

    def settled(self, is_durable: bool) -> None:
        """Count down; the last event decides."""
        self._left -= 1
        self._is_durable = self._is_durable and is_durable
        if self._left or self.future.done():
            return
        if self._is_durable:
            self.future.set_result(None)
        else:
            self.future.set_exception(JournalFullError("the journal's disk did not take the event"))

    def overdue(self) -> None:
        """Nothing to do: who waits for durability waits on."""
