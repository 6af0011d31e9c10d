"""The bytes of batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_svc import wire
from capture_svc.wire import UndecodableError
from svc_runtime.varint import encode_varint
from trellis.capture.v1 import event_pb2

EVENTS = st.builds(
    event_pb2.Event,
    organization_id=st.text(max_size=20),
    body=st.binary(max_size=300) | st.just(b"x" * 20_000),
    marks=st.lists(st.text(max_size=5), max_size=3),
    item_index=st.integers(0, 2**32 - 1),
)


@given(st.integers(0, 2**64 - 1))
def test_a_number_survives(number: int) -> None:
    encoded = encode_varint(number)
    assert wire.decode_varint(encoded, 0) == (number, len(encoded))
    assert wire.decode_varint(b"xx" + encoded + b"\xff", 2) == (number, 2 + len(encoded))


@given(st.lists(EVENTS, max_size=6))
def test_a_batch_is_split_into_its_events_and_joined_again(events: list[event_pb2.Event]) -> None:
    batch: bytes = event_pb2.EventBatch(events=events).SerializeToString()
    parts = [batch[start:end] for start, end in wire.split(batch)]
    assert [event_pb2.Event.FromString(part) for part in parts] == events
    assert wire.join(parts) == batch
    assert wire.undelimited(wire.delimited(batch)) == batch


@given(st.lists(EVENTS, min_size=1, max_size=3), st.data())
def test_a_cut_batch_does_not_split(events: list[event_pb2.Event], data: st.DataObject) -> None:
    batch: bytes = event_pb2.EventBatch(events=events).SerializeToString()
    ends = {0, *(end for _, end in wire.split(batch))}
    cut = data.draw(st.integers(0, len(batch)).filter(lambda n: n not in ends))
    with pytest.raises(UndecodableError):
        wire.split(batch[:cut])


@given(st.binary(max_size=60))
def test_any_bytes_split_or_say_that_they_do_not(data: bytes) -> None:
    try:
        spans = wire.split(data)
    except UndecodableError:
        return
    assert wire.join(data[start:end] for start, end in spans) != b"" or not spans


@given(EVENTS, st.integers(1, 2**64 - 1))
def test_an_event_gets_its_place(event: event_pb2.Event, sequence: int) -> None:
    placed = event_pb2.Event.FromString(wire.with_place(event.SerializeToString(), "a" * 32, sequence))
    assert (placed.journal_id, placed.sequence) == ("a" * 32, sequence)
    placed.ClearField("journal_id")
    placed.ClearField("sequence")
    assert placed == event


@pytest.mark.parametrize("data", [b"\x05abc", b"\x80", b"\xff" * 11])
def test_a_wrong_length_is_noticed(data: bytes) -> None:
    with pytest.raises(UndecodableError):
        wire.undelimited(data)


def test_nothing_is_the_empty_batch() -> None:
    assert wire.undelimited(b"") == b""
    assert wire.split(b"") == []
