"""Between the contract's messages and the domain."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from attribution_svc.campaign import Campaign, CampaignChange, CampaignStatus, NewCampaign, ParameterPolicy
from attribution_svc.routing_feed import RoutingUpdate
from svc_runtime.errors import InvalidArgumentError, Violation
from trellis.attribution.v1 import attribution_service_pb2 as pb

_STATUS_TO_PB = {
    CampaignStatus.ACTIVE: pb.CAMPAIGN_STATUS_ACTIVE,
    CampaignStatus.PAUSED: pb.CAMPAIGN_STATUS_PAUSED,
    CampaignStatus.ARCHIVED: pb.CAMPAIGN_STATUS_ARCHIVED,
}
_STATUS_FROM_PB = {number: status for status, number in _STATUS_TO_PB.items()}
_POLICY_TO_PB = {
    ParameterPolicy.MERGE: pb.PARAMETER_POLICY_MERGE,
    ParameterPolicy.NONE: pb.PARAMETER_POLICY_NONE,
}
_POLICY_FROM_PB = {number: policy for policy, number in _POLICY_TO_PB.items()}


def new_campaign_from_pb(request: pb.CreateCampaignRequest) -> NewCampaign:
    """Read what is wanted; raise InvalidArgumentError for enum values that we do not know."""
    violations: list[Violation] = []
    status = _status(request.status, violations)
    policy = _policy(request.parameter_policy, violations)
    if violations:
        raise InvalidArgumentError.of(violations)
    return NewCampaign(
        campaign_id=request.campaign_id,
        slug=request.slug,
        name=request.name,
        status=status or CampaignStatus.ACTIVE,
        destination_url=request.destination_url,
        parameter_policy=policy or ParameterPolicy.MERGE,
        fallback_url=request.fallback_url,
    )


def change_from_pb(request: pb.UpdateCampaignRequest) -> CampaignChange:
    """Read what is to be otherwise; raise InvalidArgumentError for enum values that we do not know."""
    violations: list[Violation] = []
    status = _status(request.status, violations)
    policy = _policy(request.parameter_policy, violations)
    if violations:
        raise InvalidArgumentError.of(violations)
    if request.HasField("parameter_policy"):
        # Set to "not set" means the default, as it does when a campaign is created.
        policy = policy or ParameterPolicy.MERGE
    return CampaignChange(
        slug=request.slug if request.HasField("slug") else None,
        name=request.name if request.HasField("name") else None,
        status=status,
        destination_url=request.destination_url if request.HasField("destination_url") else None,
        parameter_policy=policy,
        fallback_url=request.fallback_url if request.HasField("fallback_url") else None,
        expected_version=request.expected_version,
    )


def status_filter_from_pb(request: pb.ListCampaignsRequest) -> CampaignStatus | None:
    """Read the filter; None means all but the archived. Raise InvalidArgumentError for a status that we do not know."""
    violations: list[Violation] = []
    status = _status(request.status, violations)
    if violations:
        raise InvalidArgumentError.of(violations)
    return status


def campaign_to_pb(campaign: Campaign) -> pb.Campaign:
    """Write a campaign."""
    return pb.Campaign(
        campaign_id=campaign.campaign_id,
        organization_id=campaign.organization_id,
        slug=campaign.slug,
        name=campaign.name,
        status=_STATUS_TO_PB[campaign.status],
        destination_url=campaign.destination_url,
        parameter_policy=_POLICY_TO_PB[campaign.parameter_policy],
        fallback_url=campaign.fallback_url,
        version=campaign.version,
        create_time=_time_to_pb(campaign.create_time),
        update_time=_time_to_pb(campaign.update_time),
    )


def routing_update_to_pb(update: RoutingUpdate) -> pb.WatchRoutingResponse:
    """Write a message to a watcher."""
    return pb.WatchRoutingResponse(
        epoch=update.epoch,
        revision=update.revision,
        is_snapshot=update.is_snapshot,
        campaigns=[campaign_to_pb(campaign) for campaign in update.campaigns],
    )


def _status(number: pb.CampaignStatus.ValueType, violations: list[Violation]) -> CampaignStatus | None:
    if number not in _STATUS_FROM_PB and number != pb.CAMPAIGN_STATUS_UNSPECIFIED:
        violations.append(Violation("status", f"{number} is no campaign status"))
    return _STATUS_FROM_PB.get(number)


def _policy(number: pb.ParameterPolicy.ValueType, violations: list[Violation]) -> ParameterPolicy | None:
    if number not in _POLICY_FROM_PB and number != pb.PARAMETER_POLICY_UNSPECIFIED:
        violations.append(Violation("parameter_policy", f"{number} is no parameter policy"))
    return _POLICY_FROM_PB.get(number)


def _time_to_pb(instant: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(instant)
    return timestamp
