"""The stores of webhooks keep their promises in PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from attribution_svc.conversions.conversion import Conversion
from attribution_svc.conversions.kept import Kept, Match, MatchState, Touch
from attribution_svc.conversions.settle import Change as Logged
from attribution_svc.conversions.settle import ChangeKind
from attribution_svc.store import delivery_log
from attribution_svc.store.conversion_rows import change_row, json_of
from attribution_svc.store.conversion_sql import ADD_CHANGES
from attribution_svc.store.delivery_queue import PostgresDeliveryQueue
from attribution_svc.store.webhooks import PostgresWebhookStore
from attribution_svc.webhooks.attempt import DeliveryState, Next
from attribution_svc.webhooks.store import Backlog, DeliveryFilter
from attribution_svc.webhooks.webhook import EventKind
from svc_runtime.postgres import Database
from tests.contract.webhooks.queue_contract import DeliveryQueueContract, fill
from tests.contract.webhooks.store_contract import WebhookStoreContract
from tests.contract.webhooks.things import NOW, make_attempt, make_change, make_limits, make_webhook
from tests.integration.webhooks.conftest import WriteLog

pytestmark = pytest.mark.store


class TestPostgresWebhookStore(WebhookStoreContract):
    """In PostgreSQL."""


class TestPostgresDeliveryQueue(DeliveryQueueContract):
    """In PostgreSQL."""


async def test_the_log_is_read_as_conversions_write_it(queue: PostgresDeliveryQueue, database: Database) -> None:
    bare = Kept(
        Conversion(
            organization_id="org_a",
            conversion_id="c1",
            group_key="o:1",
            conversion_type="sale",
            event_type="Approved",
            order_id="o1",
            status="sale",
            is_counted=True,
            value_micros=5,
            gross_micros=7,
            refunded_micros=2,
            currency="EUR",
            is_currency_assumed=False,
            is_test=False,
            conversion_time=NOW,
            create_time=NOW,
            last_event_time=NOW,
            event_ids=("c1",),
            click_references=("x",),
            network="net",
            user_id="usr_1",
            marks=(),
        )
    )
    touch = Touch("e1", NOW, "ours", "theirs", "cmp_1", 3, "r1", "d1", "usr_2", "facebook", "cpc", "paid_social")
    linked = replace(bare, match=Match(MatchState.MATCHED, touch=touch, campaign_id="cmp_1"))
    changes = [Logged(ChangeKind.CREATED, None, bare), Logged(ChangeKind.MATCHED, bare, linked)]
    async with database.transaction() as connection:
        await connection.execute(ADD_CHANGES, json_of(map(change_row, changes)))
    created, matched = (await queue.read_changes(limit=5)).changes
    assert (created.kind, created.previous, created.conversion.is_linked) == (EventKind.CREATED, None, False)
    assert created.conversion.user_id == "usr_1"
    assert matched.kind is EventKind.MATCHED
    assert matched.previous == created.conversion
    found = matched.conversion
    assert (found.click_id, found.external_click_id, found.touch_time) == ("ours", "theirs", NOW)
    assert (found.value_micros, found.gross_micros, found.refunded_micros) == (5, 7, 2)
    assert (found.campaign_id, found.rule_id, found.destination_id) == ("cmp_1", "r1", "d1")
    assert (found.source, found.medium, found.channel) == ("facebook", "cpc", "paid_social")
    assert (found.event_type, found.network, found.user_id) == ("Approved", "net", "usr_2")


async def test_a_webhook_that_cannot_be_read_stops_no_other(
    store: PostgresWebhookStore, queue: PostgresDeliveryQueue, log: WriteLog, database: Database
) -> None:
    for webhook_id, first in (("wh_bad", 1), ("wh_good", 11)):
        await fill(store, queue, log, make_webhook(webhook_id), 2, first=first)
    async with database.connection() as connection:
        await connection.execute(
            'UPDATE webhooks SET definition = definition || \'{"condition": {"field": "later"}}\' '
            "WHERE webhook_id = 'wh_bad'"
        )
    assert [webhook.webhook_id for webhook in await store.enabled_of(["org_a"])] == ["wh_good"]
    claims = await queue.claim(make_limits(), now=NOW)
    assert [claim.webhook.webhook_id for claim in claims] == ["wh_good", "wh_good"]


async def test_the_sweep_goes_on_until_nothing_is_left(
    store: PostgresWebhookStore, queue: PostgresDeliveryQueue, log: WriteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_log, "MOST_AT_ONCE", 2)
    await fill(store, queue, log, make_webhook(max_age=timedelta(minutes=1)), 5)
    assert await queue.sweep(now=NOW + timedelta(minutes=2), forget_before=NOW) == 5
    await queue.sweep(now=NOW, forget_before=NOW + timedelta(minutes=3))
    assert await queue.list_page("org_a", "wh_1", DeliveryFilter(), after=None, limit=9) == []


async def test_a_long_queue_is_counted_in_part_with_its_oldest(
    store: PostgresWebhookStore, queue: PostgresDeliveryQueue, log: WriteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_log, "MOST_AT_ONCE", 3)
    await fill(store, queue, log, make_webhook("wh_long"), 5)
    await fill(store, queue, log, make_webhook("wh_short"), 2, first=11)
    oldest = (await queue.get("org_a", "wh_long", "msg_001")).create_time
    assert await queue.backlog(now=NOW) == Backlog(5, NOW - oldest)


async def test_a_delivery_of_another_release_is_read_and_a_broken_one_stops_no_other(
    store: PostgresWebhookStore, queue: PostgresDeliveryQueue, log: WriteLog, database: Database
) -> None:
    await fill(store, queue, log, make_webhook(max_attempts=2), 4)
    async with database.connection() as connection:
        for delivery_id, change in (
            ("msg_001", "jsonb_set(change::jsonb, '{conversion,is_of_a_later_release}', 'true')"),
            ("msg_002", "change::jsonb #- '{conversion,orphan_reason}' #- '{previous}'"),
            ("msg_003", "change::jsonb - 'conversion'"),
        ):
            await connection.execute(
                f"UPDATE webhook_deliveries SET change = ({change})::json WHERE delivery_id = $1",
                delivery_id,
            )
    claims = await queue.claim(make_limits(), now=NOW)
    assert [claim.delivery_id for claim in claims] == ["msg_001", "msg_002", "msg_004"]
    assert claims[0].change.conversion.conversion_id == "conv_1"
    states = "SELECT state, attempt_count, next_attempt_time FROM webhook_deliveries WHERE delivery_id = 'msg_003'"
    async with database.connection() as connection:
        assert tuple(await connection.fetchrow(states)) == ("failed", 1, NOW + timedelta(seconds=10))
    for claim in claims:
        await queue.finish(claim, make_attempt(claim), Next(DeliveryState.SUCCEEDED), now=NOW)
    assert await queue.claim(make_limits(), now=NOW + timedelta(seconds=10)) == []
    async with database.connection() as connection:
        assert tuple(await connection.fetchrow(states))[:2] == ("dead", 2)


async def test_a_change_that_cannot_be_read_stops_no_other(
    queue: PostgresDeliveryQueue, log: WriteLog, database: Database
) -> None:
    await log([make_change(number) for number in range(1, 6)])
    async with database.connection() as connection:
        for change_id, after in (
            (1, "after || '{\"is_of_a_later_release\": true}'"),
            (2, "after - 'user_id' - 'touch_time'"),
            (3, "after - 'conversion_type'"),
            (4, 'after || \'{"conversion_time": "soon"}\''),
        ):
            await connection.execute(
                f"UPDATE conversion_changes SET after = {after} WHERE change_id = $1",
                change_id,
            )
    batch = await queue.read_changes(limit=9)
    assert [change.change_id for change in batch.changes] == [1, 2, 5]
    assert batch.last_change_id == 5
    first = await queue.changes_between("org_a", None, None, after=None, limit=3)
    assert [change.change_id for change in first] == [1, 2, 5]


async def test_every_version_is_kept_with_its_actor_and_cannot_be_edited(
    store: PostgresWebhookStore, database: Database
) -> None:
    await store.insert(make_webhook(), actor="key:anna", most=5)
    await store.update("org_a", "wh_1", lambda present: replace(present, is_enabled=False, version=2), actor="key:bert")
    await store.delete("org_a", "wh_1", actor="operator", now=NOW)
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT * FROM webhook_versions ORDER BY version")
        assert [(row["version"], row["actor"], row["is_enabled"], row["is_deleted"]) for row in rows] == [
            (1, "key:anna", True, False),
            (2, "key:bert", False, False),
            (3, "operator", False, True),
        ]
        for statement in ("UPDATE webhook_versions SET actor = 'x'", "DELETE FROM webhook_versions"):
            with pytest.raises(asyncpg.RaiseError, match="append-only"):
                await connection.execute(statement)
