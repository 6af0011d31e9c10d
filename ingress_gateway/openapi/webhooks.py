"""Webhooks and their deliveries."""

from ingress_gateway.openapi.parts import (
    PAGING,
    Json,
    api,
    json_answer,
    json_body,
    path,
    query,
    ref,
)
from ingress_gateway.openapi.webhook_parts import (
    DELIVERY_EXAMPLE,
    DELIVERY_ID,
    EXAMPLE,
    SCHEMAS,
    SIGNED_EXAMPLE,
    WEBHOOK_ID,
    WHOLE_EXAMPLE,
)
from ingress_gateway.routes.webhook_json import STATES

__all__ = ["PATHS", "SCHEMAS", "TAG"]
TAG = "Webhooks"
_ID = path("webhook_id", "The webhook's id.", WEBHOOK_ID)
_OF_DELIVERY = [_ID, path("delivery_id", "The delivery's id.", DELIVERY_ID)]
_FILTERS = [
    query("state", {"type": "string", "enum": list(STATES)}, "Only in this state.", example="dead"),
    query("event_kind", {"type": "string"}, "Only of this kind.", example="conversion.created"),
    query("conversion_id", {"type": "string"}, "Only of this conversion."),
    query("start_time", {"type": "string", "format": "date-time"}, "Made at or after it."),
    query("end_time", {"type": "string", "format": "date-time"}, "Made before it."),
]
_NOTHING = json_body(ref("Nothing"), {}, is_required=False)

