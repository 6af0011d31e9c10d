"""``/pixel``, ``/pixel.gif`` and ``/track``: an image that always comes, and JSON for who asks for it."""

from aiohttp import web

from ingress_gateway import click_ids
from ingress_gateway.answer import IMAGE, PIXEL, Answer
from ingress_gateway.bodies import read_body
from ingress_gateway.gateway import Call
from ingress_gateway.journal.waiting import JournalFullError
from ingress_gateway.payloads import LONGEST_TYPE, query_fields
from ingress_gateway.recording import record_one
from ingress_gateway.responses import respond, respond_json
from ingress_gateway.tenancy import sender
from svc_runtime.errors import TrellisError

_TYPE_NAMES = ("event", "event_type", "type", "e")


async def pixel(call: Call) -> web.StreamResponse:
    """Record the view and return the image, to any method."""
    return await _view(call, route="pixel", default_type=b"pixel", wants_json=False)


async def track(call: Call) -> web.StreamResponse:
    """Record an event from query parameters."""
    wants_json = "application/json" in call.arrival.headers.get("Accept", "")
    return await _view(call, route="track", default_type=b"track", wants_json=wants_json)


async def _view(call: Call, *, route: str, default_type: bytes, wants_json: bool) -> web.StreamResponse:
    gateway, arrival = call.gateway, call.arrival
    if call.request.can_read_body:
        arrival.body = await read_body(call.request, gateway.settings, gateway.settings.max_event_bytes)
    try:
        tenant = sender(gateway.organisations, arrival)
    except TrellisError as error:
        # An image is part of somebody's page: it comes whatever the key is.
        event_id = gateway.unclaimed.keep(arrival, route=route, status=200, mark="unclaimed_key")
        if wants_json:
            raise
        return _image(event_id, "unclaimed", "", error.reason)
    fields = query_fields(arrival.query)
    event_type = next((fields[name] for name in _TYPE_NAMES if fields.get(name)), "")
    user_id, cookie = gateway.visitors.of_browser(arrival, tenant.organization_id)
    try:
        event_id = await record_one(
            call,
            tenant,
            route=route,
            event_type=event_type.encode("latin-1", "replace")[:LONGEST_TYPE] or default_type,
            user_id=user_id,
            external_click_id=click_ids.in_query(arrival.query),
            idempotency_key=fields.get("idempotency_key", "").encode("latin-1", "replace")[:256],
        )
    except JournalFullError:
        if wants_json:
            raise
        gateway.counters.unrecorded_pixel_count += 1
        return _image("", "unrecorded", cookie)
    if wants_json:
        response = respond_json({"event_id": event_id, "outcome": "stored"}, headers=_headers(event_id, "stored"))
        if cookie:
            response.headers.add("Set-Cookie", cookie)
        return response
    return _image(event_id, "stored", cookie)


def _headers(event_id: str, outcome: str) -> dict[str, str]:
    return (
        {"X-Trellis-Event-Id": event_id, "X-Trellis-Outcome": outcome} if event_id else {"X-Trellis-Outcome": outcome}
    )


def _image(event_id: str, outcome: str, cookie: str, reason: str = "") -> web.Response:
    headers = list(_headers(event_id, outcome).items())
    if cookie:
        headers.append(("Set-Cookie", cookie))
    if reason:
        headers.append(("X-Trellis-Reason", reason))
    return respond(Answer(200, IMAGE, headers, PIXEL))
