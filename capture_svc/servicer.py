"""The RPCs of CaptureService: convert in, call, convert out."""

# ruff: noqa: ARG002, N802 - grpc names the methods and passes a context that not every one needs

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from capture_svc import convert, metrics
from capture_svc.availability import StoreWatch
from capture_svc.batch import Batch
from capture_svc.direct import DirectWriter
from capture_svc.event_codec import encode_own
from capture_svc.event_ids import keyed_event_id, new_event_id
from capture_svc.feed import Feed, FeedPage
from capture_svc.ledger import JournalWords, Ledger
from capture_svc.replay import Replayer
from capture_svc.scan import ScanPage, decode_scan_cursor
from capture_svc.sessions import PATIENCE_SECONDS, Sessions
from capture_svc.store import EventKey, EventStore, QuarantineKey, QuarantineStore
from svc_runtime.clock import Clock
from svc_runtime.errors import InvalidArgumentError, NotFoundError, UnavailableError, Violation
from svc_runtime.interceptors import ServicerContext, current_caller
from svc_runtime.paging import PageTokens
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc

HEARTBEAT_SECONDS = 5.0
_PAGE_BYTES = 16 * 1024 * 1024
_MOST_IDS = 1_000


@dataclass(frozen=True, slots=True)
class Parts:
    """What the RPCs are made of."""

    events: EventStore
    quarantine: QuarantineStore
    sessions: Sessions
    words: JournalWords
    direct: DirectWriter
    feed: Feed
    ledger: Ledger
    replayer: Replayer
    watch: StoreWatch
    clock: Clock


