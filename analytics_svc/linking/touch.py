"""What the reading has of events, found by their keys."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from analytics_svc.statement import ORGANIZATION, Statement

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class EventKey:
    """Where an event is found."""

    organization_id: str
    event_id: str
    """Canonical text of a UUID, in lower case."""
    event_time: datetime


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """An event of the reading."""

    key: EventKey
    click_id: str
    external_click_id: str
    campaign_id: str
    """Whose it is now."""
    campaign_version: int
    rule_id: str
    destination_id: str
    user_id: str
    session_id: str
    source: str
    medium: str
    channel: str
    routed_campaign_id: str
    """Whose it was when it was routed."""
    routed_campaign_version: int
    routed_rule_id: str
    touch: EventKey | None
    """The click that it goes back to."""


_COLUMNS = (
    "toString(organization_id)", "toString(event_id)", "toUnixTimestamp64Milli(event_time)", "click_id",
    # A driver would turn bytes that are no text into something else.
    "toValidUTF8(external_click_id)", "campaign_id", "campaign_version", "rule_id", "destination_id", "user_id",
    "session_id", "source", "medium", "channel", "routed_campaign_id", "routed_campaign_version", "routed_rule_id",
    "toString(touch_event_id)", "toUnixTimestamp64Milli(touch_time)",
)  # fmt: skip
COLUMNS = ", ".join(_COLUMNS)
"""What ``read_event`` reads, of a row of ``events``."""


def compile_keys(keys: Iterable[EventKey]) -> Statement:
    """Return the statement for the events of these keys, of any organisations."""
    rows = [(key.organization_id, unix_ms(key.event_time), key.event_id) for key in keys]
    asked = "arrayZip({owners:Array(String)}, {times:Array(Int64)}, {events:Array(UUID)})"
    return Statement(
        f"SELECT {COLUMNS} FROM events PREWHERE organization_id IN {{owners:Array(String)}} AND event_time IN"  # noqa: S608 - our own text
        " (SELECT fromUnixTimestamp64Milli(arrayJoin({times:Array(Int64)}), 'UTC'))"
        " WHERE (toString(organization_id), toUnixTimestamp64Milli(event_time), event_id) IN"
        f" (SELECT one.1, one.2, one.3 FROM (SELECT arrayJoin({asked}) AS one))",
        {
            # They take their turn together, as nobody's.
            ORGANIZATION: "",
            "owners": [row[0] for row in rows],
            "times": [row[1] for row in rows],
            "events": [row[2] for row in rows],
        },
    )


def read_event(row: Sequence[Any]) -> ReadEvent:
    """Return the event of a row of ``COLUMNS``."""
    organization_id, event_id, event_ms, *told, touch_id, touch_ms = row
    touch = None if touch_ms is None else EventKey(organization_id, touch_id, instant(touch_ms))
    return ReadEvent(EventKey(organization_id, event_id, instant(event_ms)), *(*told, touch))


def unix_ms(moment: datetime) -> int:
    """Return the Unix milliseconds of an instant."""
    return (moment - _EPOCH) // _MILLISECOND


def instant(unix_milliseconds: int) -> datetime:
    """Return the instant of Unix milliseconds."""
    return _EPOCH + unix_milliseconds * _MILLISECOND
