"""The schemas and examples of webhooks."""

from ingress_gateway.openapi.parts import (
    Json,
    instant,
    listing,
    number,
    page,
    record,
    ref,
    text,
    wish,
)
from ingress_gateway.routes.webhook_json import HIGHEST_RATE, KINDS, LONGEST_AGE_SECONDS, MOST_ATTEMPTS, STATES

_EVENT_KINDS = [
    "conversion.created",
    "conversion.status",
    "conversion.value",
    "conversion.refund",
    "conversion.matched",
    "conversion.policy",
]
WEBHOOK_ID, DELIVERY_ID = "wh_7hGtR2mVbqk3NfLr8XzPaQ", "msg_2vXtR2mVbqk3NfLr8XzPaQ"
_WORD: Json = {"type": "string", "minLength": 1, "maxLength": 200}
_YES_NO: Json = {"type": "boolean"}
_HEADER: Json = {
    "name": text("Its name; not one that HTTP or Standard Webhooks has a use for.", maxLength=128),
    "is_secret": {**_YES_NO, "description": "True: kept sealed and never shown."},
}
_DEFINITION: Json = {
    "name": text("For people.", maxLength=200),
    "url": text(
        "Where to: http or https, a host outside private networks, at most 4,096 characters. Values of a postback's "
        "query may hold macros such as `{external_click_id}` or `{payout|0}`.",
        maxLength=4096,
    ),
    "method": text("GET, POST or PUT; a webhook is sent by POST.", enum=["GET", "POST", "PUT", ""]),
    "body": text("Of a postback: JSON with macros in its texts, or a form with macros in its values.", maxLength=16384),
    "event_kinds": listing(
        {"type": "string", "enum": _EVENT_KINDS},
        "What it hears of; left out: `conversion.created`, and with `statuses` `conversion.status` too.",
    ),
    "campaign_ids": listing(_WORD, "Only of these campaigns; empty: of any, and of none.", maxItems=100),
    "conversion_types": listing(_WORD, "Only of these types; empty: of any.", maxItems=100),
    "statuses": listing(_WORD, "Only in these states: `lead`, `sale`…; empty: in any.", maxItems=100),
    "condition": {
        "type": ["object", "array", "null"],
        "description": "Only what this is true of: the rule language, docs/rules.md. Null: everything.",
    },
    "waits_for_click": {
        **_YES_NO,
        "description": "True: it hears of a conversion first when it is known where it comes from, as "
        "`conversion.created`. Left out: true for a postback, and where there are campaigns or a condition.",
    },
    "follows_redirects": {**_YES_NO, "description": "True: follows up to 3 redirects, each guarded."},
    "max_attempts": number(
        "Attempts at most; left out: 12. Of a message that is refused, at most 6.", minimum=1, maximum=MOST_ATTEMPTS
    ),
    "max_age_seconds": number("What is older is given up; left out: 3 days.", minimum=60, maximum=LONGEST_AGE_SECONDS),
    "rate_per_second": number("Requests at most; 0: no limit of its own.", minimum=0, maximum=HIGHEST_RATE),
}
_WANTED: Json = {
    **_DEFINITION,
    "headers": listing(ref("WantedWebhookHeader"), "At most 20.", maxItems=20),
    "is_enabled": {**_YES_NO, "description": "False: it hears of nothing. True closes its circuit."},
}
_KIND = text(
    "`postback`: a request of the receiver's own form. `webhook`: a JSON message, signed by Standard Webhooks.",
    enum=list(KINDS),
)
_SHOWN: Json = {
    "webhook_id": text("Its id."),
    "kind": _KIND,
    **_DEFINITION,
    "headers": listing(ref("WebhookHeader"), "They go along with every request."),
    "is_enabled": _WANTED["is_enabled"],
    "disable_reason": text("Why we turned it off, as when the receiver answers 410; empty otherwise."),
    "version": number("Rises by one with every change, from 1.", minimum=1),
    "create_time": instant("When it was created."),
    "update_time": instant("When it was changed last."),
    "old_secret_expire_time": instant(
        "Until when the secret before the present one signs along; null: there is none.", is_nullable=True
    ),
}
EXAMPLE: Json = {
    "webhook_id": WEBHOOK_ID,
    "kind": "postback",
    "name": "Ads network",
    "url": "https://network.example/postback?cid={external_click_id}&payout={payout}&currency={currency}",
    "method": "GET",
    "body": "",
    "event_kinds": ["conversion.created", "conversion.status"],
    "campaign_ids": ["summer_sale"],
    "conversion_types": [],
    "statuses": ["sale"],
    "condition": None,
    "waits_for_click": True,
    "follows_redirects": False,
    "max_attempts": 12,
    "max_age_seconds": 259200,
    "rate_per_second": 0,
    "headers": [{"name": "X-Api-Key", "value": None, "is_secret": True}],
    "is_enabled": True,
    "disable_reason": "",
    "version": 1,
    "create_time": "2026-11-03T10:00:00.123456Z",
    "update_time": "2026-11-03T10:00:00.123456Z",
    "old_secret_expire_time": None,
}
SIGNED_EXAMPLE: Json = {
    **EXAMPLE,
    "kind": "webhook",
    "url": "https://shop.acmecorp.com/hooks/trellis",
    "method": "POST",
    "waits_for_click": False,
    "headers": [],
}
_DELIVERY: Json = {
    "delivery_id": text("Its id; the receiver gets it as `webhook-id`, the same in every attempt."),
    "webhook_id": text("The webhook."),
    "event_kind": text("What it tells of.", enum=[*_EVENT_KINDS, "webhook.test"]),
    "conversion_id": text("The conversion."),
    "state": text(
        "`failed`: tried, and will be again. `dead`: given up. `cancelled`: its webhook was taken away.",
        enum=list(STATES),
    ),
    "attempt_count": number("Attempts so far."),
    "next_attempt_time": instant("When it is tried next; null: it has ended.", is_nullable=True),
    "create_time": instant("When it was made."),
    "end_time": instant("When it ended; null: it has not.", is_nullable=True),
}
DELIVERY_EXAMPLE: Json = {
    "delivery_id": DELIVERY_ID,
    "webhook_id": WEBHOOK_ID,
    "event_kind": "conversion.created",
    "conversion_id": "01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e5f",
    "state": "succeeded",
    "attempt_count": 1,
    "next_attempt_time": None,
    "create_time": "2026-11-03T10:00:01Z",
    "end_time": "2026-11-03T10:00:01.123Z",
}
WHOLE_EXAMPLE: Json = {
    **DELIVERY_EXAMPLE,
    "payload": {"type": "conversion.created", "timestamp": "2026-11-03T10:00:01Z", "data": {"value": "12.50"}},
    "attempts": [
        {
            "number": 1,
            "attempt_time": "2026-11-03T10:00:01Z",
            "method": "GET",
            "url": "https://network.example/postback?cid=fb_123abc&payout=12.50&currency=USD",
            "status": 200,
            "failure": None,
            "detail": "",
            "duration_ms": 87,
            "response_body": "OK",
        }
    ],
}
_FAILURES = [
    "status", "timeout", "dns", "connect", "tls", "reset", "refused_address", "secret", "abandoned", "internal",
    None,
]  # fmt: skip

