"""A ReadingStore in memory, to be tested by the same suite as the real one."""

from analytics_svc.store import Bookmark, Page
from svc_runtime.errors import UnavailableError
from trellis.capture.v1 import event_pb2


class MemoryReadingStore:
    """Holds events by id. ``fail_next`` makes a write leave its events without their bookmark, once."""

    def __init__(self) -> None:
        self.events: dict[str, event_pb2.Event] = {}
        self.kept = Bookmark(b"", None)
        self.pages: list[Page] = []
        self.fail_next = False
        self.is_down = False

    async def bookmark(self) -> Bookmark:
        """See ``ReadingStore.bookmark``."""
        self._check_up()
        return self.kept

    async def write(self, page: Page) -> int:
        """See ``ReadingStore.write``."""
        self._check_up()
        self.pages.append(page)
        found = event_pb2.EventBatch.FromString(b"".join(page.events)).events
        new = {event.event_id: event for event in found if event.event_id not in self.events}
        self.events |= new
        if self.fail_next:
            self.fail_next = False
            raise UnavailableError("failed in the middle")
        self.kept = page.bookmark
        return len(new)

    def _check_up(self) -> None:
        if self.is_down:
            raise UnavailableError("down")
