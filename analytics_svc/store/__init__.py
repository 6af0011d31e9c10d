"""What the store of the reading promises."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from analytics_svc.statement import Rows, Statement


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far the feed has been read."""

    cursor: bytes
    """Where to go on; empty: from the beginning. Opaque, at most 64 KiB."""
    watermark_time: datetime | None
    """Everything received before this instant is in the reading; None before the first page."""


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of the feed."""

    events: tuple[bytes, ...]
    """Encoded ``EventBatch`` messages; their concatenation is one too."""
    event_count: int
    """Number of events in all of them."""
    bookmark: Bookmark
    """Where the reading stands once it has this page."""

    @property
    def byte_count(self) -> int:
        """Size of the events."""
        return sum(map(len, self.events))


class ReadingStore(Protocol):
    """The reading. One process at a time writes to it.

    Every method raises UnavailableError while the store does not do its work, and works again by itself once it can.
    """

    async def bookmark(self) -> Bookmark:
        """Return the bookmark of the last page that was written as a whole."""
        ...

    async def write(self, page: Page) -> int:
        """Add the page's events that are not there yet, then its bookmark; return how many were added.

        A process that is killed in the middle leaves some events without the bookmark. Whoever goes on from the
        bookmark that is there gets them again, cut into pages in any way, and each is in the reading once: what was
        added is told by its event id.
        """
        ...


class ReadingReader(Protocol):
    """Questions to the reading. Any number at a time; each sees whole pages only."""

    async def rows(self, statement: Statement) -> Rows:
        """Return the answer, in memory: at most 100,000 rows.

        Raise QueryLimitError, with how to narrow the question, where it would use more than it may; UnavailableError.
        A cancelled call ends the query.
        """
        ...
