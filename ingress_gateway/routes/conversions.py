"""``/api/v1/conversions``: what partners and pages reported, made one of each order."""

import asyncio
from typing import Any

import orjson
from aiohttp import web

from ingress_gateway.answer import JSON, Answer
from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.given import Given
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond
from ingress_gateway.routes.analytics.numbers import amount
from svc_runtime.timestamps import timestamp_of
from trellis.attribution.v1 import conversion_service_pb2 as pb
from trellis.type.v1.time_range_pb2 import TimeRange

STATUSES = {word: word for word in ("lead", "sale", "rejected", "refunded", "unmapped")}
NO_STATUS = "none"
ORPHAN_REASONS = {
    word: word
    for word in (
        *("never_seen", "literal_macro", "truncated", "wrong_case", "double_encoded", "outside_window"),
        "no_reference",
    )
}
_MATCH_STATES = {
    pb.MATCH_STATE_PENDING: "pending",
    pb.MATCH_STATE_MATCHED: "matched",
    pb.MATCH_STATE_ORPHAN: "orphan",
}


async def list_conversions(call: Call) -> web.StreamResponse:
    """Return a page of conversions, those received last first."""
    api = ApiCall(call, "conversions:read")
    with api.query() as given:
        request = pb.ListConversionsRequest(
            time_range=_time_range(given),
            page_size=given.page_size(),
            page_token=given.page_token(),
            conversion_type=given.text("conversion_type") or "",
            status=given.choice("status", {**STATUSES, NO_STATUS: ""}),
            campaign_id=given.text("campaign_id") or "",
            click_id=given.text("click_id") or "",
            order_id=given.text("order_id") or "",
            orphan_reason=given.choice("orphan_reason", ORPHAN_REASONS) or "",
            is_orphan=given.flag("orphans"),
            is_test=given.flag("is_test"),
        )
    page = await api.ask(api.conversions.ListConversions, request)
    # A thousand conversions take tens of milliseconds to write out: not on the loop that redirects people.
    return _json(await asyncio.to_thread(_page_json, page))


async def get_conversion(call: Call) -> web.StreamResponse:
    """Return a conversion and the events behind it."""
    api = ApiCall(call, "conversions:read")
    with api.query():
        request = pb.GetConversionRequest(conversion_id=api.path("conversion_id"))
    found = await api.ask(api.conversions.GetConversion, request)
    view = {**conversion_view(found.conversion), "events": [_event(event) for event in found.events]}
    return _json(orjson.dumps(view))


async def match_conversion(call: Call) -> web.StreamResponse:
    """Make a click that of a conversion, for good."""
    api = ApiCall(call, "conversions:write")
    with await api.body() as given:
        request = pb.MatchConversionRequest(
            conversion_id=api.path("conversion_id"), click_id=given.text("click_id", is_required=True) or ""
        )
    made = await api.ask(api.conversions.MatchConversion, request)
    return _json(orjson.dumps(conversion_view(made.conversion)))


async def list_orphans(call: Call) -> web.StreamResponse:
    """Say what conversions without a click come to, by cause."""
    api = ApiCall(call, "conversions:read")
    with api.query() as given:
        request = pb.GetOrphanSummaryRequest(time_range=_time_range(given))
    found = await api.ask(api.conversions.GetOrphanSummary, request)
    by_reason: dict[str, list[pb.OrphanSum]] = {}
    for told in found.sums:
        by_reason.setdefault(told.reason, []).append(told)
    orphans = [
        {
            "reason": reason,
            "conversion_count": sum(told.conversion_count for told in sums),
            "amounts": [
                {"currency": told.currency, "value": amount(told.value_micros)} for told in sums if told.value_micros
            ],
        }
        for reason, sums in by_reason.items()
    ]
    return _json(orjson.dumps({"orphans": orphans}))


def _time_range(given: Given) -> TimeRange:
    start, end = given.instant("start_time"), given.instant("end_time")
    if start and end and end <= start:
        given.refuse("end_time", "must be after start_time")
    return TimeRange(start_time=timestamp_of(start), end_time=timestamp_of(end))


def conversion_view(conversion: pb.Conversion) -> dict[str, Any]:
    """Return a conversion as the API gives it."""
    return {
        "conversion_id": conversion.conversion_id,
        "conversion_type": conversion.conversion_type,
        "event_type": conversion.event_type,
        "order_id": conversion.order_id,
        "status": conversion.status or None,
        "is_counted": conversion.is_counted,
        "value": amount(conversion.value_micros) if conversion.HasField("value_micros") else None,
        "gross_value": amount(conversion.gross_micros) if conversion.HasField("gross_micros") else None,
        "refunded_value": amount(conversion.refunded_micros),
        "currency": conversion.currency,
        "is_currency_assumed": conversion.is_currency_assumed,
        "is_test": conversion.is_test,
        "conversion_time": timestamp_text(conversion.conversion_time),
        "create_time": timestamp_text(conversion.create_time),
        "last_event_time": timestamp_text(conversion.last_event_time),
        "update_time": timestamp_text(conversion.update_time),
        "revision": conversion.revision,
        "event_ids": list(conversion.event_ids),
        "click_references": list(conversion.click_references),
        "network": conversion.network,
        "user_id": conversion.user_id,
        "marks": list(conversion.marks),
        "merged_into": conversion.merged_into or None,
        "match_state": _MATCH_STATES.get(conversion.match_state, "unknown"),
        "orphan_reason": conversion.orphan_reason or None,
        "click": _touch(conversion.touch) if conversion.HasField("touch") else None,
        "campaign_id": conversion.campaign_id,
        "is_outside_window": conversion.is_outside_window,
        "is_accepted": conversion.is_accepted,
        "suggestions": [
            {"reason": told.reason, "reference": told.reference, "click": _touch(told.touch)}
            for told in conversion.suggestions
        ],
    }


def _touch(touch: pb.ConversionTouch) -> dict[str, Any]:
    return {
        "event_id": touch.event_id,
        "event_time": timestamp_text(touch.event_time),
        "click_id": touch.click_id,
        "external_click_id": touch.external_click_id,
        "campaign_id": touch.campaign_id,
        "campaign_version": touch.campaign_version,
        "rule_id": touch.rule_id,
        "destination_id": touch.destination_id,
        "user_id": touch.user_id,
        "source": touch.source,
        "medium": touch.medium,
        "channel": touch.channel,
    }


def _event(event: pb.ConversionEvent) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "event_time": timestamp_text(event.event_time),
        "conversion_time": timestamp_text(event.conversion_time),
        "event_type": event.event_type,
        "status_text": event.status_text,
        "status": event.status or None,
        "amount_text": event.amount_text,
        "value": amount(event.value_micros) if event.HasField("value_micros") else None,
        "currency": event.currency,
        "order_id": event.order_id,
        "click_references": list(event.click_references),
        "network": event.network,
        "route": event.route,
        "marks": list(event.marks),
    }


def _page_json(page: pb.ListConversionsResponse) -> bytes:
    return orjson.dumps(
        {"conversions": list(map(conversion_view, page.conversions)), "next_page_token": page.next_page_token}
    )


def _json(body: bytes) -> web.Response:
    return respond(Answer(200, JSON, (), body))
