"""What every CampaignStore must do with versions and with the orders of claims. Subclass it; give it a ``store``."""

from dataclasses import replace

import pytest

from attribution_svc.campaigns.campaign import (
    Campaign,
    CampaignChange,
    NewCampaign,
    changed,
    new_campaign,
    plain_definition,
)
from attribution_svc.campaigns.claim import Claim, ClaimOrder, OrderState
from attribution_svc.campaigns.history import restored, withdrawn
from attribution_svc.store import CampaignStore
from svc_runtime.errors import AlreadyExistsError, NotFoundError
from tests.contract.attribution.store_contract import EVERYTHING, NOW, make


def make_retroactive(campaign_id: str, *, organization_id: str = "org_a", priority: int = 0) -> Campaign:
    """Return version 1 of a campaign with a claim."""
    definition = replace(plain_definition("https://shop.example/"), claim=Claim(end_time=NOW), priority=priority)
    wanted = NewCampaign(campaign_id=campaign_id, definition=definition)
    return new_campaign(wanted, organization_id=organization_id, minted_id="", now=NOW)


async def rename(store: CampaignStore, campaign_id: str, name: str) -> Campaign:
    """Give a campaign another name."""
    change = CampaignChange(name=name)
    return await store.update("org_a", campaign_id, lambda c: changed(c, change, now=NOW), actor=f"key:{name}")


async def waiting(store: CampaignStore, campaign_id: str = "cmp_1") -> ClaimOrder | None:
    """Return a campaign's order while it waits."""
    async with store.claims.holding("org_a", campaign_id) as order:
        return order


