"""capture_svc as a process, killed while it mirrors."""

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import grpc
import pytest

from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.settings import MeshSettings
from tests.integration.mirror.rest_double import BigQueryDouble, Fault, serving
from tests.unit.mirror.fakes import event
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc, event_pb2

pytestmark = [pytest.mark.store, pytest.mark.loopback]

MESH = MeshSettings(mesh_secret="m" * 32)
BATCHES = 40
BATCH_EVENTS = 25


@pytest.fixture
def double() -> Iterator[BigQueryDouble]:
    with serving() as found:
        yield found


class Service:
    """A capture_svc with a data directory, mirroring to the double."""

    def __init__(self, directory: Path, double: BigQueryDouble) -> None:
        self._directory = directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.target = f"127.0.0.1:{free.getsockname()[1]}"
        self._variables = {
            **os.environ,
            "TRELLIS_MESH_SECRET": "m" * 32,
            "OTEL_SDK_DISABLED": "true",
            "CAPTURE_LISTEN": self.target,
            "CAPTURE_CLICKHOUSE_DSN": f"chdb://{directory / 'chdb'}",
            "CAPTURE_BIGQUERY_PROJECT": "p",
            "CAPTURE_BIGQUERY_DATASET": "d",
            "CAPTURE_BIGQUERY_API_ENDPOINT": double.endpoint,
            "CAPTURE_BIGQUERY_MAX_SECONDS": "0",
            "CAPTURE_BIGQUERY_MAX_ROWS": "60",
            "CAPTURE_BIGQUERY_LONGEST_RETRY_SECONDS": "1",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "capture_svc"], env=self._variables, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it said last."""
        return (self._directory / "log").read_text()[-3000:]


class Journal:
    """A journal that is sent until it is settled."""

    def __init__(self) -> None:
        self._journal_id = uuid.uuid4().hex
        self._batches = [self._batch(index * BATCH_EVENTS + 1) for index in range(BATCHES)]
        self.settled = 0

    def _batch(self, first: int) -> pb.JournalBatch:
        events = [event(self._journal_id, sequence) for sequence in range(first, first + BATCH_EVENTS)]
        for one in events:
            one.event_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._journal_id}-{one.sequence}"))
        return pb.JournalBatch(
            sequence=first,
            last_sequence=first + BATCH_EVENTS - 1,
            events=event_pb2.EventBatch(events=events).SerializeToString(),
            counts=[pb.OrganizationCount(organization_id="org_acmecorp", event_count=BATCH_EVENTS)],
        )

    @property
    def is_settled(self) -> bool:
        """Whether every batch is."""
        return self.settled >= self._batches[-1].sequence

    async def ship(self, target: str) -> None:
        """Send for ever, also over broken streams, until all is settled."""
        credentials = Credentials(MESH, "gateway")
        async with open_channel(MESH, target) as channel:
            stub = capture_service_pb2_grpc.CaptureServiceStub(channel)
            while not self.is_settled:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    async for answer in stub.Capture(self._messages(), metadata=credentials.as_service()):
                        self.settled = max(self.settled, answer.sequence)
                        if answer.sequence == self._batches[-1].sequence:
                            break
                await asyncio.sleep(0.05)

    async def _messages(self) -> AsyncIterator[pb.CaptureRequest]:
        yield pb.CaptureRequest(hello=pb.JournalHello(journal_id=self._journal_id, sender="test"))
        for batch in self._batches:
            yield pb.CaptureRequest(batch=batch)
            await asyncio.sleep(0.02)


async def test_kill_9_at_any_moment_leaves_every_event_in_bigquery_once(tmp_path: Path, double: BigQueryDouble) -> None:
    chance = random.Random(20261120)
    service = Service(tmp_path, double)
    journals = [Journal(), Journal()]
    double.polls_until_done = 3
    double.faults += [Fault("POST /upload/", is_after_effect=True), Fault("POST /upload/", reason="backendError")]
    service.start()
    shipping = [asyncio.create_task(journal.ship(service.target)) for journal in journals]
    try:
        for _ in range(3):
            loaded = len(double.rows.get("events", []))
            # The next death comes a moment after the mirror has got on.
            await _until(service, lambda: len(double.rows.get("events", [])) > loaded)  # noqa: B023 - waited for here
            await asyncio.sleep(chance.uniform(0, 0.3))
            service.kill()
            double.polls_until_done = 3
            service.start()
        await _until(service, lambda: all(journal.is_settled for journal in journals))
        expected = len(journals) * BATCHES * BATCH_EVENTS
        await _until(service, lambda: len(double.rows["events"]) >= expected)
        await asyncio.sleep(0.5)
    finally:
        for task in shipping:
            task.cancel()
        service.kill()
    found = Counter(row["event_id"] for row in double.rows["events"])
    assert max(found.values()) == 1, "an event is in BigQuery twice"
    assert len(found) == expected
    assert "Traceback" not in service.log


async def _until(service: Service, is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while True:
            if is_so():
                return
            assert service.is_running, service.log
            await asyncio.sleep(0.02)
