"""Rows on their way into one load file, in memory: what bounds them is the batch."""

import gzip
import io
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from capture_svc.mirror.rows import rows_of
from capture_svc.mirror.state import Key


@dataclass(frozen=True, slots=True)
class Packed:
    """A load file and what is in it."""

    content: bytes
    """Rows as newline-delimited JSON, compressed where the packer was told so."""
    sequences: "Mapping[str, array[int]]"
    """Sequences by journal, in the feed's order, which is rising."""

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return sum(map(len, self.sequences.values()))

    @property
    def through(self) -> dict[str, int]:
        """Last sequence by journal."""
        return {journal_id: sequences[-1] for journal_id, sequences in self.sequences.items()}

    def keys(self) -> list[Key]:
        """Return the key of every row."""
        return [(journal_id, sequence) for journal_id, found in self.sequences.items() for sequence in found]


class Packer:
    """Makes one load file. Not for two threads at once."""

    def __init__(self, *, is_compressed: bool) -> None:
        self.row_count = 0
        self.byte_count = 0
        """Uncompressed."""
        self._sequences: dict[str, array[int]] = {}
        self._content = io.BytesIO()
        # Level 1: the way to the warehouse is not where a mirror waits, the processor is where captures do.
        self._file = gzip.GzipFile(fileobj=self._content, mode="wb", compresslevel=1) if is_compressed else None

    def add(self, events: bytes, *, wanted: Callable[[Key], bool], ingested_at: datetime) -> dict[str, int]:
        """Add the events of an encoded EventBatch that are ``wanted``.

        Returns the last sequence by journal of all of them, wanted or not. Takes about 20 µs an event: call it off the
        event loop.
        """
        last: dict[str, int] = {}
        out = self._file or self._content
        for row in rows_of(events, ingested_at=ingested_at):
            journal_id, sequence = row.key
            last[journal_id] = sequence
            if not wanted(row.key):
                continue
            out.write(row.line)
            self.row_count += 1
            self.byte_count += len(row.line)
            self._sequences.setdefault(journal_id, array("Q")).append(sequence)
        return last

    def finish(self) -> Packed:
        """Close the file and return it."""
        if self._file:
            self._file.close()
        return Packed(self._content.getvalue(), self._sequences)
