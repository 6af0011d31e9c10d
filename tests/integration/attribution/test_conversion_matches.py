"""Which clicks conversions go back to, in a real PostgreSQL; the reading is a dict."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from attribution_svc.campaigns.usage import Window
from attribution_svc.conversions.decide import EventKey, FoundClick, Linked, PersonAsked
from attribution_svc.conversions.kept import Kept, MatchState, Touch
from attribution_svc.conversions.matching import Matcher
from attribution_svc.conversions.orphans import Orphans, OrphanSum
from attribution_svc.conversions.rematch import Rematcher
from attribution_svc.conversions.rules import Choice, Policy
from attribution_svc.conversions.ruling import Ruling
from attribution_svc.store.postgres import PostgresCampaignStore
from svc_runtime.clock import SystemClock
from svc_runtime.errors import Code, FailedPreconditionError, InvalidArgumentError, NotFoundError, UnavailableError
from tests.contract.attribution.conversion.store_contract import ids, listed, take
from tests.integration.attribution.test_conversion_rules import finish, rows
from tests.unit.attribution.conversion.reports import NOON, at, event_id_of, postback
from tests.unit.attribution.conversion.test_verdicts import as_from_remote

pytestmark = pytest.mark.store


def click(number: int, *, campaign_id: str = "summer", when: datetime | None = None) -> Touch:
    """Return a click."""
    return Touch(
        event_id=f"click-{number}",
        event_time=when or at(-60),
        click_id=f"ours{number}",
        external_click_id=f"theirs{number}",
        campaign_id=campaign_id,
        user_id=f"usr_{number}",
    )


@dataclass
class Reading:
    """What the reading has, by the number of the event."""

    touches_by_id: dict[str, Touch] = field(default_factory=dict)
    campaigns: dict[str, str] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)
    clicks: dict[str, list[FoundClick]] = field(default_factory=dict)
    watermark: datetime | None = None
    operation: str = ""
    is_down: bool = False
    refused: set[str] = field(default_factory=set)
    is_busy: bool = False
    find_count: int = 0
    person_clicks_by_id: dict[str, Touch] = field(default_factory=dict)
    persons_asked: list[PersonAsked] = field(default_factory=list)

    def refuse(self, *named: str) -> None:
        if self.refused & set(named):
            raise as_from_remote(Code.INVALID_ARGUMENT)

    async def touches(self, keys: Sequence[EventKey]) -> tuple[list[Linked], datetime | None]:
        if self.is_down:
            raise UnavailableError("down")
        self.refuse(*(key.event_id for key in keys))
        linked = []
        for key in keys:
            touch = self.touches_by_id.get(key.event_id)
            campaign_id = self.campaigns.get(key.event_id, touch.campaign_id if touch else "")
            linked.append(Linked(key.event_id not in self.unread, touch, campaign_id))
        return linked, self.watermark

    async def find_clicks(self, references: Sequence[tuple[str, str]]) -> list[list[FoundClick]]:
        self.find_count += 1
        if self.is_busy:
            raise as_from_remote(Code.RATE_LIMITED)
        self.refuse(*(reference for _, reference in references))
        return [self.clicks.get(reference, []) for _, reference in references]

    async def person_clicks(self, asked: Sequence[PersonAsked]) -> list[Touch | None]:
        self.persons_asked += asked
        return [self.person_clicks_by_id.get(each.key.event_id) for each in asked]

    async def last_operation(self, organization_id: str) -> str:
        if organization_id in self.refused:
            raise as_from_remote(Code.INTERNAL)
        return self.operation


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresCampaignStore]:
    """An empty one."""
    async with PostgresCampaignStore.open(dsn) as store:
        yield store


@pytest.fixture
def reading() -> Reading:
    return Reading()


@pytest.fixture
def matcher(store: PostgresCampaignStore, reading: Reading) -> Matcher:
    return Matcher(store.conversion_matches, reading, clock=SystemClock())


async def make_due(dsn: str) -> None:
    """Let the time of all come."""
    await rows(dsn, "UPDATE conversions SET next_match_time = now() WHERE next_match_time IS NOT NULL RETURNING 1")


async def the_only(store: PostgresCampaignStore) -> Kept:
    (kept,) = await listed(store.conversions)
    return kept


async def test_a_conversion_gets_the_click_and_the_campaign_that_the_reading_has(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher, dsn: str
) -> None:
    await take(store.conversions, postback(1, "txid=1&click_id=theirs7&payout=5"))
    reading.touches_by_id[event_id_of(1)] = click(7)
    assert await matcher.match_some() == 1
    kept = await the_only(store)
    assert (kept.match.state, kept.match.touch, kept.match.campaign_id) == (MatchState.MATCHED, click(7), "summer")
    for click_id in ("theirs7", "ours7"):
        assert ids(await listed(store.conversions, click_id=click_id)) == [1]
    assert ids(await listed(store.conversions, campaign_id="summer")) == [1]
    (_, told) = await rows(dsn, "SELECT kind, after FROM conversion_changes ORDER BY change_id")
    assert (told["kind"], json.loads(told["after"])["click_id"]) == ("matched", "ours7")
    assert await matcher.match_some() == 0
    await make_due(dsn)
    assert await matcher.match_some() == 1
    assert len(await rows(dsn, "SELECT 1 FROM conversion_changes")) == 2


async def test_it_waits_for_the_reading_and_is_never_forgotten(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher, dsn: str
) -> None:
    await take(store.conversions, postback(1, "txid=1&click_id=c"))
    reading.unread.add(event_id_of(1))
    await matcher.match_some()
    assert (await the_only(store)).match.state is MatchState.PENDING
    reading.is_down = True
    await make_due(dsn)
    with pytest.raises(UnavailableError):
        await matcher.match_some()
    reading.is_down = False
    reading.unread.clear()
    await matcher.match_some()
    kept = await the_only(store)
    assert (kept.match.state, kept.match.reason) == (MatchState.ORPHAN, "never_seen")
    reading.touches_by_id[event_id_of(1)] = click(1)
    assert len(await rows(dsn, "SELECT 1 FROM conversions WHERE next_match_time > now()")) == 1
    await make_due(dsn)
    await matcher.match_some()
    assert (await the_only(store)).match.state is MatchState.MATCHED


async def test_an_event_that_the_reading_refuses_keeps_no_other_waiting(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher
) -> None:
    odd = replace(postback(9, "click_id=c"), event_id="no uuid")
    await take(store.conversions, postback(1, "click_id=c"), odd, postback(2, "click_id=broken"))
    reading.refused = {"no uuid", "broken"}
    reading.touches_by_id[event_id_of(1)] = click(1)
    await matcher.match_some()
    states = {kept.conversion.conversion_id: kept.match.state for kept in await listed(store.conversions)}
    assert states == {
        event_id_of(1): MatchState.MATCHED,
        "no uuid": MatchState.ORPHAN,
        event_id_of(2): MatchState.ORPHAN,
    }


async def test_a_click_that_no_column_holds_keeps_no_other_waiting(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher
) -> None:
    await take(store.conversions, *(postback(number, "click_id=c") for number in range(5)))
    reading.touches_by_id = {event_id_of(number): click(number) for number in range(5)}
    reading.touches_by_id[event_id_of(3)] = replace(click(3), source="a\0b")
    assert await matcher.match_some() == 5
    states = [kept.match.state for kept in await listed(store.conversions)]
    assert states == [MatchState.MATCHED, MatchState.PENDING, *[MatchState.MATCHED] * 3]
    assert await matcher.match_some() == 0


async def test_matches_do_not_wait_for_what_may_be_meant(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher, dsn: str
) -> None:
    await take(store.conversions, postback(1, "click_id=c"), postback(2, "click_id=d"))
    reading.touches_by_id[event_id_of(1)] = click(1)
    reading.clicks["d"] = [FoundClick("case", click(2))]
    reading.is_busy = True
    await matcher.match_some()
    second, first = await listed(store.conversions)
    assert first.match.state is MatchState.MATCHED
    assert (second.match.reason, second.match.suggestions) == ("never_seen", ())
    reading.is_busy = False
    for _ in range(4):
        await make_due(dsn)
        await matcher.match_some()
    assert [len(kept.match.suggestions) for kept in await listed(store.conversions)] == [1, 0]
    assert reading.find_count == 2


async def test_another_event_may_know_the_click(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher
) -> None:
    await take(store.conversions, postback(1, "txid=1&status=lead"))
    await matcher.match_some()
    assert (await the_only(store)).match.reason == "no_reference"
    await take(store.conversions, postback(2, "txid=1&status=sale&click_id=c"))
    reading.touches_by_id[event_id_of(2)] = click(2)
    assert await matcher.match_some() == 1
    assert (await the_only(store)).match.touch == click(2)


@pytest.mark.parametrize(
    ("query", "found", "reason", "suggested"),
    [
        ("", [], "no_reference", 0),
        ("click_id={clickid}", [], "literal_macro", 0),
        ("click_id=c", [], "never_seen", 0),
        ("click_id=c", ["prefix", "prefix"], "truncated", 2),
        ("click_id=c", ["case"], "wrong_case", 1),
        ("click_id=c", ["encoded"], "double_encoded", 1),
        ("click_id=c", ["exact"], "never_seen", 0),
    ],
)
async def test_an_orphan_says_why_it_is_one_and_what_may_have_been_meant(
    store: PostgresCampaignStore,
    reading: Reading,
    matcher: Matcher,
    query: str,
    found: list[str],
    reason: str,
    suggested: int,
) -> None:
    await take(store.conversions, postback(1, f"payout=5&cur=EUR&{query}"))
    reading.clicks["c"] = [FoundClick(kind, click(number)) for number, kind in enumerate(found)]
    await matcher.match_some()
    kept = await the_only(store)
    assert (kept.match.state, kept.match.reason) == (MatchState.ORPHAN, reason)
    assert len(kept.match.suggestions) == suggested
    assert kept.match.touch is None
    assert ids(await listed(store.conversions, orphan_reason=reason)) == [1]
    assert ids(await listed(store.conversions, is_orphan=True)) == [1]
    sums = await store.conversion_matches.orphan_sums("org_a", start_time=None, end_time=None)
    assert sums == [OrphanSum(reason, "EUR", 1, 5_000_000)]
    assert await store.conversion_matches.orphan_sums("org_b", start_time=None, end_time=None) == []
    assert await store.conversion_matches.orphan_sums("org_a", start_time=at(2), end_time=None) == []


async def test_a_click_before_the_window_is_suggested_and_one_that_is_matched_is_marked(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher, dsn: str
) -> None:
    old = click(1, when=NOON - timedelta(days=31))
    await take(store.conversions, postback(1, "click_id=c"), postback(2, "click_id=d"))
    reading.clicks["c"] = [FoundClick("exact", old)]
    reading.touches_by_id[event_id_of(2)] = old
    await matcher.match_some()
    second, first = await listed(store.conversions)
    assert (first.match.reason, len(first.match.suggestions)) == ("outside_window", 1)
    assert (second.match.state, second.match.is_outside_window) == (MatchState.MATCHED, True)
    await Ruling(store.conversion_rules).set_policy(
        "*", Policy(lookback_days=60), organization_id="org_a", actor="key:1"
    )
    await finish(store)
    assert not (await listed(store.conversions))[0].match.is_outside_window


@pytest.mark.parametrize(("query", "reason"), [("txid=1", "no_reference"), ("click_id=unheard", "never_seen")])
async def test_the_last_click_of_whom_an_orphan_names_is_suggested_and_not_taken(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher, query: str, reason: str
) -> None:
    await take(store.conversions, postback(1, query))
    reading.person_clicks_by_id[event_id_of(1)] = click(7)
    await matcher.match_some()
    kept = await the_only(store)
    assert (kept.match.state, kept.match.reason, kept.match.touch) == (MatchState.ORPHAN, reason, None)
    assert [(told.reason.value, told.reference, told.touch) for told in kept.match.suggestions] == [
        ("same_person", "", click(7))
    ]
    (asked,) = reading.persons_asked
    conversion = kept.conversion
    assert (asked.key.event_id, asked.user_id) == (event_id_of(1), conversion.user_id)
    assert (asked.before_time, asked.before_time - asked.after_time) == (conversion.conversion_time, timedelta(days=30))


async def test_nobody_is_asked_for_where_a_reference_means_something(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher
) -> None:
    await take(store.conversions, postback(1, "click_id=C"), postback(2, "click_id=d"))
    reading.clicks["C"] = [FoundClick("case", click(4))]
    reading.touches_by_id[event_id_of(2)] = click(5)
    await matcher.match_some()
    assert reading.persons_asked == []


async def test_what_somebody_accepts_stays(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher, dsn: str
) -> None:
    orphans = Orphans(store.conversion_matches, reading)
    await take(store.conversions, postback(1, "txid=1&click_id=c"))
    await matcher.match_some()
    reading.clicks["theirs5"] = [FoundClick("case", click(4)), FoundClick("exact", click(5))]
    for _ in range(2):
        kept = await orphans.match(event_id_of(1), "theirs5", organization_id="org_a", actor="key:anna")
        assert (kept.match.touch, kept.match.is_accepted) == (click(5), True)
    reading.touches_by_id[event_id_of(1)] = click(9)
    reading.campaigns["click-5"] = "winter"
    await matcher.match_some()
    kept = await the_only(store)
    assert kept.match.touch is not None
    assert (kept.match.touch.event_id, kept.match.campaign_id) == ("click-5", "winter")
    (accepted,) = await rows(dsn, "SELECT * FROM conversion_accepts")
    assert (accepted["click_event_id"], accepted["actor"]) == ("click-5", "key:anna")
    told = await rows(dsn, "SELECT kind FROM conversion_changes ORDER BY change_id")
    assert [change["kind"] for change in told] == ["created", "matched", "matched"]


async def test_what_was_accepted_stays_with_its_order_when_an_earlier_event_comes_late(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher, dsn: str
) -> None:
    await take(store.conversions, postback(2, "txid=1&status=sale"))
    reading.clicks["theirs5"] = [FoundClick("exact", click(5))]
    orphans = Orphans(store.conversion_matches, reading)
    await orphans.match(event_id_of(2), "theirs5", organization_id="org_a", actor="key:anna")
    await take(store.conversions, postback(1, "txid=1&status=lead"))
    (kept,) = await listed(store.conversions, click_id="ours5")
    assert kept.conversion.conversion_id == event_id_of(1)
    assert (kept.match.touch, kept.match.is_accepted) == (click(5), True)
    reading.touches_by_id[event_id_of(1)] = click(9)
    await matcher.match_some()
    assert (await the_only(store)).match.touch == replace(click(5), campaign_id="")
    told = await rows(dsn, "SELECT kind, after FROM conversion_changes WHERE kind = 'created' ORDER BY change_id")
    assert [json.loads(change["after"])["click_id"] for change in told] == ["", "ours5"]


async def test_what_was_accepted_stays_with_its_order_when_the_policy_changes_and_changes_back(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher
) -> None:
    ruling = Ruling(store.conversion_rules)
    await ruling.set_policy("*", Policy(Choice.PER_EVENT), organization_id="org_a", actor="key:1")
    await finish(store)
    await take(store.conversions, *(postback(number, "txid=1&event=purchase&payout=5") for number in (1, 2)))
    await matcher.match_some()
    reading.clicks["theirs5"] = [FoundClick("exact", click(5))]
    orphans = Orphans(store.conversion_matches, reading)
    await orphans.match(event_id_of(2), "theirs5", organization_id="org_a", actor="key:anna")
    for choice, accepted in ((Choice.FIRST, [1]), (Choice.PER_EVENT, [2, 1])):
        await ruling.set_policy("*", Policy(choice), organization_id="org_a", actor="key:1")
        await finish(store)
        found = await listed(store.conversions)
        assert ids([kept for kept in found if kept.match.touch == click(5) and kept.match.is_accepted]) == accepted


async def test_what_cannot_be_accepted_is_refused(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher
) -> None:
    orphans = Orphans(store.conversion_matches, reading)
    await take(store.conversions, postback(2, "txid=1&click_id=c"))
    await take(store.conversions, postback(1, "txid=1&click_id=c"))
    reading.clicks["theirs5"] = [FoundClick("exact", click(5))]
    reading.clicks["case"] = [FoundClick("case", click(5))]

    async def match(number: int, click_id: str, organization_id: str = "org_a") -> None:
        await orphans.match(event_id_of(number), click_id, organization_id=organization_id, actor="key:1")

    for number, click_id, organization_id in ((1, "unknown", "org_a"), (1, "case", "org_a"), (1, "theirs5", "org_b")):
        with pytest.raises(NotFoundError):
            await match(number, click_id, organization_id)
    with pytest.raises(FailedPreconditionError):
        await match(2, "theirs5")
    for click_id in ("", "x" * 513):
        with pytest.raises(InvalidArgumentError):
            await match(1, click_id)


async def test_all_are_matched_again_when_the_reading_was_made_anew(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher, dsn: str
) -> None:
    events = [postback(number, "click_id=c") for number in range(5)]
    await take(store.conversions, *events, postback(9, "click_id=c", organization_id="org_b"))
    await matcher.match_some()
    await rows(dsn, "UPDATE conversions SET next_match_time = NULL WHERE organization_id = 'org_a' RETURNING 1")
    rematcher = Rematcher(store.conversion_matches, reading)
    await rematcher.look()
    assert await store.conversion_matches.spread(limit=2) == 0
    reading.operation = "op_1"
    reading.touches_by_id = {event.event_id: click(1) for event in events}
    await rematcher.look()
    counts = [await store.conversion_matches.spread(limit=2) for _ in range(6)]
    assert sum(counts) == 6
    assert counts[-1] == 0
    await matcher.match_some()
    assert {kept.match.state for kept in await listed(store.conversions)} == {MatchState.MATCHED}
    await rematcher.look()
    assert await store.conversion_matches.spread(limit=2) == 0


async def test_an_organisation_whose_operations_are_not_told_keeps_no_other_waiting(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher
) -> None:
    await take(store.conversions, postback(1, "click_id=c"), postback(2, "click_id=c", organization_id="org_b"))
    reading.operation, reading.refused = "op_1", {"org_a"}
    await Rematcher(store.conversion_matches, reading).look()
    assert await store.conversion_matches.heard() == {"org_a": "", "org_b": "op_1"}


async def test_what_is_made_due_while_the_reading_is_asked_is_due_still(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher
) -> None:
    await take(store.conversions, postback(1, "click_id=c"))
    await store.conversion_matches.rematch("org_a", "op_1")
    asked = reading.touches

    async def answer_late(keys: Sequence[EventKey]) -> tuple[list[Linked], datetime | None]:
        answers = await asked(keys)
        await store.conversion_matches.spread(limit=10)
        return answers

    reading.touches = answer_late  # type: ignore[method-assign]  # as slow as the reading may be
    await matcher.match_some()
    reading.touches = asked  # type: ignore[method-assign]  # as before
    assert await matcher.match_some() == 1
    assert await matcher.match_some() == 0


async def test_a_conversion_that_stands_again_is_looked_at_again(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher
) -> None:
    ruling = Ruling(store.conversion_rules)
    for choice in (Choice.PER_EVENT, Choice.FIRST, Choice.PER_EVENT):
        await ruling.set_policy("*", Policy(choice), organization_id="org_a", actor="key:1")
        await finish(store)
        if choice is Choice.PER_EVENT and not reading.touches_by_id:
            await take(store.conversions, *(postback(number, "txid=1&event=purchase") for number in (1, 2)))
            reading.touches_by_id = {event_id_of(number): click(number) for number in (1, 2)}
            await matcher.match_some()
    reading.touches_by_id[event_id_of(2)] = click(7)
    await matcher.match_some()
    second, _ = await listed(store.conversions)
    assert second.match.touch == click(7)


async def test_conversions_are_counted_against_windows(
    store: PostgresCampaignStore, reading: Reading, matcher: Matcher
) -> None:
    events = [
        postback(number, f"txid={number // 2}&status={'sale' if number < 6 else 'rejected'}") for number in range(8)
    ]
    await take(store.conversions, *events)
    reading.touches_by_id = {event.event_id: click(1) for event in events}
    await matcher.match_some()
    windows = [
        Window("org_a", campaign_id, "conversions", "day", start)
        for campaign_id, start in (("summer", NOON), ("summer", at(2)), ("winter", NOON), ("summer", at(60)))
    ]
    assert await store.conversion_matches.conversion_counts(windows) == [3, 2, 0, 0]
    other = [Window("org_b", "summer", "conversions", "day", datetime(1970, 1, 1, tzinfo=UTC))]
    assert await store.conversion_matches.conversion_counts(other) == [0]
