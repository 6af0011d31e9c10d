"""The claims of an organisation's campaigns: previewing, applying, letting a version hold or none, cancelling."""

import asyncio
import functools
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import date, datetime

from analytics_svc.claims.claim import ActiveClaims, Claim, MadeClaim, no_such_claim
from analytics_svc.operation import Kind, Operation, State, month_of, months_within, shown
from analytics_svc.operations import Operations
from analytics_svc.rebuild import Journal, ReadingMonths
from analytics_svc.store import ClaimHistory, ClaimStore
from svc_runtime.clock import Clock
from svc_runtime.errors import NotFoundError
from svc_runtime.logs import get_logger
from svc_runtime.tasks import uninterrupted

_log = get_logger(__name__)


class ClaimsInForce:
    """The versions that hold, for who reads events: in memory, and renewed at every change."""

    def __init__(self, store: ClaimStore) -> None:
        self._store = store
        self._active: ActiveClaims = {}
        self._is_read = False

    async def current(self) -> ActiveClaims:
        """Return them, read from the store where they never were. Raise UnavailableError."""
        if not self._is_read:
            await self.refresh()
        return self._active

    async def refresh(self) -> None:
        """Read them from the store. Raise UnavailableError."""
        self.forget()
        self._active = await self._store.active()
        self._is_read = True

    def forget(self) -> None:
        """Read them anew for whoever asks next: for when they may change without our hearing whether they did."""
        self._is_read = False


@dataclass(frozen=True, slots=True)
class WantedClaim:
    """A claim to apply, and how it is kept."""

    claim: Claim
    definition: bytes


