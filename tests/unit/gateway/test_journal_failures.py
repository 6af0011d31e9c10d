"""Disks that fill up, fail or hang, and the bounds of memory and disk."""

import asyncio
import errno
from pathlib import Path

import pytest

from ingress_gateway.journal.limits import JournalLimits
from ingress_gateway.journal.waiting import FutureWaiter, JournalFullError
from tests.unit.gateway.disks import FakeDisk, Faults, Operation
from tests.unit.gateway.journals import (
    QUICK,
    SMALL,
    Gate,
    Heard,
    Run,
    check_kept,
    encoded,
    reopened_batches,
    sequences,
    until,
    wait_for,
)


async def _append_many(run: Run, count: int, body: bytes) -> None:
    for _ in range(count):
        run.append(body)


async def _append_each(run: Run, count: int, body: bytes) -> None:
    for _ in range(count):
        await run.append_and_wait(body)


# -- full and failing -------------------------------------------------------------------------------------------------


async def test_a_full_disk_fails_who_waits_then_refuses_and_recovers_by_itself(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)
    full = Faults(errno.ENOSPC, frozenset({"create", "append", "replace"}))
    run.disk.fault = full
    sequence = run.journal.next_sequence()
    waiter = FutureWaiter(asyncio.get_running_loop().create_future(), 1)
    run.journal.append(sequence, encoded(sequence), "org_acmecorp", waiter)
    with pytest.raises(JournalFullError) as refused:
        await waiter.future
    assert (refused.value.reason, refused.value.retry_after_seconds) == ("JOURNAL_FULL", 2.0)
    assert not run.journal.is_accepting
    with pytest.raises(JournalFullError):
        run.append(b"refused at once: the disk is not asked for each event")
    assert len(full.happened) == 1
    assert run.journal.counters.failed_event_count == 1
    assert run.journal.counters.refused_event_count == 1
    run.disk.fault = lambda _operation: None
    await asyncio.sleep(0.11)
    assert run.journal.is_accepting
    (kept,) = await run.append_and_wait(b"space is back")
    assert list(await run.batches()) == [kept]
    await run.kill()


async def test_a_segment_whose_write_failed_is_never_written_again(tmp_path: Path) -> None:
    """The kernel may have dropped its pages: a later write would be acknowledged behind a hole."""
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)
    for byte_count in (0, 20, 40, 512, 700):
        failing = Faults(kinds=frozenset({"append"}), torn_bytes=byte_count)
        run.disk.fault = failing
        await run.append_and_wait(b"x" * 900)
        run.disk.fault = lambda _operation: None
        await asyncio.sleep(0.11)
        await run.append_and_wait(b"y")
        failed = {operation.path for operation in failing.happened}
        assert len(failed) == 2
        after = run.disk.operations[run.disk.operations.index(_last(run.disk, "create")) :]
        assert not failed & {operation.path for operation in after if operation.kind == "append"}
    await run.kill()
    check_kept(await reopened_batches(tmp_path / "j", run.disk.after_power_loss()), run.acknowledged)


def _last(disk: FakeDisk, kind: str) -> Operation:
    return [operation for operation in disk.operations if operation.kind == kind][-1]


async def test_a_header_that_failed_is_not_followed_by_acknowledged_frames(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)
    run.disk.fault = Faults(kinds=frozenset({"append"}), torn_bytes=0)
    await run.append_and_wait(b"neither header is on the disk")
    run.disk.fault = lambda _operation: None
    await asyncio.sleep(0.11)
    kept = await run.append_and_wait(b"safe")
    await run.kill()
    assert sorted(await reopened_batches(tmp_path / "j", run.disk.after_power_loss())) == kept


@pytest.mark.parametrize("byte_count", [0, 1, 24, 40, 100, 511, 512, 900, 10_000])
async def test_a_write_that_fails_once_is_made_again_elsewhere_and_nobody_notices(
    tmp_path: Path, byte_count: int
) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)
    before = await run.append_and_wait(b"before")
    await run.journal.flush()
    run.disk.fault = Faults(kinds=frozenset({"append"}), times=1, torn_bytes=byte_count)
    during = await run.append_and_wait(b"d" * 900)
    after = await run.append_and_wait(b"after")
    assert run.acknowledged == [*before, *during, *after]
    assert run.journal.counters.abandoned_segment_count == 1
    shipped = await run.batches()
    await run.kill()
    assert await reopened_batches(tmp_path / "j", run.disk.after_power_loss()) == shipped


