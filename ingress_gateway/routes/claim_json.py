"""What makes a campaign retroactive as JSON: read with every problem named, and written; and what it would change."""

from datetime import UTC, date, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from ingress_gateway.given import Given, shown_value
from ingress_gateway.instants import parse_instant, timestamp_text
from ingress_gateway.routes.analytics.numbers import amount, instant_of
from ingress_gateway.routes.campaign_json import Member
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import overlay_service_pb2 as overlay_pb
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import claim_pb2

POLICIES = {
    "unattributed": claim_pb2.CONFLICT_POLICY_UNATTRIBUTED,
    "by_priority": claim_pb2.CONFLICT_POLICY_BY_PRIORITY,
}
_POLICY_WORDS = {number: word for word, number in POLICIES.items()}
_STATE_WORDS = {
    claim_pb2.CLAIM_STATE_WAITING: "waiting",
    claim_pb2.CLAIM_STATE_TAKEN: "taken",
    claim_pb2.CLAIM_STATE_REFUSED: "refused",
}


def claim_given(given: Given, *, is_retroactive: bool = False) -> claim_pb2.Claim | None:
    """Return the claim of the body, of `retroactive`, `time_range` and `conflict_policy`; None when it wants none.

    ``is_retroactive``: the call is about one anyway.
    """
    flag = None if is_retroactive else given.flag("retroactive")
    policy = given.choice("conflict_policy", POLICIES)
    value = given.anything("time_range")
    if not is_retroactive and not flag:
        for name in ("time_range", "conflict_policy"):
            if given.has(name):
                given.refuse(name, "is for a campaign that is retroactive: say `retroactive`: true")
        return None
    claim = claim_pb2.Claim(conflict_policy=policy or claim_pb2.CONFLICT_POLICY_UNSPECIFIED)
    if value is not None:
        member = Member(given, "time_range", value)
        start, end = _bound(member, "start"), _bound(member, "end")
        member.check()
        # Empty is a wish too: any time.
        claim.time_range.SetInParent()
        if start is not None:
            claim.time_range.start_time.CopyFrom(start)
        if end is not None:
            claim.time_range.end_time.CopyFrom(end)
    return claim


def _bound(member: Member, name: str) -> Timestamp | None:
    return _moment(member, name, member.text(name))


def moment_of(given: Given, name: str) -> Timestamp | None:
    """Read an instant, or a date, which is its first instant in UTC."""
    return _moment(given, name, given.text(name))


def _moment(given: Given | Member, name: str, text: str | None) -> Timestamp | None:
    if not text:
        return None
    found = parse_instant(text) or _midnight(text)
    if found is None:
        given.refuse(name, f"is {shown_value(text)}, must be a date or RFC 3339, for example 2026-11-03T10:00:00Z")
    return timestamp_of(found)


def _midnight(text: str) -> datetime | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def claim_view(campaign: pb.Campaign) -> dict[str, Any]:
    """Write whether a campaign is retroactive, and what became of its claim."""
    claim, progress = campaign.claim, campaign.claim_progress
    has_claim = campaign.HasField("claim")
    return {
        "retroactive": has_claim and not claim.is_withdrawn,
        "operation_id": progress.operation_id,
        "claim": {
            "time_range": {
                "start": instant_of(claim.time_range, "start_time"),
                "end": instant_of(claim.time_range, "end_time"),
            },
            "conflict_policy": _POLICY_WORDS.get(claim.conflict_policy, "unattributed"),
            "forward_start_time": instant_of(claim, "forward_start_time"),
            "is_withdrawn": claim.is_withdrawn,
            "version": campaign.claim_version,
            "state": _STATE_WORDS.get(progress.state, "unknown"),
            "error": progress.error,
        }
        if has_claim
        else None,
    }


def preview_view(campaign: pb.Campaign, preview: overlay_pb.PreviewClaimResponse) -> dict[str, Any]:
    """Write what a claim would change."""
    return {
        "campaign_id": campaign.campaign_id,
        "version": campaign.version,
        "event_count": preview.event_count,
        "click_count": preview.click_count,
        "user_count": preview.user_count,
        "conversion_count": preview.conversion_count,
        "revenue": [_money(found) for found in preview.amounts],
        "missing_field_count": preview.missing_field_count,
        "kept_by_others_count": preview.kept_by_others_count,
        "taken_from": [
            {
                "campaign_id": found.campaign_id or None,
                "event_count": found.event_count,
                "conversion_count": found.conversion_count,
            }
            for found in preview.taken_from
        ],
        "rules": [{"rule_id": found.rule_id or None, "event_count": found.event_count} for found in preview.rules],
        "days": [
            {
                "day": found.day,
                "event_count": found.event_count,
                "click_count": found.click_count,
                "conversion_count": found.conversion_count,
                "revenue": [_money(money) for money in found.amounts],
            }
            for found in preview.days
        ],
        "samples": [_sample(found) for found in preview.samples],
        "watermark": instant_of(preview, "watermark_time"),
    }


def _money(found: overlay_pb.ClaimedAmount) -> dict[str, Any]:
    return {"currency": found.currency, "amount": amount(found.value_micros)}


def _sample(found: overlay_pb.ClaimedSample) -> dict[str, Any]:
    return {
        "event_id": found.event_id,
        "event_time": timestamp_text(found.event_time),
        "event_type": found.event_type,
        "url": found.url,
        "referer": found.referer,
        "source": found.source,
        "campaign_id": found.campaign_id or None,
        "rule_id": found.rule_id or None,
    }
