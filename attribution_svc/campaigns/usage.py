"""What gateways counted against caps. Pure: no clock, no store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

MOST_USAGES = 10_000
MOST_VISITORS = 100_000


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """What a count is of."""

    organization_id: str
    campaign_id: str
    kind: str
    """A value of ``CapKind``."""
    period: str
    """A value of ``CapPeriod``."""
    start_time: datetime
    """First instant of the hour or day; 1970 for a total."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One worker's count in one window."""

    window: Window
    click_count: int
    """New clicks."""
    visitors: tuple[int, ...]
    """With uniques: hashes, of 64 bits with a sign, of visitors that the worker has not told of in this window."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a worker counted since its last exchange."""

    gateway_id: str
    number: int
    """Rises by one with each; a repeat counts once."""
    usages: Sequence[Usage]
