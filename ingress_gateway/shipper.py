"""Ships a journal to capture_svc: one long-lived stream, a bounded window, acknowledgements by the application."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from ingress_gateway.journal.journal import Journal
from ingress_gateway.journal.recovery import Batch
from svc_runtime.grpc_client import Credentials
from svc_runtime.logs import get_logger
from svc_runtime.tasks import keep_running
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc

_log = get_logger(__name__)
_Call: TypeAlias = "grpc.aio.StreamStreamCall[pb.CaptureRequest, pb.CaptureResponse]"


@dataclass(frozen=True, slots=True)
class Window:
    """What may be on its way without an acknowledgement."""

    batch_count: int = 8
    byte_count: int = 4 * 1024 * 1024
    ack_seconds: float = 60.0
    """A stream without an acknowledgement for this long, with something on its way, is given up and made anew; so is
    one that does not answer the greeting."""


class Shipper:
    """Sends what the journal holds, in order, again and again until it is acknowledged."""

    def __init__(
        self,
        journal: Journal,
        channel: grpc.aio.Channel,
        credentials: Credentials,
        *,
        sender: str,
        window: Window | None = None,
    ) -> None:
        self._journal = journal
        self._stub = capture_service_pb2_grpc.CaptureServiceStub(channel)
        self._credentials = credentials
        self._sender = sender
        self._window = window or Window()
        self.is_connected = False
        self.shipped_batch_count = 0
        self.last_ack_at = 0.0
        self._room = asyncio.Event()
        self._on_the_way: deque[Batch] = deque()
        self._sent = 0

    async def run(self) -> None:
        """Ship for ever; reconnect with backoff and jitter."""
        await keep_running(f"ship {self._sender}", self._stream, longest_delay_seconds=2.0)

    async def _stream(self) -> None:
        call = self._stub.Capture(metadata=self._credentials.as_service())
        self._on_the_way.clear()
        try:
            self._sent = await self._greet(call)
            self._acknowledge(self._sent)
            self.is_connected = True
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive(call))
                group.create_task(self._send(call))
                group.create_task(self._watch_acks())
        except* grpc.aio.AioRpcError as failures:
            error = failures.exceptions[0]
            code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else ""
            _log.info("the stream to capture_svc ended, will reconnect", sender=self._sender, code=code)
            raise ConnectionError(f"capture stream: {code}") from None
        finally:
            self.is_connected = False
            call.cancel()

    async def _greet(self, call: _Call) -> int:
        """Say whose journal this is; return up to where it is stored already."""
        hello = pb.JournalHello(journal_id=self._journal.journal_id, sender=self._sender)
        async with asyncio.timeout(self._window.ack_seconds):
            await call.write(pb.CaptureRequest(hello=hello))
            first: Any = await call.read()
        if first is grpc.aio.EOF:
            raise ConnectionError("capture_svc ended the stream at once")
        return int(first.sequence)

    async def _send(self, call: _Call) -> None:
        await call.write(pb.CaptureRequest(status=self._status()))
        status_at = time.monotonic()
        async for batch in self._batches():
            if batch is not None:
                data = await asyncio.to_thread(self._journal.read, batch)
                self._sent = batch.sequence
                if data:
                    self._on_the_way.append(batch)
                    await call.write(pb.CaptureRequest(batch=_message(batch, data)))
                    self.shipped_batch_count += 1
            if batch is None or time.monotonic() - status_at > 1:
                status_at = time.monotonic()
                await call.write(pb.CaptureRequest(status=self._status()))

    async def _batches(self) -> AsyncIterator[Batch | None]:
        """Yield batches as the window has room for them; None at least once a second."""
        while True:
            batches = self._journal.backlog.after(self._sent)
            if not batches:
                await self._journal.backlog.wait(1.0)
                if not self._journal.backlog.after(self._sent):
                    yield None
            for batch in batches:
                while not self._has_room(batch):
                    self._room.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1.0):
                            await self._room.wait()
                            continue
                    yield None
                yield batch

    def _has_room(self, batch: Batch) -> bool:
        on_the_way = self._on_the_way
        if not on_the_way:
            return True
        held = sum(b.byte_count for b in on_the_way)
        return len(on_the_way) < self._window.batch_count and held + batch.byte_count <= self._window.byte_count

    async def _receive(self, call: _Call) -> None:
        async for answer in call:
            if answer.sequence > self._sent:
                # Nothing is removed on the word of somebody who cannot know.
                raise ConnectionError(f"capture_svc acknowledges {answer.sequence}, sent is {self._sent}")
            self._acknowledge(answer.sequence)
        raise ConnectionError("capture_svc ended the stream")

    def _acknowledge(self, sequence: int) -> None:
        self.last_ack_at = time.monotonic()
        self._journal.backlog.acknowledge(sequence)
        while self._on_the_way and self._on_the_way[0].sequence <= sequence:
            self._on_the_way.popleft()
        self._room.set()

    async def _watch_acks(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._window.ack_seconds / 4))
            waited = time.monotonic() - self.last_ack_at
            if self._on_the_way and waited > self._window.ack_seconds:
                raise ConnectionError(f"no acknowledgement for {waited:.0f} s")
            if not self._on_the_way:
                self.last_ack_at = time.monotonic()

    def _status(self) -> pb.JournalStatus:
        return pb.JournalStatus(
            settled_sequence=self._journal.backlog.settled,
            pending=[
                pb.OrganizationCount(organization_id=organization_id, event_count=count)
                for organization_id, count in self._journal.backlog.pending.items()
            ],
        )


def _message(batch: Batch, data: bytes) -> pb.JournalBatch:
    return pb.JournalBatch(
        sequence=batch.sequence,
        last_sequence=batch.meta.last_sequence,
        events=data,
        counts=[
            pb.OrganizationCount(organization_id=organization_id, event_count=count)
            for organization_id, count in batch.meta.counts.items()
        ],
        is_keyed=batch.meta.is_keyed,
        traceparents=batch.meta.traceparents,
    )


async def checkpoint_forever(journal: Journal, *, seconds: float = 1.0) -> None:
    """Save the position and remove settled segments every so often, whatever goes wrong."""
    await keep_running("checkpoint", lambda: _checkpoint_each(journal, seconds), longest_delay_seconds=1.0)


async def _checkpoint_each(journal: Journal, seconds: float) -> None:
    settled = -1
    while True:
        await asyncio.sleep(seconds)
        if journal.backlog.settled != settled:
            settled = journal.backlog.settled
            try:
                await journal.checkpoint()
            except OSError as error:
                settled = -1
                _log.warning("the journal's position could not be saved", error=repr(error))
