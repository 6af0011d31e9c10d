"""What a crash or a failing disk leaves of a real journal: the gateway starts, and loses no more than was destroyed."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.client import CLICKS
from tests.faults.ledger import Fate
from tests.faults.scenario import Scenario
from tests.mesh.mesh import CAPTURE

pytestmark = [pytest.mark.faults, pytest.mark.timeout(200)]

_GATEWAY = "gateway-0"
_SEGMENT_HEADER_BYTES = 40


async def _leave_a_journal(scenario: Scenario) -> Path:
    """Send while capture_svc is away and kill the gateway: its journal alone has the clicks. Return its directory."""
    scenario.use_generous_budget()
    await scenario.start()
    async with scenario.load(rate=300, mix=CLICKS).running():
        await asyncio.sleep(0.5)
        scenario.mesh.kill(CAPTURE)
        await asyncio.sleep(1)
    scenario.mesh.kill(_GATEWAY)
    return scenario.mesh.directory.gateway / "journal" / "w0"


def _last_segment(directory: Path) -> Path:
    return max(directory.glob("*.segment"))


def _end_of_frames(data: bytearray) -> int:
    return len(data.rstrip(b"\0"))


async def test_a_torn_frame_behind_the_last_one_costs_nothing(small_scenario: Scenario) -> None:
    scenario = small_scenario
    segment = _last_segment(await _leave_a_journal(scenario))
    data = bytearray(segment.read_bytes())
    end = _end_of_frames(data)
    # The first half of a frame that was there before, as a write that was cut short leaves it.
    data[end : end + 300] = data[_SEGMENT_HEADER_BYTES : _SEGMENT_HEADER_BYTES + 300]
    segment.write_bytes(data)
    verdict = await scenario.settle()
    verdict.must_hold()
    assert scenario.ledger.count(Fate.ACKNOWLEDGED) > 100


async def test_a_flipped_byte_costs_one_group(small_scenario: Scenario) -> None:
    scenario = small_scenario
    segment = _last_segment(await _leave_a_journal(scenario))
    data = bytearray(segment.read_bytes())
    data[_end_of_frames(data) // 2] ^= 0x40
    segment.write_bytes(data)
    verdict = await scenario.settle()
    assert 0 < len(verdict.lost) < 25, verdict.summary()
    assert not verdict.twice
    assert not verdict.phantoms
    assert list((segment.parent / "quarantine").iterdir()), "the damaged bytes were not kept"


async def test_a_lost_position_sends_all_again_and_stores_it_once(small_scenario: Scenario) -> None:
    scenario = small_scenario
    directory = await _leave_a_journal(scenario)
    (directory / "position").unlink()
    verdict = await scenario.settle()
    verdict.must_hold()
    assert scenario.ledger.count(Fate.ACKNOWLEDGED) > 100
