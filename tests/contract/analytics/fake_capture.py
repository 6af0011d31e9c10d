"""A capture_svc that feeds what a test put in: its pages are cut by chance, it repeats itself, and it can break."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr

from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_server import GrpcServer
from svc_runtime.settings import MeshSettings
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc as pb_grpc
from trellis.capture.v1 import event_pb2

SECRET = "m" * 32
MESH = MeshSettings(mesh_secret=SecretStr(SECRET), drain_seconds=0)
# The last second of a month and the first of the next: a page that crosses it becomes two parts of the table.
MONTH_END_MS = 1_767_225_600_000


def make_event(number: int, *, journal_id: str = "a" * 32) -> event_pb2.Event:
    """Return a click, or of every five the postback of one, with every field filled; a number gives one event."""
    is_postback = number % 5 == 4
    click = number - number % 15
    query = f"n={number}&cost=0.01&utm_source=s{number % 3}&x=".encode() + b"\xff\x00\xfe"
    return event_pb2.Event(
        organization_id=f"org_{number % 3}",
        event_id=f"019b76da-a800-7000-8000-{number:012x}",
        event_time_ms=MONTH_END_MS + (number % 7 - 3) * 400,
        event_type=b"purchase" if is_postback else b"click",
        route="postback" if is_postback else "in",
        method="GET",
        target=f"/postback?click_id=click{click}&amount=9.99&cur=EUR".encode() if is_postback else b"/in/sale?" + query,
        http_version="1.1",
        headers=b"Host: t.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Firefox/126\r\nX: \xff\r\n",
        body=b"",
        peer_address="198.51.100.42:1",
        ip="198.51.100.42",
        scheme="https",
        host=b"t.example",
        click_id="" if is_postback else f"click{number}",
        external_click_id=f"fb_{number}".encode(),
        user_id="" if is_postback else f"usr_{number % 11}",
        campaign_id="cmp_1",
        campaign_version=3,
        location=b"https://shop.example/",
        status=302,
        marks=["late", "odd"][: number % 3],
        trace_id="0" * 32,
        journal_id=journal_id,
        sequence=number + 1,
        idempotency_key=b"k",
        item_index=number % 4,
        key_id="key",
    )


class FakeCapture(pb_grpc.CaptureServiceServicer):
    """Feeds ``journals``; the cursor says how many events of each were given out."""

    def __init__(self, *, seed: int = 0, largest_page: int = 50) -> None:
        self.journals: dict[str, list[bytes]] = {}
        self.subscriptions: list[pb.SubscribeRequest] = []
        self.die_after_pages = 0
        """How many pages a subscription lives; 0: for ever."""
        self.repeats = 0
        """How many events of each journal come again at the start of a subscription."""
        self.heartbeat_seconds = 0.05
        self.is_mute = False
        self.largest_page = largest_page
        self.given = b""
        """The last cursor that was given out."""
        self._random = random.Random(seed)

    def put(self, count: int, *, journal_id: str = "a" * 32) -> None:
        """Store ``count`` more events in a journal."""
        journal = self.journals.setdefault(journal_id, [])
        offset = sum(map(len, self.journals.values()))
        journal += [
            make_event(number, journal_id=journal_id).SerializeToString() for number in range(offset, offset + count)
        ]

    def events(self) -> dict[str, event_pb2.Event]:
        """Return all events by their ids."""
        found = [event_pb2.Event.FromString(event) for journal in self.journals.values() for event in journal]
        return {event.event_id: event for event in found}

    def end(self) -> bytes:
        """Return the cursor after everything."""
        return self._cursor({name: len(events) for name, events in self.journals.items()})

    async def Subscribe(self, request: pb.SubscribeRequest, context: Any) -> AsyncIterator[pb.SubscribeResponse]:
        """Feed from the cursor on."""
        self.subscriptions.append(request)
        given: dict[str, int] = json.loads(request.cursor or b"{}")
        given = {name: max(0, count - self.repeats) for name, count in given.items()}
        page_count = 0
        while True:
            if self.die_after_pages and page_count >= self.die_after_pages:
                raise UnavailableError("the fake dies")
            while self.is_mute:  # noqa: ASYNC110 - a test flips it
                await asyncio.sleep(0.01)
            events = self._take(given, request.max_event_count)
            if not events:
                await asyncio.sleep(self.heartbeat_seconds)
            page_count += 1
            self.given = self._cursor(given)
            watermark = Timestamp()
            watermark.GetCurrentTime()
            # The concatenation of records is the batch: as capture_svc sends it.
            batch = b"".join(_record(event) for event in events)
            yield pb.SubscribeResponse(
                events=batch, event_count=len(events), cursor=self._cursor(given), watermark_time=watermark
            )

    def _take(self, given: dict[str, int], limit: int) -> list[bytes]:
        size = min(limit, self._random.randint(1, self.largest_page))
        events: list[bytes] = []
        for name in self._random.sample(sorted(self.journals), len(self.journals)):
            start = given.get(name, 0)
            piece = self.journals[name][start : start + self._random.randint(1, size)]
            given[name] = start + len(piece)
            events += piece
        return events

    @staticmethod
    def _cursor(given: dict[str, int]) -> bytes:
        return json.dumps(given, sort_keys=True).encode()


def _record(event: bytes) -> bytes:
    return event_pb2.EventBatch(events=[event_pb2.Event.FromString(event)]).SerializeToString()


@contextlib.asynccontextmanager
async def serving(fake: FakeCapture, *, port: int = 0) -> AsyncIterator[int]:
    """Serve the fake for the time of the block; gives the port."""
    server = GrpcServer(MESH, service_names=[])
    server.add(lambda s: pb_grpc.add_CaptureServiceServicer_to_server(fake, s))
    bound = await server.start(f"127.0.0.1:{port}")
    try:
        yield bound
    finally:
        await server.stop()
