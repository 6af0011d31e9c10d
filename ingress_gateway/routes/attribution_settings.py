"""``/api/v1/attribution/settings``: the models and look-backs that hold where a question names none."""

from typing import Any

from aiohttp import web
from google.protobuf import duration_pb2

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.given import Given, shown_value, text_problem
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond_json
from ingress_gateway.routes.analytics.asking import in_their_names
from ingress_gateway.routes.analytics.attribution_question import listed_model
from ingress_gateway.routes.analytics.attribution_report import choice_view
from svc_runtime.errors import TrellisError
from trellis.attribution.v1 import model_service_pb2 as pb

READ, WRITE = "analytics:read", "analytics:write"
_MEMBERS = ("type", "lookback_days", "same_session", "model")
_LONGEST_DAYS = 3650
_MS_OF_DAY = 86_400_000
_MOST_VERSION = 2**31 - 1


async def get_settings(call: Call) -> web.StreamResponse:
    """Return what holds, or what an earlier version says."""
    api = ApiCall(call, READ)
    with api.query() as given:
        request = pb.GetModelSettingsRequest(version=given.number("version", 1, _MOST_VERSION) or 0)
    return _respond((await api.ask(api.models.GetModelSettings, request)).settings)


async def put_settings(call: Call) -> web.StreamResponse:
    """Let others hold, over all of history."""
    api = ApiCall(call, WRITE)
    with await api.body() as given:
        request = pb.PutModelSettingsRequest(types=_types(given))
        expected = given.number("expected_version", 0, _MOST_VERSION)
        if expected is not None:
            request.expected_version = expected
    try:
        return _respond((await api.ask(api.models.PutModelSettings, request)).settings)
    except TrellisError as error:
        raise in_their_names(error, {}) from None


def _types(given: Given) -> list[pb.TypeSetting]:
    value = given.anything("types")
    if not isinstance(value, list):
        given.refuse("types", "must be a list of objects, each of a type of conversions; the empty type is all others")
        return []
    return [_type(given, item, f"types[{at}]") for at, item in enumerate(value)]


def _type(given: Given, value: Any, path: str) -> pb.TypeSetting:
    if not isinstance(value, dict):
        given.refuse(path, f"is {shown_value(value)}, must be an object with {', '.join(_MEMBERS)}")
        return pb.TypeSetting()
    for name in value.keys() - set(_MEMBERS):
        given.refuse(f"{path}.{name[:60]}", f"is not a field of it; there are: {', '.join(_MEMBERS)}")
    name = value.get("type", "")
    if not isinstance(name, str) or text_problem(name):
        given.refuse(f"{path}.type", "must be a text")
        return pb.TypeSetting()
    setting = pb.TypeSetting(conversion_type=name)
    lookback = _lookback(given, value, path)
    if lookback is not None:
        setting.lookback.CopyFrom(lookback)
    if value.get("model") is not None:
        setting.model.CopyFrom(listed_model(given, value["model"], f"{path}.model"))
    return setting


def _lookback(given: Given, value: dict[str, Any], path: str) -> pb.Lookback | None:
    days, is_same_session = value.get("lookback_days"), value.get("same_session", False)
    if days is None and not is_same_session:
        return None
    if type(is_same_session) is not bool:
        given.refuse(f"{path}.same_session", f"is {shown_value(is_same_session)}, must be true or false")
    if days is not None and (type(days) not in (int, float) or not 0 < days <= _LONGEST_DAYS):
        given.refuse(f"{path}.lookback_days", f"is {shown_value(days)}, must be above 0 and at most {_LONGEST_DAYS}")
        return None
    lookback = pb.Lookback(is_same_session=is_same_session is True)
    if days is not None:
        duration = duration_pb2.Duration()
        duration.FromMilliseconds(max(1, round(days * _MS_OF_DAY)))
        lookback.duration.CopyFrom(duration)
    return lookback


def _respond(settings: pb.ModelSettings) -> web.StreamResponse:
    has_time = settings.HasField("create_time")
    view = {
        "version": settings.version,
        "types": [_view(setting) for setting in settings.types],
        "actor": settings.actor,
        "create_time": timestamp_text(settings.create_time) if has_time else None,
    }
    return respond_json(view)


def _view(setting: pb.TypeSetting) -> dict[str, Any]:
    lookback = setting.lookback
    return {
        "type": setting.conversion_type,
        "lookback_days": lookback.duration.ToMilliseconds() / _MS_OF_DAY if lookback.HasField("duration") else None,
        "same_session": lookback.is_same_session,
        "model": choice_view(setting.model) if setting.HasField("model") else None,
    }
