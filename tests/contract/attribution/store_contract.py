"""What every CampaignStore must do. Subclass it and give it a ``store`` fixture."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from attribution_svc.campaigns.campaign import (
    Campaign,
    CampaignChange,
    CampaignStatus,
    Definition,
    NewCampaign,
    changed,
    new_campaign,
    plain_definition,
)
from attribution_svc.campaigns.claim import Claim, ConflictPolicy
from attribution_svc.campaigns.rule import (
    Action,
    Cap,
    CapKind,
    CapPeriod,
    Destination,
    Fallback,
    ParameterPolicy,
    RedirectType,
    Rule,
    Schedule,
    WeeklyWindow,
)
from attribution_svc.store import CampaignStore, Position, Routing
from rule_language.predicate import AllOf, Condition, Not, Operator
from svc_runtime.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError

NOW = datetime(2026, 11, 20, 8, 0, 0, 123456, tzinfo=UTC)


def make(campaign_id: str, *, organization_id: str = "org_a", slug: str = "", age_seconds: int = 0) -> Campaign:
    """Return version 1 of some campaign."""
    wanted = NewCampaign(campaign_id=campaign_id, slug=slug, definition=plain_definition("https://shop.example/"))
    now = NOW - timedelta(seconds=age_seconds)
    return new_campaign(wanted, organization_id=organization_id, minted_id="", now=now)


EVERYTHING = Definition(
    action=Action((Destination("https://shop.example/?s={source|none}", "d1", 100),), tags=("ä", "b")),
    rules=(
        Rule(
            Action(
                (Destination("https://a.example/", "a", 70), Destination("https://b.example/", "b", 30)),
                RedirectType.META_REFRESH,
                ParameterPolicy.ONLY,
                ("gclid", "Sub Id"),
            ),
            AllOf((Condition("referer", Operator.CONTAINS, ("tiktok.com",)), Not(Condition("asn", Operator.EXISTS)))),
            "tiktok",
            "TikTok 'organic'",
            100,
        ),
        Rule(Action((Destination("https://c.example/", "d1", 100),)), None, "r2", "", -5, is_disabled=True),
    ),
    paused_fallback=Fallback(campaign_id="cmp_2"),
    expired_fallback=Fallback(),
    over_cap_fallback=Fallback(url="https://shop.example/full"),
    schedule=Schedule(NOW, NOW + timedelta(days=30), (WeeklyWindow(("monday",), 540, 1020),), "Europe/Berlin"),
    caps=(Cap(CapKind.CLICKS, CapPeriod.DAY, 1000), Cap(CapKind.CONVERSIONS, CapPeriod.TOTAL, 2**40)),
    priority=7,
    claim=Claim(
        NOW - timedelta(days=90), NOW, ConflictPolicy.BY_PRIORITY, NOW, is_withdrawn=True, close_time=NOW, made_time=NOW
    ),
)


def changing(change: CampaignChange) -> Callable[[Campaign], Campaign]:
    """Return ``change`` as the store takes it."""
    return lambda campaign: changed(campaign, change, now=NOW + timedelta(seconds=5))


ARCHIVE = changing(CampaignChange(status=CampaignStatus.ARCHIVED))


def ids(campaigns: list[Campaign]) -> list[str]:
    """Return the campaigns' ids."""
    return [campaign.campaign_id for campaign in campaigns]


def routed(routing: Routing) -> list[tuple[int, str]]:
    """Return revisions and ids."""
    return [(revision, campaign.campaign_id) for revision, campaign in routing.campaigns]


