"""Conversions in PostgreSQL."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from attribution_svc.conversions.book import (
    MOST_EVENTS_OF_GROUP,
    Bookmark,
    MovedBookmarkError,
    Place,
    Wanted,
    no_such_conversion,
)
from attribution_svc.conversions.conversion import Conversion, Share
from attribution_svc.conversions.event import ConversionEvent
from attribution_svc.conversions.kept import Kept
from attribution_svc.conversions.rules import Rules
from attribution_svc.conversions.settle import Settlement, leave_out, settle
from attribution_svc.store import conversion_sql as sql
from attribution_svc.store.conversion_match_sql import PUT_MATCHES
from attribution_svc.store.conversion_rows import (
    change_row,
    conversion_row,
    event_of,
    event_row,
    json_of,
    kept_of,
    match_row,
    rules_of,
    share_of,
    verdict_row,
)
from svc_runtime.postgres import Connection, Database

FOLLOWER = "attribution"
WRITE_LOCK = 7_305_103
"""Advisory lock of whoever writes conversions: one at a time, so that changes are committed in their order."""
BEYOND = "order_crowded"
"""Mark of an event whose order has too many."""
Group = tuple[str, str]
"""Organisation and key."""


class PostgresConversionStore:
    """A ``ConversionStore`` on one PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bookmark(self) -> Bookmark:
        """See ``ConversionStore.bookmark``."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(sql.BOOKMARK, FOLLOWER)
        return Bookmark(row["cursor"], row["watermark_time"]) if row else Bookmark(b"", None)

    async def take(self, events: Sequence[ConversionEvent], after: Bookmark, *, expected_cursor: bytes) -> int:
        """See ``ConversionStore.take``."""
        async with self._database.transaction() as connection:
            await lock(connection)
            moved = await connection.execute(
                sql.MOVE_BOOKMARK, FOLLOWER, expected_cursor, after.cursor, after.watermark_time
            )
            if moved != "UPDATE 1":
                raise MovedBookmarkError("another process follows the feed, and is further")
            return await _add(connection, events) if events else 0

    async def get(self, organization_id: str, conversion_id: str) -> Kept:
        """See ``ConversionStore.get``."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(sql.GET, organization_id, conversion_id)
        if row is None:
            raise no_such_conversion(conversion_id)
        return kept_of(row)

    async def events(self, organization_id: str, event_ids: Sequence[str]) -> list[ConversionEvent]:
        """See ``ConversionStore.events``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(sql.EVENTS_BY_ID, organization_id, list(event_ids))
        return [event_of(row) for row in rows]

    async def list_page(self, organization_id: str, wanted: Wanted, *, after: Place | None, limit: int) -> list[Kept]:
        """See ``ConversionStore.list_page``."""
        statement, arguments = sql.list_page(organization_id, wanted, after=after, limit=limit)
        async with self._database.connection() as connection:
            rows = await connection.fetch(statement, *arguments)
        return [kept_of(row) for row in rows]


async def lock(connection: Connection) -> None:
    """Be the only one who writes conversions until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", WRITE_LOCK)


async def _add(connection: Connection, events: Sequence[ConversionEvent]) -> int:
    """Add what is new, and make of the orders that it touches what they amount to now."""
    events = list({(event.organization_id, event.event_id): event for event in events}.values())
    groups = list(dict.fromkeys((event.organization_id, event.group_key) for event in events if event.order_id))
    there = await events_of_groups(connection, groups)
    rows, beyond = _new_rows(events, there)
    added = {(row["organization_id"], row["event_id"]) for row in await connection.fetch(sql.ADD_EVENTS, json_of(rows))}
    touched: dict[Group, list[ConversionEvent]] = {}
    left_out: dict[str, list[ConversionEvent]] = {}
    for event in events:
        key = (event.organization_id, event.event_id)
        if key in added and key in beyond:
            left_out.setdefault(event.organization_id, []).append(event)
        elif key in added:
            touched.setdefault((event.organization_id, event.group_key), []).append(event)
    for group, new in touched.items():
        new += there.get(group, [])
    known = [group for group in touched if group in there]
    settlement = await settled(connection, touched, known)
    rules = await rules_in_force(connection, sorted(left_out)) if left_out else {}
    for organization_id, members in left_out.items():
        leave_out(settlement, members, rules.get(organization_id, Rules()))
    await write(connection, settlement)
    return len(added)


