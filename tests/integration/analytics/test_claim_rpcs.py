"""OverlayService over the wire and over a real reading."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analytics_svc.store import rollups
from svc_runtime.errors import Code
from svc_runtime.timestamps import timestamp_of
from tests.contract.analytics.test_projection_rpcs import refusal
from tests.integration.analytics.claim_site import SERVICE, Service, caller, rule, service
from tests.reading import ACME, NOON, OTHER, insert_events
from trellis.analytics.v1 import overlay_service_pb2 as pb
from trellis.analytics.v1 import projection_service_pb2 as projection_pb

pytestmark = [pytest.mark.store, pytest.mark.loopback, pytest.mark.timeout(180)]
DAY = timedelta(days=1)
SUCCEEDED = projection_pb.OPERATION_STATE_SUCCEEDED


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Service]:
    """Ten clicks from TikTok and five from elsewhere, a sale of one of them, and another organisation's."""
    async with service(tmp_path) as found:
        clicks = [click(number, "tiktok", NOON + number * DAY) for number in range(10)]
        clicks += [click(number, "google", NOON + number * DAY, campaign_id="cmp_old") for number in range(10, 13)]
        clicks += [click(number, "", NOON) for number in range(13, 15)]
        ids = insert_events(found.client, clicks)
        others = {**click(0, "tiktok", NOON), "organization_id": OTHER}
        insert_events(found.client, [sale(ids[0], NOON + DAY), others])
        yield found


def click(number: int, source: str, time: datetime, **more: Any) -> dict[str, Any]:
    """Return a click."""
    return {"event_id": uuid.uuid4(), "event_time": time, "source": source, "user_id": f"u{number}", **more}


def sale(touch: uuid.UUID, time: datetime) -> dict[str, Any]:
    """Return a sale that goes back to a click."""
    return {
        "event_type": "sale",
        "conversion_event": "sale",
        "is_conversion": 1,
        "route": "postback",
        "value": 12.5,
        "currency": "USD",
        "event_time": time,
        "source": "tiktok",
        "user_id": "u0",
        "traffic_rule": "click",
        "touch_event_id": touch,
        "touch_time": NOON,
        "own": [""] * 30,
    }


def tiktok(version: int = 1, **more: Any) -> pb.Claim:
    """Return a claim on the traffic of TikTok."""
    rules = [rule("r1", "source", "tiktok", tags=["social"])]
    return pb.Claim(**{"campaign_id": "cmp_tiktok", "version": version, "rules": rules, **more})


async def test_a_claim_is_previewed_applied_undone_and_applied_again(site: Service) -> None:
    request = pb.PreviewClaimRequest(claim=tiktok(0))
    preview = await site.overlays.PreviewClaim(request, metadata=caller(ACME))
    assert (preview.event_count, preview.click_count, preview.user_count, preview.conversion_count) == (11, 10, 10, 1)
    assert [(one.currency, one.value_micros) for one in preview.amounts] == [("USD", 12_500_000)]
    assert [(one.campaign_id, one.event_count, one.conversion_count) for one in preview.taken_from] == [("", 11, 1)]
    assert [(one.rule_id, one.event_count) for one in preview.rules] == [("r1", 11)]
    assert [one.event_count for one in preview.days] == [1, 2, 1, 1, 1, 1, 1, 1, 1, 1]
    assert (len(preview.samples), preview.samples[0].rule_id, preview.missing_field_count) == (10, "r1", 0)
    assert site.counts(ACME) == {"": 13, "cmp_old": 3}

    operation = await site.apply(tiktok(), ACME)
    assert (operation.state, operation.kind, operation.done_event_count) == (SUCCEEDED, "claim", 11)
    assert (operation.campaign_id, operation.claim_version) == ("cmp_tiktok", 1)
    assert site.counts(ACME) == {"": 2, "cmp_old": 3, "cmp_tiktok": 11}
    assert site.counts(OTHER) == {"": 1}
    (row,) = site.query("SELECT any(rule_id), any(tags), any(routed_campaign_id) FROM events WHERE source = 'tiktok'"
                        " AND event_type = 'click' AND organization_id = {o:String}", {"o": ACME})  # fmt: skip
    assert (row[0], row[1], row[2]) == ("r1", ["social"], "")
    assert rollups.differences(site.client) == []

    undone = await site.activate("cmp_tiktok", 0, ACME)
    assert (undone.state, undone.done_event_count) == (SUCCEEDED, 11)
    assert site.counts(ACME) == {"": 13, "cmp_old": 3}
    assert rollups.differences(site.client) == []

    redone = await site.activate("cmp_tiktok", 1, ACME)
    assert redone.state == SUCCEEDED
    assert site.counts(ACME) == {"": 2, "cmp_old": 3, "cmp_tiktok": 11}
    again = await site.apply(tiktok(), ACME)
    assert again.operation_id == redone.operation_id
    assert rollups.differences(site.client) == []


