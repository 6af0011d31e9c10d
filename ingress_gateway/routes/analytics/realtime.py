"""The last hour and the day: asked for, or told by server-sent events as they change."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import TypeAlias

import orjson
from aiohttp import web

from ingress_gateway.answer import JSON, SERVER, Answer, Preset
from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond
from ingress_gateway.routes.analytics.asking import SCOPE, in_their_names
from ingress_gateway.routes.analytics.numbers import Json, amount, info_of, percent
from ingress_gateway.routes.analytics.question import Question
from ingress_gateway.streams import Subject
from svc_runtime.errors import TrellisError, UnavailableError
from svc_runtime.logs import get_logger
from trellis.analytics.v1 import realtime_pb2 as pb

EVENT_STREAM = "text/event-stream"
HEARTBEAT_SECONDS = 15.0
LOOK_SECONDS = 1.0
"""How often a stream looks whether its client is there, its key is good, and the worker stays."""
WRITE_SECONDS = 20.0
"""Longest time that a client may take to read."""
RETRY_MS = 3000
_MOST_LINES = 100
_NAMES = dict.fromkeys(("top_limit", "query.top_limit"), "limit")
_Messages: TypeAlias = AsyncGenerator[pb.WatchRealtimeResponse, None]
_HEADERS = Preset(
    *((name, value) for name, value in JSON.pairs if name != "Content-Type"),
    ("Content-Type", f"{EVENT_STREAM}; charset=utf-8"),
    # nginx gathers answers otherwise.
    ("X-Accel-Buffering", "no"),
    ("Server", SERVER),
)
_log = get_logger(__name__)


async def realtime(call: Call) -> web.StreamResponse:
    """Answer what is going on, or tell of it until the client leaves."""
    api = ApiCall(call, SCOPE)
    with Question.of(call.arrival.query) as asked:
        request = pb.GetRealtimeRequest(
            time_zone=asked.zone().key,
            campaign_id=_campaign(asked),
            includes_bots=asked.flag("include_bots") or False,
            top_limit=asked.number("limit", 1, _MOST_LINES) or 0,
        )
        # The specification's page sends it. The key says whose numbers these are, so it changes nothing.
        asked.ignored("org_id")
    try:
        if _wants_stream(call):
            return await _stream(api, request)
        seconds = call.gateway.settings.query_seconds
        found = await api.ask(api.analytics.GetRealtime, request, seconds=seconds)
    except TrellisError as error:
        raise in_their_names(error, _NAMES) from None
    return respond(Answer(200, JSON, (), await asyncio.to_thread(_written, found.realtime)))


def _campaign(asked: Question) -> str:
    named = asked.many("campaign_id")
    if len(named) > 1:
        asked.refuse("campaign_id", f"is given {len(named)} times; once is enough")
    return named[0] if named else ""


def _wants_stream(call: Call) -> bool:
    return call.arrival.method == "GET" and EVENT_STREAM in call.arrival.headers.get("Accept", "").lower()


async def _stream(api: ApiCall, request: pb.GetRealtimeRequest) -> web.StreamResponse:
    call = api.call
    streams = call.gateway.streams
    with streams.opened(api.organization_id, request.SerializeToString(deterministic=True)) as subject:
        messages: _Messages = api.follow(api.analytics.WatchRealtime, pb.WatchRealtimeRequest(query=request))
        async with contextlib.aclosing(messages):
            try:
                # Before the head of the answer: a refusal is a problem like any other.
                async with asyncio.timeout(call.gateway.settings.query_seconds):
                    first = await anext(messages)
            except (TimeoutError, StopAsyncIteration):
                raise UnavailableError("the numbers did not come") from None
            response = web.StreamResponse(headers=dict(_HEADERS.pairs))
            await response.prepare(call.request)
            await _send(response, f"retry: {RETRY_MS}\n".encode() + _event(subject, first))
            await _pass_on(api, messages, subject, response)
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
    return response


async def _pass_on(api: ApiCall, messages: _Messages, subject: Subject, response: web.StreamResponse) -> None:
    """Write what comes until the service, the client, the key or the worker is gone."""
    call, loop = api.call, asyncio.get_running_loop()
    wrote_at = loop.time()
    reading = asyncio.ensure_future(anext(messages))
    try:
        while not call.gateway.streams.is_draining and _is_there(call):
            await asyncio.wait({reading}, timeout=LOOK_SECONDS)
            api.check()
            piece = b""
            if reading.done():
                piece = _event(subject, reading.result())
                reading = asyncio.ensure_future(anext(messages))
            elif loop.time() - wrote_at >= HEARTBEAT_SECONDS:
                piece = b":\n\n"
            if piece:
                await _send(response, piece)
                wrote_at = loop.time()
    except (ConnectionError, TimeoutError):
        # Nobody reads; a connection that is stuck is not to be waited for.
        if call.request.transport is not None:
            call.request.transport.abort()
    except (TrellisError, StopAsyncIteration) as error:
        # The head is out: all that can be said is to come again.
        _log.info("a stream of events ends", reason=getattr(error, "reason", "the service left"))
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _is_there(call: Call) -> bool:
    transport = call.request.transport
    return transport is not None and not transport.is_closing()


async def _send(response: web.StreamResponse, piece: bytes) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(piece)


def _event(subject: Subject, message: pb.WatchRealtimeResponse) -> bytes:
    state = message.realtime
    version = state.update_time.ToNanoseconds()
    return subject.written(
        version, lambda: b"id: %d\nevent: realtime\ndata: %b\n\n" % (version // 1_000_000, _written(state))
    )


def _written(state: pb.Realtime) -> bytes:
    return orjson.dumps(realtime_view(state))


def realtime_view(state: pb.Realtime) -> Json:
    """Write the last hour and the day."""
    return {
        "clicks_last_hour": state.clicks_last_hour,
        "clicks_change": percent(state.clicks_change) if state.HasField("clicks_change") else None,
        "active_users": state.active_users,
        "clicks_today": state.clicks_today,
        "conversions_today": state.conversions_today,
        "revenue_today": amount(state.revenue_today_micros),
        "currency": state.currency,
        "traffic_timeline": [
            {
                "minute": timestamp_text(minute.minute),
                "clicks": minute.clicks,
                "conversions": minute.conversions,
                "revenue": amount(minute.revenue_micros),
            }
            for minute in state.traffic_timeline
        ],
        "top_last_hour": _tops(state.top_last_hour),
        "top_today": _tops(state.top_today),
        "last_updated": timestamp_text(state.update_time),
        "info": info_of(state.info),
    }


def _tops(tops: Sequence[pb.RealtimeTop]) -> Json:
    return {
        top.dimension: [
            {
                "value": item.value,
                "clicks": item.clicks,
                "conversions": item.conversions,
                "revenue": amount(item.revenue_micros),
            }
            for item in top.items
        ]
        for top in tops
    }
