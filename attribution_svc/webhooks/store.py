"""What the stores of webhooks and of their queue promise, whichever technology is behind them.

Every method raises UnavailableError while the store is not reachable, and works again by itself once it is. Nothing of
another organisation is ever returned or changed: it is NotFoundError, in the words of what does not exist.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from attribution_svc.webhooks.attempt import Circuit, DeliveryState, Next, Outcome
from attribution_svc.webhooks.change import Change
from attribution_svc.webhooks.webhook import EventKind, Webhook


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list, newest first: just after this one."""

    create_time: datetime
    item_id: str


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A change that a webhook is to be told of."""

    delivery_id: str
    webhook_id: str
    change: Change
    create_time: datetime
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt that is ours to make until its lease ends."""

    webhook: Webhook
    delivery_id: str
    change: Change
    number: int
    """Of the attempt, from 1. It proves, at the end, that the claim was still ours."""
    attempt_count: int
    """Attempts since the delivery, or its last replay, began; this one included."""
    create_time: datetime
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """An entry of the log of answers."""

    number: int
    attempt_time: datetime
    method: str
    url: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as it stands."""

    organization_id: str
    delivery_id: str
    webhook_id: str
    change: Change
    state: DeliveryState
    attempt_count: int
    next_attempt_time: datetime | None
    """None when there is none."""
    create_time: datetime
    end_time: datetime | None
    attempts: tuple[Attempt, ...] = ()
    """In their order; only of a single delivery, not in lists."""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries of a webhook; None: any."""

    state: DeliveryState | None = None
    event_kind: EventKind | None = None
    conversion_id: str | None = None
    start_time: datetime | None = None
    """Made at or after it."""
    end_time: datetime | None = None
    """Made before it."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for its turn, beyond what waits for its time."""

    delivery_count: int
    oldest_wait: timedelta
    """How long the oldest has been due; zero when nothing is."""


@dataclass(frozen=True, slots=True)
class ChangeBatch:
    """The changes that come next."""

    cursor: int
    """Where the planner stood when they were read."""
    changes: Sequence[Change]
    """In the order of their ids."""
    last_change_id: int
    """Of the last entry read, which may be one that nobody can be told of."""


@dataclass(frozen=True, slots=True)
class ClaimLimits:
    """How much may be taken out of the queue."""

    most: int
    """In all."""
    most_per_webhook: int
    """Of one webhook, those that are on their way from this process included."""
    most_per_organization: int
    """Of all webhooks of one organisation, likewise."""
    busy: Mapping[tuple[str, str], int]
    """How many of each webhook are: by organisation and id."""
    lease: timedelta

    def busy_of_organizations(self) -> Counter[str]:
        """Return how many of each organisation are on their way."""
        counts: Counter[str] = Counter()
        for (organization_id, _), count in self.busy.items():
            counts[organization_id] += count
        return counts


class WebhookStore(Protocol):
    """Webhooks of all organisations."""

    async def insert(self, webhook: Webhook, *, actor: str, most: int) -> None:
        """Add a webhook. Raise FailedPreconditionError when its organisation has ``most`` already."""
        ...

    async def get(self, organization_id: str, webhook_id: str) -> Webhook:
        """Return a webhook, or raise NotFoundError."""
        ...

    async def circuit(self, organization_id: str, webhook_id: str) -> Circuit:
        """Return how its destination does, or raise NotFoundError."""
        ...

    async def list_page(self, organization_id: str, *, after: Position | None, limit: int) -> list[Webhook]:
        """Return up to ``limit`` webhooks, newest first, ids falling where the times are equal."""
        ...

    async def enabled_of(self, organization_ids: Sequence[str]) -> list[Webhook]:
        """Return the enabled webhooks of these organisations."""
        ...

    async def update(
        self, organization_id: str, webhook_id: str, change: Callable[[Webhook], Webhook], *, actor: str
    ) -> Webhook:
        """Replace a webhook by what ``change`` makes of it, and return that; nobody else changes it in between.

        When ``change`` returns the webhook itself, nothing is written; anything else has the next version, of which a
        copy is kept with its actor. One that was turned on begins with a closed circuit. Raise NotFoundError.
        """
        ...

    async def delete(self, organization_id: str, webhook_id: str, *, actor: str, now: datetime) -> None:
        """Take a webhook away and cancel what waits for it. Raise NotFoundError."""
        ...


class DeliveryQueue(Protocol):
    """Deliveries of all organisations, and the log of changes that they come from."""

    async def read_changes(self, *, limit: int) -> ChangeBatch:
        """Return up to ``limit`` changes after the cursor."""
        ...

    async def plan(self, batch: ChangeBatch, deliveries: Sequence[NewDelivery]) -> bool:
        """Put deliveries in and move the cursor behind the batch, both or neither.

        False, with nothing done, when somebody else has moved the cursor since the batch was read.
        """
        ...

    async def changes_between(
        self,
        organization_id: str,
        start_time: datetime | None,
        end_time: datetime | None,
        *,
        after: tuple[datetime, int] | None,
        limit: int,
    ) -> list[Change]:
        """Return up to ``limit`` changes of an organisation by time, then id, from behind ``after`` on."""
        ...

    async def add(self, deliveries: Sequence[NewDelivery]) -> int:
        """Put deliveries in, and return how many: none twice, by its webhook and change."""
        ...

    async def claim(self, limits: ClaimLimits, *, now: datetime) -> list[Claim]:
        """Take due deliveries out, oldest first, of the webhooks that wait longest; none whose circuit is open.

        Each is ours until the lease ends; then the attempt is logged as abandoned, and counts as one that failed: the
        pause after it begins with the attempt. Of a webhook with a rate, and of one that is probed, all replicas
        together take no more than they may.
        """
        ...

    async def start(self, delivery: NewDelivery, webhook: Webhook, *, lease: timedelta) -> Claim:
        """Put a delivery in that is claimed already: its only attempt is to be made at once."""
        ...

    async def finish(self, claim: Claim, attempt: Attempt, following: Next, *, now: datetime) -> bool:
        """Log an attempt, set what follows, and the circuit of the destination; one that is gone is turned off.

        False, with nothing done, when the claim is no longer ours.
        """
        ...

    async def get(self, organization_id: str, webhook_id: str, delivery_id: str) -> Delivery:
        """Return a delivery with its log, or raise NotFoundError."""
        ...

    async def list_page(
        self, organization_id: str, webhook_id: str, wanted: DeliveryFilter, *, after: Position | None, limit: int
    ) -> list[Delivery]:
        """Return up to ``limit`` deliveries of a webhook, newest first, without their logs."""
        ...

    async def replay(self, webhook: Webhook, delivery_id: str, *, now: datetime) -> None:
        """Make a delivery that has ended due again, with all its attempts ahead of it, under the same id.

        Raise NotFoundError, or FailedPreconditionError when it has not ended.
        """
        ...

    async def replay_all(
        self, webhook: Webhook, wanted: DeliveryFilter, *, states: Sequence[DeliveryState], limit: int, now: datetime
    ) -> int:
        """Replay up to ``limit`` deliveries that ended in one of ``states``, oldest first; return how many."""
        ...

    async def backlog(self, *, now: datetime) -> Backlog:
        """Return what is due, of webhooks that are on. A long queue may be counted in part: its oldest is exact."""
        ...

    async def sweep(self, *, now: datetime, forget_before: datetime) -> int:
        """Give up what has expired, cancel what waits for a webhook that is away, and forget what ended long ago.

        Return how many were given up.
        """
        ...
