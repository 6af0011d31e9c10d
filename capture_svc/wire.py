"""The bytes of an EventBatch, cut and put together without decoding an event.

An EventBatch is a concatenation of records: tag ``0x0a``, the event's length as a varint, the encoded Event. The
concatenation of two batches is the batch of both.
"""

from collections.abc import Iterable

from svc_runtime.varint import encode_varint

_RECORD_TAG = 0x0A
_JOURNAL_ID_TAG = b"\xc2\x01"  # field 24, length-delimited
_SEQUENCE_TAG = b"\xc8\x01"  # field 25, varint
_LONGEST_VARINT = 10


class UndecodableError(Exception):
    """The bytes are not a sequence of records."""


def decode_varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return the number at ``offset`` and where it ends; raise UndecodableError when there is none."""
    number = 0
    for index in range(_LONGEST_VARINT):
        if offset + index >= len(data):
            break
        byte = data[offset + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, offset + index + 1
    raise UndecodableError(f"no number at byte {offset}")


def split(batch: bytes) -> list[tuple[int, int]]:
    """Return where each event's own bytes begin and end; raise UndecodableError where there is no whole record."""
    found: list[tuple[int, int]] = []
    offset, end = 0, len(batch)
    while offset < end:
        if batch[offset] != _RECORD_TAG:
            raise UndecodableError(f"no event at byte {offset}")
        # Nearly every event is 128 to 16,383 bytes: two bytes of length.
        if offset + 2 < end and batch[offset + 1] > 0x7F and batch[offset + 2] <= 0x7F:
            start = offset + 3
            length = batch[offset + 1] & 0x7F | batch[offset + 2] << 7
        else:
            length, start = decode_varint(batch, offset + 1)
        offset = start + length
        if offset > end:
            raise UndecodableError(f"the event at byte {start} is cut off")
        found.append((start, offset))
    return found


def join(events: Iterable[bytes]) -> bytes:
    """Return the EventBatch of encoded events."""
    return b"".join(part for event in events for part in (b"\x0a", encode_varint(len(event)), event))


def delimited(batch: bytes) -> bytes:
    """Return a batch with its length in front: what ClickHouse calls ``ProtobufList``."""
    return encode_varint(len(batch)) + batch


def undelimited(data: bytes) -> bytes:
    """Undo ``delimited``; nothing at all is the empty batch."""
    if not data:
        return b""
    length, start = decode_varint(data, 0)
    if len(data) - start != length:
        raise UndecodableError(f"{len(data) - start} bytes, the length says {length}")
    return data[start:]


def with_place(event: bytes, journal_id: str, sequence: int) -> bytes:
    """Return an encoded Event that has no journal_id and sequence with both."""
    name = journal_id.encode()
    place = (_JOURNAL_ID_TAG, encode_varint(len(name)), name, _SEQUENCE_TAG, encode_varint(sequence))
    return event + b"".join(place)
