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

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from analytics_svc.store import links, rollups
from analytics_svc.store.sessions import find_sessions
from analytics_svc.store.settling import Page, Settling, Source
from analytics_svc.store.touches import CONVERSION, PEOPLE, SETTLED, linked_values, own_values, replaced

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHANGES = ("renamed", "relinked")


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
    if not any(settling.count(name) for name in _CHANGES):
        return Affected(settled)
    rows = " UNION ALL ".join(f"SELECT organization_id, event_time FROM <{name}>" for name in _CHANGES)
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


def _change(settling: Settling, table: str) -> None:
    for name, columns in (("renamed", ("session_id",)), ("relinked", tuple(SETTLED))):
        if settling.count(name):
            changes = settling.table(name)
            values = ", ".join(f"{column} = joinGet('{changes}', '{column}', event_id)" for column in columns)
            settling.run(
                f"UPDATE {table} SET {values}"  # noqa: S608 - our own text
                f" WHERE organization_id IN (SELECT organization_id FROM {changes})"
                f" AND event_time IN (SELECT event_time FROM {changes}) AND event_id IN (SELECT event_id FROM {changes})"
            )


def _settle(settling: Settling, settled: str) -> None:
    settling.prepare()
    page = _page(settling)
    if page is None:
        return
    links.keep_keys(settling, page)
    has_touches = links.find_touches(settling, page)
    has_moved = find_sessions(settling, page, has_touches=has_touches)
    if has_touches:
        links.relink(settling)
    if has_moved:
        links.follow_clicks(settling, page)
    _complete(settling, settled, has_touches=has_touches)


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
        rows = f"(SELECT * {replaced(PEOPLE)} FROM <staged> WHERE event_id IN {linked})"  # noqa: S608 - our own text
        touches = "(SELECT event_id, touch_event_id FROM <touches> WHERE is_new = 1)"
        columns = f"c.* {replaced(linked_values(links.SESSION_OF_CLICK))}"
        settling.run(f"INSERT INTO {settled} " + links.linked_rows(rows, touches, columns))


def _instant(ms: object) -> datetime:
    return _EPOCH + timedelta(milliseconds=int(str(ms)))
