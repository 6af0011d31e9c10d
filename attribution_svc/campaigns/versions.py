"""The versions of an organisation's campaigns: reading them, and going back to one."""

from dataclasses import dataclass

from attribution_svc.campaigns.campaign import Campaign, is_campaign_id, no_such_campaign
from attribution_svc.campaigns.history import CampaignVersion, no_such_version, restored, withdrawn
from attribution_svc.campaigns.registry import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, check_fallbacks
from attribution_svc.metrics import campaign_changes
from attribution_svc.store import CampaignStore
from svc_runtime.clock import Clock
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.paging import PageTokens


@dataclass(frozen=True, slots=True)
class VersionPage:
    """A piece of a campaign's history."""

    versions: tuple[CampaignVersion, ...]
    next_page_token: str
    """Empty on the last page."""


class CampaignVersions:
    """What a caller of one organisation may do with its campaigns' versions."""

    def __init__(self, store: CampaignStore, page_tokens: PageTokens, *, clock: Clock) -> None:
        self._store = store
        self._page_tokens = page_tokens
        self._clock = clock

    async def list_page(
        self, campaign_id: str, *, organization_id: str, page_size: int, page_token: str
    ) -> VersionPage:
        """Return a page, newest first; ``page_size`` 0 means 50.

        Raise NotFoundError, InvalidArgumentError (page size above 1,000, another list's page token) or
        UnavailableError.
        """
        if not is_campaign_id(campaign_id):
            raise no_such_campaign(campaign_id)
        if page_size > MAX_PAGE_SIZE:
            raise InvalidArgumentError.of([Violation("page_size", f"is {page_size}, must be 1 to {MAX_PAGE_SIZE}")])
        scope = ("campaign_versions", organization_id, campaign_id)
        place = self._page_tokens.open(page_token, *scope)
        size = page_size or DEFAULT_PAGE_SIZE
        # One more than wanted says whether there is another page.
        found = await self._store.versions(
            organization_id, campaign_id, before=int(place[0]) if place else None, limit=size + 1
        )
        page = tuple(found[:size])
        if len(found) <= size:
            return VersionPage(page, "")
        return VersionPage(page, self._page_tokens.seal([str(page[-1].campaign.version)], *scope))

    async def get(self, campaign_id: str, version: int, *, organization_id: str) -> CampaignVersion:
        """Return a version. Raise NotFoundError or UnavailableError."""
        if not is_campaign_id(campaign_id):
            raise no_such_campaign(campaign_id)
        if version < 1:
            raise no_such_version(campaign_id, version)
        return await self._store.version(organization_id, campaign_id, version)

    async def activate(
        self, campaign_id: str, version: int, *, expected_version: int, organization_id: str, actor: str
    ) -> Campaign:
        """Make a new version with the content of another; 0 takes a claim back. Return the campaign after it.

        Raise NotFoundError, AlreadyExistsError (the slug is another's by now), FailedPreconditionError,
        InvalidArgumentError (a campaign that it handed traffic to is no more) or UnavailableError.
        """
        now = self._clock.now()
        if not is_campaign_id(campaign_id):
            raise no_such_campaign(campaign_id)
        if version == 0:
            campaign = await self._store.update(
                organization_id,
                campaign_id,
                lambda present: withdrawn(present, expected_version=expected_version, now=now),
                actor=actor,
            )
        else:
            earlier = (await self.get(campaign_id, version, organization_id=organization_id)).campaign
            await check_fallbacks(self._store, earlier)
            campaign = await self._store.update(
                organization_id,
                campaign_id,
                lambda present: restored(present, earlier, expected_version=expected_version, now=now),
                actor=actor,
            )
        campaign_changes.add(1, {"kind": "activate"})
        return campaign
