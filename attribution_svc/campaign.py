"""A campaign, and the rules of its making and changing. Pure: no clock, no store."""

import enum
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from attribution_svc.destination import read_destination
from svc_runtime.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, Violation

MAX_NAME_CHARACTERS = 200
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SLUG = re.compile(r"[A-Za-z0-9_.~-]{1,128}")


class CampaignStatus(enum.Enum):
    """Where a campaign stands."""

    ACTIVE = "active"
    PAUSED = "paused"
    ARCHIVED = "archived"


class ParameterPolicy(enum.Enum):
    """Which incoming parameters reach the destination."""

    MERGE = "merge"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Campaign:
    """Sends the traffic of a slug to a destination. Rules are to join it."""

    organization_id: str
    campaign_id: str
    slug: str
    name: str
    status: CampaignStatus
    destination_url: str
    parameter_policy: ParameterPolicy
    fallback_url: str
    """Where traffic goes while the campaign is paused; empty: a 404 page."""
    version: int
    """Rises by one with every change, from 1."""
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class NewCampaign:
    """What a caller wants. Empty texts stand for the defaults."""

    campaign_id: str = ""
    slug: str = ""
    name: str = ""
    status: CampaignStatus = CampaignStatus.ACTIVE
    destination_url: str = ""
    parameter_policy: ParameterPolicy = ParameterPolicy.MERGE
    fallback_url: str = ""


@dataclass(frozen=True, slots=True)
class CampaignChange:
    """What a caller wants to be otherwise. None: as it is."""

    slug: str | None = None
    name: str | None = None
    status: CampaignStatus | None = None
    destination_url: str | None = None
    parameter_policy: ParameterPolicy | None = None
    fallback_url: str | None = None
    expected_version: int = 0
    """The version that the caller has seen; 0: do not check."""


def is_campaign_id(text: str) -> bool:
    """Whether ``text`` can be a campaign's id at all."""
    return _ID.fullmatch(text) is not None


def no_such_campaign(campaign_id: str) -> NotFoundError:
    """The one error for a campaign that is not there, or that is another organisation's."""
    return NotFoundError(f"no campaign {campaign_id[:64]!r}")


def new_campaign(wanted: NewCampaign, *, organization_id: str, minted_id: str, now: datetime) -> Campaign:
    """Return version 1 of what is wanted, or raise InvalidArgumentError with every violation."""
    campaign_id = wanted.campaign_id or minted_id
    slug = wanted.slug or campaign_id
    campaign = Campaign(
        organization_id=organization_id,
        campaign_id=campaign_id,
        slug=slug,
        name=wanted.name or slug,
        status=wanted.status,
        destination_url=wanted.destination_url,
        parameter_policy=wanted.parameter_policy,
        fallback_url=wanted.fallback_url,
        version=1,
        create_time=now,
        update_time=now,
    )
    violations = []
    if not is_campaign_id(campaign_id):
        violations.append(Violation("campaign_id", "must be 1 to 64 of A-Z a-z 0-9 _ -"))
    if wanted.status is CampaignStatus.ARCHIVED:
        violations.append(Violation("status", "a campaign cannot begin as archived"))
    return _normalised(campaign, violations)


def changed(campaign: Campaign, change: CampaignChange, *, now: datetime) -> Campaign:
    """Return the next version, or ``campaign`` itself when the change changes nothing.

    Raise FailedPreconditionError when it is archived or not of the expected version, InvalidArgumentError with every
    violation otherwise.
    """
    if change.expected_version and change.expected_version != campaign.version:
        raise FailedPreconditionError(
            f"campaign {campaign.campaign_id} has version {campaign.version}, not {change.expected_version}"
        )
    if campaign.status is CampaignStatus.ARCHIVED:
        raise FailedPreconditionError(f"campaign {campaign.campaign_id} is archived, for good")
    wanted = Campaign(
        organization_id=campaign.organization_id,
        campaign_id=campaign.campaign_id,
        slug=campaign.slug if change.slug is None else change.slug,
        name=campaign.name if change.name is None else change.name,
        status=change.status or campaign.status,
        destination_url=campaign.destination_url if change.destination_url is None else change.destination_url,
        parameter_policy=change.parameter_policy or campaign.parameter_policy,
        fallback_url=campaign.fallback_url if change.fallback_url is None else change.fallback_url,
        version=campaign.version,
        create_time=campaign.create_time,
        update_time=campaign.update_time,
    )
    following = _normalised(wanted, [])
    if following == campaign:
        return campaign
    # A machine whose clock is behind must not make a campaign younger.
    return replace(following, version=campaign.version + 1, update_time=max(now, campaign.update_time))


def _normalised(campaign: Campaign, violations: list[Violation]) -> Campaign:
    """Return the campaign with its URLs in normal form, or raise InvalidArgumentError with every violation."""
    destination = read_destination(campaign.destination_url)
    fallback = read_destination(campaign.fallback_url) if campaign.fallback_url else None
    found = [
        *violations,
        *_text_violations(campaign),
        *(Violation("destination_url", problem) for problem in destination.problems),
        *(Violation("fallback_url", problem) for problem in (fallback.problems if fallback else ())),
    ]
    if found:
        raise InvalidArgumentError.of(found)
    return replace(campaign, destination_url=destination.url, fallback_url=fallback.url if fallback else "")


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
