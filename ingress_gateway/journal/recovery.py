"""Reads a journal's directory back after a stop or a crash."""

import json
import secrets
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ingress_gateway.journal.disk import Disk
from ingress_gateway.journal.frame import (
    ID_BYTES,
    KEY_BYTES,
    SEGMENT_HEADER,
    Damage,
    Frame,
    Meta,
    read_segment_header,
    scan,
)
from ingress_gateway.journal.segments import SUFFIX, Extent
from svc_runtime.logs import get_logger

KEY_FILE = "journal.key"
POSITION_FILE = "position"
QUARANTINE_DIRECTORY = "quarantine"
_log = get_logger(__name__)


@dataclass(slots=True)
class Batch:
    """What becomes one insert: the groups that share a batch number."""

    sequence: int
    """Of its first event."""
    meta: Meta
    extents: list[Extent] = field(default_factory=list)
    byte_count: int = 0
    """Of its payloads."""

    def take(self, meta: Meta, extent: Extent) -> None:
        """Take in the group that follows."""
        if self.extents:
            self.meta.add(meta)
        else:
            self.meta = meta
        joined = self.extents[-1].joined(extent) if self.extents else None
        if joined is None:
            self.extents.append(extent)
        else:
            self.extents[-1] = joined
        self.byte_count += extent.payload_length


@dataclass(frozen=True, slots=True)
class Position:
    """What a journal remembers of itself beside its segments."""

    settled: int = 0
    """Batches up to this sequence are stored for good."""
    last_sequence: int = 0
    """No event had a higher one."""

    def encode(self, key: bytes) -> bytes:
        """Return the bytes of the position file."""
        held = {"key": key.hex(), "settled": self.settled, "last_sequence": self.last_sequence}
        return _with_crc(json.dumps(held))


@dataclass(slots=True)
class Recovered:
    """What a directory held."""

    key: bytes
    settled: int = 0
    """Batches up to this sequence are stored, as far as the position file knows."""
    last_sequence: int = 0
    """Highest sequence that was ever used, as far as the files know."""
    next_segment: int = 1
    batches: list[Batch] = field(default_factory=list)
    """Not settled, in order."""
    segments: dict[int, Path] = field(default_factory=dict)
    """Every readable segment."""
    segment_bytes: dict[int, int] = field(default_factory=dict)
    last_sequences: dict[int, int] = field(default_factory=dict)
    """Highest sequence in each segment."""
    damaged_count: int = 0
    """Stretches that were set aside in the quarantine directory, and segments that could not be read."""

    @property
    def journal_id(self) -> str:
        """The part of the key that everybody may know, in hex."""
        return self.key[:ID_BYTES].hex()


def recover(disk: Disk, directory: Path, spare_directory: Path | None = None) -> Recovered:
    """Read a journal back: whole frames in order, each once; what is damaged is set aside, never deleted."""
    if spare_directory is not None:
        disk.make_directory(spare_directory)
    paths = [
        base / name
        for base in (directory, spare_directory)
        if base is not None
        for name in disk.names(base)
        if name.endswith(SUFFIX)
    ]
    paths.sort(key=lambda path: path.name)
    return _Reading(disk, directory, paths).run()


