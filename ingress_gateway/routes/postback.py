"""``/postback`` and what networks call in its place: a partner says what became of a click.

The sender is known by a partner's token, wherever it stands, by a key, or by the host. Networks read nothing but the
status, so whatever is understood of a conversion, or not, it is 200. What a partner that is known may not send is
stored with a mark that makes it no conversion, and refused.
"""

import re
import time
from typing import Any

from aiohttp import web

from ingress_gateway import click_ids
from ingress_gateway.answer import IMAGE, PIXEL, TEXT, Answer
from ingress_gateway.gateway import Call
from ingress_gateway.partners import KnownPartner, shown_token
from ingress_gateway.payloads import Payload, query_fields
from ingress_gateway.problems import problem
from ingress_gateway.receiving import (
    content_type,
    idempotency_key,
    keep_unclaimed,
    off_loop,
    receive_payload,
    tenant_of,
    visitor_of,
)
from ingress_gateway.recording import record_one
from ingress_gateway.responses import respond, respond_json
from ingress_gateway.signature import SignatureError, verify
from ingress_gateway.tenancy import Tenant, partner_of
from svc_runtime.errors import NotFoundError, PermissionDeniedError, TrellisError, UnauthenticatedError

ROUTE = "postback"
REFUSED_SENDER, REFUSED_SIGNATURE = "refused_sender", "refused_signature"
# What a sender may wish to be answered with: `return=OK`.
_RETURN_TEXT = re.compile(r"[A-Za-z0-9_.:=|, -]{1,64}")


async def postback(call: Call) -> web.StreamResponse:
    """Store a conversion as it came: query, form or JSON."""
    payload, recorded = await _record(call)
    if isinstance(recorded, web.Response):
        return recorded
    event_id, return_text = recorded
    headers = {"X-Trellis-Event-Id": event_id, "X-Trellis-Outcome": "stored"}
    if content_type(call) == "application/json" or "application/json" in call.arrival.headers.get("Accept", ""):
        body: dict[str, Any] = {"event_id": event_id, "outcome": "stored"}
        return respond_json(body | ({"marks": payload.marks} if payload.marks else {}), headers=headers)
    return respond(Answer(200, TEXT, list(headers.items()), return_text.encode()))


async def keyed_postback(call: Call) -> web.StreamResponse:
    """The same, with a token or a key in the path."""
    if not call.path["token"].startswith("wdn_"):
        raise NotFoundError("there is nothing at this path")
    return await postback(call)


async def click_update(call: Call) -> web.StreamResponse:
    """The same, as Binom is told of a conversion: by a click's path, with ``cnv_id``."""
    if "cnv_id" not in query_fields(call.arrival.query):
        raise NotFoundError("there is nothing at this path without `cnv_id`")
    return await postback(call)


async def conversion_pixel(call: Call) -> web.StreamResponse:
    """The same, from an image in a page: the answer is the image, also for who is refused."""
    try:
        _, recorded = await _record(call)
    except TrellisError as error:
        headers = [("X-Trellis-Outcome", "refused"), ("X-Trellis-Reason", error.reason)]
        return respond(Answer(200, IMAGE, headers, PIXEL))
    if isinstance(recorded, web.Response):
        return respond(Answer(200, IMAGE, [("X-Trellis-Outcome", "refused")], PIXEL))
    headers = [("X-Trellis-Event-Id", recorded[0]), ("X-Trellis-Outcome", "stored")]
    return respond(Answer(200, IMAGE, headers, PIXEL))


async def _record(call: Call) -> tuple[Payload, tuple[str, str] | web.Response]:
    """Record a conversion; return its id and what to answer, or the answer to who is refused."""
    payload = await receive_payload(call)
    partner = _partner(call)
    fields = query_fields(call.arrival.query)
    if partner is None:
        tenant, key = tenant_of(call, route=ROUTE, body_key=_write_key(call, payload)), idempotency_key(call)
    else:
        tenant = Tenant(partner.organization_id, partner_id=partner.partner_id, network=partner.network)
        try:
            key = await _checked(call, partner)
        except (PermissionDeniedError, SignatureError) as error:
            return payload, await _refuse(call, tenant, payload, fields, error)
    event_id = await _store(call, tenant, payload, fields, key=key)
    wished = fields.get("return", "")
    own = wished if _RETURN_TEXT.fullmatch(wished) else ""
    return payload, (event_id, own or (partner.return_text if partner else "") or "OK")


def _partner(call: Call) -> KnownPartner | None:
    token = shown_token(call.arrival)
    if not token:
        return None
    try:
        return partner_of(call.gateway.organisations, call.arrival, token)
    except UnauthenticatedError as error:
        keep_unclaimed(call, route=ROUTE, error=error)
        raise


def _write_key(call: Call, payload: Payload) -> str:
    """Return the key in the path, as Keitaro's users have it, or in the body."""
    return call.path.get("token", "") or payload.write_key()


async def _checked(call: Call, partner: KnownPartner) -> bytes:
    """Return the request's own id where a partner may send it. Raise PermissionDeniedError, SignatureError.

    The id of a signed request is a part of what is signed, so the same request again, by whomever, is the same event.
    Either id is the partner's own: what others send under the same one is another event.
    """
    partner.check_may_send(call.arrival.ip)
    if not partner.is_signed:
        return idempotency_key(call)
    arrival = call.arrival
    secret, now = partner.signing_secret(), time.time()
    webhook_id = await off_loop(len(arrival.body), lambda: verify(arrival, secret, now=now))
    return webhook_id.encode()


async def _refuse(
    call: Call, tenant: Tenant, payload: Payload, fields: dict[str, str], error: PermissionDeniedError | SignatureError
) -> web.Response:
    """Store what a partner may not send, as no conversion, and say why."""
    mark = REFUSED_SIGNATURE if isinstance(error, SignatureError) else REFUSED_SENDER
    status = error.code.http_status
    call.gateway.counters.refused_request_count += 1
    event_id = await _store(call, tenant, payload, fields, marks=(mark,), status=status)
    return problem(error, event_id=event_id)


async def _store(
    call: Call,
    tenant: Tenant,
    payload: Payload,
    fields: dict[str, str],
    *,
    key: bytes = b"",
    marks: tuple[str, ...] = (),
    status: int = 200,
) -> str:
    event_type = next((fields[name] for name in ("event", "et", "type") if fields.get(name)), "conversion")
    return await record_one(
        call,
        tenant,
        route=ROUTE,
        event_type=payload.event_type(event_type.encode("latin-1", "replace")[:128]),
        user_id=visitor_of(call, tenant.organization_id),
        external_click_id=payload.external_click_id() or click_ids.in_query(call.arrival.query),
        idempotency_key=key,
        marks=(*payload.marks, *marks),
        status=status,
    )
