"""``POST /api/v1/campaigns/{campaign_id}:explain``: which rule, why, and why not each other."""

import ipaddress
import re
import time
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.decision import Decision
from ingress_gateway.explanation import CapExplained, Explanation, RuleExplained, explain_campaign
from ingress_gateway.facts import Click
from ingress_gateway.gateway import Call
from ingress_gateway.given import Given, shown_value
from ingress_gateway.imagined import click_of_event, click_of_request
from ingress_gateway.instants import milliseconds_text, parse_instant, timestamp_text
from ingress_gateway.responses import respond_json
from ingress_gateway.routes.campaign_json import CAP_KINDS, CAP_PERIODS, Member
from rule_language.explain import Explained
from svc_runtime.errors import FailedPreconditionError, TrellisError
from trellis.analytics.v1 import overlay_service_pb2 as overlay_pb
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2 as capture_pb
from trellis.capture.v1.event_pb2 import Event

_URL = re.compile(r"(?:(https?)://([^/?#\s]+))?(/[^#\s]*)?", re.IGNORECASE)
_LARGEST_VERSION = 2**32 - 1
_NOBODY = "usr_0"
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)
"""Of the times that may be asked about: calendars end soon after."""
_TRUTHS = {True: "true", False: "false", None: "unknown"}
_KINDS: dict[int, str] = {number: word for word, number in CAP_KINDS.items()}
_PERIODS: dict[int, str] = {number: word for word, number in CAP_PERIODS.items()}


async def explain_click(call: Call) -> web.StreamResponse:
    """Explain what a campaign does with a click that is described, or with an event that was kept."""
    api = ApiCall(call, "campaigns:read")
    with await api.body() as given:
        event_id = given.text("event_id") or ""
        version = given.number("version", 1, _LARGEST_VERSION) or 0
        request = given.anything("request")
        if event_id and request is not None:
            given.refuse("request", "is given, and event_id too; give one of them")
        click, user_id = _described(api, given, {} if request is None else request)
        campaign_id = api.path("campaign_id")
    campaign = await _campaign(api, campaign_id, version)
    event = claims = None
    if event_id:
        event = (await api.ask(api.capture.GetEvent, capture_pb.GetEventRequest(event_id=event_id))).event
        claims = await _claims(api, event_id)
        click, user_id = click_of_event(event, call.gateway.reader), event.user_id or _NOBODY
    try:
        explanation = explain_campaign(call.gateway.routing, campaign, click, user_id)
    except ValueError as error:
        raise FailedPreconditionError(f"the campaign cannot be routed by: {error}") from None
    return respond_json(
        {
            **_view(explanation, click),
            "event": None if event is None else _event_view(event),
            "claims": claims,
        }
    )


async def _campaign(api: ApiCall, campaign_id: str, version: int) -> pb.Campaign:
    """Return the campaign that this worker routes by, or one of its versions."""
    if version:
        asked = pb.GetCampaignVersionRequest(campaign_id=campaign_id, version=version)
        return (await api.ask(api.attribution.GetCampaignVersion, asked)).version.campaign
    held = api.call.gateway.routing.campaign(api.organization_id, campaign_id)
    if held is not None:
        return held
    return (await api.ask(api.attribution.GetCampaign, pb.GetCampaignRequest(campaign_id=campaign_id))).campaign


def _described(api: ApiCall, given: Given, value: Any) -> tuple[Click, str]:
    member = Member(given, "request", value)
    method = member.text("method") or "GET"
    url = member.text("url") or "/in"
    parts = _URL.fullmatch(url)
    if parts is None:
        member.refuse(
            "url", f"is {shown_value(url)}, must be a path, or begin with http:// or https://, without a space"
        )
    scheme, host, target = parts.groups() if parts else (None, None, None)
    headers = _headers(member)
    if not any(name.lower() == b"host" for name, _ in headers):
        hosts = api.call.gateway.organisations.hosts_of(api.organization_id)
        headers.insert(0, (b"Host", (host or next(iter(hosts), "")).encode()))
    ip = member.text("ip")
    if ip:
        try:
            ip = str(ipaddress.ip_address(ip))
        except ValueError:
            member.refuse("ip", f"is {shown_value(ip)}, must be an IPv4 or IPv6 address")
    text = member.text("time")
    at = parse_instant(text) if text else datetime.fromtimestamp(time.time(), UTC)
    if at is None:
        member.refuse("time", f"is {shown_value(text)}, must be RFC 3339, for example 2026-11-03T10:00:00Z")
    elif not _EARLIEST <= at < _LATEST:
        member.refuse("time", f"is {shown_value(text)}, must be of the years {_EARLIEST.year} to {_LATEST.year - 1}")
    user_id = member.text("user_id") or _NOBODY
    member.check()
    click = click_of_request(
        method,
        (target or "/").encode("utf-8", "surrogateescape"),
        headers,
        scheme=(scheme or "https").lower(),
        ip=ip,
        time=at or datetime.fromtimestamp(0, UTC),
        reader=api.call.gateway.reader,
    )
    return click, user_id


