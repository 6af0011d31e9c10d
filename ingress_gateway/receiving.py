"""What the routes for programs do first: read the body, parse what can be parsed, and say whose it is."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from ingress_gateway.bodies import read_body
from ingress_gateway.gateway import Call
from ingress_gateway.payloads import Payload, parse_form, parse_item, query_fields
from ingress_gateway.tenancy import Tenant, sender
from svc_runtime.errors import UnauthenticatedError

_LONGEST_KEY = 256
_LONGEST_ON_LOOP = 64 * 1024
"""Bytes that are parsed on the event loop; more take milliseconds."""
_T = TypeVar("_T")


async def receive(call: Call, *, route: str) -> tuple[Payload, Tenant]:
    """Read the body, parse what can be parsed, and say whose it is."""
    payload = await receive_payload(call)
    return payload, tenant_of(call, route=route, body_key=payload.write_key())


async def receive_payload(call: Call) -> Payload:
    """Read the body, or the query where there is none, and parse what can be parsed."""
    gateway, arrival = call.gateway, call.arrival
    arrival.body = await read_body(call.request, gateway.settings, gateway.settings.max_event_bytes)
    if not arrival.body:
        return Payload(b"", query_fields(arrival.query), [] if arrival.query else ["empty_body"])
    parse = parse_form if content_type(call) == "application/x-www-form-urlencoded" else parse_item
    return await off_loop(len(arrival.body), parse, arrival.body)


def tenant_of(call: Call, *, route: str, body_key: str) -> Tenant:
    """Return whose the request is; keep it among the unclaimed where nobody knows."""
    try:
        return sender(call.gateway.organisations, call.arrival, body_key)
    except UnauthenticatedError as error:
        keep_unclaimed(call, route=route, error=error)
        raise


def keep_unclaimed(call: Call, *, route: str, error: UnauthenticatedError) -> None:
    """Keep a request whose sender nobody knows."""
    mark = "unclaimed_host" if error.reason == "ORGANIZATION_UNKNOWN" else "unclaimed_key"
    call.gateway.unclaimed.keep(call.arrival, route=route, status=401, mark=mark)


def visitor_of(call: Call, organization_id: str) -> str:
    """Return who it is: by the cookie, or by the day's hash."""
    gateway, arrival = call.gateway, call.arrival
    return gateway.visitors.known(arrival) or gateway.visitors.of_server(arrival, organization_id)


def idempotency_key(call: Call) -> bytes:
    """Return the request's own id."""
    return call.arrival.headers.get("Idempotency-Key", "").encode("utf-8", "surrogateescape")[:_LONGEST_KEY]


def content_type(call: Call) -> str:
    """Return the body's media type, without parameters."""
    return call.arrival.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def off_loop(size: int, work: Callable[..., _T], *arguments: Any) -> _T:
    """Do ``work`` on ``size`` bytes in a thread where they are many: the loop has people to redirect."""
    return await asyncio.to_thread(work, *arguments) if size > _LONGEST_ON_LOOP else work(*arguments)
