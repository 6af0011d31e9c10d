"""Between the contract's messages and the domain: credits of all visitors, and the models."""

from collections.abc import Sequence

from google.protobuf import struct_pb2

from attribution_svc.crediting.report import Credited, CreditReport, JourneyScope, ReportQuestion, Row
from attribution_svc.crediting.settings import (
    AskedModel,
    ModelSettings,
    TypedLookback,
    TypeSetting,
    asked_model,
    type_violations,
)
from attribution_svc.models.registry import KINDS, Choice, Flag, Number, Parameter, RuleKind, Value, with_defaults
from attribution_svc.models.touch import Lookback
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import report_pb2
from trellis.attribution.v1 import model_service_pb2 as pb

MOST_MODELS = 16
MOST_ROWS = 10_000
DEFAULT_ROWS = 100
DEFAULT_DIMENSION = "channel"


def question_from_pb(request: pb.QueryAttributionRequest, settings: ModelSettings) -> ReportQuestion:
    """Read what is asked; ``settings`` fill in the rest. Raise InvalidArgumentError with everything that is wrong."""
    violations: list[Violation] = []
    models = models_from_pb(request.models, violations)
    lookbacks = lookbacks_from_pb(request.lookbacks, violations)
    if request.limit > MOST_ROWS:
        violations.append(Violation("limit", f"is {request.limit}, must be 1 to {MOST_ROWS}"))
    if violations:
        raise InvalidArgumentError.of(violations)
    return ReportQuestion(
        JourneyScope(
            request.slice.SerializeToString(),
            request.dimension or DEFAULT_DIMENSION,
            tuple(request.conversion_types),
            lookbacks or settings.lookbacks(),
        ),
        models or (settings.model(request.conversion_types),),
        request.limit or DEFAULT_ROWS,
        settings.version,
    )


def models_from_pb(messages: Sequence[pb.ModelChoice], violations: list[Violation]) -> tuple[AskedModel, ...]:
    """Read models; what is wrong is added to ``violations``."""
    if len(messages) > MOST_MODELS:
        violations.append(Violation("models", f"has {len(messages)} models; the limit is {MOST_MODELS}"))
        return ()
    models: list[AskedModel] = []
    for at, message in enumerate(messages):
        model = model_from_pb(message, f"models[{at}]", violations)
        if model is None:
            continue
        if any(map(model.is_same, models)):
            problem = f"is {model.name!r} a second time, with the same parameters"
            violations.append(Violation(f"models[{at}].model", problem))
        models.append(model)
    return tuple(models)


def model_from_pb(message: pb.ModelChoice, path: str, violations: list[Violation]) -> AskedModel | None:
    """Read a model; None, and what is wrong added to ``violations``, where it is none."""
    try:
        return asked_model(message.model, {name: _value_from_pb(value) for name, value in message.parameters.items()})
    except InvalidArgumentError as error:
        violations += [Violation(f"{path}.{each.field}", each.description) for each in error.violations]
        return None


def _value_from_pb(value: struct_pb2.Value) -> Value:
    match value.WhichOneof("kind"):
        case "number_value":
            return value.number_value
        case "bool_value":
            return value.bool_value
        case _:
            # What is no text either is an empty one, which no parameter takes.
            return value.string_value


def lookbacks_from_pb(messages: Sequence[pb.Lookback], violations: list[Violation]) -> tuple[TypedLookback, ...]:
    """Read look-backs; what is wrong is added to ``violations``."""
    found = [TypeSetting(message.conversion_type, lookback_from_pb(message)) for message in messages]
    violations += type_violations(found, "lookbacks")
    return tuple(TypedLookback(each.conversion_type, each.lookback) for each in found if each.lookback is not None)


def lookback_from_pb(message: pb.Lookback) -> Lookback:
    """Read a look-back, whatever its length."""
    milliseconds = message.duration.ToMilliseconds() if message.HasField("duration") else None
    return Lookback(milliseconds, message.is_same_session)


def types_from_pb(messages: Sequence[pb.TypeSetting]) -> tuple[TypeSetting, ...]:
    """Read settings; raise InvalidArgumentError with everything that is wrong."""
    violations: list[Violation] = []
    types = tuple(
        TypeSetting(
            message.conversion_type,
            lookback_from_pb(message.lookback) if message.HasField("lookback") else None,
            model_from_pb(message.model, f"types[{at}].model", violations) if message.HasField("model") else None,
        )
        for at, message in enumerate(messages)
    )
    violations += type_violations(types, "types")
    if violations:
        raise InvalidArgumentError.of(violations)
    return types


