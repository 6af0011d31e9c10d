"""A conversion and the events around it: what could be asked about as its touch, whether it is one or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from analytics_svc.behavior.columns import EVENT_ORDER, MILLISECOND, bind_dimension
from analytics_svc.behavior.path import LONGEST_PATH, TOUCH_TYPES
from analytics_svc.dimension import Dimension
from analytics_svc.statement import ORGANIZATION, Rows, Statement

MOST_BEFORE = LONGEST_PATH
MOST_AFTER = 100
AFTERWARDS = timedelta(days=30)
"""So long after a conversion events are looked at."""
_NIL = "00000000-0000-0000-0000-000000000000"
_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class CandidateEvent:
    """An event as the reading has it."""

    event_id: str
    event_time: datetime
    event_type: str
    user_id: str
    session_id: str
    source: str
    medium: str
    channel: str
    campaign_id: str
    campaign_version: int
    dimension_value: str
    is_conversion: bool
    """It counts as one."""
    conversion_type: str
    conversion_status: str
    value: Decimal | None
    currency: str
    is_bot: bool
    touch_event_id: str
    """The click that it goes back to; empty for none."""
    enrichment_version: int
    mapping_versions: tuple[str, ...]
    order_id: str

    @property
    def is_touch(self) -> bool:
        """Whether it may be credited for what follows."""
        return not self.is_conversion and self.event_type in TOUCH_TYPES

    @property
    def micros(self) -> int:
        """Its value in millionths; 0 without one."""
        return int((self.value or 0) * _MICROS)


def compile_event(organization_id: str, event_id: str, dimension: Dimension) -> Statement:
    """Compile to the row of an event, if the organisation has it."""
    sql = f"{_select(dimension)} WHERE event_id = toUUID({{event_id:String}}) LIMIT 1"
    return Statement(sql, _parameters(organization_id, dimension) | {"event_id": event_id})


def compile_before(organization_id: str, conversion: CandidateEvent, dimension: Dimension) -> Statement:
    """Compile to rows of the visitor's other events up to the conversion, the latest first; one more than are shown."""
    sql = f"""
{_select(dimension)} AND event_time <= {_AT}
WHERE user_id = {{user_id:String}} AND event_id != toUUID({{event_id:String}})
ORDER BY event_time DESC, {EVENT_ORDER} DESC
LIMIT {MOST_BEFORE + 1}
"""
    return Statement(sql, _around(organization_id, conversion, dimension))


def compile_after(organization_id: str, conversion: CandidateEvent, dimension: Dimension) -> Statement:
    """Compile to rows of the visitor's events of the time after the conversion."""
    sql = f"""
{_select(dimension)} AND event_time > {_AT} AND event_time <= fromUnixTimestamp64Milli({{until_ms:Int64}}, 'UTC')
WHERE user_id = {{user_id:String}}
ORDER BY event_time, {EVENT_ORDER}
LIMIT {MOST_AFTER}
"""
    until = {"until_ms": _ms(conversion.event_time + AFTERWARDS)}
    return Statement(sql, _around(organization_id, conversion, dimension) | until)


def compile_adjustments(organization_id: str, conversion: CandidateEvent) -> Statement:
    """Compile to one row: what was added to the order later, how often, and its first conversion."""
    adjusts = "is_adjustment = 1 AND currency = {currency:String}"
    sql = f"""
SELECT toInt64(sumIf(toDecimal128(ifNull(value, 0), 6), {adjusts}) * 1000000), countIf({adjusts}),
    toString(argMinIf(event_id, (event_time, {EVENT_ORDER}), is_conversion = 1))
FROM events PREWHERE organization_id = {{{ORGANIZATION}:String}}
WHERE user_id = {{user_id:String}} AND order_id = {{order_id:String}}
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(
        sql,
        {
            ORGANIZATION: organization_id,
            "user_id": conversion.user_id,
            "order_id": conversion.order_id,
            "currency": conversion.currency,
        },
    )


_AT = "fromUnixTimestamp64Milli({at_ms:Int64}, 'UTC')"


def _select(dimension: Dimension) -> str:
    return f"""
SELECT toString(event_id), {MILLISECOND}, event_type, user_id, session_id, source, medium, channel, campaign_id,
    campaign_version, {dimension.expression}, is_conversion, conversion_event, conversion_status, value, currency,
    is_bot, toString(touch_event_id), enrichment_version, mapping_versions, order_id
FROM events PREWHERE organization_id = {{{ORGANIZATION}:String}}"""  # noqa: S608 - our own text: values are parameters


def _parameters(organization_id: str, dimension: Dimension) -> dict[str, object]:
    return {ORGANIZATION: organization_id} | bind_dimension(dimension, "UTC")


def _around(organization_id: str, conversion: CandidateEvent, dimension: Dimension) -> dict[str, object]:
    return _parameters(organization_id, dimension) | {
        "event_id": conversion.event_id,
        "user_id": conversion.user_id,
        "at_ms": _ms(conversion.event_time),
    }


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def events_of(rows: Rows) -> list[CandidateEvent]:
    """Read rows, in their order."""
    return [_event(row) for row in rows.rows]


def _event(row: Sequence[Any]) -> CandidateEvent:
    event_id, at_ms, *middle = row[:11]
    event_type, user_id, session_id, source, medium, channel, campaign_id, campaign_version, dimension_value = middle
    is_conversion, kind, status, value, currency, is_bot, touch_id, enrichment, mappings, order_id = row[11:]
    return CandidateEvent(
        event_id=event_id,
        event_time=datetime.fromtimestamp(at_ms / 1000, UTC),
        event_type=event_type,
        user_id=user_id,
        session_id=session_id,
        source=source,
        medium=medium,
        channel=channel,
        campaign_id=campaign_id,
        campaign_version=campaign_version,
        dimension_value=dimension_value,
        is_conversion=bool(is_conversion),
        conversion_type=kind,
        conversion_status=status,
        value=value,
        currency=currency,
        is_bot=bool(is_bot),
        touch_event_id="" if touch_id == _NIL else touch_id,
        enrichment_version=enrichment,
        mapping_versions=tuple(mappings),
        order_id=order_id,
    )
