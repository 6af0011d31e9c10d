"""A campaign's definition as JSON, for the store: what was written by one release is read by the next."""

from datetime import datetime
from typing import Any, TypeAlias

from attribution_svc.campaigns.campaign import Definition
from attribution_svc.campaigns.claim import Claim, ConflictPolicy
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
from rule_language.parse import predicate_from_json, predicate_to_json
from svc_runtime.errors import Violation

Json: TypeAlias = Any  # what a JSON parser returns: anything


def definition_to_json(definition: Definition) -> dict[str, Json]:
    """Write what a JSON writer takes."""
    return {
        "action": definition.action and _action_to_json(definition.action),
        "rules": [_rule_to_json(rule) for rule in definition.rules],
        "paused_fallback": _fallback_to_json(definition.paused_fallback),
        "expired_fallback": _fallback_to_json(definition.expired_fallback),
        "over_cap_fallback": _fallback_to_json(definition.over_cap_fallback),
        "schedule": definition.schedule and _schedule_to_json(definition.schedule),
        "caps": [{"kind": cap.kind.value, "period": cap.period.value, "limit": cap.limit} for cap in definition.caps],
        "priority": definition.priority,
        "claim": definition.claim and _claim_to_json(definition.claim),
    }


def definition_from_json(value: dict[str, Json]) -> Definition:
    """Read what ``definition_to_json`` wrote."""
    return Definition(
        action=_action_from_json(value["action"]) if value["action"] else None,
        rules=tuple(_rule_from_json(rule) for rule in value["rules"]),
        paused_fallback=_fallback_from_json(value["paused_fallback"]),
        expired_fallback=_fallback_from_json(value["expired_fallback"]),
        over_cap_fallback=_fallback_from_json(value["over_cap_fallback"]),
        schedule=_schedule_from_json(value["schedule"]) if value["schedule"] else None,
        caps=tuple(Cap(CapKind(cap["kind"]), CapPeriod(cap["period"]), cap["limit"]) for cap in value["caps"]),
        priority=value["priority"],
        # A release that knew no claims wrote none.
        claim=_claim_from_json(value["claim"]) if value.get("claim") else None,
    )


def _action_to_json(action: Action) -> dict[str, Json]:
    return {
        "destinations": [
            {"destination_id": found.destination_id, "url": found.url, "weight": found.weight}
            for found in action.destinations
        ],
        "redirect_type": action.redirect_type.value,
        "parameter_policy": action.parameter_policy.value,
        "parameter_names": list(action.parameter_names),
        "tags": list(action.tags),
    }


def _action_from_json(value: dict[str, Json]) -> Action:
    return Action(
        destinations=tuple(
            Destination(found["url"], found["destination_id"], found["weight"]) for found in value["destinations"]
        ),
        redirect_type=RedirectType(value["redirect_type"]),
        parameter_policy=ParameterPolicy(value["parameter_policy"]),
        parameter_names=tuple(value["parameter_names"]),
        tags=tuple(value["tags"]),
    )


def _rule_to_json(rule: Rule) -> dict[str, Json]:
    return {
        "rule_id": rule.rule_id,
        "name": rule.name,
        "priority": rule.priority,
        "predicate": None if rule.predicate is None else predicate_to_json(rule.predicate),
        "action": _action_to_json(rule.action),
        "is_disabled": rule.is_disabled,
    }


def _rule_from_json(value: dict[str, Json]) -> Rule:
    violations: list[Violation] = []
    predicate = None
    if value["predicate"] is not None:
        predicate = predicate_from_json(value["predicate"], path="predicate", violations=violations)
        if predicate is None:
            # A rule whose condition is lost would match everything.
            raise ValueError(f"rule {value['rule_id']} cannot be read: {violations[0].description}")
    return Rule(
        action=_action_from_json(value["action"]),
        predicate=predicate,
        rule_id=value["rule_id"],
        name=value["name"],
        priority=value["priority"],
        is_disabled=value["is_disabled"],
    )


def _fallback_to_json(fallback: Fallback | None) -> dict[str, Json] | None:
    return None if fallback is None else {"url": fallback.url, "campaign_id": fallback.campaign_id}


def _fallback_from_json(value: dict[str, Json] | None) -> Fallback | None:
    return None if value is None else Fallback(value["url"], value["campaign_id"])


def _schedule_to_json(schedule: Schedule) -> dict[str, Json]:
    return {
        "start_time": schedule.start_time and schedule.start_time.isoformat(),
        "end_time": schedule.end_time and schedule.end_time.isoformat(),
        "windows": [
            {
                "weekdays": list(window.weekdays),
                "start_minute": window.start_minute,
                "end_minute": window.end_minute,
            }
            for window in schedule.windows
        ],
        "time_zone": schedule.time_zone,
    }


def _schedule_from_json(value: dict[str, Json]) -> Schedule:
    return Schedule(
        start_time=_instant(value["start_time"]),
        end_time=_instant(value["end_time"]),
        windows=tuple(
            WeeklyWindow(tuple(window["weekdays"]), window["start_minute"], window["end_minute"])
            for window in value["windows"]
        ),
        time_zone=value["time_zone"],
    )


def _claim_to_json(claim: Claim) -> dict[str, Json]:
    return {
        "start_time": claim.start_time and claim.start_time.isoformat(),
        "end_time": claim.end_time and claim.end_time.isoformat(),
        "policy": claim.policy.value,
        "forward_start_time": claim.forward_start_time and claim.forward_start_time.isoformat(),
        "is_withdrawn": claim.is_withdrawn,
        "close_time": claim.close_time and claim.close_time.isoformat(),
        "made_time": claim.made_time and claim.made_time.isoformat(),
    }


def _claim_from_json(value: dict[str, Json]) -> Claim:
    return Claim(
        start_time=_instant(value["start_time"]),
        end_time=_instant(value["end_time"]),
        policy=ConflictPolicy(value["policy"]),
        forward_start_time=_instant(value["forward_start_time"]),
        is_withdrawn=value["is_withdrawn"],
        close_time=_instant(value.get("close_time")),
        made_time=_instant(value.get("made_time")),
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
