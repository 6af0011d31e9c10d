"""Between the contract's messages and the domain: explanations."""

from datetime import datetime

from attribution_svc.crediting.convert_models import (
    DEFAULT_DIMENSION,
    applied_to_pb,
    lookback_from_pb,
    lookback_to_pb,
    model_from_pb,
)
from attribution_svc.crediting.explain import ExplainedConversion, ExplainQuestion
from attribution_svc.crediting.explanation import CandidateEvent, ExplainedCandidate, Verdict
from attribution_svc.crediting.settings import TypedLookback, lookback_problem
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import report_pb2
from trellis.attribution.v1 import model_service_pb2 as pb
from trellis.type.v1 import time_range_pb2

_VERDICTS = {verdict: pb.CandidateVerdict.Value(f"CANDIDATE_VERDICT_{verdict.name}") for verdict in Verdict}


def part_of(start_time: datetime, end_time: datetime) -> bytes:
    """Write which conversions a model learns from."""
    time_range = time_range_pb2.TimeRange(start_time=timestamp_of(start_time), end_time=timestamp_of(end_time))
    return report_pb2.Slice(time_range=time_range).SerializeToString()


def question_from_pb(request: pb.ExplainConversionRequest) -> ExplainQuestion:
    """Read what is to be explained; raise InvalidArgumentError with everything that is wrong."""
    violations: list[Violation] = []
    if not request.event_id:
        violations.append(Violation("event_id", "is required"))
    model = model_from_pb(request.model, "model", violations) if request.HasField("model") else None
    lookback = lookback_from_pb(request.lookback) if request.HasField("lookback") else None
    if lookback is not None and (problem := lookback_problem(lookback)):
        violations.append(Violation("lookback", problem))
    if violations:
        raise InvalidArgumentError.of(violations)
    return ExplainQuestion(request.event_id, request.dimension or DEFAULT_DIMENSION, model, lookback)


def explanation_to_pb(answer: ExplainedConversion) -> pb.ExplainConversionResponse:
    """Write the arithmetic."""
    converted = answer.found.conversion
    return pb.ExplainConversionResponse(
        conversion=_event_to_pb(converted),
        is_counted=converted.is_conversion,
        candidates=[_candidate_to_pb(each) for each in answer.explanation.candidates],
        model=applied_to_pb(answer.model),
        lookback=lookback_to_pb(TypedLookback(converted.conversion_type, answer.lookback)),
        weight_sum=answer.explanation.weight_sum,
        nobody_micros=answer.explanation.nobody_micros,
        settings_version=answer.settings_version,
        has_earlier=answer.found.has_earlier,
        adjustment_count=answer.found.adjustment_count,
        adjustment_micros=answer.found.adjustment_micros,
        watermark_time=timestamp_of(answer.found.watermark_time),
        dimension=answer.dimension,
    )


def _candidate_to_pb(candidate: ExplainedCandidate) -> pb.ExplainedCandidate:
    step = candidate.step
    return pb.ExplainedCandidate(
        event=_event_to_pb(candidate.event),
        verdict=_VERDICTS[candidate.verdict],
        explanation=candidate.explanation,
        is_linked_click=candidate.is_linked_click,
        age_ms=candidate.age_ms,
        weight=candidate.weight,
        share=candidate.share,
        floor_micros=step.floor,
        remainder=step.remainder,
        extra_micros=step.extra,
        value_micros=step.part,
    )


def _event_to_pb(event: CandidateEvent) -> pb.ExplainedEvent:
    return pb.ExplainedEvent(
        event_id=event.event_id,
        event_time=timestamp_of(event.event_time),
        event_type=event.event_type,
        user_id=event.user_id,
        source=event.source,
        medium=event.medium,
        channel=event.channel,
        campaign_id=event.campaign_id,
        campaign_version=event.campaign_version,
        dimension_value=event.dimension_value,
        conversion_type=event.conversion_type,
        conversion_status=event.conversion_status,
        value_micros=event.value_micros,
        currency=event.currency,
        enrichment_version=event.enrichment_version,
        mapping_versions=event.mapping_versions,
    )
