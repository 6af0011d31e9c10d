"""Reading ahead: what the feed brings while a page is being written becomes one page."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

from analytics_svc.store import Page
from svc_runtime.tasks import running


def joined(pages: Sequence[Page]) -> Page:
    """Return pages that came one after the other as one."""
    events = tuple(batch for page in pages for batch in page.events)
    return Page(events, sum(page.event_count for page in pages), pages[-1].bookmark)


class _Waiting:
    """Pages that were read and not taken yet, with at most ``enough_bytes`` and one page more."""

    def __init__(self, enough_bytes: int) -> None:
        self._enough_bytes = enough_bytes
        self._pages: asyncio.Queue[Page | None] = asyncio.Queue()
        self._byte_count = 0
        self._has_room = asyncio.Event()

    async def read(self, pages: AsyncGenerator[Page, None]) -> None:
        """Take everything in, as fast as there is room; mark the end, also of a failure, by None."""
        try:
            async with contextlib.aclosing(pages):
                async for page in pages:
                    self._pages.put_nowait(page)
                    self._count(page.byte_count)
                    await self._has_room.wait()
        finally:
            self._pages.put_nowait(None)

    async def take(self) -> Page | None:
        """Return the next page once there is one, or None at the end."""
        return self._taken(await self._pages.get())

    def take_waiting(self) -> Page | None:
        """Return the next page if it is there."""
        if self._pages.empty():
            return None
        page = self._taken(self._pages.get_nowait())
        if page is None:
            self._pages.put_nowait(None)  # the end stays the end
        return page

    def _taken(self, page: Page | None) -> Page | None:
        if page is not None:
            self._count(-page.byte_count)
        return page

    def _count(self, byte_count: int) -> None:
        self._byte_count += byte_count
        if self._byte_count < self._enough_bytes:
            self._has_room.set()
        else:
            self._has_room.clear()


async def gathered(pages: AsyncGenerator[Page, None], *, enough_bytes: int) -> AsyncGenerator[Page, None]:
    """Yield pages in their order, those that wait joined until they have ``enough_bytes``.

    Ends, or fails, as ``pages`` does, after everything before that was yielded. Closes ``pages``.
    """
    waiting = _Waiting(enough_bytes)
    # Leaving the block raises what the reader failed with.
    async with running("feed reader", waiting.read(pages)):
        while (page := await waiting.take()) is not None:
            pages_at_hand, byte_count = [page], page.byte_count
            while byte_count < enough_bytes and (following := waiting.take_waiting()) is not None:
                pages_at_hand.append(following)
                byte_count += following.byte_count
            yield joined(pages_at_hand)
