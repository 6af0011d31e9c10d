"""Tracking links: `GET /in/{slug}` is a click, recorded and redirected."""

from typing import NamedTuple
from urllib.parse import unquote

from ingress_gateway import click_ids, ids
from ingress_gateway.answer import REDIRECT, Answer
from ingress_gateway.arrival import Arrival
from ingress_gateway.counters import Counters
from ingress_gateway.journal.waiting import JournalFullError, Waiter
from ingress_gateway.organisations import Organisations
from ingress_gateway.recorder import Recorder
from ingress_gateway.routing import Route, Routing
from ingress_gateway.visitors import Visitors

PREFIX = "/in/"
LINK = "/in/{slug}"
STORED, LATE, UNRECORDED = "stored", "late", "unrecorded"
"""What becomes of a click's event: on disk before the answer; not yet, and perhaps never; never."""


class Taken(NamedTuple):
    """An answer, and whether it waits for the journal."""

    answer: Answer
    is_recorded: bool


class Links:
    """Answers clicks. No RPC, no database, no parsing beyond what the redirect needs."""

    def __init__(
        self,
        organisations: Organisations,
        routing: Routing,
        recorder: Recorder,
        visitors: Visitors,
        counters: Counters,
    ) -> None:
        self._organisations = organisations
        self._routing = routing
        self._recorder = recorder
        self._visitors = visitors
        self._counters = counters

    def route_of(self, arrival: Arrival) -> Route | None:
        """Return the live route of a link under a tracking host; None for anything else."""
        organization_id = self._organisations.of_host(arrival.host)
        if not organization_id:
            return None
        slug = arrival.path[len(PREFIX) :]
        route = self._routing.find(organization_id, unquote(slug) if "%" in slug else slug)
        return None if route is None or route.is_paused else route

    def take(
        self,
        arrival: Arrival,
        route: Route,
        waiter: Waiter,
        *,
        marks: tuple[str, ...] = (),
        key_id: str = "",
        trace_id: str = "",
        traceparent: str = "",
    ) -> Taken:
        """Record a click and return its redirect; a journal that takes nothing does not keep a person waiting."""
        target = route.target
        if route.is_paused:
            if route.fallback is None:
                raise ValueError("a paused campaign without a fallback has no redirect")
            target, marks = route.fallback, (*marks, "campaign_paused")
        click_id = ids.click_id()
        location = target.location(arrival.query, click_id, passes_parameters=route.passes_parameters)
        user_id, cookie = self._visitors.of_browser(arrival, route.organization_id)
        self._counters.redirect_count += 1
        try:
            event_id = self._recorder.record(
                arrival,
                waiter,
                organization_id=route.organization_id,
                route="in",
                event_type=b"click",
                status=302,
                click_id=click_id,
                external_click_id=click_ids.in_query(arrival.query),
                user_id=user_id,
                campaign_id=route.campaign_id,
                campaign_version=route.version,
                location=location,
                marks=marks,
                key_id=key_id,
                trace_id=trace_id or arrival.trace()[0],
                traceparent=traceparent,
            )
        except JournalFullError:
            self._counters.unrecorded_redirect_count += 1
            return Taken(_redirect(location, cookie, "", UNRECORDED), is_recorded=False)
        return Taken(_redirect(location, cookie, event_id, STORED), is_recorded=True)


def with_outcome(answer: Answer, outcome: str) -> Answer:
    """Return a redirect whose event fared otherwise than was hoped: ``late`` or ``unrecorded``, which has no id."""
    headers = [
        (name, outcome if name == "X-Trellis-Outcome" else value)
        for name, value in answer.headers
        if name != "X-Trellis-Event-Id" or outcome != UNRECORDED
    ]
    return Answer(answer.status, answer.preset, headers)


def _redirect(location: bytes, cookie: str, event_id: str, outcome: str) -> Answer:
    headers = [("Location", location.decode("latin-1")), ("X-Trellis-Outcome", outcome)]
    if event_id:
        headers.append(("X-Trellis-Event-Id", event_id))
    if cookie:
        headers.append(("Set-Cookie", cookie))
    return Answer(302, REDIRECT, headers)