def _new_rows(
    events: Sequence[ConversionEvent], there: Mapping[Group, Sequence[ConversionEvent]]
) -> tuple[list[dict[str, Any]], set[tuple[str, str]]]:
    """Return rows of ``events``, and which of them are beyond what their order has room for, by their keys.

    Those that are there already have no row: they take no room again.
    """
    rows: list[dict[str, Any]] = []
    beyond: set[tuple[str, str]] = set()
    counts = {group: len(members) for group, members in there.items()}
    known = {(event.organization_id, event.event_id) for members in there.values() for event in members}
    for event in events:
        key = (event.organization_id, event.event_id)
        if key in known:
            continue
        group = (event.organization_id, event.group_key)
        counts[group] = counts.get(group, 0) + 1
        is_beyond = counts[group] > MOST_EVENTS_OF_GROUP
        row = event_row(event, is_beyond=is_beyond)
        if is_beyond:
            row["marks"] = (*event.marks, BEYOND)
            beyond.add(key)
        rows.append(row)
    return rows, beyond


async def settled(
    connection: Connection,
    touched: Mapping[Group, Sequence[ConversionEvent]],
    known: Sequence[Group],
    *,
    is_new_rules: bool = False,
) -> Settlement:
    """Return what has to be written for groups with all of their events; ``known`` may have conversions already."""
    present = await _kept_of(connection, known)
    told = await _told_of(connection, known)
    rules = await rules_in_force(connection, sorted({organization_id for organization_id, _ in touched}))
    settlement = Settlement()
    for group, members in touched.items():
        settle(
            settlement,
            members,
            rules.get(group[0], Rules()),
            present.get(group, {}),
            told.get(group, {}),
            is_new_rules=is_new_rules,
        )
    return settlement


async def write(connection: Connection, settlement: Settlement) -> None:
    """Write conversions, the news of them, and what the reading is to be told."""
    if settlement.kept:
        await connection.execute(sql.PUT_CONVERSIONS, json_of(map(conversion_row, settlement.kept)))
        await add_clicks(
            connection,
            [
                (kept.conversion, reference)
                for kept in settlement.kept
                for reference in kept.conversion.click_references
            ],
        )
    if settlement.inherited:
        # Due at once: the reading may know more of the click than those did who had it before.
        due = [{"match_count": 0, "next_match_time": kept.conversion.last_event_time} for kept in settlement.inherited]
        rows = [match_row(kept) | when for kept, when in zip(settlement.inherited, due, strict=True)]
        await connection.execute(PUT_MATCHES, json_of(rows))
        await add_clicks(
            connection,
            [(kept.conversion, click_id) for kept in settlement.inherited for click_id in click_ids_of(kept)],
        )
    if settlement.changes:
        await connection.execute(sql.ADD_CHANGES, json_of(map(change_row, settlement.changes)))
    if settlement.verdicts:
        await connection.execute(sql.PUT_VERDICTS, json_of(map(verdict_row, settlement.verdicts)))


async def add_clicks(connection: Connection, references: Sequence[tuple[Conversion, str]]) -> None:
    """Let conversions be found by what names their clicks."""
    if references:
        keys = [(told.organization_id, reference, told.conversion_id) for told, reference in references]
        await connection.execute(sql.ADD_CLICKS, *map(list, zip(*keys, strict=True)))


def click_ids_of(kept: Kept) -> list[str]:
    """Return the ids of the click of a conversion, ours and the source's."""
    touch = kept.match.touch
    return [click_id for click_id in (touch.click_id, touch.external_click_id) if click_id] if touch else []


async def rules_in_force(connection: Connection, organization_ids: Sequence[str]) -> dict[str, Rules]:
    """Return the rules of organisations that have some."""
    rows = await connection.fetch(sql.RULES, list(organization_ids))
    return {row["organization_id"]: rules_of(row["policies"], row["vocabularies"], row["currencies"]) for row in rows}


async def events_of_groups(connection: Connection, groups: Sequence[Group]) -> dict[Group, list[ConversionEvent]]:
    """Return the events of groups that are to be folded."""
    found: dict[Group, list[ConversionEvent]] = {}
    for row in await connection.fetch(sql.EVENTS_OF_GROUPS, *_columns(groups)) if groups else []:
        found.setdefault((row["organization_id"], row["group_key"]), []).append(event_of(row))
    return found


async def _kept_of(connection: Connection, groups: Sequence[Group]) -> dict[Group, dict[str, Kept]]:
    found: dict[Group, dict[str, Kept]] = {}
    for row in await connection.fetch(sql.CONVERSIONS_OF_GROUPS, *_columns(groups)) if groups else []:
        found.setdefault((row["organization_id"], row["group_key"]), {})[row["conversion_id"]] = kept_of(row)
    return found


async def _told_of(connection: Connection, groups: Sequence[Group]) -> dict[Group, dict[str, Share]]:
    found: dict[Group, dict[str, Share]] = {}
    rows: list[asyncpg.Record] = await connection.fetch(sql.TOLD_OF_GROUPS, *_columns(groups)) if groups else []
    for row in rows:
        found.setdefault((row["organization_id"], row["group_key"]), {})[row["event_id"]] = share_of(row)
    return found


def _columns(groups: Sequence[Group]) -> tuple[list[str], list[str]]:
    return [organization_id for organization_id, _ in groups], [key for _, key in groups]
