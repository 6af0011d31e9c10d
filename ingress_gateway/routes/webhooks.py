"""``/api/v1/webhooks``: who is told of an organisation's conversions, and what they answered."""

from typing import Any

import orjson
from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.given import Given
from ingress_gateway.responses import respond_json
from ingress_gateway.routes.webhook_json import (
    KINDS,
    STATES,
    attempt_json,
    definition_given,
    delivery_json,
    health_json,
    webhook_json,
)
from svc_runtime.timestamps import timestamp_of
from trellis.attribution.v1 import webhook_service_pb2 as pb
from trellis.type.v1 import time_range_pb2

_LARGEST_VERSION = 2**32 - 1
_ENDED = {name: STATES[name] for name in ("dead", "cancelled", "succeeded")}
_TEST_SECONDS = 150.0
"""A test waits for a stranger; the service bounds it."""


async def create_webhook(call: Call) -> web.StreamResponse:
    """Create a webhook; 201 with its secret, which is shown this once."""
    api = ApiCall(call, "webhooks:write")
    with await api.body() as given:
        kind = given.choice("kind", KINDS, is_required=True)
        given.text("url", is_required=True)
        definition, _ = definition_given(given)
        request = pb.CreateWebhookRequest(
            kind=kind or pb.WEBHOOK_KIND_UNSPECIFIED,
            definition=definition,
            is_disabled=given.flag("is_enabled") is False,
        )
    made = await api.ask(api.webhooks.CreateWebhook, request)
    body = {**webhook_json(made.webhook), "secret": made.secret or None}
    return respond_json(body, status=201, headers={"Location": f"/api/v1/webhooks/{made.webhook.webhook_id}"})


async def list_webhooks(call: Call) -> web.StreamResponse:
    """Return a page of webhooks, newest first."""
    api = ApiCall(call, "webhooks:read")
    with api.query() as given:
        request = pb.ListWebhooksRequest(page_size=given.page_size(), page_token=given.page_token())
    page = await api.ask(api.webhooks.ListWebhooks, request)
    return respond_json({"webhooks": list(map(webhook_json, page.webhooks)), "next_page_token": page.next_page_token})


async def get_webhook(call: Call) -> web.StreamResponse:
    """Return a webhook, and how its destination does."""
    api = ApiCall(call, "webhooks:read")
    with api.query():
        request = pb.GetWebhookRequest(webhook_id=api.path("webhook_id"))
    webhook = (await api.ask(api.webhooks.GetWebhook, request)).webhook
    return respond_json({**webhook_json(webhook), **health_json(webhook)})


async def update_webhook(call: Call) -> web.StreamResponse:
    """Change what is given."""
    api = ApiCall(call, "webhooks:write")
    with await api.body() as given:
        definition, names = definition_given(given)
        request = pb.UpdateWebhookRequest(
            webhook_id=api.path("webhook_id"),
            definition=definition,
            is_enabled=given.flag("is_enabled"),
            expected_version=given.number("expected_version", 1, _LARGEST_VERSION) or 0,
        )
        request.update_mask.paths.extend(names)
    return respond_json(webhook_json((await api.ask(api.webhooks.UpdateWebhook, request)).webhook))


async def delete_webhook(call: Call) -> web.StreamResponse:
    """Take a webhook away; 204."""
    api = ApiCall(call, "webhooks:write")
    with api.query():
        request = pb.DeleteWebhookRequest(webhook_id=api.path("webhook_id"))
    await api.ask(api.webhooks.DeleteWebhook, request)
    return web.Response(status=204, headers={"Cache-Control": "no-store"})


async def rotate_secret(call: Call) -> web.StreamResponse:
    """Make another secret, and show it this once."""
    api = ApiCall(call, "webhooks:write")
    with await api.body(is_optional=True):
        request = pb.RotateWebhookSecretRequest(webhook_id=api.path("webhook_id"))
    made = await api.ask(api.webhooks.RotateWebhookSecret, request)
    return respond_json({**webhook_json(made.webhook), "secret": made.secret})


