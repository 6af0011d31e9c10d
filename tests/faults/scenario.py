"""One fault: a mesh under load, what is done to it, and the comparison afterwards."""

import asyncio
import random
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.faults.client import MIX, Load
from tests.faults.ledger import Ledger
from tests.faults.store import read_store
from tests.faults.verdict import Verdict, compare
from tests.mesh.gateway_alone import write_snapshots
from tests.mesh.mesh import CAPTURE, Mesh
from trellisctl.up.plan import POSTGRES

GENEROUS_BUDGET_MS = 1000
"""Redirect budget where gateways are killed: a redirect that was late, and says so, proves nothing."""
MESH_NAMES = (POSTGRES, "auth_svc", "attribution_svc", CAPTURE, "gateway")


class Scenario:
    """A mesh of two gateway workers, and the ledger of what was sent to it since this scenario began."""

    def __init__(self, name: str, mesh: Mesh, *, seed: int) -> None:
        self.name = name
        self.mesh = mesh
        self.seed = seed
        self.random = random.Random(seed)
        self.ledger = Ledger()
        self.line = ""
        """What came of it, for people; empty until it was settled."""

    @property
    def gateways(self) -> tuple[str, ...]:
        """Names of the workers."""
        return tuple(process.name for process in self.mesh.gateways)

    def load(self, *, rate: float, mix: Mapping[str, int] = MIX, clients: int = 24) -> Load:
        """Return clients that fill the ledger."""
        return Load(
            self.mesh.http_port,
            self.ledger,
            seed=self.random.getrandbits(32),
            rate=rate,
            mix=mix,
            connection_count=clients,
        )

    async def start(self) -> None:
        """Start what does not run and wait until all of it is ready."""
        await self.mesh.start()
        await self.mesh.wait_ready()

    def use_generous_budget(self) -> None:
        """Give the gateways, from their next start on, a redirect budget that no sync here exceeds."""
        self.mesh.configure(*self.gateways, GATEWAY_REDIRECT_BUDGET_MS=str(GENEROUS_BUDGET_MS))

    async def until(self, condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Wait until something holds; raise AssertionError when it does not."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{self.name}: waited {seconds:g} s in vain"
            await asyncio.sleep(0.05)

    async def until_metric(self, name: str, condition: Callable[[float], bool], *, seconds: float = 60.0) -> None:
        """Wait until something holds of a metric of the gateway; raise AssertionError when it does not."""
        deadline = time.monotonic() + seconds
        while not condition(value := (await self.mesh.metrics()).get(name, 0.0)):
            assert time.monotonic() < deadline, f"{self.name}: {name} is still {value:g} after {seconds:g} s"
            await asyncio.sleep(0.02)

    async def settle(self, *, recovered_from: float | None = None, seconds: float = 60.0, note: str = "") -> Verdict:
        """Start what does not run, let the journals drain, read the store, and compare.

        ``recovered_from`` is the instant from which recovery counts, by default now. Raises nothing for a broken
        promise: that is ``Verdict.must_hold``.
        """
        began = time.monotonic() if recovered_from is None else recovered_from
        await self.start()
        account, since = await self.mesh.drained(seconds=seconds)
        self.mesh.stop(CAPTURE)
        stored = await read_store(self.mesh.directory.capture, self.ledger.run_id)
        verdict = compare(self.ledger, stored, account)
        recovery = max(0.0, since - began)
        self.line = f"{self.name}: {verdict.summary()}, recovered in {recovery:.1f} s{note and '; '}{note}"
        return verdict

    def redirects(self) -> str:
        """Return how long redirects took, in words."""
        ledger = self.ledger
        return (
            f"{len(ledger.redirect_seconds)} redirects, p50 {ledger.redirect_ms(0.5):.1f} ms, "
            f"p99 {ledger.redirect_ms(0.99):.1f} ms, max {ledger.redirect_ms(1):.0f} ms"
        )


async def new_mesh(path: Path, *, workers: int = 2) -> Mesh:
    """Start a mesh under ``path`` with the demo organisation."""
    mesh = await Mesh.plan(path, workers=workers, names=MESH_NAMES)
    try:
        await mesh.start(POSTGRES)
        await mesh.wait_ready(POSTGRES)
        await mesh.start()
        await mesh.wait_ready()
        await mesh.seed()
    except BaseException:
        mesh.kill()
        raise
    return mesh


async def small_mesh(path: Path) -> Mesh:
    """Plan capture_svc and one gateway worker under ``path``; the gateway has keys and campaigns from snapshots."""
    mesh = await Mesh.plan(path, names=(CAPTURE, "gateway"))
    write_snapshots(mesh.directory.gateway, pepper=mesh.directory.secrets().key_pepper)
    return mesh


def forget(mesh: Mesh) -> None:
    """End a mesh and remove what it kept."""
    mesh.kill()
    shutil.rmtree(mesh.directory.path, ignore_errors=True)
