"""``kill -9`` of the process at every point of the way of a batch: nothing lost, nothing twice, all accounted for."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.contract.capture.things import (
    MESH,
    ORGANIZATIONS,
    CaptureClient,
    FakeJournal,
    ids,
    make_event,
    member,
)
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc, event_pb2

pytestmark = [pytest.mark.store, pytest.mark.loopback]
ROOT = Path(__file__).parents[3]
ROUNDS = 10
POINTS = ("before insert", "in insert", "after insert", "before receipt", "in receipt", "after receipt")
ACME = ORGANIZATIONS[0]


class Process:
    """A capture_svc in a process of its own, on a directory that outlives it."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.crash_count = 0

    def start(self, point: str = "never", call: int = 1) -> None:
        """Start it, to crash at a point."""
        environment = self.environment() | {"CRASH_POINT": point, "CRASH_CALL": str(call)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.capture.crashing_capture"], cwd=ROOT, env=environment
        )

    def environment(self) -> dict[str, str]:
        """Return its settings."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "gen")]),
            "TRELLIS_MESH_SECRET": MESH.mesh_secret.get_secret_value(),
            "TRELLIS_LOG_LEVEL": "error",
            "TRELLIS_DRAIN_SECONDS": "5",
            "CAPTURE_LISTEN": f"127.0.0.1:{self.port}",
            "CAPTURE_CLICKHOUSE_DSN": f"chdb://{self._directory}",
            "CAPTURE_AUTH_TARGET": "127.0.0.1:9",
            "CAPTURE_REPLICA": "capture-0",
        }

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill it, if it has not ended by itself."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> int:
        """Ask it to end; return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """Return a capture_svc that is not running yet."""
    found = Process(tmp_path / "clickhouse")
    yield found
    found.kill()


@contextlib.asynccontextmanager
async def connected(process: Process) -> AsyncIterator[CaptureClient]:
    """Connect to it; calls wait until it listens."""
    options = [
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 200),
        ("grpc.max_receive_message_length", 2**26),
    ]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{process.port}", options=options) as channel:
        stub: Any = capture_service_pb2_grpc.CaptureServiceStub(channel)
        yield CaptureClient(stub, None, process.port, None)  # type: ignore[arg-type]  # it is elsewhere


async def deliver(process: Process, journal: FakeJournal, batches: list[pb.JournalBatch]) -> None:
    """Send a journal's batches until all are acknowledged, whatever happens to the process."""
    async with connected(process) as capture:
        acknowledged = 0
        while acknowledged < batches[-1].sequence:
            with contextlib.suppress(grpc.aio.AioRpcError, EOFError, asyncio.InvalidStateError, TimeoutError):
                async with asyncio.timeout(20), capture.stream(journal) as stream:
                    assert stream.settled >= acknowledged, "what was acknowledged is there after a crash"
                    acknowledged = stream.settled
                    for batch in batches:
                        if batch.sequence > acknowledged:
                            await stream.send(batch)
                    while acknowledged < batches[-1].sequence:
                        acknowledged = await stream.read()
            await asyncio.sleep(0.05)


async def keep_alive(process: Process, chance: random.Random) -> None:
    """Start the process again whenever it has crashed: ``ROUNDS`` times to crash again, then for good."""
    while True:
        if not process.is_alive:
            process.crash_count += 1
            if process.crash_count < ROUNDS:
                process.start(POINTS[process.crash_count % len(POINTS)], chance.randint(1, 2))
            else:
                process.start()
        await asyncio.sleep(0.05)


def make_batches(chance: random.Random, journal: FakeJournal) -> tuple[list[pb.JournalBatch], list[event_pb2.Event]]:
    """Return batches of a journal, some with keys, some with a bad event; and the good events in them."""
    batches, good = [], []
    for number in range(16):
        events = [make_event(ORGANIZATIONS[n % 3]) for n in range(chance.randint(20, 200))]
        good += events
        extra: list[event_pb2.Event | bytes] = []
        if number % 4 == 1:
            extra.append(make_event(event_id="bad"))
        if number % 4 == 2:
            # Everybody brings the same few keys.
            key = f"ded2093e-1a73-5f1c-888b-{number:012x}"
            extra.append(make_event(event_id=key, idempotency_key=b"k"))
        batches.append(journal.batch([*events, *extra]))
    return batches, good