async def test_a_failed_write_that_reached_the_disk_twice_is_one_event(tmp_path: Path) -> None:
    """The sync failed, the bytes are there, and the abandoned segment cannot be cut."""
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)
    await run.append_and_wait(b"before")

    def fault(operation: Operation) -> None:
        if operation.kind == "append" and not appends:
            appends.append(operation)
            run.disk._keep(operation)
            raise OSError(errno.EIO, "the sync failed")
        if operation.kind == "truncate":
            raise OSError(errno.EIO, "it cannot be cut")

    appends: list[Operation] = []
    run.disk.fault = fault
    await run.append_and_wait(b"twice on the disk")
    shipped = await run.batches()
    await run.kill()
    check_kept(await reopened_batches(tmp_path / "j", run.disk.after_power_loss()), run.acknowledged)
    assert await reopened_batches(tmp_path / "j", run.disk.after_power_loss()) == shipped


async def test_what_failed_never_shares_a_batch_with_what_came_later(tmp_path: Path) -> None:
    """It may be on the disk all the same, and would be found in a batch that was shipped without it."""
    run = await Run.begin(tmp_path / "j", FakeDisk(), SMALL)

    def fault(operation: Operation) -> None:
        if operation.kind == "append":
            run.disk._keep(operation)
        if operation.kind in ("append", "truncate", "remove"):
            raise OSError(errno.EIO, "the sync failed")

    run.disk.fault = fault
    (failed,) = await run.append_and_wait(b"failed, but there")
    assert run.heard[failed].outcomes == [False]
    run.disk.fault = lambda _operation: None
    await asyncio.sleep(0.11)
    (kept,) = await run.append_and_wait(b"kept")
    shipped = await run.batches()
    assert list(shipped) == [kept]
    await run.kill()
    found = await reopened_batches(tmp_path / "j", run.disk.after_power_loss())
    assert found[kept] == shipped[kept]
    assert sequences(b"".join(found.values())) in ([failed, kept], [kept])


async def test_a_disk_that_fails_for_ever_costs_no_space_and_no_memory(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)
    run.disk.fault = Faults(kinds=frozenset({"append"}), torn_bytes=30)
    for _ in range(5):
        await run.append_and_wait(b"x")
        run.journal._fail_until = 0.0
    assert not run.acknowledged
    assert [path.name for path in run.disk.files if path.suffix == ".segment"] == []
    assert run.journal.disk_bytes == 0
    assert run.journal.counters.abandoned_segment_count == 10
    await run.kill()


async def test_a_file_that_could_not_be_made_nor_removed_is_not_in_the_way(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)

    def fault(operation: Operation) -> None:
        if operation.kind == "create":
            run.disk._keep(Operation("create", operation.path, offset=17))
            raise OSError(errno.ENOSPC, "the directory could not be synced")

    run.disk.fault = fault
    await run.append_and_wait(b"refused")
    run.disk.fault = lambda _operation: None
    await asyncio.sleep(0.11)
    kept = await run.append_and_wait(b"kept")
    await run.kill()
    assert list(await reopened_batches(tmp_path / "j", run.disk.after_power_loss())) == kept


async def test_the_spare_directory_takes_over_at_once_and_both_are_read_back(tmp_path: Path) -> None:
    main, spare = tmp_path / "j", tmp_path / "spare"
    run = await Run.begin(main, FakeDisk(), QUICK, spare_directory=spare)
    await run.append_and_wait(b"in the first")
    run.disk.fault = Faults(within=main)
    for number in range(10):
        await run.append_and_wait(b"in the spare" + bytes(900 * number % 2))
    assert len(run.acknowledged) == 11
    assert {path.parent for path in run.disk.files if path.suffix == ".segment"} == {main, spare}
    shipped = await run.batches()
    await run.kill()
    disk = run.disk.after_power_loss()
    assert await reopened_batches(main, disk, spare_directory=spare) == shipped


