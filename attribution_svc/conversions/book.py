"""What the store of conversions promises, whichever technology is behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from attribution_svc.conversions.event import ConversionEvent
from attribution_svc.conversions.kept import Kept
from svc_runtime.errors import FailedPreconditionError, NotFoundError

MOST_EVENTS_OF_GROUP = 1_000
"""Of an order: what comes after is kept, marked, and counted for nothing."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Where the follower of the feed is."""

    cursor: bytes
    watermark_time: datetime | None
    """Everything received before it is in the store."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which conversions of an organisation; what is empty or None is any."""

    start_time: datetime | None = None
    """Received at or after it."""
    end_time: datetime | None = None
    """Received before it."""
    conversion_type: str = ""
    status: str | None = None
    campaign_id: str = ""
    click_id: str = ""
    """An id by which its click may be named: theirs or ours."""
    order_id: str = ""
    orphan_reason: str = ""
    is_orphan: bool | None = None
    is_test: bool | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a list: just after this one."""

    create_time: datetime
    conversion_id: str


class MovedBookmarkError(FailedPreconditionError):
    """Another process follows the feed too, and has moved the bookmark."""


class ConversionStore(Protocol):
    """Conversions of all organisations.

    Every method raises UnavailableError while the store is not reachable, and works again by itself once it is.
    Every write is one transaction: events, conversions, changes, verdicts and the bookmark. Changes become visible in
    the order of their ids: whoever sees one, sees all before it.
    """

    async def bookmark(self) -> Bookmark:
        """Return where the follower is; an empty cursor at the very beginning."""
        ...

    async def take(self, events: Sequence[ConversionEvent], after: Bookmark, *, expected_cursor: bytes) -> int:
        """Add what is new of ``events``, make of their orders what they amount to now, and move the bookmark.

        Events that are there already add nothing. Return how many were new. Raise MovedBookmarkError, with nothing
        written, when the bookmark is not at ``expected_cursor``.
        """
        ...

    async def get(self, organization_id: str, conversion_id: str) -> Kept:
        """Return a conversion, one that was merged too; raise NotFoundError, also for another organisation's."""
        ...

    async def events(self, organization_id: str, event_ids: Sequence[str]) -> list[ConversionEvent]:
        """Return those events of an organisation that are there, in the order in which they were received."""
        ...

    async def list_page(self, organization_id: str, wanted: Wanted, *, after: Place | None, limit: int) -> list[Kept]:
        """Return up to ``limit`` conversions, those received last first, ids falling where the times are equal.

        Those that were merged into others are left out.
        """
        ...


def no_such_conversion(conversion_id: str) -> NotFoundError:
    """Return what is said of a conversion that is not there, or another's."""
    return NotFoundError(f"no conversion {conversion_id[:64]!r}")
