"""``/api/v1/analytics/attribution`` without a visitor: what models credit, over everybody; and the models."""

import asyncio
import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web
from google.protobuf import duration_pb2, struct_pb2

from ingress_gateway.accept import chosen
from ingress_gateway.answer import JSON, Answer, Preset
from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.given import Given, shown_value
from ingress_gateway.responses import respond, respond_json
from ingress_gateway.routes.analytics.asking import LONGEST_BODY_BYTES, SCOPE, in_their_names
from ingress_gateway.routes.analytics.numbers import Json, amount, info_of
from ingress_gateway.routes.analytics.question import Question
from ingress_gateway.routes.analytics.slices import slice_of
from svc_runtime.errors import InvalidArgumentError, TrellisError, Violation
from trellis.attribution.v1 import model_service_pb2 as pb

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "custom_position": ("first", "middle", "last"),
    "time_decay": ("half_life_days", "direct_weight"),
    "markov": ("order", "with_nulls"),
    "shapley": ("characteristic", "samples", "seed"),
}
"""Of the models that have some; a test compares them with those of attribution_svc."""
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
_OF_A_MODEL = re.compile(r"(?:models\[\d+\]|model)\.parameters\.(\w+)")
_MS_OF_DAY = 86_400_000
_LONGEST_DAYS = 3650
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
        return respond(Answer(200, _CSV, (), await asyncio.to_thread(_csv, answer)))
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
            models=_models(asked),
            dimension=asked.text("group_by") or "",
            conversion_types=asked.words("type"),
            lookbacks=lookbacks(asked),
            limit=asked.number("limit", 1, MOST_ROWS) or 0,
            settings_version=asked.number("settings_version", 1, 2**31 - 1) or 0,
        )
        return request, asked.choice("format", _FORMATS)


def _models(asked: Question) -> list[pb.ModelChoice]:
    """Return ``model`` of a query, or ``models`` of a body: each a name, or an object with parameters."""
    return query_models(asked) if asked.is_query else _listed_models(asked)


def query_models(asked: Question) -> list[pb.ModelChoice]:
    """Return ``model`` of a query with its parameters."""
    names = asked.words("model")
    given = {name: _plain(asked, name) for name in _EVERY}
    for name, value in given.items():
        owners = [model for model, parameters in PARAMETERS.items() if name in parameters]
        if value is not None and not {*owners} & {*names}:
            asked.refuse(name, f"is of {' and '.join(owners)}: give it as model")
    return [_choice(name, {p: given[p] for p in PARAMETERS.get(name, ())}) for name in names]


def _listed_models(asked: Question) -> list[pb.ModelChoice]:
    listed = asked.json("models")
    if listed is not None and not isinstance(listed, list):
        asked.refuse("models", 'must be a list of names, or of objects such as {"model": "time_decay", …}')
        return []
    return [listed_model(asked, value, f"models[{at}]") for at, value in enumerate(listed or ())]


_EVERY = tuple(name for names in PARAMETERS.values() for name in names)


def _plain(asked: Question, name: str) -> str | float | bool | None:
    text = asked.text(name)
    if text in ("true", "false"):
        return text == "true"
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def listed_model(asked: Given, value: Any, path: str) -> pb.ModelChoice:
    """Return a model that a body names; ``path`` is its name in a refusal."""
    if isinstance(value, str):
        return _choice(value, {})
    if isinstance(value, dict) and isinstance(value.get("model"), str):
        return _choice(value["model"], {name: of for name, of in value.items() if name != "model"})
    asked.refuse(path, f'is {shown_value(value)}, must be a name, or an object such as {{"model": "time_decay", …}}')
    return pb.ModelChoice()


def _choice(name: str, parameters: Mapping[str, Any]) -> pb.ModelChoice:
    values = {key: _value(value) for key, value in parameters.items() if value is not None}
    try:
        return pb.ModelChoice(model=name, parameters=values)
    except (UnicodeEncodeError, ValueError):
        raise InvalidArgumentError.of([Violation("model", "must be UTF-8")]) from None


