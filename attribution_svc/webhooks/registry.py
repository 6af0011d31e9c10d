"""What a caller of one organisation may do with its webhooks and their deliveries."""

import secrets
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from attribution_svc.webhooks.attempt import Circuit, DeliveryState
from attribution_svc.webhooks.change import Change, Click, Conversion
from attribution_svc.webhooks.dispatcher import Dispatcher, DispatchLimits
from attribution_svc.webhooks.guard import Guard, RefusedAddressError
from attribution_svc.webhooks.message import secret_text
from attribution_svc.webhooks.planner import Planner, mint_delivery_id
from attribution_svc.webhooks.store import Delivery, DeliveryFilter, DeliveryQueue, NewDelivery, Position, WebhookStore
from attribution_svc.webhooks.vault import Vault
from attribution_svc.webhooks.webhook import (
    MOST_WEBHOOKS,
    Definition,
    EventKind,
    Webhook,
    WebhookChange,
    WebhookKind,
    changed,
    is_webhook_id,
    no_such_webhook,
    normalised,
)
from macro_language.template import without_macros
from svc_runtime.clock import Clock
from svc_runtime.errors import FailedPreconditionError, InvalidArgumentError, Violation
from svc_runtime.paging import PageTokens, check_page_size

MOST_REPLAYED = 10_000
MOST_BACKFILLED = 500
ENDED = (DeliveryState.DEAD, DeliveryState.CANCELLED, DeliveryState.SUCCEEDED)
_BASE62 = string.digits + string.ascii_letters
ItemT = TypeVar("ItemT", Webhook, Delivery)


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """A piece of a list."""

    items: tuple[ItemT, ...]
    next_page_token: str
    """Empty on the last page."""


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """What a caller wants."""

    kind: WebhookKind
    definition: Definition
    is_enabled: bool = True


def mint_webhook_id() -> str:
    """Return a new id: `wh_` and 22 base62 characters, 131 random bits."""
    return "wh_" + "".join(secrets.choice(_BASE62) for _ in range(22))


