"""Tracking links: `GET /in/{slug}` is a click, recorded and redirected."""

import html
import time
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from ingress_gateway import click_ids, ids
from ingress_gateway.answer import REDIRECT, REFRESH, Answer
from ingress_gateway.arrival import Arrival
from ingress_gateway.counters import Counters
from ingress_gateway.decision import Decision, value_of
from ingress_gateway.facts import Click, ClickReader
from ingress_gateway.journal.waiting import JournalFullError, Waiter
from ingress_gateway.organisations import Organisations
from ingress_gateway.recorder import Recorder
from ingress_gateway.routing import Route, Routing, Verdict
from ingress_gateway.visitors import Visitors

PREFIX = "/in/"
LINK = "/in/{slug}"
_REFRESH_PAGE = (
    b"<!doctype html><meta charset=utf-8><meta name=referrer content=no-referrer>"
    b'<meta http-equiv=refresh content="0;url=%b"><title>...</title>'
)
STORED, LATE, UNRECORDED = "stored", "late", "unrecorded"
"""What becomes of a click's event: on disk before the answer; not yet, and perhaps never; never."""


class Taken(NamedTuple):
    """An answer, and whether it waits for the journal."""

    answer: Answer
    is_recorded: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of a click, before anything has."""

    verdict: Verdict
    user_id: str
    cookie: str
    """Set-Cookie, or empty."""
    click: Click

    @property
    def leads_somewhere(self) -> bool:
        """Whether there is a place to send the click to."""
        return self.verdict.decision is not None


class Links:
    """Answers clicks. No RPC, no database, no parsing beyond what the redirect needs."""

    def __init__(
        self,
        organisations: Organisations,
        routing: Routing,
        recorder: Recorder,
        visitors: Visitors,
        counters: Counters,
        reader: ClickReader,
    ) -> None:
        self._organisations = organisations
        self._routing = routing
        self._recorder = recorder
        self._visitors = visitors
        self._counters = counters
        self._reader = reader

    def route_of(self, arrival: Arrival) -> Route | None:
        """Return the route of a link under a tracking host; None for anything else."""
        organization_id = self._organisations.of_host(arrival.host)
        if not organization_id:
            return None
        slug = arrival.path[len(PREFIX) :]
        return self._routing.find(organization_id, unquote(slug) if "%" in slug else slug)

    def plan(self, arrival: Arrival, route: Route) -> Plan:
        """Say where a click goes."""
        user_id, cookie = self._visitors.of_browser(arrival, route.organization_id)
        click = Click(arrival, time.time_ns() // 1_000_000, self._reader)
        plain = route.plain
        verdict = Verdict(route, plain, ()) if plain is not None else self._routing.decide(route, click, user_id)
        return Plan(self._leading_on(verdict), user_id, cookie, click)

    def plan_open(self, arrival: Arrival, organization_id: str) -> Plan | None:
        """Say where a click goes that no link takes; None: nowhere, for no campaign wants it."""
        if not self._routing.has_open(organization_id):
            return None
        user_id, cookie = self._visitors.of_browser(arrival, organization_id)
        click = Click(arrival, time.time_ns() // 1_000_000, self._reader)
        verdict = self._routing.decide_open(organization_id, click, user_id)
        return None if verdict is None else Plan(self._leading_on(verdict), user_id, cookie, click)

    def _leading_on(self, verdict: Verdict) -> Verdict:
        """Return a verdict that leads nowhere for one that leads back to us: a host may have become ours since."""
        decision = verdict.decision
        if decision is None or self._organisations.of_host(decision.target.host) != verdict.route.organization_id:
            return verdict
        return Verdict(verdict.route, None, (*verdict.marks, "own_host"))

    def take(
        self,
        plan: Plan,
        waiter: Waiter,
        *,
        marks: tuple[str, ...] = (),
        key_id: str = "",
        trace_id: str = "",
        traceparent: str = "",
    ) -> Taken:
        """Record a click and return its redirect; a journal that takes nothing does not keep a person waiting."""
        arrival, (route, decision, own_marks) = plan.click.arrival, plan.verdict
        if decision is None:
            raise ValueError("a click that leads nowhere has no redirect")
        click_id = ids.click_id()
        location = self._location(plan, decision, click_id)
        if route.caps:
            self._routing.usage.count(
                route.organization_id, route.campaign_id, route.caps, plan.user_id, plan.click.event_time_ms
            )
        self._counters.redirect_count += 1
        try:
            event_id = self._recorder.record(
                arrival,
                waiter,
                event_time_ms=plan.click.event_time_ms,
                organization_id=route.organization_id,
                route="in",
                event_type=b"click",
                status=decision.status,
                click_id=click_id,
                external_click_id=click_ids.in_query(arrival.query),
                user_id=plan.user_id,
                campaign_id=route.campaign_id,
                campaign_version=route.version,
                rule_id=decision.rule_id,
                destination_id=decision.destination_id,
                tags=decision.tags,
                location=location,
                marks=(*marks, *own_marks),
                key_id=key_id,
                trace_id=trace_id or arrival.trace()[0],
                traceparent=traceparent,
            )
        except JournalFullError:
            self._counters.unrecorded_redirect_count += 1
            return Taken(_redirect(decision, location, plan.cookie, "", UNRECORDED), is_recorded=False)
        return Taken(_redirect(decision, location, plan.cookie, event_id, STORED), is_recorded=True)

    def _location(self, plan: Plan, decision: Decision, click_id: str) -> bytes:
        target, query = decision.target, plan.click.arrival.query
        if target.template is None:
            return target.location(query, click_id, names=decision.names)
        route = plan.verdict.route
        minted = {
            "click_id": click_id,
            "user_id": plan.user_id,
            "campaign_id": route.campaign_id,
            "slug": route.slug,
            "rule_id": decision.rule_id,
            "destination_id": decision.destination_id,
            "external_click_id": click_ids.in_query(query).decode("latin-1"),
        }
        return target.location(query, click_id, names=decision.names, value_of=value_of(plan.click, minted))


def with_outcome(answer: Answer, outcome: str) -> Answer:
    """Return a redirect whose event fared otherwise than was hoped: ``late`` or ``unrecorded``, which has no id."""
    headers = [
        (name, outcome if name == "X-Trellis-Outcome" else value)
        for name, value in answer.headers
        if name != "X-Trellis-Event-Id" or outcome != UNRECORDED
    ]
    return Answer(answer.status, answer.preset, headers, answer.body)


def _redirect(decision: Decision, location: bytes, cookie: str, event_id: str, outcome: str) -> Answer:
    headers = [("X-Trellis-Outcome", outcome)]
    if event_id:
        headers.append(("X-Trellis-Event-Id", event_id))
    if cookie:
        headers.append(("Set-Cookie", cookie))
    if decision.status == 200:
        return Answer(200, REFRESH, headers, _REFRESH_PAGE % html.escape(location.decode("latin-1")).encode("latin-1"))
    return Answer(decision.status, REDIRECT, [("Location", location.decode("latin-1")), *headers])
