"""Between the contract's messages and ours."""

from collections.abc import Sequence
from datetime import UTC, datetime

from attribution_svc.conversions.book import Bookmark, Wanted
from attribution_svc.conversions.event import Arrived, ConversionEvent, conversion_event_of, speaks_of_refund
from attribution_svc.conversions.kept import Kept, MatchState, Suggestion, Touch
from enrichment.conversion_reading import POSTBACK
from enrichment.conversions import Happening, happening_of
from enrichment.status import Status
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.logs import get_logger
from svc_runtime.timestamps import timestamp_of
from trellis.attribution.v1 import conversion_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2, event_pb2
from trellis.type.v1 import time_range_pb2

_STATES = {
    MatchState.PENDING: pb.MATCH_STATE_PENDING,
    MatchState.MATCHED: pb.MATCH_STATE_MATCHED,
    MatchState.ORPHAN: pb.MATCH_STATE_ORPHAN,
}
_log = get_logger(__name__)
_STATUSES = ("", *Status)


def bookmark_from_pb(message: capture_service_pb2.SubscribeResponse) -> Bookmark:
    """Return where the feed goes on after a piece of it."""
    watermark_time = message.watermark_time.ToDatetime(UTC) if message.HasField("watermark_time") else None
    return Bookmark(message.cursor, watermark_time)


def conversion_events_from_pb(batch: bytes) -> list[ConversionEvent]:
    """Read an encoded ``EventBatch``: what in it speaks of conversions."""
    events = (_read(event) for event in event_pb2.EventBatch.FromString(batch).events if _may_speak(event))
    return [event for event in events if event is not None]


def _read(event: event_pb2.Event) -> ConversionEvent | None:
    try:
        return _event(event)
    except Exception as error:  # noqa: BLE001 - one that breaks the reading must not keep all others from being read
        # Its text may hold what was sent.
        _log.error("an event cannot be read", event_id=event.event_id, error=type(error).__name__)
        return None


def _may_speak(event: event_pb2.Event) -> bool:
    """Say whether it is worth reading: most events are clicks and views, and never a conversion."""
    if event.route == POSTBACK or speaks_of_refund(event.event_type):
        return True
    return happening_of(event.event_type) is not Happening.STEP


def _event(event: event_pb2.Event) -> ConversionEvent | None:
    return conversion_event_of(
        Arrived(
            organization_id=event.organization_id,
            event_id=event.event_id,
            event_time_ms=event.event_time_ms,
            event_type=event.event_type,
            route=event.route,
            target=event.target,
            headers=event.headers,
            body=event.body,
            click_id=event.click_id,
            external_click_id=event.external_click_id,
            user_id=event.user_id,
            marks=tuple(event.marks),
            network=event.network,
        )
    )


def time_range_from_pb(time_range: time_range_pb2.TimeRange) -> tuple[datetime | None, datetime | None]:
    """Read the ends of a range; None where it is open."""
    start = time_range.start_time.ToDatetime(UTC) if time_range.HasField("start_time") else None
    return start, time_range.end_time.ToDatetime(UTC) if time_range.HasField("end_time") else None


def wanted_from_pb(request: pb.ListConversionsRequest) -> Wanted:
    """Read a filter; raise InvalidArgumentError with everything that is wrong."""
    start, end = time_range_from_pb(request.time_range)
    violations = []
    if start and end and end <= start:
        violations.append(Violation("time_range.end_time", "must be after start_time"))
    if request.HasField("status") and request.status not in _STATUSES:
        known = ", ".join(Status)
        violations.append(Violation("status", f"is {request.status[:64]!r}, must be one of: {known}, or empty"))
    if violations:
        raise InvalidArgumentError.of(violations)
    return Wanted(
        start_time=start,
        end_time=end,
        conversion_type=request.conversion_type.lower(),
        status=request.status if request.HasField("status") else None,
        campaign_id=request.campaign_id,
        click_id=request.click_id,
        order_id=request.order_id,
        orphan_reason=request.orphan_reason,
        is_orphan=request.is_orphan if request.HasField("is_orphan") else None,
        is_test=request.is_test if request.HasField("is_test") else None,
    )


def conversion_to_pb(kept: Kept) -> pb.Conversion:
    """Write a conversion."""
    conversion, match = kept.conversion, kept.match
    return pb.Conversion(
        conversion_id=conversion.conversion_id,
        organization_id=conversion.organization_id,
        conversion_type=conversion.conversion_type,
        event_type=conversion.event_type,
        order_id=conversion.order_id,
        status=conversion.status,
        is_counted=conversion.is_counted and not kept.merged_into,
        value_micros=conversion.value_micros,
        gross_micros=conversion.gross_micros,
        refunded_micros=conversion.refunded_micros,
        currency=conversion.currency,
        is_currency_assumed=conversion.is_currency_assumed,
        is_test=conversion.is_test,
        conversion_time=timestamp_of(conversion.conversion_time),
        create_time=timestamp_of(conversion.create_time),
        last_event_time=timestamp_of(conversion.last_event_time),
        event_ids=conversion.event_ids,
        click_references=conversion.click_references,
        network=conversion.network,
        user_id=(match.touch.user_id if match.touch else "") or conversion.user_id,
        marks=conversion.marks,
        merged_into=kept.merged_into,
        revision=kept.revision,
        update_time=timestamp_of(kept.update_time),
        match_state=_STATES[match.state],
        orphan_reason=match.reason,
        touch=_touch(match.touch) if match.touch else None,
        campaign_id=match.campaign_id,
        is_outside_window=match.is_outside_window,
        is_accepted=match.is_accepted,
        suggestions=map(_suggestion, match.suggestions),
    )


def events_to_pb(events: Sequence[ConversionEvent]) -> list[pb.ConversionEvent]:
    """Write the events of a conversion."""
    return [
        pb.ConversionEvent(
            event_id=event.event_id,
            event_time=timestamp_of(event.event_time),
            conversion_time=timestamp_of(event.conversion_time),
            event_type=event.event_type,
            status_text=event.status_text,
            status=event.status,
            amount_text=event.amount_text,
            value_micros=event.value_micros,
            currency=event.currency,
            order_id=event.order_id,
            click_references=event.click_references,
            network=event.network,
            route=event.route,
            marks=event.marks,
        )
        for event in events
    ]


def _suggestion(suggestion: Suggestion) -> pb.ConversionSuggestion:
    return pb.ConversionSuggestion(
        reason=suggestion.reason.value, reference=suggestion.reference, touch=_touch(suggestion.touch)
    )


def _touch(touch: Touch) -> pb.ConversionTouch:
    return pb.ConversionTouch(
        event_id=touch.event_id,
        event_time=timestamp_of(touch.event_time),
        click_id=touch.click_id,
        external_click_id=touch.external_click_id,
        campaign_id=touch.campaign_id,
        campaign_version=touch.campaign_version,
        rule_id=touch.rule_id,
        destination_id=touch.destination_id,
        user_id=touch.user_id,
        source=touch.source,
        medium=touch.medium,
        channel=touch.channel,
    )
