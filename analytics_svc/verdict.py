"""Verdicts: what an event counts for, in the place of what its own parameters say."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

MOST_VERDICTS = 10_000
LARGEST_MICROS = 10**18 - 1
"""What a column of 18 digits takes."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict on one event. Checked."""

    organization_id: str
    event_id: UUID
    event_time: datetime
    """When the event was received, to the millisecond."""
    revision: int
    is_conversion: bool
    is_adjustment: bool = False
    value_micros: int | None = None
    currency: str = ""
    status: str = ""
