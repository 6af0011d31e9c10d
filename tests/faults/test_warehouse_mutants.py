"""The comparison of the reading with the raw events is proved: it convicts each build that breaks a promise."""

from collections.abc import Iterator

import pytest

from tests.faults.conftest import KeptMesh
from tests.faults.reading import Kept, forget_cursor, problems
from tests.faults.warehouse import Warehouse
from tests.mesh.mesh import ANALYTICS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

_MODULE = "tests.faults.warehouse_mutants"
_TRIES = 3


@pytest.fixture(autouse=True)
def _spoiled(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a mutant has written is for nobody else."""
    yield
    if "warehouse" in request.fixturenames:
        kept: KeptMesh = request.getfixturevalue("kept_warehouse")
        kept.drop()


@pytest.mark.parametrize(
    ("build", "wrong"),
    [("keep_the_bookmark_first", "are missing"), ("forget_what_was_begun", "roll-ups differ from the events")],
)
async def test_a_build_that_a_kill_makes_wrong_is_convicted(warehouse: Warehouse, build: str, wrong: str) -> None:
    # A page that comes after the kill may change rows of the same day, and so put its counts in order.
    for _ in range(_TRIES):
        if any(wrong in problem for problem in await _problems_of(warehouse, build)):
            return
    pytest.fail(f"the checker acquits {build}")


async def _problems_of(warehouse: Warehouse, build: str) -> list[str]:
    """Let a build work until it kills itself, and an honest one after it; return what is wrong then."""
    mesh = warehouse.mesh
    honest = mesh[ANALYTICS].launch.command
    mesh.kill(ANALYTICS)
    mesh.run_module(ANALYTICS, _MODULE, build)
    await mesh.start(ANALYTICS)
    async with warehouse.load().running():
        await warehouse.until(lambda: not mesh[ANALYTICS].is_running)
    mesh[ANALYTICS].launch.command = honest
    return problems(*await warehouse.compared())


async def test_a_build_that_writes_twice_is_convicted(warehouse: Warehouse) -> None:
    mesh = warehouse.mesh
    async with warehouse.load().running():
        await warehouse.until(lambda: warehouse.acknowledged() > 50)
    stored = await warehouse.caught_up()
    mesh.stop(ANALYTICS)
    await forget_cursor(mesh)
    mesh.run_module(ANALYTICS, _MODULE, "forget_what_is_known")
    await warehouse.start()
    await warehouse.until_count(stored + 1)
    raw, reading = await warehouse.compared()
    assert any("are there twice" in problem for problem in problems(raw, reading))


@pytest.mark.parametrize(
    ("reading", "count"),
    [
        (Kept(["a", "b"]), 0),
        (Kept(["a"]), 1),
        (Kept(["a", "b", "c"]), 1),
        (Kept(["a", "b", "b"]), 1),
        (Kept(["a", "a"]), 2),
        (Kept(["a", "b"], differences=[["rollup_day"]]), 1),
        (Kept(["a", "b"], open_intent_count=1), 1),
    ],
)
def test_whatever_differs_is_a_problem(reading: Kept, count: int) -> None:
    assert len(problems(Kept(["a", "b"]), reading)) == count