class CaptureServicer(capture_service_pb2_grpc.CaptureServiceServicer):
    """What the contract says, by the parts that do it."""

    def __init__(self, parts: Parts, page_tokens: PageTokens) -> None:
        self._parts = parts
        self._page_tokens = page_tokens

    async def Capture(
        self, request_iterator: AsyncIterator[pb.CaptureRequest], context: ServicerContext
    ) -> AsyncIterator[pb.CaptureResponse]:
        """Take a journal's batches; see the contract."""
        first = await anext(request_iterator, None)
        if first is None or first.WhichOneof("message") != "hello":
            raise InvalidArgumentError.of([Violation("message", "the first one must be `hello`")])
        journal_id, sender = convert.journal_from_pb(first.hello)
        async with self._parts.sessions.open(journal_id, sender) as session:
            yield pb.CaptureResponse(sequence=session.settled)
            batches = self._batches(request_iterator, journal_id, sender)
            async with contextlib.aclosing(session.acks(batches)) as acks:
                async for sequence in acks:
                    yield pb.CaptureResponse(sequence=sequence)

    async def _batches(
        self, requests: AsyncIterator[pb.CaptureRequest], journal_id: str, sender: str
    ) -> AsyncIterator[Batch]:
        async for request in requests:
            match request.WhichOneof("message"):
                case "batch":
                    yield convert.batch_from_pb(journal_id, request.batch)
                case "status":
                    now = self._parts.clock.now()
                    self._parts.words.note(convert.word_from_pb(journal_id, sender, request.status, now=now))
                case _:
                    raise InvalidArgumentError.of([Violation("message", "must be `batch` or `status` now")])

    async def CaptureEvents(
        self, request: pb.CaptureEventsRequest, context: ServicerContext
    ) -> pb.CaptureEventsResponse:
        """Store an internal caller's events; see the contract."""
        organization_id = current_caller().organization_id
        now_ms = time.time_ns() // 1_000_000
        ids, encoded, is_keyed = [], [], False
        for event in convert.direct_events_from_pb(request):
            key = event.idempotency_key
            event_id = keyed_event_id(organization_id, key) if key else new_event_id(now_ms)
            is_keyed = is_keyed or bool(key)
            ids.append(event_id)
            encoded.append(encode_own(event, organization_id=organization_id, event_id=event_id, event_time_ms=now_ms))
        fates = await self._parts.direct.write(
            organization_id, encoded, is_keyed=is_keyed, traceparent=_sampled_traceparent()
        )
        outcomes = [convert.outcome_to_pb(event_id, fate) for event_id, fate in zip(ids, fates, strict=True)]
        return pb.CaptureEventsResponse(outcomes=outcomes)

    async def Subscribe(
        self, request: pb.SubscribeRequest, context: ServicerContext
    ) -> AsyncIterator[pb.SubscribeResponse]:
        """Feed a follower; see the contract."""
        parts, cursor = self._parts, request.cursor
        reader = parts.feed.reader(request.follower[:64] or "unnamed")
        count = convert.feed_size_from_pb(request.max_event_count)
        loop = asyncio.get_running_loop()
        said_at = loop.time()

        async def read() -> FeedPage:
            return await reader.read(cursor, max_event_count=count)

        while not parts.feed.is_closed:
            page = await parts.watch.persist(read, patience_seconds=PATIENCE_SECONDS, is_write=False)
            is_due = loop.time() - said_at >= HEARTBEAT_SECONDS
            if page.event_count or (page.cursor != cursor and cursor) or is_due:
                yield convert.feed_page_to_pb(page)
                said_at = loop.time()
            cursor = page.cursor
            if not page.event_count:
                await reader.wait(max(0.0, said_at + HEARTBEAT_SECONDS - loop.time()))

    async def ReadEvents(
        self, request: pb.ReadEventsRequest, context: ServicerContext
    ) -> AsyncIterator[pb.ReadEventsResponse]:
        """Read stored events again; see the contract."""
        parts, wanted = self._parts, convert.scan_from_pb(request)
        place = decode_scan_cursor(request.cursor)
        limit = convert.feed_size_from_pb(request.max_event_count)

        async def read() -> ScanPage:
            return await parts.events.scan(wanted, after=place, limit=limit, max_bytes=_PAGE_BYTES)

        is_last = False
        while not is_last:
            if parts.feed.is_closed:
                # An end without an error would say that there is no more.
                raise UnavailableError("this replica leaves: go on at another one")
            page = await parts.watch.persist(read, patience_seconds=PATIENCE_SECONDS, is_write=False)
            if page.event_count:
                metrics.read_events.add(page.event_count)
                yield convert.scan_page_to_pb(page)
            place, is_last = page.last_key, page.is_last

    async def CountEventsByMonth(
        self, request: pb.CountEventsByMonthRequest, context: ServicerContext
    ) -> pb.CountEventsByMonthResponse:
        """Count stored events; see the contract."""
        return convert.month_counts_to_pb(await self._parts.events.counts_by_month(request.organization_id or None))

    async def GetEvent(self, request: pb.GetEventRequest, context: ServicerContext) -> pb.GetEventResponse:
        """Return one event whole; see the contract."""
        event_id = convert.event_id_from_pb(request.event_id)
        found = await self._parts.events.get(current_caller().organization_id, event_id)
        if found is None:
            raise NotFoundError(f"no event {event_id}")
        return convert.event_to_pb(*found)

    async def ListEvents(self, request: pb.ListEventsRequest, context: ServicerContext) -> pb.ListEventsResponse:
        """List events, newest first; see the contract."""
        organization_id = current_caller().organization_id
        wanted, limit = convert.filter_from_pb(request), convert.page_size_from_pb(request.page_size)
        scope = ("events", organization_id, wanted)
        place = self._page_tokens.open(request.page_token, *scope)
        page = await self._parts.events.page(
            organization_id,
            wanted,
            before=EventKey(*place) if place else None,
            limit=limit,
            max_bytes=_PAGE_BYTES,
        )
        key = page.next_key
        token = "" if key is None else self._page_tokens.seal([key.event_time_ms, key.event_id], *scope)
        return convert.events_to_pb(page.events, token)

    async def ListQuarantine(
        self, request: pb.ListQuarantineRequest, context: ServicerContext
    ) -> pb.ListQuarantineResponse:
        """List the quarantine, newest first; see the contract."""
        limit = convert.page_size_from_pb(request.page_size)
        scope = ("quarantine", request.organization_id)
        place = self._page_tokens.open(request.page_token, *scope)
        page = await self._parts.quarantine.page(
            organization_id=request.organization_id,
            is_waiting=False,
            ids=[],
            before=QuarantineKey(*place) if place else None,
            limit=limit,
            max_bytes=_PAGE_BYTES,
        )
        key = page.next_key
        token = "" if key is None else self._page_tokens.seal([key.quarantine_time_ms, key.quarantine_id], *scope)
        return pb.ListQuarantineResponse(
            items=[convert.quarantine_item_to_pb(item) for item in page.items], next_page_token=token
        )

    async def ReplayQuarantine(
        self, request: pb.ReplayQuarantineRequest, context: ServicerContext
    ) -> pb.ReplayQuarantineResponse:
        """Store quarantined events again; see the contract."""
        if len(request.quarantine_ids) > _MOST_IDS:
            text = f"{len(request.quarantine_ids)} ids, the limit is {_MOST_IDS}"
            raise InvalidArgumentError.of([Violation("quarantine_ids", text)])
        ids = [
            convert.event_id_from_pb(text, f"quarantine_ids[{index}]")
            for index, text in enumerate(request.quarantine_ids)
        ]
        return convert.replay_to_pb(await self._parts.replayer.replay(ids, request.organization_id))

    async def GetLedger(self, request: pb.GetLedgerRequest, context: ServicerContext) -> pb.GetLedgerResponse:
        """Account for the caller's events; see the contract."""
        return convert.account_to_pb(await self._parts.ledger.account(current_caller().organization_id))


def _sampled_traceparent() -> str:
    if not trace.get_current_span().get_span_context().trace_flags.sampled:
        return ""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")
