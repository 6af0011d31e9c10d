"""Takes deliveries out of the queue and sends them: many at once, few of one destination."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from attribution_svc.metrics import (
    webhook_attempt_seconds,
    webhook_attempts,
    webhook_deliveries_due,
    webhook_oldest_due_seconds,
)
from attribution_svc.webhooks.attempt import DeliveryState, Failure, Next, Outcome, after_attempt
from attribution_svc.webhooks.change import Json
from attribution_svc.webhooks.message import Request, build_request, signature_headers
from attribution_svc.webhooks.sender import Outgoing
from attribution_svc.webhooks.store import Attempt, Claim, ClaimLimits, DeliveryQueue
from attribution_svc.webhooks.vault import SecretLostError, Vault
from svc_runtime.clock import Clock
from svc_runtime.errors import RateLimitedError, TrellisError, UnavailableError
from svc_runtime.logs import get_logger
from svc_runtime.tasks import keep_running, running, uninterrupted

IDLE_SECONDS = 0.5
SWEEP_SECONDS = 30.0
LEASE_MARGIN = timedelta(seconds=30)
_RETRY_SECONDS = 0.5
_log = get_logger(__name__)


class Sends(Protocol):
    """Sends requests."""

    async def send(self, outgoing: Outgoing) -> Outcome:
        """Send one and return what came of it; nothing is raised but cancellation."""
        ...


@dataclass(frozen=True, slots=True)
class DispatchLimits:
    """How much may be on its way, and for how long."""

    most: int = 100
    """In all, from this process."""
    most_per_webhook: int = 5
    """Of one webhook; tests of an organisation's webhooks have as much room beside it."""
    attempt_seconds: float = 15.0
    """Longest that one attempt takes."""
    log_days: int = 30
    """How long deliveries that have ended are kept."""
    drain_seconds: float = 10.0

    @property
    def most_per_organization(self) -> int:
        """A quarter: one whose receivers all hang must not take the others' room.

        But room for two webhooks, so that one that hangs does not stop the others of its own organisation.
        """
        return max(self.most // 4, 2 * self.most_per_webhook)

    @property
    def lease(self) -> timedelta:
        """How long an attempt is its process's own: enough to write down what came of it, too."""
        return timedelta(seconds=self.attempt_seconds) + LEASE_MARGIN


class Dispatcher:
    """The sending half of the queue. At least once: what is not written down is sent again, under the same id."""

    def __init__(
        self,
        queue: DeliveryQueue,
        sender: Sends,
        vault: Vault,
        *,
        clock: Clock,
        limits: DispatchLimits,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._sender = sender
        self._vault = vault
        self._clock = clock
        self._limits = limits
        self._jitter = jitter
        self._busy: Counter[tuple[str, str]] = Counter()
        self._testing: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Look into the queue now."""
        self._news.set()

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        """Send for the time of the block; at its end, let what is on its way arrive."""
        async with running("webhook sweep", keep_running("webhook sweep", self._sweep_forever)):
            async with running("webhook dispatch", keep_running("webhook dispatch", self._dispatch_forever)):
                yield
            await self._drain()

    async def attempt(self, claim: Claim) -> Attempt:
        """Make an attempt and write down what came of it."""
        attempt = await self._try(claim)
        now = self._clock.now()
        following = after_attempt(
            attempt.outcome,
            attempt_count=claim.attempt_count,
            max_attempts=claim.webhook.definition.max_attempts,
            expire_time=claim.expire_time,
            now=now,
            jitter=self._jitter(),
        )
        await self._write(claim, attempt, following)
        webhook_attempts.add(1, {"failure": attempt.outcome.failure.value, "state": following.state.value})
        webhook_attempt_seconds.record(attempt.outcome.duration.total_seconds())
        return attempt

    @contextlib.contextmanager
    def room_for_test(self, organization_id: str) -> Iterator[None]:
        """Hold room for a delivery that somebody waits for, or raise RateLimitedError when there is none."""
        most = self._limits.most_per_webhook
        if self._testing[organization_id] >= most:
            raise RateLimitedError(f"{most} tests of your webhooks are on their way, the most at a time")
        self._testing[organization_id] += 1
        try:
            yield
        finally:
            self._testing[organization_id] -= 1
            if not self._testing[organization_id]:
                del self._testing[organization_id]

    async def attempt_once(self, claim: Claim) -> Attempt:
        """Make the only attempt of a delivery that somebody waits for."""
        attempt = await self._try(claim)
        state = DeliveryState.SUCCEEDED if attempt.outcome.is_success else DeliveryState.DEAD
        await self._write(claim, attempt, Next(state))
        return attempt

    async def _dispatch_forever(self) -> None:
        while True:
            self._news.clear()
            taken = 0
            try:
                # Whoever leaves takes along what it has just claimed: nobody else may, until the lease ends.
                taken = await uninterrupted(self._take())
            except UnavailableError as error:
                _log.warning("deliveries wait", error=error.message)
            if not taken:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_SECONDS):
                        await self._news.wait()

    async def _take(self) -> int:
        """Claim as much as there is room for, begin with it, and return how much that is."""
        free = self._limits.most - len(self._tasks)
        if free <= 0:
            return 0
        limits = ClaimLimits(
            free,
            self._limits.most_per_webhook,
            self._limits.most_per_organization,
            dict(self._busy),
            self._limits.lease,
        )
        claims = await self._queue.claim(limits, now=self._clock.now())
        for claim in claims:
            self._begin(claim)
        return len(claims)

    def _begin(self, claim: Claim) -> None:
        key = (claim.webhook.organization_id, claim.webhook.webhook_id)
        self._busy[key] += 1
        task = asyncio.create_task(self._guarded(claim), name="webhook attempt")
        self._tasks.add(task)

        def end(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self._busy[key] -= 1
            if not self._busy[key]:
                del self._busy[key]
            self.wake()

        task.add_done_callback(end)

    async def _guarded(self, claim: Claim) -> None:
        try:
            await self.attempt(claim)
        except Exception as error:  # noqa: BLE001 - the lease ends, and it is tried again
            _log.exception("what came of an attempt is not written down", error=type(error).__name__)

    async def _try(self, claim: Claim) -> Attempt:
        begun = self._clock.now()
        method = url = ""
        try:
            request = build_request(claim.webhook, claim.change, delivery_id=claim.delivery_id)
            method, url = request.method, request.url
            outcome = await self._sender.send(self._outgoing(claim, request))
        except SecretLostError:
            outcome = Outcome(Failure.SECRET, detail="a secret of this webhook cannot be opened: set it again")
        except Exception as error:  # noqa: BLE001 - an attempt that is not written down is made again and again
            _log.exception("an attempt failed in a way that was not foreseen", error=type(error).__name__)
            outcome = Outcome(Failure.INTERNAL, detail="a fault of ours; it is tried again")
        return Attempt(claim.number, begun, method, url, outcome)

    def _outgoing(self, claim: Claim, request: Request) -> Outgoing:
        """Add what is secret."""
        webhook = claim.webhook
        secret = self._vault.open_headers(webhook)
        headers: dict[str, Json] = {**request.headers, **secret}
        now = self._clock.now()
        if signing := self._vault.open_signing(webhook, now):
            headers |= signature_headers(
                signing, delivery_id=claim.delivery_id, timestamp=int(now.timestamp()), body=request.body
            )
        return Outgoing(
            method=request.method,
            url=request.url,
            headers=headers,
            body=request.body,
            secret_headers=frozenset(name.lower() for name in secret),
            follows_redirects=webhook.definition.follows_redirects,
            organization_id=webhook.organization_id,
        )

    async def _write(self, claim: Claim, attempt: Attempt, following: Next) -> None:
        """Write it down, also when the store comes back a little later; after the lease it is somebody else's."""
        end = time.monotonic() + LEASE_MARGIN.total_seconds()
        while True:
            try:
                await self._queue.finish(claim, attempt, following, now=self._clock.now())
            except UnavailableError:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.sweep_once()

    async def sweep_once(self) -> None:
        """Give up and forget what is old, then measure what is left; neither waits for the other to succeed."""
        now = self._clock.now()
        try:
            given_up = await self._queue.sweep(now=now, forget_before=now - timedelta(days=self._limits.log_days))
            if given_up:
                _log.warning("deliveries have expired", count=given_up)
        except TrellisError as error:
            _log.warning("old deliveries stay for now", error=error.message)
        try:
            backlog = await self._queue.backlog(now=now)
            webhook_deliveries_due.set(backlog.delivery_count)
            webhook_oldest_due_seconds.set(backlog.oldest_wait.total_seconds())
        except TrellisError as error:
            _log.warning("what is due is not counted", error=error.message)

    async def _drain(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._limits.drain_seconds)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
