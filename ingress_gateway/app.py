"""The slow lane: finds the handler of a request, traces it when sampled, and turns errors into problems."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import unquote

from aiohttp import web
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

from ingress_gateway.answer import SERVER
from ingress_gateway.arrival import Arrival, without_secret_keys
from ingress_gateway.gateway import Call, Gateway
from ingress_gateway.links import LINK, PREFIX
from ingress_gateway.problems import problem
from ingress_gateway.protocol import GatewayProtocol
from svc_runtime.errors import Code, InternalError, NotFoundError, TrellisError
from svc_runtime.logs import get_logger

Handler = Callable[[Call], Awaitable[web.StreamResponse]]
_CORS_MAX_AGE_SECONDS = 86_400
_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_log = get_logger(__name__)
_tracer = trace.get_tracer("trellis.ingress_gateway")


class MethodNotAllowedError(TrellisError):
    """The path is there, for other methods."""

    code = Code.METHOD_NOT_ALLOWED

    def __init__(self, message: str, *, allowed: list[str]) -> None:
        super().__init__(message)
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """One line of the routing table."""

    methods: tuple[str, ...]
    """Upper case; empty means any."""
    template: str
    """Path with ``{variables}``; one may hold anything but a slash and a colon."""
    handler: Handler
    is_capture: bool = False
    """Open to browsers of any origin."""

    def takes(self, method: str) -> bool:
        """Whether it is for requests of this method."""
        return not self.methods or method in self.methods


class Router:
    """Paths to handlers. Fixed paths are one look-up; templates are tried in order."""

    def __init__(self, routes: list[HttpRoute]) -> None:
        self.routes = routes
        self._fixed: dict[str, list[HttpRoute]] = {}
        self._patterns: list[tuple[re.Pattern[str], HttpRoute]] = []
        self._link = next(route for route in routes if route.template == LINK)
        for route in routes:
            if "{" in route.template:
                pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/:]+)", re.escape(route.template))
                self._patterns.append((re.compile(pattern), route))
            else:
                self._fixed.setdefault(route.template, []).append(route)

    def find(self, method: str, path: str) -> tuple[HttpRoute, dict[str, str]]:
        """Return the route and its variables; raise NotFoundError or MethodNotAllowedError."""
        if path.startswith(PREFIX):
            # A mistyped link may hold anything, and is a click all the same.
            return self._link, {"slug": unquote(path[len(PREFIX) :])}
        fixed = self._fixed.get(path, ())
        for route in fixed:
            if route.takes(method):
                return route, {}
        candidates = [(route, dict[str, str]()) for route in fixed]
        for pattern, route in self._patterns:
            found = pattern.fullmatch(path)
            if found:
                candidates.append((route, {name: unquote(value) for name, value in found.groupdict().items()}))
        for route, variables in candidates:
            if route.takes(method):
                return route, variables
        if candidates:
            allowed = sorted({m for route, _ in candidates for m in route.methods})
            raise MethodNotAllowedError(
                f"{method} is not allowed on this path; allowed are {', '.join(allowed)}", allowed=allowed
            )
        raise NotFoundError("there is nothing at this path")


class App:
    """The handler that aiohttp calls for every request of the slow lane."""

    def __init__(self, gateway: Gateway, routes: list[HttpRoute]) -> None:
        self._gateway = gateway
        self._router = Router(routes)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        protocol = cast("GatewayProtocol", request.protocol)
        authority, path_and_query = _split_target(request.raw_path)
        arrival = Arrival(
            request.method,
            path_and_query,
            f"{request.version.major}.{request.version.minor}",
            request.headers,
            request.raw_headers,
            protocol.peer,
        )
        if authority:
            # RFC 9112: the target's host counts, whatever the header says.
            arrival.host = authority
            arrival.target = request.raw_path.encode("utf-8", "surrogateescape")
        if protocol.odd_target is not None:
            arrival.target, protocol.odd_target = protocol.odd_target, None
        is_sampled, protocol.is_sampled = protocol.is_sampled, None
        if is_sampled is None:
            is_sampled = self._gateway.sampler.wants(arrival)
        route: HttpRoute | None = None
        try:
            if arrival.method == "OPTIONS":
                return self._preflight(arrival)
            route, variables = self._router.find(arrival.method, arrival.path)
            call = Call(self._gateway, request, arrival, variables, trace_id=arrival.trace()[0])
            if is_sampled:
                response = await self._traced(route, call)
            else:
                response = await route.handler(call)
        except TrellisError as error:
            response = problem(error)
            if not request.content.is_eof():
                # What is left of the body is not read: the connection cannot be used again.
                response.force_close()
            if isinstance(error, MethodNotAllowedError):
                response.headers["Allow"] = ", ".join(error.allowed)
            if error.code.http_status < 500:
                self._gateway.counters.refused_request_count += 1
            elif error.code is Code.INTERNAL:
                self._gateway.counters.server_error_count += 1
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - the last line of defence: its text must not reach the client
            self._gateway.counters.server_error_count += 1
            _log.exception("unhandled error in a request", path=_shown(arrival))
            response = problem(InternalError())
        if route is not None and route.is_capture and "Origin" in arrival.headers and not response.prepared:
            _allow_origin(arrival, response)
        # Instead of aiohttp's own, which tells versions.
        response.headers["Server"] = SERVER
        return response

    def _preflight(self, arrival: Arrival) -> web.Response:
        """Let pages of any origin send events; the other routes are not for pages."""
        wanted = arrival.headers.get("Access-Control-Request-Method", "OPTIONS")
        route, _ = self._router.find(wanted, arrival.path)
        response = web.Response(status=204)
        if route.is_capture:
            _allow_origin(arrival, response)
            response.headers["Access-Control-Allow-Methods"] = "GET, POST"
            wanted_headers = arrival.headers.get("Access-Control-Request-Headers", "*")
            response.headers["Access-Control-Allow-Headers"] = _plain(wanted_headers)
            response.headers["Access-Control-Max-Age"] = str(_CORS_MAX_AGE_SECONDS)
        return response

    async def _traced(self, route: HttpRoute, call: Call) -> web.StreamResponse:
        parent = propagate.extract(call.arrival.headers)
        method = call.arrival.method
        with _tracer.start_as_current_span(
            f"{method} {route.template}",
            context=parent,
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route.template, "url.path": _shown(call.arrival)},
        ) as span:
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            call.traceparent = carrier.get("traceparent", "")
            call.trace_id = format(span.get_span_context().trace_id, "032x")
            response = await route.handler(call)
            span.set_attribute("http.response.status_code", response.status)
            return response


def _split_target(target: str) -> tuple[str, str]:
    """Return the host, and path and query, of a request target; the host only in absolute form, as proxies send it."""
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return "", target
    rest = found[2]
    return found[1].rpartition("@")[2], rest if rest.startswith("/") else f"/{rest}"


def _allow_origin(arrival: Arrival, response: web.StreamResponse) -> None:
    response.headers["Access-Control-Allow-Origin"] = _plain(arrival.headers.get("Origin", "*"))
    response.headers["Access-Control-Allow-Credentials"] = "true"
    response.headers["Access-Control-Expose-Headers"] = "X-Trellis-Event-Id, X-Trellis-Outcome"
    response.headers["Vary"] = "Origin"


def _shown(arrival: Arrival) -> str:
    """Return the path as a trace or a log may hold it: partners have their token there."""
    return without_secret_keys(arrival.path.encode("utf-8", "replace")).decode()


def _plain(value: str) -> str:
    """Return a header value that is to be sent back, or ``null`` when it is not ASCII: no browser sends that."""
    return value if value.isascii() else "null"
