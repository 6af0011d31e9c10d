"""A campaign, and the rules of its making and changing. Pure: no clock, no store."""

import enum
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from attribution_svc.campaigns.claim import Claim, claim_violations
from attribution_svc.campaigns.rule import (
    NO_HOSTS,
    Action,
    Cap,
    Destination,
    Fallback,
    ParameterPolicy,
    Rule,
    Schedule,
    cap_violations,
    normalised_action,
    normalised_fallback,
    normalised_rules,
    priority_violations,
    schedule_violations,
)
from svc_runtime.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, Violation

MAX_NAME_CHARACTERS = 200
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SLUG = re.compile(r"[A-Za-z0-9_.~-]{1,128}")


class CampaignStatus(enum.Enum):
    """Where a campaign stands."""

    ACTIVE = "active"
    PAUSED = "paused"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Definition:
    """What a campaign does with its traffic: a version of it is never changed."""

    action: Action | None = None
    """What becomes of clicks that no rule matches; None: they go where a paused campaign's go."""
    rules: tuple[Rule, ...] = ()
    """In the order in which they decide."""
    paused_fallback: Fallback | None = None
    expired_fallback: Fallback | None = None
    """Outside the schedule; None: as while paused."""
    over_cap_fallback: Fallback | None = None
    """Over a cap; None: as while paused."""
    schedule: Schedule | None = None
    caps: tuple[Cap, ...] = ()
    priority: int = 0
    """The higher wins where two campaigns claim the same event of history."""
    claim: Claim | None = None
    """Makes it retroactive."""

    @property
    def fallback_campaign_ids(self) -> frozenset[str]:
        """The campaigns that it may hand traffic to."""
        fallbacks = (self.paused_fallback, self.expired_fallback, self.over_cap_fallback)
        return frozenset(found.campaign_id for found in fallbacks if found is not None and found.campaign_id)


@dataclass(frozen=True, slots=True)
class Campaign:
    """Sends the traffic of a slug to destinations."""

    organization_id: str
    campaign_id: str
    slug: str
    name: str
    status: CampaignStatus
    definition: Definition
    version: int
    """Rises by one with every change, from 1."""
    create_time: datetime
    update_time: datetime
    claim_version: int = 0
    """Its version whose claim holds over history; 0: none."""
    restored_version: int = 0
    """The version whose content this one has, where it was activated again; 0: it was not."""

    @property
    def destination_url(self) -> str:
        """The first destination of what no rule matches; empty where there is none."""
        return self.definition.action.destinations[0].url if self.definition.action else ""

    @property
    def parameter_policy(self) -> ParameterPolicy:
        """Which incoming parameters go along to it."""
        return self.definition.action.parameter_policy if self.definition.action else ParameterPolicy.MERGE

    @property
    def fallback_url(self) -> str:
        """Where traffic goes while the campaign is paused; empty: a 404 page, or another campaign."""
        return self.definition.paused_fallback.url if self.definition.paused_fallback else ""


@dataclass(frozen=True, slots=True)
class NewCampaign:
    """What a caller wants. Empty texts stand for the defaults."""

    campaign_id: str = ""
    slug: str = ""
    name: str = ""
    status: CampaignStatus = CampaignStatus.ACTIVE
    definition: Definition = Definition()


@dataclass(frozen=True, slots=True)
class CampaignChange:
    """What a caller wants to be otherwise. None: as it is."""

    slug: str | None = None
    name: str | None = None
    status: CampaignStatus | None = None
    define: Callable[[Definition], Definition] | None = None
    """Makes the wanted definition of the present one."""
    claim: Callable[[Claim | None], Claim] | None = None
    """Makes the wanted claim of the present one: it is made anew even where it is as before."""
    expected_version: int = 0
    """The version that the caller has seen; 0: do not check."""


def plain_definition(
    destination_url: str, parameter_policy: ParameterPolicy = ParameterPolicy.MERGE, fallback_url: str = ""
) -> Definition:
    """Return the definition of a campaign with one destination and no rules."""
    return Definition(
        action=Action((Destination(destination_url),), parameter_policy=parameter_policy),
        paused_fallback=Fallback(url=fallback_url) if fallback_url else None,
    )