async def test_a_spare_directory_that_fails_too_is_told(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK, spare_directory=tmp_path / "spare")
    run.disk.fault = Faults()
    (sequence,) = await run.append_and_wait(b"nowhere to go")
    assert run.heard[sequence].outcomes == [False]
    run.disk.fault = Faults(within=tmp_path / "j")
    await asyncio.sleep(0.11)
    (sequence,) = await run.append_and_wait(b"the spare is back")
    assert run.heard[sequence].is_acknowledged
    await run.kill()


async def test_a_defect_in_the_writer_fails_the_waiters_and_not_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)

    def fault(_operation: Operation) -> None:
        raise MemoryError

    run.disk.fault = fault
    (sequence,) = await run.append_and_wait(b"x")
    assert run.heard[sequence].outcomes == [False]
    run.disk.fault = lambda _operation: None
    await asyncio.sleep(0.11)
    (sequence,) = await run.append_and_wait(b"y")
    assert run.heard[sequence].is_acknowledged
    await run.kill()


async def test_a_full_disk_at_the_start_is_no_obstacle(tmp_path: Path) -> None:
    """Even with a torn tail to be set aside, and a key to be saved."""
    run = await Run.begin(tmp_path / "j", FakeDisk(), SMALL)
    await run.append_and_wait(b"a")
    await run.append_and_wait(b"b" * 1000)
    await run.kill()
    files = run.disk.files
    path = next(path for path in files if path.suffix == ".segment")
    files[path] = files[path][:600]
    del files[tmp_path / "j" / "journal.key"]
    disk = FakeDisk(files)
    disk.fault = Faults(errno.ENOSPC, frozenset({"create", "append", "replace"}))
    second = await Run.begin(tmp_path / "j", disk, SMALL)
    assert second.journal.journal_id == run.journal.journal_id
    assert list(await second.batches()) == run.acknowledged[:1]
    await second.kill()


# -- the position and the segments ------------------------------------------------------------------------------------


async def _full_of_batches(directory: Path, disk: FakeDisk, limits: JournalLimits = SMALL) -> Run:
    run = await Run.begin(directory, disk, limits)
    for _ in range(20):
        await run.append_and_wait(b"x" * 900)
        await run.journal.flush()
    return run


async def test_a_checkpoint_removes_settled_segments_only_and_saves_the_position_first(tmp_path: Path) -> None:
    run = await _full_of_batches(tmp_path / "j", FakeDisk())
    batches = await run.batches()
    segments = {path for path in run.disk.files if path.suffix == ".segment"}
    numbers = sorted(batches)
    done = len(run.disk.operations)
    run.journal.backlog.acknowledge(numbers[9])
    await run.journal.checkpoint()
    first, *others = run.disk.operations[done:]
    assert (first.kind, first.path.name) == ("replace", "position")
    assert {operation.kind for operation in others} == {"remove"}
    left = {path for path in run.disk.files if path.suffix == ".segment"}
    assert left < segments
    assert await run.batches() == {number: batches[number] for number in numbers[10:]}
    assert run.journal.disk_bytes == 4096 * len(left)
    await run.kill()
    assert sorted(await reopened_batches(tmp_path / "j", FakeDisk(run.disk.files))) == numbers[10:]


async def test_a_segment_is_kept_while_the_open_batch_has_frames_in_it(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), SMALL)
    await run.append_and_wait(b"first batch")
    (first,) = await run.batches()
    await run.append_and_wait(b"the open batch begins here")
    for _ in range(6):
        await run.append_and_wait(b"x" * 900)
    run.journal.backlog.acknowledge(first)
    await run.journal.checkpoint()
    await run.kill()
    check_kept(await reopened_batches(tmp_path / "j", FakeDisk(run.disk.files)), run.acknowledged, first)


async def test_an_interrupted_checkpoint_goes_on_at_the_next_one(tmp_path: Path) -> None:
    run = await _full_of_batches(tmp_path / "j", FakeDisk())
    run.journal.backlog.acknowledge(max(await run.batches()))
    run.disk.fault = Faults(kinds=frozenset({"remove"}))
    with pytest.raises(OSError, match="fault"):
        await run.journal.checkpoint()
    run.disk.fault = lambda _operation: None
    await run.journal.checkpoint()
    assert len([path for path in run.disk.files if path.suffix == ".segment"]) == 1, "the current one"
    await run.kill()


