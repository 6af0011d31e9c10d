"""``/events``, ``/batch`` and ``/postback``: events that programs send."""

import asyncio
from typing import Any

from aiohttp import web

from ingress_gateway import click_ids
from ingress_gateway.answer import TEXT, Answer
from ingress_gateway.bodies import read_body
from ingress_gateway.gateway import Call
from ingress_gateway.journal.journal import FutureWaiter
from ingress_gateway.payloads import Payload, parse_form, parse_item, query_fields, split_batch
from ingress_gateway.recording import record_one
from ingress_gateway.responses import respond, respond_json
from ingress_gateway.tenancy import Tenant, sender
from svc_runtime.errors import TooLargeError, UnauthenticatedError

_LONGEST_KEY = 256


async def events(call: Call) -> web.StreamResponse:
    """Store one event; a body that cannot be read is stored as its bytes and marked."""
    payload, tenant = await _receive(call, route="events")
    event_id = await record_one(
        call,
        tenant,
        route="events",
        event_type=payload.event_type(b"event"),
        user_id=_visitor(call, tenant),
        external_click_id=payload.external_click_id(),
        idempotency_key=_idempotency_key(call) or payload.idempotency_key(),
        marks=payload.marks,
    )
    body: dict[str, Any] = {"event_id": event_id, "outcome": "stored"}
    if payload.marks:
        body["marks"] = payload.marks
    return respond_json(body, headers={"X-Trellis-Event-Id": event_id, "X-Trellis-Outcome": "stored"})


async def postback(call: Call) -> web.StreamResponse:
    """Store a conversion as it came: query, form or JSON. Networks read nothing but the status, so it is 200."""
    payload, tenant = await _receive(call, route="postback")
    fields = query_fields(call.arrival.query)
    event_type = next((fields[name] for name in ("event", "et", "type") if fields.get(name)), "conversion")
    event_id = await record_one(
        call,
        tenant,
        route="postback",
        event_type=payload.event_type(event_type.encode("latin-1", "replace")[:128]),
        user_id=_visitor(call, tenant),
        external_click_id=payload.external_click_id() or click_ids.in_query(call.arrival.query),
        idempotency_key=_idempotency_key(call),
        marks=payload.marks,
    )
    headers = {"X-Trellis-Event-Id": event_id, "X-Trellis-Outcome": "stored"}
    if _content_type(call) == "application/json" or "application/json" in call.arrival.headers.get("Accept", ""):
        return respond_json({"event_id": event_id, "outcome": "stored"}, headers=headers)
    return respond(Answer(200, TEXT, list(headers.items()), b"OK"))


async def batch(call: Call) -> web.StreamResponse:
    """Store many events: each item has its own outcome, and the odd ones are named by their index."""
    gateway, arrival = call.gateway, call.arrival
    arrival.body = await read_body(call.request, gateway.settings, gateway.settings.max_batch_bytes)
    # Splitting a large batch takes tens of milliseconds: not on the loop that redirects people.
    content_type = _content_type(call)
    if len(arrival.body) > 64 * 1024:
        items = await asyncio.to_thread(split_batch, arrival.body, content_type)
    else:
        items = split_batch(arrival.body, content_type)
    if len(items) > gateway.settings.max_batch_items:
        raise TooLargeError(f"the batch has {len(items)} items; the limit is {gateway.settings.max_batch_items}")
    tenant = _tenant(call, route="batch", body_key=parse_batch_key(arrival.body))
    outcomes, waiter = _record_items(call, tenant, items)
    if waiter is not None:
        await waiter.future
    stored = sum(outcome["outcome"] == "stored" for outcome in outcomes)
    return respond_json(
        {
            "received": len(items),
            "stored": stored,
            "refused": len(items) - stored,
            "marked": sum("marks" in outcome for outcome in outcomes),
            "items": outcomes,
        },
        headers={"X-Trellis-Outcome": "stored"},
    )


def _record_items(call: Call, tenant: Tenant, items: list[Payload]) -> tuple[list[dict[str, Any]], FutureWaiter | None]:
    """Append every item that fits; a JournalFullError in between fails the request, and its repeat is recognised only
    where items carry ids of their own."""
    limit = call.gateway.settings.max_event_bytes
    fitting = [item for item in items if len(item.data) <= limit]
    waiter = FutureWaiter(asyncio.get_running_loop().create_future(), len(fitting)) if fitting else None
    user_id = _visitor(call, tenant)
    batch_key = _idempotency_key(call)
    outcomes: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        if waiter is None or len(item.data) > limit:
            reason = f"the item has {len(item.data)} bytes; the limit is {limit}"
            outcomes.append({"index": index, "outcome": "refused", "reason": "TOO_LARGE", "detail": reason})
            continue
        event_id = call.gateway.recorder.record(
            call.arrival,
            waiter,
            organization_id=tenant.organization_id,
            route="batch",
            event_type=item.event_type(b"event"),
            status=200,
            body=item.data,
            user_id=user_id,
            external_click_id=item.external_click_id(),
            idempotency_key=item.idempotency_key() or (b"%b/%d" % (batch_key, index) if batch_key else b""),
            item_index=index,
            marks=(*item.marks, "test") if tenant.is_test else item.marks,
            key_id=tenant.key_id,
            trace_id=call.trace_id,
            traceparent=call.traceparent if index == 0 else "",
        )
        outcome: dict[str, Any] = {"index": index, "event_id": event_id, "outcome": "stored"}
        if item.marks:
            outcome["marks"] = item.marks
        outcomes.append(outcome)
    return outcomes, waiter


async def _receive(call: Call, *, route: str) -> tuple[Payload, Tenant]:
    """Read the body, parse what can be parsed, and say whose it is."""
    gateway, arrival = call.gateway, call.arrival
    arrival.body = await read_body(call.request, gateway.settings, gateway.settings.max_event_bytes)
    if not arrival.body:
        payload = Payload(b"", query_fields(arrival.query), [] if arrival.query else ["empty_body"])
    elif _content_type(call) == "application/x-www-form-urlencoded":
        payload = parse_form(arrival.body)
    else:
        payload = parse_item(arrival.body)
    return payload, _tenant(call, route=route, body_key=payload.write_key())


def _tenant(call: Call, *, route: str, body_key: str) -> Tenant:
    try:
        return sender(call.gateway.organisations, call.arrival, body_key)
    except UnauthenticatedError as error:
        mark = "unclaimed_host" if error.reason == "ORGANIZATION_UNKNOWN" else "unclaimed_key"
        call.gateway.unclaimed.keep(call.arrival, route=route, status=401, mark=mark)
        raise


def parse_batch_key(data: bytes) -> str:
    """Return the write key of a batch that is an object; it is looked for only where one can be."""
    return parse_item(data).write_key() if b"wdn_pk_" in data and data.lstrip()[:1] == b"{" else ""


def _visitor(call: Call, tenant: Tenant) -> str:
    gateway, arrival = call.gateway, call.arrival
    return gateway.visitors.known(arrival) or gateway.visitors.of_server(arrival, tenant.organization_id)


def _idempotency_key(call: Call) -> bytes:
    return call.arrival.headers.get("Idempotency-Key", "").encode("utf-8", "surrogateescape")[:_LONGEST_KEY]


def _content_type(call: Call) -> str:
    return call.arrival.headers.get("Content-Type", "").partition(";")[0].strip().lower()
