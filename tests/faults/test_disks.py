"""The journal's disk is full, failing or slow: programs hear of it, people are redirected, and it heals by itself."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.client import FILLING
from tests.faults.disks import injected, on_small_disk
from tests.faults.ledger import Fate
from tests.faults.scenario import Scenario
from tests.mesh.mesh import CAPTURE

pytestmark = [pytest.mark.faults, pytest.mark.timeout(200)]

_GATEWAY = "gateway-0"
_RATE = 200.0


def _took_nothing(scenario: Scenario) -> bool:
    """True once programs were refused and people were redirected unrecorded."""
    ledger = scenario.ledger
    return ledger.count(Fate.REFUSED) > 10 and ledger.count(Fate.UNRECORDED) > 10


async def _takes_again(scenario: Scenario) -> None:
    """Wait until what is sent now is stored again."""
    before = len(scenario.ledger.sent)
    await scenario.until(
        lambda: sum(sent.fate is Fate.ACKNOWLEDGED for sent in list(scenario.ledger.sent.values())[before:]) > 50,
        seconds=30,
    )


def _answered_rightly(scenario: Scenario) -> None:
    ledger = scenario.ledger
    assert ledger.statuses("click") == {302}
    assert ledger.statuses("bulk") == {200, 503}


async def test_a_full_disk_answers_503_and_redirects_go_on(small_scenario: Scenario) -> None:
    scenario, mesh = small_scenario, small_scenario.mesh
    mesh[_GATEWAY].launch.prefix = on_small_disk(mesh.directory.gateway / "journal", "6m")
    mesh.configure(_GATEWAY, GATEWAY_JOURNAL_SEGMENT_BYTES=str(1024 * 1024))
    await scenario.start()
    mesh.kill(CAPTURE)
    async with scenario.load(rate=_RATE, mix=FILLING).running():
        await scenario.until(lambda: _took_nothing(scenario))
        while_full = scenario.redirects()
        await mesh.start(CAPTURE)
        await _takes_again(scenario)
    verdict = await scenario.settle(note=f"until full {while_full}")
    verdict.must_hold()
    _answered_rightly(scenario)


async def test_a_disk_filled_to_the_last_byte_by_somebody_else_heals_when_they_make_room(
    small_scenario: Scenario,
) -> None:
    scenario, mesh = small_scenario, small_scenario.mesh
    gateway = mesh[_GATEWAY]
    directory = mesh.directory.gateway / "journal"
    gateway.launch.prefix = on_small_disk(directory, "6m")
    mesh.configure(_GATEWAY, GATEWAY_JOURNAL_SEGMENT_BYTES=str(1024 * 1024))
    await scenario.start()
    # The process sees the mount, we see it through the process.
    filler = Path(f"/proc/{gateway.pid}/root{directory}/filler")
    async with scenario.load(rate=_RATE, mix=FILLING).running():
        await asyncio.sleep(0.5)
        with pytest.raises(OSError, match="No space left"):
            _fill(filler)
        await scenario.until(lambda: _took_nothing(scenario))
        await asyncio.to_thread(filler.unlink)
        await _takes_again(scenario)
    verdict = await scenario.settle()
    verdict.must_hold()
    _answered_rightly(scenario)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (65536, 1):
            try:
                while True:
                    file.write(b"\1" * size)
            except OSError:
                if size == 1:
                    raise


async def test_a_disk_that_takes_no_byte_heals_without_a_restart(small_scenario: Scenario) -> None:
    """By a limit on the size of files, which needs no rights: every write fails, that of the log too."""
    scenario, mesh = small_scenario, small_scenario.mesh
    await scenario.start()
    async with scenario.load(rate=_RATE, mix=FILLING).running():
        await asyncio.sleep(0.5)
        mesh[_GATEWAY].limit_file_bytes(0)
        await scenario.until(lambda: _took_nothing(scenario))
        mesh[_GATEWAY].limit_file_bytes(-1)
        await _takes_again(scenario)
    verdict = await scenario.settle(note=scenario.redirects())
    verdict.must_hold()
    _answered_rightly(scenario)


async def test_a_disk_that_fails_every_sync_heals_without_a_restart(small_scenario: Scenario) -> None:
    scenario = small_scenario
    await scenario.start()
    async with scenario.load(rate=_RATE, mix=FILLING).running():
        await asyncio.sleep(0.5)
        async with injected(scenario.mesh[_GATEWAY], "error=EIO"):
            await scenario.until(lambda: _took_nothing(scenario))
        await _takes_again(scenario)
    verdict = await scenario.settle(note=scenario.redirects())
    verdict.must_hold()
    _answered_rightly(scenario)


async def test_a_sync_that_fails_now_and_then_is_nobodys_concern(small_scenario: Scenario) -> None:
    """The segment is given up and the group written to a new one: nobody is refused."""
    scenario = small_scenario
    await scenario.start()
    async with scenario.load(rate=_RATE).running():
        await asyncio.sleep(0.5)
        async with injected(scenario.mesh[_GATEWAY], "error=EIO:when=5+20"):
            await asyncio.sleep(3)
    metrics = await scenario.mesh.metrics()
    verdict = await scenario.settle(note=f"{metrics['journal_abandoned_segments_total']:.0f} segments given up")
    verdict.must_hold()
    assert metrics["journal_abandoned_segments_total"] > 0
    assert verdict.refused_count == verdict.unrecorded_count == 0


async def test_a_slow_disk_keeps_programs_waiting_and_people_not(small_scenario: Scenario) -> None:
    scenario = small_scenario
    await scenario.start()
    async with scenario.load(rate=_RATE, clients=60).running():
        async with injected(scenario.mesh[_GATEWAY], "delay_enter=200000"):
            await asyncio.sleep(0.5)
            scenario.ledger.redirect_seconds.clear()
            await asyncio.sleep(3)
            slow = list(scenario.ledger.redirect_seconds)
        metrics = await scenario.mesh.metrics()
    scenario.ledger.redirect_seconds = slow
    verdict = await scenario.settle(
        note=f"each sync 200 ms slower, {metrics['late_redirects_total']:.0f} late; {scenario.redirects()}"
    )
    verdict.must_hold()
    assert scenario.ledger.statuses("click") == {302}
    assert metrics["late_redirects_total"] > 0
    assert scenario.ledger.redirect_ms(0.5) < 150, "redirects waited for the disk"