class ClaimRegistry:
    """What a caller of one organisation may do with its campaigns' claims."""

    def __init__(self, store: ClaimStore, operations: Operations, *, clock: Clock) -> None:
        self._store = store
        self._operations = operations
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    async def apply(self, wanted: WantedClaim, *, organization_id: str, actor: str) -> Operation:
        """Keep a claim and let it hold, over history too; return the work on history, which may have begun before.

        Raise FailedPreconditionError while other work changes the organisation's reading, UnavailableError.
        """
        claim = wanted.claim
        async with self._one_at_a_time:
            before = await self._operations.last_of_claim(organization_id, claim.campaign_id, claim.version)
            if before is not None and before.state not in (State.FAILED, State.CANCELLED):
                return before
            await self._operations.check_free(organization_id)
            now = self._clock.now()
            made = MadeClaim(organization_id, claim, actor, now.replace(microsecond=now.microsecond // 1000 * 1000))
            await self._store.add(made, wanted.definition)
            _log.info("a campaign claims traffic", campaign_id=claim.campaign_id, version=claim.version)
            return await self._start(organization_id, claim.campaign_id, claim.version, actor, is_new_claim=True)

    async def activate(self, campaign_id: str, version: int, *, organization_id: str, actor: str) -> Operation:
        """Let a version hold that was applied before, 0 for none; return the work on history.

        Raise NotFoundError, FailedPreconditionError, UnavailableError.
        """
        async with self._one_at_a_time:
            # Before anything else: a version that is being applied is not activated yet, and is no missing one.
            await self._operations.check_free(organization_id)
            if not await self._store.was_activated(organization_id, campaign_id, version or None):
                raise no_such_claim(campaign_id, version)
            _log.info("another version of a claim holds", campaign_id=campaign_id, version=version)
            return await self._start(organization_id, campaign_id, version, actor, is_new_claim=False)

    async def cancel(self, operation_id: str, *, organization_id: str) -> Operation:
        """Stop the operation of a claim. Raise NotFoundError, FailedPreconditionError (over), UnavailableError."""
        found = await self._operations.get(operation_id, organization_id=organization_id)
        if found.kind is not Kind.CLAIM:
            raise NotFoundError(f"no operation of a claim {shown(operation_id)}")
        return await self._operations.cancel_claim(operation_id)

    async def _start(
        self, organization_id: str, campaign_id: str, version: int, actor: str, *, is_new_claim: bool
    ) -> Operation:
        previous = await self._store.active_version(organization_id, campaign_id)
        return await self._operations.start_claim(
            organization_id, campaign_id, version, previous_version=previous, is_new_claim=is_new_claim, actor=actor
        )


class ClaimWork:
    """Lets another version of a claim hold, over history: the engine of claims' operations. One at a time.

    First, month by month and beside everything else, which events the version may have; then, while nobody writes,
    which came meanwhile; then the version holds; then those events go to whoever has them now. Whatever ends the
    process, the work goes on from there; whatever was half changed is put in order before.
    """

    def __init__(
        self,
        store: ClaimStore,
        in_force: ClaimsInForce,
        history: ClaimHistory,
        reading: ReadingMonths,
        journal: Journal,
        *,
        writing: Callable[[], AbstractAsyncContextManager[None]],
        clock: Clock,
    ) -> None:
        self._store = store
        self._in_force = in_force
        self._history = history
        self._reading = reading
        self._journal = journal
        self._writing = writing
        self._clock = clock

    async def run(self, operation_id: str) -> None:
        """Do an operation from where it stands, until it is done or taken back. Can be done again after a failure."""
        operation = await self._journal.read(operation_id)
        if operation.state is not State.CANCELLING:
            operation = await self._forward(operation)
        if operation.state is State.CANCELLING:
            await self._take_back(operation)

    async def _forward(self, operation: Operation) -> Operation:
        """Return the operation done, or where it is to be taken back."""
        made = await self._made(operation, operation.claim_version)
        if await self._version(operation) != operation.claim_version:
            mark = await self._history.mark()
            if operation.done_months:
                # What came between the months that a process before looked at and now is not known.
                mark = 0
            if made is not None and operation.is_new_claim:
                operation = await self._assign(operation, made.claim)
                if operation.state is State.CANCELLING:
                    return operation
            async with self._writing():
                if made is not None and operation.is_new_claim:
                    holding = await self._holding(operation)
                    await self._history.assign(operation.organization_id, made.claim, holding, after_mark=mark)
                await uninterrupted(self._activate(operation, made))
        count = await self._move(operation)
        now = self._now()
        return await self._journal.update(operation.operation_id, lambda found: _done(found, count, now))

    async def _assign(self, operation: Operation, claim: Claim) -> Operation:
        if not operation.is_planned:
            months = await self._reading.months(operation.organization_id)
            chosen = months_of(claim, months)
            operation = await self._journal.update(
                operation.operation_id, lambda found: replace(found, is_planned=True, total_months=chosen)
            )
        if not operation.done_months:
            # Of an earlier try.
            await self._history.forget(operation.organization_id, claim.campaign_id, claim.version)
        holding = await self._holding(operation)
        for month in operation.months_left():
            count = await self._history.assign(operation.organization_id, claim, holding, month=month)
            with_month = functools.partial(_with_month, month=month, count=count)
            operation = await self._journal.update(operation.operation_id, with_month)
            if operation.state is State.CANCELLING:
                break
        return operation

    async def _activate(self, operation: Operation, made: MadeClaim | None) -> None:
        self._in_force.forget()
        await self._store.activate(
            operation.organization_id, operation.campaign_id, made, actor=operation.actor, now=self._now()
        )
        await self._in_force.refresh()

    async def _move(self, operation: Operation) -> int:
        """Give the events of both versions to whoever has them now, a part of them at a time."""
        organization_id, campaign_id = operation.organization_id, operation.campaign_id
        versions = sorted({operation.claim_version, operation.previous_version} - {0})
        count = 0
        for span in await self._history.spans(organization_id, campaign_id, versions):
            async with self._writing():
                count += await uninterrupted(self._history.move(organization_id, campaign_id, versions, span))
            self._journal.tell(operation.operation_id, count)
        return count

    async def _take_back(self, operation: Operation) -> None:
        """Let the version that held before hold again."""
        version, previous = operation.claim_version, operation.previous_version
        made = await self._made(operation, previous)
        if previous != version and await self._version(operation) == version:
            async with self._writing():
                await uninterrupted(self._activate(operation, made))
        await self._move(operation)
        if version and not await self._was_applied(operation):
            await self._history.forget(operation.organization_id, operation.campaign_id, version)
        await self._journal.update(
            operation.operation_id, lambda found: replace(found, state=State.CANCELLED, end_time=self._now())
        )

    def _now(self) -> datetime:
        now = self._clock.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    async def _holding(self, operation: Operation) -> Sequence[MadeClaim]:
        return (await self._in_force.current()).get(operation.organization_id, ())

    async def _version(self, operation: Operation) -> int:
        return await self._store.active_version(operation.organization_id, operation.campaign_id)

    async def _was_applied(self, operation: Operation) -> bool:
        return await self._store.was_activated(
            operation.organization_id, operation.campaign_id, operation.claim_version
        )

    async def _made(self, operation: Operation, version: int) -> MadeClaim | None:
        if not version:
            return None
        made = await self._store.get(operation.organization_id, operation.campaign_id, version)
        if made is None:
            raise no_such_claim(operation.campaign_id, version)
        return made


def months_of(claim: Claim, months: Collection[date]) -> tuple[date, ...]:
    """Return those months, rising, that may have events of a claim."""
    chosen = set(months_within(months, claim.start_time, claim.end_time))
    if claim.forward_start_time is not None:
        chosen |= {month for month in months if month >= month_of(claim.forward_start_time)}
    return tuple(sorted(chosen))


def _with_month(operation: Operation, month: date, count: int) -> Operation:
    return replace(
        operation, done_months=(*operation.done_months, month), total_events=max(operation.total_events, count)
    )


def _done(operation: Operation, count: int, now: datetime) -> Operation:
    """Return it done, unless somebody wants it taken back by now."""
    if operation.state is State.CANCELLING:
        return operation
    return replace(
        operation,
        state=State.SUCCEEDED,
        end_time=now,
        is_planned=True,
        done_months=operation.total_months,
        done_events=count,
        total_events=max(operation.total_events, count),
    )
