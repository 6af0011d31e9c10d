"""``/api/v1/conversions/{id}/explain``: how a conversion is credited, step by step."""

import asyncio
from typing import Any

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond_json
from ingress_gateway.routes.analytics.asking import SCOPE, in_their_names
from ingress_gateway.routes.analytics.attribution_question import of_parameters, query_lookback, query_models
from ingress_gateway.routes.analytics.attribution_report import choice_view, lookback_view
from ingress_gateway.routes.analytics.numbers import amount
from ingress_gateway.routes.analytics.question import Question
from svc_runtime.errors import TrellisError
from trellis.attribution.v1 import model_service_pb2 as pb

_NAMES = {"model": "model", "dimension": "group_by", "event_id": "conversion_id"}
_MOST_VERSION = 2**31 - 1
_PREFIX = "CANDIDATE_VERDICT_"


async def explain_conversion(call: Call) -> web.StreamResponse:
    """Explain a conversion of the key's organisation, by the id of its event."""
    api = ApiCall(call, SCOPE)
    request = pb.ExplainConversionRequest(event_id=api.path("conversion_id"))
    with Question.of(call.arrival.query) as asked:
        models = query_models(asked)
        if len(models) > 1:
            asked.refuse("model", "names several: a conversion is explained by one at a time")
        for model in models[:1]:
            request.model.CopyFrom(model)
        lookback = query_lookback(asked)
        if lookback is not None:
            request.lookback.CopyFrom(lookback)
        request.dimension = asked.text("group_by") or ""
        request.settings_version = asked.number("settings_version", 1, _MOST_VERSION) or 0
    try:
        answer = await api.ask(api.models.ExplainConversion, request, seconds=call.gateway.settings.query_seconds)
    except TrellisError as error:
        raise in_their_names(of_parameters(error), _NAMES) from None
    return respond_json(await asyncio.to_thread(_view, answer))


def _view(answer: pb.ExplainConversionResponse) -> dict[str, Any]:
    has_watermark = answer.HasField("watermark_time")
    return {
        "conversion": {**_event(answer.conversion), "is_counted": answer.is_counted},
        "adjustments": {"count": answer.adjustment_count, "value": amount(answer.adjustment_micros)},
        "model": {**choice_view(answer.model.choice), "title": answer.model.title},
        "lookback": lookback_view(answer.lookback),
        "group_by": answer.dimension,
        "candidates": [_candidate(each) for each in answer.candidates],
        "weight_sum": str(answer.weight_sum),
        "unattributed_value": amount(answer.nobody_micros),
        "settings_version": answer.settings_version,
        "has_earlier": answer.has_earlier,
        "watermark": timestamp_text(answer.watermark_time) if has_watermark else None,
    }


def _candidate(candidate: pb.ExplainedCandidate) -> dict[str, Any]:
    verdict = pb.CandidateVerdict.Name(candidate.verdict).removeprefix(_PREFIX).lower()
    return {
        **_event(candidate.event),
        "verdict": verdict,
        "explanation": candidate.explanation,
        "is_linked_click": candidate.is_linked_click,
        "days_before_conversion": round(candidate.age_ms / 86_400_000, 6),
        "weight": str(candidate.weight),
        "share": round(candidate.share, 9),
        "rounded_down": amount(candidate.floor_micros),
        "remainder": str(candidate.remainder),
        "from_what_was_left": amount(candidate.extra_micros),
        "attributed_value": amount(candidate.value_micros),
    }


def _event(event: pb.ExplainedEvent) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "timestamp": timestamp_text(event.event_time),
        "event_type": event.event_type,
        "user_id": event.user_id,
        "source": event.source,
        "medium": event.medium,
        "channel": event.channel,
        "campaign": event.campaign_id or None,
        "campaign_version": event.campaign_version or None,
        "group_value": event.dimension_value,
        "conversion_type": event.conversion_type or None,
        "conversion_status": event.conversion_status or None,
        "value": amount(event.value_micros),
        "currency": event.currency,
        "enrichment_version": event.enrichment_version,
        "mapping_versions": list(event.mapping_versions),
    }
