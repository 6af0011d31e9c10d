"""The bounds and paces of a journal, and what it counts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """Bounds and paces of one journal."""

    segment_bytes: int = 16 * 1024 * 1024
    """Size of a segment file, preallocated."""
    disk_bytes_limit: int = 8 * 1024 * 1024 * 1024
    """Most bytes of segments; beyond it nothing is taken."""
    pending_bytes_limit: int = 32 * 1024 * 1024
    """Most bytes that wait in memory for the disk."""
    group_seconds: float = 0.001
    """Shortest time from the start of one group's write to the start of the next."""
    batch_bytes: int = 1024 * 1024
    """A batch is closed at this size…"""
    batch_seconds: float = 0.2
    """…or this age."""
    backlog_batch_seconds: float = 5.0
    """Age while batches are waiting to be shipped: an outage must not leave a million tiny ones."""
    overdue_seconds: float = 0.02
    """The redirect budget."""


@dataclass(slots=True)
class JournalCounters:
    """What happened, since the process began."""

    written_event_count: int = 0
    written_byte_count: int = 0
    group_count: int = 0
    failed_event_count: int = 0
    refused_event_count: int = 0
    abandoned_segment_count: int = 0
    damaged_count: int = 0
    write_seconds: float = 0.0
    """Time spent in writes that include their sync."""
