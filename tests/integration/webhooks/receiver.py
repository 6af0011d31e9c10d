"""A stranger's server, as friendly or as hostile as a test wants it."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from multidict import CIMultiDict


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    target: str
    headers: "CIMultiDict[str]"
    body: bytes


Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def answer_ok(_request: web.Request) -> web.StreamResponse:
    """Acknowledge."""
    return web.Response(text="OK")


@dataclass
class Receiver:
    """Keeps what it gets, and answers as ``behaves`` says."""

    behaves: Behaviour = answer_ok
    requests: list[Received] = field(default_factory=list)
    acknowledged: Counter[str] = field(default_factory=Counter)
    """By id, what was answered 2xx."""
    at_once: int = 0
    most_at_once: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take a request in."""
        body = await request.read()
        self.requests.append(Received(request.method, request.raw_path, CIMultiDict(request.headers), body))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            response = await self.behaves(request)
        finally:
            self.at_once -= 1
        if 200 <= response.status < 300:
            self.acknowledged[request.headers.get("webhook-id", request.query.get("id", ""))] += 1
        return response

    async def until(self, count: int, seconds: float = 30) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(seconds):
            while len(self.requests) < count:  # noqa: ASYNC110 - a stranger tells nobody
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running_receiver(behaves: Behaviour = answer_ok, *, port: int = 0) -> AsyncIterator[Receiver]:
    """Listen for the time of the block."""
    receiver = Receiver(behaves)
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{tail:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()
