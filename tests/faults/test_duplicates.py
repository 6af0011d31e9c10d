"""Batches that reach capture_svc again, in another order, at the same time or after a kill are stored once."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence

import grpc
import pytest

from tests.faults.scenario import Scenario
from tests.faults.store import read_store
from tests.mesh.mesh import CAPTURE, Mesh
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import event_pb2
from trellisctl import demo

pytestmark = [pytest.mark.faults, pytest.mark.timeout(200)]

_BATCHES, _EVENTS_EACH = 40, 25
_ANSWER_SECONDS = 20.0


class Sender:
    """A journal that was never asked to be well-behaved."""

    def __init__(self, mesh: Mesh, run_id: str) -> None:
        self.journal_id = secrets.token_hex(16)
        self._mesh = mesh
        self.batches = [self._batch(run_id, 1 + index * _EVENTS_EACH) for index in range(_BATCHES)]

    def _batch(self, run_id: str, first: int) -> pb.JournalBatch:
        events = event_pb2.EventBatch()
        now_ms = time.time_ns() // 1_000_000
        for sequence in range(first, first + _EVENTS_EACH):
            events.events.add(
                organization_id=demo.ORGANIZATION_ID,
                event_id=f"{now_ms >> 16:08x}-{now_ms & 0xFFFF:04x}-7{secrets.token_hex(2)[:3]}-8000-{sequence:012x}",
                event_time_ms=now_ms,
                event_type=b"click",
                route="in",
                method="GET",
                target=f"/in/x?lid={run_id}-{sequence}".encode(),
                journal_id=self.journal_id,
                sequence=sequence,
            )
        return pb.JournalBatch(
            sequence=first,
            last_sequence=first + _EVENTS_EACH - 1,
            events=events.SerializeToString(),
            counts=[pb.OrganizationCount(organization_id=demo.ORGANIZATION_ID, event_count=_EVENTS_EACH)],
        )

    async def send(self, batches: Sequence[pb.JournalBatch], *, hang_up_after: int | None = None) -> int:
        """Send batches on a new stream and return the highest acknowledgement.

        ``hang_up_after`` cuts the stream when so many were sent, without waiting for anything.
        """
        highest = 0
        async with self._mesh.capture_stub() as stub:
            call = stub.Capture(self._requests(batches, hang_up_after), metadata=self._mesh.service())
            last = max(batch.sequence for batch in batches)
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    while highest < last and isinstance(answer := await call.read(), pb.CaptureResponse):
                        highest = max(highest, answer.sequence)
            except (grpc.aio.AioRpcError, TimeoutError):
                # Cut by us, by a newer stream of the same journal, or by a kill: the caller judges by what came.
                pass
            finally:
                call.cancel()
        return highest

    async def _requests(
        self, batches: Sequence[pb.JournalBatch], hang_up_after: int | None
    ) -> AsyncIterator[pb.CaptureRequest]:
        yield pb.CaptureRequest(hello=pb.JournalHello(journal_id=self.journal_id, sender="tests"))
        for index, batch in enumerate(batches):
            if index == hang_up_after:
                return
            yield pb.CaptureRequest(batch=batch)
        # A stream that we end would be ended by the service too, before its last acknowledgements.
        await asyncio.sleep(60)


async def test_what_comes_again_is_stored_once(small_scenario: Scenario) -> None:
    scenario, mesh = small_scenario, small_scenario.mesh
    await scenario.start()
    sender = Sender(mesh, scenario.ledger.run_id)
    all_of_them = sender.batches
    half = all_of_them[: _BATCHES // 2]
    last = all_of_them[-1].sequence

    # Cut in the middle, then again from the start; the acknowledgements of the first stream are lost.
    await sender.send(half, hang_up_after=_BATCHES // 4)
    # Killed in the middle.
    sending = asyncio.create_task(sender.send(all_of_them))
    await asyncio.sleep(0.15)
    mesh.kill(CAPTURE)
    await sending
    await scenario.start()
    assert await sender.send(all_of_them) == last
    # Everything again: on one stream, backwards, shuffled, and on several streams at once.
    assert await sender.send(all_of_them) == last
    assert await sender.send(all_of_them[::-1]) == last
    assert await sender.send(scenario.random.sample(all_of_them, len(all_of_them))) == last
    await asyncio.gather(*(sender.send(all_of_them) for _ in range(3)))
    # And by a service that knows of it from its store alone.
    mesh.kill(CAPTURE)
    await scenario.start()
    assert await sender.send(all_of_them) == last

    account, _ = await mesh.drained(seconds=20)
    mesh.stop(CAPTURE)
    stored = await read_store(mesh.directory.capture, scenario.ledger.run_id)
    scenario.line = f"{scenario.name}: sent {_BATCHES * _EVENTS_EACH} about nine times, stored {len(stored.events)}"
    assert stored.row_count == stored.event_id_count == len(stored.events) == _BATCHES * _EVENTS_EACH
    assert account.stored_count == account.received_count == stored.row_count
    assert account.unaccounted_count == 0
