"""Retroactive campaigns over gRPC, with analytics_svc's contract behind them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from svc_runtime.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from svc_runtime.rpc_status import error_from_rpc
from tests.contract.attribution.fake_overlays import FakeOverlays
from tests.contract.attribution.memory_store import MemoryCampaignStore
from tests.contract.attribution.rpc import Replica, caller_of, running_replica
from tests.contract.attribution.test_campaign_rpcs import CODE, refusal
from trellis.analytics.v1 import overlay_service_pb2 as overlay_pb
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import claim_pb2, rule_pb2
from trellis.type.v1 import predicate_pb2

pytestmark = pytest.mark.loopback
WAITING, TAKEN, REFUSED = claim_pb2.CLAIM_STATE_WAITING, claim_pb2.CLAIM_STATE_TAKEN, claim_pb2.CLAIM_STATE_REFUSED
START, END = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryCampaignStore:
    """An empty store."""
    return MemoryCampaignStore()


@pytest.fixture
def overlays() -> FakeOverlays:
    """Nothing is claimed."""
    return FakeOverlays()


@pytest.fixture
async def replica(store: MemoryCampaignStore, overlays: FakeOverlays) -> AsyncIterator[Replica]:
    """A server on them."""
    async with running_replica(store, overlays=overlays) as replica:
        yield replica


def claim(policy: claim_pb2.ConflictPolicy.ValueType = claim_pb2.CONFLICT_POLICY_UNSPECIFIED) -> claim_pb2.Claim:
    """Return the specification's time range as a claim."""
    message = claim_pb2.Claim(conflict_policy=policy)
    message.time_range.start_time.FromDatetime(START)
    message.time_range.end_time.FromDatetime(END)
    return message


def rule(rule_id: str, referer: str, *, is_disabled: bool = False) -> rule_pb2.Rule:
    """Return a rule on the referrer."""
    condition = predicate_pb2.Condition(field="referer", operator=predicate_pb2.OPERATOR_CONTAINS, values=[referer])
    return rule_pb2.Rule(
        rule_id=rule_id,
        predicate=predicate_pb2.Predicate(condition=condition),
        action=rule_pb2.Action(destinations=[rule_pb2.Destination(url="https://shop.example/")], tags=["social"]),
        is_disabled=is_disabled,
    )


def wanted(**fields: object) -> pb.CreateCampaignRequest:
    """Return the request for the retroactive campaign `tiktok`."""
    return pb.CreateCampaignRequest(
        **{"campaign_id": "tiktok", "rules": [rule("r", "tiktok.com")], "claim": claim(), **fields}  # type: ignore[arg-type]  # as a test gives them
    )


async def create(replica: Replica, **fields: object) -> pb.Campaign:
    """Make it."""
    return (await replica.stub.CreateCampaign(wanted(**fields), metadata=caller_of("org_a", actor="key:7"))).campaign


async def update(replica: Replica, **fields: object) -> pb.Campaign:
    """Change it."""
    request = pb.UpdateCampaignRequest(campaign_id="tiktok", **fields)  # type: ignore[arg-type]  # as a test gives them
    return (await replica.stub.UpdateCampaign(request, metadata=caller_of("org_a"))).campaign


async def activate(replica: Replica, version: int) -> pb.Campaign:
    """Go back to a version."""
    request = pb.ActivateCampaignVersionRequest(campaign_id="tiktok", version=version)
    return (await replica.stub.ActivateCampaignVersion(request, metadata=caller_of("org_a"))).campaign


async def get(replica: Replica) -> pb.Campaign:
    """Read it."""
    request = pb.GetCampaignRequest(campaign_id="tiktok")
    return (await replica.stub.GetCampaign(request, metadata=caller_of("org_a"))).campaign


async def until_taken(replica: Replica) -> pb.Campaign:
    """Wait until its claim is taken."""
    async with asyncio.timeout(10):
        while (campaign := await get(replica)).claim_progress.state != TAKEN:  # noqa: ASYNC110 - nobody tells by an event
            await asyncio.sleep(0.01)
    return campaign


