"""Between the contract's messages and ours."""

from collections.abc import Iterable
from datetime import UTC

from google.protobuf.message import DecodeError

from analytics_svc.projection.arrival import ARRIVAL_FIELDS, Arrival
from analytics_svc.store import Bookmark, Page
from svc_runtime.clickhouse import Dsn
from svc_runtime.protobuf_schema import schema_settings
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import event_pb2


def page_from_pb(message: pb.SubscribeResponse) -> Page:
    """Read a piece of the feed. Its events stay the bytes that they are."""
    watermark_time = message.watermark_time.ToDatetime(UTC) if message.HasField("watermark_time") else None
    return Page((message.events,), message.event_count, Bookmark(message.cursor, watermark_time))


def arrivals_from_pb(batches: Iterable[bytes]) -> list[Arrival]:
    """Decode encoded ``EventBatch`` messages. Raise ValueError where they are none."""
    try:
        return [_arrival(event) for batch in batches for event in event_pb2.EventBatch.FromString(batch).events]
    except DecodeError as error:
        raise ValueError("no EventBatch") from error


def arrival_format(dsn: Dsn) -> dict[str, str]:
    """Return the settings by which ClickHouse reads and writes the fields of ``Arrival`` as ``ProtobufList``.

    Blocks; raises OSError.
    """
    return schema_settings(dsn, event_pb2.Event.DESCRIPTOR, ARRIVAL_FIELDS)


def _arrival(event: event_pb2.Event) -> Arrival:
    return Arrival(
        organization_id=event.organization_id,
        event_id=event.event_id,
        event_time_ms=event.event_time_ms,
        event_type=event.event_type,
        route=event.route,
        target=event.target,
        headers=event.headers,
        body=event.body,
        ip=event.ip,
        scheme=event.scheme,
        host=event.host,
        click_id=event.click_id,
        external_click_id=event.external_click_id,
        user_id=event.user_id,
        campaign_id=event.campaign_id,
        campaign_version=event.campaign_version,
        rule_id=event.rule_id,
        destination_id=event.destination_id,
        tags=tuple(event.tags),
        marks=tuple(event.marks),
        trace_id=event.trace_id,
        partner_id=event.partner_id,
        network=event.network,
    )
