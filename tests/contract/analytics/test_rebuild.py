"""Operations and the engine that makes months again, over things in memory."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import pytest

from analytics_svc import operations as module
from analytics_svc import rebuild
from analytics_svc.mappings.mapping import Span
from analytics_svc.mappings.mappings import MappingChange
from analytics_svc.operation import Operation, State, months_within
from analytics_svc.rebuild import MINUTE, MOST_SPANS, Rederivation, spans_of
from svc_runtime.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from tests.contract.analytics.memory_operations import MemoryMaker, event_of
from tests.contract.analytics.operation_world import MONTHS, START, World, make_world


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY_SECONDS", 0.001)
    monkeypatch.setattr(module, "LONGEST_DELAY_SECONDS", 0.002)
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.001)


@pytest.fixture(params=[1, 2, 3], ids="{} at a time".format)
def world(request: pytest.FixtureRequest) -> World:
    """Return a world with some makers."""
    return make_world(maker_count=request.param)


async def test_everything_is_made_again_month_by_month(world: World) -> None:
    async with world.at_work():
        operation = await world.over(await world.operations.start_rebuild("", actor="operator"))
    assert operation.state is State.SUCCEEDED
    assert operation.total_months == operation.done_months == MONTHS
    assert operation.total_events == operation.done_events == 50
    assert world.versions() == {("org_a", 2), ("org_b", 2)}
    assert world.reading.visible.keys() == {event.number for event in world.raw.events}


async def test_one_organisation_leaves_the_others(world: World) -> None:
    async with world.at_work():
        operation = await world.over(await world.operations.start_rebuild("org_a", actor="operator"))
    assert operation.done_events == 25
    assert world.versions() == {("org_a", 2), ("org_b", 1)}


async def test_a_mapping_makes_the_months_of_its_span_again(world: World) -> None:
    span = Span(datetime(2026, 2, 10, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    activated: list[str] = []

    async def activate() -> None:
        activated.extend(world.store.operations)

    async with world.at_work():
        change = MappingChange("org_a", "map_1", 3, "key:k", span)
        operation = await world.over(await world.operations.change(change, activate))
    assert activated == [operation.operation_id], "it is written down before the mapping holds"
    assert operation.done_months == (date(2026, 2, 1),)
    assert (operation.mapping_id, operation.mapping_version, operation.actor) == ("map_1", 3, "key:k")


async def test_what_is_gone_from_raw_goes_from_the_reading(world: World) -> None:
    world.raw.events = [event for event in world.raw.events if event.time.month != 3]
    async with world.at_work():
        operation = await world.over(await world.operations.start_rebuild("", actor="operator"))
    assert operation.done_months == MONTHS
    assert world.reading.visible.keys() == {event.number for event in world.raw.events}


async def test_what_arrives_meanwhile_is_there_once(world: World) -> None:
    numbers = itertools.count(1000)
    times = itertools.cycle([event.time for event in world.raw.events])

    def follow(_name: str) -> None:
        if not world.reading.lock.locked():
            for _ in range(7):
                event = event_of(next(numbers), "org_b", next(times) + timedelta(seconds=7))
                world.raw.events.append(event)
                world.reading.follow(event)

    for maker in world.makers:
        maker.meanwhile = follow
    async with world.at_work():
        operation = await world.over(await world.operations.start_rebuild("", actor="operator"))
    assert operation.state is State.SUCCEEDED
    assert world.reading.visible.keys() == {event.number for event in world.raw.events}
    assert "add" in {name for maker in world.makers for name in maker.called}, "otherwise nothing was tried"


@pytest.mark.parametrize("step", ["begin", "derive", "settle", "missing", "switch"])
async def test_a_store_that_fails_is_tried_again_from_the_month_that_is_not_done(world: World, step: str) -> None:
    for maker in world.makers:
        maker.fails[step] = 2
    async with world.at_work():
        operation = await world.over(await world.operations.start_rebuild("", actor="operator"))
    assert operation.state is State.SUCCEEDED
    assert operation.done_months == MONTHS
    assert operation.done_events == 50
    assert world.versions() == {("org_a", 2), ("org_b", 2)}


async def test_another_process_goes_on_where_the_first_one_was_killed() -> None:
    first = make_world()
    for maker in first.makers:
        maker.fails["switch"] = 0
    async with first.at_work():
        operation = await first.operations.start_rebuild("", actor="operator")
        async with asyncio.timeout(10):
            while not first.store.operations[operation.operation_id].done_months:  # noqa: ASYNC110
                await asyncio.sleep(0)
    done = first.store.operations[operation.operation_id].done_months
    assert 0 < len(done) < 4
    second = make_world(first.store)
    second.reading.visible = dict(first.reading.visible)
    async with second.at_work():
        operation = await second.over(operation)
    assert operation.done_months == MONTHS
    assert operation.done_events == 50
    begun = {start.month for _, start, _ in second.raw.pages_read}
    assert begun.isdisjoint({month.month for month in done}), "what is done is not done again"
    assert second.versions() == {("org_a", 2), ("org_b", 2)}


async def test_a_cancelled_rebuild_stops_after_its_month(world: World) -> None:
    world.raw.gate = asyncio.Event()
    async with world.at_work():
        operation = await world.operations.start_rebuild("", actor="operator")
        async with asyncio.timeout(10):
            while not world.raw.pages_read:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert (await world.operations.cancel(operation.operation_id)).state is State.CANCELLING
        world.raw.gate.set()
        operation = await world.over(operation)
    assert operation.state is State.CANCELLED
    assert operation.end_time is not None
    assert len(operation.done_months) < 4
    resettled = [month for maker in world.makers for month in maker.resettled]
    assert resettled == (list(operation.months_left()) if operation.done_months else [])
    assert world.reading.visible.keys() == {event.number for event in world.raw.events}
    with pytest.raises(FailedPreconditionError, match="is over"):
        await world.operations.cancel(operation.operation_id)


async def test_only_one_operation_concerns_an_organisation_and_those_of_others_wait(world: World) -> None:
    async def activate() -> None:
        pass

    def change(organization_id: str) -> MappingChange:
        return MappingChange(organization_id, "map_1", 1, "key:k", Span(None, None))

    mine = await world.operations.change(change("org_a"), activate)
    other = await world.operations.change(change("org_b"), activate)
    with pytest.raises(FailedPreconditionError, match=mine.operation_id):
        await world.operations.check_free("org_a")
    with pytest.raises(FailedPreconditionError, match=mine.operation_id):
        await world.operations.start_rebuild("", actor="operator")
    async with world.at_work():
        assert (await world.over(mine)).state is State.SUCCEEDED
        assert (await world.over(other)).state is State.SUCCEEDED
    rebuild_ = await world.operations.start_rebuild("", actor="operator")
    with pytest.raises(FailedPreconditionError) as refused:
        await world.operations.change(change("org_a"), activate)
    assert rebuild_.operation_id not in refused.value.message


async def test_a_mapping_that_could_not_be_activated_leaves_nothing_undone(world: World) -> None:
    async def activate() -> None:
        raise UnavailableError("made to fail")

    async with world.at_work():
        with pytest.raises(UnavailableError):
            await world.operations.change(MappingChange("org_a", "m", 1, "key:k", Span(None, None)), activate)
        (operation,) = world.store.operations.values()
        assert (await world.over(operation)).state is State.SUCCEEDED


async def test_an_operation_that_fails_for_good_says_why_and_the_next_one_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    for maker in world.makers:
        maker.fails["settle"] = 10**9
    async with world.at_work():
        failed = await world.over(await world.operations.start_rebuild("", actor="operator"))
        assert (failed.state, failed.error) == (State.FAILED, "settle is made to fail")
        for maker in world.makers:
            maker.fails.clear()
        assert (await world.over(await world.operations.start_rebuild("", actor="operator"))).state is State.SUCCEEDED


@pytest.mark.parametrize("error", [UnavailableError("made to fail"), RuntimeError("made to fail")])
async def test_what_an_operation_that_fails_did_not_make_agrees_with_what_it_made(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    works = MemoryMaker.settle

    async def settle(self: MemoryMaker) -> None:
        if self._scope.month >= MONTHS[2]:
            raise error
        await works(self)

    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(MemoryMaker, "settle", settle)
    async with world.at_work():
        failed = await world.over(await world.operations.start_rebuild("", actor="operator"))
    assert (failed.state, failed.done_months) == (State.FAILED, MONTHS[:2])
    assert [month for maker in world.makers for month in maker.resettled] == list(failed.months_left())


async def test_a_fault_of_ours_is_told_without_its_text(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def settle(_self: MemoryMaker) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(MemoryMaker, "settle", settle)
    async with world.at_work():
        failed = await world.over(await world.operations.start_rebuild("", actor="operator"))
    assert failed.state is State.FAILED
    assert "secret" not in failed.error


async def test_raw_events_that_do_not_come_keep_nobody_from_writing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "LOCKED_READ_SECONDS", 0.01)
    late = event_of(999, "org_a", world.raw.events[0].time + timedelta(seconds=3))
    writing = world.reading.writing
    entered: list[bool] = []

    @contextlib.asynccontextmanager
    async def slow_while_locked() -> AsyncIterator[None]:
        async with writing():
            entered.append(True)
            if len(entered) == 1:
                world.raw.events.append(late)
                world.reading.visible[late.number] = (late, 1)
                world.raw.gate = asyncio.Event()
            yield
        if world.raw.gate is not None:
            world.raw.gate.set()

    world.engine = Rederivation(world.raw, world.makers, world.reading, world.operations, writing=slow_while_locked)
    async with world.at_work():
        operation = await world.over(await world.operations.start_rebuild("", actor="operator"))
    assert operation.state is State.SUCCEEDED
    assert len(entered) == 5, "once more than there are months"
    assert late.number in world.reading.visible


async def test_watchers_hear_of_each_change_until_it_is_over(world: World) -> None:
    async with world.at_work():
        operation = await world.operations.start_rebuild("", actor="operator")
        heard = [found async for found in world.operations.watch("")]
    assert heard[-1].state is State.SUCCEEDED
    assert {found.operation_id for found in heard} == {operation.operation_id}
    assert [found.done_events for found in heard] == sorted(found.done_events for found in heard)
    assert heard[-1].done_events == 50


async def test_lists_and_look_ups_hold_an_organisations_own_alone(world: World) -> None:
    mine = [await _finished_change(world, "org_a") for _ in range(5)]
    theirs = await _finished_change(world, "org_b")
    found: list[str] = []
    token = ""
    while True:
        page = await world.operations.list_page(organization_id="org_a", page_size=2, page_token=token)
        found += [operation.operation_id for operation in page.operations]
        token = page.next_page_token
        if not token:
            break
    assert sorted(found) == sorted(operation.operation_id for operation in mine)
    for foreign in (theirs.operation_id, "op_none"):
        with pytest.raises(NotFoundError, match=f"no operation '{foreign}'"):
            await world.operations.get(foreign, organization_id="org_a")
    with pytest.raises(NotFoundError):
        await world.operations.get_rebuild(theirs.operation_id)
    page = await world.operations.list_page(organization_id="org_a", page_size=2, page_token="")
    with pytest.raises(InvalidArgumentError):
        await world.operations.list_page(organization_id="org_b", page_size=2, page_token=page.next_page_token)


async def _finished_change(world: World, organization_id: str) -> Operation:
    async def activate() -> None:
        pass

    change = MappingChange(organization_id, "m", 1, "key:k", Span(None, None))
    async with world.at_work():
        return await world.over(await world.operations.change(change, activate))


@pytest.mark.parametrize(
    ("count", "gap"), [(0, 1), (1, 1), (5, 1), (5, 9), (MOST_SPANS, 2), (MOST_SPANS * 3, 7)], ids=str
)
def test_spans_hold_every_minute_and_are_few(count: int, gap: int) -> None:
    minutes = [START + n * gap * MINUTE for n in range(count)]
    spans = spans_of(reversed_(minutes))
    assert len(spans) <= MOST_SPANS
    assert all(any(start <= minute and minute + MINUTE <= end for start, end in spans) for minute in minutes)
    if gap > 1 and count <= MOST_SPANS:
        assert spans == [(minute, minute + MINUTE) for minute in minutes], "nothing between them is read"


def reversed_(minutes: list[datetime]) -> list[datetime]:
    """Return them the other way round."""
    return minutes[::-1]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, (1, 2, 3)),
        (datetime(2026, 2, 1, tzinfo=UTC), None, (2, 3)),
        (None, datetime(2026, 2, 1, tzinfo=UTC), (1,)),
        (datetime(2026, 1, 31, 23, 59, tzinfo=UTC), datetime(2026, 2, 1, 0, 1, tzinfo=UTC), (1, 2)),
    ],
)
def test_months_are_those_that_a_span_touches(
    start: datetime | None, end: datetime | None, expected: tuple[int, ...]
) -> None:
    months = [date(2026, month, 1) for month in (3, 1, 2)]
    assert months_within(months, start, end) == tuple(date(2026, month, 1) for month in expected)
