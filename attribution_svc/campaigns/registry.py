"""The campaigns of an organisation: making, reading, listing and changing them."""

import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from attribution_svc.campaigns.campaign import (
    Campaign,
    CampaignChange,
    CampaignStatus,
    NewCampaign,
    changed,
    is_campaign_id,
    new_campaign,
    no_such_campaign,
)
from attribution_svc.metrics import campaign_changes
from attribution_svc.store import CampaignStore, Position
from svc_runtime.clock import Clock
from svc_runtime.errors import InvalidArgumentError, NotFoundError, Violation
from svc_runtime.paging import PageTokens

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
_BASE62 = string.digits + string.ascii_letters


@dataclass(frozen=True, slots=True)
class CampaignPage:
    """A piece of a list."""

    campaigns: tuple[Campaign, ...]
    next_page_token: str
    """Empty on the last page."""


def mint_campaign_id() -> str:
    """Return a new id: `cmp_` and 22 base62 characters, 131 random bits."""
    return "cmp_" + "".join(secrets.choice(_BASE62) for _ in range(22))


class OwnHosts(Protocol):
    """Knows tracking hosts."""

    async def of(self, organization_id: str) -> frozenset[str]:
        """Return the tracking hosts of an organisation, as far as they are known; it never fails."""
        ...


class CampaignRegistry:
    """What a caller of one organisation may do with its campaigns."""

    def __init__(
        self,
        store: CampaignStore,
        page_tokens: PageTokens,
        hosts: OwnHosts,
        *,
        clock: Clock,
        mint_id: Callable[[], str] = mint_campaign_id,
    ) -> None:
        self._store = store
        self._hosts = hosts
        self._page_tokens = page_tokens
        self._clock = clock
        self._mint_id = mint_id

    async def create(self, wanted: NewCampaign, *, organization_id: str, actor: str) -> Campaign:
        """Make a campaign. Raise InvalidArgumentError, AlreadyExistsError or UnavailableError."""
        campaign = await self.preview_new(wanted, organization_id=organization_id)
        await self._store.insert(campaign, actor=actor)
        campaign_changes.add(1, {"kind": "create"})
        return campaign

    async def preview_new(self, wanted: NewCampaign, *, organization_id: str) -> Campaign:
        """Return the campaign that ``create`` would make. Raise as it does, but AlreadyExistsError."""
        campaign = new_campaign(
            wanted,
            organization_id=organization_id,
            minted_id=self._mint_id(),
            now=self._clock.now(),
            own_hosts=await self._hosts.of(organization_id),
        )
        await check_fallbacks(self._store, campaign)
        return campaign

    async def preview_change(self, campaign_id: str, change: CampaignChange, *, organization_id: str) -> Campaign:
        """Return what ``update`` would make of a campaign. Raise as it does, but AlreadyExistsError."""
        present = await self.get(campaign_id, organization_id=organization_id)
        own_hosts = await self._hosts.of(organization_id)
        campaign = changed(present, change, now=self._clock.now(), own_hosts=own_hosts)
        await check_fallbacks(self._store, campaign)
        return campaign

    async def get(self, campaign_id: str, *, organization_id: str) -> Campaign:
        """Return a campaign. Raise NotFoundError or UnavailableError."""
        if not is_campaign_id(campaign_id):
            raise no_such_campaign(campaign_id)
        return await self._store.get(organization_id, campaign_id)

    async def list_page(
        self, *, organization_id: str, status: CampaignStatus | None, page_size: int, page_token: str
    ) -> CampaignPage:
        """Return a page, newest first; ``status`` None means all but the archived, ``page_size`` 0 means 50.

        Raise InvalidArgumentError for a page size above 1,000 or a page token of another list, UnavailableError.
        """
        if page_size > MAX_PAGE_SIZE:
            raise InvalidArgumentError.of([Violation("page_size", f"is {page_size}, must be 1 to {MAX_PAGE_SIZE}")])
        scope = ("campaigns", organization_id, status and status.value)
        place = self._page_tokens.open(page_token, *scope)
        after = Position(datetime.fromisoformat(place[0]), place[1]) if place else None
        size = page_size or DEFAULT_PAGE_SIZE
        # One more than wanted says whether there is another page.
        found = await self._store.list_page(organization_id, status=status, after=after, limit=size + 1)
        page = tuple(found[:size])
        if len(found) <= size:
            return CampaignPage(page, "")
        last = page[-1]
        return CampaignPage(page, self._page_tokens.seal([last.create_time.isoformat(), last.campaign_id], *scope))

    async def update(self, campaign_id: str, change: CampaignChange, *, organization_id: str, actor: str) -> Campaign:
        """Change a campaign. Raise NotFoundError, AlreadyExistsError, FailedPreconditionError, InvalidArgumentError or
        UnavailableError.
        """
        if not is_campaign_id(campaign_id):
            raise no_such_campaign(campaign_id)
        now = self._clock.now()
        if change.define is not None:
            await self.preview_change(campaign_id, change, organization_id=organization_id)
        campaign = await self._store.update(
            organization_id, campaign_id, lambda present: changed(present, change, now=now), actor=actor
        )
        campaign_changes.add(1, {"kind": "update"})
        return campaign


async def check_fallbacks(store: CampaignStore, campaign: Campaign) -> None:
    """Raise InvalidArgumentError where a campaign hands its traffic to one that is not there, or back to itself.

    Two edits at once can still close a circle: gateways go round none, they stop.
    """
    chains: list[tuple[str, ...]] = [
        (campaign.campaign_id, found) for found in sorted(campaign.definition.fallback_campaign_ids)
    ]
    seen = set()
    while chains:
        chain = chains.pop()
        if chain[-1] == campaign.campaign_id:
            text = f"comes back to where it began: {' -> '.join(chain)}"
            raise InvalidArgumentError.of([Violation("fallback.campaign_id", text)])
        if chain[-1] in seen:
            continue
        seen.add(chain[-1])
        try:
            following = await store.get(campaign.organization_id, chain[-1])
        except NotFoundError as error:
            raise InvalidArgumentError.of([Violation("fallback.campaign_id", f"there is {error.message}")]) from None
        chains += [(*chain, found) for found in sorted(following.definition.fallback_campaign_ids)]
