"""Reading stored events again: a time range, in the order of organisation, time and id, from any place in it.

Layout of a cursor: version byte 1, the event's time as a varint of Unix milliseconds, the 16 bytes of its id, then its
organisation in UTF-8.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from capture_svc.wire import UndecodableError, decode_varint
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.varint import encode_varint

_VERSION = 1
_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Scan:
    """Which events."""

    organization_id: str = ""
    """Empty: of all organisations."""
    start_time: datetime | None = None
    """Received at or after this instant."""
    end_time: datetime | None = None
    """Received before this instant."""


@dataclass(frozen=True, slots=True)
class ScanKey:
    """Place of an event in the order of a scan."""

    organization_id: str
    event_time_ms: int
    event_id: str
    """Canonical UUID text."""

    def encode(self) -> bytes:
        """Return the bytes that a reader keeps."""
        head = bytes([_VERSION]) + encode_varint(self.event_time_ms) + UUID(self.event_id).bytes
        return head + self.organization_id.encode()


@dataclass(frozen=True, slots=True)
class ScanPage:
    """A piece of a scan."""

    events: bytes
    """An encoded ``EventBatch``."""
    event_count: int
    """Number of events in it."""
    last_key: ScanKey | None
    """Place of its last event; None when there are no events."""
    is_last: bool
    """Nothing more was there."""


def decode_scan_cursor(data: bytes) -> ScanKey | None:
    """Read a cursor; None for the beginning. Raise InvalidArgumentError for what we did not make."""
    if not data:
        return None
    try:
        return _decode(data)
    except (UndecodableError, ValueError):
        raise InvalidArgumentError.of([Violation("cursor", "is not a cursor of a scan")]) from None


def _decode(data: bytes) -> ScanKey:
    event_time_ms, offset = decode_varint(data, 1)
    if data[0] != _VERSION or event_time_ms >= 2**63:
        raise UndecodableError("another version, or no time")
    identity, organization_id = data[offset : offset + _ID_BYTES], data[offset + _ID_BYTES :].decode()
    return ScanKey(organization_id, event_time_ms, str(UUID(bytes=identity)))