def _value(value: Any) -> struct_pb2.Value:
    match value:
        case bool():
            return struct_pb2.Value(bool_value=value)
        case int() | float():
            return struct_pb2.Value(number_value=value)
        case str():
            return struct_pb2.Value(string_value=value)
        case _:
            return struct_pb2.Value()


def lookbacks(asked: Question) -> list[pb.Lookback]:
    """Return ``lookback`` or ``lookback_days``, ``same_session``, and ``lookbacks`` by type."""
    general = query_lookback(asked)
    found = [] if general is None else [general]
    by_type = asked.json("lookbacks")
    if by_type is not None and not isinstance(by_type, dict):
        asked.refuse("lookbacks", 'must be an object of types and days, such as {"purchase": 30}')
        return found
    for name, value in (by_type or {}).items():
        if type(value) not in (int, float) or not 0 < value <= _LONGEST_DAYS:
            asked.refuse(f"lookbacks.{name[:60]}", f"is {shown_value(value)}, must be days, above 0 to {_LONGEST_DAYS}")
            continue
        found.append(pb.Lookback(conversion_type=name, duration=_of_days(value)))
    return found


def query_lookback(asked: Question) -> pb.Lookback | None:
    """Return ``lookback`` or ``lookback_days``, and ``same_session``; None where nothing is given."""
    given, days, is_same_session = asked.duration("lookback"), _days(asked), asked.flag("same_session")
    if given is not None and days is not None:
        asked.refuse("lookback_days", "is given, and lookback too; give one of them")
    if given is None and days is None and not is_same_session:
        return None
    return pb.Lookback(duration=given or days, is_same_session=bool(is_same_session))


def _days(asked: Question) -> duration_pb2.Duration | None:
    value: Any = _plain(asked, "lookback_days") if asked.is_query else asked.json("lookback_days")
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value <= _LONGEST_DAYS:
        asked.refuse("lookback_days", f"is {shown_value(value)}, must be a number, above 0 to {_LONGEST_DAYS}")
        return None
    return _of_days(value)


def _of_days(days: float) -> duration_pb2.Duration:
    duration = duration_pb2.Duration()
    duration.FromMilliseconds(max(1, round(days * _MS_OF_DAY)))
    return duration


def of_parameters(error: TrellisError) -> TrellisError:
    """Name a parameter of a model as the client does."""
    if not any(_OF_A_MODEL.fullmatch(violation.field) for violation in error.violations):
        return error
    return InvalidArgumentError.of(
        [Violation(_OF_A_MODEL.sub(r"\1", violation.field), violation.description) for violation in error.violations]
    )


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
    days = lookback.duration.ToMilliseconds() / _MS_OF_DAY
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


def _csv(answer: pb.QueryAttributionResponse) -> bytes:
    """Write a line for each row, then for what is left. A model that is there twice is told by its place."""
    names = [model.choice.model for model in answer.models]
    labels = [name if names.count(name) == 1 else f"{name}_{at + 1}" for at, name in enumerate(names)]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    of_models = [f"{label}_{what}" for label in labels for what in ("conversions", "revenue")]
    assisted = ("last_touch_conversions", "assisted_conversions", "assisted_revenue")
    writer.writerow(["row", answer.dimension, *of_models, *assisted])
    for kind, row in (
        *(("value", row) for row in answer.rows),
        *((("rest", answer.rest),) if answer.HasField("rest") else ()),
        ("unattributed", pb.AttributionRow(credits=answer.nobody)),
    ):
        numbers = [number for each in row.credits for number in (_decimal(each.conversion_count), _money(each))]
        counted = (row.last_touch_count, row.assisted_count, _amount(row.assisted_value_micros))
        writer.writerow([kind, _harmless(row.value), *numbers, *counted])
    return text.getvalue().encode()


def _harmless(value: str) -> str:
    """Keep a spreadsheet from taking what a stranger sent for a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _decimal(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _money(credited: pb.Credited) -> str:
    return _amount(credited.value_micros)


def _amount(micros: int) -> str:
    return orjson.dumps(amount(micros)).decode()


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
