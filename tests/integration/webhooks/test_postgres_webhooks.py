"""The stores of webhooks keep their promises in PostgreSQL."""

from dataclasses import replace

import pytest

from attribution_svc.conversion.conversion import Conversion
from attribution_svc.conversion.kept import Kept, Match, MatchState, Touch
from attribution_svc.conversion.settle import Change as Logged
from attribution_svc.conversion.settle import ChangeKind
from attribution_svc.store.conversion_rows import change_row, json_of
from attribution_svc.store.conversion_sql import ADD_CHANGES
from attribution_svc.store.delivery_queue import PostgresDeliveryQueue
from attribution_svc.webhooks.webhook import EventKind
from svc_runtime.postgres import Database
from tests.contract.webhooks.queue_contract import DeliveryQueueContract
from tests.contract.webhooks.store_contract import WebhookStoreContract
from tests.contract.webhooks.things import NOW

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