def _headers(member: Member) -> list[tuple[bytes, bytes]]:
    found = member.take("headers", dict, "an object of texts") or {}
    pairs = []
    for name, value in found.items():
        if not isinstance(value, str) or re.search(r"[\r\n\0]", name + value) or not name:
            member.refuse("headers", f"has {name[:60]!r}, whose value must be a text of one line")
        else:
            pairs.append((name.encode("utf-8", "replace"), value.encode("utf-8", "replace")))
    return pairs


async def _claims(api: ApiCall, event_id: str) -> dict[str, Any] | None:
    """Return who claimed an event since; None where the reading does not have it."""
    try:
        found = await api.ask(api.overlay.GetEventClaims, overlay_pb.GetEventClaimsRequest(event_id=event_id))
    except TrellisError as error:
        if error.reason == "NOT_FOUND":
            return None
        raise
    return {
        "campaign_id": found.campaign_id or None,
        "rule_id": found.rule_id or None,
        "routed_campaign_id": found.routed_campaign_id or None,
        "routed_rule_id": found.routed_rule_id or None,
        "touch_event_id": found.touch_event_id or None,
        "claims": [
            {
                "campaign_id": claim.campaign_id,
                "version": claim.version,
                "rule_id": claim.rule_id or None,
                "priority": claim.priority,
                "claim_time": timestamp_text(claim.claim_time),
                "is_active": claim.is_active,
            }
            for claim in found.claims
        ],
    }


def _view(explanation: Explanation, click: Click) -> dict[str, Any]:
    campaign, verdict, decision = explanation.campaign, explanation.verdict, explanation.decision
    decider = next((found.rule.rule_id for found in explanation.rules if found.decides), None)
    goes_to = None
    if decision is not None:
        goes_to = {
            "campaign_id": verdict.route.campaign_id,
            "rule_id": decision.rule_id or None,
            "destination_id": decision.destination_id or None,
            "url": _url(explanation, decision),
            "status": decision.status,
            "tags": list(decision.tags),
        }
    return {
        "campaign_id": campaign.campaign_id,
        "version": campaign.version,
        "time": milliseconds_text(click.event_time_ms),
        "rule_id": decider,
        "goes_to": goes_to,
        "marks": list(verdict.marks),
        "is_active": campaign.status == pb.CAMPAIGN_STATUS_ACTIVE,
        "is_in_schedule": explanation.runs,
        "is_open": explanation.is_open,
        "caps": list(map(_cap_view, explanation.caps)),
        "rules": list(map(_rule_view, explanation.rules)),
    }


def _url(explanation: Explanation, decision: Decision) -> str:
    """Return a destination's URL as it was given, with its macros; of a fallback or another campaign, its beginning."""
    campaign = explanation.campaign
    if explanation.verdict.route.campaign_id == campaign.campaign_id and decision.destination_id:
        actions = [rule.action for rule in campaign.rules if rule.rule_id == decision.rule_id] or [campaign.action]
        for destination in actions[0].destinations:
            if destination.destination_id == decision.destination_id:
                return destination.url
    return decision.target.base.decode("latin-1")


def _cap_view(found: CapExplained) -> dict[str, Any]:
    return {
        "kind": _KINDS.get(found.cap.kind, "unknown"),
        "period": _PERIODS.get(found.cap.period, "unknown"),
        "limit": found.cap.limit,
        "count": found.count,
        "is_over": found.count >= found.cap.limit,
    }


def _rule_view(found: RuleExplained) -> dict[str, Any]:
    return {
        "rule_id": found.rule.rule_id,
        "name": found.rule.name,
        "priority": found.rule.priority,
        "is_disabled": found.rule.is_disabled,
        "outcome": _TRUTHS[found.truth],
        "decides": found.decides,
        "why_not": list(found.why_not),
        "when": None if found.tree is None else _node_view(found.tree),
    }


def _node_view(node: Explained) -> dict[str, Any]:
    view: dict[str, Any] = {"kind": node.kind, "outcome": _TRUTHS[node.verdict]}
    if node.condition is None or node.found is None:
        return {**view, "of": [_node_view(child) for child in node.children]}
    is_known = node.found.state == "known"
    return {
        **view,
        "field": node.condition.field,
        "operator": node.condition.operator.value,
        "values": list(node.condition.values),
        "actual": {
            "state": node.found.state,
            "value": node.found.text.decode("utf-8", "replace") if is_known else None,
        },
    }


def _event_view(event: Event) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "event_time": milliseconds_text(event.event_time_ms),
        "event_type": event.event_type.decode("utf-8", "replace"),
        "campaign_id": event.campaign_id or None,
        "campaign_version": event.campaign_version or None,
        "rule_id": event.rule_id or None,
        "destination_id": event.destination_id or None,
        "marks": list(event.marks),
    }