def settings_to_pb(settings: ModelSettings) -> pb.ModelSettings:
    """Write settings."""
    return pb.ModelSettings(
        version=settings.version,
        types=[_type_to_pb(each) for each in settings.types],
        actor=settings.actor,
        create_time=timestamp_of(settings.create_time),
    )


def _type_to_pb(setting: TypeSetting) -> pb.TypeSetting:
    message = pb.TypeSetting(conversion_type=setting.conversion_type)
    if setting.lookback is not None:
        message.lookback.CopyFrom(lookback_to_pb(TypedLookback(setting.conversion_type, setting.lookback)))
    if setting.model is not None:
        message.model.CopyFrom(model_to_pb(setting.model))
    return message


def report_to_pb(report: CreditReport) -> pb.QueryAttributionResponse:
    """Write an answer."""
    scope = report.question.scope
    return pb.QueryAttributionResponse(
        models=[applied_to_pb(model) for model in report.question.models],
        rows=[_row_to_pb(row) for row in report.rows],
        rest=None if report.rest is None else _row_to_pb(report.rest),
        nobody=[_credited_to_pb(each) for each in report.nobody],
        conversion_count=report.conversion_count,
        value_micros=report.micros,
        lookbacks=[lookback_to_pb(each) for each in scope.lookbacks],
        dimension=scope.dimension,
        info=report_pb2.ResultInfo.FromString(report.info),
        settings_version=report.question.settings_version,
    )


def applied_to_pb(model: AskedModel) -> pb.AppliedModel:
    """Write a model as it was applied."""
    return pb.AppliedModel(
        choice=model_to_pb(model),
        title=model.title,
        is_additive=model.is_additive,
        is_learned=model.learner is not None,
    )


def model_to_pb(model: AskedModel) -> pb.ModelChoice:
    """Write a model with every parameter."""
    return pb.ModelChoice(
        model=model.name, parameters={name: _value_to_pb(value) for name, value in model.parameters.items()}
    )


def lookback_to_pb(lookback: TypedLookback) -> pb.Lookback:
    """Write a look-back."""
    message = pb.Lookback(conversion_type=lookback.conversion_type, is_same_session=lookback.lookback.is_same_session)
    if lookback.lookback.milliseconds is not None:
        message.duration.FromMilliseconds(lookback.lookback.milliseconds)
    return message


def _row_to_pb(row: Row) -> pb.AttributionRow:
    return pb.AttributionRow(
        value=row.value,
        credits=[_credited_to_pb(each) for each in row.credits],
        last_touch_count=row.assists.last,
        assisted_count=row.assists.assisted,
        assisted_value_micros=row.assists.assisted_value_micros,
    )


def _credited_to_pb(credited: Credited) -> pb.Credited:
    return pb.Credited(
        conversion_count=credited.conversions,
        value_micros=credited.micros,
        conversion_count_error=credited.conversions_error,
    )


def _value_to_pb(value: Value) -> struct_pb2.Value:
    match value:
        case bool():
            return struct_pb2.Value(bool_value=value)
        case str():
            return struct_pb2.Value(string_value=value)
        case _:
            return struct_pb2.Value(number_value=value)


def models_to_pb() -> pb.ListModelsResponse:
    """Write every model that there is."""
    return pb.ListModelsResponse(
        models=[
            pb.Model(
                model=kind.name,
                title=kind.title,
                parameters=[_parameter_to_pb(parameter) for parameter in kind.parameters],
                is_additive=not isinstance(kind, RuleKind) or kind.make(**with_defaults(kind, {})).is_additive,
                is_learned=not isinstance(kind, RuleKind),
            )
            for kind in KINDS.values()
        ]
    )


def _parameter_to_pb(parameter: Parameter) -> pb.ModelParameter:
    match parameter:
        case Number(name, default, low, high, description):
            return pb.ModelParameter(
                name=name, description=description, default_value=_value_to_pb(default), least=low, most=high
            )
        case Flag(name, default, description):
            return pb.ModelParameter(name=name, description=description, default_value=_value_to_pb(default))
        case Choice(name, default, names, description):
            return pb.ModelParameter(
                name=name, description=description, default_value=_value_to_pb(default), choices=names
            )
