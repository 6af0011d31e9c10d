"""Between the contracts' messages and the domain: claims, here and as analytics_svc takes them."""

from collections.abc import Callable, Sequence
from datetime import UTC

from attribution_svc.campaigns.campaign import Campaign
from attribution_svc.campaigns.claim import Claim, ClaimOrder, ConflictPolicy, OrderState
from attribution_svc.campaigns.rule import WEEKDAYS, Schedule
from rule_language.parse import predicate_to_pb
from svc_runtime.errors import Violation
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import overlay_service_pb2 as overlay_pb
from trellis.attribution.v1 import claim_pb2 as pb
from trellis.type.v1 import time_range_pb2

_POLICY_TO_PB = {policy: pb.ConflictPolicy.Value(f"CONFLICT_POLICY_{policy.name}") for policy in ConflictPolicy}
_POLICY_FROM_PB = {number: policy for policy, number in _POLICY_TO_PB.items()}
_STATE_TO_PB = {state: pb.ClaimState.Value(f"CLAIM_STATE_{state.name}") for state in OrderState}
_CLAIM_POLICY = {
    ConflictPolicy.UNATTRIBUTED: overlay_pb.CLAIM_POLICY_UNATTRIBUTED,
    ConflictPolicy.BY_PRIORITY: overlay_pb.CLAIM_POLICY_BY_PRIORITY,
}


def claim_from_pb(message: pb.Claim, violations: list[Violation]) -> Claim:
    """Read a wanted claim; add what cannot be read to ``violations``. What is set by us is not read."""
    if message.conflict_policy not in _POLICY_FROM_PB and message.conflict_policy:
        violations.append(Violation("conflict_policy", f"{message.conflict_policy} is no conflict policy"))
    times = message.time_range
    return Claim(
        start_time=times.start_time.ToDatetime(UTC) if times.HasField("start_time") else None,
        end_time=times.end_time.ToDatetime(UTC) if times.HasField("end_time") else None,
        policy=_POLICY_FROM_PB.get(message.conflict_policy, ConflictPolicy.UNATTRIBUTED),
    )


def claim_step_from_pb(message: pb.Claim, violations: list[Violation]) -> Callable[[Claim | None], Claim]:
    """Read a wanted claim as what makes it of the present one: what is not set stays."""
    wanted = claim_from_pb(message, violations)

    def step(present: Claim | None) -> Claim:
        times = wanted if message.HasField("time_range") else present or wanted
        policy = wanted.policy if message.conflict_policy else (present or wanted).policy
        return Claim(times.start_time, times.end_time, policy)

    return step


def claim_to_pb(claim: Claim | None) -> pb.Claim | None:
    """Write a claim."""
    if claim is None:
        return None
    return pb.Claim(
        time_range=_range(claim),
        conflict_policy=_POLICY_TO_PB[claim.policy],
        forward_start_time=timestamp_of(claim.forward_start_time),
        is_withdrawn=claim.is_withdrawn,
        make_time=timestamp_of(claim.made_time),
        close_time=timestamp_of(claim.close_time),
    )


def order_to_pb(order: ClaimOrder | None) -> pb.ClaimProgress | None:
    """Write what became of an order."""
    if order is None:
        return None
    return pb.ClaimProgress(state=_STATE_TO_PB[order.state], operation_id=order.operation_id, error=order.error)


def overlay_claim_to_pb(campaign: Campaign, yielding: Sequence[str]) -> overlay_pb.Claim:
    """Write the claim of a retroactive campaign's version as analytics_svc takes it.

    ``yielding`` are the campaigns that give way. Raise ValueError for a campaign without a claim.
    """
    claim, schedule = campaign.definition.claim, campaign.definition.schedule
    if claim is None:
        raise ValueError(f"campaign {campaign.campaign_id} claims nothing")
    return overlay_pb.Claim(
        campaign_id=campaign.campaign_id,
        version=campaign.version,
        priority=campaign.definition.priority,
        rules=[
            overlay_pb.ClaimRule(
                rule_id=rule.rule_id,
                predicate=None if rule.predicate is None else predicate_to_pb(rule.predicate),
                tags=rule.action.tags,
            )
            for rule in campaign.definition.rules
            if not rule.is_disabled
        ],
        slug=campaign.slug,
        time_range=_range(claim),
        forward_start_time=timestamp_of(claim.forward_start_time),
        close_time=timestamp_of(claim.close_time),
        windows=_windows(schedule) if schedule else [],
        time_zone=schedule.time_zone if schedule else "UTC",
        policy=_CLAIM_POLICY[claim.policy],
        yielding_campaign_ids=yielding,
    )


def _range(claim: Claim) -> time_range_pb2.TimeRange:
    return time_range_pb2.TimeRange(start_time=timestamp_of(claim.start_time), end_time=timestamp_of(claim.end_time))


def _windows(schedule: Schedule) -> list[overlay_pb.ClaimWindow]:
    return [
        overlay_pb.ClaimWindow(
            weekdays=[WEEKDAYS.index(word) + 1 for word in window.weekdays],
            start_minute=window.start_minute,
            end_minute=window.end_minute,
        )
        for window in schedule.windows
    ]
