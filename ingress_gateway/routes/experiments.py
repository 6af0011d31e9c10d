"""``/api/v1/campaigns/{campaign_id}/experiment`` and ``…/rules``: how destinations and rules do."""

from typing import Any

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.given import Given, shown_value
from ingress_gateway.responses import respond_json
from ingress_gateway.routes.analytics.numbers import amount, instant_of
from ingress_gateway.routes.claim_json import moment_of
from trellis.attribution.v1 import experiment_service_pb2 as pb
from trellis.type.v1 import time_range_pb2

_DIGITS = 6


async def get_experiment(call: Call) -> web.StreamResponse:
    """Compare the destinations of an action as the arms of a test."""
    api = ApiCall(call, "analytics:read")
    with api.query() as given:
        request = pb.GetExperimentRequest(
            campaign_id=api.path("campaign_id"),
            rule_id=given.text("rule_id") or "",
            time_range=_range(given),
            control_destination_id=given.text("control") or "",
            confidence=_fraction(given, "confidence", 1.0),
            minimum_effect=_fraction(given, "minimum_effect", 10.0),
        )
    answer = await api.ask(api.experiments.GetExperiment, request, seconds=call.gateway.settings.query_seconds)
    return respond_json(
        {
            "campaign_id": answer.campaign_id,
            "rule_id": answer.rule_id or None,
            "version": answer.version,
            "start": instant_of(answer.time_range, "start_time"),
            "end": instant_of(answer.time_range, "end_time"),
            "control": answer.control_destination_id,
            "arms": list(map(_arm, answer.arms)),
            "split": {
                "chi2": round(answer.split_chi2, _DIGITS),
                "p_value": answer.split_p_value,
                "is_broken": answer.is_split_broken,
                "warning": _warning(answer),
            },
            "other_visitors": answer.other_visitor_count,
            "watermark": instant_of(answer, "watermark_time"),
        }
    )


async def get_rules(call: Call) -> web.StreamResponse:
    """Say what each rule brought."""
    api = ApiCall(call, "analytics:read")
    with api.query() as given:
        request = pb.GetRuleReportRequest(campaign_id=api.path("campaign_id"), time_range=_range(given))
    answer = await api.ask(api.experiments.GetRuleReport, request, seconds=call.gateway.settings.query_seconds)
    return respond_json(
        {
            "campaign_id": answer.campaign_id,
            "version": answer.version,
            "start": instant_of(answer.time_range, "start_time"),
            "end": instant_of(answer.time_range, "end_time"),
            "rules": list(map(_rule, answer.rules)),
            "watermark": instant_of(answer, "watermark_time"),
        }
    )


def _range(given: Given) -> time_range_pb2.TimeRange:
    start, end = moment_of(given, "start"), moment_of(given, "end")
    if start is not None and end is not None and end.ToNanoseconds() <= start.ToNanoseconds():
        given.refuse("end", "must be after start; a date is the midnight that it begins with")
    return time_range_pb2.TimeRange(start_time=start, end_time=end)


def _fraction(given: Given, name: str, highest: float) -> float:
    """Read a number above 0 and below ``highest``; 0 where it is not given."""
    text = given.text(name)
    if text is None:
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < highest:
        given.refuse(name, f"is {shown_value(text)}, must be a number above 0 and below {highest:g}")
        return 0.0
    return value


def _warning(answer: pb.GetExperimentResponse) -> str:
    if not answer.is_split_broken:
        return ""
    return "visitors did not come as the weights say: something takes some away, and the comparison says nothing"


def _arm(arm: pb.ExperimentArm) -> dict[str, Any]:
    is_control = not arm.HasField("p_value")
    return {
        "destination_id": arm.destination_id,
        "url": arm.url,
        "weight": arm.weight,
        "visitors": arm.visitor_count,
        "converted_visitors": arm.converted_visitor_count,
        "rate": round(arm.rate, _DIGITS),
        "rate_low": round(arm.rate_low, _DIGITS),
        "rate_high": round(arm.rate_high, _DIGITS),
        "difference": None if is_control else round(arm.difference, _DIGITS),
        "z": None if is_control else round(arm.z, _DIGITS),
        "p_value": None if is_control else arm.p_value,
        "beats_control": None if is_control else round(arm.beats_control, _DIGITS),
        "missing_visitors": arm.missing_visitor_count if arm.HasField("missing_visitor_count") else None,
    }


def _rule(rule: pb.RuleEffect) -> dict[str, Any]:
    return {
        "rule_id": rule.rule_id or None,
        "name": rule.name,
        "is_disabled": rule.is_disabled,
        "is_removed": rule.is_removed,
        "clicks": rule.click_count,
        "share": round(rule.share, _DIGITS),
        "unique_users": rule.visitor_count,
        "conversions": rule.conversion_count,
        "converted_users": rule.converted_visitor_count,
        "rate": round(rule.rate, _DIGITS),
        "rate_low": round(rule.rate_low, _DIGITS),
        "rate_high": round(rule.rate_high, _DIGITS),
        "revenue": [{"currency": money.currency, "amount": amount(money.amount_micros)} for money in rule.revenue],
        "last_click_time": instant_of(rule, "last_click_time"),
    }
