"""Shipping: everything arrives, in order, again until acknowledged, whatever becomes of capture_svc."""

import asyncio
import time
from pathlib import Path

import grpc
import pytest

from ingress_gateway.shipper import Window, checkpoint_forever
from svc_runtime.mesh_token import CallerKind, MeshTokens
from svc_runtime.tasks import running
from tests.contract.gateway.capture import Context, FakeCapture, Shipping, capture_server, shipping
from tests.unit.gateway.journals import until
from trellis.capture.v1 import capture_service_pb2 as pb

pytestmark = pytest.mark.loopback


async def _append_groups(ship: Shipping, count: int, *, size: int = 1) -> None:
    for _ in range(count):
        await ship.append(size)


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(bytes(data))


async def test_batches_arrive_in_order_and_are_settled(tmp_path: Path) -> None:
    capture = FakeCapture()
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        await _append_groups(ship, 30, size=3)
        await until(ship.is_settled)
        assert capture.received == sorted(capture.received)
        assert capture.events == ship.appended
        assert ship.journal.backlog.settled == capture.received[-1]
        assert ship.shipper.is_connected
    assert len(capture.hellos) == 1
    assert capture.hellos[0] == pb.JournalHello(journal_id=ship.journal.journal_id, sender="gateway-0/w0")
    token = capture.metadata[0]["authorization"].removeprefix("Bearer ")
    assert MeshTokens("m" * 32).read(token).kind is CallerKind.SERVICE


async def test_a_batch_says_what_it_holds(tmp_path: Path) -> None:
    capture = FakeCapture()
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        await ship.append(5)
        await until(ship.is_settled)
    (batch,) = capture.batches.values()
    assert (batch.sequence, batch.last_sequence) == (ship.appended[0], ship.appended[-1])
    assert list(batch.counts) == [pb.OrganizationCount(organization_id="org_acmecorp", event_count=5)]
    assert not batch.is_keyed


async def test_a_closed_batch_leaves_at_once(tmp_path: Path) -> None:
    """Also when it is closed while the shipper is busy saying that there is none."""
    capture = FakeCapture()
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        await until(lambda: ship.shipper.is_connected)
        for _ in range(20):
            started = time.monotonic()
            await ship.append()
            await until(ship.is_settled)
            assert time.monotonic() - started < 0.5
            # Somewhere around the next status, which is due every second.
            await asyncio.sleep(0.05)


async def test_it_resumes_from_what_the_server_says(tmp_path: Path) -> None:
    capture = FakeCapture()
    async with capture_server(capture) as server:
        async with shipping(tmp_path, server.port) as ship:
            await _append_groups(ship, 10)
            await until(ship.is_settled)
        (tmp_path / "position").unlink()
        capture.received.clear()
        async with shipping(tmp_path, server.port) as ship:
            assert not ship.journal.backlog.after(ship.journal.backlog.settled) or not capture.received
            await ship.append()
            await until(ship.is_settled)
            assert capture.received == ship.appended


async def test_what_the_server_lost_it_gets_again_as_long_as_it_is_there(tmp_path: Path) -> None:
    capture = FakeCapture(acknowledges=False)
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        await _append_groups(ship, 4)
        await until(lambda: len(capture.received) == 4)
        capture.settled[ship.journal.journal_id] = capture.received[1]
        capture.acknowledges = True
        await server.die()
        await server.start()
        await until(ship.is_settled)
        assert capture.received[4:] == capture.received[2:4]


async def test_a_server_that_dies_in_the_midst_gets_everything_exactly_again(tmp_path: Path) -> None:
    capture = FakeCapture(ack_delay_seconds=0.005)
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        for _ in range(4):
            await _append_groups(ship, 8, size=2)
            await server.die()
            await asyncio.sleep(0.02)
            await server.start()
        await until(ship.is_settled, seconds=15)
        assert capture.events == ship.appended
        assert not capture.problems


