"""What is said about claims, in the contract's form."""

from collections.abc import Mapping

from analytics_svc.claims.event_claims import EventOwner
from analytics_svc.claims.preview import ClaimPreview
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import overlay_service_pb2 as pb


def preview_to_pb(preview: ClaimPreview) -> pb.PreviewClaimResponse:
    """Write what a claim would change."""
    total = preview.total
    return pb.PreviewClaimResponse(
        event_count=total.events,
        click_count=total.clicks,
        user_count=total.users,
        conversion_count=total.conversions,
        amounts=_amounts(total.amounts),
        taken_from=[
            pb.ClaimedFrom(campaign_id=campaign_id, event_count=one.events, conversion_count=one.conversions)
            for campaign_id, one in preview.taken_from
        ],
        days=[
            pb.ClaimedDay(
                day=f"{day:%Y-%m-%d}",
                event_count=one.events,
                click_count=one.clicks,
                conversion_count=one.conversions,
                amounts=_amounts(one.amounts),
            )
            for day, one in preview.days
        ],
        rules=[pb.ClaimedByRule(rule_id=rule_id, event_count=count) for rule_id, count in preview.rules],
        samples=[
            pb.ClaimedSample(
                event_id=one.event_id,
                event_time=timestamp_of(one.event_time),
                event_type=one.event_type,
                url=one.url,
                referer=one.referer,
                source=one.source,
                campaign_id=one.campaign_id,
                rule_id=one.rule_id,
            )
            for one in preview.samples
        ],
        missing_field_count=total.missing,
        kept_by_others_count=preview.kept_by_others,
        watermark_time=timestamp_of(preview.watermark_time),
    )


def owner_to_pb(owner: EventOwner) -> pb.GetEventClaimsResponse:
    """Write whose an event is, and was."""
    return pb.GetEventClaimsResponse(
        campaign_id=owner.campaign_id,
        rule_id=owner.rule_id,
        routed_campaign_id=owner.routed_campaign_id,
        routed_rule_id=owner.routed_rule_id,
        claims=[
            pb.EventClaim(
                campaign_id=one.campaign_id,
                version=one.version,
                rule_id=one.rule_id,
                priority=one.priority,
                claim_time=timestamp_of(one.claim_time),
                is_active=one.is_active,
            )
            for one in owner.claims
        ],
        touch_event_id=owner.touch_event_id,
    )


def _amounts(amounts: Mapping[str, int]) -> list[pb.ClaimedAmount]:
    return [pb.ClaimedAmount(currency=code, value_micros=micros) for code, micros in sorted(amounts.items())]
