"""Versions of campaigns over gRPC: reading them, undo and redo."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from svc_runtime.rpc_status import error_from_rpc
from tests.contract.attribution.fake_overlays import FakeOverlays
from tests.contract.attribution.memory_store import MemoryCampaignStore
from tests.contract.attribution.rpc import Replica, caller_of, running_replica
from tests.contract.attribution.test_campaign_rpcs import CODE, refusal
from trellis.attribution.v1 import attribution_service_pb2 as pb

pytestmark = pytest.mark.loopback


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    """A server on an empty store."""
    async with running_replica(MemoryCampaignStore(), overlays=FakeOverlays()) as replica:
        yield replica


async def activate(replica: Replica, version: int, *, organization_id: str = "org_a", expected: int = 0) -> pb.Campaign:
    """Activate a version of `sale`."""
    request = pb.ActivateCampaignVersionRequest(campaign_id="sale", version=version, expected_version=expected)
    metadata = caller_of(organization_id, actor="key:9")
    return (await replica.stub.ActivateCampaignVersion(request, metadata=metadata)).campaign


async def update(replica: Replica, **fields: object) -> pb.Campaign:
    """Change `sale`."""
    request = pb.UpdateCampaignRequest(campaign_id="sale", **fields)  # type: ignore[arg-type]  # as a test gives them
    return (await replica.stub.UpdateCampaign(request, metadata=caller_of("org_a"))).campaign


async def versions(replica: Replica) -> list[pb.CampaignVersion]:
    """Return all versions of `sale`, asked for in pages of two."""
    found: list[pb.CampaignVersion] = []
    request = pb.ListCampaignVersionsRequest(campaign_id="sale", page_size=2)
    while True:
        page = await replica.stub.ListCampaignVersions(request, metadata=caller_of("org_a"))
        found += page.versions
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def test_going_back_makes_a_new_version_with_the_old_content(replica: Replica) -> None:
    first = await replica.create("sale", campaign_id="sale")
    await update(replica, destination_url="https://shop.example/other", name="other")
    await update(replica, status=pb.CAMPAIGN_STATUS_PAUSED, slug="sale2")
    back = await activate(replica, 1)
    assert (back.version, back.restored_version) == (4, 1)
    back.version, back.restored_version = 1, 0
    back.update_time.CopyFrom(first.update_time)
    assert back == first
    history = await versions(replica)
    assert [(v.campaign.version, v.campaign.restored_version, v.actor) for v in history] == [
        (4, 1, "key:9"),
        (3, 0, "key:1"),
        (2, 0, "key:1"),
        (1, 0, "key:1"),
    ]
    redone = await activate(replica, 3)
    assert (redone.version, redone.restored_version, redone.slug) == (5, 3, "sale2")
    assert (await update(replica, name="again")).restored_version == 0


async def test_going_back_to_what_is_changes_nothing(replica: Replica) -> None:
    await replica.create("sale", campaign_id="sale")
    assert (await activate(replica, 1)).version == 1
    await update(replica, name="other")
    assert (await activate(replica, 1)).version == 3
    assert (await activate(replica, 1)).version == 3


async def test_a_version_that_was_not_expected_stops_the_change(replica: Replica) -> None:
    await replica.create("sale", campaign_id="sale")
    await update(replica, name="other")
    error = await refusal(activate(replica, 1, expected=1))
    assert error.code() is CODE.FAILED_PRECONDITION
    assert "has version 2, not 1" in error_from_rpc(error).message
    assert (await activate(replica, 1, expected=2)).version == 3


async def test_what_is_archived_is_so_for_good(replica: Replica) -> None:
    await replica.create("sale", campaign_id="sale")
    await update(replica, status=pb.CAMPAIGN_STATUS_ARCHIVED)
    assert (await refusal(activate(replica, 1))).code() is CODE.FAILED_PRECONDITION


async def test_version_0_of_a_campaign_that_claims_nothing_is_refused(replica: Replica) -> None:
    await replica.create("sale", campaign_id="sale")
    error = await refusal(activate(replica, 0))
    assert error.code() is CODE.FAILED_PRECONDITION
    assert "not retroactive" in error_from_rpc(error).message


async def test_a_fallback_that_is_gone_stops_going_back_to_it_in_a_circle(replica: Replica) -> None:
    await replica.create("sale", campaign_id="sale")
    await replica.create("other", campaign_id="other")
    request = pb.UpdateCampaignRequest(campaign_id="sale")
    request.paused_fallback.campaign_id = "other"
    await replica.stub.UpdateCampaign(request, metadata=caller_of("org_a"))
    await activate(replica, 1)
    request.campaign_id, request.paused_fallback.campaign_id = "other", "sale"
    await replica.stub.UpdateCampaign(request, metadata=caller_of("org_a"))
    error = await refusal(activate(replica, 2))
    assert error.code() is CODE.INVALID_ARGUMENT
    assert "comes back to where it began" in error_from_rpc(error).message


@pytest.mark.parametrize("version", [2, 2**32 - 1])
async def test_a_version_that_never_was_is_not_found(replica: Replica, version: int) -> None:
    await replica.create("sale", campaign_id="sale")
    assert (await refusal(activate(replica, version))).code() is CODE.NOT_FOUND
    request = pb.GetCampaignVersionRequest(campaign_id="sale", version=version)
    call = replica.stub.GetCampaignVersion(request, metadata=caller_of("org_a"))
    assert (await refusal(call)).code() is CODE.NOT_FOUND


async def test_another_organisations_versions_are_missing_in_the_same_words(replica: Replica) -> None:
    await replica.create("sale", campaign_id="sale")
    texts = set()
    for organization_id in ("org_b", "org_c"):
        metadata = caller_of(organization_id)
        calls: list[Any] = [
            replica.stub.ListCampaignVersions(pb.ListCampaignVersionsRequest(campaign_id="sale"), metadata=metadata),
            replica.stub.GetCampaignVersion(
                pb.GetCampaignVersionRequest(campaign_id="sale", version=1), metadata=metadata
            ),
            replica.stub.ActivateCampaignVersion(
                pb.ActivateCampaignVersionRequest(campaign_id="sale", version=1), metadata=metadata
            ),
        ]
        for call in calls:
            error = await refusal(call)
            assert error.code() is CODE.NOT_FOUND
            texts.add(error_from_rpc(error).message)
    assert len(texts) == 1


async def test_reading_is_not_enough_to_go_back(replica: Replica) -> None:
    await replica.create("sale", campaign_id="sale")
    request = pb.ActivateCampaignVersionRequest(campaign_id="sale", version=1)
    call = replica.stub.ActivateCampaignVersion(request, metadata=caller_of("org_a", "campaigns:read"))
    assert (await refusal(call)).code() is CODE.PERMISSION_DENIED