class ClaimStoreContract:
    """The suite."""

    async def test_every_version_is_kept_as_it_was_with_who_made_it(self, store: CampaignStore) -> None:
        first = replace(make("cmp_1"), definition=EVERYTHING)
        await store.insert(first, actor="key:first")
        second = await rename(store, "cmp_1", "second")
        third = await rename(store, "cmp_1", "third")
        page = await store.versions("org_a", "cmp_1", before=None, limit=2)
        assert [(found.campaign, found.actor) for found in page] == [(third, "key:third"), (second, "key:second")]
        (rest,) = await store.versions("org_a", "cmp_1", before=2, limit=2)
        assert (rest.campaign, rest.actor) == (first, "key:first")
        assert await store.versions("org_a", "cmp_1", before=1, limit=2) == []
        assert (await store.version("org_a", "cmp_1", 2)).campaign == second

    async def test_versions_of_others_and_versions_that_never_were_are_missing(self, store: CampaignStore) -> None:
        await store.insert(make("cmp_1"), actor="key:1")
        texts = set()
        for organization_id, campaign_id in (("org_b", "cmp_1"), ("org_c", "cmp_1")):
            with pytest.raises(NotFoundError) as listed:
                await store.versions(organization_id, campaign_id, before=None, limit=2)
            with pytest.raises(NotFoundError) as read:
                await store.version(organization_id, campaign_id, 1)
            texts |= {listed.value.message, read.value.message}
        assert len(texts) == 1
        for version in (2, 2**32 - 1):
            with pytest.raises(NotFoundError, match=f"no version {version}"):
                await store.version("org_a", "cmp_1", version)

    async def test_a_version_that_is_brought_back_needs_its_slug(self, store: CampaignStore) -> None:
        await store.insert(make("cmp_1", slug="old"), actor="key:1")
        change = CampaignChange(slug="new")
        await store.update("org_a", "cmp_1", lambda c: changed(c, change, now=NOW), actor="key:1")
        await store.insert(make("cmp_2", slug="old"), actor="key:1")
        earlier = (await store.version("org_a", "cmp_1", 1)).campaign
        with pytest.raises(AlreadyExistsError, match="old"):
            await store.update(
                "org_a", "cmp_1", lambda c: restored(c, earlier, expected_version=0, now=NOW), actor="key:1"
            )
        assert (await store.get("org_a", "cmp_1")).version == 2

    async def test_a_claim_leaves_an_order_and_a_plain_campaign_none(self, store: CampaignStore) -> None:
        await store.insert(make("cmp_plain"), actor="key:1")
        await store.insert(make_retroactive("cmp_1"), actor="key:7")
        assert await waiting(store, "cmp_plain") is None
        assert await waiting(store) == ClaimOrder("org_a", "cmp_1", 1, 1, "key:7")
        assert await store.claims.due(limit=10) == [("org_a", "cmp_1")]
        assert await store.claims.orders("org_b", ["cmp_1"]) == {}

    async def test_a_campaign_that_was_refused_leaves_no_order(self, store: CampaignStore) -> None:
        await store.insert(make("cmp_1"), actor="key:1")
        with pytest.raises(AlreadyExistsError):
            await store.insert(replace(make_retroactive("cmp_2"), slug="cmp_1"), actor="key:1")
        assert await store.claims.due(limit=10) == []

    async def test_what_was_taken_waits_no_more_and_says_by_which_operation(self, store: CampaignStore) -> None:
        await store.insert(make_retroactive("cmp_1"), actor="key:1")
        async with store.claims.holding("org_a", "cmp_1") as order:
            assert order is not None
            await store.claims.settle(replace(order, state=OrderState.TAKEN, operation_id="op_1"))
        assert await waiting(store) is None
        assert await store.claims.due(limit=10) == []
        (kept,) = (await store.claims.orders("org_a", ["cmp_1", "cmp_2"])).values()
        assert (kept.state, kept.operation_id) == (OrderState.TAKEN, "op_1")

    async def test_one_holds_an_order_at_a_time(self, store: CampaignStore) -> None:
        await store.insert(make_retroactive("cmp_1"), actor="key:1")
        await store.insert(make_retroactive("cmp_1", organization_id="org_b"), actor="key:1")
        async with store.claims.holding("org_a", "cmp_1") as order:
            assert order is not None
            async with (
                store.claims.holding("org_a", "cmp_1") as second,
                store.claims.holding("org_b", "cmp_1") as other,
            ):
                assert second is None
                assert other is not None
        assert await waiting(store) == order

    async def test_a_newer_order_takes_the_place_of_one_that_is_being_handed_over(self, store: CampaignStore) -> None:
        await store.insert(make_retroactive("cmp_1"), actor="key:1")
        async with store.claims.holding("org_a", "cmp_1") as order:
            assert order is not None
            await store.update("org_a", "cmp_1", lambda c: withdrawn(c, expected_version=0, now=NOW), actor="key:2")
            await store.claims.settle(replace(order, state=OrderState.TAKEN, operation_id="op_1"))
        assert await waiting(store) == ClaimOrder("org_a", "cmp_1", 2, 0, "key:2")

    async def test_a_change_that_claims_the_same_leaves_the_order_as_it_is(self, store: CampaignStore) -> None:
        await store.insert(make_retroactive("cmp_1"), actor="key:1")
        async with store.claims.holding("org_a", "cmp_1") as order:
            assert order is not None
            await store.claims.settle(replace(order, state=OrderState.TAKEN, operation_id="op_1"))
        assert (await rename(store, "cmp_1", "another")).claim_version == 1
        assert await waiting(store) is None

    async def test_campaigns_of_a_lower_priority_are_found_archived_ones_too(self, store: CampaignStore) -> None:
        for campaign_id, priority in (("c", 1), ("a", -5), ("b", 2)):
            await store.insert(make_retroactive(campaign_id, priority=priority), actor="key:1")
        await store.insert(make_retroactive("d", organization_id="org_b", priority=-9), actor="key:1")
        assert await store.ids_below("org_a", 2, limit=10) == ["a", "c"]
        assert await store.ids_below("org_a", 2, limit=1) == ["a"]
