"""The connection: aiohttp's, with a fast lane for clicks and the receive time-outs that aiohttp leaves to us.

A click that is alone on its connection is answered straight from ``data_received``: aiohttp's C parser reads it, the
journal takes it, and the response is written when the event is on disk, without a task, a request or a response object.
Everything else goes the way of aiohttp's own ``RequestHandler``, and so does the connection until that is answered.
Both lanes use the same code for what they answer.
"""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import http_parser, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import BadStatusLine, HttpProcessingError, InvalidURLError
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo

from ingress_gateway.answer import SERVER, Answer, serialize
from ingress_gateway.arrival import NOBODY, ORIGIN, Arrival, Peer, Peers
from ingress_gateway.counters import Counters
from ingress_gateway.links import LATE, PREFIX, UNRECORDED, Links, with_outcome
from ingress_gateway.sampling import Sampler
from ingress_gateway.settings import GatewaySettings
from svc_runtime.logs import get_logger

_HTTP_1_1 = (1, 1)
_VERSIONS = ((1, 1), (1, 0))
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_SERVER_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_SWEEP_SECONDS = 0.5
_log = get_logger(__name__)


def require_c_parser() -> None:
    """Exit unless aiohttp's C parser is in use: the pure Python one is slower, and differs at the edges."""
    if http_parser.HttpRequestParser.__module__ != "aiohttp._http_parser":
        sys.exit("aiohttp runs without its C parser: install its binary wheel")


class GatewayServer(web.Server):
    """Makes the connections, and looks after their time-outs."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        settings: GatewaySettings,
        links: Links,
        sampler: Sampler,
        counters: Counters,
    ) -> None:
        super().__init__(handler, access_log=None)
        self.settings = settings
        self.links = links
        self.sampler = sampler
        self.counters = counters
        self.peers = Peers(settings.trusted_proxies)
        self.loop = asyncio.get_running_loop()

    def __call__(self) -> RequestHandler:
        """Make the protocol of a new connection."""
        return GatewayProtocol(self)

    async def sweep_forever(self) -> None:
        """Close connections that send their headers too slowly, or nothing at all."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = self.loop.time()
            for connection in self.connections:
                cast("GatewayProtocol", connection).check_time(now)


