"""``kill -9`` at random moments under load: nothing acknowledged is lost, and nothing is there twice."""

import asyncio

import pytest

from tests.faults.ledger import Fate
from tests.faults.scenario import Scenario
from tests.mesh.mesh import ATTRIBUTION, AUTH, CAPTURE

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

_RATE = 500.0


async def test_kills_of_each_process_and_of_all_at_once(scenario: Scenario, rounds: int) -> None:
    mesh = scenario.mesh
    victims = [*((name,) for name in (*scenario.gateways, CAPTURE, AUTH, ATTRIBUTION)), scenario.gateways]
    victims.append((*scenario.gateways, CAPTURE, AUTH, ATTRIBUTION))
    scenario.use_generous_budget()
    mesh.stop(*scenario.gateways)
    await scenario.start()
    order: list[tuple[str, ...]] = []
    async with scenario.load(rate=_RATE).running():
        for _ in range(rounds):
            order = order or scenario.random.sample(victims, len(victims))
            killed = order.pop()
            await asyncio.sleep(scenario.random.uniform(0.1, 0.8))
            await asyncio.to_thread(mesh.kill, *killed)
            await asyncio.sleep(scenario.random.uniform(0.0, 0.3))
            await mesh.start()
            if scenario.random.random() < 0.6:
                # Else the next kill comes while this one is still starting.
                await mesh.wait_ready()
    verdict = await scenario.settle(note=f"{rounds} kills")
    verdict.must_hold()
    assert scenario.ledger.statuses("click") == {302}
    assert scenario.ledger.count(Fate.ACKNOWLEDGED) > rounds * 20


async def test_gateways_killed_while_they_catch_up(scenario: Scenario) -> None:
    """Their streams are cut in the middle of a backlog, and new streams take the same journals over."""
    mesh = scenario.mesh
    scenario.use_generous_budget()
    mesh.stop(*scenario.gateways)
    await scenario.start()
    async with scenario.load(rate=_RATE).running():
        for _ in range(3):
            mesh.kill(CAPTURE)
            await asyncio.sleep(2)
            await mesh.start(CAPTURE)
            await scenario.until_metric("capture_connected", bool)
            mesh.kill(*scenario.gateways)
            await mesh.start()
    verdict = await scenario.settle()
    verdict.must_hold()
