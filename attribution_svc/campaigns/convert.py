"""Between the contract's messages and the domain: campaigns and what gateways follow."""

from collections.abc import Callable
from dataclasses import replace

from attribution_svc.campaigns.campaign import (
    Campaign,
    CampaignChange,
    CampaignStatus,
    Definition,
    NewCampaign,
)
from attribution_svc.campaigns.claim import ClaimOrder
from attribution_svc.campaigns.convert_claims import claim_from_pb, claim_step_from_pb, claim_to_pb, order_to_pb
from attribution_svc.campaigns.convert_rules import (
    POLICY_FROM_PB,
    POLICY_TO_PB,
    action_from_pb,
    action_to_pb,
    caps_from_pb,
    caps_to_pb,
    fallback_from_pb,
    fallback_to_pb,
    rules_from_pb,
    rules_to_pb,
    schedule_from_pb,
    schedule_to_pb,
)
from attribution_svc.campaigns.history import CampaignVersion
from attribution_svc.campaigns.routing_feed import RoutingUpdate
from attribution_svc.campaigns.rule import Action, Destination, Fallback, ParameterPolicy
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import rule_pb2

_STATUS_TO_PB = {
    CampaignStatus.ACTIVE: pb.CAMPAIGN_STATUS_ACTIVE,
    CampaignStatus.PAUSED: pb.CAMPAIGN_STATUS_PAUSED,
    CampaignStatus.ARCHIVED: pb.CAMPAIGN_STATUS_ARCHIVED,
}
_STATUS_FROM_PB = {number: status for status, number in _STATUS_TO_PB.items()}
_Step = Callable[[Definition], Definition]


def new_campaign_from_pb(request: pb.CreateCampaignRequest) -> NewCampaign:
    """Read what is wanted; raise InvalidArgumentError with everything that cannot be read."""
    violations: list[Violation] = []
    status = _status(request.status, violations)
    policy = _policy(request.parameter_policy, violations)
    action = action_from_pb(request.action, "action", violations) if request.HasField("action") else None
    if action is not None and request.destination_url:
        violations.append(Violation("destination_url", "is given, and action too; give one of them"))
    if action is None and request.destination_url:
        action = Action((Destination(request.destination_url),), parameter_policy=policy or ParameterPolicy.MERGE)
    paused = fallback_from_pb(request.paused_fallback)
    if paused is not None and request.fallback_url:
        violations.append(Violation("fallback_url", "is given, and paused_fallback too; give one of them"))
    definition = Definition(
        action=action,
        rules=rules_from_pb(request.rules, violations),
        paused_fallback=paused or (Fallback(url=request.fallback_url) if request.fallback_url else None),
        expired_fallback=fallback_from_pb(request.expired_fallback),
        over_cap_fallback=fallback_from_pb(request.over_cap_fallback),
        schedule=schedule_from_pb(request.schedule) if request.HasField("schedule") else None,
        caps=caps_from_pb(request.caps, violations),
        priority=request.priority,
        claim=claim_from_pb(request.claim, violations) if request.HasField("claim") else None,
    )
    if violations:
        raise InvalidArgumentError.of(violations)
    return NewCampaign(
        campaign_id=request.campaign_id,
        slug=request.slug,
        name=request.name,
        status=status or CampaignStatus.ACTIVE,
        definition=definition,
    )


def change_from_pb(request: pb.UpdateCampaignRequest) -> CampaignChange:
    """Read what is to be otherwise; raise InvalidArgumentError with everything that cannot be read."""
    violations: list[Violation] = []
    status = _status(request.status, violations)
    steps = [*_action_steps(request, violations), *_fallback_steps(request, violations)]
    if request.HasField("schedule"):
        schedule = schedule_from_pb(request.schedule) if request.schedule.ByteSize() else None
        steps.append(lambda present: replace(present, schedule=schedule))
    if request.HasField("caps"):
        caps = caps_from_pb(request.caps.caps, violations)
        steps.append(lambda present: replace(present, caps=caps))
    if request.HasField("priority"):
        steps.append(lambda present: replace(present, priority=request.priority))
    if request.HasField("rules"):
        rules = rules_from_pb(request.rules.rules, violations)
        steps.append(lambda present: replace(present, rules=rules))
    claim = claim_step_from_pb(request.claim, violations) if request.HasField("claim") else None
    if violations:
        raise InvalidArgumentError.of(violations)
    return CampaignChange(
        slug=request.slug if request.HasField("slug") else None,
        name=request.name if request.HasField("name") else None,
        status=status,
        define=_all(steps) if steps else None,
        claim=claim,
        expected_version=request.expected_version,
    )