async def test_a_retroactive_campaign_is_claimed_in_the_callers_name(replica: Replica, overlays: FakeOverlays) -> None:
    before = datetime.now(UTC)
    campaign = await create(replica, priority=3, rules=[rule("a", "tiktok.com"), rule("off", "x", is_disabled=True)])
    assert (campaign.version, campaign.claim_version) == (1, 1)
    assert campaign.claim_progress == claim_pb2.ClaimProgress(state=TAKEN, operation_id="op_org_a_tiktok_1")
    forward = campaign.claim.forward_start_time.ToDatetime(UTC)
    assert before <= forward <= datetime.now(UTC)
    assert overlays.callers == ["key:7"]
    expected = overlay_pb.Claim(
        campaign_id="tiktok",
        version=1,
        priority=3,
        rules=[
            overlay_pb.ClaimRule(rule_id="a", predicate=rule("a", "tiktok.com").predicate, tags=["social"]),
        ],
        slug="tiktok",
        time_range=claim().time_range,
        forward_start_time=campaign.claim.forward_start_time,
        time_zone="UTC",
        policy=overlay_pb.CLAIM_POLICY_UNATTRIBUTED,
    )
    assert overlays.claim("tiktok", 1) == expected


async def test_a_plain_campaign_claims_nothing(replica: Replica, overlays: FakeOverlays) -> None:
    campaign = await replica.create("plain")
    assert not campaign.HasField("claim")
    assert not campaign.HasField("claim_progress")
    assert overlays.calls == []


async def test_a_preview_keeps_nothing(replica: Replica, overlays: FakeOverlays) -> None:
    request = pb.PreviewCampaignRequest(campaign=wanted())
    answer = await replica.stub.PreviewCampaign(request, metadata=caller_of("org_a", "campaigns:read"))
    assert (answer.preview.event_count, answer.campaign.claim_version) == (7, 1)
    assert overlays.previewed[0].campaign_id == "tiktok"
    call = replica.stub.GetCampaign(pb.GetCampaignRequest(campaign_id="tiktok"), metadata=caller_of("org_a"))
    assert (await refusal(call)).code() is CODE.NOT_FOUND
    assert overlays.calls == []


async def test_a_preview_of_a_change_is_of_the_version_to_be(replica: Replica, overlays: FakeOverlays) -> None:
    await create(replica)
    request = pb.PreviewCampaignRequest()
    request.change.campaign_id = "tiktok"
    request.change.rules.rules.append(rule("r", "vm.tiktok.com"))
    await replica.stub.PreviewCampaign(request, metadata=caller_of("org_a"))
    assert overlays.previewed[0].version == 2
    assert list(overlays.previewed[0].rules[0].predicate.condition.values) == ["vm.tiktok.com"]
    assert (await get(replica)).version == 1


async def test_a_preview_of_what_changes_no_history_is_refused(replica: Replica) -> None:
    request = pb.PreviewCampaignRequest(campaign=wanted(claim=None))
    error = await refusal(replica.stub.PreviewCampaign(request, metadata=caller_of("org_a")))
    assert error.code() is CODE.INVALID_ARGUMENT
    assert error_from_rpc(error).violations[0].field == "retroactive"


async def test_other_rules_are_applied_and_another_name_is_not(replica: Replica, overlays: FakeOverlays) -> None:
    await create(replica)
    assert (await update(replica, name="TikTok")).claim_version == 1
    assert overlays.calls == ["apply tiktok 1"]
    changed = await update(replica, rules=pb.RuleList(rules=[rule("r", "vm.tiktok.com")]))
    assert (changed.version, changed.claim_version) == (3, 3)
    assert overlays.calls == ["apply tiktok 1", "apply tiktok 3"]


async def test_an_explicit_claim_is_made_anew_where_it_is_as_before(replica: Replica, overlays: FakeOverlays) -> None:
    created = await create(replica)
    again = await update(replica, claim=claim())
    assert (again.version, again.claim_version) == (2, 2)
    assert created.claim.make_time == created.create_time
    assert again.claim.make_time == again.update_time, "it is younger now than claims of the same priority"
    again.claim.make_time.CopyFrom(created.claim.make_time)
    assert again.claim == created.claim
    assert overlays.holding["org_a", "tiktok"] == 2


