"""What a question about attribution names: models with their parameters, and look-backs."""

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import duration_pb2, struct_pb2

from ingress_gateway.given import Given, shown_value
from ingress_gateway.routes.analytics.question import Question
from svc_runtime.errors import InvalidArgumentError, TrellisError, Violation
from trellis.attribution.v1 import model_service_pb2 as pb

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "custom_position": ("first", "middle", "last"),
    "time_decay": ("half_life_days", "direct_weight"),
    "markov": ("order", "with_nulls"),
    "shapley": ("characteristic", "samples", "seed"),
}
"""Of the models that have some; a test compares them with those of attribution_svc."""
MS_OF_DAY = 86_400_000
_OF_A_MODEL = re.compile(r"(?:models\[\d+\]|model)\.parameters\.(\w+)")
_LONGEST_DAYS = 3650


def models_of(asked: Question) -> list[pb.ModelChoice]:
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
    duration.FromMilliseconds(max(1, round(days * MS_OF_DAY)))
    return duration


def of_parameters(error: TrellisError) -> TrellisError:
    """Name a parameter of a model as the client does."""
    if not any(_OF_A_MODEL.fullmatch(violation.field) for violation in error.violations):
        return error
    return InvalidArgumentError.of(
        [Violation(_OF_A_MODEL.sub(r"\1", violation.field), violation.description) for violation in error.violations]
    )
