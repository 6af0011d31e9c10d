"""Exactly once: whatever fails, wherever the process dies, however the feed is cut when it is read again."""

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture_svc import mirror as mirroring
from capture_svc.mirror import Mirror
from capture_svc.mirror import state as mirror_state
from capture_svc.mirror.settings import BigQuerySettings
from capture_svc.mirror.state import Key
from capture_svc.mirror.state_store import MirrorTakenError
from capture_svc.mirror.warehouse import JobOutcome, JobResult, WarehouseUnavailableError
from tests.unit.mirror.fakes import (
    SETTINGS,
    Crash,
    MemoryFeed,
    MemoryStateStore,
    MemoryWarehouse,
    Trouble,
    TurnedClock,
)

MOST_STEPS = 2_000


class World:
    """A feed, a store and a warehouse that outlive the mirrors that run on them."""

    def __init__(self, trouble: Trouble | None = None, *, bad: Callable[[Key], bool] = lambda _: False) -> None:
        trouble = trouble or Trouble()
        self.feed = MemoryFeed(trouble)
        self.states = MemoryStateStore(trouble)
        self.warehouse = MemoryWarehouse(trouble, bad=bad)

    def mirror(self, settings: BigQuerySettings = SETTINGS) -> Mirror:
        """Start a process."""
        return Mirror(lambda: self.feed, self.states, self.warehouse, settings, clock=TurnedClock())

    def is_caught_up(self) -> bool:
        """Say whether the cursor is at the end of the feed."""
        state = self.states.newest()
        return state.batch is None and state.settled_count == len(self.feed.keys)

    async def run(self, *, on_crash: Callable[[], None] = lambda: None, settings: BigQuerySettings = SETTINGS) -> None:
        """Mirror to the end of the feed, starting again after every crash and every failure."""
        mirror = self.mirror(settings)
        for _ in range(MOST_STEPS):
            try:
                if self.is_caught_up():
                    return
                await mirror.step()
            except WarehouseUnavailableError:
                mirror.forget()
            except Crash:
                on_crash()
                mirror = self.mirror(settings)
        raise AssertionError(f"not done after {MOST_STEPS} steps")

    def check(self, *, refused: set[Key] | None = None) -> None:
        """Every event is in the table once, or set aside, and none is in both."""
        assert max(Counter(self.warehouse.table).values(), default=1) == 1, "an event is in the table twice"
        assert set(self.states.aside) == (refused or set())
        assert set(self.warehouse.table) == self.feed.keys - (refused or set())


def _filled(world: World) -> World:
    world.feed.append("a", 70)
    world.feed.append("b", 45)
    world.feed.append("c", 5)
    return world


async def test_every_event_reaches_the_table_once() -> None:
    world = _filled(World())
    await world.run()
    world.check()
    assert len(world.warehouse.jobs) == 3  # 120 events, 50 to a job


async def test_what_comes_later_follows() -> None:
    world = _filled(World())
    await world.run()
    world.feed.append("a", 3)
    world.feed.append("new", 1)
    await world.run()
    world.check()


def _bad(key: Key) -> bool:
    return key in {("a", 2), ("b", 9)}


@pytest.mark.parametrize(("bad", "points"), [(lambda _: False, 15), (_bad, 60)], ids=["good rows", "bad rows"])
async def test_a_crash_at_any_point_changes_nothing(bad: Callable[[Key], bool], points: int) -> None:
    for point in itertools.count(1):
        trouble = Trouble([point])
        world = World(trouble, bad=bad)
        world.feed.append("a", 12)
        world.feed.append("b", 9)

        def more_came(feed: MemoryFeed = world.feed) -> None:
            # After the restart every page is cut otherwise than before.
            feed.append("a", 13)
            feed.append("b", 2)
            feed.append("between", 4)

        await world.run(on_crash=more_came, settings=SETTINGS.model_copy(update={"max_rows": 11}))
        world.check(refused={key for key in world.feed.keys if bad(key)})
        if not trouble.crashes:
            assert point > points
            return


@settings(max_examples=150, deadline=None)
@given(
    counts=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    bad=st.sets(st.tuples(st.sampled_from(["j0", "j1", "j2", "late"]), st.integers(1, 70)), max_size=8),
    crashes=st.sets(st.integers(1, 200), max_size=12),
    barren_pages=st.integers(0, 2),
    failures=st.sets(st.integers(1, 12), max_size=4),
    max_rows=st.integers(1, 80),
)
def test_any_mixture_of_crashes_failures_and_bad_rows_ends_exactly_once(
    counts: list[int], bad: set[Key], crashes: set[int], barren_pages: int, failures: set[int], max_rows: int
) -> None:
    world = World(Trouble(sorted(crashes)), bad=bad.__contains__)
    world.feed.barren_pages = barren_pages
    for number, count in enumerate(counts):
        world.feed.append(f"j{number}", count)
    jobs = iter(range(1, 10_000))

    def fate(_job_id: str) -> JobResult | None:
        return JobResult(JobOutcome.FAILED, reason="backendError") if next(jobs) in failures else None

    world.warehouse.fate = fate
    asyncio.run(
        world.run(
            on_crash=lambda: world.feed.append("late", 3),
            settings=SETTINGS.model_copy(update={"max_rows": max_rows}),
        )
    )
    world.check(refused=bad & world.feed.keys)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 4)), max_size=60), st.randoms())
