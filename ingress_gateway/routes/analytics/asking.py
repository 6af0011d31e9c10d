"""There and back: a question becomes a call of analytics_svc, and what came of it JSON, in the client's own names."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson
from aiohttp import web

from ingress_gateway.answer import JSON, Answer
from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.responses import respond
from ingress_gateway.routes.analytics.question import Question
from svc_runtime.errors import Code, InvalidArgumentError, TrellisError, Violation

if TYPE_CHECKING:
    import grpc

    from trellis.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceAsyncStub

SCOPE = "analytics:read"
LONGEST_BODY_BYTES = 2 * 1024 * 1024
"""A filter may hold 1 MiB of values."""
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
_NAMES = {
    "slice.time_range": "end",
    "slice.dimension_filters": "where",
    "slice.includes_bots": "include_bots",
    "comparison": "compare",
    "is_ascending": "order",
    "page_size": "limit",
}
"""What the parameters are called in most reports. Rules are checked here, under the client's names."""


@dataclass(frozen=True, slots=True)
class Report(Generic[RequestT, ResponseT]):
    """A route: the handler of its GET and its POST."""

    build: Callable[[Question], RequestT]
    """Makes the request; what is wrong with the question it refuses there."""
    method: "Callable[[AnalyticsServiceAsyncStub, RequestT], grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]]"
    """Chooses what to call."""
    view: Callable[[RequestT, ResponseT], Any]
    """Makes the JSON."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What the client calls the fields of the request, where it has another name for them."""

    async def __call__(self, call: Call) -> web.StreamResponse:
        """Answer."""
        api = ApiCall(call, SCOPE)
        body = await api.body_bytes(LONGEST_BODY_BYTES) if call.arrival.method == "POST" else None
        # A filter's expressions take time to compile, a long answer to write: not on the loop that redirects people.
        request = await asyncio.to_thread(self._read, call.arrival.query, body)
        try:
            seconds = call.gateway.settings.query_seconds
            response = await api.ask(self.method(api.analytics, request), request, seconds=seconds)
        except TrellisError as error:
            raise in_their_names(error, self.names) from None
        return respond(Answer(200, JSON, (), await asyncio.to_thread(self._write, request, response)))

    def _read(self, query: bytes, body: bytes | None) -> RequestT:
        with Question.of(query) if body is None else Question.of_json(body) as asked:
            return self.build(asked)

    def _write(self, request: RequestT, response: ResponseT) -> bytes:
        return orjson.dumps(self.view(request, response))


def in_their_names(error: TrellisError, names: Mapping[str, str]) -> TrellisError:
    """Say which parameters are wrong, where a service named the fields of its request."""
    if error.code is not Code.INVALID_ARGUMENT or not error.violations:
        return error
    return InvalidArgumentError.of([Violation(_renamed(v.field, names), v.description) for v in error.violations])


def _renamed(path: str, names: Mapping[str, str]) -> str:
    for ours, theirs in (*names.items(), *_NAMES.items()):
        if path == ours or path.startswith((f"{ours}.", f"{ours}[")):
            return theirs
    return path.removeprefix("slice.")
