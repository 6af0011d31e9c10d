"""Between the contract's messages and ours."""

from datetime import UTC

from analytics_svc.store import Bookmark, Page
from trellis.capture.v1 import capture_service_pb2 as pb


def page_from_pb(message: pb.SubscribeResponse) -> Page:
    """Read a piece of the feed. Its events stay the bytes that they are."""
    watermark_time = message.watermark_time.ToDatetime(UTC) if message.HasField("watermark_time") else None
    return Page((message.events,), message.event_count, Bookmark(message.cursor, watermark_time))
