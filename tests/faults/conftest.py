"""The mesh that the scenarios share, their seeds, and the lines that they leave in the terminal."""

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.faults.scenario import Scenario, forget, new_mesh, small_mesh
from tests.faults.warehouse import Warehouse, new_warehouse
from tests.mesh.mesh import Mesh

_SOAK_ROUNDS = 100
_LINES: list[str] = []


class KeptMesh:
    """One mesh for many scenarios: starting it takes longer than most of them. A scenario that fails takes it along."""

    def __init__(self, base: Path, new: Callable[[Path], Awaitable[Mesh]]) -> None:
        self._base = base
        self._new = new
        self._count = 0
        self._mesh: Mesh | None = None

    async def lend(self) -> Mesh:
        """Return it with every process ready and the usual settings."""
        if self._mesh is None:
            self._count += 1
            self._mesh = await self._new(self._base / str(self._count))
        await self._mesh.start()
        await self._mesh.wait_ready()
        return self._mesh

    def drop(self) -> None:
        """End it; the next one is new."""
        if self._mesh is not None:
            forget(self._mesh)
            self._mesh = None


@pytest.fixture
def outage_seconds(rounds: int) -> float:
    """How long a store is away: 60 s in a soak, shorter where it is run often."""
    return 60.0 if rounds >= _SOAK_ROUNDS else 6.0


@pytest.fixture(scope="session")
def kept_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptMesh]:
    """The mesh of the session."""
    kept = KeptMesh(tmp_path_factory.mktemp("mesh"), new_mesh)
    yield kept
    kept.drop()


@pytest.fixture(scope="session")
def kept_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptMesh]:
    """The one for the warehouse's scenarios."""
    kept = KeptMesh(tmp_path_factory.mktemp("warehouse"), new_warehouse)
    yield kept
    kept.drop()


@pytest.fixture
def seed() -> int:
    """What decides every random choice: TRELLIS_FAULT_SEED, or chance. It is printed with the scenario's line."""
    return int(os.environ.get("TRELLIS_FAULT_SEED", "0")) or secrets.randbelow(10**6) + 1


@pytest.fixture
def rounds() -> int:
    """How many times the kill test kills."""
    return int(os.environ.get("TRELLIS_FAULT_ROUNDS", "20"))


@pytest.fixture
async def scenario(
    request: pytest.FixtureRequest, kept_mesh: KeptMesh, seed: int, tmp_path: Path
) -> AsyncIterator[Scenario]:
    """A scenario on the shared mesh."""
    print(f"seed {seed}")
    made = Scenario(request.node.name.removeprefix("test_"), await kept_mesh.lend(), seed=seed)
    settings = {name: process.launch.environment for name, process in made.mesh.processes.items()}
    yield made
    made.ledger.save(tmp_path / "ledger.jsonl")
    if made.line:
        _LINES.append(f"{made.line} (seed {seed})")
    _give_back(request, kept_mesh, made.mesh, settings)


@pytest.fixture
async def warehouse(
    request: pytest.FixtureRequest, kept_warehouse: KeptMesh, seed: int, tmp_path: Path
) -> AsyncIterator[Warehouse]:
    """A scenario on the shared warehouse."""
    print(f"seed {seed}")
    made = Warehouse(request.node.name.removeprefix("test_"), await kept_warehouse.lend(), seed=seed)
    await made.start()
    settings = {name: process.launch.environment for name, process in made.mesh.processes.items()}
    yield made
    made.ledger.save(tmp_path / "ledger.jsonl")
    if made.line:
        _LINES.append(f"{made.line} (seed {seed})")
    _give_back(request, kept_warehouse, made.mesh, settings)


def _give_back(
    request: pytest.FixtureRequest, kept: KeptMesh, mesh: Mesh, settings: Mapping[str, Mapping[str, str]]
) -> None:
    """Take a failed scenario's mesh away; let the processes of any other start with their own settings again."""
    if not request.node.stash.get(_PASSED, False):
        kept.drop()
        return
    for name, environment in settings.items():
        process = mesh[name]
        if process.launch.environment != environment:
            process.launch.environment = environment
            process.kill()


@pytest.fixture
async def small_scenario(request: pytest.FixtureRequest, seed: int, tmp_path: Path) -> AsyncIterator[Scenario]:
    """A scenario on a small mesh of its own, which it starts itself and may damage."""
    print(f"seed {seed}")
    made = Scenario(request.node.name.removeprefix("test_"), await small_mesh(tmp_path / "mesh"), seed=seed)
    try:
        yield made
    finally:
        made.ledger.save(tmp_path / "ledger.jsonl")
        if made.line:
            _LINES.append(f"{made.line} (seed {seed})")
        forget(made.mesh)


_PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Tell the fixture whether its test passed."""
    report = yield
    if call.when == "call":
        item.stash[_PASSED] = call.excinfo is None
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line per scenario."""
    if _LINES:
        terminalreporter.section("faults")
        for line in _LINES:
            terminalreporter.write_line(line)