def test_replicas_that_mirror_at_the_same_time_are_one_mirror(schedule: list[tuple[int, bool, int]], random) -> None:  # type: ignore[no-untyped-def]  # hypothesis has no type for its random
    """Steps of three replicas, interleaved within a step wherever they wait for something."""
    world = _filled(World())

    async def one_step(mirror: Mirror) -> None:
        try:
            await mirror.step()
        except (MirrorTakenError, WarehouseUnavailableError):
            mirror.forget()

    async def play() -> None:
        mirrors = [world.mirror(), world.mirror(), world.mirror()]
        for who, together, more in schedule:
            world.feed.append("a", more)
            chosen = mirrors if together else [mirrors[who]]
            random.shuffle(chosen)
            await asyncio.gather(*map(one_step, list(chosen)))
        await world.run()

    asyncio.run(play())
    world.check()


async def test_a_job_whose_answer_was_lost_is_looked_at_and_not_sent_again() -> None:
    world = _filled(World())
    mirror = world.mirror()
    await mirror.step()  # the intent
    batch = world.states.newest().batch
    assert batch is not None
    job_id = batch.job_id(SETTINGS.name, mirror_state.Part())
    await world.mirror().step()
    assert world.warehouse.sent == [job_id]
    world.states.states.pop()  # the process died before it could note the end
    await world.mirror().step()
    assert world.warehouse.sent == [job_id]
    await world.run()
    world.check()


async def test_a_transient_failure_is_noted_before_the_next_attempt_is_made() -> None:
    world = _filled(World())
    world.warehouse.fate = lambda job_id: (
        JobResult(JobOutcome.FAILED, reason="backendError") if job_id.endswith("_1") else None
    )
    mirror = world.mirror()
    await mirror.step()
    with pytest.raises(WarehouseUnavailableError, match="backendError"):
        await mirror.step()
    state = world.states.newest()
    assert state.batch is not None
    assert state.batch.parts[0].attempt == 2
    await world.run()
    world.check()
    assert {job_id.rpartition("_")[2] for job_id in world.warehouse.sent} == {"1", "2"}


async def test_an_upload_that_failed_is_sent_again_without_reading_the_feed_again() -> None:
    world = _filled(World(Trouble()))
    mirror = world.mirror()
    await mirror.step()
    reads = world.feed.reads
    with pytest.MonkeyPatch.context() as down:
        down.setattr(world.warehouse, "load", _unavailable)
        for _ in range(3):
            with pytest.raises(WarehouseUnavailableError):
                await mirror.step()
            mirror.forget()
    await mirror.step()
    assert world.feed.reads == reads
    await world.run()
    world.check()


async def _unavailable(_job_id: str, _content: bytes) -> JobResult:
    raise WarehouseUnavailableError("down")


async def test_a_table_that_takes_nothing_stops_the_mirror_and_sets_nothing_aside() -> None:
    world = _filled(World())
    world.warehouse.is_table_right = False
    mirror = world.mirror()
    await mirror.step()
    for _ in range(3):
        with pytest.raises(WarehouseUnavailableError, match="no rows at all"):
            await mirror.step()
        mirror.forget()
    assert not world.states.aside
    world.warehouse.is_table_right = True
    await world.run()
    world.check()


async def test_rows_that_are_all_refused_are_held_innocent_until_the_cause_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirror_state, "MOST_REFUSED_JOBS", 8)
    monkeypatch.setattr(mirror_state, "PROBE_JOBS", 8)
    world = _filled(World(bad=lambda _: True))
    mirror = world.mirror()
    given_up: list[str] = []
    for _ in range(100):
        try:
            await mirror.step()
        except WarehouseUnavailableError as error:
            given_up.append(error.message)
            mirror.forget()
    assert len(given_up) >= 2
    assert set(given_up) == {"the table takes none of the rows: invalid"}
    assert not world.states.aside
    assert world.states.newest().settled_count == 0
    world.warehouse.bad = lambda _: False
    await world.run()
    world.check()


async def test_more_bad_rows_than_can_be_searched_cost_their_neighbours_but_stop_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirror_state, "MOST_REFUSED_JOBS", 8)
    monkeypatch.setattr(mirror_state, "PROBE_JOBS", 8)
    world = _filled(World(bad=lambda key: key[1] % 4 == 0))
    bad = {key for key in world.feed.keys if world.warehouse.bad(key)}
    await world.run()
    aside = set(world.states.aside)
    assert aside >= bad
    assert max(Counter(world.warehouse.table).values()) == 1
    assert set(world.warehouse.table) == world.feed.keys - aside
    assert world.warehouse.table, "the good rows that were found are there"
    world.feed.append("a", 1)
    await world.run()


