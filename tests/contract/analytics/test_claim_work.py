"""The engine of claims' operations, over memory: what it does in which order, and taking it back at any point."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest

from analytics_svc.claims.claim import ActiveClaims, Claim, MadeClaim
from analytics_svc.claims.claims import ClaimRegistry, ClaimsInForce, ClaimWork, WantedClaim, months_of
from analytics_svc.operation import Kind, Operation, State
from analytics_svc.operations import Operations
from svc_runtime.clock import SystemClock
from svc_runtime.errors import FailedPreconditionError, NotFoundError, UnavailableError
from svc_runtime.paging import PageTokens
from svc_runtime.tasks import running
from tests.contract.analytics.memory_operations import MemoryOperationStore

MONTHS = [date(2026, month, 1) for month in (1, 2, 3)]
ACME, CAMPAIGN = "org_a", "cmp_1"


class MemoryClaims:
    """``ClaimStore`` in memory."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, str, int], MadeClaim] = {}
        self.activations: list[tuple[str, str, int]] = []

    async def add(self, made: MadeClaim, definition: bytes) -> None:
        """See ``ClaimStore.add``."""
        self.made[made.organization_id, made.claim.campaign_id, made.claim.version] = made

    async def get(self, organization_id: str, campaign_id: str, version: int) -> MadeClaim | None:
        """See ``ClaimStore.get``."""
        return self.made.get((organization_id, campaign_id, version))

    async def activate(
        self, organization_id: str, campaign_id: str, made: MadeClaim | None, *, actor: str, now: datetime
    ) -> None:
        """See ``ClaimStore.activate``."""
        version = made.claim.version if made else 0
        if await self.active_version(organization_id, campaign_id) != version:
            self.activations.append((organization_id, campaign_id, version))

    async def active_version(self, organization_id: str, campaign_id: str) -> int:
        """See ``ClaimStore.active_version``."""
        found = [one[2] for one in self.activations if one[:2] == (organization_id, campaign_id)]
        return found[-1] if found else 0

    async def was_activated(self, organization_id: str, campaign_id: str, version: int | None) -> bool:
        """See ``ClaimStore.was_activated``."""
        found = [one[2] for one in self.activations if one[:2] == (organization_id, campaign_id)]
        return bool(found) if version is None else version in found

    async def active(self) -> ActiveClaims:
        """See ``ClaimStore.active``."""
        holding = {one[:2]: one[2] for one in self.activations}
        found: dict[str, list[MadeClaim]] = {}
        for (organization_id, campaign_id), version in holding.items():
            if version:
                found.setdefault(organization_id, []).append(self.made[organization_id, campaign_id, version])
        return found


class MemoryHistory:
    """``ClaimHistory`` that remembers what it did; ``hook`` is called before each."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.hook: Callable[[str], None] = lambda _what: None

    def _do(self, what: str) -> None:
        self.hook(what)
        self.done.append(what)

    async def mark(self) -> int:
        """See ``ClaimHistory.mark``."""
        return 7

    async def assign(
        self,
        organization_id: str,
        claim: Claim,
        holding: Sequence[MadeClaim],
        *,
        month: date | None = None,
        after_mark: int = 0,
    ) -> int:
        """See ``ClaimHistory.assign``."""
        self._do(f"assign {month:%Y-%m}" if month else f"assign after {after_mark}")
        return 5

    async def forget(self, organization_id: str, campaign_id: str, version: int) -> None:
        """See ``ClaimHistory.forget``."""
        self._do(f"forget {version}")

    async def spans(self, organization_id: str, campaign_id: str, versions: Sequence[int]) -> Sequence[tuple[int, int]]:
        """See ``ClaimHistory.spans``."""
        return [(0, 1), (2, 3)] if versions else []

    async def move(self, organization_id: str, campaign_id: str, versions: Sequence[int], span: tuple[int, int]) -> int:
        """See ``ClaimHistory.move``."""
        self._do(f"move {list(versions)} {span[0]}")
        return 5


class ThreeMonths:
    """``ReadingMonths``."""

    async def months(self, organization_id: str) -> Collection[date]:
        """See ``ReadingMonths.months``."""
        return MONTHS


class World:
    """The engine and what it works on."""

    def __init__(self) -> None:
        self.store, self.history, self.kept = MemoryClaims(), MemoryHistory(), MemoryOperationStore()
        ids = itertools.count(1)
        self.operations = Operations(
            self.kept, PageTokens("m" * 32, "t"), clock=SystemClock(), mint_id=lambda: f"op_{next(ids)}"
        )
        self.registry = ClaimRegistry(self.store, self.operations, clock=SystemClock())
        self.in_force = ClaimsInForce(self.store)
        self.work = ClaimWork(
            self.store,
            self.in_force,
            self.history,
            ThreeMonths(),
            self.operations,
            writing=_writing,
            clock=SystemClock(),
        )

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Do operations for the time of the block."""
        async with running("claims", self.operations.run(self.work.run, (Kind.CLAIM,))):
            yield

    async def apply(self, version: int) -> Operation:
        """Begin to apply a version."""
        wanted = WantedClaim(Claim(CAMPAIGN, version), b"")
        return await self.registry.apply(wanted, organization_id=ACME, actor="key:k")

    async def over(self, operation: Operation) -> Operation:
        """Wait until an operation is over; return it."""
        async with asyncio.timeout(10):
            while not (found := self.kept.operations[operation.operation_id]).state.is_over:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return found


@contextlib.asynccontextmanager
async def _writing() -> AsyncIterator[None]:
    yield


@pytest.fixture
def world() -> World:
    return World()