class _Reading:
    """One pass over the segments."""

    def __init__(self, disk: Disk, directory: Path, paths: list[Path]) -> None:
        self._disk = disk
        self._directory = directory
        self._paths = paths
        self._seen = 0
        """Highest sequence of a frame that was taken."""
        self._found = Recovered(key=_key(disk, directory, paths))

    def run(self) -> Recovered:
        found = self._found
        position = _read_position(self._disk, self._directory, found.key)
        found.settled = position.settled
        for path in self._paths:
            self._read_segment(path)
        found.last_sequence = max(position.settled, position.last_sequence, self._seen)
        return found

    def _read_segment(self, path: Path) -> None:
        found = self._found
        stem = path.name.removesuffix(SUFFIX)
        number = int(stem) if stem.isdecimal() and stem.isascii() else 0
        found.next_segment = max(found.next_segment, number + 1)
        try:
            data = self._disk.read(path, 0, self._disk.size(path))
        except OSError as error:
            found.damaged_count += 1
            _log.error("a segment cannot be read; it stays where it is", path=str(path), error=repr(error))
            return
        is_headed = read_segment_header(data) == (found.key, number)
        items = list(scan(memoryview(data), found.key))
        if not is_headed and not any(isinstance(item, Frame) for item in items):
            # Of another journal, or power was lost before anything was in it.
            if not data.strip(b"\0") or self._set_aside(path, 0, data):
                self._disk.remove(path)
            return
        if not is_headed:
            self._set_aside(path, 0, data[: SEGMENT_HEADER.size])
        found.segments[number] = path
        found.segment_bytes[number] = len(data)
        found.last_sequences[number] = self._take_frames(number, path, data, items)

    def _take_frames(self, number: int, path: Path, data: bytes, items: list[Frame | Damage]) -> int:
        """Take the frames of one segment in; return the highest sequence in it."""
        highest = 0
        for item in items:
            if isinstance(item, Damage):
                self._set_aside(path, item.offset, data[item.offset : item.offset + item.length])
                continue
            highest = max(highest, item.meta.last_sequence)
            # A frame that failed to sync was written again elsewhere; both may have reached the disk.
            if item.sequence > self._seen:
                self._seen = item.meta.last_sequence
                self._take(item, Extent(number, path, item.start, item.end - item.start, item.payload_length))
        return highest

    def _take(self, frame: Frame, extent: Extent) -> None:
        batches = self._found.batches
        if frame.batch <= self._found.settled:
            return
        if not batches or batches[-1].sequence != frame.batch:
            batches.append(Batch(frame.batch, frame.meta))
        batches[-1].take(frame.meta, extent)

    def _set_aside(self, path: Path, offset: int, data: bytes) -> bool:
        self._found.damaged_count += 1
        return set_aside(self._disk, self._directory, path, offset, data)


def set_aside(disk: Disk, directory: Path, path: Path, offset: int, data: bytes) -> bool:
    """Keep damaged bytes of a segment where an operator can look at them; return False when the disk does not take
    them: that must not stop anybody."""
    target = directory / QUARANTINE_DIRECTORY / f"{path.stem}-{offset}.bytes"
    try:
        disk.make_directory(target.parent)
        disk.replace(target, data)
    except OSError as error:
        _log.error("damaged bytes of the journal could not be set aside", path=str(target), error=repr(error))
        return False
    _log.error("damaged bytes of the journal set aside", path=str(target), byte_count=len(data))
    return True


# -- small files ------------------------------------------------------------------------------------------------------


def _with_crc(text: str) -> bytes:
    return f"{text}\n{zlib.crc32(text.encode()):08x}\n".encode()


def _read_with_crc(disk: Disk, path: Path) -> str | None:
    """Return the text of a small file; None when it is missing or damaged."""
    try:
        if path.name not in disk.names(path.parent):
            return None
        text, _, crc = disk.read(path, 0, 4096).decode("ascii").rstrip("\n").partition("\n")
        if len(crc) == 8 and int(crc, 16) == zlib.crc32(text.encode()):
            return text
    except (OSError, ValueError):
        pass
    _log.error("a file of the journal is damaged", path=str(path))
    return None


def _read_position(disk: Disk, directory: Path, key: bytes) -> Position:
    """Return the position; zeros when the file is missing, damaged or foreign: then everything is sent again."""
    held = _held_position(disk, directory)
    return held[1] if held is not None and held[0] == key else Position()


def _held_position(disk: Disk, directory: Path) -> tuple[bytes, Position] | None:
    """Return the key and the position in the position file, or None."""
    text = _read_with_crc(disk, directory / POSITION_FILE)
    if text is None:
        return None
    try:
        held = json.loads(text)
        return bytes.fromhex(held["key"]), Position(int(held["settled"]), int(held["last_sequence"]))
    except (ValueError, KeyError, TypeError):
        return None


def _key(disk: Disk, directory: Path, segments: list[Path]) -> bytes:
    """Return the journal's key; where its file is missing or damaged, the position or the segments tell it."""
    text = _read_with_crc(disk, directory / KEY_FILE)
    if text is not None and len(text) == 2 * KEY_BYTES:
        return bytes.fromhex(text)
    position = _held_position(disk, directory)
    if position is not None:
        key = position[0]
    else:
        keys = Counter(_segment_keys(disk, segments))
        key = keys.most_common(1)[0][0] if keys else secrets.token_bytes(KEY_BYTES)
    try:
        disk.replace(directory / KEY_FILE, _with_crc(key.hex()))
    except OSError as error:
        # A full disk stops nobody: the segments will tell the key again.
        _log.error("the journal's key could not be saved", error=repr(error))
    return key


def _segment_keys(disk: Disk, segments: list[Path]) -> Iterator[bytes]:
    for path in segments:
        try:
            header = read_segment_header(disk.read(path, 0, SEGMENT_HEADER.size))
        except OSError:
            continue
        if header is not None:
            yield header[0]