PATHS: Json = {
    "/api/v1/webhooks": {
        "get": api(
            "webhooks:read",
            "list_webhooks",
            TAG,
            "List webhooks",
            "Newest first.",
            parameters=PAGING,
            answers={"200": json_answer("A page.", ref("WebhookPage"), {"webhooks": [EXAMPLE], "next_page_token": ""})},
        ),
        "post": api(
            "webhooks:write",
            "create_webhook",
            TAG,
            "Create a webhook",
            "It hears of what happens to conversions from then on; of each thing at least once, under one id. A signed "
            "webhook's secret is in the answer, this once. An organisation has at most 100.",
            body=json_body(
                ref("NewWebhook"),
                {
                    "kind": "postback",
                    "url": EXAMPLE["url"],
                    "statuses": ["sale"],
                    "headers": [{"name": "X-Api-Key", "value": "their-key", "is_secret": True}],
                },
            ),
            answers={
                "201": json_answer("It is there.", ref("WebhookWithSecret"), {**EXAMPLE, "secret": None}, "Location")
            },
            problems=("Conflict",),
        ),
    },
    "/api/v1/webhooks/{webhook_id}": {
        "get": api(
            "webhooks:read",
            "get_webhook",
            TAG,
            "Read a webhook",
            "And how its destination does.",
            parameters=[_ID],
            answers={
                "200": json_answer(
                    "The webhook.",
                    ref("WebhookHealth"),
                    {**EXAMPLE, "failure_count": 0, "paused_until_time": None},
                )
            },
            problems=("NotFound",),
        ),
        "patch": api(
            "webhooks:write",
            "update_webhook",
            TAG,
            "Change a webhook",
            "Changes what is given; a list is given whole. What waits in the queue is sent as the webhook is then.",
            parameters=[_ID],
            body=json_body(ref("WebhookChange"), {"statuses": ["lead", "sale"], "expected_version": 1}),
            answers={"200": json_answer("As it is now.", ref("Webhook"), EXAMPLE)},
            problems=("NotFound", "Conflict"),
        ),
        "delete": api(
            "webhooks:write",
            "delete_webhook",
            TAG,
            "Take a webhook away",
            "For good. What waits for it is cancelled.",
            parameters=[_ID],
            answers={"204": {"description": "It is gone."}},
            problems=("NotFound",),
        ),
    },
    "/api/v1/webhooks/{webhook_id}:rotate-secret": {
        "post": api(
            "webhooks:write",
            "rotate_webhook_secret",
            TAG,
            "Change a webhook's secret",
            "The secret before it signs along for 24 hours, in the same header. 409 for a postback.",
            parameters=[_ID],
            body=_NOTHING,
            answers={
                "200": json_answer(
                    "The new secret, shown this once.",
                    ref("WebhookWithSecret"),
                    {
                        **SIGNED_EXAMPLE,
                        "old_secret_expire_time": "2026-11-04T10:00:00Z",
                        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                    },
                )
            },
            problems=("NotFound", "Conflict"),
        )
    },
    "/api/v1/webhooks/{webhook_id}:test": {
        "post": api(
            "webhooks:write",
            "test_webhook",
            TAG,
            "Test a webhook",
            "Sends a sample at once, one time, also to a webhook that is off, and says what was answered.",
            parameters=[_ID],
            body=_NOTHING,
            answers={
                "200": json_answer(
                    "What came of it: `succeeded` or `dead`.",
                    ref("WholeDelivery"),
                    {**WHOLE_EXAMPLE, "event_kind": "webhook.test"},
                )
            },
            problems=("NotFound", "RateLimited"),
        )
    },
    "/api/v1/webhooks/{webhook_id}:backfill": {
        "post": api(
            "webhooks:write",
            "backfill_deliveries",
            TAG,
            "Tell of what was not heard",
            "Of changes from before the webhook was made, changed or turned on again; what it was told, it is not told "
            "again. Up to 500 changes in one call: go on until there is no `next_page_token`. 409 while it is off.",
            parameters=[_ID],
            body=json_body(ref("Backfill"), {"start_time": "2026-11-03T00:00:00Z"}, is_required=False),
            answers={
                "202": json_answer("They wait.", ref("Backfilled"), {"delivery_count": 17, "next_page_token": ""})
            },
            problems=("NotFound", "Conflict"),
        )
    },
    "/api/v1/webhooks/{webhook_id}:replay": {
        "post": api(
            "webhooks:write",
            "replay_deliveries",
            TAG,
            "Send what ended again",
            "Under the same ids, as the webhook is now, with all attempts ahead. At most 10,000 in one call.",
            parameters=[_ID],
            body=json_body(ref("Replay"), {"start_time": "2026-11-03T00:00:00Z"}, is_required=False),
            answers={"202": json_answer("They wait.", ref("Replayed"), {"replayed_count": 17})},
            problems=("NotFound",),
        )
    },
    "/api/v1/webhooks/{webhook_id}/deliveries": {
        "get": api(
            "webhooks:read",
            "list_deliveries",
            TAG,
            "List deliveries",
            "What the webhook was told, newest first. Kept for 30 days after their end, or as the operator set it.",
            parameters=[_ID, *_FILTERS, *PAGING],
            answers={
                "200": json_answer(
                    "A page.", ref("DeliveryPage"), {"deliveries": [DELIVERY_EXAMPLE], "next_page_token": ""}
                )
            },
            problems=("NotFound",),
        )
    },
    "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}": {
        "get": api(
            "webhooks:read",
            "get_delivery",
            TAG,
            "Read a delivery",
            "With what was answered to each attempt.",
            parameters=_OF_DELIVERY,
            answers={"200": json_answer("The delivery.", ref("WholeDelivery"), WHOLE_EXAMPLE)},
            problems=("NotFound",),
        )
    },
    "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}:replay": {
        "post": api(
            "webhooks:write",
            "replay_delivery",
            TAG,
            "Send a delivery again",
            "Under the same id, as the webhook is now. 409 when it has not ended.",
            parameters=_OF_DELIVERY,
            body=_NOTHING,
            answers={
                "202": json_answer(
                    "It waits.", ref("WholeDelivery"), {**WHOLE_EXAMPLE, "state": "pending", "end_time": None}
                )
            },
            problems=("NotFound", "Conflict"),
        )
    },
}
