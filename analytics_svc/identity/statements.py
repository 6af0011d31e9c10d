"""Questions about edges, as SQL."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from analytics_svc.behavior.columns import EVENT_ORDER, milliseconds
from analytics_svc.behavior.journey import TOUCH
from analytics_svc.identity.end import OF_PEOPLE, Edge, End, EndKind
from analytics_svc.identity.person import MOST_ENDS, Link
from analytics_svc.statement import ORGANIZATION, Rows, Statement

MOST_CLICKS = 200
"""Of one visitor, where many are asked for at a time."""
_LATEST_MS = 4_102_444_800_000
_INSTANT = "fromUnixTimestamp64Milli({{{}:Int64}}, 'UTC')"
_AS_OF = _INSTANT.format("as_of_ms")
_KIND = "substring({0}, 1, position({0}, '_') - 1)"
_REVOKED = f"""
    SELECT side, other FROM identity_decisions
    WHERE organization_id = {{{ORGANIZATION}:String}} AND decide_time <= {_AS_OF}
    GROUP BY side, other HAVING argMax(is_revoked, revision) = 1
"""  # noqa: S608 - our own text
_IS_REVOKED = "((side, other) IN revoked OR (side, '') IN revoked OR (other, '') IN revoked)"


def compile_links(
    organization_id: str, ends: Sequence[End], *, edition: str, most_neighbours: int, as_of: datetime | None = None
) -> Statement:
    """Compile to a statement with the links of ends, of each kind of neighbours those first that nobody revoked.

    And no more than are needed to tell that there are too many, if one of them were revoked too.
    """
    kinds = ", ".join(f"'{each}'" for each in OF_PEOPLE)
    sql = f"""
WITH revoked AS ({_REVOKED})
SELECT side, other, toUnixTimestamp64Milli(least(first.1, {_AS_OF})), toString(first.2),
    toUnixTimestamp64Milli(least(last, {_AS_OF})), is_revoked
FROM (
    SELECT side, other, min(evidence) AS first, max(last_time) AS last, {_IS_REVOKED} AS is_revoked,
        {_KIND.format("other")} AS kind,
        row_number() OVER (PARTITION BY side, kind ORDER BY is_revoked, other) AS place
    FROM identity_edges PREWHERE organization_id = {{{ORGANIZATION}:String}} AND side IN {{sides:Array(String)}}
    WHERE edition = {{edition:String}} AND evidence.1 <= {_AS_OF}
    GROUP BY side, other
)
WHERE place <= if(kind IN ({kinds}), {{most:UInt64}} + 2, {MOST_ENDS + 1})
ORDER BY side, other
"""  # noqa: S608 - our own text
    values = {ORGANIZATION: organization_id, "sides": list(map(str, ends)), "edition": edition}
    return Statement(sql, {**values, "most": most_neighbours, "as_of_ms": _ms(as_of)})


def links_of(rows: Rows) -> list[Link]:
    """Return the links, some from both sides."""
    return [_link(row) for row in rows.rows]


def _link(row: Sequence[Any]) -> Link:
    side, other, first_ms, event_id, last_ms, is_revoked = row
    edge = Edge.between(End.of(side), End.of(other))
    return Link(edge, _instant(first_ms), _instant(last_ms), event_id, bool(is_revoked))


def compile_suspicious(
    organization_id: str, kind: EndKind | None, *, edition: str, most_neighbours: int, limit: int
) -> Statement:
    """Compile to a statement with the ends that join nobody, those with the most neighbours first."""
    kinds = ", ".join(f"'{each}'" for each in OF_PEOPLE)
    own = f"organization_id = {{{ORGANIZATION}:String}} AND startsWith(side, {{prefix:String}})"
    # There is a row for each day and neighbour: an end with few rows needs no closer look, and most have few.
    sql = f"""
WITH revoked AS ({_REVOKED})
SELECT side, kind, count() AS neighbours, toUnixTimestamp64Milli(min(evidence).1), toString(min(evidence).2),
    toUnixTimestamp64Milli(max(seen))