async def send_test(call: Call) -> web.StreamResponse:
    """Send a sample, and say what was answered."""
    api = ApiCall(call, "webhooks:write")
    with await api.body(is_optional=True):
        request = pb.TestWebhookRequest(webhook_id=api.path("webhook_id"))
    tested = await api.ask(api.webhooks.TestWebhook, request, seconds=_TEST_SECONDS)
    return respond_json(_whole(tested.delivery))


async def list_deliveries(call: Call) -> web.StreamResponse:
    """Return a page of what a webhook was told, newest first."""
    api = ApiCall(call, "webhooks:read")
    with api.query() as given:
        request = pb.ListDeliveriesRequest(
            webhook_id=api.path("webhook_id"),
            page_size=given.page_size(),
            page_token=given.page_token(),
            state=given.choice("state", STATES) or pb.DELIVERY_STATE_UNSPECIFIED,
            event_kind=given.text("event_kind") or "",
            conversion_id=given.text("conversion_id") or "",
            time_range=_time_range(given),
        )
    page = await api.ask(api.webhooks.ListDeliveries, request)
    return respond_json(
        {"deliveries": list(map(delivery_json, page.deliveries)), "next_page_token": page.next_page_token}
    )


async def get_delivery(call: Call) -> web.StreamResponse:
    """Return a delivery, with what was answered to each attempt."""
    api = ApiCall(call, "webhooks:read")
    with api.query():
        request = pb.GetDeliveryRequest(webhook_id=api.path("webhook_id"), delivery_id=api.path("delivery_id"))
    return respond_json(_whole((await api.ask(api.webhooks.GetDelivery, request)).delivery))


async def replay_delivery(call: Call) -> web.StreamResponse:
    """Send a delivery that has ended again."""
    api = ApiCall(call, "webhooks:write")
    with await api.body(is_optional=True):
        request = pb.ReplayDeliveryRequest(webhook_id=api.path("webhook_id"), delivery_id=api.path("delivery_id"))
    return respond_json(_whole((await api.ask(api.webhooks.ReplayDelivery, request)).delivery), status=202)


async def backfill(call: Call) -> web.StreamResponse:
    """Tell a webhook of what it has not heard of."""
    api = ApiCall(call, "webhooks:write")
    with await api.body(is_optional=True) as given:
        request = pb.BackfillDeliveriesRequest(
            webhook_id=api.path("webhook_id"), time_range=_time_range(given), page_token=given.page_token()
        )
    filled = await api.ask(api.webhooks.BackfillDeliveries, request)
    body = {"delivery_count": filled.delivery_count, "next_page_token": filled.next_page_token}
    return respond_json(body, status=202)


async def replay_deliveries(call: Call) -> web.StreamResponse:
    """Send what ended in a range of time again."""
    api = ApiCall(call, "webhooks:write")
    with await api.body(is_optional=True) as given:
        words = given.texts("states")
        for index, word in enumerate(words):
            if word not in _ENDED:
                given.refuse(f"states[{index}]", f"must be one of: {', '.join(_ENDED)}")
        request = pb.ReplayDeliveriesRequest(
            webhook_id=api.path("webhook_id"),
            time_range=_time_range(given),
            states=[_ENDED[word] for word in words if word in _ENDED],
            event_kind=given.text("event_kind") or "",
        )
    replayed = await api.ask(api.webhooks.ReplayDeliveries, request)
    return respond_json({"replayed_count": replayed.replayed_count}, status=202)


def _time_range(given: Given) -> time_range_pb2.TimeRange:
    return time_range_pb2.TimeRange(
        start_time=timestamp_of(given.instant("start_time")), end_time=timestamp_of(given.instant("end_time"))
    )


def _whole(delivery: pb.Delivery) -> dict[str, Any]:
    return {
        **delivery_json(delivery),
        "payload": orjson.loads(delivery.payload_json or "null"),
        "attempts": list(map(attempt_json, delivery.attempts)),
    }
