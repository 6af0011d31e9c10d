"""Clients under load: clicks, pixels, events, batches and postbacks, every one entered in the ledger."""

import asyncio
import contextlib
import json
import random
import re
import time
from collections.abc import AsyncIterator, Mapping

from tests.faults.ledger import Fate, Ledger, Sent
from trellisctl import demo

MIX = {"click": 70, "pixel": 8, "event": 12, "batch": 5, "postback": 5}
CLICKS = {"click": 1}
FILLING = {"click": 60, "bulk": 30, "event": 10}
"""Clicks among bodies that fill a disk."""
_ANSWER_SECONDS = 15.0
_BATCH_ITEMS = 5
_BULK_BYTES = 16 * 1024
_REPEAT_SHARE = 0.05
"""Of the keyed events that were acknowledged, how many are sent once more: a client that did not trust the answer."""
_FRESH_SHARE = 0.02
"""How often a connection is given up for a new one."""
_HEADER = re.compile(
    rb"\r\n(Content-Length|X-Trellis-Outcome|X-Trellis-Event-Id|Location|Retry-After): ([^\r]*)", re.IGNORECASE
)


class Answer:
    """What came back."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, head: bytes) -> None:
        self.status = int(head[9:12])
        self.headers: dict[bytes, str] = {n.lower(): v.decode("latin-1") for n, v in _HEADER.findall(head)}
        self.body = b""

    @property
    def outcome(self) -> str:
        """``stored``, ``unrecorded``… or nothing."""
        return self.headers.get(b"x-trellis-outcome", "")


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("closed before the answer"))

    def data_received(self, data: bytes) -> None:
        """Collect the answer."""
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0 or self._answer is None or self._answer.done():
            return
        answer = Answer(self._received[: end + 2])
        length = int(answer.headers.get(b"content-length", "0"))
        if len(self._received) >= end + 4 + length:
            answer.body = self._received[end + 4 : end + 4 + length]
            self._received = self._received[end + 4 + length :]
            self._answer.set_result(answer)

    @property
    def is_open(self) -> bool:
        """True while it can be used."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> Answer:
        """Send a request and return its answer. Raises OSError or TimeoutError when none comes."""
        if self._transport is None:
            raise ConnectionResetError("closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await self._answer

    def close(self) -> None:
        """Give it up."""
        if self._transport is not None:
            self._transport.abort()


class Load:
    """Many clients at a steady pace."""

    def __init__(
        self,
        port: int,
        ledger: Ledger,
        *,
        seed: int,
        rate: float,
        mix: Mapping[str, int] = MIX,
        connection_count: int = 24,
    ) -> None:
        self._port = port
        self._ledger = ledger
        self._random = random.Random(seed)
        self._kinds, self._weights = list(mix), list(mix.values())
        self._interval = 1 / rate
        self._connection_count = connection_count
        self._due_at = 0.0
        self._ends = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send for the time of the block; at its end every request that was begun gets its answer, or none."""
        self._due_at = time.monotonic()
        clients = [asyncio.create_task(self._client()) for _ in range(self._connection_count)]
        try:
            yield
        finally:
            self._ends.set()
            await asyncio.gather(*clients)

    async def _client(self) -> None:
        connection: Connection | None = None
        try:
            while await self._turn():
                sent, request = self._compose()
                connection = await self._send(sent, request, connection)
                while sent.is_keyed and self._is_sent_again(sent):
                    await asyncio.sleep(0.05)
                    connection = await self._send(sent, request, connection)
        finally:
            if connection is not None:
                connection.close()

    async def _turn(self) -> bool:
        """Wait for the next slot; False at the end. A client that falls behind does not make up for it in a burst."""
        if self._ends.is_set():
            return False
        now = time.monotonic()
        self._due_at = max(self._due_at + self._interval, now - 0.05)
        if self._due_at > now:
            await asyncio.sleep(self._due_at - now)
        return not self._ends.is_set()

    def _is_sent_again(self, sent: Sent) -> bool:
        if sent.fate is Fate.ACKNOWLEDGED:
            return sent.acknowledged_count == 1 and self._random.random() < _REPEAT_SHARE
        return sent.attempt_count < 200 and not self._ends.is_set()

    # -- requests -------------------------------------------------------------------------------------------------

    def _compose(self) -> tuple[Sent, bytes]:
        kind = self._random.choices(self._kinds, self._weights)[0]
        sent, method, headers, body = getattr(self, f"_{kind}")()
        lines = [f"{method} {sent.target} HTTP/1.1", f"Host: {demo.HOST}", "User-Agent: ledger/1.0", *headers]
        if method == "POST":
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return sent, "\r\n".join([*lines, "", ""]).encode() + body

    def _click(self) -> tuple[Sent, str, list[str], bytes]:
        link = f"/in/{demo.CAMPAIGN_ID}?lid={{lid}}&click_id=fb_{{lid}}&source=facebook&medium=cpc"
        return self._ledger.new("click", link), "GET", ["Accept: text/html"], b""

    def _pixel(self) -> tuple[Sent, str, list[str], bytes]:
        return self._ledger.new("pixel", "/pixel?lid={lid}&e=view"), "GET", ["Accept: image/*"], b""

    def _event(self) -> tuple[Sent, str, list[str], bytes]:
        body = json.dumps({"event": "purchase", "value": 42, "chance": self._random.random()}).encode()
        sent = self._ledger.new("event", "/events?lid={lid}", bodies=(body,), is_keyed=True)
        headers = [f"Idempotency-Key: {sent.lid}", f"Authorization: Bearer {demo.PUBLISHABLE_KEY}"]
        return sent, "POST", headers, body

    def _bulk(self) -> tuple[Sent, str, list[str], bytes]:
        body = json.dumps({"event": "bulk", "padding": self._random.randbytes(_BULK_BYTES // 2).hex()}).encode()
        return self._ledger.new("bulk", "/events?lid={lid}", bodies=(body,)), "POST", [], body

    def _batch(self) -> tuple[Sent, str, list[str], bytes]:
        items = tuple(
            json.dumps({"event": "pageview", "item": item, "chance": self._random.random()}).encode()
            for item in range(_BATCH_ITEMS)
        )
        return self._ledger.new("batch", "/batch?lid={lid}", bodies=items), "POST", [], b"[" + b", ".join(items) + b"]"

    def _postback(self) -> tuple[Sent, str, list[str], bytes]:
        sent = self._ledger.new("postback", "/postback?lid={lid}&event=sale&payout=1.5")
        return sent, "GET", ["Accept: application/json"], b""

    # -- answers --------------------------------------------------------------------------------------------------

    async def _send(self, sent: Sent, request: bytes, connection: Connection | None) -> Connection | None:
        """Send once, enter what came of it, and return a connection for the next request, if there is one."""
        if connection is None or not connection.is_open or self._random.random() < _FRESH_SHARE:
            if connection is not None:
                connection.close()
            connection = await self._connect()
            if connection is None:
                return None
        sent.attempt_count += 1
        began = time.monotonic()
        try:
            answer = await connection.ask(request)
        except (OSError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                sent.problem = f"no answer within {_ANSWER_SECONDS:g} s"
            connection.close()
            return None
        took = time.monotonic() - began
        if sent.kind == "click":
            self._ledger.redirect_seconds.append(took)
        self._enter(sent, answer)
        return connection

    async def _connect(self) -> Connection | None:
        try:
            async with asyncio.timeout(5):
                _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self._port)
        except (OSError, TimeoutError):
            # Nobody listens at this moment.
            await asyncio.sleep(0.02)
            return None
        return connection

    def _enter(self, sent: Sent, answer: Answer) -> None:
        sent.status = answer.status
        expected = 302 if sent.kind == "click" else 200
        if answer.status != expected:
            if answer.status == 503 and b"retry-after" not in answer.headers:
                sent.problem = "a 503 without Retry-After"
            if sent.fate is not Fate.ACKNOWLEDGED:
                sent.fate = Fate.REFUSED
            return
        if sent.kind == "click" and f"lid={sent.lid}&" not in answer.headers.get(b"location", ""):
            sent.problem = f"the Location is not ours: {answer.headers.get(b'location')}"
        if answer.outcome != "stored":
            sent.fate = Fate.LATE if answer.outcome == "late" else Fate.UNRECORDED
            return
        ids = _event_ids(sent, answer)
        if sent.acknowledged_count and ids != sent.event_ids:
            sent.problem = f"the repeat was given other ids: {ids}"
        sent.acknowledged_count += 1
        sent.event_ids = sent.event_ids or ids
        sent.fate = Fate.ACKNOWLEDGED


def _event_ids(sent: Sent, answer: Answer) -> tuple[str, ...]:
    if sent.kind == "batch":
        return tuple(item["event_id"] for item in json.loads(answer.body)["items"])
    return (answer.headers.get(b"x-trellis-event-id", ""),)
