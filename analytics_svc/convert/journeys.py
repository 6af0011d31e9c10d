"""Exports of journeys, between the contract and ours."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from analytics_svc.behavior.candidate import CandidateEvent
from analytics_svc.behavior.candidates import Candidates
from analytics_svc.behavior.export import (
    LONGEST_AGE,
    MOST_RULES,
    MOST_TYPES,
    ExportSpec,
    JourneyColumns,
    LookbackRule,
    PathColumns,
)
from analytics_svc.behavior.exports import Summary, names_of
from analytics_svc.behavior.path import LONGEST_PATH
from analytics_svc.convert.behavior_answers import info_to_pb
from analytics_svc.convert.slices import slice_from_pb
from analytics_svc.dimension import Dimension, dimension_of
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import journey_service_pb2 as pb

_DEFAULT_DIMENSION = "channel"
_CHUNK_TOUCHES = 200_000
"""Of one message, unless a single conversion has more."""


def scope_from_pb(message: pb.JourneyScope, *, organization_id: str, now: datetime) -> ExportSpec:
    """Read which journeys. Raise InvalidArgumentError that names everything that is wrong."""
    violations: list[Violation] = []
    part = slice_from_pb(message.slice, organization_id=organization_id, now=now, violations=violations)
    dimension = dimension_of(message.dimension, path="dimension", violations=violations)
    if len(message.conversion_types) > MOST_TYPES:
        problem = f"has {len(message.conversion_types)} types; the limit is {MOST_TYPES}"
        violations.append(Violation("conversion_types", problem))
    if message.touch_limit > LONGEST_PATH:
        violations.append(Violation("touch_limit", f"is {message.touch_limit}, must be 1 to {LONGEST_PATH}"))
    rules = _rules_from_pb(message.lookbacks, violations)
    if violations or dimension is None:
        raise InvalidArgumentError.of(violations)
    return ExportSpec(
        part,
        dimension,
        tuple(message.conversion_types),
        tuple((name, rule) for name, rule in rules.items() if name),
        rules.get("", LookbackRule()),
        message.touch_limit or LONGEST_PATH,
    )


def _rules_from_pb(messages: Sequence[pb.LookbackRule], violations: list[Violation]) -> dict[str, LookbackRule]:
    if len(messages) > MOST_RULES:
        violations.append(Violation("lookbacks", f"has {len(messages)} rules; the limit is {MOST_RULES}"))
        return {}
    rules: dict[str, LookbackRule] = {}
    for at, message in enumerate(messages):
        longest = message.lookback.ToTimedelta() if message.HasField("lookback") else None
        if longest is not None and not timedelta(milliseconds=1) <= longest <= LONGEST_AGE:
            problem = f"is {longest}, must be 0.001 s to {LONGEST_AGE.days} days"
            violations.append(Violation(f"lookbacks[{at}].lookback", problem))
        if message.conversion_type in rules:
            problem = f"is {message.conversion_type[:60]!r}, which has a rule already"
            violations.append(Violation(f"lookbacks[{at}].conversion_type", problem))
        rules[message.conversion_type] = LookbackRule(longest, message.is_same_session)
    return rules


def dimension_from_pb(name: str) -> Dimension:
    """Read what touches are told by. Raise InvalidArgumentError."""
    violations: list[Violation] = []
    dimension = dimension_of(name or _DEFAULT_DIMENSION, path="dimension", violations=violations)
    if dimension is None:
        raise InvalidArgumentError.of(violations)
    return dimension


def candidates_to_pb(candidates: Candidates) -> pb.GetConversionCandidatesResponse:
    """Write a conversion and the events around it."""
    return pb.GetConversionCandidatesResponse(
        conversion=_event_to_pb(candidates.conversion),
        candidates=[_event_to_pb(event) for event in candidates.events],
        has_earlier=candidates.has_earlier,
        adjustment_count=candidates.adjustment_count,
        adjustment_micros=candidates.adjustment_micros,
        watermark_time=timestamp_of(candidates.watermark_time),
    )


def _event_to_pb(event: CandidateEvent) -> pb.CandidateEvent:
    return pb.CandidateEvent(
        event_id=event.event_id,
        event_time=timestamp_of(event.event_time),
        event_type=event.event_type,
        user_id=event.user_id,
        session_id=event.session_id,
        source=event.source,
        medium=event.medium,
        channel=event.channel,
        campaign_id=event.campaign_id,
        campaign_version=event.campaign_version,
        dimension_value=event.dimension_value,
        is_conversion=event.is_conversion,
        conversion_type=event.conversion_type,
        conversion_status=event.conversion_status,
        value_micros=event.micros,
        currency=event.currency,
        is_bot=event.is_bot,
        is_touch=event.is_touch,
        touch_event_id=event.touch_event_id,
        enrichment_version=event.enrichment_version,
        mapping_versions=event.mapping_versions,
    )


def journeys_to_pb(names: Mapping[int, str], columns: JourneyColumns) -> list[pb.ExportJourneysResponse]:
    """Write conversions, in messages of a good size."""
    messages = []
    for entries, touches in _pieces(columns.touch_counts):
        values, places = names_of(columns.codes[touches], names)
        chunk = pb.JourneyChunk(
            values=values,
            value_micros=columns.micros[entries],
            touch_counts=columns.touch_counts[entries],
            conversion_counts=columns.conversion_counts[entries],
            touch_values=places,
            touch_ages_ms=columns.ages_ms[touches],
            touch_is_direct=map(bool, columns.directs[touches]),
        )
        messages.append(pb.ExportJourneysResponse(chunk=chunk))
    return messages


def paths_to_pb(names: Mapping[int, str], columns: PathColumns) -> list[pb.ExportPathsResponse]:
    """Write paths, in messages of a good size."""
    messages = []
    for entries, touches in _pieces(columns.touch_counts):
        values, places = names_of(columns.codes[touches], names)
        chunk = pb.PathChunk(
            values=values,
            touch_counts=columns.touch_counts[entries],
            touch_values=places,
            conversion_counts=columns.conversion_counts[entries],
            unconverted_counts=columns.unconverted_counts[entries],
            value_micros=columns.micros[entries],
        )
        messages.append(pb.ExportPathsResponse(chunk=chunk))
    return messages


def summary_to_pb(summary: Summary) -> pb.JourneySummary:
    """Write what an export rests on."""
    return pb.JourneySummary(
        info=info_to_pb(summary.basis),
        anonymous_conversion_count=summary.extent.anonymous_count,
        anonymous_value_micros=summary.extent.anonymous_micros,
    )


def _pieces(touch_counts: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Cut entries into pieces: which entries, and which of the touches."""
    first = first_touch = touch_count = 0
    for at, count in enumerate(touch_counts):
        if at > first and touch_count + count > _CHUNK_TOUCHES:
            yield slice(first, at), slice(first_touch, first_touch + touch_count)
            first, first_touch, touch_count = at, first_touch + touch_count, 0
        touch_count += count
    if first < len(touch_counts):
        yield slice(first, len(touch_counts)), slice(first_touch, first_touch + touch_count)
