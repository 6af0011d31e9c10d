"""A CampaignStore in memory, to be tested by the same suite as the real one."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from attribution_svc.campaigns.campaign import Campaign, CampaignStatus, no_such_campaign
from attribution_svc.campaigns.claim import ClaimOrder, OrderState
from attribution_svc.campaigns.history import CampaignVersion, no_such_version
from attribution_svc.campaigns.usage import Exchange, Window
from attribution_svc.store import Position, Routing
from svc_runtime.errors import AlreadyExistsError, UnavailableError


@dataclass
class MemoryWakeups:
    """Set by every write."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    is_lost: bool = False

    async def wait(self, longest_seconds: float) -> None:
        """See ``Wakeups.wait``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_seconds):
                await self.news.wait()
        self.news.clear()
        if self.is_lost:
            raise UnavailableError("lost")


class MemoryCampaignStore:
    """Holds everything in a dict; ``is_down`` makes it as good as stopped."""

    def __init__(self) -> None:
        self.is_down = False
        self.epoch = 1
        self.revision = 0
        self._campaigns: dict[tuple[str, str], tuple[int, Campaign]] = {}
        self._versions: dict[tuple[str, str], list[CampaignVersion]] = {}
        self._listeners: list[MemoryWakeups] = []
        self.claims = MemoryClaimStore()

    def stop(self) -> None:
        """Be down, and cut everybody's wake-ups."""
        self.is_down = True
        for listener in self._listeners:
            listener.is_lost = True
            listener.news.set()

    def start(self) -> None:
        """Be up again."""
        self.is_down = False

    def restore(self, versions: dict[tuple[str, str], int]) -> None:
        """Be a database restored from a backup, in which campaigns have these versions."""
        for key, version in versions.items():
            self._versions[key] = self._versions[key][:version]
            self._campaigns[key] = (self._campaigns[key][0], self._versions[key][-1].campaign)
        self.epoch += 1
        self._wake()

    def begin_epoch(self) -> None:
        """Be a restored, empty database."""
        self.epoch, self.revision, self._campaigns = self.epoch + 1, 0, {}
        self._wake()

    async def insert(self, campaign: Campaign, *, actor: str) -> None:
        """See ``CampaignStore.insert``."""
        self._check_up()
        if (campaign.organization_id, campaign.campaign_id) in self._campaigns:
            raise AlreadyExistsError(f"there is a campaign {campaign.campaign_id!r} already")
        self._put(campaign, actor)
        if campaign.claim_version:
            self.claims.put(campaign, actor)

    async def get(self, organization_id: str, campaign_id: str) -> Campaign:
        """See ``CampaignStore.get``."""
        self._check_up()
        try:
            return self._campaigns[organization_id, campaign_id][1]
        except KeyError:
            raise no_such_campaign(campaign_id) from None

    async def list_page(
        self, organization_id: str, *, status: CampaignStatus | None, after: Position | None, limit: int
    ) -> list[Campaign]:
        """See ``CampaignStore.list_page``."""
        self._check_up()
        found = [
            campaign
            for _, campaign in self._campaigns.values()
            if campaign.organization_id == organization_id
            and (campaign.status is status or (status is None and campaign.status is not CampaignStatus.ARCHIVED))
            and (after is None or (campaign.create_time, campaign.campaign_id) < (after.create_time, after.campaign_id))
        ]
        return sorted(found, key=lambda c: (c.create_time, c.campaign_id), reverse=True)[:limit]

    async def update(
        self, organization_id: str, campaign_id: str, change: Callable[[Campaign], Campaign], *, actor: str
    ) -> Campaign:
        """See ``CampaignStore.update``."""
        present = await self.get(organization_id, campaign_id)
        following = change(present)
        if following is not present:
            self._put(following, actor)
            if following.claim_version != present.claim_version:
                self.claims.put(following, actor)
        return following

    async def versions(
        self, organization_id: str, campaign_id: str, *, before: int | None, limit: int
    ) -> list[CampaignVersion]:
        """See ``CampaignStore.versions``."""
        await self.get(organization_id, campaign_id)
        kept = self._versions[organization_id, campaign_id]
        return [found for found in reversed(kept) if before is None or found.campaign.version < before][:limit]

    async def version(self, organization_id: str, campaign_id: str, version: int) -> CampaignVersion:
        """See ``CampaignStore.version``."""
        for found in await self.versions(organization_id, campaign_id, before=None, limit=2**31):
            if found.campaign.version == version:
                return found
        raise no_such_version(campaign_id, version)

    async def ids_below(self, organization_id: str, priority: int, *, limit: int) -> list[str]:
        """See ``CampaignStore.ids_below``."""
        self._check_up()
        found = [campaign for _, campaign in self._campaigns.values() if campaign.organization_id == organization_id]
        return sorted(c.campaign_id for c in found if c.definition.priority < priority)[:limit]

    async def routing_snapshot(self) -> Routing:
        """See ``CampaignStore.routing_snapshot``."""
        self._check_up()
        live = [entry for entry in self._campaigns.values() if entry[1].status is not CampaignStatus.ARCHIVED]
        return Routing(self.epoch, self.revision, sorted(live, key=lambda entry: entry[0]))

    async def routing_changes(self, after: int, *, limit: int) -> Routing:
        """See ``CampaignStore.routing_changes``."""
        self._check_up()
        newer = sorted((e for e in self._campaigns.values() if e[0] > after), key=lambda entry: entry[0])[:limit]
        return Routing(self.epoch, newer[-1][0] if len(newer) == limit else self.revision, newer)

    @contextlib.asynccontextmanager
    async def routing_wakeups(self) -> AsyncIterator[MemoryWakeups]:
        """See ``CampaignStore.routing_wakeups``."""
        self._check_up()
        listener = MemoryWakeups()
        self._listeners.append(listener)
        try:
            yield listener
        finally:
            self._listeners.remove(listener)

    def _put(self, campaign: Campaign, actor: str) -> None:
        for _, other in self._campaigns.values():
            if (
                other.organization_id == campaign.organization_id
                and other.slug == campaign.slug
                and other.campaign_id != campaign.campaign_id
                and CampaignStatus.ARCHIVED not in (other.status, campaign.status)
            ):
                raise AlreadyExistsError(f"another campaign has the slug {campaign.slug!r}")
        self.revision += 1
        key = (campaign.organization_id, campaign.campaign_id)
        self._campaigns[key] = (self.revision, campaign)
        self._versions.setdefault(key, []).append(CampaignVersion(campaign, actor))
        self._wake()

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.news.set()

    def _check_up(self) -> None:
        if self.is_down:
            raise UnavailableError("down")


