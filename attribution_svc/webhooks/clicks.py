"""The clicks that conversions go back to, as capture_svc keeps them."""

import asyncio
from collections.abc import Mapping, Sequence

import grpc

from attribution_svc.webhooks.change import Change, Click, Touch, touch_of
from enrichment.parameters import DEFAULT_ALIASES
from enrichment.requests import first_values, header_pairs, hostname, sent_parameters
from svc_runtime.errors import Code, UnavailableError
from svc_runtime.grpc_client import Credentials
from svc_runtime.logs import get_logger
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc as pb_grpc
from trellis.capture.v1 import event_pb2

SCOPE = "traffic:read"
MOST_PARAMS = 200
LONGEST_VALUE_BYTES = 2048
_SECONDS = 5.0
_MOST_AT_ONCE = 16
_NO_CLICK = frozenset({Code.NOT_FOUND, Code.INVALID_ARGUMENT})
PATIENCE_SECONDS = 600.0
"""How long one click that cannot be read, while capture_svc is there, may keep all others waiting."""
_MOST_FAILING = 10_000
_ALIASES = {"term": "term", "content": "content", "placement": "placement", "cost": "cost", "campaign": "campaign"}
"""Macros, by what the parameters are called in our own names."""
_log = get_logger(__name__)


class CapturedClicks:
    """``Clicks`` of capture_svc, each asked for in the name of its own organisation."""

    def __init__(
        self, channel: grpc.aio.Channel, credentials: Credentials, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._stub: pb_grpc.CaptureServiceAsyncStub = pb_grpc.CaptureServiceStub(channel)
        self._credentials = credentials
        self._patience_seconds = patience_seconds
        self._failing: dict[Touch, float] = {}
        """Since when, by the loop's time."""

    async def of(self, changes: Sequence[Change]) -> Mapping[Touch, Click]:
        """See ``Clicks.of``."""
        touches = sorted({touch_of(change) for change in changes if change.conversion.touch_event_id})
        room = asyncio.Semaphore(_MOST_AT_ONCE)

        async def find(touch: Touch) -> Click | None:
            async with room:
                return await self._find(touch)

        found = await asyncio.gather(*map(find, touches))
        return {touch: click for touch, click in zip(touches, found, strict=True) if click is not None}

    async def _find(self, touch: Touch) -> Click | None:
        organization_id, event_id = touch
        caller = Caller(CallerKind.ORGANIZATION, "service:attribution_svc", organization_id, frozenset({SCOPE}))
        try:
            answer = await self._stub.GetEvent(
                pb.GetEventRequest(event_id=event_id), metadata=self._credentials.as_caller(caller), timeout=_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            failure = error_from_rpc(error)
            if failure.code not in _NO_CLICK and self._is_worth_waiting(touch, failure.code):
                raise UnavailableError(f"a click cannot be read now: {failure.code.name}") from None
            if failure.code is not Code.NOT_FOUND:
                _log.error("a click cannot be read", code=failure.code.name, reason=failure.reason)
            self._failing.pop(touch, None)
            return None
        self._failing.pop(touch, None)
        return click_of(answer.event)

    def _is_worth_waiting(self, touch: Touch, code: Code) -> bool:
        """Whether to ask again: what is told without the click can never be mended, but everybody waits meanwhile."""
        if code is Code.UNAVAILABLE:
            return True
        if len(self._failing) >= _MOST_FAILING:
            # Those that nobody asks for any more: a backfill was given up.
            self._failing.clear()
        now = asyncio.get_running_loop().time()
        return now - self._failing.setdefault(touch, now) < self._patience_seconds


def click_of(event: event_pb2.Event) -> Click:
    """Read what macros and conditions may ask for; bytes that are no UTF-8 are replaced."""
    headers = first_values(header_pairs(event.headers))
    pairs, parameters = sent_parameters(event.target, event.body, headers.get(b"content-type", b""))
    found = DEFAULT_ALIASES.resolve(parameters)
    referer = headers.get(b"referer", b"")
    values = {
        "ip": event.ip,
        "user_agent": _text(headers.get(b"user-agent", b"")),
        "referer": _text(referer),
        "referer_host": _text(referer.partition(b"//")[2].partition(b"/")[0]),
        "host": hostname(event.host),
        "slug": _text(event.target.partition(b"?")[0].partition(b"/in/")[2]),
        **{macro: _text(found[name].value) for macro, name in _ALIASES.items() if name in found},
    }
    params: dict[str, str] = {}
    for pair in pairs[:MOST_PARAMS]:
        params.setdefault(_text(pair[0]), _text(pair[1]))
    return Click({name: value for name, value in values.items() if value}, params)


def _text(raw: bytes) -> str:
    return raw[:LONGEST_VALUE_BYTES].decode("utf-8", "replace")
