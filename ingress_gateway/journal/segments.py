"""The files of a journal, written by one thread."""

from dataclasses import dataclass
from pathlib import Path

from ingress_gateway.journal.disk import Disk
from ingress_gateway.journal.frame import SEGMENT_HEADER, encode_frame, encode_segment_header
from svc_runtime.logs import get_logger

SUFFIX = ".segment"
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Extent:
    """Where consecutive frames of one batch lie."""

    segment: int
    path: Path
    offset: int
    """Of the first frame."""
    length: int
    """Of all of them, their headers included."""
    payload_length: int
    """Of their payloads."""

    def joined(self, other: "Extent") -> "Extent | None":
        """Return both as one, or None when ``other`` does not follow at once: a batch is kept in few words."""
        if other.path != self.path or other.offset != self.offset + self.length:
            return None
        return Extent(
            self.segment,
            self.path,
            self.offset,
            self.length + other.length,
            self.payload_length + other.payload_length,
        )


@dataclass(slots=True)
class _Open:
    number: int
    path: Path
    descriptor: int
    offset: int
    size: int


class SegmentWriter:
    """Appends frames; makes a new segment when one is full or has failed. Not thread-safe: one thread calls it.

    A segment whose write failed is never written again: the kernel may have dropped its dirty pages, and a second sync
    would lie. What it holds of acknowledged frames stays and is read back; the failed frame is cut off where possible.
    """

    def __init__(
        self,
        disk: Disk,
        directory: Path,
        key: bytes,
        *,
        next_number: int,
        segment_bytes: int,
        spare_directory: Path | None = None,
    ) -> None:
        self._disk = disk
        self._directories = [directory] if spare_directory is None else [directory, spare_directory]
        self._key = key
        self._next_number = next_number
        self._segment_bytes = segment_bytes
        self._open: _Open | None = None
        self.abandoned_count = 0
        """Segments given up after a failed write."""

    @property
    def current_number(self) -> int | None:
        """Number of the segment that is being written, if any. Readable from any thread."""
        held = self._open
        return held.number if held is not None else None

    def write(self, sequence: int, batch: int, meta: bytes, payload: bytes) -> Extent:
        """Write one frame durably and say where it lies; raise OSError when no directory takes it."""
        frame = encode_frame(self._key, sequence, batch, meta, payload)
        if self._open is not None and self._open.offset + len(frame) > self._open.size:
            self.close()
        try:
            return self._append(frame, len(payload))
        except OSError as error:
            if not self._abandon(error):
                raise
        # Once more in a new segment, in the spare directory too; what fails there is the caller's to tell.
        try:
            return self._append(frame, len(payload))
        except OSError as error:
            self._abandon(error)
            raise

    def _append(self, frame: bytes, payload_length: int) -> Extent:
        target = self._open or self._create(len(frame))
        start = target.offset
        self._disk.append(target.descriptor, frame, start)
        target.offset += len(frame)
        return Extent(target.number, target.path, start, len(frame), payload_length)

    def _create(self, frame_length: int) -> _Open:
        size = max(self._segment_bytes, SEGMENT_HEADER.size + frame_length)
        failure = OSError("a journal has a directory")
        for directory in self._directories:
            # Each attempt has a number of its own: what a failed one left behind cannot be in the way of the next.
            number, self._next_number = self._next_number, self._next_number + 1
            path = directory / f"{number:016d}{SUFFIX}"
            try:
                descriptor = self._disk.create(path, size)
            except OSError as error:
                failure = error
                continue
            self._open = _Open(number, path, descriptor, SEGMENT_HEADER.size, size)
            self._disk.append(descriptor, encode_segment_header(self._key, number), 0)
            return self._open
        raise failure

    def _abandon(self, error: OSError) -> bool:
        """Give the open segment up after a failed write; return False when there is none."""
        failed = self._open
        if failed is None:
            return False
        self.abandoned_count += 1
        _log.error("journal segment abandoned", segment=failed.number, error=repr(error))
        self.close()
        self._directories.sort(key=lambda directory: directory == failed.path.parent)
        try:
            if failed.offset == SEGMENT_HEADER.size:
                self._disk.remove(failed.path)
            else:
                self._disk.truncate(failed.path, failed.offset)
        except OSError as cut_error:
            _log.warning("abandoned segment could not be cut", segment=failed.number, error=repr(cut_error))
        return True

    def close(self) -> None:
        """Close the segment that is being written; the next frame begins a new one."""
        if self._open is not None:
            descriptor, self._open = self._open.descriptor, None
            try:
                self._disk.close(descriptor)
            except OSError as error:
                _log.warning("closing a segment failed", error=repr(error))