class CampaignStoreContract:
    """The suite."""

    async def test_a_campaign_comes_back_as_it_was_put(self, store: CampaignStore) -> None:
        campaign = replace(
            make("cmp_1"),
            name="Sömmer 'sale' \u202e",
            status=CampaignStatus.PAUSED,
            definition=EVERYTHING,
        )
        await store.insert(campaign, actor="key:1")
        assert await store.get("org_a", "cmp_1") == campaign

    async def test_another_organisations_campaign_is_missing_in_the_same_words(self, store: CampaignStore) -> None:
        await store.insert(make("cmp_1"), actor="key:1")
        texts = set()
        for organization_id, present in (("org_b", True), ("org_c", False)):
            if not present:
                await store.update("org_a", "cmp_1", ARCHIVE, actor="key:1")
            with pytest.raises(NotFoundError) as read:
                await store.get(organization_id, "cmp_1")
            with pytest.raises(NotFoundError) as written:
                await store.update(organization_id, "cmp_1", ARCHIVE, actor="key:1")
            texts |= {read.value.message, written.value.message}
        assert len(texts) == 1

    async def test_an_id_is_taken_in_its_organisation_alone_and_for_ever(self, store: CampaignStore) -> None:
        await store.insert(make("cmp_1", slug="a"), actor="key:1")
        await store.insert(make("cmp_1", slug="a", organization_id="org_b"), actor="key:1")
        with pytest.raises(AlreadyExistsError, match="cmp_1"):
            await store.insert(make("cmp_1", slug="b"), actor="key:1")
        await store.update("org_a", "cmp_1", ARCHIVE, actor="key:1")
        with pytest.raises(AlreadyExistsError, match="cmp_1"):
            await store.insert(make("cmp_1", slug="b"), actor="key:1")

    async def test_a_slug_is_taken_until_its_campaign_is_archived(self, store: CampaignStore) -> None:
        await store.insert(make("cmp_1", slug="sale"), actor="key:1")
        await store.insert(make("cmp_2", slug="Sale"), actor="key:1")
        with pytest.raises(AlreadyExistsError, match="slug 'sale'"):
            await store.insert(make("cmp_3", slug="sale"), actor="key:1")
        with pytest.raises(AlreadyExistsError, match="slug 'sale'"):
            await store.update("org_a", "cmp_2", changing(CampaignChange(slug="sale")), actor="key:1")
        await store.update("org_a", "cmp_1", ARCHIVE, actor="key:1")
        await store.update("org_a", "cmp_2", changing(CampaignChange(slug="sale")), actor="key:1")
        assert (await store.get("org_a", "cmp_2")).slug == "sale"
        await store.insert(make("cmp_3", slug="Sale"), actor="key:1")

    async def test_what_fails_leaves_nothing_behind(self, store: CampaignStore) -> None:
        await store.insert(make("cmp_1"), actor="key:1")
        before = await store.routing_changes(0, limit=10)

        def refuse(campaign: Campaign) -> Campaign:
            raise FailedPreconditionError("no")

        with pytest.raises(FailedPreconditionError, match="no"):
            await store.update("org_a", "cmp_1", refuse, actor="key:1")
        with pytest.raises(AlreadyExistsError):
            await store.insert(make("cmp_2", slug="cmp_1"), actor="key:1")
        with pytest.raises(NotFoundError):
            await store.get("org_a", "cmp_2")
        assert await store.routing_changes(0, limit=10) == before

    async def test_a_change_that_changes_nothing_makes_no_revision(self, store: CampaignStore) -> None:
        await store.insert(make("cmp_1"), actor="key:1")
        before = await store.routing_snapshot()
        campaign = await store.update("org_a", "cmp_1", changing(CampaignChange(slug="cmp_1")), actor="key:1")
        assert campaign == make("cmp_1")
        assert await store.routing_snapshot() == before

    async def test_of_many_changes_expecting_one_version_exactly_one_wins(self, store: CampaignStore) -> None:
        await store.insert(make("cmp_1"), actor="key:1")
        outcomes = await asyncio.gather(
            *(
                store.update(
                    "org_a", "cmp_1", changing(CampaignChange(name=f"name {i}", expected_version=1)), actor=f"key:{i}"
                )
                for i in range(20)
            ),
            return_exceptions=True,
        )
        won = [outcome for outcome in outcomes if isinstance(outcome, Campaign)]
        assert len(won) == 1
        assert all(isinstance(outcome, FailedPreconditionError) for outcome in outcomes if outcome not in won)
        assert await store.get("org_a", "cmp_1") == won[0]
        assert won[0].version == 2

    async def test_concurrent_changes_that_expect_nothing_all_count(self, store: CampaignStore) -> None:
        await store.insert(make("cmp_1"), actor="key:1")
        changes = [changing(CampaignChange(name=f"name {i}")) for i in range(20)]
        versions = [
            campaign.version
            for campaign in await asyncio.gather(
                *(store.update("org_a", "cmp_1", change, actor="key:1") for change in changes)
            )
        ]
        assert sorted(versions) == list(range(2, 22))

    async def test_of_many_campaigns_wanting_one_slug_exactly_one_gets_it(self, store: CampaignStore) -> None:
        outcomes = await asyncio.gather(
            *(store.insert(make(f"cmp_{i}", slug="sale"), actor="key:1") for i in range(20)), return_exceptions=True
        )
        assert outcomes.count(None) == 1
        assert sum(isinstance(outcome, AlreadyExistsError) for outcome in outcomes) == 19

    async def test_pages_go_from_the_newest_to_the_oldest_without_gap_or_repeat(self, store: CampaignStore) -> None:
        # Ages in pairs: where times are equal the ids decide.
        for number in range(10):
            await store.insert(make(f"cmp_{number}", age_seconds=number // 2), actor="key:1")
        await store.insert(make("cmp_other", organization_id="org_b"), actor="key:1")
        seen: list[Campaign] = []
        after: Position | None = None
        while page := await store.list_page("org_a", status=None, after=after, limit=3):
            seen += page
            after = Position(page[-1].create_time, page[-1].campaign_id)
        assert ids(seen) == [f"cmp_{number}" for number in (1, 0, 3, 2, 5, 4, 7, 6, 9, 8)]

    async def test_a_list_can_be_of_one_status_and_leaves_the_archived_out_otherwise(
        self, store: CampaignStore
    ) -> None:
        for number in range(3):
            await store.insert(make(f"cmp_{number}", age_seconds=number), actor="key:1")
        pause = changing(CampaignChange(status=CampaignStatus.PAUSED))
        await store.update("org_a", "cmp_1", pause, actor="key:1")
        await store.update("org_a", "cmp_2", ARCHIVE, actor="key:1")

        async def listed(status: CampaignStatus | None) -> list[str]:
            return ids(await store.list_page("org_a", status=status, after=None, limit=10))

        assert await listed(None) == ["cmp_0", "cmp_1"]
        assert await listed(CampaignStatus.ACTIVE) == ["cmp_0"]
        assert await listed(CampaignStatus.PAUSED) == ["cmp_1"]
        assert await listed(CampaignStatus.ARCHIVED) == ["cmp_2"]

    async def test_the_first_snapshot_is_empty_and_has_an_epoch(self, store: CampaignStore) -> None:
        snapshot = await store.routing_snapshot()
        assert (snapshot.revision, list(snapshot.campaigns)) == (0, [])
        assert snapshot.epoch > 0
        changes = await store.routing_changes(0, limit=10)
        assert (changes.epoch, changes.revision, list(changes.campaigns)) == (snapshot.epoch, 0, [])

    async def test_a_snapshot_has_every_organisations_campaigns_but_the_archived(self, store: CampaignStore) -> None:
        await store.insert(make("cmp_1"), actor="key:1")
        await store.insert(make("cmp_2", organization_id="org_b"), actor="key:1")
        await store.insert(make("cmp_3"), actor="key:1")
        await store.update("org_a", "cmp_1", changing(CampaignChange(name="x")), actor="key:1")
        await store.update("org_a", "cmp_3", ARCHIVE, actor="key:1")
        snapshot = await store.routing_snapshot()
        assert routed(snapshot) == [(2, "cmp_2"), (4, "cmp_1")]
        assert snapshot.revision == 5

    async def test_changes_come_in_the_order_of_revisions_each_campaign_once(self, store: CampaignStore) -> None:
        for number in range(1, 5):
            await store.insert(make(f"cmp_{number}"), actor="key:1")
        await store.update("org_a", "cmp_1", changing(CampaignChange(name="x")), actor="key:1")
        await store.update("org_a", "cmp_3", ARCHIVE, actor="key:1")
        everything = await store.routing_changes(0, limit=10)
        assert routed(everything) == [(2, "cmp_2"), (4, "cmp_4"), (5, "cmp_1"), (6, "cmp_3")]
        assert everything.revision == 6
        piece = await store.routing_changes(2, limit=2)
        assert routed(piece) == [(4, "cmp_4"), (5, "cmp_1")]
        assert piece.revision == 5
        rest = await store.routing_changes(piece.revision, limit=2)
        assert routed(rest) == [(6, "cmp_3")]
        assert rest.campaigns[0][1].status is CampaignStatus.ARCHIVED
        assert (await store.routing_changes(6, limit=2)).revision == 6

    async def test_whoever_listens_is_woken_by_a_change_soon(self, store: CampaignStore) -> None:
        async with store.routing_wakeups() as first, store.routing_wakeups() as second, asyncio.timeout(2):
            await store.insert(make("cmp_1"), actor="key:1")
            await first.wait(60)
            await second.wait(60)
            await store.update("org_a", "cmp_1", ARCHIVE, actor="key:1")
            await first.wait(60)

    async def test_without_a_change_waiting_ends_at_its_time(self, store: CampaignStore) -> None:
        async with store.routing_wakeups() as wakeups, asyncio.timeout(2):
            await wakeups.wait(0.01)
