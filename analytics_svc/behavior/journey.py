"""Journeys: what visitors, or all visitors of one person, did, event by event."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from analytics_svc.behavior.columns import EVENT_ORDER, MILLISECOND
from analytics_svc.slice import Slice
from analytics_svc.statement import ORGANIZATION, Condition, Rows, Statement, condition_of

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
    is_person: bool = False
    """The events of every visitor who is one person with the one that is named are one journey."""
    as_of: datetime | None = None
    """Who was known to be one person then; None: now."""


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
    user_id: str


@dataclass(frozen=True, slots=True)
class Visitor:
    """What one visitor's events come to, or one person's."""

    user_id: str
    """Of a person the visitor that was asked for."""
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
    person_id: str = ""
    """Empty: a visitor's."""
    user_ids: tuple[str, ...] = ()
    """The person's visitors."""


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


def compile_is_known(spec: JourneySpec) -> Statement:
    """Compile to a statement with a row if the organisation has any event of the visitor, whenever that was."""
    sql = f"""
SELECT 1 FROM events PREWHERE organization_id = {{{ORGANIZATION}:String}} WHERE user_id = {{user_id:String}} LIMIT 1
"""  # noqa: S608 - our own text
    return Statement(sql, {ORGANIZATION: spec.slice.organization_id, "user_id": spec.user_id})


def compile_page(spec: JourneySpec, *, user_id: str, after: Position | None) -> Statement:
    """Compile to a statement with one visitor more than the page has, and its last event's time, newest first.

    It reads from the end of the slice and stops at the last one wanted: nobody is aggregated.
    """
    condition = condition_of(spec.slice)
    parameters = condition.parameters | {"limit": spec.page_size + 1}
    prewhere, where = condition.prewhere, [f"user_id != '' AND {condition.where}"]
    if user_id:
        prewhere, parameters["user_id"] = f"{prewhere} AND user_id = {{user_id:String}}", user_id
    if spec.is_converted_only:
        where.append(f"user_id IN ({_users(condition, prewhere, 'is_conversion = 1')})")
    if after is not None:
        parameters |= {"after_ms": after.last_ms, "after_user_id": after.user_id}
        # Whoever has an event there had its turn.
        seen = f"{prewhere} AND event_time >= {_AFTER}"
        later = f"(event_time > {_AFTER} OR user_id >= {{after_user_id:String}})"
        where.append(f"user_id NOT IN ({_users(condition, seen, later)})")
        prewhere = f"{prewhere} AND event_time <= {_AFTER}"
    sql = f"""
SELECT user_id, {MILLISECOND}
FROM events PREWHERE {prewhere} WHERE {" AND ".join(where)}
ORDER BY event_time DESC, user_id DESC
LIMIT 1 BY user_id
LIMIT {{limit:UInt32}}
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, parameters)


_AFTER = "fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC')"


def _users(condition: Condition, prewhere: str, where: str) -> str:
    return f"SELECT user_id FROM events PREWHERE {prewhere} WHERE {condition.where} AND {where}"  # noqa: S608 - as above


_SUMS = """count(), uniqExactIf(session_id, session_id != ''), countIf(is_conversion = 1),
    sumMapIf([toString(currency)], [toDecimal128(ifNull(value, 0), 6)], is_conversion = 1 AND isNotNull(value))"""
TOUCH = f"""user_id, toString(event_id), {MILLISECOND}, event_type, source, medium, channel, campaign_id, session_id,
    click_id, is_conversion, value, currency"""
"""The columns of ``touch_of``."""


def compile_visitors(spec: JourneySpec, user_ids: Sequence[str]) -> Statement:
    """Compile to a statement with what each visitor's events come to."""
    condition, prewhere = _of_visitors(spec, user_ids)
    sql = f"""
SELECT user_id, {_SUMS}
FROM events PREWHERE {prewhere} WHERE {condition.where}
GROUP BY user_id
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, condition.parameters)


def visitors_of(user_ids: Sequence[str], rows: Rows) -> list[Visitor]:
    """Return the visitors, in the order of their ids as given, without those who were erased in the meantime."""
    found = {user_id: _visitor(user_id, sums) for user_id, *sums in rows.rows}
    return [found[user_id] for user_id in user_ids if user_id in found]


def _visitor(user_id: str, sums: Sequence[Any]) -> Visitor:
    event_count, session_count, conversion_count, (currencies, values) = sums
    revenue = tuple(Amount(value, currency) for currency, value in zip(currencies, values, strict=True))
    return Visitor(user_id, event_count, session_count, conversion_count, revenue)


def page_of(visitors: Sequence[Visitor]) -> Sequence[Visitor]:
    """Return as many of the visitors, at least one, as have touches for a page."""
    touch_count = 0
    for at, visitor in enumerate(visitors):
        touch_count += min(visitor.event_count, MOST_TOUCHES)
        if at and touch_count > MOST_PAGE_TOUCHES:
            return visitors[:at]
    return visitors


def compile_touches(spec: JourneySpec, user_ids: Sequence[str]) -> Statement:
    """Compile to a statement with the first touches of each visitor."""
    condition, prewhere = _of_visitors(spec, user_ids)
    sql = f"""
