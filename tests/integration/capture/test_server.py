"""The process and its store: before it is there, while it is away, and when it is full."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.contract.capture.things import SERVICE_NAME, CaptureClient, FakeJournal, make_event, refusal
from tests.integration.capture.conftest import HttpServer
from tests.integration.capture.test_crash import ROOT, Process, connected

pytestmark = [pytest.mark.store, pytest.mark.loopback]
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class ServerProcess(Process):
    """A capture_svc on a ClickHouse server."""

    def __init__(self, server: HttpServer) -> None:
        super().__init__(Path())
        self._server = server

    def environment(self) -> dict[str, str]:
        """Return its settings."""
        dsn = f"clickhouse://trellis:s3cret@127.0.0.1:{self._server.port}/capture"
        return super().environment() | {"CAPTURE_CLICKHOUSE_DSN": dsn}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HttpServer]:
    """Return a ClickHouse server that is not running yet."""
    found = HttpServer(tmp_path)
    yield found
    found.kill()


@pytest.fixture
def process(server: HttpServer) -> Iterator[ServerProcess]:
    """Return a capture_svc that is not running yet."""
    found = ServerProcess(server)
    yield found
    found.kill()


async def health(capture_port: int, service: str) -> int:
    """Ask for a service's health; wait until the process listens."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{capture_port}") as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=15, wait_for_ready=True)
        status: int = answer.status
        return status


async def until_health(port: int, expected: int, *, seconds: float) -> None:
    """Wait until the service's health is so; the process's own stays well."""
    for _ in range(int(seconds / 0.2)):
        assert await health(port, "") == SERVING
        if await health(port, SERVICE_NAME) == expected:
            return
        await asyncio.sleep(0.2)
    raise AssertionError("its health never was so")


async def test_the_store_may_come_later_go_and_come_back(server: HttpServer, process: ServerProcess) -> None:
    process.start()
    assert await health(process.port, "") == SERVING
    assert await health(process.port, SERVICE_NAME) == NOT_SERVING
    server.start()
    await until_health(process.port, SERVING, seconds=15)
    journal = FakeJournal()
    first, second = (journal.batch([make_event() for _ in range(50)]) for _ in range(2))
    async with connected(process) as capture:
        await capture.send(journal, first)
        server.kill()
        sending = asyncio.ensure_future(_deliver(capture, journal, second))
        await until_health(process.port, NOT_SERVING, seconds=15)
        assert process.is_alive
        assert not sending.done()
        server.start()
        await asyncio.wait_for(sending, 30)
        await until_health(process.port, SERVING, seconds=15)
        assert await capture.balance() == (100, 100, 0, 0, 0)
    assert process.terminate() == 0


async def _deliver(capture: CaptureClient, journal: FakeJournal, batch: object) -> None:
    while True:
        try:
            await capture.send(journal, batch)  # type: ignore[arg-type]  # a batch
        except (grpc.aio.AioRpcError, EOFError):
            await asyncio.sleep(0.2)
        else:
            return


def test_bad_settings_are_told_at_once() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "gen"), "TRELLIS_MESH_SECRET": "short"}
    result = subprocess.run(
        [sys.executable, "-m", "capture_svc"], cwd=ROOT, env=environment, capture_output=True, check=False, timeout=60
    )
    assert result.returncode == 2
    assert b"CAPTURE_CLICKHOUSE_DSN" in result.stderr
    assert b"TRELLIS_MESH_SECRET" in result.stderr


async def test_a_directory_has_one_process_at_a_time(tmp_path: Path) -> None:
    """The second one waits for the first to leave, and says that it does not serve."""
    first, second = Process(tmp_path / "clickhouse"), Process(tmp_path / "clickhouse")
    try:
        first.start()
        await until_health(first.port, SERVING, seconds=20)
        second.start()
        await until_health(second.port, NOT_SERVING, seconds=20)
        journal = FakeJournal()
        async with connected(second) as capture:
            error = await refusal(capture.ledger("org_acmecorp"))
            assert error.message.startswith("the event store is not available")
        assert first.terminate() == 0
        await until_health(second.port, SERVING, seconds=20)
        async with connected(second) as capture:
            await capture.send(journal, journal.batch([make_event()]))
    finally:
        first.kill()
        second.kill()