class WebhookRegistry:
    """Webhooks and deliveries of one organisation after another."""

    def __init__(
        self,
        webhooks: WebhookStore,
        queue: DeliveryQueue,
        planner: Planner,
        dispatcher: Dispatcher,
        vault: Vault,
        guard: Guard,
        page_tokens: PageTokens,
        *,
        clock: Clock,
        limits: DispatchLimits,
        mint_id: Callable[[], str] = mint_webhook_id,
    ) -> None:
        self._webhooks = webhooks
        self._queue = queue
        self._planner = planner
        self._dispatcher = dispatcher
        self._vault = vault
        self._guard = guard
        self._page_tokens = page_tokens
        self._clock = clock
        self._limits = limits
        self._mint_id = mint_id

    async def create(self, wanted: NewWebhook, *, organization_id: str, actor: str) -> tuple[Webhook, str]:
        """Make a webhook; return it and its signing secret, empty for a postback. Raise InvalidArgumentError,
        FailedPreconditionError when there are too many, or UnavailableError.
        """
        definition = normalised(wanted.kind, wanted.definition)
        self._check_place(definition)
        webhook_id, now = self._mint_id(), self._clock.now()
        definition, sealed = self._vault.seal_headers(organization_id, webhook_id, definition, {})
        secret, signing = self._vault.new_signing(organization_id, webhook_id)
        is_signed = wanted.kind is WebhookKind.WEBHOOK
        webhook = Webhook(
            organization_id=organization_id,
            webhook_id=webhook_id,
            kind=wanted.kind,
            definition=definition,
            is_enabled=wanted.is_enabled,
            disable_reason="",
            secrets=(signing,) if is_signed else (),
            sealed_headers=sealed,
            version=1,
            create_time=now,
            update_time=now,
        )
        await self._webhooks.insert(webhook, actor=actor, most=MOST_WEBHOOKS)
        return webhook, secret_text(secret) if is_signed else ""

    async def get(self, webhook_id: str, *, organization_id: str) -> tuple[Webhook, Circuit]:
        """Return a webhook and how its destination does. Raise NotFoundError or UnavailableError."""
        webhook = await self._find(webhook_id, organization_id)
        return webhook, await self._webhooks.circuit(organization_id, webhook_id)

    async def list_page(self, *, organization_id: str, page_size: int, page_token: str) -> Page[Webhook]:
        """Return a page, newest first. Raise InvalidArgumentError or UnavailableError."""
        scope = ("webhooks", organization_id)
        size = check_page_size(page_size)
        found = await self._webhooks.list_page(organization_id, after=self._place(page_token, scope), limit=size + 1)
        return self._page([(w.create_time, w.webhook_id, w) for w in found], size, scope)

    async def update(self, webhook_id: str, change: WebhookChange, *, organization_id: str, actor: str) -> Webhook:
        """Change a webhook. Raise NotFoundError, FailedPreconditionError, InvalidArgumentError, UnavailableError."""
        await self._find(webhook_id, organization_id)
        now = self._clock.now()

        def make(present: Webhook) -> Webhook:
            following = changed(present, change, now=now)
            if following is present or change.define is None:
                return following
            self._check_place(following.definition)
            definition, sealed = self._vault.seal_headers(
                organization_id, webhook_id, following.definition, present.sealed_headers
            )
            return replace(following, definition=definition, sealed_headers=sealed)

        return await self._webhooks.update(organization_id, webhook_id, make, actor=actor)

    async def delete(self, webhook_id: str, *, organization_id: str, actor: str) -> None:
        """Take a webhook away; what waits for it is cancelled. Raise NotFoundError or UnavailableError."""
        await self._find(webhook_id, organization_id)
        await self._webhooks.delete(organization_id, webhook_id, actor=actor, now=self._clock.now())

    async def rotate_secret(self, webhook_id: str, *, organization_id: str, actor: str) -> tuple[Webhook, str]:
        """Give a webhook another signing secret; the present one signs along for a day.

        Raise NotFoundError, FailedPreconditionError for a postback, UnavailableError.
        """
        made: list[bytes] = []

        def make(present: Webhook) -> Webhook:
            if present.kind is not WebhookKind.WEBHOOK:
                raise FailedPreconditionError(f"webhook {webhook_id} is a postback: nothing is signed")
            secret, following = self._vault.rotated(present, now=self._clock.now())
            made.append(secret)
            return following

        await self._find(webhook_id, organization_id)
        webhook = await self._webhooks.update(organization_id, webhook_id, make, actor=actor)
        return webhook, secret_text(made[-1])

    async def send_test(self, webhook_id: str, *, organization_id: str) -> Delivery:
        """Send a sample now, once, also when the webhook is off, and return what came of it.

        Raise NotFoundError, RateLimitedError while there are too many at a time, or UnavailableError.
        """
        webhook = await self._find(webhook_id, organization_id)
        now = self._clock.now()
        delivery = NewDelivery(
            mint_delivery_id(), webhook_id, sample(organization_id, now), now, now + timedelta(minutes=5)
        )
        with self._dispatcher.room_for_test(organization_id):
            claim = await self._queue.start(delivery, webhook, lease=self._limits.lease)
            await self._dispatcher.attempt_once(claim)
        return await self._queue.get(organization_id, webhook_id, delivery.delivery_id)

    async def list_deliveries(
        self, webhook_id: str, wanted: DeliveryFilter, *, organization_id: str, page_size: int, page_token: str
    ) -> Page[Delivery]:
        """Return a page, newest first. Raise NotFoundError, InvalidArgumentError or UnavailableError."""
        await self._find(webhook_id, organization_id)
        scope = ("deliveries", organization_id, webhook_id, wanted)
        size, after = check_page_size(page_size), self._place(page_token, scope)
        found = await self._queue.list_page(organization_id, webhook_id, wanted, after=after, limit=size + 1)
        return self._page([(d.create_time, d.delivery_id, d) for d in found], size, scope)

    async def get_delivery(self, webhook_id: str, delivery_id: str, *, organization_id: str) -> Delivery:
        """Return a delivery with the log of its attempts. Raise NotFoundError or UnavailableError."""
        await self._find(webhook_id, organization_id)
        return await self._queue.get(organization_id, webhook_id, delivery_id)

    async def replay_one(self, webhook_id: str, delivery_id: str, *, organization_id: str) -> Delivery:
        """Send a delivery that has ended again, under its id, as the webhook is now.

        Raise NotFoundError, FailedPreconditionError when it has not ended, UnavailableError.
        """
        webhook = await self._find(webhook_id, organization_id)
        await self._queue.replay(webhook, delivery_id, now=self._clock.now())
        self._dispatcher.wake()
        return await self._queue.get(organization_id, webhook_id, delivery_id)

    async def backfill(
        self,
        webhook_id: str,
        start_time: datetime | None,
        end_time: datetime | None,
        *,
        organization_id: str,
        page_token: str,
    ) -> tuple[int, str]:
        """Tell a webhook of what it has not heard of, 500 changes at a time; return how many, and where to go on.

        It begins no earlier than deliveries are remembered: before that, nobody knows what it has heard of.

        Raise NotFoundError, FailedPreconditionError while it is off, InvalidArgumentError or UnavailableError.
        """
        webhook = await self._find(webhook_id, organization_id)
        if not webhook.is_enabled:
            raise FailedPreconditionError(f"webhook {webhook_id} is off: turn it on first")
        scope = ("backfill", organization_id, webhook_id, start_time, end_time)
        place = self._page_tokens.open(page_token, *scope)
        earliest = self._clock.now() - timedelta(days=self._limits.log_days)
        # Later pages go on where the first was right to begin.
        if start_time is not None and start_time < earliest and not place:
            told = (
                f"is {start_time.isoformat()}, must be within the {self._limits.log_days} days that deliveries are kept"
            )
            raise InvalidArgumentError.of([Violation("start_time", told)])
        changes = await self._queue.changes_between(
            organization_id,
            max(start_time or earliest, earliest),
            end_time,
            after=(datetime.fromisoformat(place[0]), place[1]) if place else None,
            limit=MOST_BACKFILLED,
        )
        count = await self._queue.add(await self._planner.deliveries(changes, [webhook]))
        self._dispatcher.wake()
        if len(changes) < MOST_BACKFILLED:
            return count, ""
        return count, self._page_tokens.seal([changes[-1].change_time.isoformat(), changes[-1].change_id], *scope)

    async def replay_all(
        self, webhook_id: str, wanted: DeliveryFilter, *, states: Sequence[DeliveryState], organization_id: str
    ) -> int:
        """Replay what was made in a range of time and ended in one of ``states``; none means `dead`.

        Return how many, at most 10,000: ask again while it is that many. Raise NotFoundError, InvalidArgumentError.
        """
        strange = [state.value for state in states if state not in ENDED]
        if strange:
            known = ", ".join(state.value for state in ENDED)
            raise InvalidArgumentError.of([Violation("states", f"{strange[0]!r} has not ended; there are {known}")])
        webhook = await self._find(webhook_id, organization_id)
        count = await self._queue.replay_all(
            webhook,
            wanted,
            states=states or (DeliveryState.DEAD,),
            limit=MOST_REPLAYED,
            now=self._clock.now(),
        )
        self._dispatcher.wake()
        return count

    async def _find(self, webhook_id: str, organization_id: str) -> Webhook:
        if not is_webhook_id(webhook_id):
            raise no_such_webhook(webhook_id)
        return await self._webhooks.get(organization_id, webhook_id)

    def _check_place(self, definition: Definition) -> None:
        """Refuse at once what the text of the URL tells; what the name stands for is checked at each connection."""
        try:
            self._guard.check_url(without_macros(definition.url))
        except RefusedAddressError as error:
            raise InvalidArgumentError.of([Violation("url", str(error))]) from None

    def _place(self, page_token: str, scope: tuple[object, ...]) -> Position | None:
        place = self._page_tokens.open(page_token, *scope)
        return Position(datetime.fromisoformat(place[0]), place[1]) if place else None

    def _page(self, found: Sequence[tuple[datetime, str, ItemT]], size: int, scope: tuple[object, ...]) -> Page[ItemT]:
        """Cut a list of one more than wanted, which says whether there is another page."""
        items = tuple(item for _, _, item in found[:size])
        if len(found) <= size:
            return Page(items, "")
        create_time, item_id, _ = found[size - 1]
        return Page(items, self._page_tokens.seal([create_time.isoformat(), item_id], *scope))


def sample(organization_id: str, now: datetime) -> Change:
    """Return a change that never was, to show what a webhook sends."""
    return Change(
        organization_id=organization_id,
        change_id=0,
        kind=EventKind.TEST,
        change_time=now,
        conversion=Conversion(
            conversion_id="00000000-0000-7000-8000-000000000000",
            conversion_type="sale",
            event_type="sale",
            status="sale",
            value_micros=12_500_000,
            gross_micros=12_500_000,
            currency="USD",
            order_id="test-order",
            conversion_time=now,
            click_id="test-click",
            external_click_id="test-external-click",
            campaign_id="test-campaign",
            source="test",
            medium="test",
            is_test=True,
        ),
        click=Click(),
    )
