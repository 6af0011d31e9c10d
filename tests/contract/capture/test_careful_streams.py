"""Batches in which not every event is as it should be: what is kept aside, and what is there already."""

import asyncio

import pytest

from tests.contract.capture.memory_store import Memory
from tests.contract.capture.things import (
    ORGANIZATIONS,
    CaptureClient,
    FakeJournal,
    FixedHosts,
    counts_to_pb,
    ids,
    keyed,
    make_event,
    running_capture,
)
from trellis.capture.v1 import capture_service_pb2 as pb

pytestmark = pytest.mark.loopback
ACME, GLOBEX, _ = ORGANIZATIONS


async def test_one_bad_event_costs_one_event(capture: CaptureClient, memory: Memory) -> None:
    journal = FakeJournal()
    good = [make_event() for _ in range(20)]
    bad = make_event(GLOBEX, event_id="not a uuid", body=b"\xff\x00")
    await capture.send(journal, journal.batch([*good[:13], bad, *good[13:]]))
    assert sorted(ids(await capture.list_all())) == sorted(ids(good))
    assert await capture.balance() == (20, 20, 0, 0, 0)
    assert await capture.balance(GLOBEX) == (1, 0, 0, 1, 0)
    (item,) = await capture.quarantine()
    assert (item.organization_id, item.reason) == (GLOBEX, "store_refused: CANNOT_PARSE_UUID")
    assert item.event == bad.SerializeToString()
    # Halving 21 events takes few inserts, not one for each.
    assert memory.faults.called["events.insert"] <= 12


async def test_a_batch_of_bad_events_only_is_settled(capture: CaptureClient) -> None:
    journal = FakeJournal()
    await capture.send(journal, journal.batch([make_event(event_id=f"bad {n}") for n in range(7)]))
    assert await capture.balance() == (7, 0, 0, 7, 0)
    await capture.send(journal, journal.batch([make_event()]))
    assert await capture.balance() == (8, 1, 0, 7, 0)


async def test_an_event_that_does_not_decode_is_kept_aside_alone(capture: CaptureClient) -> None:
    journal = FakeJournal()
    await capture.send(journal, journal.batch([make_event(), b"\xff\xff\xff", make_event(GLOBEX)]))
    assert await capture.balance() == (2, 1, 0, 1, 0)
    assert await capture.balance(GLOBEX) == (1, 1, 0, 0, 0)
    (item,) = await capture.quarantine()
    assert (item.organization_id, item.reason, item.event) == (ACME, "undecodable", b"\xff\xff\xff")


@pytest.mark.parametrize("payload", [b"\xff" * 50, b"\x0a\x7fshort", b"\x12\x01a", b"\x0a" + b"\xff" * 11], ids=repr)
async def test_bytes_that_do_not_split_are_kept_aside_whole(capture: CaptureClient, payload: bytes) -> None:
    journal = FakeJournal()
    counts = counts_to_pb({ACME: 3, GLOBEX: 2})
    batch = pb.JournalBatch(sequence=1, last_sequence=5, events=payload, counts=counts)
    journal.next_sequence = 6
    await capture.send(journal, batch, journal.batch([make_event()]))
    assert await capture.balance() == (4, 1, 0, 3, 0)
    assert await capture.balance(GLOBEX) == (2, 0, 0, 2, 0)
    items = await capture.quarantine()
    assert {(i.organization_id, i.reason, i.event) for i in items} == {
        (ACME, "undecodable", payload),
        (GLOBEX, "undecodable", payload),
    }
    assert await capture.replay() == (0, 0, 2)
    assert await capture.balance(GLOBEX) == (2, 0, 0, 2, 0)


async def test_an_empty_batch_is_settled(capture: CaptureClient) -> None:
    journal = FakeJournal()
    await capture.send(journal, pb.JournalBatch(sequence=1, last_sequence=1))
    async with capture.stream(journal) as stream:
        assert stream.settled == 1


