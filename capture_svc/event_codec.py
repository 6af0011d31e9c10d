"""Encoded events where something must be read from them, or said in them: the other half of ``convert``."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf.message import DecodeError

from capture_svc.batch import EventHead
from trellis.capture.v1 import event_pb2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_heads(batch: bytes, events: Sequence[bytes]) -> list[EventHead | None]:
    """Return the head of each event of a batch, None for one that does not decode; ``events`` are its single ones.

    A whole batch decodes 20 times as fast as its events one by one, so those are looked at only when it does not.
    """
    try:
        return [_head(event) for event in event_pb2.EventBatch.FromString(batch).events]
    except DecodeError:
        return [read_head(event) for event in events]


def read_head(event: bytes) -> EventHead | None:
    """Return the head of an encoded Event, None when it does not decode."""
    try:
        return _head(event_pb2.Event.FromString(event))
    except DecodeError:
        return None


def _head(event: event_pb2.Event) -> EventHead:
    return EventHead(
        organization_id=event.organization_id,
        event_id=event.event_id,
        event_time=_instant(event.event_time_ms),
        journal_id=event.journal_id,
        sequence=event.sequence,
        is_keyed=bool(event.idempotency_key),
        host=event.host,
        marks=tuple(event.marks),
    )


def _instant(milliseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return _EPOCH  # the store refuses such a time, so where to look for it does not matter


def encode_own(event: event_pb2.Event, *, organization_id: str, event_id: str, event_time_ms: int) -> bytes:
    """Encode an event of a direct call without its place in a journal; what is ours to say, we say."""
    event.organization_id = organization_id
    event.event_id = event_id
    event.event_time_ms = event_time_ms
    event.route = "rpc"
    event.ClearField("journal_id")
    event.ClearField("sequence")
    encoded: bytes = event.SerializeToString()
    return encoded


def reencode(event: bytes, *, organization_id: str) -> tuple[bytes, EventHead] | None:
    """Give an encoded Event to an organisation and take its place in a journal away; None when it does not decode."""
    try:
        found = event_pb2.Event.FromString(event)
    except DecodeError:
        return None
    found.organization_id = organization_id
    head = _head(found)
    found.ClearField("journal_id")
    found.ClearField("sequence")
    return found.SerializeToString(), head
