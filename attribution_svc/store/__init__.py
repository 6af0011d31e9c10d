"""What the campaigns' store promises, whichever technology is behind it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from attribution_svc.campaigns.campaign import Campaign, CampaignStatus
from attribution_svc.campaigns.claim import ClaimOrder
from attribution_svc.campaigns.history import CampaignVersion
from attribution_svc.campaigns.usage import Exchange


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the list of an organisation's campaigns: just after this one."""

    create_time: datetime
    campaign_id: str


@dataclass(frozen=True, slots=True)
class Routing:
    """What gateways are to know at one moment: all of it, or what changed since another moment."""

    epoch: int
    """When this count of revisions began, in Unix microseconds. A new or restored database has a newer one."""
    revision: int
    """Of the newest change that is included."""
    campaigns: Sequence[tuple[int, Campaign]]
    """Campaigns of all organisations, each with the revision of its last change; by revision, rising."""


class Wakeups(Protocol):
    """Says when to look for changes."""

    async def wait(self, longest_seconds: float) -> None:
        """Return when there may be changes, and at the latest after ``longest_seconds``.

        What happened since the last call is not missed. Raise UnavailableError when the connection behind it is lost:
        listen anew then.
        """
        ...


class UsageStore(Protocol):
    """What all gateways counted against caps.

    Every method raises UnavailableError while the store is not reachable, and works again by itself once it is.
    """

    async def exchange(self, exchange: Exchange) -> list[int]:
        """Add what a worker counted and return the totals of its windows, in their order.

        All of it in one transaction; an exchange whose number is not above the worker's last adds nothing. A visitor
        counts once in a window, whoever tells of it.
        """
        ...

    async def forget(self) -> None:
        """Drop windows of hours and days, and workers, that are long over."""
        ...


class ClaimStore(Protocol):
    """The orders that campaigns' versions gave: what history is to be, until analytics_svc has taken it.

    Every method raises UnavailableError while the store is not reachable, and works again by itself once it is.
    """

    def holding(self, organization_id: str, campaign_id: str) -> AbstractAsyncContextManager[ClaimOrder | None]:
        """Hold a campaign's order for the time of the block, so that nobody else hands one of it over meanwhile.

        None: it has none that waits, or somebody else holds it. A holder that dies holds nothing any more. A newer
        version may put its order in the place of the one that is held.
        """
        ...

    async def due(self, *, limit: int) -> list[tuple[str, str]]:
        """Return organisation and campaign of orders that wait and may be tried now, the oldest first."""
        ...

    async def settle(self, order: ClaimOrder) -> None:
        """Keep what became of an order: taken, refused, or still waiting for a while, and why.

        Where a newer version has put its order in its place, nothing is kept: that one waits.
        """
        ...

    async def orders(self, organization_id: str, campaign_ids: Sequence[str]) -> dict[str, ClaimOrder]:
        """Return the orders of campaigns, by campaign."""
        ...


class CampaignStore(Protocol):
    """Campaigns of all organisations.

    Every method raises UnavailableError while the store is not reachable, and works again by itself once it is.
    Every change is one transaction: the campaign, a copy of the new version with its actor, a new revision, and, where
    another claim is to hold than before, the order for it, which takes the place of the campaign's earlier one. A
    version that was written is never changed again. Revisions become visible in their order: whoever sees one, sees
    all before it.
    """

    @property
    def claims(self) -> ClaimStore:
        """The orders, in the same store."""
        ...

    async def insert(self, campaign: Campaign, *, actor: str) -> None:
        """Add a campaign.

        Raise AlreadyExistsError when its organisation has one of that id, or one of that slug that is not archived.
        """
        ...

    async def get(self, organization_id: str, campaign_id: str) -> Campaign:
        """Return a campaign, or raise NotFoundError: also, with the same text, for another organisation's."""
        ...

    async def list_page(
        self, organization_id: str, *, status: CampaignStatus | None, after: Position | None, limit: int
    ) -> list[Campaign]:
        """Return up to ``limit`` campaigns of an organisation, newest first, ids falling where the times are equal.

        ``status`` None means all but the archived.
        """
        ...

    async def update(
        self, organization_id: str, campaign_id: str, change: Callable[[Campaign], Campaign], *, actor: str
    ) -> Campaign:
        """Replace a campaign by what ``change`` makes of it, and return that.

        Nobody else changes the campaign in between. When ``change`` returns the campaign itself, nothing is written;
        when it raises, nothing is written and the error passes through. Raise NotFoundError as ``get`` does and
        AlreadyExistsError as ``insert`` does.
        """
        ...

    async def versions(
        self, organization_id: str, campaign_id: str, *, before: int | None, limit: int
    ) -> list[CampaignVersion]:
        """Return up to ``limit`` versions of a campaign, newest first, below ``before``.

        Raise NotFoundError as ``get`` does.
        """
        ...

    async def version(self, organization_id: str, campaign_id: str, version: int) -> CampaignVersion:
        """Return a version of a campaign; raise NotFoundError as ``get`` does, or when it never had it."""
        ...

    async def ids_below(self, organization_id: str, priority: int, *, limit: int) -> list[str]:
        """Return up to ``limit`` campaigns of an organisation, archived ones too, whose priority is below, by id."""
        ...

    async def routing_snapshot(self) -> Routing:
        """Return all campaigns that are not archived, of one moment."""
        ...

    async def routing_changes(self, after: int, *, limit: int) -> Routing:
        """Return up to ``limit`` campaigns whose last change has a revision above ``after``, archived ones too.

        A campaign that changed twice is there once. ``revision`` is that of the last campaign returned, or the newest
        of all when none is left out.
        """
        ...

    def routing_wakeups(self) -> AbstractAsyncContextManager[Wakeups]:
        """Listen for changes made by anybody from now on."""
        ...