def is_campaign_id(text: str) -> bool:
    """Whether ``text`` can be a campaign's id at all."""
    return _ID.fullmatch(text) is not None


def no_such_campaign(campaign_id: str) -> NotFoundError:
    """The one error for a campaign that is not there, or that is another organisation's."""
    return NotFoundError(f"no campaign {campaign_id[:64]!r}")


def new_campaign(
    wanted: NewCampaign, *, organization_id: str, minted_id: str, now: datetime, own_hosts: frozenset[str] = NO_HOSTS
) -> Campaign:
    """Return version 1 of what is wanted, or raise InvalidArgumentError with every violation.

    ``own_hosts`` are the organisation's tracking hosts, to which nothing may lead.
    """
    campaign_id = wanted.campaign_id or minted_id
    slug = wanted.slug or campaign_id
    campaign = Campaign(
        organization_id=organization_id,
        campaign_id=campaign_id,
        slug=slug,
        name=wanted.name or slug,
        status=wanted.status,
        definition=_with_claim_made(replace(wanted.definition, claim=_begun(wanted.definition.claim, None, now)), now),
        version=1,
        create_time=now,
        update_time=now,
        claim_version=1 if wanted.definition.claim else 0,
    )
    violations = []
    if not is_campaign_id(campaign_id):
        violations.append(Violation("campaign_id", "must be 1 to 64 of A-Z a-z 0-9 _ -"))
    if wanted.status is CampaignStatus.ARCHIVED:
        violations.append(Violation("status", "a campaign cannot begin as archived"))
    return _normalised(campaign, violations, own_hosts)


def changed(
    campaign: Campaign, change: CampaignChange, *, now: datetime, own_hosts: frozenset[str] = NO_HOSTS
) -> Campaign:
    """Return the next version, or ``campaign`` itself when the change changes nothing.

    Raise FailedPreconditionError when it is archived or not of the expected version, InvalidArgumentError with every
    violation otherwise.
    """
    check_version(campaign, change.expected_version)
    if campaign.status is CampaignStatus.ARCHIVED:
        raise FailedPreconditionError(f"campaign {campaign.campaign_id} is archived, for good")
    definition = campaign.definition if change.define is None else change.define(campaign.definition)
    if change.claim is not None:
        present = definition.claim
        definition = replace(definition, claim=_begun(change.claim(present), present, now))
    if change.status is CampaignStatus.ARCHIVED and definition.claim is not None:
        definition = replace(definition, claim=replace(definition.claim, close_time=now))
    wanted = replace(
        campaign,
        slug=campaign.slug if change.slug is None else change.slug,
        name=campaign.name if change.name is None else change.name,
        status=change.status or campaign.status,
        definition=definition,
    )
    # What leads nowhere else than before is not looked at: hosts may have come since.
    following = _normalised(wanted, [], own_hosts if change.define is not None else NO_HOSTS)
    if following == campaign and change.claim is None:
        return campaign
    is_claimed_anew = change.claim is not None or not _claims_alike(campaign, following)
    return next_version(following, campaign, now=now, claim_version=None if is_claimed_anew else campaign.claim_version)


def check_version(campaign: Campaign, expected: int) -> None:
    """Raise FailedPreconditionError unless the campaign has the version that a caller has seen; 0 is any."""
    if expected and expected != campaign.version:
        raise FailedPreconditionError(f"campaign {campaign.campaign_id} has version {campaign.version}, not {expected}")


def require_claim(campaign: Campaign) -> None:
    """Raise InvalidArgumentError unless a campaign claims something of history."""
    claim = campaign.definition.claim
    if claim is None or claim.is_withdrawn:
        raise InvalidArgumentError.of([Violation("retroactive", "must be true: nothing else changes history")])


def next_version(
    following: Campaign, before: Campaign, *, now: datetime, claim_version: int | None, restored_version: int = 0
) -> Campaign:
    """Return ``following`` as the version after ``before``; ``claim_version`` None: it makes a claim of its own."""
    claim, definition = following.definition.claim, following.definition
    version = before.version + 1
    # A machine whose clock is behind must not make a campaign younger.
    update_time = max(now, before.update_time)
    if claim is None or claim.is_withdrawn:
        claim_version = 0
    elif claim_version is None:
        definition = _with_claim_made(definition, update_time)
    return replace(
        following,
        definition=definition,
        version=version,
        update_time=update_time,
        claim_version=version if claim_version is None else claim_version,
        restored_version=restored_version,
    )


