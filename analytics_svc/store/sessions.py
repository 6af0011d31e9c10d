"""Sessions of a page: a visitor's events, split where nothing came for more than 30 minutes.

A session's id is made of its visitor and of the half-hour in which it began: two sessions of a visitor begin more than
half an hour apart, so no two have one id, and an event that comes late by a second seldom gives it another one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from analytics_svc.store.touches import NIL

if TYPE_CHECKING:
    from analytics_svc.store.settling import Page, Settling

GAP = timedelta(minutes=30)
_GAP_MS = GAP // timedelta(milliseconds=1)
_STEP = timedelta(days=1)
_MOMENT = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER_MS = -(10**15)
_ID = (
    "concat('s', leftPad(lower(hex(sipHash64(concat("
    f"organization_id, '/', toString(intDiv(toUnixTimestamp64Milli(event_time), {_GAP_MS})), '/', user_id)))), 16, '0'))"
)
_KEY = "toUInt32(sipHash64(organization_id, user_id))"
_VISIT = "organization_id, event_id, event_time, user_id"
# An older event that is first here goes on with the session that it has: whatever came before it is there already.
# Unless that session lost an event: then all of it is here.
_SESSIONS = f"""
INSERT INTO <sessions> ({_VISIT}, is_new, is_shaken, was, session_id)
SELECT {_VISIT}, is_new, is_shaken, was, session
FROM (
    SELECT {_VISIT}, is_new, is_shaken, was, last_value(first) IGNORE NULLS OVER (
        PARTITION BY organization_id, user_id ORDER BY event_time, event_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS session
    FROM (
        SELECT {_VISIT}, is_new, is_shaken, session_id AS was,
            if(
                toUnixTimestamp64Milli(event_time) - lagInFrame(toUnixTimestamp64Milli(event_time), 1, {_NEVER_MS}) OVER (
                    PARTITION BY organization_id, user_id ORDER BY event_time, event_id
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                ) > {_GAP_MS},
                toNullable(if(is_new OR is_shaken, {_ID}, was)),
                NULL
            ) AS first
        FROM <visits>
    )
)
WHERE is_new OR session != was
"""
# Conversions that were part of a session by themselves until now.
_BETWEEN = (
    "organization_id IN {organizations:Array(String)}"
    " AND event_time >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')"
    " AND event_time <= fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')"
)
_IS_VISIT = f"user_id != '' AND touch_event_id = {NIL} AND event_id NOT IN (SELECT event_id FROM <staged>)"
_Lost = tuple[str, str, datetime]
"""Organisation, id, and an instant of a session that loses an event."""
_LEFT = f"SELECT event_id FROM <touches> WHERE is_new = 0 AND was = {NIL} AND user_id != ''"


def find_sessions(settling: "Settling", page: "Page", *, has_touches: bool) -> bool:
    """Fill ``sessions``, and ``renamed`` with the older events among them; tell whether there are any of those."""
    lost = _lost_sessions(settling, page) if has_touches else []
    if not page.visit_count and not lost:
        return False
    linked = "event_id NOT IN (SELECT event_id FROM <touches>)" if has_touches else "1"
    settling.run(
        f"INSERT INTO <visits> ({_VISIT}, is_new, is_shaken, session_id) SELECT {_VISIT}, 1, 0, '' FROM <staged> WHERE user_id != '' AND {linked}"
    )
    if lost:
        _gather_lost(settling, page, lost)
    _gather_around(settling, page, has_touches=has_touches, has_lost=bool(lost))
    settling.run(_SESSIONS)
    if not settling.rows("SELECT 1 FROM <sessions> WHERE is_new = 0 LIMIT 1"):
        return False
    _follow_to_the_end(settling, page)
    settling.run(
        "INSERT INTO <renamed> (organization_id, event_id, event_time, session_id)"
        " SELECT organization_id, event_id, event_time, session_id FROM <sessions> WHERE is_new = 0"
    )
    return True


def _gather_around(settling: "Settling", page: "Page", *, has_touches: bool, has_lost: bool) -> None:
    """Add to ``visits`` what is there already of the same visitors, so near that it may be of one session."""
    where = "1"
    if has_touches:
        where += f" AND event_id NOT IN ({_LEFT})"
    if has_lost:
        where += " AND event_id NOT IN (SELECT event_id FROM <visits>)"
    around = _Older(settling, page, f"SELECT {_KEY} FROM <visits>", where)
    around.gather(page.start_time - GAP, page.end_time + GAP)


def _gather_lost(settling: "Settling", page: "Page", lost: "Sequence[_Lost]") -> None:
    """Add to ``visits`` the whole sessions that lose an event, without it."""
    where = (
        f"event_id NOT IN ({_LEFT}) AND (organization_id, session_id) IN ("
        " SELECT arrayJoin(arrayZip({lost_organizations:Array(String)}, {lost_sessions:Array(String)})))"
    )
    values = {"lost_organizations": [row[0] for row in lost], "lost_sessions": [row[1] for row in lost]}
    sessions = _Older(settling, page, f"SELECT {_KEY} FROM <touches> WHERE is_new = 0", where, values, is_shaken=1)
    start, end = min(row[2] for row in lost) - _STEP, max(row[2] for row in lost) + _STEP
    sessions.gather(start, end)
    while sessions.gather(start - _STEP, start - _MOMENT):
        start -= _STEP
    while sessions.gather(end + _MOMENT, end + _STEP):
        end += _STEP


def _lost_sessions(settling: "Settling", page: "Page") -> "list[_Lost]":
    """Return the sessions that lose an event to a click."""
    found: list[_Lost] = []
    for source in settling.sources:
        rows = settling.rows(
            "SELECT organization_id, session_id, toUnixTimestamp64Milli(min(event_time))"
            f" FROM {source.table} PREWHERE organization_id IN {{organizations:Array(String)}}"  # noqa: S608 - our own text
            f" AND event_time IN (SELECT event_time FROM <touches> WHERE is_new = 0)"
            f" WHERE event_id IN ({_LEFT}) AND {source.where} AND event_id NOT IN (SELECT event_id FROM <staged>)"
            " GROUP BY organization_id, session_id",
            {"organizations": page.organization_ids},
        )
        found.extend((str(row[0]), str(row[1]), datetime.fromtimestamp(int(row[2]) / 1000, UTC)) for row in rows)
    return found


def _follow_to_the_end(settling: "Settling", page: "Page") -> None:
    """Add to ``sessions`` the rest of older sessions that have another id now and go on behind the page."""
    start = page.end_time + GAP
    moved = (
        "SELECT organization_id, was AS session_id, any(session_id) AS session FROM <sessions>"
        " WHERE is_new = 0 AND is_shaken = 0 GROUP BY organization_id, was"
        " HAVING max(event_time) > fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')"
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
                f" SELECT {_VISIT}, 0, 0, session_id, {{new_sessions:Array(String)}}[indexOf(moved, (toString(organization_id), session_id))]"
                " FROM ("
                f" SELECT {_VISIT}, session_id, arrayZip({{moved_organizations:Array(String)}}, {{moved_sessions:Array(String)}}) AS moved"
                f" FROM {source.table}"
                f" PREWHERE {_BETWEEN} AND user_key IN (SELECT {_KEY} FROM <sessions> WHERE is_new = 0)"
                f" WHERE {_IS_VISIT} AND {source.where} AND has(moved, (toString(organization_id), session_id)))",
                {**_between(page, start + _MOMENT, start + _STEP), **values},
            )
        if settling.count("sessions") == before:
            return
        start += _STEP


@dataclass(frozen=True, slots=True)
class _Older:
    """Settled rows that are part of a session by their own user and are not staged."""

    settling: "Settling"
    page: "Page"
    keys: str
    """The SELECT of the visitors' keys."""
    where: str
    values: Mapping[str, object] = field(default_factory=dict)
    is_shaken: int = 0

    def gather(self, start: datetime, end: datetime) -> bool:
        """Add those from ``start`` to ``end``, both inside, to ``visits``; tell whether there were any."""
        before = self.settling.count("visits")
        for source in self.settling.sources:
            self.settling.run(
                f"INSERT INTO <visits> ({_VISIT}, is_new, is_shaken, session_id)"  # noqa: S608 - our own text
                f" SELECT {_VISIT}, 0, {self.is_shaken}, session_id FROM {source.table}"
                f" PREWHERE {_BETWEEN} AND user_key IN ({self.keys})"
                f" WHERE {_IS_VISIT} AND {source.where} AND {self.where}",
                {**_between(self.page, start, end), **self.values},
            )
        return self.settling.count("visits") > before


def _between(page: "Page", start: datetime, end: datetime) -> dict[str, object]:
    return {"organizations": page.organization_ids, "start_ms": _ms(start), "end_ms": _ms(end)}


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // _MOMENT
