"""Campaigns over history: what they claim is handed to analytics_svc, surely and once.

The two stores share no transaction. So a version that wants other things of history keeps an order in its own
transaction; the order is handed over at once where that is possible, by the request that made it, and otherwise by
``run``, again and again until it is taken. Handing over is idempotent by campaign and version: whoever is killed in the
middle, it is done again, and done once. One hands over for a campaign at a time, always the latest order: an earlier
version never comes after a later one.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from attribution_svc.campaigns.campaign import Campaign
from attribution_svc.campaigns.claim import ClaimOrder, ConflictPolicy, OrderState
from attribution_svc.metrics import claims_handed_over
from attribution_svc.store import CampaignStore
from svc_runtime.errors import (
    Code,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    TrellisError,
    UnavailableError,
)
from svc_runtime.logs import get_logger
from svc_runtime.mesh_token import Caller, CallerKind

MOST_YIELDING = 10_000
"""Campaigns that may give way to one."""
_AT_ONCE = 3
"""Orders that this process hands over at the same time: each holds two connections."""
_BATCH = 100
_IDLE_SECONDS = 1.0
_CLOCKS_APART = timedelta(minutes=1)
"""How far the clocks of two services may be apart."""
_REQUEST_SECONDS = 5.0
"""How long a request waits for its order to be taken before it answers that it waits."""
_FOR_GOOD = frozenset({Code.INVALID_ARGUMENT, Code.PERMISSION_DENIED, Code.TOO_LARGE, Code.QUERY_LIMIT})
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """An operation of analytics_svc."""

    operation_id: str
    create_time: datetime | None = None


class Overlays(Protocol):
    """What lays claims over history. Both are idempotent, and return the operation that does it."""

    async def apply(self, caller: Caller, campaign: Campaign, yielding: Sequence[str]) -> Work:
        """Let the claim of a campaign's version hold; ``yielding`` are the campaigns that give way."""
        ...

    async def activate(self, caller: Caller, campaign_id: str, version: int) -> Work:
        """Let a version that was applied hold again, 0 for none; raise NotFoundError when it never was."""
        ...


class Retroactive:
    """Hands orders over."""

    def __init__(self, store: CampaignStore, overlays: Overlays) -> None:
        self._store = store
        self._claims = store.claims
        self._overlays = overlays
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._ordered = asyncio.Event()

    async def run(self) -> None:
        """Hand over what waits, for ever."""
        while True:
            for organization_id, campaign_id in await self._claims.due(limit=_BATCH):
                await self._hand_over(organization_id, campaign_id)
            try:
                async with asyncio.timeout(_IDLE_SECONDS):
                    await self._ordered.wait()
            except TimeoutError:
                pass
            self._ordered.clear()

    async def hand_over(self, campaign: Campaign) -> None:
        """Hand a campaign's order over now, if there is one and it can be done soon: it waits otherwise."""
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                await self._hand_over(campaign.organization_id, campaign.campaign_id)
        except (TimeoutError, UnavailableError):
            self._ordered.set()

    async def yielding(self, campaign: Campaign) -> list[str]:
        """Return the campaigns that give way to a campaign's claim."""
        claim = campaign.definition.claim
        if claim is None or claim.policy is not ConflictPolicy.BY_PRIORITY:
            return []
        found = await self._store.ids_below(
            campaign.organization_id, campaign.definition.priority, limit=MOST_YIELDING + 1
        )
        if len(found) > MOST_YIELDING:
            raise FailedPreconditionError(
                f"more than {MOST_YIELDING} campaigns have a lower priority: take from none (unattributed)"
            )
        return [campaign_id for campaign_id in found if campaign_id != campaign.campaign_id]

    async def _hand_over(self, organization_id: str, campaign_id: str) -> None:
        async with self._room, self._claims.holding(organization_id, campaign_id) as order:
            if order is None:
                return
            settled = await self._settled(order)
            await self._claims.settle(settled)
        claims_handed_over.add(1, {"outcome": settled.state.value})

    async def _settled(self, order: ClaimOrder) -> ClaimOrder:
        """Offer an order and return what became of it."""
        try:
            return replace(order, state=OrderState.TAKEN, operation_id=await self._offer(order), error="")
        except TrellisError as error:
            _log.warning(
                "a claim was not taken",
                organization_id=order.organization_id,
                campaign_id=order.campaign_id,
                version=order.version,
                code=error.code.name,
                error=error.message,
            )
            state = OrderState.REFUSED if error.code in _FOR_GOOD else OrderState.WAITING
            return replace(order, state=state, error=error.message)

    async def _offer(self, order: ClaimOrder) -> str:
        # In the name of who made the version, whose right to do so was checked then.
        caller = Caller(
            CallerKind.ORGANIZATION,
            actor=order.actor,
            organization_id=order.organization_id,
            scopes=frozenset({"campaigns:read", "campaigns:write"}),
        )
        if order.claim_version != order.version:
            try:
                work = await self._overlays.activate(caller, order.campaign_id, order.claim_version)
            except NotFoundError:
                # Overtaken before it was ever handed over: there is nothing to take back, or all of it to do.
                if order.claim_version == 0:
                    return ""
            else:
                return work.operation_id
        found = await self._store.version(order.organization_id, order.campaign_id, order.claim_version)
        work = await self._overlays.apply(caller, found.campaign, await self.yielding(found.campaign))
        if work.create_time is not None and work.create_time < found.campaign.update_time - _CLOCKS_APART:
            # A database that was restored counts again from where it was: this number stood for something else.
            raise InvalidArgumentError(
                f"version {order.claim_version} was applied before, by a database that was newer than this one is: "
                "history is as that left it; change the campaign once more"
            )
        return work.operation_id
