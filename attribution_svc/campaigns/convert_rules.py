"""Between the contract's messages and the domain: rules, actions, schedules, caps and fallbacks."""

from collections.abc import Iterable
from datetime import UTC

from attribution_svc.campaigns.rule import (
    Action,
    Cap,
    CapKind,
    CapPeriod,
    Destination,
    Fallback,
    ParameterPolicy,
    RedirectType,
    Rule,
    Schedule,
    WeeklyWindow,
)
from attribution_svc.campaigns.usage import MOST_USAGES, MOST_VISITORS, Exchange, Usage, Window
from rule_language.parse import predicate_from_pb, predicate_to_pb
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.attribution.v1 import attribution_service_pb2 as service_pb
from trellis.attribution.v1 import rule_pb2 as pb

POLICY_TO_PB = {policy: pb.ParameterPolicy.Value(f"PARAMETER_POLICY_{policy.name}") for policy in ParameterPolicy}
POLICY_FROM_PB = {number: policy for policy, number in POLICY_TO_PB.items()}
_TYPE_TO_PB = {kind: pb.RedirectType.Value(f"REDIRECT_TYPE_{kind.name}") for kind in RedirectType}
_TYPE_FROM_PB = {number: kind for kind, number in _TYPE_TO_PB.items()}
_KIND_TO_PB = {kind: pb.CapKind.Value(f"CAP_KIND_{kind.name}") for kind in CapKind}
_KIND_FROM_PB = {number: kind for kind, number in _KIND_TO_PB.items()}
_PERIOD_TO_PB = {period: pb.CapPeriod.Value(f"CAP_PERIOD_{period.name}") for period in CapPeriod}
_PERIOD_FROM_PB = {number: period for period, number in _PERIOD_TO_PB.items()}


def rules_from_pb(messages: Iterable[pb.Rule], violations: list[Violation]) -> tuple[Rule, ...]:
    """Read rules; add what cannot be read to ``violations``."""
    return tuple(_rule_from_pb(message, f"rules[{index}]", violations) for index, message in enumerate(messages))


def _rule_from_pb(message: pb.Rule, path: str, violations: list[Violation]) -> Rule:
    predicate = None
    if message.HasField("predicate"):
        predicate = predicate_from_pb(message.predicate, path=f"{path}.predicate", violations=violations)
    return Rule(
        action=action_from_pb(message.action, f"{path}.action", violations),
        predicate=predicate,
        rule_id=message.rule_id,
        name=message.name,
        priority=message.priority,
        is_disabled=message.is_disabled,
    )


def rules_to_pb(rules: Iterable[Rule]) -> list[pb.Rule]:
    """Write rules."""
    return [
        pb.Rule(
            rule_id=rule.rule_id,
            name=rule.name,
            priority=rule.priority,
            predicate=None if rule.predicate is None else predicate_to_pb(rule.predicate),
            action=action_to_pb(rule.action),
            is_disabled=rule.is_disabled,
        )
        for rule in rules
    ]


def action_from_pb(message: pb.Action, path: str, violations: list[Violation]) -> Action:
    """Read an action; add what cannot be read to ``violations``."""
    policy = POLICY_FROM_PB.get(message.parameter_policy, ParameterPolicy.MERGE)
    if message.parameter_policy not in POLICY_FROM_PB and message.parameter_policy:
        violations.append(Violation(f"{path}.parameter_policy", f"{message.parameter_policy} is no parameter policy"))
    kind = _TYPE_FROM_PB.get(message.redirect_type, RedirectType.FOUND)
    if message.redirect_type not in _TYPE_FROM_PB and message.redirect_type:
        violations.append(Violation(f"{path}.redirect_type", f"{message.redirect_type} is no redirect type"))
    return Action(
        destinations=tuple(
            Destination(found.url, found.destination_id, found.weight) for found in message.destinations
        ),
        redirect_type=kind,
        parameter_policy=policy,
        parameter_names=tuple(message.parameter_names),
        tags=tuple(message.tags),
    )


def action_to_pb(action: Action) -> pb.Action:
    """Write an action."""
    return pb.Action(
        destinations=[
            pb.Destination(destination_id=found.destination_id, url=found.url, weight=found.weight)
            for found in action.destinations
        ],
        redirect_type=_TYPE_TO_PB[action.redirect_type],
        parameter_policy=POLICY_TO_PB[action.parameter_policy],
        parameter_names=action.parameter_names,
        tags=action.tags,
    )


