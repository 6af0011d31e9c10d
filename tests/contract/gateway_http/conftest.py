"""Gateway workers, on uvloop as in production: one for each module, and one of its own for a test that breaks it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop

from tests.contract.gateway_http.worker import Worker, running_worker


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run these tests on the loop that the gateway runs on: transports differ."""
    return {"uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_worker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worker]:
    """A worker with the demo's snapshots on disk, and no service to be reached."""
    async with running_worker(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def worker(shared_worker: Worker) -> Iterator[Worker]:
    """The module's worker, as if nothing had happened to it before."""
    shared_worker.begin()
    yield shared_worker
    # Whatever a test does to it: nothing is a 500.
    assert shared_worker.gateway.counters.server_error_count == 0


@pytest_asyncio.fixture(loop_scope="module")
async def own_worker(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Worker]:
    """A worker for one test; settings come by an indirect parameter."""
    settings: dict[str, Any] = getattr(request, "param", {})
    async with running_worker(tmp_path, **settings) as running:
        yield running
        assert running.gateway.counters.server_error_count == 0
