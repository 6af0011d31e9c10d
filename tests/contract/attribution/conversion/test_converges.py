"""However events come, and whatever the rules were meanwhile: in the end all is as if it had come at once."""

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from attribution_svc.conversions.event import ConversionEvent
from attribution_svc.conversions.fold import fold
from attribution_svc.conversions.rules import Choice, Policy, Rules
from attribution_svc.conversions.settle import own_share
from enrichment.status import Status
from tests.contract.attribution.conversion.memory_conversions import MemoryConversionStore
from tests.contract.attribution.conversion.store_contract import listed, take
from tests.unit.attribution.conversion.reports import postback

_STATUSES = ("", "status=lead", "status=approved", "status=rejected", "status=refund", "status=7", "event=refund")
_queries = st.tuples(
    st.sampled_from(["txid=1", "txid=2", ""]),
    st.sampled_from(_STATUSES),
    st.sampled_from(["", "payout=5", "payout=7.25", "payout=-2"]),
    st.sampled_from(["", "cur=EUR"]),
).map(lambda parts: "&".join(part for part in parts if part))
_events = st.lists(st.tuples(_queries, st.integers(0, 3)), min_size=1, max_size=9).map(
    lambda made: [postback(number, query, seconds=seconds) for number, (query, seconds) in enumerate(made)]
)
_RULES = (
    Rules(),
    *(Rules(policies={"*": Policy(choice)}) for choice in Choice),
    Rules(vocabularies={"": {"7": Status.REJECTED}}, currencies={"": "EUR"}),
)


@given(_events, st.lists(st.sampled_from(_RULES), min_size=1, max_size=4), st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_what_is_kept_and_told_is_what_all_events_amount_to(
    events: list[ConversionEvent], history: list[Rules], seed: int
) -> None:
    asyncio.run(_converges(events, history, random.Random(seed)))


async def _converges(events: list[ConversionEvent], history: list[Rules], chance: random.Random) -> None:
    store = MemoryConversionStore()
    coming = [*events, *chance.sample(events, min(3, len(events)))]
    chance.shuffle(coming)
    for rules in history:
        store.use_rules("org_a", rules)
        cut = chance.randint(0, len(coming))
        await take(store, *coming[:cut])
        coming = coming[cut:]
    await take(store, *coming)
    groups: dict[str, list[ConversionEvent]] = {}
    for event in events:
        groups.setdefault(event.group_key, []).append(event)
    folded = [fold(members, history[-1]) for members in groups.values()]
    wanted = {made.conversion_id: made for one in folded for made in one.conversions}
    assert {kept.conversion.conversion_id: kept.conversion for kept in await listed(store)} == wanted
    for one in folded:
        for event_id, share in one.shares.items():
            event = next(event for event in events if event.event_id == event_id)
            assert store.told.get(("org_a", event_id), own_share(event)) == share