async def test_a_campaign_becomes_retroactive_later(replica: Replica, overlays: FakeOverlays) -> None:
    await create(replica, claim=None)
    campaign = await update(replica, claim=claim())
    assert campaign.claim_version == 2
    assert campaign.claim.forward_start_time == campaign.update_time
    assert overlays.calls == ["apply tiktok 2"]


async def test_undo_takes_the_claim_back_and_stops_routing_and_redo_brings_both(
    replica: Replica, overlays: FakeOverlays
) -> None:
    created = await create(replica)
    undone = await activate(replica, 0)
    assert (undone.version, undone.claim_version, undone.claim.is_withdrawn) == (2, 0, True)
    assert undone.status == pb.CAMPAIGN_STATUS_PAUSED
    assert (await activate(replica, 0)).version == 2
    redone = await activate(replica, 1)
    assert (redone.version, redone.claim_version, redone.restored_version) == (3, 1, 1)
    assert (redone.status, redone.claim) == (pb.CAMPAIGN_STATUS_ACTIVE, created.claim)
    assert overlays.calls == ["apply tiktok 1", "activate tiktok 0", "activate tiktok 1"]


async def test_earlier_rules_come_back_with_the_events_that_they_claimed(
    replica: Replica, overlays: FakeOverlays
) -> None:
    await create(replica)
    await update(replica, rules=pb.RuleList(rules=[rule("r", "vm.tiktok.com")]))
    assert (await activate(replica, 1)).claim_version == 1
    assert overlays.calls[-1] == "activate tiktok 1"


async def test_an_archived_campaign_can_be_undone(replica: Replica, overlays: FakeOverlays) -> None:
    await create(replica)
    archived = await update(replica, status=pb.CAMPAIGN_STATUS_ARCHIVED)
    assert archived.claim_version == 2
    assert overlays.claim("tiktok", 2).close_time == archived.update_time, "what comes later is nobody's again"
    assert not overlays.claim("tiktok", 1).HasField("close_time")
    undone = await activate(replica, 0)
    assert (undone.status, undone.claim_version) == (pb.CAMPAIGN_STATUS_ARCHIVED, 0)
    assert overlays.holding["org_a", "tiktok"] == 0


async def test_by_priority_names_the_campaigns_that_give_way(replica: Replica, overlays: FakeOverlays) -> None:
    for campaign_id, priority in (("low", 1), ("same", 5), ("high", 9)):
        request = pb.CreateCampaignRequest(
            campaign_id=campaign_id, destination_url="https://shop.example/", priority=priority
        )
        await replica.stub.CreateCampaign(request, metadata=caller_of("org_a"))
    await create(replica, priority=5, claim=claim(claim_pb2.CONFLICT_POLICY_BY_PRIORITY))
    made = overlays.claim("tiktok", 1)
    assert made.policy == overlay_pb.CLAIM_POLICY_BY_PRIORITY
    assert list(made.yielding_campaign_ids) == ["low"]


async def test_a_claim_waits_while_analytics_is_away_and_is_made_when_it_is_back(
    replica: Replica, overlays: FakeOverlays
) -> None:
    overlays.failure = UnavailableError("away")
    campaign = await create(replica)
    assert (campaign.claim_version, campaign.claim_progress.state) == (1, WAITING)
    assert "away" in campaign.claim_progress.error
    overlays.failure = None
    assert (await until_taken(replica)).claim_progress.operation_id == "op_org_a_tiktok_1"
    assert overlays.callers == ["key:7"]


async def test_a_claim_waits_while_another_operation_runs(replica: Replica, overlays: FakeOverlays) -> None:
    overlays.failure = FailedPreconditionError("another operation runs")
    assert (await create(replica)).claim_progress.state == WAITING
    overlays.failure = None
    await until_taken(replica)


async def test_a_claim_that_is_refused_says_why(replica: Replica, overlays: FakeOverlays) -> None:
    overlays.failure = InvalidArgumentError("too many rules")
    campaign = await create(replica)
    assert campaign.claim_progress == claim_pb2.ClaimProgress(state=REFUSED, error="too many rules")
    overlays.failure = None
    await asyncio.sleep(1.2)
    assert (await get(replica)).claim_progress.state == REFUSED


