"""Reports of conversions, as partners send them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from attribution_svc.conversions.event import Arrived, ConversionEvent, conversion_event_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
_NOON_MS = 1_772_452_800_000


def event_id_of(number: int) -> str:
    """Return the id of the event of a number; they rise with it."""
    return str(UUID(int=(0x019B_0000_0000_7000_8000 << 48) + number))


def postback(number: int, query: str = "", *, seconds: float | None = None, **fields: Any) -> ConversionEvent:
    """Return what a postback with this query says; received so many seconds after noon, by default its number."""
    sent = dict(parse_qsl(query, errors="surrogateescape"))
    named = next((sent[name] for name in ("event", "et", "type") if sent.get(name)), "conversion")
    arrived = Arrived(
        organization_id="org_a",
        event_id=event_id_of(number),
        event_time_ms=_NOON_MS + round((number if seconds is None else seconds) * 1000),
        event_type=named.encode(),  # as the gateway names it
        route="postback",
        target=f"/postback?{query}".encode(),
    )
    event = conversion_event_of(replace(arrived, **fields))
    assert event is not None
    return event


def at(seconds: float) -> datetime:
    """Return the instant so many seconds after noon."""
    return NOON + timedelta(seconds=seconds)
