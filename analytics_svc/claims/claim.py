"""Claims: what a campaign says of traffic that it did not route."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rule_language.predicate import Predicate
from svc_runtime.errors import NotFoundError

MOST_RULES = 100
MOST_TAGS = 100
MOST_WINDOWS = 100
MOST_YIELDING = 10_000
LONGEST_ID_BYTES = 256
MINUTES_OF_A_DAY = 1440
_LONGEST_SHOWN = 64


class Policy(enum.StrEnum):
    """Which events a claim may take."""

    UNATTRIBUTED = "unattributed"
    """Those that no campaign has."""
    BY_PRIORITY = "by_priority"
    """Those too that certain campaigns have."""


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """A rule of a claim."""

    rule_id: str
    predicate: Predicate | None = None
    """Checked; None: it matches everything."""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """Some hours of some weekdays."""

    weekdays: tuple[int, ...]
    """1 Monday to 7 Sunday; empty: every day."""
    start_minute: int
    end_minute: int
    """The first minute of the day after it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A version of a campaign's claim. Checked."""

    campaign_id: str
    version: int
    priority: int = 0
    rules: tuple[ClaimRule, ...] = ()
    """The first that matches names the rule of the event."""
    slug: str = ""
    """Clicks on this link are claimed where no rule matches; empty: none."""
    start_time: datetime | None = None
    end_time: datetime | None = None
    forward_start_time: datetime | None = None
    """What is received from here on is claimed too."""
    close_time: datetime | None = None
    """What is received from here on is not claimed."""
    windows: tuple[Window, ...] = ()
    """Empty: always."""
    time_zone: str = "UTC"
    policy: Policy = Policy.UNATTRIBUTED
    yielding: tuple[str, ...] = ()
    """The campaigns that give way, by routing or by claim."""

    def may_take_from(self, campaign_id: str) -> bool:
        """Tell whether it may take an event that this campaign has; empty: none has it."""
        return not campaign_id or campaign_id in self.yielding

    def rule_of(self, number: int) -> ClaimRule:
        """Return the rule of a number, from 1; the one after the last is the link."""
        return self.rules[number - 1] if number <= len(self.rules) else ClaimRule("")


@dataclass(frozen=True, slots=True)
class MadeClaim:
    """A claim that was made."""

    organization_id: str
    claim: Claim
    actor: str
    claim_time: datetime

    @property
    def rank(self) -> tuple[int, datetime, str]:
        """The lower has an event that two hold."""
        return -self.claim.priority, self.claim_time, self.claim.campaign_id


ActiveClaims = Mapping[str, Sequence[MadeClaim]]
"""The versions that hold, by organisation, in the order in which they were made."""


def takers(
    claims: Sequence[MadeClaim], routed_campaign_id: str, rule_numbers: Sequence[int]
) -> list[tuple[MadeClaim, ClaimRule]]:
    """Return which claims may have an event that comes now: as if each had been applied when it was made.

    ``rule_numbers`` says, for each claim in their order, the number of the rule that matches; 0: none.
    """
    found: list[tuple[MadeClaim, ClaimRule]] = []
    holder: MadeClaim | None = None
    for made, number in zip(claims, rule_numbers, strict=True):
        has_it = holder.claim.campaign_id if holder else routed_campaign_id
        if number and made.claim.may_take_from(has_it):
            found.append((made, made.claim.rule_of(number)))
            if holder is None or made.rank < holder.rank:
                holder = made
    return found


def no_such_claim(campaign_id: str, version: int) -> NotFoundError:
    """Return the error for a version that was never applied, or is another organisation's."""
    return NotFoundError(f"no claim of campaign {campaign_id[:_LONGEST_SHOWN]!r} with version {version}")
