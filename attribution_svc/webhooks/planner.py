"""Puts what became of conversions into the queues of the webhooks that want to know."""

import asyncio
import hashlib
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from attribution_svc.metrics import webhook_deliveries_planned
from attribution_svc.webhooks.change import Change, Click, Touch, heard_by, meets_condition, touch_of
from attribution_svc.webhooks.message import needs_click
from attribution_svc.webhooks.store import DeliveryQueue, NewDelivery, WebhookStore
from attribution_svc.webhooks.webhook import EventKind, Webhook
from svc_runtime.clock import Clock
from svc_runtime.errors import TrellisError
from svc_runtime.logs import get_logger

BATCH = 100
"""Changes at a time: an organisation with 100 webhooks makes 10,000 deliveries of them."""
IDLE_SECONDS = 0.3
_BASE62 = string.digits + string.ascii_letters
_ID_DIGITS = 22
_log = get_logger(__name__)


class Clicks(Protocol):
    """Knows the clicks that conversions go back to."""

    async def of(self, changes: Sequence[Change]) -> Mapping[Touch, Click]:
        """Return the clicks of conversions; one that is not known is left out.

        Raise TrellisError when that cannot be told now.
        """
        ...


def mint_delivery_id() -> str:
    """Return a new id: `msg_` and 22 base62 characters, 131 random bits."""
    return "msg_" + "".join(secrets.choice(_BASE62) for _ in range(_ID_DIGITS))


def delivery_id_of(webhook: Webhook, change: Change) -> str:
    """Return the id of a delivery: of the creation of a conversion always the same, of anything else a new one.

    So a receiver knows a creation again that it is told of anew: after a backup was restored, or our log of it is gone.
    """
    if change.kind is not EventKind.CREATED:
        return mint_delivery_id()
    named = f"{webhook.organization_id}\0{webhook.webhook_id}\0{change.conversion.conversion_id}"
    rest = int.from_bytes(hashlib.sha256(named.encode()).digest(), "big")
    digits = []
    for _ in range(_ID_DIGITS):
        rest, digit = divmod(rest, len(_BASE62))
        digits.append(_BASE62[digit])
    return "msg_" + "".join(digits)


class Planner:
    """Follows the log of changes.

    Every change is planned once: the deliveries and the place in the log are written together. Several replicas may
    plan; one of them wins each batch.
    """

    def __init__(
        self,
        webhooks: WebhookStore,
        queue: DeliveryQueue,
        clicks: Clicks,
        *,
        clock: Clock,
    ) -> None:
        self._webhooks = webhooks
        self._queue = queue
        self._clicks = clicks
        self._clock = clock

    async def run(self, planned: Callable[[], None] = lambda: None) -> None:
        """Plan until cancelled; call ``planned`` when there is something new in the queue."""
        while True:
            try:
                read = await self.plan_once(planned)
            except TrellisError as error:
                _log.warning("changes wait to be planned", error=error.message)
                await asyncio.sleep(IDLE_SECONDS * 3)
                continue
            if read < BATCH:
                await asyncio.sleep(IDLE_SECONDS)

    async def plan_once(self, planned: Callable[[], None] = lambda: None) -> int:
        """Plan what comes next and return how many changes that were.

        Changes are read before the webhooks are: a webhook that was there before a change hears of it.
        """
        batch = await self._queue.read_changes(limit=BATCH)
        if batch.last_change_id == batch.cursor:
            return 0
        organization_ids = sorted({change.organization_id for change in batch.changes})
        webhooks = await self._webhooks.enabled_of(organization_ids)
        deliveries = await self.deliveries(batch.changes, webhooks)
        if await self._queue.plan(batch, deliveries) and deliveries:
            webhook_deliveries_planned.add(len(deliveries))
            planned()
        return len(batch.changes)

    async def deliveries(self, changes: Sequence[Change], webhooks: Sequence[Webhook]) -> list[NewDelivery]:
        """Return what the webhooks are to be told of these changes. Raise TrellisError while that cannot be told."""
        by_organization: dict[str, list[Webhook]] = {}
        for webhook in webhooks:
            by_organization.setdefault(webhook.organization_id, []).append(webhook)
        heard = [
            (webhook, found)
            for change in changes
            for webhook in by_organization.get(change.organization_id, ())
            if (found := heard_by(webhook, change)) is not None
        ]
        clicks = await self._clicks.of([change for webhook, change in heard if needs_click(webhook)])
        now = self._clock.now()
        deliveries = []
        for webhook, change in heard:
            told = replace(change, click=clicks.get(touch_of(change), Click()))
            if meets_condition(webhook, told):
                end = now + webhook.definition.max_age
                deliveries.append(NewDelivery(delivery_id_of(webhook, told), webhook.webhook_id, told, now, end))
        return deliveries
