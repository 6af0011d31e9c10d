"""Between the contract's messages and the domain: tests and what rules brought."""

from datetime import UTC, datetime

from attribution_svc.experiments.experiment import DEFAULT_CONFIDENCE, DEFAULT_EFFECT, ArmResult, Design, RuleEffect
from attribution_svc.experiments.reports import ExperimentReport, Period, RuleReport
from svc_runtime.timestamps import timestamp_of
from trellis.attribution.v1 import experiment_service_pb2 as pb
from trellis.type.v1 import money_pb2, time_range_pb2


def design_from_pb(request: pb.GetExperimentRequest) -> Design:
    """Read how a test is judged; 0 stands for the defaults."""
    return Design(
        control_destination_id=request.control_destination_id,
        confidence=request.confidence or DEFAULT_CONFIDENCE,
        minimum_effect=request.minimum_effect or DEFAULT_EFFECT,
    )


def bounds_from_pb(message: time_range_pb2.TimeRange) -> tuple[datetime | None, datetime | None]:
    """Read the bounds of a range."""
    return (
        message.start_time.ToDatetime(UTC) if message.HasField("start_time") else None,
        message.end_time.ToDatetime(UTC) if message.HasField("end_time") else None,
    )


def experiment_to_pb(report: ExperimentReport) -> pb.GetExperimentResponse:
    """Write a test."""
    found = report.experiment
    return pb.GetExperimentResponse(
        campaign_id=report.campaign.campaign_id,
        rule_id=report.rule_id,
        version=report.campaign.version,
        time_range=_range(report.period),
        arms=[_arm_to_pb(result, found.control.arm.rate) for result in found.arms],
        control_destination_id=found.control.destination.destination_id,
        split_chi2=found.split.statistic,
        split_p_value=found.split.p_value,
        is_split_broken=found.is_split_broken,
        other_visitor_count=found.other_visitor_count,
        watermark_time=timestamp_of(report.watermark_time),
    )


def _arm_to_pb(result: ArmResult, control_rate: float) -> pb.ExperimentArm:
    message = pb.ExperimentArm(
        destination_id=result.destination.destination_id,
        url=result.destination.url,
        weight=result.destination.weight,
        visitor_count=result.arm.visitors,
        converted_visitor_count=result.arm.conversions,
        rate=result.arm.rate,
        rate_low=result.interval.low,
        rate_high=result.interval.high,
        beats_control=result.beats_control,
        missing_visitor_count=result.missing_visitor_count,
    )
    if result.against_control is not None:
        message.difference = result.arm.rate - control_rate
        message.z, message.p_value = result.against_control.statistic, result.against_control.p_value
    return message


def rules_to_pb(report: RuleReport) -> pb.GetRuleReportResponse:
    """Write what rules brought."""
    return pb.GetRuleReportResponse(
        campaign_id=report.campaign.campaign_id,
        version=report.campaign.version,
        time_range=_range(report.period),
        rules=[_effect_to_pb(effect) for effect in report.effects],
        watermark_time=timestamp_of(report.watermark_time),
    )


def _effect_to_pb(effect: RuleEffect) -> pb.RuleEffect:
    return pb.RuleEffect(
        rule_id=effect.rule_id,
        name=effect.name,
        is_disabled=effect.is_disabled,
        is_removed=effect.is_removed,
        click_count=effect.count.click_count,
        share=effect.share,
        visitor_count=effect.count.visitor_count,
        conversion_count=effect.count.conversion_count,
        converted_visitor_count=effect.count.converted_visitor_count,
        rate=effect.rate,
        rate_low=effect.interval.low,
        rate_high=effect.interval.high,
        revenue=[
            money_pb2.Money(currency=currency, amount_micros=micros)
            for currency, micros in sorted((effect.count.revenue_micros or {}).items())
        ],
        last_click_time=timestamp_of(effect.count.last_click_time),
    )


def _range(period: Period) -> time_range_pb2.TimeRange:
    return time_range_pb2.TimeRange(start_time=timestamp_of(period.start_time), end_time=timestamp_of(period.end_time))
