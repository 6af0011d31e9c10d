"""Reads a journal's directory back after a stop or a crash."""

import json
import secrets
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from ingress_gateway.journal.disk import Disk
from ingress_gateway.journal.frame import SEGMENT_HEADER, Damage, Frame, Meta, read_segment_header, scan
from ingress_gateway.journal.segments import SUFFIX, Extent
from svc_runtime.logs import get_logger

ID_FILE = "journal.id"
POSITION_FILE = "position"
QUARANTINE_DIRECTORY = "quarantine"
_log = get_logger(__name__)


@dataclass(slots=True)
class Batch:
    """What becomes one insert: the groups that share a batch number."""

    sequence: int
    """Of its first event."""
    meta: Meta
    extents: list[Extent]
    byte_count: int = 0


@dataclass(slots=True)
class Recovered:
    """What a directory held."""

    journal_id: bytes
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
    """Stretches that were set aside in the quarantine directory."""


def recover(disk: Disk, directory: Path, spare_directory: Path | None = None) -> Recovered:
    """Read a journal back: whole frames in order, each once; what is damaged is set aside, never deleted."""
    found = Recovered(journal_id=_journal_id(disk, directory))
    if spare_directory is not None:
        spare_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    found.settled = found.last_sequence = _read_position(disk, directory, found.journal_id)
    paths = [
        base / name
        for base in (directory, spare_directory)
        if base is not None
        for name in disk.names(base)
        if name.endswith(SUFFIX)
    ]
    seen = 0
    for path in sorted(paths, key=lambda p: p.name):
        number = int(path.name.removesuffix(SUFFIX)) if path.name.removesuffix(SUFFIX).isdigit() else 0
        found.next_segment = max(found.next_segment, number + 1)
        data = disk.read(path, 0, disk.size(path))
        if read_segment_header(data, found.journal_id) != number:
            if data.strip(b"\0"):
                found.damaged_count += 1
                _set_aside(disk, directory, path, 0, data)
            disk.remove(path)
            continue
        found.segments[number] = path
        found.segment_bytes[number] = len(data)
        seen = _read_segment(disk, directory, path, number, data, seen, found)
    found.last_sequence = max(found.last_sequence, seen)
    return found


def _read_segment(
    disk: Disk, directory: Path, path: Path, number: int, data: bytes, seen: int, found: Recovered
) -> int:
    """Take the frames of one segment in; return the highest sequence seen so far."""
    highest = 0
    for item in scan(memoryview(data), found.journal_id):
        if isinstance(item, Damage):
            found.damaged_count += 1
            _set_aside(disk, directory, path, item.offset, data[item.offset : item.offset + item.length])
            continue
        highest = max(highest, item.meta.last_sequence)
        # A frame that failed to sync was written again elsewhere; both may have reached the disk.
        if item.sequence > seen:
            seen = item.meta.last_sequence
            _take(item, Extent(number, path, item.offset, item.length), found)
    found.last_sequences[number] = highest
    return seen


def _take(frame: Frame, extent: Extent, found: Recovered) -> None:
    if frame.batch <= found.settled:
        return
    last = found.batches[-1] if found.batches else None
    if last is not None and last.sequence == frame.batch:
        last.meta.add(frame.meta)
        last.extents.append(extent)
        last.byte_count += extent.length
    else:
        found.batches.append(Batch(frame.batch, frame.meta, [extent], extent.length))


def _journal_id(disk: Disk, directory: Path) -> bytes:
    path = directory / ID_FILE
    if ID_FILE in disk.names(directory):
        text = disk.read(path, 0, 64).decode("ascii", "replace").strip()
        try:
            held = bytes.fromhex(text)
        except ValueError:
            held = b""
        if len(held) == 16:
            return held
        _log.error("the journal's id file is damaged; its segments tell the id", path=str(path))
    journal_id = _id_from_segments(disk, directory) or secrets.token_bytes(16)
    disk.replace(path, journal_id.hex().encode() + b"\n")
    return journal_id


def _id_from_segments(disk: Disk, directory: Path) -> bytes | None:
    for name in disk.names(directory):
        if name.endswith(SUFFIX):
            header = disk.read(directory / name, 0, SEGMENT_HEADER.size)
            if len(header) == SEGMENT_HEADER.size:
                candidate = SEGMENT_HEADER.unpack(header)[1]
                if read_segment_header(header, candidate) is not None:
                    return bytes(candidate)
    return None


def encode_position(journal_id: bytes, settled: int) -> bytes:
    """Return the bytes of a position file."""
    text = json.dumps({"journal_id": journal_id.hex(), "settled": settled})
    return f"{text}\n{zlib.crc32(text.encode()):08x}\n".encode()


def _read_position(disk: Disk, directory: Path, journal_id: bytes) -> int:
    """Return the settled sequence; 0 when the file is missing, damaged or foreign: then everything is sent again."""
    if POSITION_FILE not in disk.names(directory):
        return 0
    text, _, crc = disk.read(directory / POSITION_FILE, 0, 4096).decode("utf-8", "replace").strip().partition("\n")
    try:
        is_whole = int(crc, 16) == zlib.crc32(text.encode())
        held = json.loads(text)
        if is_whole and held["journal_id"] == journal_id.hex():
            return int(held["settled"])
    except (ValueError, KeyError, TypeError):
        pass
    _log.warning("the journal's position file is not usable; sending all again")
    return 0


def _set_aside(disk: Disk, directory: Path, path: Path, offset: int, data: bytes) -> None:
    """Keep damaged bytes where an operator can look at them."""
    target = directory / QUARANTINE_DIRECTORY / f"{path.stem}-{offset}.bytes"
    target.parent.mkdir(exist_ok=True)
    disk.replace(target, data)
    _log.error("damaged bytes of the journal set aside", path=str(target), byte_count=len(data))
