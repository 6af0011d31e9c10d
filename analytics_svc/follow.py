"""Following the feed: what capture_svc stored goes into the reading, each event once."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from datetime import datetime

import grpc

from analytics_svc import metrics
from analytics_svc.convert.feed import page_from_pb
from analytics_svc.gather import gathered
from analytics_svc.store import Bookmark, Page, ReadingStore
from svc_runtime.clock import Clock
from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_client import Credentials
from svc_runtime.logs import get_logger
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.tasks import keep_running
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc as pb_grpc

FOLLOWER = "analytics"
LONGEST_SILENCE_SECONDS = 20.0
"""The feed sends a heartbeat every 5 s; longer than this without a word it is taken for dead."""
ENOUGH_BYTES = 48 * 1024 * 1024
"""Pages of the feed are joined up to about this size: one insert. The larger, the less work for each event."""
_SHARE = 3
"""While there is no backlog, writing takes at most a third of the time: what comes meanwhile shares the next insert."""
_LONGEST_PAUSE_SECONDS = 1.0
_log = get_logger(__name__)


class Follower:
    """Follows ``CaptureService.Subscribe`` into a ``ReadingStore``; with ``run`` for ever."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        credentials: Credentials,
        store: ReadingStore,
        *,
        clock: Clock,
        page_event_count: int,
        write_interval_seconds: float,
    ) -> None:
        self._stub: pb_grpc.CaptureServiceAsyncStub = pb_grpc.CaptureServiceStub(channel)
        self._credentials = credentials
        self._store = store
        self._clock = clock
        self._page_event_count = page_event_count
        self._write_interval_seconds = write_interval_seconds
        self._watermark_time: datetime | None = None

    def watermark_time(self) -> datetime | None:
        """Return the instant before which everything received is in the reading; None before anything is known."""
        return self._watermark_time

    def watermark_age_seconds(self) -> float | None:
        """Return how far the reading is behind; None before anything is known."""
        if self._watermark_time is None:
            return None
        return max(0.0, (self._clock.now() - self._watermark_time).total_seconds())

    async def run(self) -> None:
        """Follow until cancelled; whatever fails, go on from the bookmark that is stored."""
        await keep_running("feed follower", self.follow, longest_delay_seconds=2.0)

    async def follow(self) -> None:
        """Follow until the feed or the store fails, which raises TrellisError."""
        bookmark = await self._store.bookmark()
        self._watermark_time = bookmark.watermark_time
        _log.info("following the feed", is_from_the_beginning=not bookmark.cursor)
        pages = gathered(self._read(bookmark), enough_bytes=ENOUGH_BYTES)
        async with contextlib.aclosing(pages):
            async for page in pages:
                began = time.monotonic()
                if page.event_count or page.bookmark.cursor != bookmark.cursor:
                    await self._write(page)
                bookmark = page.bookmark
                self._watermark_time = bookmark.watermark_time
                await asyncio.sleep(self.pause_seconds(page, time.monotonic() - began))

    def pause_seconds(self, page: Page, write_seconds: float) -> float:
        """Return how long to wait for more events: many small inserts would keep the store merging."""
        if page.byte_count >= ENOUGH_BYTES:
            return 0.0
        longest = _LONGEST_PAUSE_SECONDS if self._write_interval_seconds else 0.0
        interval = max(self._write_interval_seconds, min(_SHARE * write_seconds, longest))
        return max(0.0, interval - write_seconds)

    async def _write(self, page: Page) -> None:
        began = time.monotonic()
        added = await self._store.write(page)
        metrics.write_duration.record(time.monotonic() - began)
        metrics.events.add(added, {"kind": "added"})
        if added != page.event_count:
            metrics.events.add(page.event_count - added, {"kind": "repeated"})
            _log.info("some events were there already", repeated_count=page.event_count - added)

    async def _read(self, bookmark: Bookmark) -> AsyncGenerator[Page, None]:
        request = pb.SubscribeRequest(follower=FOLLOWER, cursor=bookmark.cursor, max_event_count=self._page_event_count)
        call = self._stub.Subscribe(request, metadata=self._credentials.as_service())
        messages = aiter(call)
        try:
            while True:
                async with asyncio.timeout(LONGEST_SILENCE_SECONDS):
                    message = await anext(messages, None)
                if message is None:
                    raise UnavailableError("the feed ended")
                yield page_from_pb(message)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None
        except TimeoutError:
            raise UnavailableError(f"the feed was silent for {LONGEST_SILENCE_SECONDS:g} s") from None
        finally:
            call.cancel()