def _action_steps(request: pb.UpdateCampaignRequest, violations: list[Violation]) -> list[_Step]:
    steps: list[_Step] = []
    policy = _policy(request.parameter_policy, violations)
    if request.HasField("action"):
        if request.HasField("destination_url") or request.HasField("parameter_policy"):
            violations.append(Violation("action", "is given, and destination_url or parameter_policy too"))
        action = action_from_pb(request.action, "action", violations) if request.action.destinations else None
        steps.append(lambda present: replace(present, action=action))
    if request.HasField("destination_url"):
        steps.append(lambda present: _with_url(present, request.destination_url))
    if request.HasField("parameter_policy"):
        # Set to "not set" means the default, as it does when a campaign is created.
        steps.append(lambda present: _with_policy(present, policy or ParameterPolicy.MERGE))
    return steps


def _with_url(present: Definition, url: str) -> Definition:
    if present.action is None:
        return replace(present, action=Action((Destination(url),)))
    first, *others = present.action.destinations
    return replace(present, action=replace(present.action, destinations=(replace(first, url=url), *others)))


def _with_policy(present: Definition, policy: ParameterPolicy) -> Definition:
    if present.action is None:
        return present
    names = present.action.parameter_names if policy is ParameterPolicy.ONLY else ()
    return replace(present, action=replace(present.action, parameter_policy=policy, parameter_names=names))


def _fallback_steps(request: pb.UpdateCampaignRequest, violations: list[Violation]) -> list[_Step]:
    steps: list[_Step] = []
    if request.HasField("fallback_url"):
        if request.HasField("paused_fallback"):
            violations.append(Violation("fallback_url", "is given, and paused_fallback too; give one of them"))
        url = request.fallback_url
        steps.append(lambda present: replace(present, paused_fallback=Fallback(url=url) if url else None))
    if request.HasField("paused_fallback"):
        paused = fallback_from_pb(request.paused_fallback)
        steps.append(lambda present: replace(present, paused_fallback=paused))
    if request.HasField("expired_fallback"):
        expired = fallback_from_pb(request.expired_fallback)
        steps.append(lambda present: replace(present, expired_fallback=expired))
    if request.HasField("over_cap_fallback"):
        over_cap = fallback_from_pb(request.over_cap_fallback)
        steps.append(lambda present: replace(present, over_cap_fallback=over_cap))
    return steps


def _all(steps: list[_Step]) -> _Step:
    def define(present: Definition) -> Definition:
        for step in steps:
            present = step(present)
        return present

    return define


def status_filter_from_pb(request: pb.ListCampaignsRequest) -> CampaignStatus | None:
    """Read the filter; None means all but the archived. Raise InvalidArgumentError for a status that we do not know."""
    violations: list[Violation] = []
    status = _status(request.status, violations)
    if violations:
        raise InvalidArgumentError.of(violations)
    return status


def version_to_pb(version: CampaignVersion) -> pb.CampaignVersion:
    """Write a version."""
    return pb.CampaignVersion(campaign=campaign_to_pb(version.campaign), actor=version.actor)


def campaign_to_pb(campaign: Campaign, order: ClaimOrder | None = None) -> pb.Campaign:
    """Write a campaign, its short forms too; ``order`` is what became of its claim."""
    definition = campaign.definition
    return pb.Campaign(
        campaign_id=campaign.campaign_id,
        organization_id=campaign.organization_id,
        slug=campaign.slug,
        name=campaign.name,
        status=_STATUS_TO_PB[campaign.status],
        destination_url=campaign.destination_url,
        parameter_policy=POLICY_TO_PB[campaign.parameter_policy],
        fallback_url=campaign.fallback_url,
        version=campaign.version,
        create_time=timestamp_of(campaign.create_time),
        update_time=timestamp_of(campaign.update_time),
        action=action_to_pb(definition.action) if definition.action else None,
        expired_fallback=fallback_to_pb(definition.expired_fallback),
        over_cap_fallback=fallback_to_pb(definition.over_cap_fallback),
        schedule=schedule_to_pb(definition.schedule) if definition.schedule else None,
        caps=caps_to_pb(definition.caps),
        priority=definition.priority,
        paused_fallback=fallback_to_pb(definition.paused_fallback),
        rules=rules_to_pb(definition.rules),
        claim=claim_to_pb(definition.claim),
        claim_version=campaign.claim_version,
        restored_version=campaign.restored_version,
        claim_progress=order_to_pb(order),
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


def _policy(number: rule_pb2.ParameterPolicy.ValueType, violations: list[Violation]) -> ParameterPolicy | None:
    if number not in POLICY_FROM_PB and number != rule_pb2.PARAMETER_POLICY_UNSPECIFIED:
        violations.append(Violation("parameter_policy", f"{number} is no parameter policy"))
    return POLICY_FROM_PB.get(number)
