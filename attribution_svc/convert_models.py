"""Between the contract's messages and the domain: credits of all visitors, and the models."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from google.protobuf import struct_pb2

from attribution_svc.credit_report import (
    AskedModel,
    Credited,
    CreditReport,
    JourneyScope,
    ReportQuestion,
    Row,
    TypedLookback,
)
from attribution_svc.models.registry import (
    KINDS,
    Choice,
    Flag,
    Number,
    Parameter,
    RuleKind,
    Value,
    kind_of,
    with_defaults,
)
from attribution_svc.models.touch import LONGEST_LOOKBACK_DAYS, Lookback
from svc_runtime.errors import InvalidArgumentError, Violation
from trellis.analytics.v1 import report_pb2
from trellis.attribution.v1 import model_service_pb2 as pb

MOST_MODELS = 16
MOST_LOOKBACKS = 101
MOST_ROWS = 10_000
DEFAULT_ROWS = 100
DEFAULT_DIMENSION = "channel"
DEFAULT_MODEL = "last_touch"
DEFAULT_LOOKBACKS = (TypedLookback("", Lookback.days(30)),)


def question_from_pb(request: pb.QueryAttributionRequest) -> ReportQuestion:
    """Read what is asked; raise InvalidArgumentError with everything that is wrong."""
    violations: list[Violation] = []
    models = models_from_pb(request.models or [pb.ModelChoice(model=DEFAULT_MODEL)], violations)
    lookbacks = lookbacks_from_pb(request.lookbacks, violations) or DEFAULT_LOOKBACKS
    if request.limit > MOST_ROWS:
        violations.append(Violation("limit", f"is {request.limit}, must be 1 to {MOST_ROWS}"))
    if violations:
        raise InvalidArgumentError.of(violations)
    return ReportQuestion(
        JourneyScope(
            request.slice.SerializeToString(),
            request.dimension or DEFAULT_DIMENSION,
            tuple(request.conversion_types),
            lookbacks,
        ),
        models,
        request.limit or DEFAULT_ROWS,
    )


def models_from_pb(messages: Sequence[pb.ModelChoice], violations: list[Violation]) -> tuple[AskedModel, ...]:
    """Read models; what is wrong is added to ``violations``."""
    if len(messages) > MOST_MODELS:
        violations.append(Violation("models", f"has {len(messages)} models; the limit is {MOST_MODELS}"))
        return ()
    models: list[AskedModel] = []
    for at, message in enumerate(messages):
        try:
            model = _model_from_pb(message)
        except InvalidArgumentError as error:
            violations += [Violation(f"models[{at}].{each.field}", each.description) for each in error.violations]
            continue
        if any((model.name, model.parameters) == (known.name, known.parameters) for known in models):
            violations.append(
                Violation(f"models[{at}].model", f"is {model.name!r} a second time, with the same parameters")
            )
        models.append(model)
    return tuple(models)


def _model_from_pb(message: pb.ModelChoice) -> AskedModel:
    kind = kind_of(message.model)
    parameters = with_defaults(kind, {name: _value_from_pb(value) for name, value in message.parameters.items()})
    if isinstance(kind, RuleKind):
        return AskedModel(kind.name, kind.title, parameters, rule=kind.make(**parameters))
    learn = kind.learn
    return AskedModel(kind.name, kind.title, parameters, learner=lambda paths: learn(paths, **parameters))


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
    if len(messages) > MOST_LOOKBACKS:
        violations.append(Violation("lookbacks", f"has {len(messages)} look-backs; the limit is {MOST_LOOKBACKS}"))
        return ()
    found: dict[str, TypedLookback] = {}
    for at, message in enumerate(messages):
        milliseconds = message.duration.ToMilliseconds() if message.HasField("duration") else None
        if milliseconds is not None and not 0 < milliseconds <= timedelta(days=LONGEST_LOOKBACK_DAYS) / _MILLISECOND:
            problem = f"is {milliseconds / 1000:g} s, must be 0.001 s to {LONGEST_LOOKBACK_DAYS} days"
            violations.append(Violation(f"lookbacks[{at}].duration", problem))
        if message.conversion_type in found:
            problem = f"is {message.conversion_type[:60]!r}, which has a look-back already"
            violations.append(Violation(f"lookbacks[{at}].conversion_type", problem))
        lookback = Lookback(milliseconds, message.is_same_session)
        found[message.conversion_type] = TypedLookback(message.conversion_type, lookback)
    return tuple(found.values())


_MILLISECOND = timedelta(milliseconds=1)


def report_to_pb(report: CreditReport) -> pb.QueryAttributionResponse:
    """Write an answer."""
    scope = report.question.scope
    return pb.QueryAttributionResponse(
        models=[
            pb.AppliedModel(
                choice=model_to_pb(model),
                title=model.title,
                is_additive=model.is_additive,
                is_learned=model.learner is not None,
            )
            for model in report.question.models
        ],
        rows=[_row_to_pb(row) for row in report.rows],
        rest=None if report.rest is None else _row_to_pb(report.rest),
        nobody=[_credited_to_pb(each) for each in report.nobody],
        conversion_count=report.conversion_count,
        value_micros=report.micros,
        lookbacks=lookbacks_to_pb(scope.lookbacks),
        dimension=scope.dimension,
        info=report_pb2.ResultInfo.FromString(report.info),
    )


def model_to_pb(model: AskedModel) -> pb.ModelChoice:
    """Write a model with every parameter."""
    return pb.ModelChoice(
        model=model.name, parameters={name: _value_to_pb(value) for name, value in model.parameters.items()}
    )


def lookbacks_to_pb(lookbacks: Iterable[TypedLookback]) -> list[pb.Lookback]:
    """Write look-backs."""
    messages = []
    for each in lookbacks:
        message = pb.Lookback(conversion_type=each.conversion_type, is_same_session=each.lookback.is_same_session)
        if each.lookback.milliseconds is not None:
            message.duration.FromMilliseconds(each.lookback.milliseconds)
        messages.append(message)
    return messages


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
