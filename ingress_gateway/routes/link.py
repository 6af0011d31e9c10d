"""``/in`` and ``/in/{slug}`` in the slow lane: whatever is not a plain click on a live link."""

import asyncio
import html

from aiohttp import web

from ingress_gateway import click_ids, ids
from ingress_gateway.answer import PAGE, Answer
from ingress_gateway.bodies import read_body
from ingress_gateway.gateway import Call
from ingress_gateway.journal.waiting import JournalFullError
from ingress_gateway.links import LATE, STORED, UNRECORDED, Plan, with_outcome
from ingress_gateway.payloads import query_fields
from ingress_gateway.responses import respond
from ingress_gateway.routing import Route
from ingress_gateway.tenancy import Tenant, presented_key
from svc_runtime.errors import TrellisError


async def click(call: Call) -> web.StreamResponse:
    """Redirect a click; a link that leads nowhere gets a 404 page, and its request is kept."""
    gateway, arrival = call.gateway, call.arrival
    try:
        tenant = _owner(call)
    except TrellisError:
        event_id = gateway.unclaimed.keep(arrival, route="in", status=404, mark="unclaimed_key")
        return _not_found(event_id, "unclaimed")
    if tenant is None:
        event_id = gateway.unclaimed.keep(arrival, route="in", status=404, mark="unclaimed_host")
        return _not_found(event_id, "unclaimed")
    if call.request.can_read_body:
        arrival.body = await read_body(call.request, gateway.settings, gateway.settings.max_event_bytes)
    route = _route(call, tenant.organization_id)
    marks = _marks(call, tenant)
    if route is not None:
        plan: Plan | None = gateway.links.plan(arrival, route)
    else:
        plan = gateway.links.plan_open(arrival, tenant.organization_id)
    if plan is None:
        return await _dead_link(call, tenant, None, (*marks, "unknown_slug"))
    if not plan.leads_somewhere:
        return await _dead_link(call, tenant, plan.verdict.route, (*marks, *plan.verdict.marks))
    waiter = RedirectWaiter(call)
    taken = gateway.links.take(
        plan,
        waiter,
        marks=marks,
        key_id=tenant.key_id,
        trace_id=call.trace_id,
        traceparent=call.traceparent,
    )
    if not taken.is_recorded:
        return respond(taken.answer)
    outcome = await waiter.future
    return respond(taken.answer if outcome == STORED else with_outcome(taken.answer, outcome))


def _route(call: Call, organization_id: str) -> Route | None:
    """The path names the slug; a link without one may name slug or campaign in its query."""
    routing = call.gateway.routing
    slug = call.path.get("slug", "")
    if slug:
        return routing.find(organization_id, slug)
    fields = query_fields(call.arrival.query)
    found = routing.find(organization_id, fields.get("slug", ""))
    campaign_id = fields.get("campaign_id", "")
    return found or routing.find(organization_id, campaign_id) or routing.find_campaign(organization_id, campaign_id)


def _owner(call: Call) -> Tenant | None:
    """The host decides; a key only where the host says nothing: a stray key must not stop a person."""
    gateway = call.gateway
    of_host = gateway.organisations.of_host(call.arrival.host)
    if of_host:
        return Tenant(of_host)
    key = presented_key(call.arrival)
    if not key:
        return None
    principal = gateway.organisations.authenticate(key)
    return Tenant(principal.organization_id, principal.key_id, principal.is_test)


def _marks(call: Call, tenant: Tenant) -> tuple[str, ...]:
    odd = {"head": call.arrival.method == "HEAD", "test": tenant.is_test}
    return tuple(mark for mark, is_so in odd.items() if is_so)


async def _dead_link(call: Call, tenant: Tenant, route: Route | None, marks: tuple[str, ...]) -> web.StreamResponse:
    """Record a click that leads nowhere: a campaign may claim it later."""
    arrival, visitors = call.arrival, call.gateway.visitors
    waiter = RedirectWaiter(call)
    try:
        event_id = call.gateway.recorder.record(
            arrival,
            waiter,
            organization_id=tenant.organization_id,
            route="in",
            event_type=b"click",
            status=404,
            click_id=ids.click_id(),
            external_click_id=click_ids.in_query(arrival.query),
            user_id=visitors.known(arrival) or visitors.of_server(arrival, tenant.organization_id),
            campaign_id=route.campaign_id if route else "",
            campaign_version=route.version if route else 0,
            marks=marks,
            key_id=tenant.key_id,
            trace_id=call.trace_id,
            traceparent=call.traceparent,
        )
    except JournalFullError:
        return _not_found("", UNRECORDED)
    outcome = await waiter.future
    return _not_found("" if outcome == UNRECORDED else event_id, outcome)


def _not_found(event_id: str, outcome: str) -> web.Response:
    headers = [("X-Trellis-Outcome", outcome)]
    if event_id:
        headers.append(("X-Trellis-Event-Id", event_id))
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>Link not found</title><style>body{font:16px/1.5 system-ui,sans-serif;margin:20vh auto;max-width:30rem;"
        "padding:0 1rem;color:#222;background:#fff}small{color:#666}@media(prefers-color-scheme:dark)"
        "{body{color:#ddd;background:#111}small{color:#999}}</style>"
        "<h1>This link leads nowhere</h1><p>It may have expired, or it was copied incompletely.</p>"
    )
    if event_id:
        page += f"<small>{html.escape(event_id)}</small>"
    return respond(Answer(404, PAGE, headers, page.encode()))


class RedirectWaiter:
    """Lets a coroutine wait for the disk, within the redirect budget."""

    __slots__ = ("_call", "future")

    def __init__(self, call: Call) -> None:
        self._call = call
        self.future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """What became of the event by the time the person goes on."""

    def settled(self, is_durable: bool) -> None:
        """On disk, or not to be had: the person goes on either way."""
        if not self.future.done():
            if not is_durable:
                self._call.gateway.counters.unrecorded_redirect_count += 1
            self.future.set_result(STORED if is_durable else UNRECORDED)

    def overdue(self) -> None:
        """The disk is slow: the redirect leaves, the write goes on."""
        if not self.future.done():
            self._call.gateway.counters.late_redirect_count += 1
            self.future.set_result(LATE)
