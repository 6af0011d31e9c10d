"""Events, references and clicks, between the contract and ours."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from analytics_svc.convert.slices import instant_from_pb
from analytics_svc.linking.questions import LinkedEvent, Touches
from analytics_svc.linking.reference import Found, MatchKind, Reference
from analytics_svc.linking.touch import EventKey, ReadEvent
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import link_service_pb2 as pb

MOST_EVENTS = 1_000
MOST_REFERENCES = 200
LONGEST_REFERENCE_BYTES = 512
_KINDS = {
    MatchKind.EXACT: pb.CLICK_MATCH_KIND_EXACT,
    MatchKind.ENCODED: pb.CLICK_MATCH_KIND_ENCODED,
    MatchKind.CASE: pb.CLICK_MATCH_KIND_CASE,
    MatchKind.PREFIX: pb.CLICK_MATCH_KIND_PREFIX,
}


def keys_from_pb(request: pb.GetTouchesRequest) -> list[EventKey]:
    """Read which events are asked for; raise InvalidArgumentError."""
    violations = _too_many("events", len(request.events), MOST_EVENTS)
    keys = [] if violations else [_key(one, f"events[{at}]", violations) for at, one in enumerate(request.events)]
    if violations:
        raise InvalidArgumentError.of(violations)
    return [key for key in keys if key is not None]


def references_from_pb(request: pb.FindClicksRequest) -> list[Reference]:
    """Read which references are asked for; raise InvalidArgumentError."""
    violations = _too_many("references", len(request.references), MOST_REFERENCES)
    for at, one in enumerate(() if violations else request.references):
        violations.extend(_owner_violations(one.organization_id, f"references[{at}]"))
        if not 1 <= (size := len(one.reference.encode())) <= LONGEST_REFERENCE_BYTES:
            limit = f"1 to {LONGEST_REFERENCE_BYTES}"
            violations.append(Violation(f"references[{at}].reference", f"has {size} bytes, must have {limit}"))
    if violations:
        raise InvalidArgumentError.of(violations)
    return [Reference(one.organization_id, one.reference) for one in request.references]


def touches_to_pb(keys: Sequence[EventKey], touches: Touches) -> pb.GetTouchesResponse:
    """Write what the reading has of the events."""
    return pb.GetTouchesResponse(
        events=[_linked_to_pb(key, touches.events.get(key)) for key in keys],
        watermark_time=timestamp_of(touches.watermark_time),
    )


def found_to_pb(found: Sequence[Found]) -> pb.FindClicksResponse:
    """Write what references may mean."""
    return pb.FindClicksResponse(
        found=[
            pb.FoundClicks(
                matches=[
                    pb.ClickMatch(kind=_KINDS[match.kind], matched_id=match.matched_id, click=_click_to_pb(match.click))
                    for match in one.matches
                ],
                has_more=one.has_more,
            )
            for one in found
        ]
    )


def _too_many(field: str, count: int, limit: int) -> list[Violation]:
    return [Violation(field, f"has {count}; the limit is {limit}")] if count > limit else []


def _owner_violations(organization_id: str, path: str) -> list[Violation]:
    return [] if organization_id else [Violation(f"{path}.organization_id", "is empty: whose?")]


def _key(message: pb.EventKey, path: str, violations: list[Violation]) -> EventKey | None:
    violations.extend(_owner_violations(message.organization_id, path))
    event_id, event_time = _event_id(message, path, violations), _event_time(message, path, violations)
    if event_id is None or event_time is None:
        return None
    return EventKey(message.organization_id, event_id, event_time)


def _event_id(message: pb.EventKey, path: str, violations: list[Violation]) -> str | None:
    try:
        return str(UUID(message.event_id))
    except ValueError:
        violations.append(Violation(f"{path}.event_id", f"{message.event_id[:64]!r} is no UUID"))
        return None


def _event_time(message: pb.EventKey, path: str, violations: list[Violation]) -> datetime | None:
    if not message.HasField("event_time"):
        violations.append(Violation(f"{path}.event_time", "is missing: the event is found by it"))
        return None
    try:
        return instant_from_pb(message.event_time)
    except (ValueError, OverflowError):
        violations.append(Violation(f"{path}.event_time", "is no instant of the years 1 to 9999"))
        return None


def _linked_to_pb(key: EventKey, linked: LinkedEvent | None) -> pb.LinkedEvent:
    if linked is None:
        return pb.LinkedEvent(event_id=key.event_id)
    event = linked.event
    return pb.LinkedEvent(
        event_id=key.event_id,
        is_read=True,
        touch=None if linked.touch is None else _click_to_pb(linked.touch),
        campaign_id=event.campaign_id,
        campaign_version=event.campaign_version,
        rule_id=event.rule_id,
        destination_id=event.destination_id,
        user_id=event.user_id,
        session_id=event.session_id,
        source=event.source,
        medium=event.medium,
        channel=event.channel,
        routed_campaign_id=event.routed_campaign_id,
        routed_campaign_version=event.routed_campaign_version,
        routed_rule_id=event.routed_rule_id,
    )


def _click_to_pb(click: ReadEvent) -> pb.Click:
    return pb.Click(
        event_id=click.key.event_id,
        event_time=timestamp_of(click.key.event_time),
        click_id=click.click_id,
        external_click_id=click.external_click_id,
        campaign_id=click.campaign_id,
    )