class MemoryClaimStore:
    """Orders in a dict; one that was offered in vain is due again at once."""

    def __init__(self) -> None:
        self._orders: dict[tuple[str, str], ClaimOrder] = {}
        self._held: set[tuple[str, str]] = set()

    def put(self, campaign: Campaign, actor: str) -> None:
        """Keep the order of a campaign's new version."""
        key = (campaign.organization_id, campaign.campaign_id)
        self._orders[key] = ClaimOrder(*key, campaign.version, campaign.claim_version, actor)

    @contextlib.asynccontextmanager
    async def holding(self, organization_id: str, campaign_id: str) -> AsyncIterator[ClaimOrder | None]:
        """See ``ClaimStore.holding``."""
        key = (organization_id, campaign_id)
        if key in self._held:
            yield None
            return
        self._held.add(key)
        try:
            order = self._orders.get(key)
            yield order if order and order.state is OrderState.WAITING else None
        finally:
            self._held.discard(key)

    async def due(self, *, limit: int) -> list[tuple[str, str]]:
        """See ``ClaimStore.due``."""
        return [key for key, order in self._orders.items() if order.state is OrderState.WAITING][:limit]

    async def settle(self, order: ClaimOrder) -> None:
        """See ``ClaimStore.settle``."""
        key = (order.organization_id, order.campaign_id)
        if self._orders[key].version == order.version:
            self._orders[key] = order

    async def orders(self, organization_id: str, campaign_ids: Sequence[str]) -> dict[str, ClaimOrder]:
        """See ``ClaimStore.orders``."""
        found = {campaign_id: self._orders.get((organization_id, campaign_id)) for campaign_id in campaign_ids}
        return {campaign_id: order for campaign_id, order in found.items() if order is not None}


class MemoryUsageStore:
    """Counts in a dict."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._counts: Counter[Window] = Counter()
        self._visitors: set[tuple[Window, int]] = set()

    async def exchange(self, exchange: Exchange) -> list[int]:
        """See ``UsageStore.exchange``."""
        if exchange.number > self._numbers.get(exchange.gateway_id, 0):
            self._numbers[exchange.gateway_id] = exchange.number
            for usage in exchange.usages:
                new = {(usage.window, visitor) for visitor in usage.visitors} - self._visitors
                self._visitors |= new
                self._counts[usage.window] += len(new) if usage.window.kind == "uniques" else usage.click_count
        return [self._counts[usage.window] for usage in exchange.usages]

    async def forget(self) -> None:
        """See ``UsageStore.forget``."""
