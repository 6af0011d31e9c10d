"""Groups behind a slow disk, their order, and what the journal says of its events."""

import asyncio
import time
from pathlib import Path

from ingress_gateway.journal.journal import Journal
from ingress_gateway.journal.limits import JournalLimits
from tests.unit.gateway.disks import FakeDisk
from tests.unit.gateway.journals import (
    QUICK,
    SMALL,
    Gate,
    Heard,
    Run,
    encoded,
    reopened_batches,
    sequences,
    until,
    wait_for,
)

# -- slow -------------------------------------------------------------------------------------------------------------


async def test_overdue_comes_at_the_budget_and_settled_still_comes(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)
    gate = run.disk.fault = Gate()
    started = time.monotonic()
    heard = run.append(b"x")
    await until(lambda: heard.overdue_count)
    assert 0.015 < time.monotonic() - started < 0.2
    assert not heard.outcomes
    gate.open()
    await heard.done.wait()
    assert (heard.outcomes, heard.overdue_count) == ([True], 1)
    await run.kill()


async def test_overdue_comes_to_everybody_who_joins_a_group_behind_a_hanging_write(tmp_path: Path) -> None:
    """A disk that hangs for seconds must not make those wait who came after the first budget was over."""
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)
    gate = run.disk.fault = Gate()
    run.append(b"in flight")
    await until(gate.reached.is_set)
    for _ in range(6):
        heard = run.append(b"waiting in the next group")
        await until(lambda heard=heard: heard.overdue_count, seconds=1)
    gate.open()
    await wait_for(run, 7)
    assert [heard.overdue_count for heard in run.heard.values()] == [1] * 7
    await run.kill()


async def test_overdue_never_comes_when_the_disk_is_quick(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)
    for _ in range(5):
        await run.append_and_wait(b"x")
    await asyncio.sleep(0.05)
    assert not any(heard.overdue_count for heard in run.heard.values())
    await run.kill()


async def test_events_that_come_while_the_disk_is_busy_form_one_group(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)
    gate = run.disk.fault = Gate()
    run.append(b"alone")
    await until(gate.reached.is_set)
    for _ in range(100):
        run.append(b"together")
    gate.open()
    await wait_for(run, 101)
    assert run.journal.counters.group_count == 2
    await run.kill()


# -- order and accounts -----------------------------------------------------------------------------------------------


async def test_the_order_of_appending_is_the_order_of_sequences_under_load(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), QUICK)

    async def client(number: int) -> None:
        for turn in range(20):
            heard = run.append(b"%d" % number * (turn * 7 % 50))
            if turn % 3:
                await heard.done.wait()
            else:
                await asyncio.sleep(0)

    await asyncio.gather(*(client(number) for number in range(50)))
    batches = await run.batches()
    assert len(run.acknowledged) == 1000
    assert [s for number in sorted(batches) for s in sequences(batches[number])] == sorted(run.heard)
    assert run.journal.counters.written_event_count == 1000
    await run.kill()
    assert await reopened_batches(tmp_path / "j", FakeDisk(run.disk.files)) == batches


async def test_pending_counts_every_organisation_until_it_is_settled(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), SMALL)
    for number in range(6):
        await run.append_and_wait(b"a")
        heard = run.append(b"b", organization_id="" if number % 2 else "org_other")
        await heard.done.wait()
        await run.journal.flush()
    assert run.journal.backlog.pending == {"org_acmecorp": 6, "org_other": 3, "": 3}
    await run.kill()
    second = await Run.begin(tmp_path / "j", FakeDisk(run.disk.files), SMALL)
    assert second.journal.backlog.pending == {"org_acmecorp": 6, "org_other": 3, "": 3}
    assert second.journal.backlog.event_count == 12
    numbers = sorted(await second.batches())
    second.journal.backlog.acknowledge(numbers[3])
    assert second.journal.backlog.pending == {"org_acmecorp": 2, "org_other": 1, "": 1}
    second.journal.backlog.acknowledge(numbers[1])
    assert second.journal.backlog.settled == numbers[3], "an acknowledgement does not go back"
    second.journal.backlog.acknowledge(numbers[-1])
    assert second.journal.backlog.pending == {}
    await second.kill()


async def test_a_batch_is_closed_at_its_age_and_at_its_size(tmp_path: Path) -> None:
    limits = JournalLimits(segment_bytes=1 << 20, batch_seconds=0.03, batch_bytes=10_000)
    run = await Run.begin(tmp_path / "j", FakeDisk(), limits)
    await run.append_and_wait(b"x")
    assert not run.journal.backlog.after(0)
    started = time.monotonic()
    await run.journal.backlog.wait(5)
    assert time.monotonic() - started < 1
    assert len(run.journal.backlog.after(0)) == 1
    for _ in range(25):
        await run.append_and_wait(b"y" * 1000)
    assert all(batch.byte_count <= 10_000 for batch in run.journal.backlog.after(0))
    assert len(run.journal.backlog.after(0)) >= 3
    await run.kill()


async def test_during_an_outage_batches_grow_instead_of_multiplying(tmp_path: Path) -> None:
    limits = JournalLimits(segment_bytes=1 << 20, batch_seconds=0.002, backlog_batch_seconds=30.0)
    run = await Run.begin(tmp_path / "j", FakeDisk(), limits)
    for _ in range(60):
        await run.append_and_wait(b"x")
        await asyncio.sleep(0.004)
    assert len(run.journal.backlog.after(0)) <= 10
    assert len(run.acknowledged) == 60
    await run.kill()


async def test_keyed_events_and_traces_are_told_by_the_batch(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), SMALL)
    journal = run.journal
    for number in range(40):
        sequence = journal.next_sequence()
        heard = Heard()
        traceparent = f"00-{number:032x}-00000000000000aa-01"
        journal.append(
            sequence, encoded(sequence), "org_acmecorp", heard, is_keyed=number == 7, traceparent=traceparent
        )
        await heard.done.wait()
    await journal.flush()
    await run.kill()
    second = await Run.begin(tmp_path / "j", FakeDisk(run.disk.files), SMALL)
    for found in (journal.backlog.after(0), second.journal.backlog.after(0)):
        (batch,) = found
        assert batch.meta.is_keyed
        assert batch.meta.traceparents == [f"00-{number:032x}-00000000000000aa-01" for number in range(32)]
    await second.kill()


async def test_an_ended_event_loop_does_not_hold_the_writer(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), SMALL)
    await run.append_and_wait(b"x")
    await run.journal.close()
    assert not run.journal._thread.is_alive()
    await Journal.open(tmp_path / "j", SMALL, disk=FakeDisk(run.disk.files))