async def test_counts_that_do_not_add_up_are_counted_again(capture: CaptureClient) -> None:
    journal = FakeJournal()
    await capture.send(journal, journal.batch([make_event(), make_event(GLOBEX)], counts=counts_to_pb({ACME: 9})))
    assert await capture.balance() == (1, 1, 0, 0, 0)
    assert await capture.balance(GLOBEX) == (1, 1, 0, 0, 0)


async def test_an_event_of_another_journal_is_kept_aside(capture: CaptureClient) -> None:
    journal = FakeJournal()
    first, last = make_event(), make_event()
    batch = journal.batch([first, last])
    first.journal_id = "f" * 32
    batch.events = b"".join(
        b"\x0a" + _varint(len(e)) + e for e in (first.SerializeToString(), last.SerializeToString())
    )
    await capture.send(journal, batch)
    assert await capture.balance() == (2, 1, 0, 1, 0)
    assert [item.reason for item in await capture.quarantine()] == ["misplaced"]
    assert await capture.replay() == (1, 0, 0)
    assert await capture.balance() == (2, 2, 0, 0, 0)


def _varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80, number >> 7])


async def test_keys_in_one_batch_and_across_journals_are_stored_once(capture: CaptureClient, memory: Memory) -> None:
    one, other = FakeJournal(), FakeJournal()
    first = make_event(event_id=keyed(1), idempotency_key=b"k1")
    repeated = make_event(event_id=keyed(1), idempotency_key=b"k1")
    await capture.send(one, one.batch([first, repeated, make_event()]))
    again = make_event(event_id=keyed(1), idempotency_key=b"k1")
    await capture.send(other, other.batch([again, make_event(event_id=keyed(2), idempotency_key=b"k2")]))
    assert await capture.balance() == (5, 3, 2, 0, 0)
    assert sorted(row.event.event_id for row in memory.events.rows if row.event.idempotency_key) == [keyed(1), keyed(2)]


async def test_one_key_from_many_journals_at_once_is_stored_once(capture: CaptureClient, memory: Memory) -> None:
    journals = [FakeJournal() for _ in range(10)]
    await asyncio.gather(
        *(
            capture.send(
                journal, *(journal.batch([make_event(event_id=keyed(n), idempotency_key=b"k")]) for n in range(5))
            )
            for journal in journals
        )
    )
    assert await capture.balance() == (50, 5, 45, 0, 0)


async def test_the_unclaimed_are_kept_within_their_bound_and_replayed_to_whom_their_host_names(memory: Memory) -> None:

    hosts = FixedHosts()
    async with running_capture(memory.stores(), hosts=hosts, unclaimed_per_day=3) as capture:
        journal = FakeJournal()
        unclaimed = [
            make_event("", host=b"Go.Example:8080", marks=["unclaimed_host"]),
            make_event("", host=b"other.example", marks=["unclaimed_key"]),
        ]
        await capture.send(journal, journal.batch([make_event(), *unclaimed]))
        many = [make_event("", host=b"x.example") for _ in range(5)]
        await capture.send(journal, journal.batch(many))
        assert len(memory.quarantine.events) == 3
        assert sum(r.dropped for r in memory.receipts.receipts()) == 4
        assert sorted(i.reason for i in await capture.quarantine()) == [
            "unclaimed_host",
            "unclaimed_host",
            "unclaimed_key",
        ]
        assert await capture.balance() == (1, 1, 0, 0, 0)
        assert await capture.replay() == (0, 0, 3)
        hosts.known["go.example"] = GLOBEX
        assert await capture.replay() == (1, 0, 2)
        (event,) = await capture.list_all(GLOBEX)
        assert event.event_id == unclaimed[0].event_id
        assert await capture.balance(GLOBEX) == (1, 1, 0, 0, 0)
        assert await capture.balance() == (1, 1, 0, 0, 0)
        for receipt in memory.receipts.receipts():
            assert receipt.received == receipt.stored + receipt.duplicates + receipt.quarantined + receipt.dropped
