"""Which clicks conversions go back to, in PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from attribution_svc.campaigns.usage import Window
from attribution_svc.conversions.book import no_such_conversion
from attribution_svc.conversions.conversion import Conversion
from attribution_svc.conversions.decide import Due, EventKey, is_outside
from attribution_svc.conversions.kept import Kept, Match, MatchState, Touch
from attribution_svc.conversions.matching import MOST_EVENTS_ASKED, Matched
from attribution_svc.conversions.orphans import OrphanSum
from attribution_svc.conversions.rules import Rules
from attribution_svc.conversions.settle import Change, ChangeKind
from attribution_svc.store import conversion_match_sql as sql
from attribution_svc.store.conversion_rows import change_row, json_of, kept_of, match_row
from attribution_svc.store.conversion_sql import ADD_CHANGES, GET
from attribution_svc.store.conversions import add_clicks, click_ids_of, lock, rules_in_force
from svc_runtime.errors import FailedPreconditionError
from svc_runtime.postgres import Connection, Database


class PostgresMatchStore:
    """``MatchStore``, ``OrphanStore`` and ``RematchStore`` on the database of the conversions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due_matches(self, *, limit: int) -> list[Due]:
        """See ``MatchStore.due_matches``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(sql.DUE, limit)
            kept = [kept_of(row) for row in rows]
            times = await _event_times(connection, [told.conversion for told in kept if not told.match.is_accepted])
        return [
            Due(told, tuple(_keys(told, times)), row["match_count"], row["next_match_time"])
            for told, row in zip(kept, rows, strict=True)
        ]

    async def put_matches(self, found: Sequence[Matched]) -> int:
        """See ``MatchStore.put_matches``."""
        async with self._database.transaction() as connection:
            await lock(connection)
            keys = [_key(told.due.kept.conversion) for told in found]
            rows = await connection.fetch(sql.BY_KEY, *map(list, zip(*keys, strict=True)))
            present = {(row["organization_id"], row["conversion_id"]): row for row in rows}
            there = [(told, present[key]) for told, key in zip(found, keys, strict=True) if key in present]
            written = [_written(told, row) for told, row in there]
            pairs = [(told, kept_of(row)) for told, row in there]
            changes = [change for told, kept in pairs if (change := _change(kept, _standing(told, kept)))]
            await connection.execute(sql.PUT_MATCHES, json_of(written))
            await _tell(connection, changes)
        return len(changes)

    async def rules_of(self, organization_ids: Sequence[str]) -> Mapping[str, Rules]:
        """See ``MatchStore.rules_of``."""
        async with self._database.connection() as connection:
            return await rules_in_force(connection, organization_ids)

    async def orphan_sums(
        self, organization_id: str, *, start_time: datetime | None, end_time: datetime | None
    ) -> list[OrphanSum]:
        """See ``OrphanStore.orphan_sums``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(sql.ORPHAN_SUMS, organization_id, start_time, end_time)
        return [OrphanSum(**dict(row)) for row in rows]

    async def accept_match(self, organization_id: str, conversion_id: str, touch: Touch, *, actor: str) -> Kept:
        """See ``OrphanStore.accept_match``."""
        async with self._database.transaction() as connection:
            await lock(connection)
            row = await connection.fetchrow(GET, organization_id, conversion_id)
            if row is None:
                raise no_such_conversion(conversion_id)
            kept = kept_of(row)
            if kept.merged_into:
                raise FailedPreconditionError(f"{conversion_id!r} is part of {kept.merged_into!r} now: match that")
            if kept.match.is_accepted and kept.match.touch and kept.match.touch.event_id == touch.event_id:
                return kept
            rules = await rules_in_force(connection, [organization_id])
            match = Match(
                MatchState.MATCHED,
                touch=touch,
                campaign_id=touch.campaign_id,
                is_outside_window=is_outside(touch, kept.conversion, rules),
                is_accepted=True,
            )
            after = _with(kept, match)
            await connection.execute(
                sql.ACCEPT, organization_id, conversion_id, touch.event_id, touch.event_time, actor
            )
            # Due at once: the reading knows more of the click than was found by its id.
            await connection.execute(sql.PUT_MATCHES, json_of([{**match_row(after), "match_count": 0}]))
            await connection.execute(sql.MAKE_DUE, organization_id, conversion_id)
            await _tell(connection, [Change(ChangeKind.MATCHED, kept, after)])
        return after

    async def conversion_counts(self, windows: Sequence[Window]) -> list[int]:
        """Return how many conversions count for the campaigns of windows, since each began, in their order.

        A conversion that happened in another hour or day than it was reported in counts when it happened.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                sql.COUNTS,
                [window.organization_id for window in windows],
                [window.campaign_id for window in windows],
                [window.start_time for window in windows],
            )
        return [row["count"] for row in rows]

    async def heard(self) -> dict[str, str]:
        """See ``RematchStore.heard``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(sql.HEARD)
        return {row["organization_id"]: row["operation_id"] for row in rows}

    async def rematch(self, organization_id: str, operation_id: str) -> None:
        """See ``RematchStore.rematch``."""
        async with self._database.transaction() as connection:
            await connection.execute(sql.HEAR, organization_id, operation_id)
            await connection.execute(sql.BEGIN_REMATCH, organization_id)

    async def spread(self, *, limit: int) -> int:
        """See ``RematchStore.spread``."""
        async with self._database.transaction() as connection:
            await lock(connection)
            row = await connection.fetchrow(sql.NEXT_REMATCH)
            if row is None:
                return 0
            organization_id = row["organization_id"]
            found = await connection.fetch(sql.SPREAD, organization_id, row["position"], limit)
            if len(found) < limit:
                await connection.execute(sql.END_REMATCH, organization_id)
            else:
                position = max(told["conversion_id"] for told in found)
                await connection.execute(sql.MOVE_REMATCH, organization_id, position)
        return len(found)