async def test_a_version_is_assigned_then_holds_then_events_change_hands(world: World) -> None:
    operation = await world.apply(1)
    async with world.at_work():
        found = await world.over(operation)
    assert world.history.done == [
        "forget 1", "assign 2026-01", "assign 2026-02", "assign 2026-03", "assign after 7", "move [1] 0", "move [1] 2",
    ]  # fmt: skip
    assert (found.state, found.done_events, found.done_months) == (State.SUCCEEDED, 10, tuple(MONTHS))
    assert found.end_time is not None
    assert world.store.activations == [(ACME, CAMPAIGN, 1)]
    assert (await world.apply(1)).operation_id == operation.operation_id


async def test_only_one_operation_of_an_organisation_is_open(world: World) -> None:
    await world.apply(1)
    with pytest.raises(FailedPreconditionError):
        await world.apply(2)
    for version in (0, 1):
        # Not missing: who undoes what is being applied has to wait, and must not believe that there is nothing to undo.
        with pytest.raises(FailedPreconditionError):
            await world.registry.activate(CAMPAIGN, version, organization_id=ACME, actor="")


async def test_a_version_that_was_never_applied_cannot_hold(world: World) -> None:
    for version in (0, 1):
        with pytest.raises(NotFoundError):
            await world.registry.activate(CAMPAIGN, version, organization_id=ACME, actor="")


async def test_an_operation_is_done_though_who_asked_for_it_left_while_it_was_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, is_writing = world.kept.put, asyncio.Event()

    async def slowly(operation: Operation) -> None:
        is_writing.set()
        await asyncio.sleep(0.05)
        await put(operation)

    async with world.at_work():
        await asyncio.sleep(0)
        monkeypatch.setattr(world.kept, "put", slowly)
        asking = asyncio.create_task(world.apply(1))
        await is_writing.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        monkeypatch.undo()
        (operation,) = world.kept.operations.values()
        assert (await world.over(operation)).state is State.SUCCEEDED


async def test_cancelled_before_it_holds_nothing_was_ever_there(world: World) -> None:
    operation = await world.apply(1)
    world.history.hook = lambda what: self_cancel(world, operation, what, "assign 2026-02")
    async with world.at_work():
        found = await world.over(operation)
    assert (found.state, world.store.activations) == (State.CANCELLED, [])
    assert world.history.done[-1] == "forget 1"
    # It may be applied again.
    world.history.hook = lambda _what: None
    again = await world.apply(1)
    assert again.operation_id != operation.operation_id
    async with world.at_work():
        assert (await world.over(again)).state is State.SUCCEEDED


async def test_cancelled_while_events_change_hands_the_version_before_holds_again(world: World) -> None:
    async with world.at_work():
        await world.over(await world.apply(1))
    operation = await world.apply(2)
    world.history.hook = lambda what: self_cancel(world, operation, what, "move [1, 2] 2")
    async with world.at_work():
        found = await world.over(operation)
    assert found.state is State.CANCELLED
    assert [version for *_, version in world.store.activations] == [1, 2, 1]
    assert world.history.done[-2:] == ["move [1, 2] 0", "move [1, 2] 2"]


def self_cancel(world: World, operation: Operation, what: str, at: str) -> None:
    """Ask for the operation to be taken back, at a certain point, as a caller would at any time."""
    if what == at and world.kept.operations[operation.operation_id].state is State.RUNNING:
        kept = world.kept.operations[operation.operation_id]
        world.kept.operations[operation.operation_id] = Operation(
            **{name: getattr(kept, name) for name in Operation.__slots__ if name != "state"}, state=State.CANCELLING
        )


@pytest.mark.parametrize("at", ["forget 1", "assign 2026-02", "assign after 7", "move [1] 0", "move [1] 2"])
async def test_whatever_stops_it_the_next_one_goes_on(world: World, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analytics_svc.operations.FIRST_DELAY_SECONDS", 0.001)
    operation, stopped = await world.apply(1), [at]

    def stop(what: str) -> None:
        if stopped == [what]:
            stopped.clear()
            raise UnavailableError("made to fail")

    world.history.hook = stop
    async with world.at_work():
        found = await world.over(operation)
    assert (found.state, stopped) == (State.SUCCEEDED, [])
    assert world.store.activations == [(ACME, CAMPAIGN, 1)]
    assert world.history.done[-2:] == ["move [1] 0", "move [1] 2"]
    # What came between two tries is looked for among everything.
    assert ("assign after 0" in world.history.done) == (at in ("assign 2026-02", "assign after 7"))


async def test_a_version_that_holds_though_the_store_said_otherwise_is_laid_over_what_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_svc.operations.FIRST_DELAY_SECONDS", 0.001)
    assert await world.in_force.current() == {}
    activate = world.store.activate

    async def kept_and_lost(*arguments: Any, **more: Any) -> None:
        await activate(*arguments, **more)
        monkeypatch.setattr(world.store, "activate", activate)
        raise UnavailableError("the answer was lost")

    monkeypatch.setattr(world.store, "activate", kept_and_lost)
    operation = await world.apply(1)
    async with world.at_work():
        assert (await world.over(operation)).state is State.SUCCEEDED
    assert [made.claim.version for made in (await world.in_force.current())[ACME]] == [1]


def test_months_are_those_of_the_range_and_what_comes_later() -> None:
    march, later = datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 2, 20, tzinfo=UTC)
    assert months_of(Claim("c", 1), MONTHS) == tuple(MONTHS)
    assert months_of(Claim("c", 1, start_time=march), MONTHS) == (MONTHS[2],)
    before = Claim("c", 1, end_time=datetime(2026, 2, 1, tzinfo=UTC))
    assert months_of(before, MONTHS) == (MONTHS[0],)
    forward = Claim("c", 1, end_time=datetime(2026, 2, 1, tzinfo=UTC), forward_start_time=later)
    assert months_of(forward, MONTHS) == tuple(MONTHS)
