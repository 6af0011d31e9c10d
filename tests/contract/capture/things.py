"""Events, journals and a capture_svc for tests."""

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import grpc

from capture_svc.assembly import Stores, assemble, at_work
from capture_svc.servicer import CaptureServicer, Parts
from svc_runtime.clock import Clock, SystemClock
from svc_runtime.errors import TrellisError
from svc_runtime.grpc_client import Credentials
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.paging import PageTokens
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.settings import MeshSettings
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc, event_pb2

MESH = MeshSettings(mesh_secret="m" * 32, drain_seconds=2)
SERVICE_NAME = "trellis.capture.v1.CaptureService"
_credentials = Credentials(MESH, "test")
SERVICE = _credentials.as_service()
OPERATOR = _credentials.as_caller(Caller(CallerKind.OPERATOR, "operator"))
ORGANIZATIONS = ("org_acmecorp", "org_globex", "org_initech")
_USER_AGENT = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
    "Mobile/15E148 Safari/604.1"
)


def member(organization_id: str, *scopes: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of an organisation's key that a gateway has checked."""
    given = scopes or ("traffic:read", "traffic:write")
    return _credentials.as_caller(Caller(CallerKind.ORGANIZATION, "key:k", organization_id, frozenset(given)))


def event_id(time_ms: int, chance: random.Random = random.Random(7)) -> str:  # noqa: B008 - one sequence for all
    """Return a UUIDv7."""
    return str(UUID(int=time_ms << 80 | 7 << 76 | chance.getrandbits(12) << 64 | 2 << 62 | chance.getrandbits(62)))


def make_event(organization_id: str = ORGANIZATIONS[0], **fields: Any) -> event_pb2.Event:
    """Return an event of about 780 bytes with a place to be filled in; ``fields`` win."""
    now_ms = fields.get("event_time_ms", time.time_ns() // 1_000_000)
    number = random.getrandbits(40)
    given: dict[str, Any] = {
        "organization_id": organization_id,
        "event_id": event_id(now_ms),
        "event_time_ms": now_ms,
        "event_type": b"click",
        "route": "in",
        "method": "GET",
        "target": b"/in/summer_sale?click_id=fb_%d&source=facebook&medium=cpc&utm_campaign=summer2024" % number,
        "http_version": "1.1",
        "headers": (
            f"Host: track.acmecorp.com\r\nUser-Agent: {_USER_AGENT}\r\nAccept: text/html,application/xhtml+xml\r\n"
            f"Accept-Language: en-US,en;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\n"
            f"Referer: https://l.facebook.com/?u={number}\r\nConnection: keep-alive\r\n"
        ).encode(),
        "peer_address": "198.51.100.42:53211",
        "ip": "198.51.100.42",
        "scheme": "https",
        "host": b"track.acmecorp.com",
        "click_id": f"tc{number:x}",
        "external_click_id": b"fb_%d" % number,
        "user_id": f"usr_{number}",
        "campaign_id": "cmp_0123456789",
        "campaign_version": 3,
        "location": b"https://shop.acmecorp.com/summer-sale?click_id=fb_%d" % number,
        "status": 302,
    }
    return event_pb2.Event(**given | fields)


class FakeJournal:
    """A gateway's journal: numbers events and makes batches of them."""

    _ids = itertools.count(1)

    def __init__(self, journal_id: str = "") -> None:
        self.journal_id = journal_id or f"{next(self._ids):032x}"
        self.next_sequence = 1

    def batch(self, events: Iterable[event_pb2.Event | bytes], **fields: Any) -> pb.JournalBatch:
        """Return the batch of these events; bytes are encoded events that may be damaged, of the first organisation."""
        first, counts, encoded, is_keyed = self.next_sequence, Counter[str](), [], False
        for event in events:
            if isinstance(event, event_pb2.Event):
                event.journal_id, event.sequence = self.journal_id, self.next_sequence
                counts[event.organization_id] += 1
                is_keyed = is_keyed or bool(event.idempotency_key)
                encoded.append(event.SerializeToString())
            else:
                counts[ORGANIZATIONS[0]] += 1
                encoded.append(event)
            self.next_sequence += 1
        given: dict[str, Any] = {
            "sequence": first,
            "last_sequence": self.next_sequence - 1,
            "events": join(encoded),
            "counts": counts_to_pb(counts),
            "is_keyed": is_keyed,
        }
        return pb.JournalBatch(**given | fields)


def join(events: Iterable[bytes]) -> bytes:
    """Return the EventBatch of encoded events, by our own hand."""
    parts = bytearray()
    for event in events:
        parts += b"\x0a"
        length = len(event)
        while length > 0x7F:
            parts.append(length & 0x7F | 0x80)
            length >>= 7
        parts.append(length)
        parts += event
    return bytes(parts)


def counts_to_pb(counts: Mapping[str, int]) -> list[pb.OrganizationCount]:
    """Return counts by organisation."""
    return [pb.OrganizationCount(organization_id=name, event_count=count) for name, count in counts.items()]


class CaptureClient:
    """The stub, and what most tests do first."""

    def __init__(self, stub: Any, parts: Parts, port: int, server: GrpcServer) -> None:
        self.stub = stub
        self.parts = parts
        self.port = port
        self.server = server

    @contextlib.asynccontextmanager
    async def stream(self, journal: FakeJournal, *, sender: str = "test") -> AsyncIterator["Stream"]:
        """Open a journal's stream and read the first answer."""
        call = self.stub.Capture(metadata=SERVICE)
        try:
            await call.write(pb.CaptureRequest(hello=pb.JournalHello(journal_id=journal.journal_id, sender=sender)))
            answer = await call.read()
            if answer is grpc.aio.EOF:
                await call  # raises what ended it
            yield Stream(call, answer.sequence)
        finally:
            call.cancel()

    async def send(self, journal: FakeJournal, *batches: pb.JournalBatch) -> None:
        """Send batches over a stream of their own and wait until all are acknowledged."""
        async with self.stream(journal) as stream:
            for batch in batches:
                await stream.settle(batch)

    async def ledger(self, organization_id: str) -> pb.GetLedgerResponse:
        """Return an organisation's account."""
        answer: pb.GetLedgerResponse = await self.stub.GetLedger(
            pb.GetLedgerRequest(), metadata=member(organization_id), timeout=20
        )
        return answer

    async def balance(self, organization_id: str = ORGANIZATIONS[0]) -> tuple[int, int, int, int, int]:
        """Return (received, stored, duplicates, quarantined, in journal) and insist that nothing is unaccounted."""
        found = await self.ledger(organization_id)
        assert found.unaccounted_count == 0, found
        return (
            found.received_count,
            found.stored_count,
            found.duplicate_count,
            found.quarantined_count,
            found.journal_count,
        )

    async def list_all(self, organization_id: str = ORGANIZATIONS[0], **fields: Any) -> list[event_pb2.Event]:
        """Return all events of a list, by its pages."""
        found: list[event_pb2.Event] = []
        request = pb.ListEventsRequest(**{"page_size": 1000} | fields)
        while True:
            page = await self.stub.ListEvents(request, metadata=member(organization_id), timeout=20)
            found += page.events
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def read_feed(
        self, count: int, cursor: bytes = b"", *, follower: str = "test", max_event_count: int = 0
    ) -> tuple[list[event_pb2.Event], bytes]:
        """Read at least ``count`` events of the feed; return them and the cursor after them."""
        found: list[event_pb2.Event] = []
        request = pb.SubscribeRequest(follower=follower, cursor=cursor, max_event_count=max_event_count)
        call = self.stub.Subscribe(request, metadata=SERVICE)
        try:
            while len(found) < count:
                answer = await call.read()
                if answer is grpc.aio.EOF:
                    await call
                    raise AssertionError(f"the feed ended after {len(found)} of {count} events")
                events = event_pb2.EventBatch.FromString(answer.events).events
                assert len(events) == answer.event_count
                found += events
                cursor = answer.cursor
        finally:
            call.cancel()
        return found, cursor

    async def quarantine(self, **fields: Any) -> list[pb.QuarantinedEvent]:
        """Return the first page of the quarantine."""
        answer = await self.stub.ListQuarantine(pb.ListQuarantineRequest(**fields), metadata=OPERATOR, timeout=20)
        return list(answer.items)

    async def replay(self, *ids: str, organization_id: str = "") -> tuple[int, int, int]:
        """Replay the quarantine; return (stored, duplicates, failed)."""
        request = pb.ReplayQuarantineRequest(quarantine_ids=ids, organization_id=organization_id)
        answer = await self.stub.ReplayQuarantine(request, metadata=OPERATOR, timeout=60)
        return answer.stored_count, answer.duplicate_count, answer.failed_count


class Stream:
    """A journal's stream."""

    def __init__(self, call: Any, settled: int) -> None:
        self.call = call
        self.settled = settled

    async def send(self, batch: pb.JournalBatch) -> None:
        """Send a batch and wait for nothing."""
        await self.call.write(pb.CaptureRequest(batch=batch))

    async def say(self, *, settled: int, pending: Mapping[str, int]) -> None:
        """Send a status."""
        status = pb.JournalStatus(settled_sequence=settled, pending=counts_to_pb(pending))
        await self.call.write(pb.CaptureRequest(status=status))

    async def read(self) -> int:
        """Return the next acknowledgement; raise what ended the stream."""
        answer = await self.call.read()
        if answer is grpc.aio.EOF:
            code = await self.call.code()
            if code is not grpc.StatusCode.OK:
                raise grpc.aio.AioRpcError(
                    code, await self.call.initial_metadata(), await self.call.trailing_metadata()
                )
            raise EOFError
        self.settled = answer.sequence
        return self.settled

    async def settle(self, batch: pb.JournalBatch) -> None:
        """Send a batch and wait for its acknowledgement; raise what ended the stream."""
        with contextlib.suppress(asyncio.InvalidStateError):  # it has ended: reading says why
            await self.send(batch)
        while self.settled < batch.sequence:
            await self.read()


async def refusal(call: Awaitable[object]) -> TrellisError:
    """Return the error that a call ends with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error_from_rpc(error)
    raise AssertionError("the call was not refused")


async def until(is_so: Callable[[], bool], *, seconds: float = 10) -> None:
    """Wait until something is so."""
    for _ in range(int(seconds / 0.01)):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never was so")


class FixedHosts:
    """A host directory that knows what it is told."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    async def organizations(self) -> Mapping[str, str]:
        """Return what it was told."""
        return self.known


@contextlib.asynccontextmanager
async def running_capture(
    stores: Stores,
    *,
    clock: Clock | None = None,
    replica: str = "replica-0",
    hosts: FixedHosts | None = None,
    unclaimed_per_day: int = 1_000,
) -> AsyncIterator[CaptureClient]:
    """Run a capture_svc on stores and connect to it, without retries: a test wants to see each failure."""
    parts = assemble(
        stores,
        replica=replica,
        hosts=hosts or FixedHosts(),
        clock=clock or SystemClock(),
        unclaimed_per_day=unclaimed_per_day,
        unclaimed_bytes_per_day=2**30,
    )
    server = GrpcServer(MESH, service_names=[SERVICE_NAME])
    servicer = CaptureServicer(parts, PageTokens("m" * 32, "capture_svc"))
    server.add(lambda s: capture_service_pb2_grpc.add_CaptureServiceServicer_to_server(servicer, s))
    async with at_work(parts):
        port = await server.start("127.0.0.1:0")
        try:
            options = [("grpc.max_receive_message_length", 2**26), ("grpc.max_send_message_length", 2**26)]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
                yield CaptureClient(capture_service_pb2_grpc.CaptureServiceStub(channel), parts, port, server)
        finally:
            parts.sessions.close()
            parts.feed.close()
            await server.stop()


def ids(events: Sequence[event_pb2.Event]) -> list[str]:
    """Return the ids of events."""
    return [event.event_id for event in events]


def keyed(number: int) -> str:
    """Return the id that a gateway gives to an event with a key."""
    return f"ded2093e-1a73-5f1c-888b-{number:012x}"
