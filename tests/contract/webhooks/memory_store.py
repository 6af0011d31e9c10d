"""A WebhookStore and a DeliveryQueue in memory, tested by the same suites as the real ones."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from attribution_svc.webhooks.attempt import Circuit, DeliveryState, Failure, Next, Outcome, Pace, after_attempt
from attribution_svc.webhooks.change import Change
from attribution_svc.webhooks.store import (
    Attempt,
    Backlog,
    ChangeBatch,
    Claim,
    ClaimLimits,
    Delivery,
    DeliveryFilter,
    NewDelivery,
    Position,
)
from attribution_svc.webhooks.webhook import EventKind, Webhook, no_such_delivery, no_such_webhook
from svc_runtime.errors import FailedPreconditionError

Key: TypeAlias = tuple[str, str]
OPEN = (DeliveryState.PENDING, DeliveryState.DELIVERING, DeliveryState.FAILED)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Health:
    """How a destination does."""

    circuit: Circuit = Circuit()
    pace: Pace = Pace()
    claim_time: datetime = _LONG_AGO


@dataclass
class Queued:
    """A delivery and its log."""

    new: NewDelivery
    state: DeliveryState = DeliveryState.PENDING
    attempt_count: int = 0
    tried_before: int = 0
    next_attempt_time: datetime = _LONG_AGO
    expire_time: datetime = _LONG_AGO
    end_time: datetime | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def webhook(self) -> Key:
        """Whose it is."""
        return self.new.change.organization_id, self.new.webhook_id

    def is_due(self, now: datetime) -> bool:
        """Whether it is its turn."""
        return self.state in OPEN and self.next_attempt_time <= now < self.expire_time

    def end(self, state: DeliveryState, now: datetime) -> None:
        """End it."""
        self.state, self.end_time = state, now


class MemoryWebhookStore:
    """Webhooks in a dict; deleted ones stay in it."""

    def __init__(self) -> None:
        self.webhooks: dict[Key, Webhook] = {}
        self.deleted: set[Key] = set()
        self.health: dict[Key, Health] = {}
        self.queued: dict[Key, Queued] = {}
        """By organisation and delivery: the queue that stands beside it."""

    async def insert(self, webhook: Webhook, *, actor: str, most: int) -> None:
        """See ``WebhookStore.insert``."""
        if len(self._live(webhook.organization_id)) >= most:
            raise FailedPreconditionError(f"there are {most} webhooks already")
        key = (webhook.organization_id, webhook.webhook_id)
        self.webhooks[key], self.health[key] = webhook, Health()

    async def get(self, organization_id: str, webhook_id: str) -> Webhook:
        """See ``WebhookStore.get``."""
        key = (organization_id, webhook_id)
        if key not in self.webhooks or key in self.deleted:
            raise no_such_webhook(webhook_id)
        return self.webhooks[key]

    async def circuit(self, organization_id: str, webhook_id: str) -> Circuit:
        """See ``WebhookStore.circuit``."""
        await self.get(organization_id, webhook_id)
        return self.health[organization_id, webhook_id].circuit

    async def list_page(self, organization_id: str, *, after: Position | None, limit: int) -> list[Webhook]:
        """See ``WebhookStore.list_page``."""
        found = sorted(self._live(organization_id), key=lambda w: (w.create_time, w.webhook_id), reverse=True)
        return [w for w in found if after is None or (w.create_time, w.webhook_id) < _place(after)][:limit]

    async def enabled_of(self, organization_ids: Sequence[str]) -> list[Webhook]:
        """See ``WebhookStore.enabled_of``."""
        return [w for organization_id in organization_ids for w in self._live(organization_id) if w.is_enabled]

    async def update(
        self, organization_id: str, webhook_id: str, change: Callable[[Webhook], Webhook], *, actor: str
    ) -> Webhook:
        """See ``WebhookStore.update``."""
        present = await self.get(organization_id, webhook_id)
        following = change(present)
        self.webhooks[organization_id, webhook_id] = following
        if following.is_enabled and not present.is_enabled:
            self.health[organization_id, webhook_id].circuit = Circuit()
        return following

    async def delete(self, organization_id: str, webhook_id: str, *, actor: str, now: datetime) -> None:
        """See ``WebhookStore.delete``."""
        await self.get(organization_id, webhook_id)
        self.deleted.add((organization_id, webhook_id))
        for queued in self.queued.values():
            if queued.webhook == (organization_id, webhook_id) and queued.state in OPEN:
                queued.end(DeliveryState.CANCELLED, now)

    def _live(self, organization_id: str) -> list[Webhook]:
        return [w for key, w in self.webhooks.items() if key[0] == organization_id and key not in self.deleted]


class MemoryDeliveryQueue:
    """Deliveries beside the webhooks of a ``MemoryWebhookStore``."""

    def __init__(self, store: MemoryWebhookStore) -> None:
        self._store = store
        self._queued = store.queued
        self.log: list[Change] = []
        self.cursor = 0

    async def read_changes(self, *, limit: int) -> ChangeBatch:
        """See ``DeliveryQueue.read_changes``."""
        found = sorted((c for c in self.log if c.change_id > self.cursor), key=lambda c: c.change_id)[:limit]
        return ChangeBatch(self.cursor, found, found[-1].change_id if found else self.cursor)

    async def plan(self, batch: ChangeBatch, deliveries: Sequence[NewDelivery]) -> bool:
        """See ``DeliveryQueue.plan``."""
        if batch.cursor != self.cursor:
            return False
        self.cursor = batch.last_change_id
        await self.add(deliveries)
        return True

    async def changes_between(
        self,
        organization_id: str,
        start_time: datetime | None,
        end_time: datetime | None,
        *,
        after: tuple[datetime, int] | None,
        limit: int,
    ) -> list[Change]:
        """See ``DeliveryQueue.changes_between``."""
        found = [
            change
            for change in self.log
            if change.organization_id == organization_id
            and _is_between(change.change_time, start_time, end_time)
            and (after is None or (change.change_time, change.change_id) > after)
        ]
        return sorted(found, key=lambda c: (c.change_time, c.change_id))[:limit]

    async def add(self, deliveries: Sequence[NewDelivery]) -> int:
        """See ``DeliveryQueue.add``."""
        before = len(self._queued)
        for new in deliveries:
            key = (new.change.organization_id, new.delivery_id)
            fresh = Queued(new, next_attempt_time=new.create_time, expire_time=new.expire_time)
            if fresh.webhook in self._store.webhooks and not any(_is_same(fresh, q) for q in self._queued.values()):
                self._queued[key] = fresh
        return len(self._queued) - before

    async def claim(self, limits: ClaimLimits, *, now: datetime) -> list[Claim]:
        """See ``DeliveryQueue.claim``."""
        claims: list[Claim] = []
        busy = limits.busy_of_organizations()
        for key in sorted(self._store.webhooks, key=lambda key: (self._store.health[key].claim_time, key)):
            webhook, health = self._store.webhooks[key], self._store.health[key]
            if not webhook.is_enabled or key in self._store.deleted:
                continue
            free = min(limits.most - len(claims), limits.most_per_webhook - limits.busy.get(key, 0))
            free = min(free, limits.most_per_organization - busy[key[0]])
            rate = webhook.definition.rate_per_second
            count = health.pace.allowance(rate, health.circuit.allowance(free, now), now)
            due = sorted(self._due(now, key), key=lambda q: (q.next_attempt_time, q.new.delivery_id))
            taken = [q for q in due[: max(count, 0)] if self._is_sendable(q, webhook, now, limits.lease)]
            claims += [self._take(queued, webhook, now, limits.lease) for queued in taken]
            busy[key[0]] += len(taken)
            if taken:
                health.circuit = health.circuit.probed(now, limits.lease)
                health.pace, health.claim_time = health.pace.after(rate, len(taken), now), now
        return sorted(claims, key=lambda claim: (claim.create_time, claim.delivery_id))

    async def start(self, delivery: NewDelivery, webhook: Webhook, *, lease: timedelta) -> Claim:
        """See ``DeliveryQueue.start``."""
        queued = Queued(delivery, expire_time=delivery.expire_time)
        self._queued[webhook.organization_id, delivery.delivery_id] = queued
        return self._take(queued, webhook, delivery.create_time, lease)

    async def finish(self, claim: Claim, attempt: Attempt, following: Next, *, now: datetime) -> bool:
        """See ``DeliveryQueue.finish``."""
        queued = self._queued[claim.webhook.organization_id, claim.delivery_id]
        if (queued.attempt_count, queued.state) != (claim.number, DeliveryState.DELIVERING):
            return False
        queued.attempts += (attempt,)
        if following.state is DeliveryState.FAILED:
            queued.state, queued.next_attempt_time = following.state, following.attempt_time or now
        else:
            queued.end(following.state, now)
        health = self._store.health[queued.webhook]
        health.circuit = health.circuit.after(attempt.outcome, now)
        if attempt.outcome.is_gone:
            present = self._store.webhooks[queued.webhook]
            reason = "the receiver answered 410 Gone"
            self._store.webhooks[queued.webhook] = replace(
                present, is_enabled=False, disable_reason=reason, version=present.version + 1
            )
        return True

    async def get(self, organization_id: str, webhook_id: str, delivery_id: str) -> Delivery:
        """See ``DeliveryQueue.get``."""
        queued = self._find(organization_id, webhook_id, delivery_id)
        return replace(_delivery(queued), attempts=queued.attempts)

    async def list_page(
        self, organization_id: str, webhook_id: str, wanted: DeliveryFilter, *, after: Position | None, limit: int
    ) -> list[Delivery]:
        """See ``DeliveryQueue.list_page``."""
        found = [_delivery(q) for q in self._matching((organization_id, webhook_id), wanted)]
        found.sort(key=lambda d: (d.create_time, d.delivery_id), reverse=True)
        return [d for d in found if after is None or (d.create_time, d.delivery_id) < _place(after)][:limit]

    async def replay(self, webhook: Webhook, delivery_id: str, *, now: datetime) -> None:
        """See ``DeliveryQueue.replay``."""
        queued = self._find(webhook.organization_id, webhook.webhook_id, delivery_id)
        if queued.end_time is None:
            raise FailedPreconditionError("it is not over yet")
        self._again(queued, webhook, now)

    async def replay_all(
        self, webhook: Webhook, wanted: DeliveryFilter, *, states: Sequence[DeliveryState], limit: int, now: datetime
    ) -> int:
        """See ``DeliveryQueue.replay_all``."""
        matching = self._matching((webhook.organization_id, webhook.webhook_id), wanted)
        found = [q for q in matching if q.end_time is not None and q.state in states]
        found.sort(key=lambda q: (q.new.create_time, q.new.delivery_id))
        for queued in found[:limit]:
            self._again(queued, webhook, now)
        return len(found[:limit])

    async def backlog(self, *, now: datetime) -> Backlog:
        """See ``DeliveryQueue.backlog``."""
        live = [key for key, w in self._store.webhooks.items() if w.is_enabled and key not in self._store.deleted]
        due = [queued.next_attempt_time for key in live for queued in self._due(now, key)]
        return Backlog(len(due), now - min(due) if due else timedelta())

    async def sweep(self, *, now: datetime, forget_before: datetime) -> int:
        """See ``DeliveryQueue.sweep``."""
        expired = [
            queued
            for queued in self._queued.values()
            if queued.state in OPEN
            and queued.expire_time <= now
            and not (queued.state is DeliveryState.DELIVERING and queued.next_attempt_time > now)
        ]
        for queued in expired:
            queued.end(DeliveryState.DEAD, now)
        for key, queued in tuple(self._queued.items()):
            if queued.end_time is not None and queued.end_time < forget_before:
                del self._queued[key]
        return len(expired)

    def _due(self, now: datetime, key: Key) -> list[Queued]:
        return [queued for queued in self._queued.values() if queued.webhook == key and queued.is_due(now)]

    def _is_sendable(self, queued: Queued, webhook: Webhook, now: datetime, lease: timedelta) -> bool:
        """Whether it may be sent now: one whose attempt was abandoned may have to wait, or be given up."""
        if queued.state is not DeliveryState.DELIVERING:
            return True
        outcome = Outcome(Failure.ABANDONED)
        queued.attempts += (Attempt(queued.attempt_count, now, "", "", outcome),)
        following = after_attempt(
            outcome,
            attempt_count=queued.attempt_count - queued.tried_before,
            max_attempts=webhook.definition.max_attempts,
            expire_time=queued.expire_time,
            now=queued.next_attempt_time - lease,
            jitter=1.0,
        )
        if following.attempt_time is None:
            queued.end(following.state, now)
            return False
        queued.state, queued.next_attempt_time = following.state, following.attempt_time
        return following.attempt_time <= now

    def _take(self, queued: Queued, webhook: Webhook, now: datetime, lease: timedelta) -> Claim:
        queued.attempt_count += 1
        queued.state, queued.next_attempt_time = DeliveryState.DELIVERING, now + lease
        return Claim(
            webhook=webhook,
            delivery_id=queued.new.delivery_id,
            change=queued.new.change,
            number=queued.attempt_count,
            attempt_count=queued.attempt_count - queued.tried_before,
            create_time=queued.new.create_time,
            expire_time=queued.expire_time,
        )

    def _again(self, queued: Queued, webhook: Webhook, now: datetime) -> None:
        queued.state, queued.end_time, queued.tried_before = DeliveryState.PENDING, None, queued.attempt_count
        queued.next_attempt_time, queued.expire_time = now, now + webhook.definition.max_age

    def _find(self, organization_id: str, webhook_id: str, delivery_id: str) -> Queued:
        queued = self._queued.get((organization_id, delivery_id))
        if queued is None or queued.webhook != (organization_id, webhook_id):
            raise no_such_delivery(delivery_id)
        return queued

    def _matching(self, webhook: Key, wanted: DeliveryFilter) -> Iterable[Queued]:
        for queued in self._queued.values():
            change = queued.new.change
            if (
                queued.webhook == webhook
                and wanted.state in (None, queued.state)
                and wanted.event_kind in (None, change.kind)
                and wanted.conversion_id in (None, change.conversion.conversion_id)
                and _is_between(queued.new.create_time, wanted.start_time, wanted.end_time)
            ):
                yield queued


def _is_same(one: Queued, other: Queued) -> bool:
    """Whether two deliveries tell the same webhook of the same change, or of the same creation."""
    changes = one.new.change, other.new.change
    is_same_creation = (
        changes[0].kind is changes[1].kind is EventKind.CREATED
        and changes[0].conversion.conversion_id == changes[1].conversion.conversion_id
    )
    is_same_change = changes[0].change_id == changes[1].change_id != 0
    return one.webhook == other.webhook and (is_same_change or is_same_creation)


def _is_between(instant: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or instant >= start) and (end is None or instant < end)


def _place(position: Position) -> tuple[datetime, str]:
    return position.create_time, position.item_id


def _delivery(queued: Queued) -> Delivery:
    return Delivery(
        organization_id=queued.webhook[0],
        delivery_id=queued.new.delivery_id,
        webhook_id=queued.new.webhook_id,
        change=queued.new.change,
        state=queued.state,
        attempt_count=queued.attempt_count,
        next_attempt_time=queued.next_attempt_time if queued.end_time is None else None,
        create_time=queued.new.create_time,
        end_time=queued.end_time,
    )