async def test_ten_crashes_on_the_way_of_batches(process: Process) -> None:
    chance = random.Random(11)
    journals = [FakeJournal() for _ in range(3)]
    work = [make_batches(chance, journal) for journal in journals]
    process.start(POINTS[0], 1)
    keeper = asyncio.ensure_future(keep_alive(process, chance))
    async with asyncio.timeout(100):
        await asyncio.gather(
            *(deliver(process, journal, batches) for journal, (batches, _) in zip(journals, work, strict=True))
        )
    keeper.cancel()
    assert process.crash_count >= 6, "the point of it is to crash"
    process.kill()
    process.start()
    good = {event.event_id: event for _, events in work for event in events}
    async with connected(process) as capture:
        await _until_listening(capture)
        fed, _ = await capture.read_feed(len(good) + 4)
        found = Counter(ids(fed))
        assert max(found.values()) == 1, "nothing is stored twice"
        assert set(good) <= set(found), "nothing is lost"
        assert len(found) == len(good) + 4, "each key is stored once, and nothing else"
        assert all(event == good.get(event.event_id, event) for event in fed)
        sent = Counter(event.organization_id for event in good.values())
        # Each journal brought 4 bad events and 4 keys.
        assert await capture.balance() == (sent[ACME] + 24, sent[ACME] + 4, 8, 12, 0)
        for organization_id in ORGANIZATIONS[1:]:
            assert await capture.balance(organization_id) == (sent[organization_id], sent[organization_id], 0, 0, 0)
    assert process.terminate() == 0


async def _until_listening(capture: CaptureClient) -> None:
    for _ in range(200):
        try:
            await capture.ledger(ACME)
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError("it never listened")


@pytest.mark.parametrize("point", ["after insert", "before receipt", "in receipt"])
async def test_a_direct_call_that_a_crash_cut_off_is_in_no_limbo(process: Process, point: str) -> None:
    request = pb.CaptureEventsRequest(events=[event_pb2.Event(idempotency_key=b"k"), event_pb2.Event(body=b"1")])
    process.start(point, 1)
    async with connected(process) as capture:
        await _until_listening(capture)
        # "In receipt" it may just have answered: then that answer holds.
        with contextlib.suppress(grpc.aio.AioRpcError):
            answer = await capture.stub.CaptureEvents(request, metadata=member(ACME), timeout=20)
            assert point == "in receipt"
            assert [outcome.outcome for outcome in answer.outcomes] == [pb.OUTCOME_STORED] * 2
    process.kill()
    process.start()
    async with connected(process) as capture:
        await _until_listening(capture)
        again = pb.CaptureEventsRequest(events=[event_pb2.Event(idempotency_key=b"k"), event_pb2.Event(body=b"2")])
        answer = await capture.stub.CaptureEvents(again, metadata=member(ACME), timeout=20)
        assert [o.outcome for o in answer.outcomes] == [pb.OUTCOME_DUPLICATE, pb.OUTCOME_STORED]
        events, _ = await capture.read_feed(3)
        assert sorted(event.body for event in events) == [b"", b"1", b"2"]
        assert await capture.balance() == (4, 3, 1, 0, 0)


async def test_a_drained_process_leaves_nothing_half_done(process: Process) -> None:
    journal = FakeJournal()
    batches = [journal.batch([make_event() for _ in range(100)]) for _ in range(10)]
    process.start()
    async with connected(process) as capture:
        await _until_listening(capture)
        async with capture.stream(journal) as stream:
            for batch in batches[:6]:
                await stream.send(batch)
            await stream.read()
            assert await asyncio.to_thread(process.terminate) == 0
    process.start()
    await asyncio.wait_for(deliver(process, journal, batches), 30)
    async with connected(process) as capture:
        assert await capture.balance() == (1000, 1000, 0, 0, 0)
