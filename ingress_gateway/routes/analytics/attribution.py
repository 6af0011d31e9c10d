"""``/api/v1/analytics/attribution``: what each touch of a visitor is credited with; without a visitor, a report."""

from typing import Any

import orjson
from aiohttp import web

from ingress_gateway.answer import JSON, Answer
from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.given import shown_value
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond
from ingress_gateway.routes.analytics.asking import SCOPE, in_their_names
from ingress_gateway.routes.analytics.attribution_report import report
from ingress_gateway.routes.analytics.numbers import amount
from ingress_gateway.routes.analytics.question import Question
from svc_runtime.errors import TrellisError
from svc_runtime.timestamps import timestamp_of
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.type.v1 import time_range_pb2

PARAMETERS = ("half_life_days", "direct_weight", "first", "middle", "last")
"""Of the models that look at one journey at a time; docs/models.md."""
_NAMES = {"time_range": "end", **{f"parameters.{name}": name for name in PARAMETERS}}


async def attribution(call: Call) -> web.StreamResponse:
    """Credit the conversions of one visitor, where one is named, or of all."""
    given = Question.of(call.arrival.query)
    if call.arrival.method == "POST" or not (given.has("user_id") or given.has("click_id")):
        return await report(call)
    return await _visitor(call)


async def _visitor(call: Call) -> web.StreamResponse:
    """Credit a visitor's conversions to the touches before them."""
    api = ApiCall(call, SCOPE)
    with Question.of(call.arrival.query) as asked:
        zone = asked.zone()
        start, end = asked.moment("start", zone), asked.moment("end", zone)
        request = pb.AttributeJourneyRequest(
            user_id=asked.text("user_id") or "",
            click_id=asked.text("click_id") or "",
            model=asked.text("model") or "",
            parameters=_parameters(asked),
            lookback=asked.duration("lookback"),
            time_range=time_range_pb2.TimeRange(start_time=timestamp_of(start), end_time=timestamp_of(end)),
            currency=asked.text("currency") or "",
            is_person=asked.choice("identity", {"visitor": False, "person": True}) or False,
        )
    try:
        answer = await api.ask(api.attribution.AttributeJourney, request, seconds=call.gateway.settings.query_seconds)
    except TrellisError as error:
        raise in_their_names(error, _NAMES) from None
    return respond(Answer(200, JSON, (), orjson.dumps(_view(answer))))


def _parameters(asked: Question) -> dict[str, float]:
    found = {}
    for name in PARAMETERS:
        text = asked.text(name)
        if text is None:
            continue
        try:
            found[name] = float(text)
        except ValueError:
            asked.refuse(name, f"is {shown_value(text)}, must be a number")
    return found


def _view(answer: pb.AttributeJourneyResponse) -> dict[str, Any]:
    has_watermark = answer.HasField("watermark_time")
    return {
        "user_id": answer.user_id,
        "total_value": amount(answer.total_micros),
        "currency": answer.currency,
        "conversions": answer.conversion_count,
        "attribution_model": answer.model,
        "touchpoints": [_touchpoint(point) for point in answer.touchpoints],
        "unattributed_value": amount(answer.nobody_micros),
        "insights": list(answer.insights),
        "watermark": timestamp_text(answer.watermark_time) if has_watermark else None,
    }


def _touchpoint(point: pb.Touchpoint) -> dict[str, Any]:
    has_days = point.HasField("days_before_conversion")
    return {
        "event_id": point.event_id,
        "timestamp": timestamp_text(point.event_time),
        "source": point.source,
        "medium": point.medium,
        "channel": point.channel,
        "campaign": point.campaign_id or None,
        "days_before_conversion": round(point.days_before_conversion, 4) if has_days else None,
        "attributed_value": amount(point.value_micros),
        "attribution_percent": point.percent,
    }