async def test_a_journal_that_filled_the_disk_makes_its_own_room(tmp_path: Path) -> None:
    """There is no block left for the position file: without help nothing would ever be removed."""
    run = await _full_of_batches(tmp_path / "j", FakeDisk())
    run.journal.backlog.acknowledge(max(await run.batches()))
    removed: list[Operation] = []

    def fault(operation: Operation) -> None:
        if operation.kind == "remove":
            removed.append(operation)
        elif not removed:
            raise OSError(errno.ENOSPC, "no space left on device")

    run.disk.fault = fault
    await run.journal.checkpoint()
    await run.append_and_wait(b"kept")
    assert len(run.acknowledged) == 21
    await run.kill()


async def test_a_journal_is_closed_on_a_full_disk_too(tmp_path: Path) -> None:
    run = await _full_of_batches(tmp_path / "j", FakeDisk())
    run.disk.fault = Faults(errno.ENOSPC, frozenset({"create", "append", "replace"}))
    await run.journal.close()
    assert len(await reopened_batches(tmp_path / "j", FakeDisk(run.disk.files))) == 20


async def test_the_bound_of_the_disk_holds_and_ends_with_the_backlog(tmp_path: Path) -> None:
    limits = JournalLimits(segment_bytes=4096, disk_bytes_limit=5 * 4096, batch_seconds=60.0)
    run = await Run.begin(tmp_path / "j", FakeDisk(), limits)
    with pytest.raises(JournalFullError, match="the limit is 20480"):
        await _append_each(run, 100, b"x" * 900)
    assert not run.journal.is_accepting
    on_disk = sum(len(data) for path, data in run.disk.files.items() if path.suffix == ".segment")
    assert on_disk == run.journal.disk_bytes <= limits.disk_bytes_limit + limits.segment_bytes
    run.journal.backlog.acknowledge(max(await run.batches()))
    await run.journal.checkpoint()
    assert run.journal.is_accepting
    await run.append_and_wait(b"x")
    await run.kill()


async def test_a_frame_larger_than_a_segment_has_its_own_and_is_counted_as_it_is(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), SMALL)
    await run.append_and_wait(b"x" * 50_000)
    await run.append_and_wait(b"y" * 3000)
    on_disk = sum(len(data) for path, data in run.disk.files.items() if path.suffix == ".segment")
    assert run.journal.disk_bytes == on_disk > 54_000
    await run.kill()
    check_kept(await reopened_batches(tmp_path / "j", FakeDisk(run.disk.files)), run.acknowledged)


async def test_the_bound_of_memory_holds_while_the_disk_hangs(tmp_path: Path) -> None:
    limits = JournalLimits(segment_bytes=1 << 20, pending_bytes_limit=64 * 1024, batch_seconds=60.0)
    run = await Run.begin(tmp_path / "j", FakeDisk(), limits)
    gate = run.disk.fault = Gate()
    with pytest.raises(JournalFullError, match="bytes wait for the disk; the limit is 65536"):
        await _append_many(run, 1000, b"x" * 1000)
    assert 60 < len(run.heard) <= 64
    await until(gate.reached.is_set)
    gate.open()
    await wait_for(run, len(run.heard))
    assert run.journal._pending_bytes == 0
    await run.kill()


async def test_a_long_backlog_of_small_groups_takes_little_memory(tmp_path: Path) -> None:
    limits = JournalLimits(segment_bytes=1 << 20, batch_seconds=60.0)
    run = await Run.begin(tmp_path / "j", FakeDisk(), limits)
    for _ in range(500):
        await run.append_and_wait(b"x" * 100)
    (batch,) = (await run.batches(), run.journal.backlog.after(0))[1]
    assert len(batch.extents) == 1
    await run.kill()


class _Broken(Heard):
    def settled(self, is_durable: bool) -> None:
        raise RuntimeError("a defect")

    def overdue(self) -> None:
        raise RuntimeError("a defect")


async def test_a_waiter_with_a_defect_leaves_nobody_else_waiting(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)
    gate = run.disk.fault = Gate()
    first = run.append(b"1")
    for _ in range(2):
        sequence = run.journal.next_sequence()
        run.journal.append(sequence, encoded(sequence), "org_acmecorp", _Broken())
    last = run.append(b"2")
    await until(lambda: first.overdue_count and last.overdue_count)
    gate.open()
    await until(lambda: first.is_acknowledged and last.is_acknowledged)
    await run.append_and_wait(b"and on")
    await run.kill()
