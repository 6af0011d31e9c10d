"""HTTP/1.1 by hand: bytes out, bytes in, and a reader that forgives nothing."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

SECONDS = 5.0
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) [ -~]*")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([ -~\x80-\xff]*)")


@dataclass
class Response:
    """One response as it was on the wire."""

    status: int
    pairs: list[tuple[str, str]]
    body: bytes = b""
    head: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str | None:
        """Return the one value of a header, or None."""
        values = [value for held, value in self.pairs if held.lower() == name.lower()]
        assert len(values) <= 1, f"{name} is there {len(values)} times"
        return values[0] if values else None

    @property
    def location(self) -> str:
        return self.header("Location") or ""

    @property
    def event_id(self) -> str:
        return self.header("X-Trellis-Event-Id") or ""

    @property
    def outcome(self) -> str:
        return self.header("X-Trellis-Outcome") or ""

    @property
    def closes(self) -> bool:
        return (self.header("Connection") or "").lower() == "close"


def request(
    target: str | bytes = "/in/summer_sale",
    *headers: str | bytes,
    method: str = "GET",
    host: str | None = "track.acmecorp.com",
    body: bytes = b"",
    version: str = "1.1",
) -> bytes:
    """Return a request; a body brings its Content-Length unless the headers tell its length."""
    lines = [_bytes(header) for header in headers]
    if host is not None:
        lines.insert(0, b"Host: " + _bytes(host))
    told = any(line.lower().startswith((b"content-length", b"transfer-encoding")) for line in lines)
    if body and not told:
        lines.append(b"Content-Length: %d" % len(body))
    head = b"%b %b HTTP/%b\r\n" % (method.encode(), _bytes(target), version.encode())
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def parse(data: bytes, methods: Sequence[str] = ()) -> tuple[list[Response], bytes]:
    """Return the whole responses in ``data`` and what is left; interim responses are skipped."""
    found: list[Response] = []
    while b"\r\n\r\n" in data:
        head, _, rest = data.partition(b"\r\n\r\n")
        status_line, *lines = head.split(b"\r\n")
        matched = _STATUS_LINE.fullmatch(status_line)
        assert matched, f"no status line: {status_line[:100]!r}"
        pairs = []
        for line in lines:
            header = _HEADER.fullmatch(line)
            assert header, f"no header: {line[:200]!r}"
            pairs.append((header[1].decode(), header[2].decode("latin-1")))
        response = Response(int(matched[1]), pairs, head=head)
        if response.status == 100:
            data = rest
            continue
        method = methods[len(found)] if len(found) < len(methods) else "GET"
        length = int(response.header("Content-Length") or 0)
        assert response.header("Transfer-Encoding") is None
        if method == "HEAD" or response.status == 204:
            length = 0
        if len(rest) < length:
            break
        response.body, data = rest[:length], rest[length:]
        found.append(response)
    return found, data


class Connection:
    """An open connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.left = b""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self, count: int = 1, *, methods: Sequence[str] = (), seconds: float = SECONDS) -> list[Response]:
        """Read so many responses."""
        found: list[Response] = []
        async with asyncio.timeout(seconds):
            while True:
                some, self.left = parse(self.left, methods[len(found) :])
                found += some
                if len(found) >= count:
                    assert len(found) == count, f"{len(found)} responses to {count} requests"
                    return found
                more = await self.reader.read(65536)
                assert more, f"closed after {len(found)} of {count} responses: {self.left[-300:]!r}"
                self.left += more

    async def ask(self, data: bytes) -> Response:
        """Send a request and read its response."""
        await self.send(data)
        return (await self.receive())[0]

    async def closed(self, *, seconds: float = SECONDS) -> bytes:
        """Read until the other side closes; return what came."""
        with suppress(ConnectionResetError):
            async with asyncio.timeout(seconds):
                while more := await self.reader.read(65536):
                    self.left += more
        return self.left


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def talk(
    port: int, data: bytes, count: int = 1, *, methods: Sequence[str] = (), seconds: float = SECONDS
) -> list[Response]:
    """Send bytes, read so many responses, and see that there is nothing more."""
    async with connection(port) as held:
        await held.send(data)
        found = await held.receive(count, methods=methods, seconds=seconds)
        assert not held.left, f"more than {count} responses: {held.left[:300]!r}"
        return found


async def talk_until_closed(port: int, data: bytes, *, seconds: float = SECONDS) -> bytes:
    """Send bytes and read until the other side closes."""
    async with connection(port) as held:
        with suppress(ConnectionError):
            await held.send(data)
        return await held.closed(seconds=seconds)
