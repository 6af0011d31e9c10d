"""Mappings and previews between the contract and ours."""

from datetime import datetime

from google.protobuf import timestamp_pb2

from analytics_svc.convert.slices import instant_from_pb
from analytics_svc.mappings.mapping import FieldRule, MappingVersion, WantedMapping
from analytics_svc.mappings.preview import MappingPreview
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import projection_service_pb2 as pb


def wanted_from_pb(message: pb.Mapping) -> WantedMapping:
    """Read what is wanted of a mapping; raise InvalidArgumentError for instants that are none."""
    violations: list[Violation] = []
    wanted = WantedMapping(
        mapping_id=message.mapping_id,
        name=message.name,
        source=message.source,
        rules=tuple(FieldRule(rule.parameter, rule.field) for rule in message.rules),
        start_time=_instant(message.start_time, "start_time", violations) if message.HasField("start_time") else None,
        end_time=_instant(message.end_time, "end_time", violations) if message.HasField("end_time") else None,
    )
    if violations:
        raise InvalidArgumentError.of(violations)
    return wanted


def mapping_to_pb(version: MappingVersion) -> pb.Mapping:
    """Write a version of a mapping."""
    return pb.Mapping(
        mapping_id=version.mapping_id,
        version=version.version,
        name=version.name,
        source=version.source,
        rules=[pb.FieldRule(parameter=rule.parameter, field=rule.field) for rule in version.rules],
        start_time=timestamp_of(version.start_time),
        end_time=timestamp_of(version.end_time),
        is_active=version.is_active,
        create_time=timestamp_of(version.create_time),
        actor=version.actor,
    )


def preview_to_pb(preview: MappingPreview) -> pb.PreviewMappingResponse:
    """Write what a mapping would change."""
    return pb.PreviewMappingResponse(
        matched_count=preview.matched_count,
        changed_count=preview.changed_count,
        months=[
            pb.MonthPreview(month=month.month, matched_count=month.matched_count, changed_count=month.changed_count)
            for month in preview.months
        ],
        samples=[
            pb.SampleChange(
                event_id=sample.event_id,
                event_time=timestamp_of(sample.event_time),
                before=sample.before,
                after=sample.after,
            )
            for sample in preview.samples
        ],
    )


def _instant(timestamp: timestamp_pb2.Timestamp, path: str, violations: list[Violation]) -> datetime | None:
    try:
        return instant_from_pb(timestamp)
    except (ValueError, OverflowError):
        violations.append(Violation(path, "is no instant of the years 1 to 9999"))
        return None
