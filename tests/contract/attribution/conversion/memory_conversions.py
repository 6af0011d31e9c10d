"""A ConversionStore in memory, to be tested by the same suite as the real one."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from attribution_svc.conversions.book import (
    MOST_EVENTS_OF_GROUP,
    Bookmark,
    MovedBookmarkError,
    Place,
    Wanted,
    no_such_conversion,
)
from attribution_svc.conversions.conversion import Share
from attribution_svc.conversions.event import ConversionEvent
from attribution_svc.conversions.kept import Kept, MatchState
from attribution_svc.conversions.rules import Rules
from attribution_svc.conversions.settle import Change, Settlement, leave_out, settle
from svc_runtime.errors import UnavailableError

Key = tuple[str, str]


class MemoryConversionStore:
    """Holds everything in dicts; ``is_down`` makes it as good as stopped."""

    def __init__(self) -> None:
        self.is_down = False
        self.rules: dict[str, Rules] = {}
        self.changes: list[Change] = []
        self.told: dict[Key, Share] = {}
        self._bookmark = Bookmark(b"", None)
        self._events: dict[Key, ConversionEvent] = {}
        self._groups: dict[Key, dict[str, ConversionEvent]] = defaultdict(dict)
        self._kept: dict[Key, Kept] = {}

    async def bookmark(self) -> Bookmark:
        """See ``ConversionStore.bookmark``."""
        self._check_up()
        return self._bookmark

    async def take(self, events: Sequence[ConversionEvent], after: Bookmark, *, expected_cursor: bytes) -> int:
        """See ``ConversionStore.take``."""
        self._check_up()
        if self._bookmark.cursor != expected_cursor:
            raise MovedBookmarkError("moved")
        self._bookmark = after
        touched: dict[Key, None] = {}
        count = 0
        for event in events:
            key = (event.organization_id, event.event_id)
            if key in self._events:
                continue
            count += 1
            self._events[key] = event
            group = (event.organization_id, event.group_key)
            if len(self._groups[group]) < MOST_EVENTS_OF_GROUP:
                self._groups[group][event.event_id] = event
                touched[group] = None
            else:
                self._leave_out(event)
        for group in touched:
            self._settle(group)
        return count

    async def get(self, organization_id: str, conversion_id: str) -> Kept:
        """See ``ConversionStore.get``."""
        self._check_up()
        if (organization_id, conversion_id) not in self._kept:
            raise no_such_conversion(conversion_id)
        return self._kept[organization_id, conversion_id]

    async def events(self, organization_id: str, event_ids: Sequence[str]) -> list[ConversionEvent]:
        """See ``ConversionStore.events``."""
        self._check_up()
        found = [self._events[organization_id, event_id] for event_id in event_ids]
        return sorted(found, key=lambda event: (event.event_time, event.event_id))

    async def list_page(self, organization_id: str, wanted: Wanted, *, after: Place | None, limit: int) -> list[Kept]:
        """See ``ConversionStore.list_page``."""
        self._check_up()
        found = [
            kept
            for (owner, _), kept in self._kept.items()
            if owner == organization_id and not kept.merged_into and _is_wanted(kept, wanted)
        ]
        found.sort(key=_place, reverse=True)
        if after is not None:
            found = [kept for kept in found if _place(kept) < (after.create_time, after.conversion_id)]
        return found[:limit]

    def use_rules(self, organization_id: str, rules: Rules) -> None:
        """Let other rules hold, for what is there too."""
        self.rules[organization_id] = rules
        for group in [group for group in self._groups if group[0] == organization_id]:
            self._settle(group)

    def _settle(self, group: Key) -> None:
        organization_id, group_key = group
        present = {
            conversion_id: kept
            for (owner, conversion_id), kept in self._kept.items()
            if owner == organization_id and kept.conversion.group_key == group_key
        }
        told = {event_id: share for (owner, event_id), share in self.told.items() if owner == organization_id}
        settlement = Settlement()
        rules = self.rules.get(organization_id, Rules())
        settle(settlement, self._groups[group].values(), rules, present, told)
        for kept in settlement.kept:
            key = (organization_id, kept.conversion.conversion_id)
            revision = kept.revision + 1 if key in self._kept else 1
            self._kept[key] = replace(kept, revision=revision, update_time=datetime.now(UTC))
        self.changes += settlement.changes
        for verdict in settlement.verdicts:
            self.told[organization_id, verdict.event.event_id] = verdict.share

    def _leave_out(self, event: ConversionEvent) -> None:
        settlement = Settlement()
        leave_out(settlement, [event], self.rules.get(event.organization_id, Rules()))
        for verdict in settlement.verdicts:
            self.told[event.organization_id, event.event_id] = verdict.share

    def _check_up(self) -> None:
        if self.is_down:
            raise UnavailableError("down")


def _place(kept: Kept) -> tuple[datetime, str]:
    return kept.conversion.create_time, kept.conversion.conversion_id


def _is_wanted(kept: Kept, wanted: Wanted) -> bool:
    conversion, match = kept.conversion, kept.match
    is_orphan = match.state is MatchState.ORPHAN
    touch = match.touch
    click_ids = {*conversion.click_references, *((touch.click_id, touch.external_click_id) if touch else ())}
    checks = [
        wanted.start_time is None or conversion.create_time >= wanted.start_time,
        wanted.end_time is None or conversion.create_time < wanted.end_time,
        not wanted.conversion_type or wanted.conversion_type in (conversion.conversion_type, conversion.event_type),
        wanted.status is None or conversion.status == wanted.status,
        not wanted.campaign_id or match.campaign_id == wanted.campaign_id,
        not wanted.click_id or wanted.click_id in click_ids,
        not wanted.order_id or conversion.group_key == f"o:{wanted.order_id}",
        not wanted.orphan_reason or (is_orphan and match.reason == wanted.orphan_reason),
        wanted.is_orphan is None or is_orphan is wanted.is_orphan,
        wanted.is_test is None or conversion.is_test is wanted.is_test,
    ]
    return all(checks)