def fallback_from_pb(message: pb.Fallback) -> Fallback | None:
    """Read a fallback; None for an empty one."""
    return Fallback(message.url, message.campaign_id) if message.url or message.campaign_id else None


def fallback_to_pb(fallback: Fallback | None) -> pb.Fallback | None:
    """Write a fallback."""
    if fallback is None:
        return None
    if fallback.campaign_id:
        return pb.Fallback(campaign_id=fallback.campaign_id)
    return pb.Fallback(url=fallback.url) if fallback.url else pb.Fallback()


def schedule_from_pb(message: pb.Schedule) -> Schedule:
    """Read a schedule."""
    return Schedule(
        start_time=message.start_time.ToDatetime(UTC) if message.HasField("start_time") else None,
        end_time=message.end_time.ToDatetime(UTC) if message.HasField("end_time") else None,
        windows=tuple(
            WeeklyWindow(tuple(word.lower() for word in window.weekdays), window.start_minute, window.end_minute)
            for window in message.windows
        ),
        time_zone=message.time_zone or "UTC",
    )


def schedule_to_pb(schedule: Schedule) -> pb.Schedule:
    """Write a schedule."""
    return pb.Schedule(
        start_time=timestamp_of(schedule.start_time),
        end_time=timestamp_of(schedule.end_time),
        windows=[
            pb.WeeklyWindow(weekdays=window.weekdays, start_minute=window.start_minute, end_minute=window.end_minute)
            for window in schedule.windows
        ],
        time_zone=schedule.time_zone,
    )


def caps_from_pb(messages: Iterable[pb.Cap], violations: list[Violation]) -> tuple[Cap, ...]:
    """Read caps; add what cannot be read to ``violations``."""
    caps = []
    for index, message in enumerate(messages):
        kind, period = _KIND_FROM_PB.get(message.kind), _PERIOD_FROM_PB.get(message.period)
        if kind is None:
            words = ", ".join(known.value for known in CapKind)
            violations.append(Violation(f"caps[{index}].kind", f"must be one of: {words}"))
        if period is None:
            words = ", ".join(known.value for known in CapPeriod)
            violations.append(Violation(f"caps[{index}].period", f"must be one of: {words}"))
        if kind is not None and period is not None:
            caps.append(Cap(kind, period, message.limit))
    return tuple(caps)


def caps_to_pb(caps: Iterable[Cap]) -> list[pb.Cap]:
    """Write caps."""
    return [pb.Cap(kind=_KIND_TO_PB[cap.kind], period=_PERIOD_TO_PB[cap.period], limit=cap.limit) for cap in caps]


def exchange_from_pb(message: service_pb.ExchangeUsageRequest) -> Exchange:
    """Read what a gateway counted; raise InvalidArgumentError with everything that cannot be read."""
    violations: list[Violation] = []
    if len(message.gateway_id) != 32 or message.number < 1:
        violations.append(Violation("gateway_id", "must be 32 characters, with a number from 1"))
    if len(message.usages) > MOST_USAGES:
        violations.append(Violation("usages", f"are {len(message.usages)}, {MOST_USAGES} are allowed"))
    if (visitors := sum(len(usage.visitors) for usage in message.usages)) > MOST_VISITORS:
        violations.append(Violation("usages", f"have {visitors} visitors, {MOST_VISITORS} are allowed"))
    usages = [_usage_from_pb(usage, f"usages[{index}]", violations) for index, usage in enumerate(message.usages)]
    if violations:
        raise InvalidArgumentError.of(violations[:20])
    return Exchange(message.gateway_id, message.number, usages)


def _usage_from_pb(message: service_pb.Usage, path: str, violations: list[Violation]) -> Usage:
    window = message.window
    kind, period = _KIND_FROM_PB.get(window.kind), _PERIOD_FROM_PB.get(window.period)
    if kind is None or period is None or not (window.organization_id and window.campaign_id):
        violations.append(Violation(f"{path}.window", "must name organisation, campaign, kind and period"))
        kind, period = CapKind.CLICKS, CapPeriod.TOTAL
    start = window.start_time.ToDatetime(UTC)
    return Usage(
        Window(window.organization_id, window.campaign_id, kind.value, period.value, start),
        message.click_count,
        tuple(visitor - 2**64 if visitor >= 2**63 else visitor for visitor in message.visitors),
    )