async def test_clicks_go_on_while_the_server_is_down_and_the_backlog_drains(tmp_path: Path) -> None:
    capture = FakeCapture()
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        await server.die()
        await _append_groups(ship, 100)
        assert ship.journal.backlog.event_count == 100
        assert not ship.shipper.is_connected
        await server.start()
        await until(ship.is_settled, seconds=10)
        assert capture.events == ship.appended


async def test_a_server_that_acknowledges_late_gets_each_batch_once(tmp_path: Path) -> None:
    capture = FakeCapture(ack_delay_seconds=0.05)
    window = Window(batch_count=4, ack_seconds=0.4)
    async with capture_server(capture) as server, shipping(tmp_path, server.port, window=window) as ship:
        await _append_groups(ship, 20)
        await until(ship.is_settled, seconds=10)
    assert capture.received == ship.appended
    assert len(capture.hellos) == 1


async def test_a_server_that_never_acknowledges_is_given_up_and_the_window_holds(tmp_path: Path) -> None:
    capture = FakeCapture(acknowledges=False)
    window = Window(batch_count=3, ack_seconds=0.3)
    async with capture_server(capture) as server, shipping(tmp_path, server.port, window=window) as ship:
        await _append_groups(ship, 10)
        await until(lambda: len(capture.hellos) == 3, seconds=10)
        assert capture.received[:6] == ship.appended[:3] * 2
        assert len(capture.received) <= 9
        assert ship.journal.backlog.event_count == 10
        capture.acknowledges = True
        await until(ship.is_settled, seconds=10)
        assert capture.events == ship.appended


async def test_a_server_that_does_not_answer_the_greeting_is_given_up(tmp_path: Path) -> None:
    capture = FakeCapture(greets=False)
    async with (
        capture_server(capture) as server,
        shipping(tmp_path, server.port, window=Window(ack_seconds=0.2)) as ship,
    ):
        await ship.append()
        await until(lambda: len(capture.hellos) == 2)
        assert not capture.received
        capture.greets = True
        await until(ship.is_settled)


async def test_a_server_that_refuses_is_not_asked_in_a_busy_loop(tmp_path: Path) -> None:
    async def refuse(_hello: pb.JournalHello, context: Context) -> None:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")

    capture = FakeCapture(on_hello=refuse)
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        await ship.append()
        await asyncio.sleep(1)
        # After 0.1, 0.2, 0.4, 0.8 s, each at least half of it.
        assert 2 <= len(capture.hellos) <= 5
        capture.on_hello = None
        await until(ship.is_settled)


async def test_a_server_that_ends_the_stream_in_peace_is_not_asked_in_a_busy_loop(tmp_path: Path) -> None:
    capture = FakeCapture(leaves=True)
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        await ship.append()
        await asyncio.sleep(1)
        assert 2 <= len(capture.hellos) <= 5
        capture.leaves = False
        await until(ship.is_settled)


@pytest.mark.parametrize("after", [1, 3])
async def test_unavailable_in_the_midst_of_a_stream_loses_and_doubles_nothing(tmp_path: Path, after: int) -> None:
    counted: list[int] = []

    async def abort_sometimes(batch: pb.JournalBatch, context: Context) -> None:
        counted.append(batch.sequence)
        if len(counted) in (after, after + 4, after + 9):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "ClickHouse is down")

    capture = FakeCapture(on_batch=abort_sometimes)
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        await _append_groups(ship, 20)
        await until(ship.is_settled, seconds=10)
        assert capture.events == ship.appended
        assert len(capture.hellos) == 4


async def test_a_batch_that_was_stored_but_not_acknowledged_is_known_at_the_next_greeting(tmp_path: Path) -> None:
    async def store_and_vanish(batch: pb.JournalBatch, context: Context) -> None:
        capture.on_batch = None
        capture._keep(capture.hellos[0].journal_id, batch)
        capture.settled[capture.hellos[0].journal_id] = batch.sequence
        await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    capture = FakeCapture(on_batch=store_and_vanish)
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        await _append_groups(ship, 3)
        await until(ship.is_settled)
        assert capture.received == ship.appended
        assert capture.events == ship.appended


