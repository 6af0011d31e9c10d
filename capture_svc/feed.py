"""The feed: every stored event once, in journal order, resumable by a cursor."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A piece of the feed."""

    events: bytes
    """An encoded ``EventBatch``, never decoded on its way; empty when there is nothing new."""
    event_count: int
    """Number of events in it."""
    cursor: bytes
    """Where to go on after it. Opaque, at most 64 KiB; keep it with the data."""
    watermark_time: datetime
    """Everything that was settled before this instant has been given out up to ``cursor``."""


class FeedReader(Protocol):
    """The feed as one follower reads it. A reader belongs to one follower and one task."""

    async def read(self, cursor: bytes, *, max_event_count: int) -> FeedPage:
        """Return what comes after ``cursor`` (empty: from the beginning); an empty page when nothing does.

        The same cursor gives the same events again, so a follower that kept its cursor with its data misses nothing
        and sees nothing twice. Within a journal events come in rising sequence. A page holds at most
        ``max_event_count`` events.

        Errors: InvalidArgumentError (not a cursor of ours); UnavailableError (the store is down: try again).
        """
        ...

    async def wait(self, timeout_seconds: float) -> None:
        """Return when something new may be there, also if it came since the last ``read`` began, or after the time."""
        ...
