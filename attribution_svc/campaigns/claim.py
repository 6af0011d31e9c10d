"""What makes a campaign retroactive: its claim on traffic that it did not route. Pure: no clock, no store."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from svc_runtime.errors import Violation


class ConflictPolicy(enum.Enum):
    """Which events of history a campaign may take."""

    UNATTRIBUTED = "unattributed"
    """Only those that no campaign has."""
    BY_PRIORITY = "by_priority"
    """Those of campaigns of a lower priority too."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A campaign's claim on what was received in a time, and on everything from another instant on."""

    start_time: datetime | None = None
    end_time: datetime | None = None
    """First instant outside."""
    policy: ConflictPolicy = ConflictPolicy.UNATTRIBUTED
    forward_start_time: datetime | None = None
    """When the campaign became retroactive; None in a wish."""
    is_withdrawn: bool = False
    """It was undone: it is kept to be seen, and holds nothing."""
    close_time: datetime | None = None
    """When the campaign was archived: nothing that is received from then on is claimed. None while it may go on."""
    made_time: datetime | None = None
    """When the version that made it did; None in a wish. Of equal priorities the claim that was made first is first."""


class OrderState(enum.Enum):
    """How far an order is."""

    WAITING = "waiting"
    TAKEN = "taken"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ClaimOrder:
    """What analytics_svc is to make of history for a campaign: kept with the campaign's version, in one transaction.

    There is one for a campaign: that of its latest version that changed what holds.
    """

    organization_id: str
    campaign_id: str
    version: int
    """Of the campaign, which gave the order."""
    claim_version: int
    """Whose claim is to hold; 0: none."""
    actor: str
    """Who made that version."""
    state: OrderState = OrderState.WAITING
    operation_id: str = ""
    error: str = ""
    """Why it was refused, or still waits."""


def claim_violations(claim: Claim, path: str) -> Iterator[Violation]:
    """Say everything that is wrong with a claim. An empty range is none: it claims nothing."""
    start, end = claim.start_time, claim.end_time
    if start is not None and end is not None and end < start:
        yield Violation(f"{path}.end", f"is {end:%FT%TZ}, must not be before start, {start:%FT%TZ}")