SELECT {TOUCH}
FROM events PREWHERE {prewhere} WHERE {condition.where}
ORDER BY user_id, event_time, {EVENT_ORDER}
LIMIT {MOST_TOUCHES} BY user_id
"""  # noqa: S608 - our own text: what a caller says is a parameter
    return Statement(sql, condition.parameters)


def _of_visitors(spec: JourneySpec, user_ids: Sequence[str]) -> tuple[Condition, str]:
    condition = condition_of(spec.slice)
    condition.parameters["user_ids"] = list(user_ids)
    return condition, f"{condition.prewhere} AND user_id IN {{user_ids:Array(String)}}"


def journeys_of(visitors: Sequence[Visitor], rows: Rows) -> list[Journey]:
    """Return the visitors in their order, each with its touches."""
    touches: dict[str, list[Touch]] = {visitor.user_id: [] for visitor in visitors}
    for row in rows.rows:
        touches[row[0]].append(touch_of(row))
    return [Journey(visitor, tuple(touches[visitor.user_id])) for visitor in visitors]


def compile_person(spec: JourneySpec, user_ids: Sequence[str], event_ids: Sequence[str]) -> tuple[Statement, Statement]:
    """Compile to a statement with what the events of a person come to, and one with the first of its touches."""
    condition = condition_of(spec.slice)
    condition.parameters.update(user_ids=list(user_ids), event_ids=list(event_ids))
    sent = "user_id IN {user_ids:Array(String)}"
    if event_ids:
        sent = f"({sent} OR event_id IN {{event_ids:Array(UUID)}})"
    where = f"FROM events PREWHERE {condition.prewhere} AND {sent} WHERE {condition.where}"
    touches = f"SELECT {TOUCH} {where} ORDER BY event_time, {EVENT_ORDER} LIMIT {MOST_TOUCHES}"
    return Statement(f"SELECT {_SUMS} {where}", condition.parameters), Statement(touches, condition.parameters)


def person_journey_of(user_id: str, person_id: str, user_ids: Sequence[str], sums: Rows, touches: Rows) -> Journey:
    """Return a person's journey; ``user_id`` is the visitor that was asked for."""
    return Journey(_visitor(user_id, sums.rows[0]), tuple(map(touch_of, touches.rows)), person_id, tuple(user_ids))


def touch_of(row: Sequence[Any]) -> Touch:
    """Return one event of a journey."""
    (user_id, event_id, at, event_type, source, medium, channel, campaign_id, session_id, click_id, converted, value,
     code) = row  # fmt: skip
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
        user_id,
    )
