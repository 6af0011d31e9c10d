"""Journeys: what visitors did, event by event."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from analytics_svc.behavior.columns import EVENT_ORDER, MILLISECOND
from analytics_svc.slice import Slice
from analytics_svc.statement import ORGANIZATION, Rows, Statement, condition_of

DEFAULT_PAGE_SIZE = 50
LARGEST_PAGE_SIZE = 500
MOST_TOUCHES = 1_000
"""Touches of one journey."""
MOST_PAGE_TOUCHES = 20_000
"""Touches of one page: it ends early where there are more."""


@dataclass(frozen=True, slots=True)
class JourneySpec:
    """Which visitors."""

    slice: Slice
    user_id: str = ""
    """One visitor; empty: all."""
    click_id: str = ""
    """The visitor of this click, ours or the source's id; empty: all."""
    is_converted_only: bool = False
    page_size: int = DEFAULT_PAGE_SIZE


@dataclass(frozen=True, slots=True)
class Position:
    """The last visitor of a page."""

    last_ms: int
    """Its last event."""
    user_id: str


@dataclass(frozen=True, slots=True)
class Amount:
    """Money, exact."""

    value: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Touch:
    """One event of a journey."""

    event_id: str
    event_time: datetime
    event_type: str
    source: str
    medium: str
    channel: str
    campaign_id: str
    session_id: str
    click_id: str
    value: Amount | None
    """Of a conversion."""
    is_conversion: bool


@dataclass(frozen=True, slots=True)
class Visitor:
    """What one visitor's events come to."""

    user_id: str
    last_ms: int
    event_count: int
    session_count: int
    conversion_count: int
    revenue: tuple[Amount, ...]
    """By currency, in the order of the alphabet."""


@dataclass(frozen=True, slots=True)
class Journey:
    """What one visitor did in the slice."""

    visitor: Visitor
    touches: tuple[Touch, ...]
    """In the order of time, then of the ids; the first 1,000."""


def compile_visitor_of_click(spec: JourneySpec) -> Statement:
    """Compile to a statement with the visitor of the click, if there is one, whenever that was.

    Where several events have the id, ours goes before the source's, a click before other events, a later before an
    earlier.
    """
    sql = f"""
SELECT user_id FROM events PREWHERE organization_id = {{{ORGANIZATION}:String}}
WHERE user_id != '' AND (click_id = {{click_id:String}} OR external_click_id = {{click_id:String}})
ORDER BY click_id = {{click_id:String}} DESC, event_type = 'click' DESC, event_time DESC, {EVENT_ORDER} DESC
LIMIT 1
"""  # noqa: S608 - our own text
    return Statement(sql, {ORGANIZATION: spec.slice.organization_id, "click_id": spec.click_id})


def compile_is_known(organization_id: str, user_id: str) -> Statement:
    """Compile to a statement with a row if the organisation has any event of the visitor."""
    sql = f"""
SELECT 1 FROM events PREWHERE organization_id = {{{ORGANIZATION}:String}} WHERE user_id = {{user_id:String}} LIMIT 1
"""  # noqa: S608 - our own text
    return Statement(sql, {ORGANIZATION: organization_id, "user_id": user_id})


def compile_visitors(spec: JourneySpec, *, user_id: str, after: Position | None) -> Statement:
    """Compile to a statement with one visitor more than the page has, newest last event first."""
    condition = condition_of(spec.slice)
    parameters = condition.parameters | {"limit": spec.page_size + 1}
    where = "user_id != ''"
    if user_id:
        where, parameters["user_id"] = "user_id = {user_id:String}", user_id
    having = ["1"]
    if spec.is_converted_only:
        having.append("conversions > 0")
    if after is not None:
        having.append("(last_ms, user_id) < ({after_ms:Int64}, {after_user_id:String})")
        parameters |= {"after_ms": after.last_ms, "after_user_id": after.user_id}
    sql = f"""
SELECT user_id, max({MILLISECOND}) AS last_ms, count(), uniqExactIf(session_id, session_id != ''),
    countIf(is_conversion = 1) AS conversions,
    sumMapIf([toString(currency)], [toDecimal128(ifNull(value, 0), 6)], is_conversion = 1 AND isNotNull(value))
FROM events PREWHERE {condition.prewhere} WHERE {where} AND {condition.where}
GROUP BY user_id
HAVING {" AND ".join(having)}
ORDER BY last_ms DESC, user_id DESC
LIMIT {{limit:UInt32}}
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, parameters)


def visitors_of(rows: Rows) -> list[Visitor]:
    """Return the visitors of a statement of ``compile_visitors``."""
    return [
        Visitor(
            user_id,
            last_ms,
            event_count,
            session_count,
            conversion_count,
            tuple(Amount(value, currency) for currency, value in zip(currencies, values, strict=True)),
        )
        for user_id, last_ms, event_count, session_count, conversion_count, (currencies, values) in rows.rows
    ]


def page_of(visitors: Sequence[Visitor], page_size: int) -> tuple[Sequence[Visitor], Position | None]:
    """Return the visitors of the page, and where the next one begins; None when there is none."""
    touch_count = 0
    for at, visitor in enumerate(visitors):
        touch_count += min(visitor.event_count, MOST_TOUCHES)
        if at == page_size or (at and touch_count > MOST_PAGE_TOUCHES):
            last = visitors[at - 1]
            return visitors[:at], Position(last.last_ms, last.user_id)
    return visitors, None


def compile_touches(spec: JourneySpec, user_ids: Sequence[str]) -> Statement:
    """Compile to a statement with the first touches of each visitor."""
    condition = condition_of(spec.slice)
    parameters = condition.parameters | {"user_ids": list(user_ids)}
    sql = f"""
SELECT user_id, toString(event_id), {MILLISECOND}, event_type, source, medium, channel, campaign_id, session_id,
    click_id, is_conversion, value, currency
FROM events PREWHERE {condition.prewhere} WHERE user_id IN {{user_ids:Array(String)}} AND {condition.where}
ORDER BY user_id, event_time, {EVENT_ORDER}
LIMIT {MOST_TOUCHES} BY user_id
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, parameters)


def journeys_of(visitors: Sequence[Visitor], rows: Rows) -> list[Journey]:
    """Return the visitors in their order, each with its touches."""
    touches: dict[str, list[Touch]] = {visitor.user_id: [] for visitor in visitors}
    for user_id, *row in rows.rows:
        touches[user_id].append(_touch(row))
    return [Journey(visitor, tuple(touches[visitor.user_id])) for visitor in visitors]


def _touch(row: Sequence[Any]) -> Touch:
    event_id, at, event_type, source, medium, channel, campaign_id, session_id, click_id, converted, value, code = row
    amount = Amount(value, code) if converted and value is not None else None
    return Touch(
        event_id,
        datetime.fromtimestamp(at / 1000, UTC),
        event_type,
        source,
        medium,
        channel,
        campaign_id,
        session_id,
        click_id,
        amount,
        bool(converted),
    )
