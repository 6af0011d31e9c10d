"""What a page of the feed holds."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from capture_svc import feed_plan
from capture_svc.feed_plan import plan_page
from capture_svc.store import SettledBatch

NOW = datetime(2026, 11, 20, tzinfo=UTC)
NAMES = ("a" * 32, "b" * 32, "c" * 32)


def batches_of(sizes: dict[str, list[int]], byte_count: int = 100) -> list[SettledBatch]:
    """Return batches of these sizes; the n-th of a journal has the sequences from 100 n + 1 on."""
    return [
        SettledBatch(name, 100 * n + 1, 100 * n + max(size, 1), size, byte_count, NOW, NOW, NOW)
        for name, counts in sizes.items()
        for n, size in enumerate(counts)
    ]


@given(
    st.dictionaries(st.sampled_from(NAMES), st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1),
    st.integers(1, 30),
)
def test_a_page_holds_whole_batches_in_order_within_its_size(sizes: dict[str, list[int]], most: int) -> None:
    batches = batches_of(sizes)
    order = sorted(sizes)
    plan = plan_page(batches, dict.fromkeys(order, 0), order=order, max_event_count=most)
    assert plan.batches, "there is always progress"
    assert plan.event_count <= most or len(plan.batches) == 1
    assert plan.is_partial == (plan.event_count > most)
    for name in order:
        mine = [batch for batch in batches if batch.journal_id == name]
        taken = [batch for batch in plan.batches if batch.journal_id == name]
        assert taken == mine[: len(taken)], "the next ones, none left out"
        assert plan.positions.get(name, 0) == (taken[-1].last_sequence if taken else 0)
    assert {span.journal_id for span in plan.ranges} == {b.journal_id for b in plan.batches if b.stored_count}


def test_journals_take_turns() -> None:
    sizes = {NAMES[0]: [4, 4, 4], NAMES[1]: [1], NAMES[2]: [4, 4]}
    plan = plan_page(batches_of(sizes), dict.fromkeys(NAMES, 0), order=NAMES[::-1], max_event_count=13)
    assert [(b.journal_id[0], b.sequence) for b in plan.batches] == [("c", 1), ("b", 1), ("a", 1), ("c", 101)]


def test_a_page_is_bounded_in_bytes() -> None:
    batches = batches_of({NAMES[0]: [1] * 9}, byte_count=feed_plan.MOST_BYTES // 3)
    plan = plan_page(batches, {NAMES[0]: 0}, order=NAMES[:1], max_event_count=1000)
    assert len(plan.batches) == 3


def test_the_rest_of_a_batch_is_known_as_such() -> None:
    batches = batches_of({NAMES[0]: [9, 5]})
    plan = plan_page(batches, {NAMES[0]: 4}, order=NAMES[:1], max_event_count=100)
    assert plan.begun == batches[0]
    assert plan.event_count == 5
    assert [(span.after, span.upto) for span in plan.ranges] == [(4, 105)]


def test_batches_with_nothing_stored_are_stepped_over() -> None:
    plan = plan_page(batches_of({NAMES[0]: [0, 0]}), {NAMES[0]: 0}, order=NAMES[:1], max_event_count=5)
    assert plan.ranges == ()
    assert plan.positions == {NAMES[0]: 101}