async def test_campaigns_that_give_way_lose_their_events_and_others_keep_them(site: Service) -> None:
    everything = [rule("all", "source", "tiktok", "google")]
    claim = pb.Claim(campaign_id="cmp_new", version=1, rules=everything)
    preview = await site.overlays.PreviewClaim(pb.PreviewClaimRequest(claim=claim), metadata=caller(ACME))
    assert (preview.event_count, preview.kept_by_others_count) == (11, 3)
    claim.policy = pb.CLAIM_POLICY_BY_PRIORITY
    claim.yielding_campaign_ids.append("cmp_old")
    preview = await site.overlays.PreviewClaim(pb.PreviewClaimRequest(claim=claim), metadata=caller(ACME))
    assert (preview.event_count, preview.kept_by_others_count) == (14, 0)
    assert [(one.campaign_id, one.event_count) for one in preview.taken_from] == [("", 11), ("cmp_old", 3)]
    assert (await site.apply(claim, ACME)).done_event_count == preview.event_count
    assert site.counts(ACME) == {"": 2, "cmp_new": 14}


async def test_matches_that_rest_on_a_missing_field_are_told_apart(site: Service) -> None:
    claim = pb.Claim(campaign_id="cmp_x", rules=[rule("r1", "source", "google", negated=True)])
    preview = await site.overlays.PreviewClaim(pb.PreviewClaimRequest(claim=claim), metadata=caller(ACME))
    assert (preview.event_count, preview.missing_field_count) == (13, 2)


async def test_an_event_tells_whose_it_is_and_was(site: Service) -> None:
    await site.apply(tiktok(), ACME)
    await site.apply(tiktok(2), ACME)
    (touched, sold), *_ = site.query(
        "SELECT toString(touch_event_id), toString(event_id) FROM events WHERE is_conversion = 1"
    )
    for event_id, touch in ((touched, ""), (sold, touched)):
        request = pb.GetEventClaimsRequest(event_id=event_id)
        owner = await site.overlays.GetEventClaims(request, metadata=caller(ACME))
        assert (owner.campaign_id, owner.rule_id, owner.routed_campaign_id) == ("cmp_tiktok", "r1", "")
        assert owner.touch_event_id == touch
        assert [(one.version, one.is_active) for one in owner.claims] == [(2, True), (1, False)]
        mine, missing = [
            await refusal(site.overlays.GetEventClaims(pb.GetEventClaimsRequest(event_id=one), metadata=caller(OTHER)))
            for one in (event_id, str(uuid.UUID(int=1)))
        ]
        assert (mine.code, mine.reason) == (missing.code, missing.reason) == (Code.NOT_FOUND, missing.reason)
        assert mine.message.replace(event_id, "") == missing.message.replace(str(uuid.UUID(int=1)), "")


