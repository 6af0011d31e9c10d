"""What every DeliveryQueue must do. Subclass it and give it the fixtures ``store``, ``queue`` and ``log``."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from attribution_svc.webhooks.attempt import (
    OPEN_AFTER_FAILURES,
    Circuit,
    DeliveryState,
    Failure,
    Next,
    Outcome,
)
from attribution_svc.webhooks.change import Change, Click
from attribution_svc.webhooks.store import (
    Backlog,
    Claim,
    DeliveryFilter,
    DeliveryQueue,
    NewDelivery,
    Position,
    WebhookStore,
)
from attribution_svc.webhooks.webhook import EventKind, Webhook
from svc_runtime.errors import FailedPreconditionError, NotFoundError
from tests.contract.webhooks.things import (
    BROKEN,
    CUT,
    GONE,
    LEASE,
    MINUTE,
    NOW,
    OK,
    make_attempt,
    make_change,
    make_delivery,
    make_limits,
    make_webhook,
)

Log = Callable[[Sequence[Change]], Awaitable[None]]
SUCCEEDED = Next(DeliveryState.SUCCEEDED)
DEAD = Next(DeliveryState.DEAD)


async def plan(queue: DeliveryQueue, log: Log, *deliveries: NewDelivery) -> None:
    """Write the changes of deliveries into the log, and plan them."""
    await log([delivery.change for delivery in deliveries])
    batch = await queue.read_changes(limit=1000)
    assert await queue.plan(batch, deliveries)


async def fill(
    store: WebhookStore, queue: DeliveryQueue, log: Log, webhook: Webhook, count: int, *, first: int = 1
) -> None:
    """Add a webhook and put ``count`` deliveries into its queue, `msg_001` the oldest."""
    await store.insert(webhook, actor="key:1", most=100)
    numbers = range(first, first + count)
    await plan(
        queue,
        log,
        *(
            make_delivery(
                f"msg_{number:03}",
                webhook,
                make_change(number, organization_id=webhook.organization_id),
                age=timedelta(milliseconds=first + count - number),
            )
            for number in numbers
        ),
    )


def ids(claims: Sequence[Claim]) -> list[str]:
    """Return their deliveries."""
    return [claim.delivery_id for claim in claims]


class DeliveryQueueContract:
    """Promises of ``DeliveryQueue``."""

    async def test_changes_are_read_in_order_from_the_cursor_on(self, queue: DeliveryQueue, log: Log) -> None:
        assert (await queue.read_changes(limit=10)).last_change_id == 0
        changes = [
            make_change(1, click_id="", orphan_reason="never_seen", value_micros=None),
            make_change(2, kind=EventKind.VALUE, previous=make_change(2).conversion, value_micros=-5, is_test=True),
            make_change(3, organization_id="org_b", kind=EventKind.POLICY, is_counted=False),
        ]
        await log(changes)
        first = await queue.read_changes(limit=2)
        assert (first.cursor, first.last_change_id, list(first.changes)) == (0, 2, changes[:2])
        assert await queue.plan(first, [])
        second = await queue.read_changes(limit=2)
        assert (second.cursor, second.last_change_id, list(second.changes)) == (2, 3, changes[2:])

    async def test_a_batch_is_planned_once_whoever_plans_it(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        webhook = make_webhook()
        await store.insert(webhook, actor="key:1", most=5)
        await log([make_change(1)])
        batch = await queue.read_changes(limit=10)
        won = await asyncio.gather(*(queue.plan(batch, [make_delivery(f"msg_{at}", webhook)]) for at in range(5)))
        assert sorted(won) == [False] * 4 + [True]
        assert len(await queue.claim(make_limits(), now=NOW)) == 1

    async def test_a_webhook_that_is_away_by_then_gets_nothing(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        webhook = make_webhook()
        await plan(queue, log, make_delivery("msg_1", webhook))
        assert await queue.claim(make_limits(), now=NOW) == []
        assert (await queue.read_changes(limit=5)).cursor == 1

    async def test_a_claim_holds_everything_that_it_takes_to_send(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        webhook = make_webhook()
        await store.insert(webhook, actor="key:1", most=5)
        change = replace(make_change(), click=Click({"country": "DE"}, {"zone": "ä\0"}))
        delivery = make_delivery("msg_1", webhook, change)
        await plan(queue, log, delivery)
        (claim,) = await queue.claim(make_limits(), now=NOW)
        assert claim == Claim(webhook, "msg_1", change, 1, 1, delivery.create_time, delivery.expire_time)

    async def test_the_oldest_go_first_and_nobody_gets_one_twice(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        await fill(store, queue, log, make_webhook(), 30)
        assert ids(await queue.claim(make_limits(most=3), now=NOW)) == ["msg_001", "msg_002", "msg_003"]
        taken: list[str] = []
        while found := await asyncio.gather(*(queue.claim(make_limits(most=5), now=NOW) for _ in range(4))):
            if not any(found):
                break
            taken += [delivery_id for claims in found for delivery_id in ids(claims)]
        assert sorted(taken) == [f"msg_{number:03}" for number in range(4, 31)]

    async def test_what_is_not_due_waits(self, store: WebhookStore, queue: DeliveryQueue, log: Log) -> None:
        await fill(store, queue, log, make_webhook(), 1)
        (claim,) = await queue.claim(make_limits(), now=NOW)
        again = NOW + 5 * MINUTE
        assert await queue.finish(claim, make_attempt(claim, BROKEN), Next(DeliveryState.FAILED, again), now=NOW)
        assert await queue.claim(make_limits(), now=again - timedelta(milliseconds=1)) == []
        (second,) = await queue.claim(make_limits(), now=again)
        assert (second.number, second.attempt_count) == (2, 2)

    async def test_a_claim_of_somebody_who_died_is_due_when_its_lease_ends(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        await fill(store, queue, log, make_webhook(), 1)
        (first,) = await queue.claim(make_limits(), now=NOW)
        assert await queue.claim(make_limits(), now=NOW + LEASE - timedelta(milliseconds=1)) == []
        (second,) = await queue.claim(make_limits(), now=NOW + LEASE)
        assert (second.delivery_id, second.number) == (first.delivery_id, 2)
        # The first comes back from the dead: what it has to say is not written over the second's.
        assert not await queue.finish(first, make_attempt(first), SUCCEEDED, now=NOW + LEASE)
        assert await queue.finish(second, make_attempt(second, BROKEN), DEAD, now=NOW + LEASE)
        delivery = await queue.get("org_a", "wh_1", "msg_001")
        assert [attempt.outcome.failure for attempt in delivery.attempts] == [Failure.ABANDONED, Failure.STATUS]
        assert delivery.state is DeliveryState.DEAD

    async def test_abandoned_attempts_are_counted_and_followed_by_a_pause(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        await fill(store, queue, log, make_webhook(max_attempts=4), 1)
        for number in (1, 2, 3):
            (claim,) = await queue.claim(make_limits(), now=NOW + (number - 1) * LEASE)
            assert claim.number == number
        # The third began two leases after the first; 90 seconds, two leases, are between it and the fourth.
        assert await queue.claim(make_limits(), now=NOW + 3 * LEASE) == []
        waiting = await queue.get("org_a", "wh_1", "msg_001")
        assert (waiting.state, waiting.attempt_count) == (DeliveryState.FAILED, 3)
        assert waiting.next_attempt_time == NOW + 4 * LEASE
        (last,) = await queue.claim(make_limits(), now=NOW + 4 * LEASE)
        assert last.number == 4
        assert await queue.claim(make_limits(), now=NOW + 5 * LEASE) == []
        dead = await queue.get("org_a", "wh_1", "msg_001")
        assert (dead.state, dead.attempt_count) == (DeliveryState.DEAD, 4)
        assert [attempt.outcome.failure for attempt in dead.attempts] == [Failure.ABANDONED] * 4

    async def test_what_was_answered_is_logged(self, store: WebhookStore, queue: DeliveryQueue, log: Log) -> None:
        await fill(store, queue, log, make_webhook(), 1)
        (claim,) = await queue.claim(make_limits(), now=NOW)
        attempt = make_attempt(claim, replace(CUT, body=b"\x00", status=200, detail="x"))
        await queue.finish(claim, attempt, SUCCEEDED, now=NOW + MINUTE)
        delivery = await queue.get("org_a", "wh_1", "msg_001")
        assert delivery.attempts == (attempt,)
        assert (delivery.state, delivery.end_time) == (DeliveryState.SUCCEEDED, NOW + MINUTE)
        assert (delivery.attempt_count, delivery.next_attempt_time) == (1, None)

    async def test_a_busy_webhook_leaves_room_for_the_others(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        await fill(store, queue, log, make_webhook("wh_slow"), 50)
        await fill(store, queue, log, make_webhook("wh_other", organization_id="org_b"), 50, first=51)
        limits = make_limits(most=10, most_per_webhook=4)
        claims = await queue.claim(limits, now=NOW)
        assert sorted(claim.webhook.webhook_id for claim in claims) == ["wh_other"] * 4 + ["wh_slow"] * 4
        busy = {("org_a", "wh_slow"): 4, ("org_b", "wh_other"): 1}
        more = await queue.claim(make_limits(most=10, most_per_webhook=4, busy=busy), now=NOW)
        assert [claim.webhook.webhook_id for claim in more] == ["wh_other"] * 3

    async def test_a_busy_organisation_leaves_room_for_the_others(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        for at in range(3):
            await fill(store, queue, log, make_webhook(f"wh_{at}"), 10, first=1 + 10 * at)
        await fill(store, queue, log, make_webhook("wh_9", organization_id="org_b"), 10, first=91)

        async def claimed(busy: dict[tuple[str, str], int]) -> list[tuple[str, int]]:
            limits = make_limits(most=20, most_per_webhook=3, busy=busy, most_per_organization=5)
            claims = await queue.claim(limits, now=NOW)
            return sorted(Counter(claim.webhook.organization_id for claim in claims).items())

        assert await claimed({}) == [("org_a", 5), ("org_b", 3)]
        # Webhooks that have nothing on their way wait too, while the others of their organisation have its share.
        assert await claimed({("org_a", "wh_0"): 2, ("org_a", "wh_1"): 2}) == [("org_a", 1), ("org_b", 3)]
        assert await claimed({("org_a", "wh_0"): 3, ("org_a", "wh_1"): 2}) == [("org_b", 3)]

    async def test_with_little_room_webhooks_take_turns(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        for at in range(3):
            await fill(store, queue, log, make_webhook(f"wh_{at}"), 5, first=at * 10 + 1)
        served = []
        for second in range(6):
            claims = await queue.claim(make_limits(most=1), now=NOW + timedelta(seconds=second))
            served += [claim.webhook.webhook_id for claim in claims]
        assert sorted(served) == ["wh_0", "wh_0", "wh_1", "wh_1", "wh_2", "wh_2"]
        assert len(set(served[:3])) == 3

    async def test_a_rate_holds_for_all_who_claim(self, store: WebhookStore, queue: DeliveryQueue, log: Log) -> None:
        await fill(store, queue, log, make_webhook(rate_per_second=4), 60)
        taken = []
        for tick in range(50):
            now = NOW + tick * timedelta(milliseconds=100)
            for claims in await asyncio.gather(*(queue.claim(make_limits(), now=now) for _ in range(3))):
                taken += [(now, delivery_id) for delivery_id in ids(claims)]
        # One second's worth at once, then four a second: of five seconds, 24 at most.
        assert 20 <= len(taken) <= 24
        for start, _ in taken:
            assert sum(start <= when < start + timedelta(seconds=1) for when, _ in taken) <= 8

    async def test_a_destination_that_fails_is_left_alone_and_then_probed_once(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        await fill(store, queue, log, make_webhook(), 40)
        claims = await queue.claim(make_limits(most=OPEN_AFTER_FAILURES), now=NOW)
        for claim in claims:
            again = Next(DeliveryState.FAILED, NOW + 90 * MINUTE)
            await queue.finish(claim, make_attempt(claim, BROKEN), again, now=NOW)
        circuit = await store.circuit("org_a", "wh_1")
        assert circuit.failure_count == OPEN_AFTER_FAILURES
        assert circuit.open_until is not None
        assert await queue.claim(make_limits(), now=circuit.open_until - timedelta(milliseconds=1)) == []
        probes = await asyncio.gather(*(queue.claim(make_limits(), now=circuit.open_until) for _ in range(4)))
        (probe,) = [claim for found in probes for claim in found]
        await queue.finish(probe, make_attempt(probe, OK), SUCCEEDED, now=circuit.open_until)
        assert await store.circuit("org_a", "wh_1") == Circuit()
        assert len(await queue.claim(make_limits(), now=circuit.open_until)) == 29

    async def test_a_probe_whose_process_died_is_made_again(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        await fill(store, queue, log, make_webhook(), 20)
        for claim in await queue.claim(make_limits(most=OPEN_AFTER_FAILURES), now=NOW):
            again = Next(DeliveryState.FAILED, NOW + 90 * MINUTE)
            await queue.finish(claim, make_attempt(claim, BROKEN), again, now=NOW)
        opened = (await store.circuit("org_a", "wh_1")).open_until
        assert opened is not None
        assert len(await queue.claim(make_limits(), now=opened)) == 1
        assert len(await queue.claim(make_limits(), now=opened + LEASE)) == 1

    async def test_one_that_is_gone_is_turned_off_and_keeps_what_waits(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        await fill(store, queue, log, make_webhook(), 3)
        (claim, *_) = await queue.claim(make_limits(most=1), now=NOW)
        await queue.finish(claim, make_attempt(claim, GONE), DEAD, now=NOW)
        webhook = await store.get("org_a", "wh_1")
        assert (webhook.is_enabled, webhook.version) == (False, 2)
        assert "410" in webhook.disable_reason
        assert await queue.claim(make_limits(), now=NOW) == []
        await store.update("org_a", "wh_1", lambda present: replace(present, is_enabled=True, version=3), actor="key:1")
        assert ids(await queue.claim(make_limits(), now=NOW)) == ["msg_002", "msg_003"]

    async def test_a_deleted_webhook_cancels_what_waits_and_what_is_on_its_way(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        await fill(store, queue, log, make_webhook(), 2)
        (claim,) = await queue.claim(make_limits(most=1), now=NOW)
        await store.delete("org_a", "wh_1", actor="key:1", now=NOW)
        assert not await queue.finish(claim, make_attempt(claim), SUCCEEDED, now=NOW)
        assert await queue.claim(make_limits(), now=NOW + MINUTE) == []
        for delivery_id in ("msg_001", "msg_002"):
            assert (await queue.get("org_a", "wh_1", delivery_id)).state is DeliveryState.CANCELLED

    async def test_one_that_somebody_waits_for_is_claimed_from_the_beginning(
        self, store: WebhookStore, queue: DeliveryQueue
    ) -> None:
        webhook = make_webhook(is_enabled=False)
        await store.insert(webhook, actor="key:1", most=5)
        delivery = make_delivery("msg_test", webhook, make_change(0, kind=EventKind.TEST))
        claim = await queue.start(delivery, webhook, lease=LEASE)
        assert (claim.number, claim.attempt_count, claim.change) == (1, 1, delivery.change)
        assert await queue.claim(make_limits(), now=NOW) == []
        assert (await queue.get("org_a", "wh_1", "msg_test")).state is DeliveryState.DELIVERING
        assert await queue.finish(claim, make_attempt(claim), SUCCEEDED, now=NOW)
        # Samples are of no change: there may be many.
        await queue.start(replace(delivery, delivery_id="msg_test2"), webhook, lease=LEASE)

    async def test_anothers_delivery_is_missing_in_the_same_words(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        await fill(store, queue, log, make_webhook(), 1)
        other = make_webhook("wh_2", organization_id="org_b")
        await store.insert(other, actor="key:1", most=5)
        for organization_id, webhook_id, delivery_id in (
            ("org_b", "wh_1", "msg_001"),
            ("org_a", "wh_2", "msg_001"),
            ("org_a", "wh_1", "msg_002"),
        ):
            with pytest.raises(NotFoundError) as caught:
                await queue.get(organization_id, webhook_id, delivery_id)
            assert caught.value.message == f"no delivery {delivery_id!r}"
        with pytest.raises(NotFoundError):
            await queue.replay(other, "msg_001", now=NOW)
        assert await queue.list_page("org_b", "wh_1", DeliveryFilter(), after=None, limit=5) == []
        assert await queue.replay_all(other, DeliveryFilter(), states=tuple(DeliveryState), limit=9, now=NOW) == 0

    async def test_lists_are_newest_first_and_filtered(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        await fill(store, queue, log, make_webhook(), 4)
        (claim,) = await queue.claim(make_limits(most=1), now=NOW)
        await queue.finish(claim, make_attempt(claim), SUCCEEDED, now=NOW)

        async def listed(wanted: DeliveryFilter, after: Position | None = None) -> list[str]:
            found = await queue.list_page("org_a", "wh_1", wanted, after=after, limit=3)
            return [delivery.delivery_id for delivery in found]

        first = await queue.list_page("org_a", "wh_1", DeliveryFilter(), after=None, limit=3)
        assert [delivery.delivery_id for delivery in first] == ["msg_004", "msg_003", "msg_002"]
        assert await listed(DeliveryFilter(), Position(first[-1].create_time, "msg_002")) == ["msg_001"]
        assert await listed(DeliveryFilter(state=DeliveryState.SUCCEEDED)) == ["msg_001"]
        assert await listed(DeliveryFilter(event_kind=EventKind.REFUND)) == []
        assert await listed(DeliveryFilter(conversion_id="conv_3")) == ["msg_003"]
        start, end = first[1].create_time, first[0].create_time
        assert await listed(DeliveryFilter(start_time=start, end_time=end)) == ["msg_003"]

    async def test_a_dead_one_is_replayed_with_all_its_attempts_ahead(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        webhook = make_webhook()
        await fill(store, queue, log, webhook, 1)
        (claim,) = await queue.claim(make_limits(), now=NOW)
        with pytest.raises(FailedPreconditionError):
            await queue.replay(webhook, "msg_001", now=NOW)
        await queue.finish(claim, make_attempt(claim, BROKEN), DEAD, now=NOW)
        later = NOW + timedelta(days=9)
        assert await queue.claim(make_limits(), now=later) == []
        await queue.replay(webhook, "msg_001", now=later)
        (again,) = await queue.claim(make_limits(), now=later)
        assert (again.delivery_id, again.number, again.attempt_count) == ("msg_001", 2, 1)
        assert again.expire_time == later + webhook.definition.max_age
        await queue.finish(again, make_attempt(again), SUCCEEDED, now=later)
        assert len((await queue.get("org_a", "wh_1", "msg_001")).attempts) == 2

    async def test_a_range_is_replayed_by_what_became_of_it(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        webhook = make_webhook()
        await fill(store, queue, log, webhook, 6)
        for claim, following in zip(
            await queue.claim(make_limits(most=5), now=NOW), (DEAD, DEAD, SUCCEEDED, DEAD, SUCCEEDED), strict=True
        ):
            await queue.finish(claim, make_attempt(claim), following, now=NOW)
        start = (await queue.get("org_a", "wh_1", "msg_002")).create_time
        wanted = DeliveryFilter(start_time=start)
        states = [DeliveryState.DEAD]
        assert await queue.replay_all(webhook, wanted, states=states, limit=1, now=NOW) == 1
        assert (await queue.get("org_a", "wh_1", "msg_002")).state is DeliveryState.PENDING
        assert await queue.replay_all(webhook, wanted, states=states, limit=9, now=NOW) == 1
        assert (await queue.get("org_a", "wh_1", "msg_001")).state is DeliveryState.DEAD
        every = [DeliveryState.DEAD, DeliveryState.SUCCEEDED]
        assert await queue.replay_all(webhook, DeliveryFilter(), states=every, limit=9, now=NOW) == 3

    async def test_what_is_too_old_is_given_up(self, store: WebhookStore, queue: DeliveryQueue, log: Log) -> None:
        await fill(store, queue, log, make_webhook(max_age=timedelta(minutes=1)), 3)
        (claim,) = await queue.claim(make_limits(most=1), now=NOW + 0.9 * MINUTE)
        old = NOW + MINUTE
        assert await queue.claim(make_limits(), now=old) == []
        assert await queue.sweep(now=old, forget_before=NOW) == 2
        # The one that is on its way may still arrive.
        assert await queue.finish(claim, make_attempt(claim), SUCCEEDED, now=old)
        states = [(await queue.get("org_a", "wh_1", f"msg_00{at}")).state for at in (1, 2, 3)]
        assert states == [DeliveryState.SUCCEEDED, DeliveryState.DEAD, DeliveryState.DEAD]

    async def test_what_ended_long_ago_is_forgotten_with_its_log(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        await fill(store, queue, log, make_webhook(), 2)
        (claim,) = await queue.claim(make_limits(most=1), now=NOW)
        await queue.finish(claim, make_attempt(claim), SUCCEEDED, now=NOW)
        await queue.sweep(now=NOW + MINUTE, forget_before=NOW)
        assert (await queue.get("org_a", "wh_1", "msg_001")).attempts
        await queue.sweep(now=NOW + MINUTE, forget_before=NOW + MINUTE)
        with pytest.raises(NotFoundError):
            await queue.get("org_a", "wh_1", "msg_001")
        assert (await queue.get("org_a", "wh_1", "msg_002")).state is DeliveryState.PENDING

    async def test_changes_are_found_by_time_and_added_once(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        changes = [replace(make_change(at), change_time=NOW + (10 - at) * MINUTE) for at in range(1, 5)]
        await log([*changes, make_change(9, organization_id="org_b")])

        async def found(*span: datetime | None, after: tuple[datetime, int] | None = None) -> list[int]:
            start, end = span
            between = await queue.changes_between("org_a", start, end, after=after, limit=3)
            return [change.change_id for change in between]

        assert await found(None, None) == [4, 3, 2]
        assert await found(None, None, after=(changes[1].change_time, 2)) == [1]
        assert await found(changes[2].change_time, changes[0].change_time) == [3, 2]
        webhook = make_webhook()
        await store.insert(webhook, actor="key:1", most=5)
        one, other = make_delivery("msg_1", webhook, changes[0]), make_delivery("msg_2", webhook, changes[1])
        assert await queue.add([]) == 0
        assert await queue.add([one]) == 1
        assert await queue.add([replace(one, delivery_id="msg_3"), other]) == 1
        assert sorted(ids(await queue.claim(make_limits(), now=NOW))) == ["msg_1", "msg_2"]

    async def test_a_conversion_is_created_once_for_a_webhook(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        webhook = make_webhook()
        await store.insert(webhook, actor="key:1", most=5)
        first, second = make_change(1, conversion_id="c"), make_change(2, conversion_id="c")
        status = make_change(3, conversion_id="c", kind=EventKind.STATUS)
        assert await queue.add([make_delivery(f"msg_{c.change_id}", webhook, c) for c in (first, second, status)]) == 2

    async def test_the_backlog_is_what_is_due(self, store: WebhookStore, queue: DeliveryQueue, log: Log) -> None:
        assert await queue.backlog(now=NOW) == Backlog(0, timedelta())
        await fill(store, queue, log, make_webhook(), 3)
        await fill(store, queue, log, make_webhook("wh_off", is_enabled=False), 3, first=11)
        await queue.claim(make_limits(most=1), now=NOW)
        oldest = (await queue.get("org_a", "wh_1", "msg_002")).create_time
        assert await queue.backlog(now=NOW) == Backlog(2, NOW - oldest)

    async def test_a_refusal_leaves_the_circuit_closed(
        self, store: WebhookStore, queue: DeliveryQueue, log: Log
    ) -> None:
        await fill(store, queue, log, make_webhook(), OPEN_AFTER_FAILURES + 5)
        refused = Outcome(Failure.STATUS, status=404)
        for claim in await queue.claim(make_limits(), now=NOW):
            await queue.finish(claim, make_attempt(claim, refused), DEAD, now=NOW)
        assert await store.circuit("org_a", "wh_1") == Circuit()
