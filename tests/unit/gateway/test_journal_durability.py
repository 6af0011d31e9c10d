"""P1, the hard way: power is lost after every single operation of the disk, and in the midst of each."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingress_gateway.journal.journal import Journal
from ingress_gateway.journal.waiting import Waiter
from tests.unit.gateway.disks import FakeDisk, Faults, Operation, UnsyncedDisk
from tests.unit.gateway.journals import Run, check_kept, reopened_batches, sequences, waiting_batches


class EarlyJournal(Journal):
    """Broken on purpose: acknowledges before the write."""

    def append(
        self,
        sequence: int,
        event: bytes,
        organization_id: str,
        waiter: Waiter,
        *,
        is_keyed: bool = False,
        traceparent: str = "",
    ) -> None:
        super().append(sequence, event, organization_id, _Deaf(), is_keyed=is_keyed, traceparent=traceparent)
        waiter.settled(True)


class _Deaf:
    def settled(self, is_durable: bool) -> None:
        """Told already."""

    def overdue(self) -> None:
        """Never mind."""


async def _record(
    directory: Path, disk: FakeDisk, journal_class: type[Journal] = Journal
) -> tuple[Run, dict[int, bytes], list[tuple[int, int]]]:
    """Live through groups of many sizes, rotations, acknowledgements and checkpoints.

    Return the run, the batches as they were shipped, and (operations done, sequence settled) of each acknowledgement.
    """
    run = await Run.begin(directory, disk, journal_class=journal_class)
    shipped: dict[int, bytes] = {}
    settled: list[tuple[int, int]] = []
    for round_number in range(12):
        for size in (10, 600, 1500)[: 1 + round_number % 3]:
            await run.append_and_wait(*[b"b" * size] * (1 + round_number % 4))
        run.append(b"in flight while the batch is being closed")
        shipped |= await run.batches()
        if round_number % 3 == 2:
            oldest = sorted(await waiting_batches(run.journal))[:-2]
            for number in oldest:
                run.journal.backlog.acknowledge(number)
                settled.append((len(disk.operations), sequences(shipped[number])[-1]))
            await run.journal.checkpoint()
    for _ in range(5):
        run.append(b"nobody has heard of these")
    await asyncio.sleep(0)
    await run.kill()
    return run, shipped, settled


def _states(disk: FakeDisk) -> Iterator[tuple[int, FakeDisk]]:
    """Yield (operations done, disk) for every loss of power that a recorded run may meet."""
    for count in range(len(disk.operations) + 1):
        forms: list[Operation | None] = [None]
        if count < len(disk.operations):
            forms = list(disk.torn_forms(count))
        for torn in forms:
            yield count, disk.after_power_loss(count, torn=torn)
        yield count, disk.after_power_loss(count, removed_are_back=True)


async def _check_every_power_loss(
    directory: Path, disk: FakeDisk, run: Run, shipped: dict[int, bytes], settled: list[tuple[int, int]]
) -> int:
    checked = 0
    for count, state in _states(disk):
        batches = await reopened_batches(directory, state)
        acknowledged = [s for s, heard in run.heard.items() if heard.is_acknowledged and heard.operation_count <= count]
        check_kept(batches, acknowledged, max((last for done, last in settled if done <= count), default=0))
        for number, data in batches.items():
            if number in shipped and set(sequences(shipped[number])) <= set(acknowledged):
                assert data == shipped[number], "a batch that may have been shipped has other bytes now"
        checked += 1
    return checked


async def test_what_is_acknowledged_survives_a_loss_of_power_at_every_step(tmp_path: Path) -> None:
    disk = FakeDisk()
    recorded = await _record(tmp_path / "j", disk)
    assert {operation.kind for operation in disk.operations} >= {"create", "append", "replace", "remove"}
    checked = await _check_every_power_loss(tmp_path / "j", disk, *recorded)
    assert checked > 3 * len(disk.operations)


async def test_the_checker_catches_a_disk_that_skips_the_sync(tmp_path: Path) -> None:
    disk = UnsyncedDisk()
    recorded = await _record(tmp_path / "j", disk)
    with pytest.raises(AssertionError, match="acknowledged events are lost"):
        await _check_every_power_loss(tmp_path / "j", disk, *recorded)


async def test_the_checker_catches_a_journal_that_acknowledges_before_the_write(tmp_path: Path) -> None:
    disk = FakeDisk()
    recorded = await _record(tmp_path / "j", disk, EarlyJournal)
    with pytest.raises(AssertionError, match="acknowledged events are lost"):
        await _check_every_power_loss(tmp_path / "j", disk, *recorded)


async def test_the_checker_catches_a_lost_and_a_repeated_event(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk())
    first, second = await run.append_and_wait(b"1", b"2")
    batches = await run.batches()
    check_kept(batches, [first, second])
    with pytest.raises(AssertionError, match="lost"):
        check_kept(batches, [first, second, second + 1])
    with pytest.raises(AssertionError, match="twice"):
        check_kept({**batches, second + 1: batches[first]}, [first])
    await run.kill()


# -- any life ---------------------------------------------------------------------------------------------------------

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 1800), min_size=1, max_size=6)),
        st.tuples(st.just("append and leave"), st.lists(st.integers(0, 1800), min_size=1, max_size=6)),
        st.tuples(st.just("close the batch"), st.none()),
        st.tuples(st.just("settle"), st.integers(1, 4)),
        st.tuples(st.just("checkpoint"), st.none()),
        st.tuples(st.just("fail one write"), st.integers(0, 3)),
        st.tuples(st.just("lose power"), st.tuples(st.integers(0, 6), st.integers(0, 5), st.booleans())),
        st.tuples(st.just("kill"), st.none()),
        st.tuples(st.just("close and open"), st.none()),
    ),
    max_size=25,
)


class _Life:
    """Runs steps against a journal, and keeps the ledger of a client and of capture_svc."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.disk = FakeDisk()
        self.run: Run | None = None
        self.acknowledged: list[int] = []
        self.used: list[int] = []
        self.settled_last = 0
        self.settled_number = 0
        self.shipped: dict[int, bytes] = {}

    async def open(self) -> None:
        self.run = await Run.begin(self.directory, self.disk)
        # capture_svc says first how far it is: that is all it need know of us.
        self.run.journal.backlog.acknowledge(self.settled_number)
        await self.check()

    def collect(self, acknowledged: list[int]) -> None:
        assert self.run is not None
        self.acknowledged += acknowledged
        assert not self.used or not self.run.heard or min(self.run.heard) > max(self.used), "a sequence came twice"
        self.used += self.run.heard
        self.run.heard = {}

    async def check(self) -> None:
        assert self.run is not None
        batches = await self.run.batches()
        check_kept(batches, [*self.acknowledged, *self.run.acknowledged], self.settled_last)
        for number, data in batches.items():
            assert self.shipped.setdefault(number, data) == data, "a batch has other bytes than before"

    async def step(self, name: str, argument: Any) -> None:
        run = self.run
        assert run is not None
        if name == "append":
            await run.append_and_wait(*[b"x" * size for size in argument])
        elif name == "append and leave":
            for size in argument:
                run.append(b"x" * size)
        elif name == "close the batch":
            await self.check()
        elif name == "settle":
            for number, data in list((await waiting_batches(run.journal)).items())[:argument]:
                self.shipped.setdefault(number, data)
                self.settled_number, self.settled_last = number, sequences(data)[-1]
                run.journal.backlog.acknowledge(number)
        elif name == "checkpoint":
            await run.journal.checkpoint()
        elif name == "fail one write":
            await self.fail_one_write(argument)
        elif name == "lose power":
            after, form, are_back = argument
            await self.lose_power(after, form, are_back)
        elif name == "kill":
            acknowledged = run.acknowledged
            await run.kill()
            self.collect(acknowledged)
            self.disk = FakeDisk(run.disk.files)
            await self.open()
        else:
            await run.journal.close()
            self.collect(run.acknowledged)
            self.disk = FakeDisk(run.disk.files)
            await self.open()

    async def fail_one_write(self, torn_sectors: int) -> None:
        """The first write fails, half done; the second, in a new segment, succeeds: nobody notices."""
        assert self.run is not None
        await self.run.journal.flush()
        self.disk.fault = Faults(kinds=frozenset({"append"}), times=1, torn_bytes=torn_sectors * 512)
        (sequence,) = await self.run.append_and_wait(b"y" * 900)
        assert self.run.heard[sequence].is_acknowledged
        self.disk.fault = lambda _operation: None

    async def lose_power(self, after: int, form: int, are_back: bool) -> None:
        """Power goes ``after`` more operations, whatever they are."""
        assert self.run is not None
        self.run.append(b"z" * 100)
        for _ in range(after):
            await asyncio.sleep(0)
        disk = self.run.disk
        with disk._lock:
            done = len(disk.operations)
        acknowledged = self.run.acknowledged
        await self.run.kill()
        # What the writer did after the power went is not on the disk, but for one torn piece.
        torn = None
        if done < len(disk.operations):
            forms = list(disk.torn_forms(done))
            torn = forms[form % len(forms)]
        self.collect(acknowledged)
        self.disk = disk.after_power_loss(done, torn=torn, removed_are_back=are_back)
        await self.open()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=_STEPS)
def test_in_any_life_every_acknowledged_event_is_in_exactly_one_batch_of_lasting_content(
    steps: list[tuple[str, Any]],
) -> None:
    async def live() -> None:
        with tempfile.TemporaryDirectory() as directory:
            life = _Life(Path(directory) / "j")
            await life.open()
            for name, argument in steps:
                await life.step(name, argument)
            await life.check()
            assert life.run is not None
            await life.run.kill()

    asyncio.run(live())
