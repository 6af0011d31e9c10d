"""Whatever is changed, undone and redone, and whatever fails: in the end history is what the campaign says."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from attribution_svc.campaigns.campaign import Campaign, CampaignChange, CampaignStatus, NewCampaign, new_campaign
from attribution_svc.campaigns.campaign import changed as changed_by
from attribution_svc.campaigns.claim import Claim, OrderState
from attribution_svc.campaigns.history import restored, withdrawn
from attribution_svc.campaigns.retroactive import Retroactive, Work
from attribution_svc.campaigns.rule import Action, Destination, Rule
from rule_language.predicate import Condition, Operator
from svc_runtime.errors import FailedPreconditionError, NotFoundError, UnavailableError
from svc_runtime.mesh_token import Caller
from tests.contract.attribution.memory_store import MemoryCampaignStore

NOW = datetime(2026, 11, 20, tzinfo=UTC)
SHOP = Action((Destination("https://shop.example/"),))


class Overlays:
    """As analytics_svc promises to be, but for its failures: before anything was done, or after."""

    def __init__(self, failures: Sequence[str]) -> None:
        self._failures = list(failures)
        self.applied: dict[int, tuple[str, ...]] = {}
        self.holding = 0
        self.callers: set[str] = set()

    async def apply(self, caller: Caller, campaign: Campaign, yielding: Sequence[str]) -> Work:
        """See ``Overlays.apply``."""
        failure = self._fail_before(caller)
        if campaign.version not in self.applied:
            self.applied[campaign.version] = asked(campaign)
            self.holding = campaign.version
        self._fail_after(failure)
        return Work(f"op_{campaign.version}", NOW + timedelta(days=1))

    async def activate(self, caller: Caller, campaign_id: str, version: int) -> Work:
        """See ``Overlays.activate``."""
        failure = self._fail_before(caller)
        if not self.applied or (version and version not in self.applied):
            raise NotFoundError("no such claim")
        self.holding = version
        self._fail_after(failure)
        return Work(f"op_{version}", NOW + timedelta(days=1))

    def _fail_before(self, caller: Caller) -> str:
        self.callers.add(f"{caller.organization_id} {caller.actor}")
        failure = self._failures.pop(0) if self._failures else ""
        if failure == "before":
            raise UnavailableError("away")
        if failure == "busy":
            raise FailedPreconditionError("another operation runs")
        return failure

    @staticmethod
    def _fail_after(failure: str) -> None:
        if failure == "after":
            raise UnavailableError("the answer was lost")


def asked(campaign: Campaign) -> tuple[str, ...]:
    """Return what a campaign's rules ask for."""
    conditions = [rule.predicate for rule in campaign.definition.rules]
    return tuple(found.values[0] for found in conditions if isinstance(found, Condition))


def rules(word: str) -> tuple[Rule, ...]:
    """Return one rule."""
    return (Rule(SHOP, Condition("referer", Operator.CONTAINS, (word,))),)


def _change(step: str, word: str) -> CampaignChange:
    match step:
        case "rules":
            return CampaignChange(define=lambda present: replace(present, rules=rules(word)))
        case "name":
            return CampaignChange(name=word)
        case "pause":
            return CampaignChange(status=CampaignStatus.PAUSED)
        case _:
            return CampaignChange(claim=lambda present: present or Claim())


_STEPS = st.lists(
    st.tuples(st.sampled_from(["rules", "name", "pause", "apply", "undo", "redo", "work"]), st.sampled_from("abc")),
    max_size=12,
)
_FAILURES = st.lists(st.sampled_from(["", "", "before", "after", "busy"]), max_size=12)


@given(steps=_STEPS, failures=_FAILURES, tries=st.lists(st.booleans(), min_size=12, max_size=12))
@settings(deadline=None)
def test_in_the_end_history_is_what_the_campaign_says(
    steps: list[tuple[str, str]], failures: list[str], tries: list[bool]
) -> None:
    async def run() -> None:
        store, overlays = MemoryCampaignStore(), Overlays(failures)
        wanted = NewCampaign("c")
        definition = replace(wanted.definition, rules=rules("a"), claim=Claim())
        first = new_campaign(replace(wanted, definition=definition), organization_id="o", minted_id="", now=NOW)
        await store.insert(first, actor="key:1")
        for (step, word), is_tried in zip(steps, tries, strict=False):
            await take(store, step, word)
            if is_tried:
                # A process that does it and dies, or does it and lives: the next is another one.
                await Retroactive(store, overlays).hand_over(first)
        for _ in range(len(failures) + 1):
            await Retroactive(store, overlays).hand_over(first)
        campaign = await store.get("o", "c")
        (order,) = (await store.claims.orders("o", ["c"])).values()
        assert order.state is OrderState.TAKEN
        assert overlays.holding == campaign.claim_version
        if campaign.claim_version:
            held = (await store.version("o", "c", campaign.claim_version)).campaign
            assert overlays.applied[campaign.claim_version] == asked(held) == asked(campaign)
            assert campaign.definition.claim is not None
            assert not campaign.definition.claim.is_withdrawn
        assert overlays.callers <= {"o key:1"}

    asyncio.run(run())


async def take(store: MemoryCampaignStore, step: str, word: str) -> None:
    """Do one thing to the campaign."""
    if step == "work":
        return
    if step == "redo":
        versions = await store.versions("o", "c", before=None, limit=100)
        earlier = versions[ord(word) % len(versions)].campaign
        await store.update("o", "c", lambda c: restored(c, earlier, expected_version=0, now=NOW), actor="key:1")
    elif step == "undo":
        await store.update("o", "c", lambda c: withdrawn(c, expected_version=0, now=NOW), actor="key:1")
    else:
        change = _change(step, word)
        await store.update("o", "c", lambda c: changed_by(c, change, now=NOW), actor="key:1")