async def test_an_undo_that_overtakes_its_claim_leaves_nothing_behind(replica: Replica, overlays: FakeOverlays) -> None:
    overlays.failure = UnavailableError("away")
    await create(replica)
    await activate(replica, 0)
    overlays.failure = None
    assert (await until_taken(replica)).claim_progress.operation_id == ""
    assert overlays.applied == {}


async def test_a_redo_of_what_was_never_handed_over_applies_it(replica: Replica, overlays: FakeOverlays) -> None:
    overlays.failure = UnavailableError("away")
    await create(replica)
    await activate(replica, 0)
    await activate(replica, 1)
    overlays.failure = None
    await until_taken(replica)
    assert overlays.calls == ["apply tiktok 1"]
    assert overlays.holding == {("org_a", "tiktok"): 1}


async def test_the_last_of_many_changes_at_once_is_what_holds(replica: Replica, overlays: FakeOverlays) -> None:
    await create(replica)
    await asyncio.gather(
        *(update(replica, rules=pb.RuleList(rules=[rule("r", f"{number}.example")])) for number in range(10))
    )
    campaign = await until_taken(replica)
    assert campaign.version == 11
    assert overlays.holding["org_a", "tiktok"] == campaign.claim_version
    held = overlays.claim("tiktok", campaign.claim_version)
    assert held.rules[0].predicate == campaign.rules[0].predicate


async def test_an_empty_range_is_fine_and_a_turned_one_is_not(replica: Replica) -> None:
    empty = claim()
    empty.time_range.end_time.CopyFrom(empty.time_range.start_time)
    assert (await create(replica, claim=empty)).claim_progress.state == TAKEN
    turned = claim()
    turned.time_range.end_time.FromDatetime(datetime(2024, 2, 1, tzinfo=UTC))
    request = wanted(campaign_id="other", claim=turned)
    error = await refusal(replica.stub.CreateCampaign(request, metadata=caller_of("org_a")))
    assert error_from_rpc(error).violations[0].field == "time_range.end"


async def test_a_restored_database_cannot_pass_an_older_claim_off_as_its_own(
    replica: Replica, store: MemoryCampaignStore, overlays: FakeOverlays
) -> None:
    await create(replica)
    await update(replica, rules=pb.RuleList(rules=[rule("r", "newer.example")]))
    overlays.made["org_a", "tiktok", 2] -= timedelta(hours=1)
    store.restore({("org_a", "tiktok"): 1})
    changed = await update(replica, rules=pb.RuleList(rules=[rule("r", "other.example")]))
    assert (changed.version, changed.claim_progress.state) == (2, REFUSED)
    assert "was applied before" in changed.claim_progress.error
    again = await update(replica, rules=pb.RuleList(rules=[rule("r", "another.example")]))
    assert (again.version, again.claim_progress.state) == (3, TAKEN)
    assert list(overlays.claim("tiktok", 3).rules[0].predicate.condition.values) == ["another.example"]


async def test_while_postgres_is_away_nothing_is_changed_or_said(
    replica: Replica, store: MemoryCampaignStore, overlays: FakeOverlays
) -> None:
    await create(replica)
    store.stop()
    metadata = caller_of("org_a")
    calls: list[Any] = [
        replica.stub.ListCampaignVersions(pb.ListCampaignVersionsRequest(campaign_id="tiktok"), metadata=metadata),
        replica.stub.GetCampaignVersion(
            pb.GetCampaignVersionRequest(campaign_id="tiktok", version=1), metadata=metadata
        ),
        replica.stub.ActivateCampaignVersion(
            pb.ActivateCampaignVersionRequest(campaign_id="tiktok", version=0), metadata=metadata
        ),
        replica.stub.CreateCampaign(wanted(campaign_id="other"), metadata=metadata),
        replica.stub.PreviewCampaign(
            pb.PreviewCampaignRequest(change=pb.UpdateCampaignRequest(campaign_id="tiktok", claim=claim())),
            metadata=metadata,
        ),
    ]
    for call in calls:
        assert (await refusal(call)).code() is CODE.UNAVAILABLE
    assert overlays.calls == ["apply tiktok 1"]
    store.start()
    assert (await activate(replica, 0)).version == 2
