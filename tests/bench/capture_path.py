"""From a journal's stream to ClickHouse, against a plain insert of the same bytes into the same table.

The sender is a process of its own, as a gateway is: ``python -m tests.bench.capture_path PORT FILE``.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

import grpc

from capture_svc.assembly import Stores
from capture_svc.store.clickhouse import EVENT_FIELDS, MIGRATIONS, ClickHouseEventStore
from capture_svc.store.connect import connect
from capture_svc.store.journals import ClickHouseJournalWordStore
from capture_svc.store.quarantine import ClickHouseQuarantineStore
from capture_svc.store.receipts import ClickHouseReceiptStore
from capture_svc.wire import delimited
from svc_runtime.clickhouse import ClickHouse, parse_dsn
from svc_runtime.clickhouse_migrations import migrate
from tests.contract.capture.things import ORGANIZATIONS, SERVICE, FakeJournal, make_event, running_capture
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc

BATCH_BYTES = 1024 * 1024
WINDOW = 4
"""Batches on their way without an acknowledgement, as a gateway has them (4 MiB)."""


def make_batches(count: int) -> tuple[str, list[pb.JournalBatch]]:
    """Return a new journal's id and batches of it of about 1 MiB."""
    journal = FakeJournal(f"{time.time_ns():032x}")
    size = len(make_event().SerializeToString()) + 60
    return journal.journal_id, [
        journal.batch([make_event(ORGANIZATIONS[n % len(ORGANIZATIONS)]) for n in range(BATCH_BYTES // size)])
        for _ in range(count)
    ]


async def send(port: int, batches: list[pb.JournalBatch], journal_id: str) -> float:
    """Send batches over one stream, as a gateway does; return the seconds until the last acknowledgement."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = capture_service_pb2_grpc.CaptureServiceStub(channel).Capture(metadata=SERVICE)
        await call.write(pb.CaptureRequest(hello=pb.JournalHello(journal_id=journal_id, sender="bench")))
        await call.read()
        room = asyncio.Semaphore(WINDOW)
        started = time.perf_counter()

        async def write() -> None:
            for batch in batches:
                await room.acquire()
                await call.write(pb.CaptureRequest(batch=batch))

        writing = asyncio.create_task(write())
        waiting = deque(batch.sequence for batch in batches)
        while waiting:
            settled = (await call.read()).sequence
            while waiting and waiting[0] <= settled:  # one acknowledgement may be of several
                waiting.popleft()
                room.release()
        seconds = time.perf_counter() - started
        await writing
        call.cancel()
        return seconds


async def _send_apart(port: int, batches: list[pb.JournalBatch], journal_id: str, directory: Path) -> float:
    file = directory / f"{journal_id}.json"
    file.write_text(json.dumps([journal_id, *(batch.SerializeToString().hex() for batch in batches)]))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.capture_path", str(port), str(file), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    file.unlink()
    if process.returncode:
        raise RuntimeError(f"the sender ended with {process.returncode}")
    return float(output)


async def _insert_plainly(clickhouse: ClickHouse, batches: list[pb.JournalBatch], name: str) -> float:
    blocks = [(delimited(batch.events), f"{name}:{batch.sequence}") for batch in batches]
    started = time.perf_counter()
    for block, token in blocks:
        await clickhouse.run(
            lambda client, block=block, token=token: client.raw_insert(  # type: ignore[misc]  # bound at once
                "events",
                column_names=EVENT_FIELDS,
                insert_block=block,
                fmt="ProtobufList",
                settings={"insert_deduplication_token": token},
            )
        )
    return time.perf_counter() - started


async def measure(*, batch_count: int = 20, round_count: int = 5) -> dict[str, float]:
    """Return events/s of the capture path and of plain inserts (medians of rounds in turn), and the median ratio."""
    with tempfile.TemporaryDirectory() as directory:
        dsn = parse_dsn(f"chdb://{directory}/clickhouse", default_database="capture")
        writer, reader = connect(dsn, thread_count=3), connect(dsn, thread_count=2)
        await migrate(writer, MIGRATIONS)
        stores = Stores(
            ClickHouseEventStore(writer, reader),
            ClickHouseReceiptStore(writer, reader),
            ClickHouseQuarantineStore(writer, reader),
            ClickHouseJournalWordStore(reader),
            is_shared=False,
        )
        async with running_capture(stores) as capture:
            path, plain = [], []
            for number in range(round_count + 1):
                journal_id, batches = make_batches(batch_count)
                event_count = batches[-1].last_sequence
                path.append(event_count / await _send_apart(capture.port, batches, journal_id, Path(directory)))
                plain.append(event_count / await _insert_plainly(writer, batches, f"plain{number}"))
        await writer.close()
        await reader.close()
    # The first round warms up.
    ratios = [ours / theirs for ours, theirs in zip(path[1:], plain[1:], strict=True)]
    return {
        "path_events_per_second": statistics.median(path[1:]),
        "plain_events_per_second": statistics.median(plain[1:]),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def _send_from_file(port: int, file: Path) -> float:
    journal_id, *encoded = json.loads(file.read_text())
    batches = [pb.JournalBatch.FromString(bytes.fromhex(text)) for text in encoded]
    return asyncio.run(send(port, batches, journal_id))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(_send_from_file(int(sys.argv[1]), Path(sys.argv[2])))
    else:
        print(json.dumps(asyncio.run(measure()), indent=2))
