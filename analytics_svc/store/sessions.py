"""Sessions of a page: a visitor's events, split where nothing came for more than 30 minutes.

A session's id is made of its visitor and of the half-hour in which it began: two sessions of a visitor begin more than
half an hour apart, so no two have one id, and an event that comes late by a second seldom gives it another one.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from analytics_svc.store.touches import NIL

if TYPE_CHECKING:
    from analytics_svc.store.links import Touches
    from analytics_svc.store.settling import Page, Settling

GAP = timedelta(minutes=30)
_GAP_MS = GAP // timedelta(milliseconds=1)
_STEP = timedelta(days=1)
_MOMENT = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER_MS = -(10**15)
_ID = (
    "concat('s', leftPad(lower(hex(sipHash64(concat("
    f"organization_id, '/', toString(intDiv(toUnixTimestamp64Milli(event_time), {_GAP_MS})), '/', user_id"
    ")))), 16, '0'))"
)
_KEY = "toUInt32(sipHash64(organization_id, user_id))"
_VISIT = "organization_id, event_id, event_time, user_id"
# Of an older event that is first here we know that it begins its session if half an hour before it was looked at;
# otherwise it goes on with the session that it has. Sorted by the visitor's hash first, which is quicker.
_SESSIONS = f"""
INSERT INTO <sessions> ({_VISIT}, is_new, is_shaken, was, session_id)
SELECT {_VISIT}, is_new, is_shaken, was, session
FROM (
    SELECT {_VISIT}, is_new, is_shaken, was, last_value(first) IGNORE NULLS OVER (
        PARTITION BY visitor, organization_id, user_id ORDER BY event_time
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS session
    FROM (
        SELECT {_VISIT}, visitor, is_new, is_shaken, session_id AS was,
            if(
                time_ms - lagInFrame(time_ms, 1, {_NEVER_MS}) OVER (
                    PARTITION BY visitor, organization_id, user_id ORDER BY event_time
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                ) > {_GAP_MS},
                toNullable(if(is_shaken OR time_ms >= {{page_start_ms:Int64}}, {_ID}, was)),
                NULL
            ) AS first
        FROM (
            SELECT *, sipHash64(organization_id, user_id) AS visitor, toUnixTimestamp64Milli(event_time) AS time_ms
            FROM (%s)
        )
    )
)
WHERE is_new OR session != was
"""  # noqa: S608 - our own text
_BETWEEN = (
    "organization_id IN {organizations:Array(String)}"
    " AND event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')"
    " AND event_time <= fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')"
)
_IS_VISIT = f"user_id != '' AND touch_event_id = {NIL}"
# Conversions that were part of a session by themselves until now.
_LEFT = f"SELECT event_id FROM <touches> WHERE is_new = 0 AND was = {NIL} AND user_id != ''"  # noqa: S608 - our own text
_Lost = tuple[str, str, datetime]
"""Organisation, id, and an instant of a session that loses an event."""


def find_sessions(settling: "Settling", page: "Page", touches: "Touches") -> bool:
    """Fill ``sessions``, and ``renamed`` with the older events among them; tell whether there are any of those."""
    lost = _lost_sessions(settling, page) if touches.has_older else []
    if not page.visit_count and not lost:
        return False
    linked = "event_id NOT IN (SELECT event_id FROM <touches>)" if touches.has_new else "1"
    visits = [
        f"SELECT {_VISIT}, 1 AS is_new, 0 AS is_shaken, '' AS session_id FROM <staged> WHERE user_id != '' AND {linked}"  # noqa: S608 - our own text
    ]
    if lost:
        _gather_lost(settling, page, lost)
        visits.append(f"SELECT {_VISIT}, 0, 1, session_id FROM <visits>")  # noqa: S608 - our own text
    visits += _around(settling, touches, has_lost=bool(lost))
    values = {**_between(page, page.start_time - GAP, page.end_time + GAP), "page_start_ms": _ms(page.start_time)}
    settling.run(_SESSIONS % " UNION ALL ".join(visits), values)
    if not settling.rows("SELECT 1 FROM <sessions> WHERE is_new = 0 LIMIT 1"):
        return False
    _follow_to_the_end(settling, page)
    settling.run(
        "INSERT INTO <renamed> (organization_id, event_id, event_time, session_id)"
        " SELECT organization_id, event_id, event_time, session_id FROM <sessions> WHERE is_new = 0"
    )
    return True


def _around(settling: "Settling", touches: "Touches", *, has_lost: bool) -> list[str]:
    """Return what is there already of the same visitors, so near that it may be of one session."""
    where = f"{_IS_VISIT} AND {settling.is_older}"
    if touches.has_older:
        where += f" AND event_id NOT IN ({_LEFT})"
    if has_lost:
        where += " AND event_id NOT IN (SELECT event_id FROM <visits>)"
    return [
        f"SELECT {_VISIT}, 0, 0, session_id FROM {source.table}"  # noqa: S608 - our own text
        f" PREWHERE {_BETWEEN} AND user_key IN (SELECT {_KEY} FROM <staged> WHERE user_id != '')"
        f" WHERE {where} AND {source.where}"
        for source in settling.sources
    ]


def _gather_lost(settling: "Settling", page: "Page", lost: "Sequence[_Lost]") -> None:
    """Add to ``visits`` the whole sessions that lose an event, without it."""
    where = (
        f"event_id NOT IN ({_LEFT}) AND (organization_id, session_id) IN ("
        " SELECT arrayJoin(arrayZip({lost_organizations:Array(String)}, {lost_sessions:Array(String)})))"
    )
    values = {"lost_organizations": [row[0] for row in lost], "lost_sessions": [row[1] for row in lost]}
    start, end = min(row[2] for row in lost) - _STEP, max(row[2] for row in lost) + _STEP
    _gather_visits(settling, page, start, end, where, values)
    while _gather_visits(settling, page, start - _STEP, start - _MOMENT, where, values):
        start -= _STEP
    while _gather_visits(settling, page, end + _MOMENT, end + _STEP, where, values):
        end += _STEP


def _lost_sessions(settling: "Settling", page: "Page") -> "list[_Lost]":
    """Return the sessions that lose an event to a click."""
    found: list[_Lost] = []
    for source in settling.sources:
        rows = settling.rows(
            "SELECT organization_id, session_id, toUnixTimestamp64Milli(min(event_time))"  # noqa: S608 - our own text
            f" FROM {source.table} PREWHERE organization_id IN {{organizations:Array(String)}}"
            f" AND event_time IN (SELECT event_time FROM <touches> WHERE is_new = 0)"
            f" WHERE event_id IN ({_LEFT}) AND {source.where} AND {settling.is_older}"
            " GROUP BY organization_id, session_id",
            {"organizations": page.organization_ids},
        )
        found.extend((str(row[0]), str(row[1]), datetime.fromtimestamp(int(row[2]) / 1000, UTC)) for row in rows)
    return found


def _follow_to_the_end(settling: "Settling", page: "Page") -> None:
    """Add to ``sessions`` the rest of older sessions that have another id now and go on behind the page."""
    start = page.end_time + GAP
    moved = (
        "SELECT organization_id, was, argMax(session_id, event_time) FROM <sessions>"
        " WHERE is_new = 0 AND is_shaken = 0 GROUP BY organization_id, was"
        " HAVING max(toUnixTimestamp64Milli(event_time)) > {end_ms:Int64}"
    )
    # As it is now: what is added below would keep a session going on for ever.
    rows = settling.rows(f"{moved}", {"end_ms": _ms(page.end_time)})
    if not rows:
        return
    names = [list(column) for column in zip(*rows, strict=True)]
    values = {"moved_organizations": names[0], "moved_sessions": names[1], "new_sessions": names[2]}
    while True:
        before = settling.count("sessions")
        for source in settling.sources:
            settling.run(
                f"INSERT INTO <sessions> ({_VISIT}, is_new, is_shaken, was, session_id)"  # noqa: S608 - our own text
                f" SELECT {_VISIT}, 0, 0, session_id, {{new_sessions:Array(String)}}[indexOf(moved, session)]"
                " FROM ("
                f" SELECT {_VISIT}, session_id, (toString(organization_id), session_id) AS session,"
                " arrayZip({moved_organizations:Array(String)}, {moved_sessions:Array(String)}) AS moved"
                f" FROM {source.table}"
                f" PREWHERE {_BETWEEN} AND user_key IN (SELECT {_KEY} FROM <sessions> WHERE is_new = 0)"
                f" WHERE {_IS_VISIT} AND {source.where} AND {settling.is_older} AND has(moved, session))",
                {**_between(page, start + _MOMENT, start + _STEP), **values},
            )
        if settling.count("sessions") == before:
            return
        start += _STEP


def _gather_visits(
    settling: "Settling", page: "Page", start: datetime, end: datetime, where: str, values: Mapping[str, object]
) -> bool:
    """Add older events from ``start`` to ``end``, both inside, to ``visits``; tell whether there were any."""
    before = settling.count("visits")
    for source in settling.sources:
        settling.run(
            f"INSERT INTO <visits> ({_VISIT}, session_id) SELECT {_VISIT}, session_id FROM {source.table}"  # noqa: S608 - our own text
            f" PREWHERE {_BETWEEN} AND user_key IN (SELECT {_KEY} FROM <touches> WHERE is_new = 0)"
            f" WHERE {_IS_VISIT} AND {source.where} AND {settling.is_older} AND {where}",
            {**_between(page, start, end), **values},
        )
    return settling.count("visits") > before


def _between(page: "Page", start: datetime, end: datetime) -> dict[str, object]:
    return {"organizations": page.organization_ids, "start_ms": _ms(start), "end_ms": _ms(end)}


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // _MOMENT
