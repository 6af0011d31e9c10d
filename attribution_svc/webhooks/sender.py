"""Sends one request to a stranger's server: guarded, in bounded time, and reading no more than we keep."""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from attribution_svc.webhooks.attempt import KEPT_BODY_BYTES, Failure, Outcome
from attribution_svc.webhooks.guard import Guard, RefusedAddressError

MOST_REDIRECTS = 3
USER_AGENT = "Trellis-Webhooks/1"
_MOST_LOOKUPS = 32
_MOST_LOOKUPS_EACH = 8
"""Of one organisation."""
_MOST_READ_BYTES = 64 * 1024
_BODY_SECONDS = 3.0
_LAST_SECONDS = 0.1
_MAX_HEADER_BYTES = 16 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEP_METHOD = frozenset({307, 308})
_MAX_DETAIL_CHARACTERS = 300

# sockaddr and the rest, as getaddrinfo returns them
_AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What goes on the wire, secrets included."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    secret_headers: frozenset[str] = frozenset()
    """Names, in lower case, of those that no other host may see."""
    follows_redirects: bool = False
    organization_id: str = ""


asking_organization: ContextVar[str] = ContextVar("asking_organization", default="")
"""For whom the present task looks names up: a connector does not tell its resolver."""


class GuardedResolver(AbstractResolver):
    """Asks the machine's name servers, and refuses a host that has any address that we do not go to.

    A look-up blocks a thread, of a pool of its own, for as long as name servers take; of one host there is one at a
    time, and of one organisation a few, so those whose name servers hang do not take them all.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._threads = ThreadPoolExecutor(_MOST_LOOKUPS, thread_name_prefix="webhook-names")
        self._running: dict[tuple[str, int], asyncio.Task[list[ResolveResult]]] = {}
        self._rooms: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_MOST_LOOKUPS_EACH))
        """By organisation."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raise OSError, RefusedAddressError among them."""
        task = self._running.get((host, port)) or await self._begin(host, port, family)
        # Whoever gives up does so alone: the others still wait.
        return await asyncio.shield(task)

    async def _begin(self, host: str, port: int, family: socket.AddressFamily) -> asyncio.Task[list[ResolveResult]]:
        """Begin a look-up when the organisation has room for it. Its room is taken as long as the name servers take."""
        key, room = (host, port), self._rooms[asking_organization.get()]
        await room.acquire()
        if (running := self._running.get(key)) is not None:
            room.release()
            return running
        task = self._running[key] = asyncio.create_task(self._look_up(host, port, family))

        def end(_: asyncio.Task[list[ResolveResult]]) -> None:
            del self._running[key]
            room.release()

        task.add_done_callback(end)
        return task

    async def _look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        ask = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, family=family)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        for *_, address in found:
            self._guard.check_address(str(address[0]), port)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=family_,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family_, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Sender:
    """Sends requests, over connections that may serve the next one too."""

    def __init__(self, session: aiohttp.ClientSession, guard: Guard, total_seconds: float) -> None:
        self._session = session
        self._guard = guard
        self._total_seconds = total_seconds

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        guard: Guard,
        *,
        total_seconds: float,
        most_connections: int,
        resolver: AbstractResolver | None = None,
    ) -> AsyncIterator[Self]:
        """Hold connections for the time of the block. One request, redirects included, takes ``total_seconds``."""
        names = resolver or GuardedResolver(guard)
        connector = aiohttp.TCPConnector(
            limit=most_connections,
            resolver=names,
            use_dns_cache=False,
            keepalive_timeout=15,
            # The last word: whatever was resolved, and however, this is what is connected to.
            socket_factory=_checked_socket(guard),
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            # What is compressed is not unpacked: it may be large.
            auto_decompress=False,
            trust_env=False,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        async with session:
            try:
                yield cls(session, guard, total_seconds)
            finally:
                await names.close()

    async def send(self, outgoing: Outgoing) -> Outcome:
        """Send a request and return what came of it; nothing is raised but cancellation."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        asking_organization.set(outgoing.organization_id)
        try:
            async with asyncio.timeout(self._total_seconds):
                outcome = await self._follow(outgoing, started + self._total_seconds)
        except TimeoutError:
            outcome = Outcome(Failure.TIMEOUT, detail=f"no whole answer within {self._total_seconds:g} s")
        except RefusedAddressError as error:
            outcome = Outcome(Failure.REFUSED_ADDRESS, detail=str(error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            outcome = _failed(error)
        return replace(outcome, duration=timedelta(seconds=loop.time() - started))

    async def _follow(self, outgoing: Outgoing, deadline: float) -> Outcome:
        for _ in range(MOST_REDIRECTS + 1):
            self._guard.check_url(outgoing.url)
            outcome, location = await self._once(outgoing, deadline)
            if not (outgoing.follows_redirects and outcome.status in _REDIRECTS and location):
                return outcome
            outgoing = redirected(outgoing, outcome.status, location)
        return Outcome(Failure.REFUSED_ADDRESS, detail=f"more than {MOST_REDIRECTS} redirects")

    async def _once(self, outgoing: Outgoing, deadline: float) -> tuple[Outcome, str]:
        async with self._session.request(
            outgoing.method,
            URL(outgoing.url, encoded=True),
            data=outgoing.body or None,
            headers={"User-Agent": USER_AGENT, "Accept": "*/*", **outgoing.headers},
            skip_auto_headers=("Content-Type",),
            allow_redirects=False,
        ) as response:
            body = await _read(response, deadline)
            is_success = 200 <= response.status < 300
            outcome = Outcome(
                Failure.NONE if is_success else Failure.STATUS,
                status=response.status,
                body=body,
                retry_after=retry_after(response.headers.get("Retry-After", ""), datetime.now(UTC)),
            )
            return outcome, response.headers.get("Location", "")


def redirected(outgoing: Outgoing, status: int, location: str) -> Outgoing:
    """Return the next request. Raise RefusedAddressError where it would leave https."""
    # Whatever a stranger wrote there becomes a well-formed URL, or an error.
    url = str(URL(urljoin(outgoing.url, location)))
    before, after = urlsplit(outgoing.url), urlsplit(url)
    if before.scheme == "https" and after.scheme != "https":
        raise RefusedAddressError("a redirect leads from https to http")
    headers, secret = dict(outgoing.headers), outgoing.secret_headers
    if (before.scheme, before.netloc) != (after.scheme, after.netloc):
        headers = {name: value for name, value in headers.items() if name.lower() not in secret}
    if status in _KEEP_METHOD or outgoing.method == "GET":
        return replace(outgoing, url=url, headers=headers)
    headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
    return replace(outgoing, method="GET", url=url, headers=headers, body=b"")


def retry_after(text: str, now: datetime) -> timedelta | None:
    """Read a Retry-After header: seconds or a date; None for what is neither, or past."""
    text = text.strip()
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        return timedelta(seconds=int(text))
    try:
        instant = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return instant - now if instant > now else None


async def _read(response: aiohttp.ClientResponse, deadline: float) -> bytes:
    """Return the first 2 KiB of the answer.

    A little more is read, so that the connection can serve again. The status has said what there is to say: a body that
    is long, slow or broken is cut, and takes nothing back.
    """
    kept = bytearray()
    count = 0
    try:
        # A little before the whole attempt is out of time, which would be a failure.
        now = asyncio.get_running_loop().time()
        async with asyncio.timeout_at(min(now + _BODY_SECONDS, deadline - _LAST_SECONDS)):
            async for chunk in response.content.iter_any():
                kept += chunk[: KEPT_BODY_BYTES - len(kept)]
                count += len(chunk)
                if count > _MOST_READ_BYTES:
                    response.close()
                    break
    except (TimeoutError, aiohttp.ClientError, OSError):
        response.close()
    return bytes(kept)


def _checked_socket(guard: Guard) -> Callable[[_AddrInfo], socket.socket]:
    def make(info: _AddrInfo) -> socket.socket:
        family, kind, proto, _, address = info
        guard.check_address(str(address[0]), int(address[1]))
        made = socket.socket(family, kind, proto)
        made.setblocking(False)
        return made

    return make


def _failed(error: Exception) -> Outcome:
    """Say why there was no answer, in words that hold nothing of the request."""
    inner = getattr(error, "os_error", None)
    if isinstance(inner, RefusedAddressError):
        return Outcome(Failure.REFUSED_ADDRESS, detail=str(inner))
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Outcome(Failure.DNS, detail="the host has no address")
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or "not valid"
            return Outcome(Failure.TLS, detail=f"certificate: {reason}"[:_MAX_DETAIL_CHARACTERS])
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return Outcome(Failure.TLS, detail="no TLS connection")
        case aiohttp.ClientConnectorError():
            reason = inner.strerror if isinstance(inner, OSError) and inner.strerror else "no connection"
            return Outcome(Failure.CONNECT, detail=reason[:_MAX_DETAIL_CHARACTERS])
        case aiohttp.InvalidURL() | ValueError():
            return Outcome(Failure.REFUSED_ADDRESS, detail="this is no URL that we can go to")
        case _:
            return Outcome(Failure.RESET, detail=f"the connection broke: {type(error).__name__}")
