"""Turns an arrival into an event in the journal: the one place where events are made."""

import time
from collections.abc import Sequence

from ingress_gateway.arrival import Arrival, has_secret_key, without_secret_keys
from ingress_gateway.ids import event_id as new_event_id
from ingress_gateway.ids import keyed_event_id
from ingress_gateway.journal.journal import Journal
from ingress_gateway.journal.waiting import Waiter
from trellis.capture.v1 import event_pb2


class Recorder:
    """Encodes events, once, and appends them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def record(
        self,
        arrival: Arrival,
        waiter: Waiter,
        *,
        organization_id: str,
        route: str,
        event_type: bytes,
        status: int,
        click_id: str = "",
        external_click_id: bytes = b"",
        user_id: str = "",
        campaign_id: str = "",
        campaign_version: int = 0,
        rule_id: str = "",
        destination_id: str = "",
        tags: Sequence[str] = (),
        event_time_ms: int = 0,
        location: bytes = b"",
        marks: Sequence[str] = (),
        body: bytes | None = None,
        idempotency_key: bytes = b"",
        sender: str = "",
        item_index: int = 0,
        key_id: str = "",
        partner_id: str = "",
        network: str = "",
        trace_id: str = "",
        traceparent: str = "",
    ) -> str:
        """Append an event and return its id; ``waiter`` hears when it is on disk. Raises JournalFullError.

        ``event_time_ms`` is when it was decided what becomes of it; 0: now. ``sender`` is whose the idempotency key is,
        where nobody else may take it first; empty: the public's.
        """
        now_ms = event_time_ms or time.time_ns() // 1_000_000
        if idempotency_key:
            event_id = keyed_event_id(organization_id, idempotency_key, sender=sender)
        else:
            event_id = new_event_id(now_ms)
        sequence = self._journal.next_sequence()
        event = event_pb2.Event(
            organization_id=organization_id,
            event_id=event_id,
            event_time_ms=now_ms,
            event_type=event_type,
            route=route,
            method=arrival.method,
            target=arrival.target,
            http_version=arrival.http_version,
            headers=arrival.header_block(),
            body=arrival.body if body is None else body,
            peer_address=arrival.peer.address,
            ip=arrival.ip,
            scheme=arrival.scheme(),
            host=arrival.host.encode("utf-8", "surrogateescape"),
            click_id=click_id,
            external_click_id=external_click_id,
            user_id=user_id,
            campaign_id=campaign_id,
            campaign_version=campaign_version,
            rule_id=rule_id,
            destination_id=destination_id,
            tags=tags,
            location=location,
            status=status,
            marks=marks,
            trace_id=trace_id,
            journal_id=self._journal.journal_id,
            sequence=sequence,
            idempotency_key=idempotency_key,
            item_index=item_index,
            key_id=key_id,
            partner_id=partner_id,
            network=network,
        )
        encoded = event.SerializeToString()
        if has_secret_key(encoded):
            encoded = _redacted(event).SerializeToString()
        self._journal.append(
            sequence,
            encoded,
            organization_id,
            waiter,
            is_keyed=bool(idempotency_key),
            traceparent=traceparent,
        )
        return event_id


def _redacted(event: event_pb2.Event) -> event_pb2.Event:
    """Cut secret keys out of everything that a client chose."""
    for field, value in event.ListFields():
        if field.type == field.TYPE_BYTES:
            setattr(event, field.name, without_secret_keys(value))
    return event
