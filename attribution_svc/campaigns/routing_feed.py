"""What gateways route by, fed to any number of watchers from one copy in memory.

One task follows the store. Watchers read from the copy at their own pace: a slow one holds nobody up and has no queue,
it just gets the latest state of what changed since its last message. While the store is down, watchers keep their
streams and new ones get what is known.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from itertools import takewhile

from attribution_svc.campaigns.campaign import Campaign, CampaignStatus
from attribution_svc.metrics import routing_campaigns, routing_messages, routing_sync_time, routing_watchers
from attribution_svc.store import CampaignStore, Routing
from svc_runtime.clock import unix_ms
from svc_runtime.errors import UnavailableError
from svc_runtime.logs import get_logger
from svc_runtime.tasks import keep_running

MAX_CHANGES = 1000
"""Most campaigns in one message that is no snapshot."""
MAX_REMEMBERED_ARCHIVED = 10_000
"""Archived campaigns of which watchers can still be told; one that is further behind gets a snapshot."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RoutingUpdate:
    """One message to a watcher."""

    epoch: int
    revision: int
    is_snapshot: bool
    campaigns: tuple[Campaign, ...]


class RoutingFeed:
    """Follows the store with ``run`` and serves ``watch``."""

    def __init__(
        self, store: CampaignStore, *, poll_seconds: float = 1.0, remembered_archived: int = MAX_REMEMBERED_ARCHIVED
    ) -> None:
        self._store = store
        self._poll_seconds = poll_seconds
        self._remembered_archived = remembered_archived
        self._epoch: int | None = None
        self._revision = 0
        self._floor = 0
        """Whoever has seen less than this revision needs a snapshot."""
        self._entries: dict[tuple[str, str], tuple[int, Campaign]] = {}
        """By revision, rising: a campaign that changes moves to the end."""
        self._archived: deque[tuple[int, tuple[str, str]]] = deque()
        self._changed = asyncio.Event()
        """Set, and replaced by a new one, when there is news."""
        self._is_closed = False

    async def run(self) -> None:
        """Follow the store until cancelled; a lost connection is made anew."""
        await keep_running("routing feed", self._follow, longest_delay_seconds=1.0)

    def close(self) -> None:
        """End all watches with UnavailableError, so that watchers turn to another replica."""
        self._is_closed = True
        self._announce()

    async def watch(self, watcher: str) -> AsyncGenerator[RoutingUpdate, None]:
        """Yield a snapshot as soon as one is known, then changes; raise UnavailableError when this process leaves."""
        _log.info("routing watch begins", watcher=watcher)
        routing_watchers.add(1)
        try:
            async with contextlib.aclosing(self._updates()) as updates:
                async for update in updates:
                    routing_messages.add(1, {"kind": "snapshot" if update.is_snapshot else "change"})
                    yield update
        finally:
            routing_watchers.add(-1)
            _log.info("routing watch ends", watcher=watcher)

    async def _updates(self) -> AsyncGenerator[RoutingUpdate, None]:
        epoch: int | None = None
        seen = 0
        while not self._is_closed:
            # Taken before looking: news that comes while an update is being sent sets this very event.
            changed = self._changed
            for update in self._since(epoch, seen):
                epoch, seen = update.epoch, update.revision
                yield update
            await changed.wait()
        raise UnavailableError("this replica is leaving")

    def _since(self, epoch: int | None, seen: int) -> list[RoutingUpdate]:
        if self._epoch is None:
            return []
        if epoch != self._epoch or seen < self._floor:
            live = tuple(campaign for _, campaign in self._entries.values() if not _is_archived(campaign))
            return [RoutingUpdate(self._epoch, self._revision, True, live)]
        newer = list(takewhile(lambda entry: entry[0] > seen, reversed(self._entries.values())))[::-1]
        pieces = [newer[start : start + MAX_CHANGES] for start in range(0, len(newer), MAX_CHANGES)]
        return [
            RoutingUpdate(self._epoch, piece[-1][0], False, tuple(campaign for _, campaign in piece))
            for piece in pieces
        ]

    async def _follow(self) -> None:
        async with self._store.routing_wakeups() as wakeups:
            # Listening already, so no change falls between this reading and the first wait.
            await self._catch_up()
            while True:
                await wakeups.wait(self._poll_seconds)
                await self._catch_up()

    async def _catch_up(self) -> None:
        is_whole = False
        while not is_whole:
            changes = await self._store.routing_changes(self._revision, limit=MAX_CHANGES)
            if changes.epoch != self._epoch:
                self._replace(await self._store.routing_snapshot())
                continue
            self._apply(changes)
            is_whole = len(changes.campaigns) < MAX_CHANGES
        routing_sync_time.set(unix_ms() // 1000)

    def _replace(self, snapshot: Routing) -> None:
        self._epoch, self._revision, self._floor = snapshot.epoch, snapshot.revision, snapshot.revision
        self._entries.clear()
        self._archived.clear()
        self._remember(snapshot.campaigns)
        _log.info("routing snapshot read", epoch=snapshot.epoch, revision=snapshot.revision, count=len(self._entries))
        self._announce()

    def _apply(self, changes: Routing) -> None:
        if not changes.campaigns:
            return
        self._revision = changes.revision
        self._remember(changes.campaigns)
        while len(self._archived) > self._remembered_archived:
            self._floor, key = self._archived.popleft()
            self._entries.pop(key)
        self._announce()

    def _remember(self, campaigns: Iterable[tuple[int, Campaign]]) -> None:
        for revision, campaign in campaigns:
            key = (campaign.organization_id, campaign.campaign_id)
            self._entries.pop(key, None)
            self._entries[key] = (revision, campaign)
            if _is_archived(campaign):
                self._archived.append((revision, key))

    def _announce(self) -> None:
        routing_campaigns.set(len(self._entries) - len(self._archived))
        self._changed.set()
        self._changed = asyncio.Event()


def _is_archived(campaign: Campaign) -> bool:
    return campaign.status is CampaignStatus.ARCHIVED
