"""A CaptureService that does what a test wants: acknowledges late or never, ends streams, loses connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from pydantic import SecretStr

from ingress_gateway.journal.journal import Journal
from ingress_gateway.journal.limits import JournalLimits
from ingress_gateway.shipper import Shipper, Window
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.settings import MeshSettings
from svc_runtime.tasks import running
from tests.unit.gateway.journals import Heard, encoded, sequences
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc as pb_grpc

MESH = MeshSettings(mesh_secret=SecretStr("m" * 32))
Context = grpc.aio.ServicerContext
Reaction = Callable[[pb.JournalBatch, Context], Any]


@dataclass
class FakeCapture(pb_grpc.CaptureServiceServicer):
    """Stores batches in memory; ``on_batch`` may do something else with them first."""

    settled: dict[str, int] = field(default_factory=dict)
    """By journal: what was acknowledged."""
    batches: dict[tuple[str, int], pb.JournalBatch] = field(default_factory=dict)
    received: list[int] = field(default_factory=list)
    """Sequences of all batches, repeats too."""
    statuses: list[pb.JournalStatus] = field(default_factory=list)
    hellos: list[pb.JournalHello] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    acknowledges: bool = True
    greets: bool = True
    leaves: bool = False
    """Ends each stream in peace after its greeting."""
    ack_delay_seconds: float = 0.0
    on_batch: Callable[[pb.JournalBatch, Context], Any] | None = None
    on_hello: Callable[[pb.JournalHello, Context], Any] | None = None
    order: list[str] = field(default_factory=list)
    """Kinds of messages."""

    async def Capture(  # the name is gRPC's
        self, request_iterator: AsyncIterator[pb.CaptureRequest], context: Context
    ) -> AsyncIterator[pb.CaptureResponse]:
        journal_id = ""
        async for request in request_iterator:
            kind = request.WhichOneof("message")
            self.order.append(kind)
            if kind == "hello":
                journal_id = request.hello.journal_id
                self.hellos.append(request.hello)
                self.metadata.append(dict(context.invocation_metadata()))
                if self.on_hello is not None:
                    await self.on_hello(request.hello, context)
                if self.leaves:
                    return
                if self.greets:
                    yield pb.CaptureResponse(sequence=self.settled.get(journal_id, 0))
            elif kind == "status":
                self.statuses.append(request.status)
            else:
                batch = request.batch
                self.received.append(batch.sequence)
                if self.on_batch is not None:
                    await self.on_batch(batch, context)
                self._keep(journal_id, batch)
                if self.acknowledges:
                    await asyncio.sleep(self.ack_delay_seconds)
                    self.settled[journal_id] = max(batch.sequence, self.settled.get(journal_id, 0))
                    yield pb.CaptureResponse(sequence=batch.sequence)

    def _keep(self, journal_id: str, batch: pb.JournalBatch) -> None:
        held = self.batches.setdefault((journal_id, batch.sequence), batch)
        if held != batch:
            self.problems.append(f"batch {batch.sequence} came again with other content")
        if sequences(batch.events) != sorted(sequences(batch.events)):
            self.problems.append(f"batch {batch.sequence} is out of order")

    @property
    def events(self) -> list[int]:
        """Sequences of the events that are stored, each once, in order."""
        return sorted(s for batch in self.batches.values() for s in sequences(batch.events))


@dataclass
class CaptureServer:
    """A FakeCapture on a port, which can be stopped at once and started again."""

    servicer: FakeCapture
    port: int = 0
    server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        pb_grpc.add_CaptureServiceServicer_to_server(self.servicer, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self.server.start()

    async def die(self) -> None:
        """End every stream without a word."""
        if self.server is not None:
            await self.server.stop(None)
            self.server = None


@contextlib.asynccontextmanager
async def capture_server(servicer: FakeCapture) -> AsyncIterator[CaptureServer]:
    server = CaptureServer(servicer)
    await server.start()
    try:
        yield server
    finally:
        await server.die()
        assert not servicer.problems


@dataclass
class Shipping:
    """A journal and its shipper, shipping."""

    journal: Journal
    shipper: Shipper
    appended: list[int] = field(default_factory=list)

    async def append(self, count: int = 1, body: bytes = b"x") -> None:
        """Append a group and close its batch."""
        heard = Heard()
        for _ in range(count):
            sequence = self.journal.next_sequence()
            heard = Heard()
            self.journal.append(sequence, encoded(sequence, body), "org_acmecorp", heard)
            self.appended.append(sequence)
        await heard.done.wait()
        await self.journal.flush()

    def is_settled(self) -> bool:
        return self.journal.backlog.event_count == 0


@contextlib.asynccontextmanager
async def shipping(
    directory: Path, port: int, *, window: Window | None = None, batch_seconds: float = 60.0
) -> AsyncIterator[Shipping]:
    """Ship a journal to a port for the time of the block."""
    journal = await Journal.open(directory, JournalLimits(segment_bytes=1 << 20, batch_seconds=batch_seconds))
    channel = open_channel(MESH, f"127.0.0.1:{port}")
    shipper = Shipper(journal, channel, Credentials(MESH, "test"), sender="gateway-0/w0", window=window)
    try:
        async with running("ship", shipper.run()):
            yield Shipping(journal, shipper)
    finally:
        await journal.close()
        await channel.close()
