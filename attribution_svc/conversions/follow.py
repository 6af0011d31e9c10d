"""Following the feed: what capture_svc stored of conversions is kept, each event once."""

import asyncio
from collections.abc import Sequence

import grpc

from attribution_svc import metrics
from attribution_svc.conversions.book import Bookmark, ConversionStore
from attribution_svc.conversions.convert import bookmark_from_pb, conversion_events_from_pb
from attribution_svc.conversions.event import ConversionEvent
from svc_runtime.errors import TrellisError, UnavailableError
from svc_runtime.grpc_client import Credentials
from svc_runtime.logs import get_logger
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.tasks import keep_running
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc as pb_grpc

FOLLOWER = "attribution"
PAGE_EVENT_COUNT = 5_000
LONGEST_SILENCE_SECONDS = 20.0
"""The feed sends a heartbeat every 5 s; longer than this without a word it is taken for dead."""
_LONGEST_DELAY_SECONDS = 2.0
_log = get_logger(__name__)


class ConversionFollower:
    """Follows ``CaptureService.Subscribe`` into a ``ConversionStore``.

    Two may follow at the same time: the bookmark moves for one of them, and the other goes on from there.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        credentials: Credentials,
        store: ConversionStore,
        *,
        page_event_count: int = PAGE_EVENT_COUNT,
    ) -> None:
        self._stub: pb_grpc.CaptureServiceAsyncStub = pb_grpc.CaptureServiceStub(channel)
        self._credentials = credentials
        self._store = store
        self._page_event_count = page_event_count
        self._most_at_once = page_event_count

    async def run(self) -> None:
        """Follow until cancelled; whatever fails, go on from the bookmark that is stored."""
        await keep_running("conversion follower", self.follow, longest_delay_seconds=_LONGEST_DELAY_SECONDS)

    async def follow(self) -> None:
        """Follow until the feed or the store fails, which raises TrellisError."""
        bookmark = await self._store.bookmark()
        _log.info("following the feed", is_from_the_beginning=not bookmark.cursor)
        request = pb.SubscribeRequest(follower=FOLLOWER, cursor=bookmark.cursor, max_event_count=self._page_event_count)
        call = self._stub.Subscribe(request, metadata=self._credentials.as_service())
        messages = aiter(call)
        try:
            while True:
                async with asyncio.timeout(LONGEST_SILENCE_SECONDS):
                    message = await anext(messages, None)
                if message is None:
                    raise UnavailableError("the feed ended")
                bookmark = await self._take(message, bookmark)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None
        except TimeoutError:
            raise UnavailableError(f"the feed was silent for {LONGEST_SILENCE_SECONDS:g} s") from None
        finally:
            call.cancel()

    async def _take(self, message: pb.SubscribeResponse, bookmark: Bookmark) -> Bookmark:
        after = bookmark_from_pb(message)
        if after.watermark_time is not None:
            metrics.conversion_watermark_time.set(after.watermark_time.timestamp())
        if not message.event_count and after.cursor == bookmark.cursor:
            return bookmark
        # Reading thousands of events takes a while: not on the loop that watches routing.
        events = await asyncio.to_thread(conversion_events_from_pb, message.events)
        added = await self._put_in_pieces(events, after, bookmark)
        metrics.conversion_events.add(added, {"kind": "added"})
        if added != len(events):
            metrics.conversion_events.add(len(events) - added, {"kind": "repeated"})
            _log.info("some events were there already", repeated_count=len(events) - added)
        return after

    async def _put_in_pieces(self, events: Sequence[ConversionEvent], after: Bookmark, before: Bookmark) -> int:
        """Let the store take events, and move the bookmark with the last of them.

        So many at a time as it took the last time: the page that fails is tried again in pieces of half the size, for
        the orders of its events may be too large for the store's time.
        """
        added, done = 0, 0
        try:
            while len(events) - done > self._most_at_once:
                added += await self._put(events[done : done + self._most_at_once], before, before)
                done += self._most_at_once
            added += await self._put(events[done:], after, before)
        except UnavailableError:
            self._most_at_once = max(self._most_at_once // 2, 1)
            raise
        self._most_at_once = min(self._most_at_once + self._most_at_once // 4 + 1, self._page_event_count)
        return added

    async def _put(self, events: Sequence[ConversionEvent], after: Bookmark, before: Bookmark) -> int:
        """Let the store take events and move the bookmark; one that it chokes on keeps no other waiting."""
        try:
            return await self._store.take(events, after, expected_cursor=before.cursor)
        except TrellisError:
            raise
        except Exception as error:
            if len(events) > 1:
                half = len(events) // 2
                return await self._put(events[:half], before, before) + await self._put(events[half:], after, before)
            if not events:
                raise
            # Its text may hold what was sent.
            _log.error("an event cannot be kept", event_id=events[0].event_id, error=type(error).__name__)
            metrics.conversion_events.add(1, {"kind": "refused"})
            return await self._store.take((), after, expected_cursor=before.cursor)
