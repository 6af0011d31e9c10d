"""The bytes of a segment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_gateway.journal.frame import (
    FRAME_HEADER,
    SEGMENT_HEADER,
    Damage,
    Frame,
    Meta,
    encode_frame,
    encode_segment_header,
    read_frame,
    read_segment_header,
    scan,
)

KEY = bytes(range(20))
_payloads = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=6)


def _segment(payloads: list[bytes], tail: bytes = b"") -> tuple[bytes, list[int]]:
    """Return a segment and where each frame begins."""
    data = encode_segment_header(KEY, 1)
    starts = []
    for number, payload in enumerate(payloads, start=1):
        starts.append(len(data))
        data += encode_frame(KEY, number, number, Meta(last_sequence=number, event_count=1).encode(), payload)
    return data + tail, starts


@given(payloads=_payloads, zeros=st.integers(0, 10_000))
def test_what_was_written_is_read_back(payloads: list[bytes], zeros: int) -> None:
    data, starts = _segment(payloads, bytes(zeros))
    found = list(scan(memoryview(data), KEY))
    assert [item.start for item in found if isinstance(item, Frame)] == starts
    assert len(found) == len(starts)
    assert [data[f.end - f.payload_length : f.end] for f in found if isinstance(f, Frame)] == payloads


@given(payloads=_payloads, garbage=st.binary(max_size=400), cut=st.integers(0, 2000))
def test_garbage_between_frames_is_reported_and_stepped_over(payloads: list[bytes], garbage: bytes, cut: int) -> None:
    data, starts = _segment(payloads)
    cut = starts[cut % len(starts)]
    data = data[:cut] + garbage + data[cut:]
    found = list(scan(memoryview(data), KEY))
    assert [f.sequence for f in found if isinstance(f, Frame)] == list(range(1, len(starts) + 1))
    assert sum(d.length for d in found if isinstance(d, Damage)) == len(garbage)


@given(data=st.binary(max_size=3000))
def test_any_bytes_can_be_scanned(data: bytes) -> None:
    found = list(scan(memoryview(data), KEY))
    assert all(isinstance(item, Damage) for item in found)


@pytest.mark.parametrize("run", [4, 15, 16, 4095, 4096, 4097, 20_000])
@pytest.mark.parametrize("offset", range(0, 17, 3))
def test_a_frame_is_found_behind_damage_and_any_run_of_zeros(run: int, offset: int) -> None:
    data, starts = _segment([b"lost", b"kept"])
    data = bytearray(data[: starts[1]] + bytes(run) + b"x" * offset + data[starts[1] :])
    data[starts[0] + 5] ^= 1
    damage, frame = scan(memoryview(bytes(data)), KEY)
    assert isinstance(frame, Frame)
    assert isinstance(damage, Damage)
    assert frame.sequence == 2


def test_nobody_who_knows_the_id_alone_can_make_a_frame() -> None:
    forged = encode_frame(KEY[:16] + b"gues", 9, 9, Meta(last_sequence=9).encode(), b"not ours")
    assert read_frame(memoryview(forged), 0, KEY) is None
    body = encode_frame(KEY, 2, 2, Meta(last_sequence=2).encode(), b"head " + forged + b" tail")
    torn = encode_segment_header(KEY, 1) + body[:-3]
    assert [type(item) for item in scan(memoryview(torn), KEY)] == [Damage]


@pytest.mark.parametrize("payload_length", [0, 2**32 - 1, 256 * 1024 * 1024 + 1])
def test_a_header_with_an_impossible_length_is_no_frame(payload_length: int) -> None:
    header = FRAME_HEADER.pack(payload_length, 10, 0, 0, 1, 1)
    assert read_frame(memoryview(header + bytes(100)), 0, KEY) is None


@pytest.mark.parametrize("meta", [b"", b"{}", b"[]", b"[1]", b"\xff", b'["x",1,{},0,[]]', b"[1,1,3,0,[]]", b"nonsense"])
def test_a_frame_whose_meta_is_not_one_is_no_frame(meta: bytes) -> None:
    frame = encode_frame(KEY, 1, 1, meta, b"payload")
    assert read_frame(memoryview(frame), 0, KEY) is None


@pytest.mark.parametrize(("sequence", "batch"), [(0, 0), (5, 0), (4, 5)])
def test_a_batch_is_numbered_by_its_first_event(sequence: int, batch: int) -> None:
    frame = encode_frame(KEY, sequence, batch, Meta(last_sequence=9).encode(), b"payload")
    assert read_frame(memoryview(frame), 0, KEY) is None


def test_a_segment_header_says_whose_it_is_and_fails_at_any_flipped_bit() -> None:
    header = encode_segment_header(KEY, 77)
    assert len(header) == SEGMENT_HEADER.size == 40
    assert read_segment_header(header + b"more") == (KEY, 77)
    for position in range(len(header)):
        for bit in range(8):
            broken = bytearray(header)
            broken[position] ^= 1 << bit
            assert read_segment_header(bytes(broken)) is None
    assert read_segment_header(header[:-1]) is None


@given(
    counts=st.dictionaries(st.text(max_size=20), st.integers(0, 2**40), max_size=4),
    traceparents=st.lists(st.text(max_size=60), max_size=4),
)
def test_meta_is_read_back(counts: dict[str, int], traceparents: list[str]) -> None:
    meta = Meta(2**60, 17, counts, True, traceparents)
    assert Meta.decode(meta.encode()) == meta