async def test_a_verdict_changes_what_an_event_counts_for_at_once(site: Service) -> None:
    ((event_id, time_ms),) = site.query(
        "SELECT toString(event_id), toUnixTimestamp64Milli(event_time) FROM events WHERE is_conversion = 1"
    )
    verdict = pb.Verdict(
        organization_id=ACME,
        event_id=event_id,
        event_time=timestamp_of(datetime.fromtimestamp(time_ms / 1000, UTC)),
        revision=2,
        value_micros=-2_500_000,
        currency="EUR",
        status="refunded",
        is_adjustment=True,
    )
    count = "SELECT sum(conversions), sum(revenue) FROM rollup_day WHERE dimension = '' AND currency = {c:String}"
    put = await site.overlays.PutVerdicts(pb.PutVerdictsRequest(verdicts=[verdict]), metadata=SERVICE)
    assert put.changed_count == 1
    assert [float(one) for one in site.query(count, {"c": "EUR"})[0]] == [0, -2.5]
    assert rollups.differences(site.client) == []
    for revision, changed in ((2, 0), (1, 0), (3, 1)):
        older = pb.Verdict()
        older.CopyFrom(verdict)
        older.revision, older.is_adjustment, older.is_conversion, older.value_micros = revision, False, True, 99_000_000
        put = await site.overlays.PutVerdicts(pb.PutVerdictsRequest(verdicts=[older]), metadata=SERVICE)
        assert put.changed_count == changed, revision
    assert [float(one) for one in site.query(count, {"c": "EUR"})[0]] == [1, 99]
    assert rollups.differences(site.client) == []


async def test_what_is_wrong_with_a_claim_is_all_said(site: Service) -> None:
    claim = pb.Claim(
        rules=[rule("r1", "no_such_field", "x")],
        time_zone="Mars/Olympus",
        yielding_campaign_ids=["cmp_old"],
        windows=[pb.ClaimWindow(weekdays=[8], start_minute=5, end_minute=5)],
    )
    error = await refusal(site.overlays.ApplyClaim(pb.ApplyClaimRequest(claim=claim), metadata=caller(ACME)))
    assert error.code is Code.INVALID_ARGUMENT
    assert {violation.field for violation in error.violations} == {
        "claim.campaign_id",
        "claim.version",
        "claim.rules[0].predicate.condition.field",
        "claim.time_zone",
        "claim.windows[0].weekdays",
        "claim.windows[0]",
        "claim.yielding_campaign_ids",
    }


async def test_a_claim_that_was_never_made_cannot_hold_and_a_range_without_events_is_zero(site: Service) -> None:
    request = pb.ActivateClaimRequest(campaign_id="cmp_tiktok", version=1)
    assert (await refusal(site.overlays.ActivateClaim(request, metadata=caller(ACME)))).code is Code.NOT_FOUND
    await site.apply(tiktok(), ACME)
    assert (await refusal(site.overlays.ActivateClaim(request, metadata=caller(OTHER)))).code is Code.NOT_FOUND
    empty = tiktok(2)
    empty.time_range.end_time.CopyFrom(timestamp_of(NOON - 100 * DAY))
    preview = await site.overlays.PreviewClaim(pb.PreviewClaimRequest(claim=empty), metadata=caller(ACME))
    assert preview.event_count == preview.user_count == len(preview.days) == 0
    operation = await site.apply(empty, ACME)
    assert (operation.state, site.counts(ACME)) == (SUCCEEDED, {"": 13, "cmp_old": 3})


async def test_an_operation_that_is_over_or_of_others_cannot_be_cancelled(site: Service) -> None:
    operation = await site.apply(tiktok(), ACME)
    request = pb.CancelClaimRequest(operation_id=operation.operation_id)
    assert (await refusal(site.overlays.CancelClaim(request, metadata=caller(OTHER)))).code is Code.NOT_FOUND
    refused = await refusal(site.overlays.CancelClaim(request, metadata=caller(ACME)))
    assert refused.code is Code.FAILED_PRECONDITION


async def test_only_those_who_may_do(site: Service) -> None:
    reader = caller(ACME, frozenset({"campaigns:read"}))
    for call in (
        site.overlays.ApplyClaim(pb.ApplyClaimRequest(claim=tiktok()), metadata=reader),
        site.overlays.PutVerdicts(pb.PutVerdictsRequest(), metadata=caller(ACME)),
    ):
        assert (await refusal(call)).code is Code.PERMISSION_DENIED
