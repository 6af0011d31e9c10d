"""The comparison by itself, on ledgers and stores that are made by hand."""

import dataclasses

import pytest

from tests.faults.ledger import Fate, Ledger, Sent
from tests.faults.store import Stored, StoredEvent
from tests.faults.verdict import compare
from trellis.capture.v1 import capture_service_pb2 as capture_pb


def _ledger(*fates: Fate) -> tuple[Ledger, list[StoredEvent]]:
    """Return a ledger of clicks with these fates, and the rows that hold all of them."""
    ledger, rows = Ledger(), []
    for number, fate in enumerate(fates):
        sent = ledger.new("click", "/in/x?lid={lid}&a=1")
        sent.fate, sent.attempt_count, sent.event_ids = fate, 1, (f"event-{number}",)
        rows.append(_row(sent))
    return ledger, rows


def _row(sent: Sent, *, item: int = 0) -> StoredEvent:
    return StoredEvent(sent.event_ids[item], sent.target, item, sent.bodies[item])


def _stored(rows: list[StoredEvent], *, foreign_count: int = 0) -> Stored:
    ids = {row.event_id for row in rows}
    return Stored(len(rows) + foreign_count, len(ids) + foreign_count, foreign_count, 0, rows)


def test_a_store_that_holds_everything_once_is_acquitted() -> None:
    ledger, rows = _ledger(Fate.ACKNOWLEDGED, Fate.ACKNOWLEDGED, Fate.UNKNOWN)
    verdict = compare(ledger, _stored(rows), None)
    verdict.must_hold()
    assert (verdict.acknowledged_count, verdict.unknown_count, verdict.unknown_stored_count) == (2, 1, 1)


@pytest.mark.parametrize("fate", [Fate.UNKNOWN, Fate.REFUSED, Fate.UNRECORDED, Fate.LATE])
def test_only_what_was_acknowledged_can_be_lost(fate: Fate) -> None:
    ledger, _ = _ledger(fate)
    assert not compare(ledger, _stored([]), None).problems()
    ledger, _ = _ledger(Fate.ACKNOWLEDGED)
    assert len(compare(ledger, _stored([]), None).lost) == 1


def test_a_row_under_another_id_than_was_promised_is_a_loss() -> None:
    ledger, rows = _ledger(Fate.ACKNOWLEDGED)
    assert compare(ledger, _stored([dataclasses.replace(rows[0], event_id="other")]), None).lost


def test_each_item_of_a_batch_counts() -> None:
    ledger = Ledger()
    sent = ledger.new("batch", "/batch?lid={lid}", bodies=(b"1", b"2", b"3"))
    sent.fate, sent.attempt_count, sent.event_ids = Fate.ACKNOWLEDGED, 1, ("a", "b", "c")
    rows = [_row(sent, item=item) for item in range(3)]
    compare(ledger, _stored(rows), None).must_hold()
    assert len(compare(ledger, _stored(rows[:2]), None).lost) == 1


def test_two_rows_of_one_request_are_found_whatever_their_ids() -> None:
    ledger, rows = _ledger(Fate.UNKNOWN)
    assert compare(ledger, _stored([*rows, *rows]), None).twice
    assert compare(ledger, _stored([*rows, dataclasses.replace(rows[0], event_id="other")]), None).twice


def test_a_row_that_nobody_sent_or_that_was_altered_is_found() -> None:
    ledger, rows = _ledger(Fate.ACKNOWLEDGED)
    unknown = dataclasses.replace(rows[0], event_id="x", target=f"/in/x?lid={ledger.run_id}-99")
    altered = dataclasses.replace(rows[0], event_id="y", target=rows[0].target + "&b=2")
    other_body = dataclasses.replace(rows[0], event_id="z", body=b"x")
    for row in (unknown, altered, other_body):
        assert compare(ledger, _stored([*rows, row]), None).phantoms
    assert compare(ledger, _stored(rows, foreign_count=1), None).phantoms


def test_a_request_that_never_left_cannot_be_stored() -> None:
    ledger, rows = _ledger(Fate.UNKNOWN)
    ledger.sent[f"{ledger.run_id}-0"].attempt_count = 0
    assert compare(ledger, _stored(rows), None).phantoms
    assert not compare(ledger, _stored([]), None).problems()


@pytest.mark.parametrize(
    "account",
    [
        capture_pb.GetLedgerResponse(received_count=2, stored_count=1),
        capture_pb.GetLedgerResponse(received_count=2, stored_count=2),
        capture_pb.GetLedgerResponse(received_count=1, stored_count=1, unaccounted_count=1),
        capture_pb.GetLedgerResponse(received_count=2, stored_count=1, journal_count=1),
    ],
    ids=["does not add up", "says more than the store holds", "admits it", "still has some"],
)
def test_an_account_that_is_wrong_is_found(account: capture_pb.GetLedgerResponse) -> None:
    ledger, rows = _ledger(Fate.ACKNOWLEDGED)
    assert compare(ledger, _stored(rows), account).account
    right = capture_pb.GetLedgerResponse(received_count=2, stored_count=1, duplicate_count=1)
    compare(ledger, _stored(rows), right).must_hold()
