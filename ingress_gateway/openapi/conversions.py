"""Conversions."""

from ingress_gateway.openapi.parts import (
    PAGING,
    Json,
    api,
    instant,
    json_answer,
    json_body,
    listing,
    nullable,
    number,
    page,
    path,
    query,
    record,
    ref,
    text,
    wish,
)
from ingress_gateway.routes.conversions import NO_STATUS, ORPHAN_REASONS, STATUSES

TAG = "Conversions"
CONVERSION_ID = "019307a1-3c4d-7e5f-8a9b-0c1d2e3f4a5b"
_CLICK_EVENT_ID = "0193079f-11aa-7b2c-9d3e-4f5a6b7c8d9e"
_TEXTS: Json = {"type": "string"}
_VALUE = {"type": ["number", "null"]}
_SUGGESTED = ("truncated", "wrong_case", "double_encoded", "outside_window", "same_person")
_STATUS: Json = {"type": ["string", "null"], "enum": [*STATUSES, None]}
_REASON: Json = {"type": ["string", "null"], "enum": [*ORPHAN_REASONS, None]}
ID = path("conversion_id", "The id of the event that began it.", CONVERSION_ID)

_CLICK: Json = {
    "event_id": _CLICK_EVENT_ID,
    "event_time": "2026-11-03T10:00:00.123Z",
    "click_id": "AZMHnxGqeyydPk9aa3yNng.x1Yq",
    "external_click_id": "fb_123abc",
    "campaign_id": "summer_sale",
    "campaign_version": 1,
    "rule_id": "",
    "destination_id": "d1",
    "user_id": "usr_1234567890abcdef",
    "source": "facebook",
    "medium": "cpc",
    "channel": "paid_social",
}
EXAMPLE: Json = {
    "conversion_id": CONVERSION_ID,
    "conversion_type": "purchase",
    "event_type": "purchase",
    "order_id": "ORD-456789",
    "status": None,
    "is_counted": True,
    "value": 99.99,
    "gross_value": 99.99,
    "refunded_value": 0,
    "currency": "USD",
    "is_currency_assumed": False,
    "is_test": False,
    "conversion_time": "2026-11-03T10:05:00.456Z",
    "create_time": "2026-11-03T10:05:00.456Z",
    "last_event_time": "2026-11-03T10:05:00.456Z",
    "update_time": "2026-11-03T10:05:01.200Z",
    "revision": 1,
    "event_ids": [CONVERSION_ID],
    "click_references": ["fb_123abc"],
    "network": "",
    "user_id": "usr_1234567890abcdef",
    "marks": [],
    "merged_into": None,
    "match_state": "matched",
    "orphan_reason": None,
    "click": _CLICK,
    "campaign_id": "summer_sale",
    "is_outside_window": False,
    "is_accepted": False,
    "suggestions": [],
}
_EVENT_EXAMPLE: Json = {
    "event_id": CONVERSION_ID,
    "event_time": "2026-11-03T10:05:00.456Z",
    "conversion_time": "2026-11-03T10:05:00.456Z",
    "event_type": "purchase",
    "status_text": "purchase",
    "status": None,
    "amount_text": "99.99",
    "value": 99.99,
    "currency": "USD",
    "order_id": "ORD-456789",
    "click_references": ["fb_123abc"],
    "network": "",
    "route": "postback",
    "marks": [],
}
_CONVERSION: Json = {
    "conversion_id": text("The id of the event that began it."),
    "conversion_type": text(
        "The type that policies speak of: the word for the event in lower case; `conversion` for the stages of one "
        "life (lead, sale, approved, rejected) and for what has no word; `refund` for a refund of nothing known."
    ),
    "event_type": text("The word of the event that began it."),
    "order_id": text("Order or transaction id; empty where there is none."),
    "status": {**_STATUS, "description": "Where it stands; null where nobody said. `unmapped`: in an unknown word."},
    "is_counted": {"type": "boolean", "description": "It is one conversion in every count."},
    "value": {**_VALUE, "description": "Worth now, refunds taken off; null where nobody named an amount."},
    "gross_value": {**_VALUE, "description": "Worth before refunds, and whatever its status."},
    "refunded_value": {"type": "number", "description": "Taken back."},
    "currency": text("ISO 4217; empty where nobody named one."),
    "is_currency_assumed": {"type": "boolean", "description": "One of several with the symbol that was sent."},
    "is_test": {"type": "boolean", "description": "Sent as a test; counts nowhere."},
    "conversion_time": instant("When it happened, by the sender; else when it was received."),
    "create_time": instant("When its first event was received."),
    "last_event_time": instant("When its last event was received."),
    "update_time": instant("When it was changed last."),
    "revision": number("Rises with every change."),
    "event_ids": listing(_TEXTS, "Its events, refunds too, in the order in which they were received."),
    "click_references": listing(_TEXTS, "What may be the id of its click, the best first."),
    "network": text("The sender, in lower case; empty where nobody is named."),
    "user_id": text("The visitor."),
    "marks": listing(_TEXTS, "What is odd about its events."),
    "merged_into": text("The conversion that it is part of now; null: it stands for itself.")
    | {"type": ["string", "null"]},
    "match_state": text("Whether its click is known.", enum=["pending", "matched", "orphan"]),
    "orphan_reason": {**_REASON, "description": "Why it is not."},
    "click": nullable("ConversionClick", "The click that it goes back to."),
    "campaign_id": text("The campaign that has it; empty: none."),
    "is_outside_window": {"type": "boolean", "description": "Its click is older than the look-back of its type."},
    "is_accepted": {"type": "boolean", "description": "Somebody said that this is the click."},
    "suggestions": listing(ref("ConversionSuggestion"), "Clicks that may have been meant."),
}
SCHEMAS: Json = {
    "ConversionClick": record(
        "A click, as reports have it.",
        {
            "event_id": text("Its event."),
            "event_time": instant("When it was received."),
            "click_id": text("Our id of it."),
            "external_click_id": text("The source's own."),
            "campaign_id": text("Campaign; empty: none."),
            "campaign_version": number("Its version."),
            "rule_id": text("The rule that decided."),
            "destination_id": text("The destination that was chosen."),
            "user_id": text("The visitor."),
            "source": text("Source."),
            "medium": text("Medium."),
            "channel": text("Channel."),
        },
    ),
    "ConversionSuggestion": record(
        "A click that may have been meant; nothing is done until it is accepted.",
        {
            "reason": text("How it differs; `same_person`: the last click of whom it names.", enum=[*_SUGGESTED]),
            "reference": text("What the conversion said."),
            "click": ref("ConversionClick"),
        },
    ),
    "ConversionEvent": record(
        "What one event said.",
        {
            "event_id": text("The event: `/api/v1/events/{event_id}` has it as it came."),
            "event_time": instant("When it was received."),
            "conversion_time": instant("When it happened, by the sender."),
            "event_type": text("The word for it."),
            "status_text": text("What was sent for the status."),
            "status": {**_STATUS, "description": "What it means to everybody."},
            "amount_text": text("What was sent for the amount."),
            "value": {**_VALUE, "description": "What was read of it."},
            "currency": text("ISO 4217."),
            "order_id": text("Order or transaction id."),
            "click_references": listing(_TEXTS, "What may be the id of the click, the best first."),
            "network": text("The sender."),
            "route": text("The route that took it."),
            "marks": listing(_TEXTS, "What is odd about it."),
        },
    ),
    "Conversion": record("What the events of one order and type amount to.", _CONVERSION),
    "WholeConversion": record(
        "A conversion and its events.", {**_CONVERSION, "events": listing(ref("ConversionEvent"), "Its events.")}
    ),
    "ConversionMatch": wish(
        "Which click it is.", {"click_id": text("The source's own id, or ours, exactly.", maxLength=512)}, "click_id"
    ),
    "OrphanSummary": record(
        "Conversions whose click is not known.",
        {
            "orphans": listing(
                record(
                    "Those of one cause.",
                    {
                        "reason": text("Why there is no click.", enum=list(ORPHAN_REASONS)),
                        "conversion_count": number("How many."),
                        "amounts": listing(
                            record(
                                "A sum.",
                                {
                                    "currency": text("ISO 4217; empty where nobody named one."),
                                    "value": {"type": "number", "description": "What they are worth."},
                                },
                            ),
                            "What they are worth, by currency.",
                        ),
                    },
                ),
                "By cause, the most first.",
            )
        },
    ),
    "ConversionPage": page("conversions", "Conversion", "A page of conversions."),
}
_TEXT: Json = {"type": "string"}
_INSTANT: Json = {"type": "string", "format": "date-time"}
_FILTERS = [
    query("start_time", _INSTANT, "First event received at or after it.", example="2026-11-01T00:00:00Z"),
    query("end_time", _INSTANT, "First event received before it."),
    query("conversion_type", _TEXT, "Conversion type, or the word of the event that began it.", example="purchase"),
    query("status", {"type": "string", "enum": [*STATUSES, NO_STATUS]}, "Status; `none`: nobody spoke of one."),
    query("campaign_id", _TEXT, "Campaign."),
    query("click_id", _TEXT, "An id of its click: the source's own, or ours.", example="fb_123abc"),
    query("order_id", _TEXT, "Order or transaction id."),
    query("orphans", {"type": "boolean"}, "True: those alone whose click is not known; false: none of them."),
    query("orphan_reason", {"type": "string", "enum": list(ORPHAN_REASONS)}, "Orphans of this reason."),
    query("is_test", {"type": "boolean"}, "True: tests alone; false: none of them."),
]
PATHS: Json = {
    "/api/v1/conversions": {
        "get": api(
            "conversions:read",
            "list_conversions",
            TAG,
            "List conversions",
            "Those received last first. A conversion is here about a second after its postback was answered, and its "
            "click soon after that.",
            parameters=[*_FILTERS, *PAGING],
            answers={
                "200": json_answer("A page.", ref("ConversionPage"), {"conversions": [EXAMPLE], "next_page_token": ""})
            },
        )
    },
    "/api/v1/conversions/orphans": {
        "get": api(
            "conversions:read",
            "list_orphans",
            TAG,
            "Sum up orphans",
            "Conversions whose click is not known, by cause, with their money. Tests are left out. Each is looked for "
            "again by itself; `/api/v1/conversions?orphans=true` lists them with the clicks that may have been meant.",
            parameters=_FILTERS[:2],
            answers={
                "200": json_answer(
                    "By cause.",
                    ref("OrphanSummary"),
                    {
                        "orphans": [
                            {
                                "reason": "truncated",
                                "conversion_count": 12,
                                "amounts": [{"currency": "USD", "value": 148.5}],
                            }
                        ]
                    },
                )
            },
        )
    },
    "/api/v1/conversions/{conversion_id}:match": {
        "post": api(
            "conversions:write",
            "match_conversion",
            TAG,
            "Say which click it is",
            "Makes a click that of a conversion, for good: no later look-up takes it away. Of several clicks with the "
            "same id it is the last.",
            parameters=[ID],
            body=json_body(ref("ConversionMatch"), {"click_id": "fb_123abc"}),
            answers={"200": json_answer("With its click.", ref("Conversion"), {**EXAMPLE, "is_accepted": True})},
            problems=("NotFound", "Conflict"),
        )
    },
    "/api/v1/conversions/{conversion_id}": {
        "get": api(
            "conversions:read",
            "get_conversion",
            TAG,
            "Read a conversion",
            "With the events behind it, as they were read when they came.",
            parameters=[ID],
            answers={
                "200": json_answer("The conversion.", ref("WholeConversion"), {**EXAMPLE, "events": [_EVENT_EXAMPLE]})
            },
            problems=("NotFound",),
        )
    },
}