class GatewayProtocol(RequestHandler):
    """One connection."""

    __slots__ = (
        "_active_at",
        "_body",
        "_click",
        "_line",
        "_receiving_since",
        "_server",
        "is_sampled",
        "odd_target",
        "peer",
    )

    def __init__(self, server: GatewayServer) -> None:
        settings = server.settings
        super().__init__(
            server,
            loop=server.loop,
            keepalive_timeout=settings.idle_seconds,
            access_log=None,  # type: ignore[arg-type]  # None turns it off; aiohttp's annotation is too narrow
            max_line_size=settings.max_line_bytes,
            max_field_size=settings.max_line_bytes,
            max_headers=settings.max_header_count,
            auto_decompress=False,
            lingering_time=2.0,
        )
        self._server = server
        self._click: _FastClick | None = None
        self._receiving_since: float | None = None
        self._active_at = server.loop.time()
        self._line: bytes | None = b""
        """In the fast lane, what came of a request line that is not whole yet; None when its headers are coming."""
        self._body: Any = EMPTY_PAYLOAD
        """Of the newest request, in the slow lane."""
        self.odd_target: bytes | None = None
        """The target of the newest request as it came, where it holds bytes that the parser does not take."""
        self.is_sampled: bool | None = None
        """What the fast lane decided about the request that it passed on; None when it did not look."""
        self.peer: Peer = NOBODY

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin in the fast lane: aiohttp's task for the connection is made only when it is needed."""
        server = self._server
        if len(server._connections) >= server.settings.max_connections:
            server.counters.refused_connection_count += 1
            cast("asyncio.Transport", transport).abort()
            return
        BaseProtocol.connection_made(self, transport)
        real = cast("asyncio.Transport", transport)
        server.connection_made(self, real)
        self.peer = server.peers.of(real.get_extra_info("peername"))
        self._receiving_since = self._loop.time()

    def data_received(self, data: bytes) -> None:
        """Answer a lone click at once; hand everything else to aiohttp."""
        if self._task_handler is not None and self._is_between_requests():
            self._leave_slow()
        if self._task_handler is not None or self._click is not None:
            self._receive_slow(data)
            return
        if self._force_close or self._close or self._parser is None:
            return
        try:
            try:
                messages, upgraded, tail = self._parser.feed_data(data)
            except InvalidURLError:
                messages, upgraded, tail = self._feed_escaped(data)
        except HttpProcessingError:
            self._refuse(_BAD_REQUEST)
            return
        self._upgraded = upgraded
        if upgraded and tail:
            self._message_tail = tail
        if not messages:
            self._receive_head(data)
            return
        if self._receiving_since is not None:
            self._receiving_since, self._line = None, b""
        if len(messages) == 1 and not upgraded and self._take_click(*messages[0]):
            return
        if any(message.version not in _VERSIONS for message, _ in messages):
            self._refuse(_BAD_REQUEST)
            return
        for item in messages:
            self._request_count += 1
            self._messages.append(item)
        self._body = messages[-1][1]
        if len(messages) >= self._max_msg_queue_size:
            self._pause_reading_for_buffer()
        self._start_slow()

    def _receive_head(self, data: bytes) -> None:
        """Start the clock of a request that comes in pieces, and keep its line until it is whole."""
        if self._receiving_since is None:
            self._receiving_since = self._loop.time()
        if self._line is not None:
            line = self._line + data
            self._line = None if b"\n" in line else line

    def _feed_escaped(self, data: bytes) -> Any:
        """Feed a request whose target holds bytes beyond ASCII, as old browsers and many networks send them.

        The parser gets them percent-encoded; the event keeps the target as it came. Raise InvalidURLError for whatever
        else may be wrong with it.
        """
        line, end, rest = ((self._line or b"") + data).partition(b"\n")
        words = line.split(b" ")
        if not end and len(line) <= self.max_line_size:
            # The line goes on. The parser has given up, and does so again with what comes next.
            return (), False, b""
        if len(words) != 3 or not _BEYOND_ASCII.search(words[1]):
            raise InvalidURLError("the target holds a character that no URL has")
        self.odd_target = words[1]
        words[1] = _BEYOND_ASCII.sub(lambda found: b"%%%02X" % found[0][0], words[1])
        self._parser = HttpRequestParser(
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=self.max_line_size,
            max_field_size=self.max_field_size,
            max_headers=self.max_headers,
            payload_exception=RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=self._max_msg_queue_size,
        )
        return self._parser.feed_data(b" ".join(words) + end + rest)

    def _take_click(self, message: RawRequestMessage, payload: Any) -> bool:
        """Take the fast lane if the request is a plain click on a live link; return whether it was."""
        if (
            message.method != "GET"
            or payload is not EMPTY_PAYLOAD
            or message.version != _HTTP_1_1
            or not message.path.startswith(PREFIX)
            or ORIGIN in message.headers
            or self._paused
        ):
            return False
        try:
            return self._answer_click(message)
        except Exception:  # noqa: BLE001 - the last line of defence of this lane
            self._server.counters.server_error_count += 1
            _log.exception("unhandled error in a click")
            self._refuse(_SERVER_ERROR)
            return True

    def _answer_click(self, message: RawRequestMessage) -> bool:
        server = self._server
        arrival = Arrival("GET", message.path, "1.1", message.headers, message.raw_headers, self.peer)
        if server.sampler.wants(arrival):
            self.is_sampled = True
            return False
        route = server.links.route_of(arrival)
        plan = None if route is None else server.links.plan(arrival, route)
        if plan is None or not plan.leads_somewhere:
            self.is_sampled = False
            return False
        if self.odd_target is not None:
            arrival.target, self.odd_target = self.odd_target, None
        click = _FastClick(self, closes=message.should_close)
        self._click = click
        server.counters.fast_request_count += 1
        self._parser.message_consumed()  # type: ignore[union-attr]  # checked by the caller
        taken = server.links.take(plan, click)
        click.answer = taken.answer
        # While the disk works.
        click.response = serialize(taken.answer, closes=click.closes)
        if not taken.is_recorded:
            click.send()
        return True

    def _is_between_requests(self) -> bool:
        """True while aiohttp's task waits for the first byte of a request."""
        return (
            self._waiter is not None
            and not self._waiter.done()
            and not self._messages
            and self._receiving_since is None
            and self._body.is_eof()
            and not (self._upgraded or self._close or self._force_close or self._buffer_paused)
        )

    def _leave_slow(self) -> None:
        """Go back to the fast lane: behind a proxy a connection carries many people's requests."""
        if self._task_handler is not None:
            self._task_handler.cancel()
        self._task_handler = self._waiter = None
        self._line = b""

    def _receive_slow(self, data: bytes) -> None:
        now = self._active_at = self._loop.time()
        count = self._request_count
        is_body = not self._body.is_eof()
        begins = not is_body and self._receiving_since is None and self._is_waiting()
        super().data_received(data)
        if self._request_count > count:
            self._receiving_since = None
            self._refuse_versions(self._request_count - count)
            message, payload = self._messages[-1]
            if isinstance(message, RawRequestMessage):
                self._body = payload
            elif is_body and not self._body.is_eof():
                # The body is broken: its request fails at once, instead of waiting for the rest.
                self._body.set_exception(RequestPayloadError("the body's framing is broken"))
            elif begins and isinstance(message.exc, InvalidURLError):
                self._try_escaped(data)
        elif data and not is_body and self._receiving_since is None:
            self._receiving_since = now

    def _refuse_versions(self, count: int) -> None:
        """Refuse, of the newest requests, those of a version that we do not speak; the parser takes some."""
        for index in range(-count, 0):
            message = self._messages[index][0]
            if isinstance(message, RawRequestMessage) and message.version not in _VERSIONS:
                refusal = _ErrInfo(status=400, exc=BadStatusLine("not HTTP/1"), message="")
                self._messages[index] = (refusal, EMPTY_PAYLOAD)

    def _try_escaped(self, data: bytes) -> None:
        """Put the request with the odd target in the place of its refusal."""
        refusal = self._messages.pop()
        try:
            messages, self._upgraded, self._message_tail = self._feed_escaped(data)
        except HttpProcessingError:
            messages = ()
        self._messages.extend(messages or [refusal])
        self._body = self._messages[-1][1]

    def _start_slow(self) -> None:
        self._active_at = self._loop.time()
        self._server.counters.slow_request_count += 1
        self._task_handler = self._loop.create_task(self.start())

    def _refuse(self, response: bytes) -> None:
        """Answer what is not HTTP, or HTTP that two parsers could read in two ways, and close."""
        self._server.counters.refused_request_count += 1
        if self.transport is not None:
            self.transport.write(response)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - the signature is aiohttp's
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - the signature is aiohttp's; the text may repeat the request
    ) -> web.StreamResponse:
        """Answer an error that aiohttp found: the parser's 400 in few words, anything else as our defect."""
        if isinstance(exc, HttpProcessingError | ConnectionError):
            # Who has left reads no answer, and that is no defect of ours.
            self._server.counters.refused_request_count += 1
            response = web.Response(status=400)
        else:
            self._server.counters.server_error_count += 1
            _log.error("unhandled error in a request", error=repr(exc))
            response = web.Response(status=status)
        response.headers["Server"] = SERVER
        response.force_close()
        return response

    def clicked(self) -> None:
        """The click is answered: go on with what arrived meanwhile, if anything did."""
        self._click = None
        self._active_at = self._loop.time()
        if self._messages and not self._force_close:
            self._start_slow()

    def check_time(self, now: float) -> None:
        """Close the connection if its headers take too long, or if nobody uses it."""
        settings = self._server.settings
        if self._receiving_since is not None:
            if now - self._receiving_since > settings.header_seconds and self._is_waiting():
                self._server.counters.timed_out_connection_count += 1
                # Browsers open connections in advance, and would take an answer for that to their first request.
                is_unused = self._task_handler is None and self._line == b""
                if self.transport is not None and not is_unused:
                    self.transport.write(_TIMED_OUT)
                self.force_close()
        elif self._is_waiting():
            if now - self._active_at > settings.idle_seconds:
                self.force_close()
        else:
            self._active_at = now

    def _is_waiting(self) -> bool:
        """True while nothing is being answered on this connection."""
        return self._click is None and self._current_request is None and not self._messages


class _FastClick:
    """Waits for the journal, then writes the response."""

    __slots__ = ("answer", "closes", "is_sent", "protocol", "response")

    answer: Answer

    def __init__(self, protocol: GatewayProtocol, *, closes: bool) -> None:
        self.protocol = protocol
        self.closes = closes
        self.response = b""
        self.is_sent = False

    def settled(self, is_durable: bool) -> None:
        """On disk, or not to be had: the person goes on either way."""
        if not is_durable and not self.is_sent:
            self.protocol._server.counters.unrecorded_redirect_count += 1
            self.response = serialize(with_outcome(self.answer, UNRECORDED), closes=self.closes)
        self.send()

    def overdue(self) -> None:
        """The disk is slow: the redirect leaves, the write goes on."""
        if not self.is_sent:
            self.protocol._server.counters.late_redirect_count += 1
            self.response = serialize(with_outcome(self.answer, LATE), closes=self.closes)
            self.send()

    def send(self) -> None:
        """Write the response, once."""
        if self.is_sent:
            return
        self.is_sent = True
        protocol = self.protocol
        transport = protocol.transport
        if transport is not None:
            transport.write(self.response)
            if self.closes:
                protocol.force_close()
        protocol.clicked()