SCHEMAS: Json = {
    "WantedWebhookHeader": wish(
        "A header that goes along.",
        {
            **_HEADER,
            "value": {
                "type": ["string", "null"],
                "description": "Printable ASCII. In a change, a secret header without a value keeps the one it has, as "
                "long as the URL leads to the same host, port and scheme.",
            },
        },
        "name",
    ),
    "WebhookHeader": record(
        "A header that goes along.",
        {**_HEADER, "value": {"type": ["string", "null"], "description": "Null: it is secret."}},
    ),
    "Webhook": record("Somebody who is told of conversions.", _SHOWN),
    "WebhookHealth": record(
        "A webhook, and how its destination does.",
        {
            **_SHOWN,
            "failure_count": number("Failed attempts in a row."),
            "paused_until_time": instant("While it fails: when it is tried again.", is_nullable=True),
        },
    ),
    "WebhookWithSecret": record(
        "A webhook and its secret.",
        {
            **_SHOWN,
            "secret": {"type": ["string", "null"], "description": "`whsec_…`; shown this once. Null: a postback."},
        },
    ),
    "WebhookPage": page("webhooks", "Webhook", "A page of webhooks, newest first."),
    "NewWebhook": wish("Somebody to tell.", {"kind": _KIND, **_WANTED}, "kind", "url"),
    "WebhookChange": wish(
        "What is to be otherwise.",
        {
            **_WANTED,
            "expected_version": number(
                "The version that you have seen: 409 when it is another by now.", minimum=1, maximum=2**32 - 1
            ),
        },
    ),
    "Delivery": record("A change of a conversion, on its way.", _DELIVERY),
    "DeliveryPage": page("deliveries", "Delivery", "A page of deliveries, newest first."),
    "WholeDelivery": record(
        "A delivery, and what was answered.",
        {
            **_DELIVERY,
            "payload": {"description": "What a webhook is sent; what a postback is made of."},
            "attempts": listing(
                record(
                    "A request and its answer.",
                    {
                        "number": number("From 1."),
                        "attempt_time": instant("When it began."),
                        "method": text("Its method."),
                        "url": text("Its URL, filled in."),
                        "status": {"type": ["integer", "null"], "description": "HTTP status; null: no answer."},
                        "failure": {
                            "type": ["string", "null"],
                            "enum": _FAILURES,
                            "description": "Why it failed; null: it did not. `refused_address`: a network, port or "
                            "redirect that we do not go to. `abandoned`: our process died; it may have arrived.",
                        },
                        "detail": text("More on it, for people."),
                        "duration_ms": number("How long it took."),
                        "response_body": text("The first 2 KiB of the answer."),
                    },
                ),
                "In their order.",
            ),
        },
    ),
    "Replay": wish(
        "What to send again.",
        {
            "start_time": instant("Made at or after it; left out: from the beginning."),
            "end_time": instant("Made before it; left out: without end."),
            "states": listing(
                {"type": "string", "enum": ["dead", "cancelled", "succeeded"]}, "How they ended; left out: `dead`."
            ),
            "event_kind": text("Only of this kind.", enum=_EVENT_KINDS),
        },
    ),
    "Backfill": wish(
        "What to tell of.",
        {
            "start_time": instant(
                "Changed at or after it, within the days that deliveries are kept; left out: all of them."
            ),
            "end_time": instant("Changed before it; left out: without end."),
            "page_token": text("The `next_page_token` of the call before."),
        },
    ),
    "Backfilled": record(
        "What is told.",
        {
            "delivery_count": number("New deliveries."),
            "next_page_token": text("Where to go on; empty: the range is through."),
        },
    ),
    "Replayed": record(
        "What is sent again.",
        {"replayed_count": number("How many; 10,000 means that there may be more: ask again.")},
    ),
}