async def test_an_acknowledgement_of_what_was_not_sent_removes_nothing(tmp_path: Path) -> None:
    async def exaggerate(batch: pb.JournalBatch, context: Context) -> None:
        capture.on_batch = None
        await context.write(pb.CaptureResponse(sequence=batch.sequence + 10**9))
        await asyncio.sleep(5)

    capture = FakeCapture(on_batch=exaggerate)
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        await _append_groups(ship, 5)
        await until(ship.is_settled)
        assert capture.events == ship.appended
        assert len(capture.hellos) == 2


async def test_the_window_bounds_batches_and_bytes(tmp_path: Path) -> None:
    for window, expected in ((Window(batch_count=2), 2), (Window(byte_count=2500), 2), (Window(byte_count=10), 1)):
        capture = FakeCapture(acknowledges=False)
        directory = tmp_path / f"{window.batch_count}-{window.byte_count}"
        async with capture_server(capture) as server, shipping(directory, server.port, window=window) as ship:
            for _ in range(6):
                await ship.append(body=b"x" * 1000)
            await until(lambda capture=capture: capture.received)
            await asyncio.sleep(0.15)
            assert len(capture.received) == expected


async def test_a_status_comes_first_and_then_each_second(tmp_path: Path) -> None:
    capture = FakeCapture(acknowledges=False)
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        await ship.append(3)
        await until(lambda: len(capture.statuses) >= 2, seconds=4)
        assert capture.order[:3] == ["hello", "status", "batch"]
        assert capture.statuses[-1] == pb.JournalStatus(
            settled_sequence=0, pending=[pb.OrganizationCount(organization_id="org_acmecorp", event_count=3)]
        )


async def test_statuses_come_while_the_window_is_full_and_while_batches_stream(tmp_path: Path) -> None:
    capture = FakeCapture(acknowledges=False)
    window = Window(batch_count=1)
    async with capture_server(capture) as server, shipping(tmp_path, server.port, window=window) as ship:
        await _append_groups(ship, 3)
        await until(lambda: len(capture.statuses) >= 2, seconds=4)
        capture.acknowledges = True
        await server.die()
        await server.start()
        await until(ship.is_settled)
        started, before = time.monotonic(), len(capture.statuses)
        while time.monotonic() - started < 1.2:
            await ship.append()
            await asyncio.sleep(0.01)
        assert len(capture.statuses) - before >= 1


async def test_settled_segments_are_removed_while_shipping(tmp_path: Path) -> None:
    capture = FakeCapture()
    async with (
        capture_server(capture) as server,
        shipping(tmp_path, server.port) as ship,
        running("checkpoint", checkpoint_forever(ship.journal, seconds=0.05)),
    ):
        for _ in range(5):
            await ship.append(body=b"x" * 900_000)
        await until(ship.is_settled)
        await until(lambda: len(list(tmp_path.glob("*.segment"))) == 1)
    async with shipping(tmp_path, server.port) as ship:
        assert ship.is_settled()


async def test_checkpoints_go_on_after_any_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = FakeCapture()
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        failures = [RuntimeError("a defect"), OSError("a disk")]
        checkpoint = ship.journal.checkpoint

        async def failing() -> None:
            if failures:
                raise failures.pop()
            await checkpoint()

        monkeypatch.setattr(ship.journal, "checkpoint", failing)
        async with running("checkpoint", checkpoint_forever(ship.journal, seconds=0.05)):
            await ship.append()
            await until(lambda: (tmp_path / "position").exists(), seconds=6)


async def test_a_damaged_batch_does_not_hold_up_the_others(tmp_path: Path) -> None:
    capture = FakeCapture()
    async with capture_server(capture) as server, shipping(tmp_path, server.port) as ship:
        await server.die()
        await _append_groups(ship, 3)
        (first, *_) = ship.journal.backlog.after(0)
        _flip(first.extents[0].path, first.extents[0].offset + 60)
        await server.start()
        await until(ship.is_settled)
        assert capture.received == ship.appended[1:]
        assert ship.journal.counters.damaged_count == 1