def _keys(kept: Kept, times: Mapping[tuple[str, str], datetime]) -> list[EventKey]:
    conversion, match = kept.conversion, kept.match
    if match.is_accepted and match.touch:
        return [EventKey(conversion.organization_id, match.touch.event_id, match.touch.event_time)]
    return [
        EventKey(conversion.organization_id, event_id, times[conversion.organization_id, event_id])
        for event_id in conversion.event_ids[:MOST_EVENTS_ASKED]
    ]


async def _event_times(connection: Connection, conversions: Sequence[Conversion]) -> dict[tuple[str, str], datetime]:
    """Return when the events of conversions were received; of most the first event is all there is."""
    times = {(told.organization_id, told.conversion_id): told.create_time for told in conversions}
    wanted = [
        (told.organization_id, event_id)
        for told in conversions
        for event_id in told.event_ids[:MOST_EVENTS_ASKED]
        if event_id != told.conversion_id
    ]
    if wanted:
        for row in await connection.fetch(sql.EVENT_TIMES, *map(list, zip(*wanted, strict=True))):
            times[row["organization_id"], row["event_id"]] = row["event_time"]
    return times


def _key(conversion: Conversion) -> tuple[str, str]:
    return conversion.organization_id, conversion.conversion_id


def _with(kept: Kept, match: Match) -> Kept:
    return Kept(kept.conversion, match, kept.merged_into, kept.revision, kept.update_time)


def _standing(told: Matched, kept: Kept) -> Kept:
    """Return what holds: somebody may have accepted a click while the reading was asked."""
    is_overtaken = kept.match.is_accepted and kept.match != told.due.kept.match
    return kept if is_overtaken else _with(kept, told.match)


def _written(told: Matched, row: asyncpg.Record) -> dict[str, Any]:
    kept = kept_of(row)
    written = {**match_row(_standing(told, kept)), "match_count": told.match_count, "next_match_time": told.next_time}
    is_made_due = row["is_due"] and row["next_match_time"] != told.due.due_time
    if kept.merged_into:
        written |= {"match_count": 0, "next_match_time": None}
    elif kept.revision != told.due.kept.revision or is_made_due:
        # Another event came meanwhile and may know the click, or the reading has changed: it is due still.
        written |= {"match_count": 0, "next_match_time": kept.conversion.last_event_time}
    return written


def _change(before: Kept, after: Kept) -> Change | None:
    """Return the news; None where the click and the campaign are what they were."""
    old, new = before.match, after.match
    old_click, new_click = (match.touch.event_id if match.touch else "" for match in (old, new))
    is_same = (old_click, old.campaign_id) == (new_click, new.campaign_id)
    return None if is_same or after.merged_into else Change(ChangeKind.MATCHED, before, after)


async def _tell(connection: Connection, changes: Sequence[Change]) -> None:
    if not changes:
        return
    await connection.execute(ADD_CHANGES, json_of(map(change_row, changes)))
    found = [change.after for change in changes]
    await add_clicks(connection, [(kept.conversion, click_id) for kept in found for click_id in click_ids_of(kept)])
