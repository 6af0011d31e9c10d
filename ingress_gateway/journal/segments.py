"""The files of a journal, written by one thread."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ingress_gateway.journal.disk import Disk
from ingress_gateway.journal.frame import FRAME_HEADER, SEGMENT_HEADER, encode_frame, encode_segment_header
from svc_runtime.logs import get_logger

SUFFIX = ".segment"
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a payload lies."""

    segment: int
    path: Path
    offset: int
    length: int


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
        journal_id: bytes,
        *,
        next_number: int,
        segment_bytes: int,
        spare_directory: Path | None = None,
        on_abandoned: Callable[[OSError], None] = lambda _error: None,
    ) -> None:
        self._disk = disk
        self._directories = [directory] if spare_directory is None else [directory, spare_directory]
        self._journal_id = journal_id
        self._next_number = next_number
        self._segment_bytes = segment_bytes
        self._on_abandoned = on_abandoned
        self._open: _Open | None = None

    @property
    def current_number(self) -> int | None:
        """Number of the segment that is being written, if any."""
        return self._open.number if self._open else None

    def write(self, sequence: int, batch: int, meta: bytes, payload: bytes) -> Extent:
        """Write one frame durably and say where its payload lies; raise OSError when no directory takes it."""
        frame = encode_frame(self._journal_id, sequence, batch, meta, payload)
        if self._open is not None and self._open.offset + len(frame) > self._open.size:
            self.close()
        try:
            return self._append(frame, len(meta), len(payload))
        except OSError as error:
            self._abandon(error)
        # Once more in a new segment, in the spare directory too; what fails there is the caller's to tell.
        return self._append(frame, len(meta), len(payload))

    def _append(self, frame: bytes, meta_length: int, payload_length: int) -> Extent:
        target = self._open or self._create(len(frame))
        self._disk.append(target.descriptor, frame, target.offset)
        payload_offset = target.offset + FRAME_HEADER.size + meta_length
        target.offset += len(frame)
        return Extent(target.number, target.path, payload_offset, payload_length)

    def _create(self, frame_length: int) -> _Open:
        header = encode_segment_header(self._journal_id, self._next_number)
        size = max(self._segment_bytes, SEGMENT_HEADER.size + frame_length)
        failure = OSError("a journal has a directory")
        for directory in self._directories:
            number = self._next_number
            path = directory / f"{number:016d}{SUFFIX}"
            try:
                descriptor = self._disk.create(path, size)
            except OSError as error:
                failure = error
                continue
            self._next_number += 1
            self._open = _Open(number, path, descriptor, len(header), size)
            self._disk.append(descriptor, header, 0)
            return self._open
        raise failure

    def _abandon(self, error: OSError) -> None:
        self._on_abandoned(error)
        failed = self._open
        if failed is None:
            return
        _log.error("journal segment abandoned", segment=failed.number, error=repr(error))
        self.close()
        self._directories.sort(key=lambda directory: directory == failed.path.parent)
        try:
            self._disk.truncate(failed.path, failed.offset)
        except OSError as cut_error:
            _log.warning("abandoned segment could not be cut", segment=failed.number, error=repr(cut_error))

    def close(self) -> None:
        """Close the segment that is being written; the next frame begins a new one."""
        if self._open is not None:
            descriptor, self._open = self._open.descriptor, None
            try:
                self._disk.close(descriptor)
            except OSError as error:
                _log.warning("closing a segment failed", error=repr(error))
