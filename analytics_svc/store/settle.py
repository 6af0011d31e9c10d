"""Settling: giving derived rows what only other events can say, their session and their click.

The state is a function of the set of rows alone. New rows come to it by ``settle``, which also finds the older rows
that they change; ``reconcile`` changes those. A page is written in this order, and none of it is lost by a crash,
because the page comes again until its bookmark is kept::

    settle(client, staged, settled)
    changed = affected(client, settled)
    if changed:                      # seldom
        ...                          # keep an intent with its organisations and days
        reconcile(client, changed)
    ...                              # insert `settled` into `events`, add to the roll-ups, keep the bookmark

Older rows change first: were the new ones there already, nobody would look at them again after a crash. Whoever finds
an open intent calls ``repair`` for its organisations and days.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from analytics_svc.operation import Scope, end_of, start_of
from analytics_svc.store import links, overlay, rollups
from analytics_svc.store.intents import close_intent, open_intent
from analytics_svc.store.sessions import find_sessions
from analytics_svc.store.settling import CHANGES, Page, Settling, Source
from analytics_svc.store.touches import (
    CONVERSION,
    JUDGED,
    PEOPLE,
    SETTLED,
    linked_values,
    own_values,
    replaced,
    unclaimed_values,
)

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REPAIRED = "repaired"
_ENOUGH_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Affected:
    """Older rows that a page changes; false where there are none."""

    name: str
    """What the names of the tables with the changes begin with."""
    organization_ids: Sequence[str] = ()
    days: Sequence[date] = ()
    """UTC."""

    def __bool__(self) -> bool:
        """Tell whether anything changes."""
        return bool(self.organization_ids)


def settle(client: "Client", staged: str, settled: str) -> None:
    """Insert the rows of ``staged`` into ``settled``, completed.

    Both have the columns of ``events``; the rows of ``staged`` are of their own alone (`session_id` '', no touch). Its
    organisations' rows in ``events`` are settled; those with an id of ``staged`` do not count. Keeps, durably, where
    the page's ids are found; what it changes in older rows stays in tables named after ``settled`` until the next call.
    """
    _settle(Settling(client, staged, settled), settled)


def affected(client: "Client", settled: str) -> Affected:
    """Return which older rows the page that was settled last into ``settled`` changes."""
    settling = Settling(client, "", settled)
    if not any(settling.count(name) for name in CHANGES):
        return Affected(settled)
    rows = " UNION ALL ".join(f"SELECT organization_id, event_time FROM <{name}>" for name in CHANGES)  # noqa: S608 - our own text
    organizations, days = settling.rows(
        "SELECT groupUniqArray(toString(organization_id)), groupUniqArray(toDate(event_time, 'UTC'))"  # noqa: S608 - our own text
        f" FROM ({rows})"
    )[0]
    return Affected(settled, sorted(organizations), sorted(days))


def reconcile(client: "Client", changed: Affected) -> None:
    """Change the older rows, and count their days anew. Readers see each row all the time, as it was or as it is."""
    if not changed:
        return
    _change(Settling(client, "", changed.name), "events")
    rollups.recount(client, changed.organization_ids, changed.days)


def repair(client: "Client", organization_ids: Collection[str], days: Collection[date]) -> None:
    """Settle these UTC days of these organisations anew, whatever state they are in, and count them anew."""
    if not organization_ids or not days:
        return
    where = "organization_id IN {organizations:Array(String)} AND toDate(event_time, 'UTC') IN {days:Array(Date)}"
    _settle_again(client, where, {"organizations": sorted(organization_ids), "days": sorted(days)})
    rollups.recount(client, organization_ids, days)


def _settle_again(client: "Client", where: str, values: Mapping[str, object]) -> None:
    """Settle rows of ``events`` anew, change those of them and around them that come out otherwise, and count these."""
    staged = f"{_REPAIRED}_staged"
    settling = Settling(client, staged, _REPAIRED, is_again=True)
    parts = _parts(settling, "events", where, values)
    if not parts:
        return
    client.command(f"CREATE OR REPLACE TABLE {staged} AS events ENGINE = Memory")
    client.command(f"CREATE OR REPLACE TABLE {_REPAIRED} AS events ENGINE = Memory")
    for part in parts:
        _stage(settling, "events", f"{where} AND {part}", values, columns=f"* {replaced(own_values())}")
        settling.run(f"TRUNCATE TABLE {_REPAIRED}")
        _settle(settling, _REPAIRED)
        _keep_differences(settling)
        if changed := affected(client, _REPAIRED):
            intent = open_intent(client, changed.organization_ids, changed.days)
            reconcile(client, changed)
            close_intent(client, intent)
    settling.drop()
    client.command(f"DROP TABLE {staged}")
    client.command(f"DROP TABLE {_REPAIRED}")


def settle_month(client: "Client", own: str, settled: str, scope: Scope) -> None:
    """Insert the rows of ``own``, those of a month, into ``settled``, completed: the same as page by page.

    Both are MergeTree tables like ``events``, whose earlier months are final; what the month changes in others is
    changed by ``reconcile_month``.
    """
    staged = f"{settled}_staged"
    client.command(f"CREATE OR REPLACE TABLE {staged} AS events ENGINE = Memory")
    settling = _month_settling(client, staged, settled, scope)
    client.command(f"CREATE OR REPLACE TABLE {settling.far_table} (event_time DateTime64(3, 'UTC')) ENGINE = Memory")
    for part in _parts(settling, own, "1", {}):
        _stage(settling, own, part, {})
        _settle(settling, settled)
        _change(settling, settled)
    client.command(f"DROP TABLE {staged}")


def settle_late(client: "Client", late: str, settled: str, scope: Scope) -> tuple[Sequence[str], Sequence[date]]:
    """Insert rows of the month that came after ``settle_month`` into ``settled``, and change those that are there.

    Return whose days are to be counted anew.
    """
    settling = _month_settling(client, late, settled, scope)
    _settle(settling, settled)
    changed = affected(client, settled)
    _change(settling, settled)
    organizations, days = settling.rows(
        "SELECT groupUniqArray(toString(organization_id)), groupUniqArray(toDate(event_time, 'UTC')) FROM <staged>"
    )[0]
    return sorted({*organizations, *changed.organization_ids}), sorted({*days, *changed.days})


def reconcile_month(
    client: "Client", settled: str, scope: Scope, *, to_come: Collection[date] = (), since_block: int = 0
) -> None:
    """Change, in other months, what a month that took its place just now says otherwise, and count it anew.

    That is: conversions that go back, or went back, to its clicks, sessions that go on in the next month, and its own
    conversions that may go back to later clicks. Months ``to_come`` are left: they will be settled as a whole. And in
    itself, what earlier months say that came with blocks after ``since_block``, while it was made. After
    ``settle_month``, whose tables it drops.
    """
    settling = _month_settling(client, "", settled, scope)
    start, end = start_of(scope.month), end_of(scope.month)
    own = "organization_id = {organization:String} AND " if scope.organization_id else ""
    values = {
        "organization": scope.organization_id,
        "start_ms": _ms(start),
        "end_ms": _ms(end),
        "to_come": [month.year * 100 + month.month for month in to_come],
        "since_block": since_block,
    }
    within = f"(event_time >= {_time('start_ms')} AND event_time < {_time('end_ms')})"
    came = (
        f"SELECT event_time FROM events WHERE {own}event_time < {_time('start_ms')} AND event_type = 'click'"  # noqa: S608 - our own text
        " AND _block_number > {since_block:UInt64}"
    )
    others = (
        "SELECT key FROM click_keys WHERE"  # noqa: S608 - our own text
        f" ((event_time >= {_time('end_ms')} AND NOT has({{to_come:Array(UInt32)}}, toYYYYMM(event_time)))"
        f" OR (event_time < {_time('start_ms')} AND event_time IN ({came}))) AND key IN ("
        f"SELECT arrayJoin({links.REFERENCE_KEYS}) FROM events WHERE {own}{within} AND {CONVERSION})"
    )
    where = (
        f"{own}NOT has({{to_come:Array(UInt32)}}, toYYYYMM(event_time)) AND if({within},"  # noqa: S608 - our own text
        # Of this month: what refers to clicks of later ones, which were not looked at, or to such as came meanwhile,
        # and what may go on with sessions before it.
        f" ({CONVERSION} AND arrayExists(key -> key IN ({others}), {links.REFERENCE_KEYS}))"
        f" OR event_time <= {_time('start_ms')} + INTERVAL 30 MINUTE,"
        # Of others: what refers, or is linked, to clicks of this one, and what may go on with its sessions.
        f" ({CONVERSION} AND event_time IN (SELECT event_time FROM {settling.far_table}))"
        f" OR ifNull(touch_time >= {_time('start_ms')} AND touch_time < {_time('end_ms')}, 0)"
        f" OR (event_time >= {_time('end_ms')} AND event_time <= {_time('end_ms')} + INTERVAL 30 MINUTE))"
    )
    _settle_again(client, where, values)
    settling.drop()
    client.command(f"DROP TABLE IF EXISTS {settling.far_table}")


def resettle_month(client: "Client", scope: Scope) -> None:
    """Change, in a month that was left ``to_come`` and does not come, what other months say otherwise by now."""
    own = "organization_id = {organization:String} AND " if scope.organization_id else ""
    start = start_of(scope.month)
    values = {"organization": scope.organization_id, "start_ms": _ms(start), "end_ms": _ms(end_of(scope.month))}
    where = (
        f"{own}event_time >= {_time('start_ms')} AND event_time < {_time('end_ms')}"
        f" AND ({CONVERSION} OR event_time <= {_time('start_ms')} + INTERVAL 30 MINUTE)"
    )
    _settle_again(client, where, values)


def _month_settling(client: "Client", staged: str, settled: str, scope: Scope) -> Settling:
    before = f"event_time < toDateTime64('{start_of(scope.month):%Y-%m-%d} 00:00:00', 3, 'UTC')"
    sources = (Source("events", before, is_final=True), Source(settled))
    return Settling(client, staged, settled, sources, far_table=f"{settled}_far")


def _parts(settling: Settling, table: str, where: str, values: Mapping[str, object]) -> list[str]:
    """Return conditions that cut the rows of a table, in the order of time, into parts that are not too large."""
    rows = settling.rows(
        "SELECT intDiv(toUnixTimestamp64Milli(event_time), 60000) AS minute, count() FROM"  # noqa: S608 - our own text
        f" {table} WHERE {where} GROUP BY minute ORDER BY minute",
        values,
    )
    parts: list[str] = []
    first, last, total = 0, 0, 0
    for minute, count in [*((int(str(row[0])), int(str(row[1]))) for row in rows), (0, 0)]:
        if total and (not count or total + count > _ENOUGH_ROWS):
            parts.append(
                f"event_time >= fromUnixTimestamp64Milli({first * 60_000}, 'UTC')"
                f" AND event_time < fromUnixTimestamp64Milli({(last + 1) * 60_000}, 'UTC')"
            )
            total = 0
        if not total:
            first = minute
        last, total = minute, total + count
    return parts


def _stage(settling: Settling, table: str, where: str, values: Mapping[str, object], *, columns: str = "*") -> None:
    settling.run("TRUNCATE TABLE <staged>")
    settling.run(f"INSERT INTO <staged> SELECT {columns} FROM {table} WHERE {where}", values)  # noqa: S608 - our own text


def _keep_differences(settling: Settling) -> None:
    """Add to ``relinked`` and ``judged`` what was settled otherwise than it is there."""
    for name, names in (("relinked", tuple(SETTLED)), ("judged", tuple(JUDGED))):
        _keep_different(settling, name, names)


def _keep_different(settling: Settling, name: str, names: Sequence[str]) -> None:
    columns = ", ".join(("organization_id", "event_id", "event_time", *names))
    compared = f"toString(tuple({', '.join(names)})) AS values"
    there = (
        f"SELECT event_id, {compared} FROM events WHERE organization_id IN (SELECT organization_id FROM <staged>)"  # noqa: S608 - our own text
        " AND event_time IN (SELECT event_time FROM <staged>)"
    )
    settling.run(
        f"INSERT INTO <{name}> ({columns}) SELECT {columns} FROM"  # noqa: S608 - our own text
        f" (SELECT {columns}, {compared} FROM {settling.name}) AS made"
        f" INNER JOIN ({there}) AS seen ON seen.event_id = made.event_id WHERE seen.values != made.values"
    )


def _change(settling: Settling, table: str) -> None:
    for name, columns in CHANGES.items():
        if settling.count(name):
            changes = settling.table(name)
            values = ", ".join(f"{column} = joinGet('{changes}', '{column}', event_id)" for column in columns)
            settling.run(
                f"UPDATE {table} SET {values}"  # noqa: S608 - our own text
                f" WHERE organization_id IN (SELECT organization_id FROM {changes})"
                f" AND event_time IN (SELECT event_time FROM {changes})"
                f" AND event_id IN (SELECT event_id FROM {changes})"
            )


def _settle(settling: Settling, settled: str) -> None:
    settling.prepare()
    page = _page(settling)
    if page is None:
        return
    has_overlays = overlay.lay(settling, page)
    touches = links.find_touches(settling, page)
    has_moved = find_sessions(settling, page, touches)
    if touches.has_older:
        links.relink(settling)
    if has_moved or settling.is_again:
        links.follow_clicks(settling, page)
    if has_overlays and settling.is_again:
        links.follow_campaigns(settling, page)
    links.keep_keys(settling, page)
    _complete(settling, settled, has_touches=touches.has_new)


def _page(settling: Settling) -> Page | None:
    row = settling.rows(
        "SELECT count(), groupUniqArray(toString(organization_id)), toUnixTimestamp64Milli(min(event_time)),"  # noqa: S608 - our own text
        " toUnixTimestamp64Milli(max(event_time)), countIf(event_type = 'click'),"
        f" countIf({CONVERSION} AND notEmpty(references)), countIf(user_id != '') FROM <staged>"
    )[0]
    count, organizations, start_ms, end_ms, clicks, conversions, visits = row
    if not count:
        return None
    return Page(organizations, _instant(start_ms), _instant(end_ms), clicks, conversions, visits)


def _complete(settling: Settling, settled: str, *, has_touches: bool) -> None:
    linked = "(SELECT event_id FROM <touches>)"
    where = f"WHERE c.event_id NOT IN {linked}" if has_touches else ""
    settling.run(
        f"INSERT INTO {settled} SELECT c.* {replaced({**PEOPLE, 'session_id': 's.session_id'})} FROM <staged> AS c"  # noqa: S608 - our own text
        f" LEFT ANY JOIN (SELECT event_id, session_id FROM <sessions> WHERE is_new = 1) AS s"
        f" ON s.event_id = c.event_id {where}"
    )
    if has_touches:
        rows = f"(SELECT * {replaced({**PEOPLE, **unclaimed_values()})} FROM <staged> WHERE event_id IN {linked})"  # noqa: S608 - our own text
        touches = "(SELECT event_id, touch_event_id FROM <touches> WHERE is_new = 1)"
        columns = f"c.* {replaced(linked_values(links.SESSION_OF_CLICK))}"
        settling.run(f"INSERT INTO {settled} " + links.linked_rows(rows, touches, columns))


def _time(name: str) -> str:
    return f"fromUnixTimestamp64Milli({{{name}:Int64}}, 'UTC')"


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def _instant(ms: object) -> datetime:
    return _EPOCH + timedelta(milliseconds=int(str(ms)))
