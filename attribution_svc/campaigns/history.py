"""The versions of a campaign, and going back to one. Pure: no clock, no store.

History is a line: going back makes a new version with the content of an earlier one. So every version is there for
ever, and so is who made it.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from attribution_svc.campaigns.campaign import Campaign, CampaignStatus, check_version, next_version
from svc_runtime.errors import FailedPreconditionError, NotFoundError


@dataclass(frozen=True, slots=True)
class CampaignVersion:
    """What a campaign was."""

    campaign: Campaign
    """As it was then; ``update_time`` is when it became so."""
    actor: str


def no_such_version(campaign_id: str, version: int) -> NotFoundError:
    """The one error for a version that a campaign never had."""
    return NotFoundError(f"campaign {campaign_id[:64]!r} has no version {version}")


def restored(campaign: Campaign, earlier: Campaign, *, expected_version: int, now: datetime) -> Campaign:
    """Return the next version, with the content of ``earlier``; ``campaign`` itself where nothing would change.

    Raise FailedPreconditionError when it is archived or not of the expected version.
    """
    check_version(campaign, expected_version)
    if campaign.status is CampaignStatus.ARCHIVED:
        raise FailedPreconditionError(f"campaign {campaign.campaign_id} is archived, for good")
    following = replace(
        campaign, slug=earlier.slug, name=earlier.name, status=earlier.status, definition=earlier.definition
    )
    if following == campaign and campaign.claim_version == earlier.claim_version:
        return campaign
    return next_version(
        following, campaign, now=now, claim_version=earlier.claim_version, restored_version=earlier.version
    )


def withdrawn(campaign: Campaign, *, expected_version: int, now: datetime) -> Campaign:
    """Return the next version, which claims nothing and routes nothing; ``campaign`` itself where that is so already.

    Raise FailedPreconditionError when it is not retroactive or not of the expected version. An archived campaign stays
    so, and may be undone all the same.
    """
    check_version(campaign, expected_version)
    claim = campaign.definition.claim
    if claim is None:
        raise FailedPreconditionError(f"campaign {campaign.campaign_id} is not retroactive: there is nothing to undo")
    if claim.is_withdrawn:
        return campaign
    is_archived = campaign.status is CampaignStatus.ARCHIVED
    following = replace(
        campaign,
        status=campaign.status if is_archived else CampaignStatus.PAUSED,
        definition=replace(campaign.definition, claim=replace(claim, is_withdrawn=True)),
    )
    return next_version(following, campaign, now=now, claim_version=0)
