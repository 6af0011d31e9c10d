"""Receipts of sorted batches."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from capture_svc.batch import Batch, EventHead, Fate
from capture_svc.sorting import settle, settle_undecodable, settle_whole, sort

NOW = datetime(2026, 11, 20, tzinfo=UTC)
J = "a" * 32


def head(organization_id: str, sequence: int, *, journal_id: str = J) -> EventHead:
    """Return a head."""
    return EventHead(organization_id, f"id-{sequence}", NOW, journal_id, sequence, False, b"", ())


@given(
    st.lists(st.sampled_from(["org_a", "org_b", "", None]), min_size=1, max_size=12),
    st.data(),
)
def test_receipts_balance_whatever_becomes_of_events(owners: list[str | None], data: st.DataObject) -> None:
    heads = [None if owner is None else head(owner, n + 1) for n, owner in enumerate(owners)]
    batch = Batch(J, 1, len(owners), b"", {"org_a": owners.count("org_a") + owners.count(None)})
    sorting = sort(batch, [b"e"] * len(owners), heads)
    for index in sorting.rest:
        fate = data.draw(st.sampled_from([None, Fate(True), Fate(False, "why")]))
        if fate is not None:
            sorting.fates[index] = fate
            if not fate.is_duplicate and data.draw(st.booleans()):
                sorting.dropped.add(index)
    found = settle(sorting, settle_time=NOW)
    assert sum(receipt.received for receipt in found.receipts) == len(owners)
    assert found.stored_count == len(sorting.rest)
    for receipt in found.receipts:
        assert receipt.received == receipt.stored + receipt.duplicates + receipt.quarantined + receipt.dropped


def test_events_that_do_not_decode_are_of_who_is_short_of_them() -> None:
    batch = Batch(J, 1, 5, b"", {"org_a": 2, "org_b": 2})
    heads = [head("org_a", 1), None, head("org_b", 3), None, None]
    assert sort(batch, [b"e"] * 5, heads).owners == ["org_a", "org_a", "org_b", "org_b", ""]


def test_an_event_outside_of_its_batch_is_misplaced() -> None:
    batch = Batch(J, 5, 7, b"", {"org_a": 4})
    heads = [head("org_a", 4), head("org_a", 5), head("org_a", 8), head("org_a", 6, journal_id="b" * 32)]
    sorting = sort(batch, [b"e"] * 4, heads)
    assert sorting.rest == [1]
    assert {fate.reason for fate in sorting.fates.values()} == {"misplaced"}


def test_whole_and_undecodable_batches_are_settled_by_the_senders_counts() -> None:
    batch = Batch(J, 1, 5, b"12345", {"org_b": 2, "org_a": 3})
    whole = settle_whole(batch, (NOW, NOW), settle_time=NOW)
    assert [(r.organization_id, r.received, r.stored) for r in whole.receipts] == [("org_a", 3, 3), ("org_b", 2, 2)]
    assert whole.byte_count == 5
    kept = settle_undecodable(batch, settle_time=NOW)
    assert [(r.organization_id, r.received, r.quarantined) for r in kept.receipts] == [("org_a", 3, 3), ("org_b", 2, 2)]
    assert kept.stored_count == 0
    empty = settle_undecodable(Batch(J, 9, 9, b"\xff", {}), settle_time=NOW)
    assert [(r.organization_id, r.received) for r in empty.receipts] == [("", 0)]
