"""What the events of an order amount to: a conversion, and what each of its events counts for."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Conversion:
    """One conversion, by its events, the policy and the vocabulary. Money is in micros."""

    organization_id: str
    conversion_id: str
    """The event that began it."""
    group_key: str
    conversion_type: str
    """The type that policies speak of."""
    event_type: str
    """The word of the event that began it."""
    order_id: str
    status: str
    """A ``Status``; empty where nobody spoke of one."""
    is_counted: bool
    """It is one conversion in every count: neither rejected nor a test, nor a refund of nothing."""
    value_micros: int | None
    """What it is worth now, refunds taken off, never below 0; None where nobody named an amount. 0 when rejected."""
    gross_micros: int | None
    """What it was worth before refunds and whatever its status."""
    refunded_micros: int
    currency: str
    is_currency_assumed: bool
    is_test: bool
    conversion_time: datetime
    """When it happened, by who reported it first."""
    create_time: datetime
    """When its first event was received."""
    last_event_time: datetime
    event_ids: tuple[str, ...]
    """All that belong to it, refunds too, in the order in which they were received."""
    click_references: tuple[str, ...]
    """What may be the id of its click, the best first."""
    network: str
    user_id: str
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """What an event counts for: at most one of the two is true."""

    is_conversion: bool = False
    is_adjustment: bool = False
    """Its value changes a conversion's that counts already: a later amount, or a refund below 0."""
    value_micros: int | None = None
    currency: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class Folded:
    """What a group of events amounts to."""

    conversions: tuple[Conversion, ...]
    """By the time of their beginning."""
    shares: dict[str, Share]
    """Of every event, by its id. Their values add up to those of the conversions."""