def _begun(wanted: Claim | None, present: Claim | None, now: datetime) -> Claim | None:
    """Return a wanted claim with the instant from which it goes on: that at which the campaign became retroactive."""
    if wanted is None:
        return None
    return replace(wanted, forward_start_time=(present and present.forward_start_time) or now, is_withdrawn=False)


def _with_claim_made(definition: Definition, now: datetime) -> Definition:
    claim = definition.claim
    return definition if claim is None else replace(definition, claim=replace(claim, made_time=now))


def _claims_alike(one: Campaign, other: Campaign) -> bool:
    """Whether two versions claim the same events, with the same marks on them."""
    return _claimed(one) == _claimed(other)


def _claimed(campaign: Campaign) -> tuple[object, ...]:
    definition, schedule = campaign.definition, campaign.definition.schedule
    return (
        definition.claim and replace(definition.claim, made_time=None),
        campaign.slug,
        definition.priority,
        schedule and (schedule.windows, schedule.time_zone),
        [(rule.rule_id, rule.predicate, rule.action.tags) for rule in definition.rules if not rule.is_disabled],
    )


def _normalised(campaign: Campaign, violations: list[Violation], own_hosts: frozenset[str]) -> Campaign:
    """Return the campaign in normal form, or raise InvalidArgumentError with every violation."""
    violations += _text_violations(campaign)
    found: list[Violation] = []
    definition = _normalised_definition(campaign.definition, found, own_hosts)
    violations += (_in_short(violation, campaign.definition) for violation in found)
    if campaign.campaign_id in definition.fallback_campaign_ids:
        violations.append(Violation("fallback", f"is the campaign {campaign.campaign_id!r} itself"))
    if violations:
        raise InvalidArgumentError.of(violations)
    return replace(campaign, definition=definition)


def _normalised_definition(wanted: Definition, violations: list[Violation], own_hosts: frozenset[str]) -> Definition:
    if wanted.action is None and not wanted.rules:
        violations.append(Violation("destination_url", "is required, or rules that have destinations"))
    if wanted.schedule is not None:
        violations += schedule_violations(wanted.schedule, "schedule")
    violations += cap_violations(wanted.caps, "caps")
    violations += priority_violations(wanted.priority, "priority")
    if wanted.claim is not None:
        violations += claim_violations(wanted.claim, "time_range")
    return replace(
        wanted,
        action=wanted.action and normalised_action(wanted.action, "action", violations, own_hosts),
        rules=normalised_rules(wanted.rules, "rules", violations, own_hosts),
        paused_fallback=normalised_fallback(wanted.paused_fallback, "paused_fallback", violations, own_hosts),
        expired_fallback=normalised_fallback(wanted.expired_fallback, "expired_fallback", violations, own_hosts),
        over_cap_fallback=normalised_fallback(wanted.over_cap_fallback, "over_cap_fallback", violations, own_hosts),
    )


def _in_short(violation: Violation, wanted: Definition) -> Violation:
    """Name the short form of a field where there is one destination: who gave a plain campaign knows no other."""
    short = {"paused_fallback.url": "fallback_url"}
    if wanted.action is not None and len(wanted.action.destinations) == 1:
        short["action.destinations[0].url"] = "destination_url"
    return replace(violation, field=short.get(violation.field, violation.field))


def _text_violations(campaign: Campaign) -> Iterator[Violation]:
    if not _SLUG.fullmatch(campaign.slug):
        yield Violation("slug", "must be 1 to 128 of A-Z a-z 0-9 _ - . ~")
    elif campaign.slug in (".", ".."):
        yield Violation("slug", "`.` and `..` are taken out of a link's path by browsers")
    name = campaign.name
    if len(name) > MAX_NAME_CHARACTERS:
        yield Violation("name", f"has {len(name)} characters, {MAX_NAME_CHARACTERS} are allowed")
    if not name.strip():
        yield Violation("name", "must not be empty")
    if any(unicodedata.category(character) == "Cc" for character in name):
        yield Violation("name", "has a control character")