async def test_one_bad_row_costs_one_row_and_a_few_jobs() -> None:
    world = World(bad=lambda key: key == ("a", 777))
    world.feed.append("a", 1_000)
    world.feed.journals["a"] = list(range(1, 1_001))
    await world.run(settings=SETTINGS.model_copy(update={"max_rows": 1_000}))
    world.check(refused={("a", 777)})
    assert world.states.aside == {("a", 777): "invalid"}
    assert len(world.warehouse.jobs) <= 2 * 10 + 1


async def test_events_that_are_gone_when_a_batch_is_read_again_do_not_stop_the_mirror() -> None:
    """Erasure: what is no longer stored is not mirrored either."""
    world = _filled(World())
    await world.mirror().step()
    world.feed.journals["a"].remove(world.feed.journals["a"][49])
    world.feed.journals["a"].pop(0)
    mirror = world.mirror()
    while world.states.newest().batch:
        await mirror.step()
    for _ in range(6):
        await mirror.step()
    world.check()


async def test_a_batch_ends_at_its_byte_limit() -> None:
    world = World()
    world.feed.append("a", 5_000)
    await world.run(settings=SETTINGS.model_copy(update={"max_rows": 100_000, "max_bytes": 200_000}))
    world.check()
    # A page of the feed is the grain: the first one has 1,000 events.
    assert len(world.warehouse.jobs) > 1
    assert max(len(keys) for keys, _ in world.warehouse.jobs.values()) < 5_000


async def test_the_mirror_waits_between_batches_only_while_it_keeps_up(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    world = World()
    world.feed.append("a", 120)
    mirror = world.mirror(SETTINGS.model_copy(update={"max_seconds": 60.0}))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    for _ in range(6):
        await mirror.step()
    assert [round(seconds, -1) for seconds in slept] == [0, 0, 0]  # 50, 50, 20 events: behind all the way
    world.feed.append("a", 1)
    await mirror.step()
    assert slept[-1] == pytest.approx(60, abs=5)


async def test_follow_goes_on_after_any_failure_with_growing_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = _filled(World())
    waits: list[float] = []
    sleep = asyncio.sleep

    async def record(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    broken = iter([RuntimeError("a defect"), *[WarehouseUnavailableError("down")] * 12])
    original = world.warehouse.prepare

    async def prepare() -> None:
        error = next(broken, None)
        if error:
            raise error
        await original()

    monkeypatch.setattr(world.warehouse, "prepare", prepare)
    monkeypatch.setattr(mirroring, "_jittered", lambda seconds: seconds)
    monkeypatch.setattr(asyncio, "sleep", record)
    with caplog.at_level(logging.CRITICAL):
        task = asyncio.create_task(mirroring.follow(lambda: world.feed, world.states, world.warehouse, SETTINGS))
        while not world.is_caught_up():
            await sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    world.check()
    failures = [seconds for seconds in waits if 0 < seconds != mirroring.REPORT_SECONDS]
    assert failures[:13] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]


async def test_a_replica_that_finds_another_at_work_stands_by(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _filled(World())
    waits: list[float] = []
    sleep = asyncio.sleep

    async def record(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    async def taken(_state: mirror_state.MirrorState) -> None:
        raise MirrorTakenError

    monkeypatch.setattr(world.states, "write", taken)
    monkeypatch.setattr(mirroring, "_jittered", lambda seconds: seconds)
    monkeypatch.setattr(asyncio, "sleep", record)
    task = asyncio.create_task(
        mirroring.follow(
            lambda: world.feed, world.states, world.warehouse, SETTINGS.model_copy(update={"max_seconds": 60.0})
        )
    )
    while 120 not in waits:
        await sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not world.warehouse.sent


async def test_the_backlog_is_told_in_events_and_seconds_also_while_bigquery_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = _filled(World())
    world.states.event_count = len(world.feed.keys)
    told: dict[str, list[float]] = {"events": [], "seconds": []}
    monkeypatch.setattr(mirroring, "REPORT_SECONDS", 0.001)
    monkeypatch.setattr(mirroring.metrics.backlog_events, "set", told["events"].append)
    monkeypatch.setattr(mirroring.metrics.backlog_seconds, "set", told["seconds"].append)
    mirror = world.mirror()
    for _ in range(2):
        await mirror.step()  # one batch of 50, loaded
    report = asyncio.create_task(mirror.report_backlog())
    with pytest.MonkeyPatch.context() as down:
        down.setattr(world.warehouse, "load", _unavailable)
        await mirror.step()
        with pytest.raises(WarehouseUnavailableError):
            await mirror.step()
        await asyncio.sleep(0.05)
    assert set(told["events"]) == {70}
    assert sorted(told["seconds"]) == told["seconds"]
    assert told["seconds"][0] >= 3600  # the feed's watermark is an hour old, and stays so
    await world.run()
    mirror.forget()
    await mirror.step()
    await asyncio.sleep(0.05)
    report.cancel()
    assert told["events"][-1] == 0
