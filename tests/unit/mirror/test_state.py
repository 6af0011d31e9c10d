"""The mirror's state: job ids, halving, and what is written down."""

import dataclasses
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_svc.mirror import state as mirror_state
from capture_svc.mirror.state import Batch, Key, MirrorState, Part, RefusedRow, from_json, to_json

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
BATCH = Batch(b"\x00before", b"\xffafter", {"a": 5, "b": 2**64 - 1}, 9, NOW, parts=(Part(),))
KEYS = st.tuples(st.sampled_from("abc"), st.integers(1, 20))


def test_the_same_rows_have_the_same_job_id() -> None:
    assert BATCH.job_id("m", Part()) == dataclasses.replace(BATCH, loaded_count=3).job_id("m", Part())


@pytest.mark.parametrize(
    ("batch", "mirror", "part"),
    [
        (BATCH, "other", Part()),
        (dataclasses.replace(BATCH, before=b"x"), "m", Part()),
        (dataclasses.replace(BATCH, after=b"x"), "m", Part()),
        (BATCH.restarted(), "m", Part()),
        (BATCH, "m", Part(attempt=2)),
        (BATCH, "m", Part(after=("a", 1))),
        (BATCH, "m", Part(upto=("a", 1))),
    ],
)
def test_another_mirror_range_part_or_attempt_has_another_job_id(batch: Batch, mirror: str, part: Part) -> None:
    job_id = batch.job_id(mirror, part)
    assert job_id != BATCH.job_id("m", Part())
    assert job_id.replace("_", "").isalnum()


def test_a_failed_job_gives_its_part_another_attempt_and_nothing_else() -> None:
    batch = dataclasses.replace(BATCH, parts=(Part(), Part(after=("a", 1))))
    assert batch.failed() == dataclasses.replace(BATCH, parts=(Part(attempt=2), Part(after=("a", 1))))


@given(st.sets(KEYS, min_size=2), st.integers(0, mirror_state.MOST_REFUSED_JOBS + mirror_state.PROBE_JOBS))
def test_splitting_a_part_loses_no_row_and_doubles_none(keys: set[Key], refused_job_count: int) -> None:
    batch = dataclasses.replace(BATCH, refused_job_count=refused_job_count).refused(sorted(keys), "invalid")
    holders = [[part for part in batch.parts if part.holds(key)] for key in keys]
    assert all(len(found) == 1 for found in holders)
    assert len(batch.parts) == 2
    assert all(any(part.holds(key) for key in keys) for part in batch.parts)


def test_a_single_row_is_set_aside_and_the_next_part_follows() -> None:
    batch = dataclasses.replace(BATCH, parts=(Part(upto=("a", 1)), Part(after=("a", 1))))
    searched = batch.refused([("a", 1)], "invalid")
    assert searched.parts == (Part(after=("a", 1)),)
    assert searched.refused_rows == (RefusedRow(("a", 1), "invalid"),)
    assert searched.refused_count == 1


def test_past_the_limit_a_part_is_set_aside_whole_once_anything_was_loaded() -> None:
    batch = dataclasses.replace(BATCH, refused_job_count=mirror_state.MOST_REFUSED_JOBS, loaded_count=1)
    searched = batch.refused([("a", 1), ("a", 2)], "invalid")
    assert not searched.parts
    assert searched.refused_count == 2


def test_past_the_limit_single_rows_of_all_parts_are_probed_while_nothing_was_loaded() -> None:
    others = (Part(after=("b", 0), upto=("b", 9)), Part(after=("b", 9)))
    batch = dataclasses.replace(
        BATCH, refused_job_count=mirror_state.MOST_REFUSED_JOBS, parts=(Part(upto=("b", 0)), *others)
    )
    searched = batch.refused([("a", 3), ("a", 1), ("a", 2)], "invalid")
    assert searched.parts == (Part(upto=("a", 1)), *others, Part(after=("a", 1), upto=("b", 0)))


def test_a_batch_of_which_nothing_is_taken_is_hopeless_and_starts_again_with_other_job_ids() -> None:
    limit = mirror_state.MOST_REFUSED_JOBS + mirror_state.PROBE_JOBS
    hopeless = dataclasses.replace(
        BATCH, refused_job_count=limit, refused_count=1, refused_rows=(RefusedRow(("a", 1), "invalid"),)
    )
    assert hopeless.is_hopeless
    assert not dataclasses.replace(hopeless, loaded_count=1).is_hopeless
    assert hopeless.restarted() == dataclasses.replace(BATCH, round=2)


_parts = st.builds(Part, after=st.none() | KEYS, upto=st.none() | KEYS, attempt=st.integers(1, 9))
_batches = st.builds(
    Batch,
    before=st.binary(),
    after=st.binary(),
    through=st.dictionaries(st.text(), st.integers(0, 2**64 - 1)),
    row_count=st.integers(0),
    watermark_time=st.datetimes(timezones=st.just(UTC)),
    parts=st.lists(_parts).map(tuple),
    loaded_count=st.integers(0),
    round=st.integers(1),
    refused_job_count=st.integers(0),
    refused_count=st.integers(0),
    refused_rows=st.lists(st.builds(RefusedRow, key=KEYS, reason=st.text())).map(tuple),
)


@given(
    st.builds(
        MirrorState,
        version=st.integers(0),
        cursor=st.binary(),
        batch=st.none() | _batches,
        settled_count=st.integers(0),
        watermark_time=st.none() | st.datetimes(timezones=st.just(UTC)),
    )
)
def test_a_state_is_read_as_it_was_written(state: MirrorState) -> None:
    assert from_json(state.version, to_json(state)) == state
