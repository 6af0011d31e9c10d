"""Rules of conversions over history, in a real PostgreSQL."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import asyncpg
import pytest

from attribution_svc.conversions.rules import Choice, Policy
from attribution_svc.conversions.ruling import RuleOperation, Ruling
from attribution_svc.store import conversion_rules
from attribution_svc.store.postgres import PostgresCampaignStore
from svc_runtime.errors import InvalidArgumentError, NotFoundError, UnavailableError
from svc_runtime.tasks import running
from tests.contract.attribution.conversion.store_contract import listed, take
from tests.unit.attribution.conversion.reports import postback

pytestmark = pytest.mark.store
KEY = {"organization_id": "org_a", "actor": "key:1"}


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresCampaignStore]:
    """An empty one."""
    async with PostgresCampaignStore.open(dsn) as store:
        yield store


async def finish(store: PostgresCampaignStore, *, group_count: int = 500) -> RuleOperation:
    """Advance until the operation is over."""
    while (operation := await store.conversion_rules.advance(group_count=group_count)) is not None:
        if operation.state != "running":
            return operation
    raise AssertionError("no operation runs")


async def standing(store: PostgresCampaignStore) -> list[tuple[Any, ...]]:
    """Return what conversions are, but for when and how often they were written."""
    return [(kept.conversion, kept.match, kept.merged_into) for kept in await listed(store.conversions)]


async def rows(dsn: str, statement: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [dict(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


@pytest.mark.parametrize("choice", [Choice.LAST, Choice.SUM, Choice.MAX, Choice.PER_EVENT])
async def test_a_policy_makes_history_anew_and_back_again_bit_by_bit(
    store: PostgresCampaignStore, choice: Choice
) -> None:
    ruling = Ruling(store.conversion_rules)
    for page in range(4):
        await take(
            store.conversions,
            *(
                postback(page * 30 + number, f"txid={number % 7}&event=purchase&payout={number % 5}&click_id=c{number}")
                for number in range(30)
            ),
            postback(page * 30 + 1000, f"txid={page}&event=refund&payout=1"),
        )
    before = await standing(store)
    _, begun = await ruling.set_policy("Purchase", Policy(choice), **KEY)
    assert begun is not None
    operation = await finish(store, group_count=2)
    assert (operation.operation_id, operation.state) == (begun.operation_id, "done")
    assert (operation.done_count, operation.changed_count > 0) == (7, True)
    between = await standing(store)
    assert between != before
    assert len(between) == (120 if choice is Choice.PER_EVENT else 7)
    await ruling.set_policy("purchase", None, **KEY)
    await finish(store, group_count=3)
    assert await standing(store) == before


async def test_large_orders_are_made_anew_a_few_at_a_time(
    store: PostgresCampaignStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion_rules, "MOST_EVENTS_AT_ONCE", 3)
    await take(store.conversions, *(postback(n, f"txid={'aaaabcd'[n]}&event=purchase&payout=2") for n in range(7)))
    _, begun = await Ruling(store.conversion_rules).set_policy("*", Policy(Choice.SUM), **KEY)
    assert begun is not None
    assert begun.total_count == 4
    counts = []
    while (operation := await store.conversion_rules.advance(group_count=500)) is not None:
        counts.append((operation.done_count, operation.state))
    assert counts == [(1, "running"), (4, "done")]


async def test_half_as_much_is_made_anew_after_a_failure_and_then_more_again() -> None:
    class Slow:
        counts: ClassVar[list[int]] = []

        async def advance(self, *, group_count: int) -> RuleOperation | None:
            self.counts.append(group_count)
            if group_count > 200:
                raise UnavailableError("out of time")
            return None

    ruling = Ruling(Slow())  # type: ignore[arg-type]  # all that is asked of it
    for is_down in (True, True, False, False, False, True):
        with pytest.raises(UnavailableError) if is_down else contextlib.nullcontext():
            await ruling.advance()
    assert Slow.counts == [500, 250, 125, 157, 197, 247]


async def test_a_policy_is_told_as_such_and_the_reading_hears_of_it(store: PostgresCampaignStore, dsn: str) -> None:
    await take(store.conversions, *(postback(n, "txid=1&event=purchase&payout=2", seconds=n) for n in range(3)))
    outbox = store.verdicts
    told = await outbox.unsent_verdicts(limit=10)
    await outbox.verdicts_sent(told)
    assert await outbox.unsent_verdicts(limit=10) == []
    await Ruling(store.conversion_rules).set_policy("*", Policy(Choice.SUM), **KEY)
    await finish(store)
    changes = await rows(dsn, "SELECT kind, after FROM conversion_changes ORDER BY change_id")
    assert [change["kind"] for change in changes] == ["created", "policy"]
    assert json.loads(changes[1]["after"])["value_micros"] == 6_000_000
    again = await outbox.unsent_verdicts(limit=10)
    assert sorted(verdict.share.value_micros or 0 for verdict in again) == [2_000_000, 2_000_000]
    assert all(verdict.share.is_adjustment for verdict in again)
    assert min(verdict.revision for verdict in again) > max(verdict.revision for verdict in told)


async def test_an_unknown_status_is_mapped_later(store: PostgresCampaignStore) -> None:
    ruling = Ruling(store.conversion_rules)
    await take(
        store.conversions,
        postback(1, "txid=1&status=3&payout=5&source=NetA"),
        postback(2, "txid=2&status=3&payout=5&source=netb"),
        postback(3, "txid=3&status=3%252C5&source=neta"),
    )
    assert {(word.network, word.word) for word in await ruling.unmapped("org_a")} == {
        ("neta", "3"),
        ("netb", "3"),
        ("neta", "3%2C5"),
    }
    await ruling.set_words("NetA", [("3", "rejected"), ("5", "rejected")], **KEY)
    await finish(store)
    found = {kept.conversion.order_id: kept.conversion for kept in await listed(store.conversions)}
    assert {order: made.status for order, made in found.items()} == {"1": "rejected", "2": "unmapped", "3": "rejected"}
    assert [found[order].is_counted for order in "123"] == [False, True, False]
    assert [(word.network, word.word) for word in await ruling.unmapped("org_a") if word.word == "3"] == [("netb", "3")]
    await take(store.conversions, postback(4, "txid=4&status=3&source=neta"))
    assert (await listed(store.conversions, order_id="4"))[0].conversion.status == "rejected"


async def test_a_networks_amounts_without_a_currency_get_one_later(store: PostgresCampaignStore) -> None:
    ruling = Ruling(store.conversion_rules)
    await take(
        store.conversions,
        postback(1, "txid=1&payout=5", network="NetA"),
        postback(2, "txid=1&event=refund&payout=2&cur=EUR", network="NetA"),
        postback(3, "txid=3&payout=5&cur=USD", network="NetA"),
        postback(4, "txid=4&payout=5"),
    )
    await ruling.set_words("neta", [], default_currency="EUR", **KEY)
    await finish(store)
    found = {kept.conversion.order_id: kept.conversion for kept in await listed(store.conversions)}
    assert {order: made.currency for order, made in found.items()} == {"1": "EUR", "3": "USD", "4": ""}
    assert [found[order].is_currency_assumed for order in "134"] == [True, False, False]
    assert {verdict.share.currency for verdict in await store.verdicts.unsent_verdicts(limit=10)} == {"EUR"}
    with pytest.raises(InvalidArgumentError):
        await ruling.set_words("neta", [], default_currency="euros", **KEY)


async def test_what_comes_meanwhile_is_read_by_the_new_rules_and_a_later_change_takes_over(
    store: PostgresCampaignStore,
) -> None:
    ruling = Ruling(store.conversion_rules)
    await take(store.conversions, *(postback(n, f"txid={n % 4}&payout=1&event=purchase") for n in range(12)))
    await ruling.set_policy("*", Policy(Choice.SUM), **KEY)
    await store.conversion_rules.advance(group_count=1)
    await take(store.conversions, postback(20, "txid=3&payout=1&event=purchase"))
    _, second = await ruling.set_policy("*", Policy(Choice.MAX), **KEY)
    assert second is not None
    done = await finish(store, group_count=3)
    assert done.operation_id == second.operation_id
    assert [operation.state for operation in await ruling.operations("org_a")] == ["done", "superseded"]
    assert {kept.conversion.value_micros for kept in await listed(store.conversions)} == {1_000_000}


async def test_the_same_again_changes_nothing_and_others_keep_theirs(store: PostgresCampaignStore) -> None:
    ruling = Ruling(store.conversion_rules)
    theirs = postback(2, "txid=1&payout=5", organization_id="org_b")
    again = postback(3, "txid=1&payout=7", organization_id="org_b")
    await take(store.conversions, postback(1, "txid=1&payout=5"), theirs, again)
    held, operation = await ruling.set_policy("*", Policy(Choice.SUM), **KEY)
    assert (held.version, operation is None) == (1, False)
    held, operation = await ruling.set_policy("*", Policy(Choice.SUM), **KEY)
    assert (held.version, operation) == (1, None)
    await finish(store)
    assert (await listed(store.conversions, "org_b"))[0].conversion.value_micros == 5_000_000
    assert (await ruling.rules("org_b")).version == 0
    assert await ruling.operations("org_b") == []


async def test_it_is_applied_by_itself(store: PostgresCampaignStore) -> None:
    ruling = Ruling(store.conversion_rules)
    await take(store.conversions, *(postback(n, "txid=1&payout=1&event=purchase") for n in range(3)))
    async with running("rules", ruling.run()), asyncio.timeout(20):
        await ruling.set_policy("*", Policy(Choice.SUM), **KEY)
        while (await listed(store.conversions))[0].conversion.value_micros != 3_000_000:  # noqa: ASYNC110 - a store
            await asyncio.sleep(0.02)


async def test_what_is_wrong_with_rules_is_named(store: PostgresCampaignStore) -> None:
    ruling = Ruling(store.conversion_rules)
    with pytest.raises(InvalidArgumentError) as error:
        await ruling.set_policy("x" * 129, Policy(Choice.SUM, 0), **KEY)
    assert {violation.field for violation in error.value.violations} == {"conversion_type", "lookback_days"}
    with pytest.raises(NotFoundError):
        await ruling.set_policy("purchase", None, **KEY)
    words = [("1,2", "sale"), ("", "sale"), ("3", "sold"), ("4", "sale"), ("4", "lead")]
    with pytest.raises(InvalidArgumentError) as error:
        await ruling.set_words("n" * 257, words, **KEY)
    assert [violation.field for violation in error.value.violations] == [
        "network",
        "words[0].word",
        "words[1].word",
        "words[2].status",
        "words[4].word",
    ]
