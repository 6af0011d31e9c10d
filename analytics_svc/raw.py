"""The raw events as capture_svc keeps them, read again: while it is away, we wait."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Protocol, TypeVar

import grpc

from analytics_svc.operation import month_of
from svc_runtime.errors import DeadlineExceededError, TrellisError, UnavailableError
from svc_runtime.grpc_client import Credentials
from svc_runtime.logs import get_logger
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.timestamps import timestamp_of
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc as pb_grpc

PAGE_EVENT_COUNT = 20_000
LONGEST_SILENCE_SECONDS = 60.0
"""A page takes far less; longer than this without one the stream is taken for dead."""
FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 10.0
_PASSING = (UnavailableError.code, DeadlineExceededError.code)
_T = TypeVar("_T")
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RawPage:
    """A piece of the raw events."""

    events: bytes
    """An encoded ``EventBatch``."""
    event_count: int


class RawEvents(Protocol):
    """The truth."""

    async def counts(self, organization_id: str) -> Mapping[date, int]:
        """Count the events of an organisation (empty: of all) by month, rising. Waits while they cannot be had."""
        ...

    def pages(self, organization_id: str, start: datetime, end: datetime) -> AsyncGenerator[RawPage, None]:
        """Yield the events of an organisation (empty: of all) from ``start`` to before ``end``, each once.

        By organisation and time. Waits while they cannot be had.
        """
        ...


class CaptureEvents:
    """``RawEvents`` of capture_svc."""

    def __init__(
        self, channel: grpc.aio.Channel, credentials: Credentials, *, page_event_count: int = PAGE_EVENT_COUNT
    ) -> None:
        self._stub: pb_grpc.CaptureServiceAsyncStub = pb_grpc.CaptureServiceStub(channel)
        self._credentials = credentials
        self._page_event_count = page_event_count

    async def counts(self, organization_id: str) -> Mapping[date, int]:
        """See ``RawEvents.counts``."""
        request = pb.CountEventsByMonthRequest(organization_id=organization_id)

        async def ask() -> pb.CountEventsByMonthResponse:
            metadata = self._credentials.as_service()
            return await self._stub.CountEventsByMonth(request, metadata=metadata, timeout=LONGEST_SILENCE_SECONDS)

        answer = await _patiently(ask)
        return {month_of(month.start_time.ToDatetime(UTC)): month.event_count for month in answer.months}

    async def pages(self, organization_id: str, start: datetime, end: datetime) -> AsyncGenerator[RawPage, None]:
        """See ``RawEvents.pages``."""
        request = pb.ReadEventsRequest(
            organization_id=organization_id,
            start_time=timestamp_of(start),
            end_time=timestamp_of(end),
            max_event_count=self._page_event_count,
        )
        stream = _Stream(self._stub, self._credentials, request)
        try:
            while (message := await _patiently(stream.next)) is not None:
                yield RawPage(message.events, message.event_count)
        finally:
            stream.close()


class _Stream:
    """One reading of a range, over as many calls as it takes."""

    def __init__(
        self, stub: "pb_grpc.CaptureServiceAsyncStub", credentials: Credentials, request: pb.ReadEventsRequest
    ) -> None:
        self._stub = stub
        self._credentials = credentials
        self._request = request
        self._call: grpc.aio.UnaryStreamCall[pb.ReadEventsRequest, pb.ReadEventsResponse] | None = None

    async def next(self) -> pb.ReadEventsResponse | None:
        """Return the next answer, None at the end. After an error the next try goes on behind the last answer."""
        if self._call is None:
            self._call = self._stub.ReadEvents(self._request, metadata=self._credentials.as_service())
        try:
            async with asyncio.timeout(LONGEST_SILENCE_SECONDS):
                message = await self._call.read()
        except BaseException:
            self.close()
            raise
        if not isinstance(message, pb.ReadEventsResponse):
            return None
        self._request.cursor = message.cursor
        return message

    def close(self) -> None:
        """Let the call go."""
        if self._call is not None:
            self._call.cancel()
            self._call = None


async def _patiently(ask: Callable[[], Awaitable[_T]]) -> _T:
    """Ask until there is an answer, with backoff; raise TrellisError for what will not pass."""
    delay = FIRST_DELAY_SECONDS
    while True:
        try:
            return await ask()
        except TimeoutError:
            error: TrellisError = UnavailableError(f"no raw events for {LONGEST_SILENCE_SECONDS:g} s")
        except grpc.aio.AioRpcError as rpc_error:
            error = error_from_rpc(rpc_error)
            if error.code not in _PASSING:
                raise error from None
        _log.warning("waiting for the raw events", error=error.message, delay_seconds=delay)
        await asyncio.sleep(delay)
        delay = min(delay * 2, LONGEST_DELAY_SECONDS)
