"""Cursors of the feed: how far a follower has read each journal.

Layout: version byte 1, then varints and bytes: horizon (Unix milliseconds), number of entries, and for each entry the
16 bytes of the journal's id and the sequence of the last event that was given out.

A journal without an entry was given out as far as it was settled at the horizon. Journals that ended long ago lose
their entries that way, so a cursor stays small however many there ever were.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from capture_svc.wire import UndecodableError, decode_varint
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.varint import encode_varint

_VERSION = 1
_ID_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_ENTRIES = 2_000
"""At most 26 bytes each, so a cursor stays under 64 KiB."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the feed."""

    positions: Mapping[str, int] = field(default_factory=dict)
    """Sequence of the last event given out, by journal id."""
    horizon: datetime = _EPOCH
    """Journals that are not in ``positions`` were given out as settled at this instant."""

    def encode(self) -> bytes:
        """Return the bytes that a follower keeps."""
        milliseconds = (self.horizon - _EPOCH) // timedelta(milliseconds=1)
        parts = [bytes([_VERSION]), encode_varint(milliseconds), encode_varint(len(self.positions))]
        for journal_id, sequence in sorted(self.positions.items()):
            parts += (bytes.fromhex(journal_id), encode_varint(sequence))
        return b"".join(parts)


def decode_cursor(data: bytes) -> Cursor:
    """Read a cursor; nothing at all is the beginning. Raise InvalidArgumentError for what we did not make."""
    if not data:
        return Cursor()
    try:
        return _decode(data)
    except (UndecodableError, IndexError, OverflowError):
        raise InvalidArgumentError.of([Violation("cursor", "is not a cursor of this feed")]) from None


def _decode(data: bytes) -> Cursor:
    if data[0] != _VERSION:
        raise UndecodableError("another version")
    milliseconds, offset = decode_varint(data, 1)
    count, offset = decode_varint(data, offset)
    positions: dict[str, int] = {}
    for _ in range(count):
        journal_id = data[offset : offset + _ID_BYTES]
        if len(journal_id) < _ID_BYTES:
            raise UndecodableError("cut off")
        positions[journal_id.hex()], offset = decode_varint(data, offset + _ID_BYTES)
    if offset != len(data) or len(positions) != count:
        raise UndecodableError("too long")
    return Cursor(positions, _EPOCH + timedelta(milliseconds=milliseconds))


def shortened(cursor: Cursor, ended: Mapping[str, datetime], *, before: datetime) -> Cursor:
    """Drop the entries of journals that are read to their end and whose last batch was settled before ``before``.

    ``ended`` gives that batch's time for the journals read to their end. Nothing is dropped from a short cursor.
    """
    if len(cursor.positions) <= MOST_ENTRIES or before <= cursor.horizon:
        return cursor
    kept = {
        journal_id: sequence
        for journal_id, sequence in cursor.positions.items()
        if journal_id not in ended or ended[journal_id] >= before
    }
    return Cursor(kept, before)
