"""The checker is proved: it convicts each build that breaks a promise, by the attack that acquits the honest one."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.faults.client import CLICKS
from tests.faults.ledger import Fate
from tests.faults.mutants import CAPTURES, GATEWAYS
from tests.faults.scenario import Scenario
from tests.faults.verdict import Verdict
from tests.mesh.mesh import CAPTURE

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

_GATEWAY = "gateway-0"
_ENOUGH_CLICKS = 22_000
"""The mutant that drops one in ten thousand has dropped two by then."""


async def _kill_gateway(scenario: Scenario) -> None:
    async with scenario.load(rate=500).running():
        for _ in range(3):
            await asyncio.sleep(scenario.random.uniform(0.3, 0.6))
            scenario.mesh.kill(_GATEWAY)
            await scenario.mesh.start(_GATEWAY)
            await scenario.mesh[_GATEWAY].listening()


async def _kill_capture(scenario: Scenario) -> None:
    async with scenario.load(rate=500).running():
        for _ in range(2):
            await asyncio.sleep(scenario.random.uniform(0.8, 1.2))
            scenario.mesh.kill(CAPTURE)
            await scenario.mesh.start(CAPTURE)
            await scenario.mesh.wait_ready()


async def _send_many(scenario: Scenario) -> None:
    async with scenario.load(rate=20_000, mix=CLICKS, clients=32).running():
        await scenario.until(lambda: len(scenario.ledger.sent) > _ENOUGH_CLICKS)


async def _lose_power(scenario: Scenario) -> None:
    """Nothing is shipped meanwhile: what the disk forgets is gone."""
    scenario.mesh.kill(CAPTURE)
    async with scenario.load(rate=500).running():
        await asyncio.sleep(1.0)
        scenario.mesh.kill(_GATEWAY)


_ATTACKS: dict[str, Callable[[Scenario], Awaitable[None]]] = {
    "acknowledge_before_write": _kill_gateway,
    "drop_one_in_ten_thousand": _send_many,
    "skip_sync": _lose_power,
    "power_loss": _lose_power,
    "acknowledge_before_insert": _kill_capture,
    "forget_tokens": _kill_capture,
}


async def _attack(scenario: Scenario, build: str) -> Verdict:
    mutant = scenario.mesh[CAPTURE if build in CAPTURES else _GATEWAY]
    honest = mutant.launch.command
    scenario.use_generous_budget()
    scenario.mesh.run_module(mutant.name, "tests.faults.mutants", build)
    await scenario.start()
    await _ATTACKS[build](scenario)
    mutant.launch.command = honest
    return await scenario.settle()


def test_every_mutant_is_attacked() -> None:
    assert set(_ATTACKS) == {*GATEWAYS, *CAPTURES}


@pytest.mark.parametrize(
    "build",
    ["acknowledge_before_write", "drop_one_in_ten_thousand", "skip_sync", "acknowledge_before_insert"],
)
async def test_a_build_that_loses_what_it_acknowledged_is_convicted(small_scenario: Scenario, build: str) -> None:
    verdict = await _attack(small_scenario, build)
    assert verdict.lost, f"the checker acquits {build}: {verdict.summary()}"


async def test_a_build_that_stores_twice_is_convicted(small_scenario: Scenario) -> None:
    verdict = await _attack(small_scenario, "forget_tokens")
    assert verdict.twice, f"the checker acquits forget_tokens: {verdict.summary()}"


async def test_a_loss_of_power_loses_nothing_that_was_acknowledged(small_scenario: Scenario) -> None:
    verdict = await _attack(small_scenario, "power_loss")
    verdict.must_hold()
    assert small_scenario.ledger.count(Fate.ACKNOWLEDGED) > 200
