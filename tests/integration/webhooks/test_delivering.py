"""From the log of changes to a stranger's server, through the queue in PostgreSQL."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from attribution_svc.webhooks.webhook import EventKind
from svc_runtime.postgres import Database
from tests.contract.webhooks.things import make_change
from tests.integration.webhooks.conftest import WriteLog
from tests.integration.webhooks.receiver import Receiver, running_receiver
from tests.integration.webhooks.service import Service, caller_of, running_service
from trellis.attribution.v1 import webhook_service_pb2 as pb

pytestmark = pytest.mark.store
SUCCEEDED, DEAD = pb.DELIVERY_STATE_SUCCEEDED, pb.DELIVERY_STATE_DEAD


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A friendly one."""
    async with running_receiver() as receiver:
        yield receiver


@pytest.fixture
async def service(dsn: str, database: Database, receiver: Receiver) -> AsyncIterator[Service]:
    """The service, which may send to it."""
    async with running_service(dsn, database, ports=(receiver.port,)) as service:
        yield service


def is_signed(secret: str, headers: Any, body: bytes) -> bool:
    """Verify as docs/webhooks.md says."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return expected in headers["webhook-signature"].split(" ")


async def test_a_change_arrives_signed_and_is_logged(service: Service, receiver: Receiver, log: WriteLog) -> None:
    made = await service.create(f"{receiver.url}/hook")
    await log([make_change(1), make_change(2, kind=EventKind.STATUS), make_change(3, organization_id="org_b")])
    await receiver.until(1)
    (delivery,) = await service.until(made.webhook.webhook_id, lambda found: [d.state for d in found] == [SUCCEEDED])
    (request,) = receiver.requests
    assert is_signed(made.secret, request.headers, request.body)
    assert not is_signed("whsec_" + base64.b64encode(b"x" * 24).decode(), request.headers, request.body)
    assert request.headers["webhook-id"] == delivery.delivery_id
    assert request.headers["content-type"] == "application/json"
    payload = json.loads(request.body)
    assert (payload["type"], payload["data"]["conversion_id"]) == ("conversion.created", "conv_1")
    assert (payload["data"]["value"], payload["data"]["currency"]) == ("12.50", "USD")
    whole = await service.delivery(made.webhook.webhook_id, delivery.delivery_id)
    (attempt,) = whole.attempts
    assert (attempt.status, attempt.failure, attempt.response_body) == (200, "none", b"OK")
    assert json.loads(whole.payload_json) == payload


async def test_a_postback_is_filled_in_with_its_secrets(service: Service, receiver: Receiver, log: WriteLog) -> None:
    made = await service.create(
        f"{receiver.url}/pb?cid={{external_click_id}}&sum={{payout}}&cur={{currency|lower}}&tid={{transaction_id}}&z={{param:z|no}}",
        kind=pb.WEBHOOK_KIND_POSTBACK,
        headers=[
            pb.WebhookHeader(name="X-Api-Key", value="s3cret", is_secret=True),
            pb.WebhookHeader(name="X-Plain", value="plain"),
        ],
        body='{"click": "{click_id}", "n": 1}',
        statuses=["sale"],
    )
    await log(
        [
            make_change(1, touch_event_id="e1", status="lead"),
            make_change(2, touch_event_id="e1", external_click_id="a&b=ü", order_id='o"1'),
        ]
    )
    await receiver.until(1)
    (delivery,) = await service.until(made.webhook.webhook_id, lambda found: [d.state for d in found] == [SUCCEEDED])
    (request,) = receiver.requests
    assert (request.method, request.target) == (
        "POST",
        "/pb?cid=a%26b%3D%C3%BC&sum=12.50&cur=usd&tid=o%221&z=no",
    )
    assert json.loads(request.body) == {"click": "click_2", "n": 1}
    assert (request.headers["x-api-key"], request.headers["x-plain"]) == ("s3cret", "plain")
    assert "webhook-signature" not in request.headers
    assert made.secret == ""
    stored = [
        made.webhook,
        (await service.stub.GetWebhook(pb.GetWebhookRequest(webhook_id=made.webhook.webhook_id), metadata=caller_of())),
        await service.delivery(made.webhook.webhook_id, delivery.delivery_id),
    ]
    assert all("s3cret" not in str(message) for message in stored)


async def test_secrets_are_sealed_in_the_database(service: Service, receiver: Receiver, database: Database) -> None:
    header = pb.WebhookHeader(name="X-Api-Key", value="s3cret", is_secret=True)
    made = await service.create(f"{receiver.url}/hook", headers=[header])
    key = base64.b64decode(made.secret.removeprefix("whsec_"))
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT definition::text || secrets::text AS whole FROM webhooks")
    assert len(rows) == 1
    for secret in (b"s3cret", key):
        for form in (secret.decode("latin-1"), base64.b64encode(secret).decode(), secret.hex()):
            assert form not in rows[0]["whole"]


async def test_a_rotated_secret_signs_beside_the_one_before(
    service: Service, receiver: Receiver, log: WriteLog
) -> None:
    made = await service.create(f"{receiver.url}/hook")
    webhook_id = made.webhook.webhook_id
    secrets = [made.secret]
    for _ in range(2):
        request = pb.RotateWebhookSecretRequest(webhook_id=webhook_id)
        secrets.append((await service.stub.RotateWebhookSecret(request, metadata=caller_of())).secret)
    await log([make_change(1)])
    await receiver.until(1)
    (request,) = receiver.requests
    assert [is_signed(secret, request.headers, request.body) for secret in secrets] == [False, True, True]


async def test_a_test_is_sent_at_once_also_to_one_that_is_off(service: Service, receiver: Receiver) -> None:
    made = await service.create(f"{receiver.url}/hook")
    off = pb.UpdateWebhookRequest(webhook_id=made.webhook.webhook_id, is_enabled=False)
    await service.stub.UpdateWebhook(off, metadata=caller_of())
    asked = pb.TestWebhookRequest(webhook_id=made.webhook.webhook_id)
    delivery = (await service.stub.TestWebhook(asked, metadata=caller_of())).delivery
    assert (delivery.state, delivery.event_kind) == (SUCCEEDED, "webhook.test")
    assert delivery.attempts[0].status == 200
    assert json.loads(receiver.requests[0].body)["data"]["is_test"] is True


async def test_what_waits_is_sent_as_the_webhook_is_then(service: Service, receiver: Receiver, log: WriteLog) -> None:
    made = await service.create(f"{receiver.url}/old", max_attempts=1)
    off = pb.UpdateWebhookRequest(webhook_id=made.webhook.webhook_id, is_enabled=False)
    await log([make_change(1)])
    await receiver.until(1)
    await service.stub.UpdateWebhook(off, metadata=caller_of())
    new = pb.UpdateWebhookRequest(
        webhook_id=made.webhook.webhook_id,
        definition=pb.WebhookDefinition(url=f"{receiver.url}/new"),
        is_enabled=True,
    )
    new.update_mask.paths.append("url")
    assert (await service.stub.UpdateWebhook(new, metadata=caller_of())).webhook.version == 3
    (delivery,) = await service.until(made.webhook.webhook_id, lambda found: [d.state for d in found] == [SUCCEEDED])
    again = pb.ReplayDeliveryRequest(webhook_id=made.webhook.webhook_id, delivery_id=delivery.delivery_id)
    await service.stub.ReplayDelivery(again, metadata=caller_of())
    await receiver.until(2)
    first, second = receiver.requests
    assert (first.target, second.target) == ("/old", "/new")
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


async def test_who_may_not_is_refused_and_anothers_is_missing(service: Service, receiver: Receiver) -> None:
    made = await service.create(f"{receiver.url}/hook")
    webhook_id = made.webhook.webhook_id
    get = pb.GetWebhookRequest(webhook_id=webhook_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.stub.GetWebhook(get, metadata=caller_of("org_a", "webhooks:write"))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    calls: list[tuple[Any, Any]] = [
        (service.stub.GetWebhook, get),
        (service.stub.UpdateWebhook, pb.UpdateWebhookRequest(webhook_id=webhook_id, is_enabled=False)),
        (service.stub.DeleteWebhook, pb.DeleteWebhookRequest(webhook_id=webhook_id)),
        (service.stub.RotateWebhookSecret, pb.RotateWebhookSecretRequest(webhook_id=webhook_id)),
        (service.stub.TestWebhook, pb.TestWebhookRequest(webhook_id=webhook_id)),
        (service.stub.ListDeliveries, pb.ListDeliveriesRequest(webhook_id=webhook_id)),
        (service.stub.ReplayDeliveries, pb.ReplayDeliveriesRequest(webhook_id=webhook_id)),
        (service.stub.GetDelivery, pb.GetDeliveryRequest(webhook_id=webhook_id, delivery_id="msg_1")),
        (service.stub.ReplayDelivery, pb.ReplayDeliveryRequest(webhook_id=webhook_id, delivery_id="msg_1")),
    ]
    for method, request in calls:
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            await method(request, metadata=caller_of("org_b"))
        assert (missing.value.code(), missing.value.details()) == (
            grpc.StatusCode.NOT_FOUND,
            f"no webhook {webhook_id!r}",
        )
    assert not receiver.requests


async def test_a_deleted_one_hears_nothing_more(service: Service, receiver: Receiver, log: WriteLog) -> None:
    gone = await service.create(f"{receiver.url}/gone")
    await service.create(f"{receiver.url}/stays")
    await service.stub.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=gone.webhook.webhook_id), metadata=caller_of())
    await log([make_change(1)])
    await receiver.until(1)
    assert [request.target for request in receiver.requests] == ["/stays"]


async def test_a_webhook_is_told_afterwards_of_what_it_has_not_heard(
    service: Service, receiver: Receiver, log: WriteLog
) -> None:
    early = await service.create(f"{receiver.url}/early", statuses=["sale"])
    changes = [make_change(1), make_change(2, status="lead"), make_change(3, organization_id="org_b")]
    # Not longer ago than deliveries are kept.
    await log([replace(change, change_time=datetime.now(UTC)) for change in changes])
    await receiver.until(1)
    late = await service.create(f"{receiver.url}/late")
    counts = []
    for webhook_id in (early.webhook.webhook_id, late.webhook.webhook_id, late.webhook.webhook_id):
        request = pb.BackfillDeliveriesRequest(webhook_id=webhook_id)
        filled = await service.stub.BackfillDeliveries(request, metadata=caller_of())
        counts.append(filled.delivery_count)
        assert filled.next_page_token == ""
    assert counts == [0, 2, 0]
    await receiver.until(3)
    assert sorted(request.target for request in receiver.requests) == ["/early", "/late", "/late"]


async def test_whoever_wants_sales_hears_of_those_that_began_as_leads(
    service: Service, receiver: Receiver, log: WriteLog
) -> None:
    made = await service.create(f"{receiver.url}/sales", statuses=["sale"])
    assert list(made.webhook.definition.event_kinds) == ["conversion.created", "conversion.status"]
    lead = make_change(1, conversion_id="c1", status="lead")
    sale = make_change(2, conversion_id="c1", kind=EventKind.STATUS, previous=lead.conversion)
    await log([lead, sale, make_change(3, conversion_id="c2")])
    await receiver.until(2)
    told = sorted(json.loads(request.body)["data"]["conversion_id"] for request in receiver.requests)
    assert told == ["c1", "c2"]