FROM (
    SELECT side, other, {_KIND.format("other")} AS kind, min(identity_edges.evidence) AS evidence,
        max(last_time) AS seen
    FROM identity_edges PREWHERE {own}
    WHERE edition = {{edition:String}} AND kind IN ({kinds}) AND side IN (
        SELECT side FROM identity_edges PREWHERE {own}
        WHERE edition = {{edition:String}} AND {_KIND.format("other")} IN ({kinds})
        GROUP BY side HAVING count() > {{most:UInt64}}
    )
    GROUP BY side, other
    HAVING NOT {_IS_REVOKED}
)
GROUP BY side, kind HAVING neighbours > {{most:UInt64}}
ORDER BY neighbours DESC, side, kind LIMIT {{limit:UInt32}}
"""  # noqa: S608 - our own text
    values = {ORGANIZATION: organization_id, "edition": edition, "most": most_neighbours, "limit": limit}
    parameters = {**values, "prefix": f"{kind}_" if kind else "", "as_of_ms": _LATEST_MS}
    return Statement(sql, parameters, can_spill=True)


def compile_devices(organization_id: str, user_ids: Sequence[str]) -> Statement:
    """Compile to a statement with what visitors used last."""
    sql = f"""
SELECT user_id, argMax((device_type, os, browser), (event_time, event_id)),
    toUnixTimestamp64Milli(min(event_time)), toUnixTimestamp64Milli(max(event_time)), count()
FROM events PREWHERE organization_id = {{{ORGANIZATION}:String}}
WHERE user_id IN {{users:Array(String)}}
GROUP BY user_id ORDER BY user_id
"""  # noqa: S608 - our own text
    return Statement(sql, {ORGANIZATION: organization_id, "users": list(user_ids)})


def compile_conversion_count(organization_id: str, user_ids: Sequence[str], event_ids: Sequence[str]) -> Statement:
    """Compile to a statement that counts the conversions of visitors, and those among events that none of them sent."""
    sql = f"""
SELECT countIf(is_conversion = 1) FROM events PREWHERE organization_id = {{{ORGANIZATION}:String}}
WHERE user_id IN {{users:Array(String)}} OR event_id IN {{events:Array(UUID)}}
"""  # noqa: S608 - our own text
    return Statement(sql, {ORGANIZATION: organization_id, "users": list(user_ids), "events": list(event_ids)})


def compile_last_click(
    organization_id: str, user_ids: Sequence[str], *, after: datetime, before: datetime
) -> Statement:
    """Compile to a statement with the last click of visitors in a time, as a touch of a journey."""
    sql = f"""
SELECT {TOUCH} FROM events
PREWHERE organization_id = {{{ORGANIZATION}:String}} AND event_time >= {_INSTANT.format("after_ms")}
    AND event_time < {_INSTANT.format("before_ms")}
WHERE event_type = 'click' AND user_id IN {{users:Array(String)}}
ORDER BY event_time DESC, {EVENT_ORDER} DESC LIMIT 1
"""  # noqa: S608 - our own text
    values = {ORGANIZATION: organization_id, "users": list(user_ids)}
    return Statement(sql, {**values, "after_ms": milliseconds(after), "before_ms": milliseconds(before)})


def compile_clicks(organization_id: str, user_ids: Sequence[str], *, after: datetime, before: datetime) -> Statement:
    """Compile to a statement with the last clicks of visitors in a time, of each the newest first.

    Of a visitor who clicked more often than ``MOST_CLICKS`` the earlier ones are not seen.
    """
    sql = f"""
SELECT user_id, toUnixTimestamp64Milli(event_time), toString(event_id), click_id, external_click_id, campaign_id
FROM events
PREWHERE organization_id = {{{ORGANIZATION}:String}} AND event_time >= {_INSTANT.format("after_ms")}
    AND event_time < {_INSTANT.format("before_ms")}
WHERE event_type = 'click' AND user_id IN {{users:Array(String)}}
ORDER BY user_id, event_time DESC, {EVENT_ORDER} DESC LIMIT {MOST_CLICKS} BY user_id
"""  # noqa: S608 - our own text
    values = {ORGANIZATION: organization_id, "users": list(user_ids)}
    return Statement(sql, {**values, "after_ms": milliseconds(after), "before_ms": milliseconds(before)})


def _ms(instant: datetime | None) -> int:
    return _LATEST_MS if instant is None else milliseconds(instant)


def _instant(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)
