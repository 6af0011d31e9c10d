"""Questions about behaviour, from the contract to ours: everything that is wrong is named at once."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from google.protobuf import duration_pb2

from analytics_svc.behavior.funnel import (
    DEFAULT_WINDOW,
    LONGEST_WINDOW,
    MOST_STEPS,
    Actor,
    FunnelSpec,
    FunnelStep,
)
from analytics_svc.behavior.journey import DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE, JourneySpec
from analytics_svc.behavior.path import (
    DEFAULT_LIMIT,
    DEFAULT_LOOKBACK,
    LONGEST_LOOKBACK,
    MOST_PATHS,
    PathSpec,
)
from analytics_svc.behavior.period import Period
from analytics_svc.behavior.retention import (
    DEFAULT_PERIOD_COUNT,
    MOST_CELLS,
    MOST_PERIODS,
    RetentionKind,
    RetentionMetric,
    RetentionSpec,
    cell_count,
)
from analytics_svc.convert.slices import instant_from_pb, slice_from_pb
from analytics_svc.dimension import Dimension, dimension_of
from rule_language.parse import predicate_from_pb
from svc_runtime.errors import InvalidArgumentError, Violation
from trellis.analytics.v1 import behavior_pb2 as pb
from trellis.analytics.v1 import report_pb2

_DEFAULT_DIMENSION = "channel"
_ACTORS = {pb.ACTOR_UNSPECIFIED: Actor.USER, pb.ACTOR_USER: Actor.USER, pb.ACTOR_SESSION: Actor.SESSION}
_PERIODS = {
    report_pb2.GRANULARITY_UNSPECIFIED: Period.DAY,
    report_pb2.GRANULARITY_DAY: Period.DAY,
    report_pb2.GRANULARITY_WEEK: Period.WEEK,
    report_pb2.GRANULARITY_MONTH: Period.MONTH,
}
_KINDS = {
    pb.RETENTION_KIND_UNSPECIFIED: RetentionKind.N_DAY,
    pb.RETENTION_KIND_N_DAY: RetentionKind.N_DAY,
    pb.RETENTION_KIND_UNBOUNDED: RetentionKind.UNBOUNDED,
    pb.RETENTION_KIND_BRACKET: RetentionKind.BRACKET,
}
_METRICS = {metric.value: metric for metric in RetentionMetric}


_MINUTE, _MILLISECOND = timedelta(minutes=1), timedelta(milliseconds=1)


def end_of_minute(now: datetime) -> datetime:
    """Return the last instant of this minute: "until now" is until then, and so long the question is the same."""
    return now.replace(second=0, microsecond=0) + _MINUTE - _MILLISECOND


def funnel_from_pb(request: pb.QueryFunnelRequest, *, organization_id: str, now: datetime) -> FunnelSpec:
    """Read a funnel. Raise InvalidArgumentError that names everything that is wrong."""
    violations: list[Violation] = []
    part = slice_from_pb(request.slice, organization_id=organization_id, now=end_of_minute(now), violations=violations)
    steps = _steps_from_pb(request.steps, violations)
    window = _length_from_pb(
        request.window if request.HasField("window") else None, DEFAULT_WINDOW, LONGEST_WINDOW, "window", violations
    )
    actor = _ACTORS.get(request.actor)
    if actor is None:
        violations.append(Violation("actor", f"there is no actor {request.actor}; there are ACTOR_USER, ACTOR_SESSION"))
    if request.allows_reentry and not request.is_strict_order:
        violations.append(Violation("allows_reentry", "is of strict order alone: set is_strict_order too"))
    dimension = _dimension_from_pb(request.dimension, violations)
    if violations:
        raise InvalidArgumentError.of(violations)
    return FunnelSpec(
        part,
        steps,
        window,
        actor or Actor.USER,
        is_strict_order=request.is_strict_order,
        is_strict_deduplication=request.is_strict_deduplication,
        is_strict_increase=request.is_strict_increase,
        is_strict_once=request.is_strict_once,
        allows_reentry=request.allows_reentry,
        dimension=dimension,
    )


def retention_from_pb(request: pb.QueryRetentionRequest, *, organization_id: str, now: datetime) -> RetentionSpec:
    """Read a retention matrix. Raise InvalidArgumentError that names everything that is wrong."""
    violations: list[Violation] = []
    part = slice_from_pb(request.slice, organization_id=organization_id, now=end_of_minute(now), violations=violations)
    start = come_back = None
    if request.HasField("start_predicate"):
        start = predicate_from_pb(request.start_predicate, path="start_predicate", violations=violations)
    if request.HasField("return_predicate"):
        come_back = predicate_from_pb(request.return_predicate, path="return_predicate", violations=violations)
    period, kind = _PERIODS.get(request.period), _KINDS.get(request.kind)
    if period is None:
        violations.append(Violation("period", "must be GRANULARITY_DAY, GRANULARITY_WEEK or GRANULARITY_MONTH"))
    if kind is None:
        names = ", ".join(pb.RetentionKind.keys()[1:])
        violations.append(Violation("kind", f"there is no kind {request.kind}; there are {names}"))
    metric = _METRICS.get(request.metric)
    if metric is None:
        valid = ", ".join(name for name in _METRICS if name)
        violations.append(Violation("metric", f"{request.metric[:60]!r} cannot be summed; there are {valid}"))
    violations += _length_violations(request, kind)
    if violations:
        raise InvalidArgumentError.of(violations)
    spec = RetentionSpec(
        part,
        start,
        come_back,
        period or Period.DAY,
        request.period_count or DEFAULT_PERIOD_COUNT,
        kind or RetentionKind.N_DAY,
        tuple(request.brackets),
        metric or RetentionMetric.ACTORS,
    )
    if (cells := cell_count(spec)) > MOST_CELLS:
        described = f"makes {cells:,} cells with this time range; the limit is {MOST_CELLS:,}"
        raise InvalidArgumentError.of([Violation("brackets" if request.brackets else "period_count", described)])
    return spec


def journeys_from_pb(request: pb.ListJourneysRequest, *, organization_id: str, now: datetime) -> JourneySpec:
    """Read which journeys. Raise InvalidArgumentError that names everything that is wrong."""
    violations: list[Violation] = []
    part = slice_from_pb(request.slice, organization_id=organization_id, now=now, violations=violations)
    if request.user_id and request.click_id:
        violations.append(Violation("click_id", "goes without user_id: either names the visitor"))
    if request.page_size > LARGEST_PAGE_SIZE:
        violations.append(Violation("page_size", f"is {request.page_size}, must be 1 to {LARGEST_PAGE_SIZE}"))
    is_person = _is_person(request, violations)
    if violations:
        raise InvalidArgumentError.of(violations)
    return JourneySpec(
        part,
        request.user_id,
        request.click_id,
        request.is_converted_only,
        request.page_size or DEFAULT_PAGE_SIZE,
        is_person=is_person,
        as_of=instant_from_pb(request.as_of_time) if request.HasField("as_of_time") else None,
    )


def _is_person(request: pb.ListJourneysRequest, violations: list[Violation]) -> bool:
    is_person = request.identity == pb.IDENTITY_PERSON
    if request.identity not in pb.Identity.values():
        names = ", ".join(pb.Identity.keys()[1:])
        violations.append(Violation("identity", f"there is no identity {request.identity}; there are {names}"))
    if is_person and not (request.user_id or request.click_id):
        violations.append(Violation("identity", "of persons needs user_id or click_id: it is one person's journey"))
    if request.HasField("as_of_time") and not is_person:
        violations.append(Violation("as_of_time", "goes with IDENTITY_PERSON alone: a visitor is one at any time"))
    return is_person


def paths_from_pb(request: pb.QueryPathsRequest, *, organization_id: str, now: datetime) -> PathSpec:
    """Read which paths. Raise InvalidArgumentError that names everything that is wrong."""
    violations: list[Violation] = []
    part = slice_from_pb(request.slice, organization_id=organization_id, now=end_of_minute(now), violations=violations)
    dimension = _dimension_from_pb(request.dimension or _DEFAULT_DIMENSION, violations)
    lookback = _length_from_pb(
        request.lookback if request.HasField("lookback") else None,
        DEFAULT_LOOKBACK,
        LONGEST_LOOKBACK,
        "lookback",
        violations,
    )
    if request.limit > MOST_PATHS:
        violations.append(Violation("limit", f"is {request.limit}, must be 1 to {MOST_PATHS}"))
    if violations or dimension is None:
        raise InvalidArgumentError.of(violations)
    return PathSpec(
        part,
        dimension,
        lookback,
        collapses_repeats=request.collapses_repeats,
        includes_unconverted=request.includes_unconverted,
        limit=request.limit or DEFAULT_LIMIT,
    )


def _steps_from_pb(messages: Sequence[pb.FunnelStep], violations: list[Violation]) -> tuple[FunnelStep, ...]:
    if not 1 <= len(messages) <= MOST_STEPS:
        violations.append(Violation("steps", f"has {len(messages)} steps, must have 1 to {MOST_STEPS}"))
        return ()
    steps = []
    for at, message in enumerate(messages):
        predicate = predicate_from_pb(message.predicate, path=f"steps[{at}].predicate", violations=violations)
        if predicate is not None:
            steps.append(FunnelStep(message.name or f"step {at + 1}", predicate))
    return tuple(steps)


def _length_from_pb(
    message: duration_pb2.Duration | None,
    default: timedelta,
    longest: timedelta,
    path: str,
    violations: list[Violation],
) -> timedelta:
    """Read a length of time in whole milliseconds."""
    if message is None:
        return default
    milliseconds = message.seconds * 1000 + message.nanos // 1_000_000
    if not 1 <= milliseconds <= longest // timedelta(milliseconds=1):
        violations.append(Violation(path, f"is {milliseconds / 1000:g} s, must be 0.001 s to {longest.days} days"))
        return default
    return timedelta(milliseconds=milliseconds)


def _dimension_from_pb(name: str, violations: list[Violation]) -> Dimension | None:
    return dimension_of(name, path="dimension", violations=violations) if name else None


def _length_violations(request: pb.QueryRetentionRequest, kind: RetentionKind | None) -> list[Violation]:
    brackets = list(request.brackets)
    if kind is not RetentionKind.BRACKET:
        violations = [Violation("brackets", "are of RETENTION_KIND_BRACKET alone")] if brackets else []
        if request.period_count > MOST_PERIODS:
            violations.append(Violation("period_count", f"is {request.period_count}, must be 1 to {MOST_PERIODS}"))
        return violations
    violations = []
    if request.period_count:
        violations.append(Violation("period_count", "goes without brackets: the last one says how far they reach"))
    if not brackets:
        violations.append(Violation("brackets", "has none: name the last period of each"))
    for at, (before, last) in enumerate(zip([0, *brackets], brackets, strict=False)):
        if not before < last <= MOST_PERIODS:
            described = f"is {last}, must be more than {before} and at most {MOST_PERIODS}"
            violations.append(Violation(f"brackets[{at}]", described))
            break
    return violations
