"""``/api/v1/analytics/attribution`` without a visitor: what models credit, over everybody; and the models."""

import asyncio
from collections.abc import Sequence

import orjson
from aiohttp import web

from ingress_gateway.accept import chosen
from ingress_gateway.answer import JSON, Answer, Preset
from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.responses import respond, respond_json
from ingress_gateway.routes.analytics.asking import LONGEST_BODY_BYTES, SCOPE, in_their_names
from ingress_gateway.routes.analytics.attribution_question import MS_OF_DAY, lookbacks, models_of, of_parameters
from ingress_gateway.routes.analytics.attribution_table import table_of
from ingress_gateway.routes.analytics.numbers import Json, amount, info_of
from ingress_gateway.routes.analytics.question import Question
from ingress_gateway.routes.analytics.slices import slice_of
from svc_runtime.errors import TrellisError
from trellis.attribution.v1 import model_service_pb2 as pb

MEDIA_TYPES = ("application/json", "text/csv")
MOST_ROWS = 10_000
_FORMATS = {"json": "application/json", "csv": "text/csv"}
_NAMES = {
    "models": "model",
    "dimension": "group_by",
    "conversion_types": "type",
    "lookbacks": "lookback",
    "touch_limit": "limit",
}
_OF_A_VISITOR = ("user_id", "click_id")
"""Where one is named, this is no report."""
_CSV = Preset(*JSON.pairs[:-1], ("Content-Type", "text/csv; charset=utf-8"))


async def report(call: Call) -> web.StreamResponse:
    """Credit the conversions of the key's organisation."""
    api = ApiCall(call, SCOPE)
    accepted = chosen(", ".join(call.arrival.headers.getall("Accept", ())), MEDIA_TYPES)
    body = await api.body_bytes(LONGEST_BODY_BYTES) if call.arrival.method == "POST" else None
    # A filter's expressions take time to compile, a long answer to write: not on the loop that redirects people.
    request, wanted = await asyncio.to_thread(_read, call.arrival.query, body)
    try:
        answer = await api.ask(api.models.QueryAttribution, request, seconds=call.gateway.settings.query_seconds)
    except TrellisError as error:
        raise in_their_names(of_parameters(error), _NAMES) from None
    if (wanted or accepted) == "text/csv":
        return respond(Answer(200, _CSV, (), await asyncio.to_thread(table_of, answer)))
    return respond(Answer(200, JSON, (), await asyncio.to_thread(lambda: orjson.dumps(_view(answer)))))


async def models(call: Call) -> web.StreamResponse:
    """List the models."""
    api = ApiCall(call, SCOPE)
    with api.query():
        pass
    found = await api.ask(api.models.ListModels, pb.ListModelsRequest())
    return respond_json({"models": [_model(model) for model in found.models]})


def _read(query: bytes, body: bytes | None) -> tuple[pb.QueryAttributionRequest, str | None]:
    with Question.of(query) if body is None else Question.of_json(body) as asked:
        for name in _OF_A_VISITOR if asked.is_query else ():
            asked.ignored(name)
        if asked.is_query and asked.choice("identity", {"visitor": False, "person": True}):
            asked.refuse("identity", "of a person needs user_id or click_id: a report credits visitors")
        request = pb.QueryAttributionRequest(
            slice=slice_of(asked),
            models=models_of(asked),
            dimension=asked.text("group_by") or "",
            conversion_types=asked.words("type"),
            lookbacks=lookbacks(asked),
            limit=asked.number("limit", 1, MOST_ROWS) or 0,
            settings_version=asked.number("settings_version", 1, 2**31 - 1) or 0,
        )
        return request, asked.choice("format", _FORMATS)


def _view(answer: pb.QueryAttributionResponse) -> Json:
    names = [model.choice.model for model in answer.models]
    return {
        "models": [
            {
                **choice_view(model.choice),
                "title": model.title,
                "is_additive": model.is_additive,
                "is_learned": model.is_learned,
            }
            for model in answer.models
        ],
        "group_by": answer.dimension,
        "rows": [_row(names, row) for row in answer.rows],
        "rest": _row(names, answer.rest) if answer.HasField("rest") else None,
        "unattributed": [_credited(name, each) for name, each in zip(names, answer.nobody, strict=True)],
        "conversions": answer.conversion_count,
        "revenue": amount(answer.value_micros),
        "lookbacks": [lookback_view(lookback) for lookback in answer.lookbacks],
        "settings_version": answer.settings_version,
        "info": info_of(answer.info),
    }


def choice_view(choice: pb.ModelChoice) -> Json:
    """Write a model with its parameters."""
    parameters = {name: getattr(value, value.WhichOneof("kind") or "") for name, value in choice.parameters.items()}
    return {"model": choice.model, "parameters": dict(sorted(parameters.items()))}


def lookback_view(lookback: pb.Lookback) -> Json:
    """Write a look-back."""
    days = lookback.duration.ToMilliseconds() / MS_OF_DAY
    return {
        "type": lookback.conversion_type,
        "days": days if lookback.HasField("duration") else None,
        "same_session": lookback.is_same_session,
    }


def _row(names: Sequence[str], row: pb.AttributionRow) -> Json:
    return {
        "value": row.value,
        "credits": [_credited(name, each) for name, each in zip(names, row.credits, strict=True)],
        "last_touch_conversions": row.last_touch_count,
        "assisted_conversions": row.assisted_count,
        "assisted_revenue": amount(row.assisted_value_micros),
    }


def _credited(name: str, credited: pb.Credited) -> Json:
    has_error = credited.HasField("conversion_count_error")
    return {
        "model": name,
        "conversions": round(credited.conversion_count, 6),
        "conversions_error": round(credited.conversion_count_error, 6) if has_error else None,
        "revenue": amount(credited.value_micros),
    }


def _model(model: pb.Model) -> Json:
    return {
        "model": model.model,
        "title": model.title,
        "parameters": [_parameter(parameter) for parameter in model.parameters],
        "is_additive": model.is_additive,
        "is_learned": model.is_learned,
    }


def _parameter(parameter: pb.ModelParameter) -> Json:
    default = parameter.default_value
    return {
        "name": parameter.name,
        "description": parameter.description,
        "default": getattr(default, default.WhichOneof("kind") or ""),
        "least": parameter.least if parameter.HasField("least") else None,
        "most": parameter.most if parameter.HasField("most") else None,
        "choices": list(parameter.choices),
    }
