"""The bytes of a segment: a header, then frames, then zeros.

Segment header, 40 bytes: magic ``TRLJRNL1`` | 20 bytes key | u64 segment number | u32 CRC of that.
Frame: u32 payload length | u32 meta length | u32 CRC | u32 zero | u64 sequence | u64 batch | meta | payload.

The payload is an encoded EventBatch; ``sequence`` is that of its first event; frames with the same ``batch`` are one
batch, and the concatenation of their payloads is one EventBatch. Meta is a small JSON of what the payload holds, so
that recovery need not decode events. The CRC begins with the journal's key and covers everything but itself, so bytes
of another journal never pass. The key is the journal's id, 16 bytes that everybody may know, and 4 that nobody else
does: no body can hold a frame that recovery would take for ours when the frame around it is torn.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

MAGIC = b"TRLJRNL1"
KEY_BYTES = 20
ID_BYTES = 16
SEGMENT_HEADER = struct.Struct("<8s20sQI")
FRAME_HEADER = struct.Struct("<IIIIQQ")
_NUMBERS = struct.Struct("<IIQQ")
MAX_META_BYTES = 4 * 1024 * 1024
MAX_PAYLOAD_BYTES = 256 * 1024 * 1024


@dataclass(slots=True)
class Meta:
    """What a group of events is, without its bytes."""

    last_sequence: int
    event_count: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    """Events by organisation; the empty name is the unclaimed."""
    is_keyed: bool = False
    """At least one event carries a client's idempotency key."""
    traceparents: list[str] = field(default_factory=list)
    """Of the sampled requests."""

    def encode(self) -> bytes:
        """Return the JSON form."""
        return json.dumps(
            [self.last_sequence, self.event_count, self.counts, int(self.is_keyed), self.traceparents],
            separators=(",", ":"),
        ).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Meta":
        """Read the JSON form; raise ValueError when it is not one."""
        try:
            last_sequence, event_count, counts, is_keyed, traceparents = json.loads(data)
            return cls(int(last_sequence), int(event_count), dict(counts), bool(is_keyed), list(traceparents))
        except (TypeError, ValueError) as error:
            raise ValueError("not a frame's meta") from error

    def add(self, other: "Meta") -> None:
        """Take in the group that follows."""
        self.last_sequence = other.last_sequence
        self.event_count += other.event_count
        for organization_id, count in other.counts.items():
            self.counts[organization_id] = self.counts.get(organization_id, 0) + count
        self.is_keyed = self.is_keyed or other.is_keyed
        self.traceparents = (self.traceparents + other.traceparents)[:32]


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame that was found in a segment."""

    start: int
    """Where it begins in the segment."""
    end: int
    """Where it ends."""
    payload_length: int
    """Its payload is the last so many bytes."""
    sequence: int
    batch: int
    meta: Meta


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a segment that holds something, but no whole frame."""

    offset: int
    length: int
    reaches_end: bool
    """True for a tail: what a crash tore, or what followed it."""


def encode_segment_header(key: bytes, number: int) -> bytes:
    """Return the header of segment ``number``."""
    head = SEGMENT_HEADER.pack(MAGIC, key, number, 0)[:-4]
    return head + struct.pack("<I", zlib.crc32(head))


def read_segment_header(data: bytes) -> tuple[bytes, int] | None:
    """Return a segment's key and number, or None when its header is damaged."""
    if len(data) < SEGMENT_HEADER.size:
        return None
    magic, key, number, crc = SEGMENT_HEADER.unpack_from(data)
    if magic != MAGIC or zlib.crc32(data[: SEGMENT_HEADER.size - 4]) != crc:
        return None
    return bytes(key), int(number)


def encode_frame(key: bytes, sequence: int, batch: int, meta: bytes, payload: bytes) -> bytes:
    """Return a frame, ready to be written in one piece."""
    crc = _crc(key, len(payload), len(meta), sequence, batch, meta, payload)
    return b"".join(
        (FRAME_HEADER.pack(len(payload), len(meta), crc, 0, sequence, batch), meta, payload),
    )


def _crc(
    key: bytes,
    payload_length: int,
    meta_length: int,
    sequence: int,
    batch: int,
    meta: bytes | memoryview,
    payload: bytes | memoryview,
) -> int:
    head = zlib.crc32(_NUMBERS.pack(payload_length, meta_length, sequence, batch), zlib.crc32(key))
    return zlib.crc32(payload, zlib.crc32(meta, head))


def read_frame(data: memoryview, offset: int, key: bytes) -> Frame | None:
    """Return the whole frame at ``offset``, or None when there is none."""
    if offset + FRAME_HEADER.size > len(data):
        return None
    payload_length, meta_length, crc, zero, sequence, batch = FRAME_HEADER.unpack_from(data, offset)
    meta_start = offset + FRAME_HEADER.size
    payload_start = meta_start + meta_length
    end = payload_start + payload_length
    if (
        zero
        or not payload_length
        or not 0 < batch <= sequence
        or meta_length > MAX_META_BYTES
        or payload_length > MAX_PAYLOAD_BYTES
        or end > len(data)
    ):
        return None
    meta_bytes, payload = data[meta_start:payload_start], data[payload_start:end]
    if _crc(key, payload_length, meta_length, sequence, batch, meta_bytes, payload) != crc:
        return None
    try:
        meta = Meta.decode(bytes(meta_bytes))
    except ValueError:
        return None
    return Frame(offset, end, payload_length, sequence, batch, meta)


def scan(data: memoryview, key: bytes, offset: int = SEGMENT_HEADER.size) -> Iterator[Frame | Damage]:
    """Walk the frames of a segment from ``offset``; damage is reported and stepped over, zeros at the end not."""
    raw: bytes | None = None
    while offset < len(data):
        frame = read_frame(data, offset, key)
        if frame is not None:
            offset = frame.end
            yield frame
            continue
        raw = bytes(data) if raw is None else raw
        resumed = _next_frame(data, raw, offset + 1, key)
        if resumed is not None:
            yield Damage(offset, resumed - offset, reaches_end=False)
            offset = resumed
            continue
        rest = raw[offset:].rstrip(b"\0")
        if rest:
            yield Damage(offset, len(rest), reaches_end=True)
        return


def _next_frame(data: memoryview, raw: bytes, start: int, key: bytes) -> int | None:
    """Find the next whole frame at or after ``start``.

    A frame's fourth word is zero, and zeros are rare in what we write: that rules out nearly every offset before
    anything is unpacked.
    """
    position = raw.find(b"\0\0\0\0", start + 12)
    while position != -1:
        offset = position - 12
        if read_frame(data, offset, key) is not None:
            return offset
        if not any(raw[position : position + 4096]):
            position = _end_of_zeros(raw, position) - 4
        position = raw.find(b"\0\0\0\0", position + 1)
    return None


def _end_of_zeros(raw: bytes, position: int) -> int:
    """Return where a long run of zeros ends: a preallocated tail is megabytes of them."""
    step = 4096
    while position < len(raw) and not any(raw[position : position + step]):
        position += step
    while position < len(raw) and raw[position] == 0:
        position += 1
    return position
