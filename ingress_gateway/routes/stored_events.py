"""``/api/v1/events``: what was captured, found again, and given back as it came."""

import asyncio
from typing import Any

import orjson
from aiohttp import web

from ingress_gateway.answer import JSON, Answer
from ingress_gateway.calls import ApiCall
from ingress_gateway.event_view import event_view, raw_request, whole_event_view
from ingress_gateway.gateway import Call
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond
from svc_runtime.timestamps import timestamp_of
from trellis.capture.v1 import capture_service_pb2 as pb

RAW_CONTENT_TYPE = "message/http; msgtype=request"


async def list_events(call: Call) -> web.StreamResponse:
    """Return a page of events, newest first."""
    api = ApiCall(call, "traffic:read")
    with api.query() as given:
        start, end = given.instant("start_time"), given.instant("end_time")
        if start and end and end <= start:
            given.refuse("end_time", "must be after start_time")
        request = pb.ListEventsRequest(
            page_size=given.page_size(),
            page_token=given.page_token(),
            start_time=timestamp_of(start),
            end_time=timestamp_of(end),
            event_type=given.octets("event_type") or b"",
            click_id=given.octets("click_id") or b"",
            campaign_id=given.text("campaign_id") or "",
            user_id=given.text("user_id") or "",
            mark=given.text("mark") or "",
        )
    page = await api.ask(api.capture.ListEvents, request)
    # A thousand events take tens of milliseconds to write out: not on the loop that redirects people.
    return _json(await asyncio.to_thread(_page_json, page))


async def get_event(call: Call) -> web.StreamResponse:
    """Return everything about one event, the whole request included."""
    return _json(await asyncio.to_thread(_event_json, await _find(call)))


async def get_raw_event(call: Call) -> web.StreamResponse:
    """Return the request itself, as bytes."""
    event = (await _find(call)).event
    headers = {
        "Cache-Control": "no-store",
        # Somebody else chose these bytes: no browser is to take them for a page of ours.
        "Content-Type": RAW_CONTENT_TYPE,
        "Content-Disposition": f'attachment; filename="{event.event_id}.http"',
        "X-Content-Type-Options": "nosniff",
    }
    return web.Response(body=raw_request(event), headers=headers)


async def _find(call: Call) -> pb.GetEventResponse:
    api = ApiCall(call, "traffic:read")
    with api.query():
        request = pb.GetEventRequest(event_id=api.path("event_id"))
    return await api.ask(api.capture.GetEvent, request)


def _page_json(page: pb.ListEventsResponse) -> bytes:
    return orjson.dumps(
        {"events": [event_view(event) for event in page.events], "next_page_token": page.next_page_token}
    )


def _event_json(found: pb.GetEventResponse) -> bytes:
    view: dict[str, Any] = whole_event_view(found.event)
    view["ingest_time"] = timestamp_text(found.ingest_time) if found.HasField("ingest_time") else None
    return orjson.dumps(view)


def _json(body: bytes) -> web.Response:
    return respond(Answer(200, JSON, (), body))
