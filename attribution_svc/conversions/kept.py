"""A conversion as it is kept: what its events amount to, and which click it goes back to."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from attribution_svc.conversions.conversion import Conversion


class MatchState(StrEnum):
    """Whether the click of a conversion is known."""

    PENDING = "pending"
    """Not asked for yet."""
    MATCHED = "matched"
    ORPHAN = "orphan"


class OrphanReason(StrEnum):
    """Why there is no click, as far as can be told."""

    NO_REFERENCE = "no_reference"
    """It names none."""
    LITERAL_MACRO = "literal_macro"
    """It names a macro that nobody replaced."""
    NEVER_SEEN = "never_seen"
    """No click of that id ever came."""
    TRUNCATED = "truncated"
    WRONG_CASE = "wrong_case"
    DOUBLE_ENCODED = "double_encoded"
    OUTSIDE_WINDOW = "outside_window"
    """The click is older than the reading looks back."""
    SAME_PERSON = "same_person"
    """Of a suggestion alone: the last click of the person whom the conversion names."""


@dataclass(frozen=True, slots=True)
class Touch:
    """The click that a conversion goes back to, as the reading has it."""

    event_id: str
    event_time: datetime
    click_id: str = ""
    external_click_id: str = ""
    campaign_id: str = ""
    campaign_version: int = 0
    rule_id: str = ""
    destination_id: str = ""
    user_id: str = ""
    source: str = ""
    medium: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A click that may have been meant; nothing is done until somebody accepts it."""

    reason: OrphanReason
    reference: str
    """What the conversion said."""
    touch: Touch


@dataclass(frozen=True, slots=True)
class Match:
    """What is known of a conversion's click."""

    state: MatchState = MatchState.PENDING
    reason: str = ""
    """An ``OrphanReason`` of an orphan."""
    touch: Touch | None = None
    campaign_id: str = ""
    """The campaign that has the conversion, by the reading: its click's, or one that claims it."""
    is_outside_window: bool = False
    """The click is older than the look-back of the conversion's type."""
    is_accepted: bool = False
    """Somebody said that this is the click; no look-up takes it away."""
    suggestions: tuple[Suggestion, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """A conversion in the store."""

    conversion: Conversion
    match: Match = field(default_factory=Match)
    merged_into: str = ""
    """The conversion that it is part of under the rules of now; empty: it stands for itself."""
    revision: int = 1
    update_time: datetime | None = None


def facts_of(kept: Kept) -> dict[str, Any]:
    """Return what is told of a conversion whenever it changes."""
    conversion, match = kept.conversion, kept.match
    touch = match.touch
    return {
        "conversion_id": conversion.conversion_id,
        "conversion_type": conversion.conversion_type,
        "event_type": conversion.event_type,
        "order_id": conversion.order_id,
        "status": conversion.status,
        "is_counted": conversion.is_counted and not kept.merged_into,
        "value_micros": conversion.value_micros,
        "gross_micros": conversion.gross_micros,
        "refunded_micros": conversion.refunded_micros,
        "currency": conversion.currency,
        "is_test": conversion.is_test,
        "conversion_time": conversion.conversion_time.isoformat(),
        "create_time": conversion.create_time.isoformat(),
        "network": conversion.network,
        "user_id": (touch.user_id if touch else "") or conversion.user_id,
        "click_references": list(conversion.click_references),
        "event_ids": list(conversion.event_ids),
        "merged_into": kept.merged_into,
        "match_state": match.state.value,
        "orphan_reason": match.reason,
        "touch_event_id": touch.event_id if touch else "",
        "touch_time": touch.event_time.isoformat() if touch else None,
        "click_id": touch.click_id if touch else "",
        "external_click_id": touch.external_click_id if touch else "",
        "campaign_id": match.campaign_id,
        "rule_id": touch.rule_id if touch else "",
        "destination_id": touch.destination_id if touch else "",
        "source": touch.source if touch else "",
        "medium": touch.medium if touch else "",
        "channel": touch.channel if touch else "",
        "is_outside_window": match.is_outside_window,
    }
