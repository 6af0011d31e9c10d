"""Attribution."""

from ingress_gateway.openapi.analytics import TAG
from ingress_gateway.openapi.parts import Json, api, instant, json_answer, listing, number, query, record, ref, text

_NULLABLE_NUMBER: Json = {"type": ["number", "null"]}
_NUMBER: Json = {"type": "number"}
_TEXT: Json = {"type": "string"}
SCHEMAS: Json = {
    "Attribution": record(
        "What each touch of a visitor is credited with. Values are in whole minor units and add up to the total.",
        {
            "user_id": text("The visitor."),
            "total_value": {**_NUMBER, "description": "Sum of the conversions' values."},
            "currency": text("Its ISO 4217 code; empty where no conversion has a value."),
            "conversions": number("Conversions."),
            "attribution_model": text("The model."),
            "touchpoints": listing(
                record(
                    "A touch and its credit.",
                    {
                        "event_id": text("The event."),
                        "timestamp": instant("When it was received."),
                        "source": text("Where it came from."),
                        "medium": text("How."),
                        "channel": text("The channel that these make."),
                        "campaign": {"type": ["string", "null"], "description": "The campaign."},
                        "days_before_conversion": {
                            **_NULLABLE_NUMBER,
                            "description": "To the first conversion that it may be credited for; null without one.",
                        },
                        "attributed_value": {**_NUMBER, "description": "Its credit."},
                        "attribution_percent": {**_NUMBER, "description": "Its part of the total."},
                    },
                ),
                "In the order of time; those that got nothing too.",
            ),
            "unattributed_value": {**_NUMBER, "description": "What no touch is credited with."},
            "insights": listing(_TEXT, "What is to be seen, in words for people."),
            "watermark": instant("Everything received before this instant is in it.", is_nullable=True),
        },
    ),
}
_EXAMPLE: Json = {
    "user_id": "usr_customer123",
    "total_value": 149.99,
    "currency": "USD",
    "conversions": 1,
    "attribution_model": "time_decay",
    "touchpoints": [
        {
            "event_id": "0197e3f2-7a70-7d1c-8a53-1f6b2c9d4e5f",
            "timestamp": "2026-06-01T10:15:00Z",
            "source": "facebook",
            "medium": "cpc",
            "channel": "paid_social",
            "campaign": "summer_awareness",
            "days_before_conversion": 4.4028,
            "attributed_value": 149.99,
            "attribution_percent": 100.0,
        }
    ],
    "unattributed_value": 0.0,
    "insights": ["Customer journey spanned 4.4 days with 1 touchpoint"],
    "watermark": "2026-06-05T20:00:00Z",
}
PATHS: Json = {
    "/api/v1/analytics/attribution": {
        "get": api(
            "analytics:read",
            "attribute_journey",
            TAG,
            "Credit a visitor's conversions",
            "By a model that looks at one journey at a time: docs/models.md. Touches are clicks and page views.",
            parameters=[
                query("user_id", _TEXT, "The visitor; or `click_id`.", example="usr_customer123"),
                query("click_id", _TEXT, "The visitor of this click, by our id or the source's."),
                query("model", _TEXT, "`last_touch` where none is given.", example="time_decay"),
                query("half_life_days", _NUMBER, "Of `time_decay`: days in which a touch's weight halves, 7."),
                query("direct_weight", _NUMBER, "Of `time_decay`: what a direct touch's weight is multiplied with, 1."),
                query("first", _NUMBER, "Of `custom_position`: the first touch's weight, 40."),
                query("middle", _NUMBER, "Of `custom_position`: the weight of all between, 20."),
                query("last", _NUMBER, "Of `custom_position`: the last touch's weight, 40."),
                query("lookback", _TEXT, "How long before a conversion a touch counts, `30d` where none is given."),
                query("start", _TEXT, "Conversions from here on: an instant, or a date. 90 days before the end."),
                query("end", _TEXT, "Conversions before here. Now."),
                query("time_zone", _TEXT, "Of dates. UTC."),
                query("currency", _TEXT, "Only conversions in it; the one that most of them have."),
            ],
            answers={"200": json_answer("The credits.", ref("Attribution"), _EXAMPLE)},
            problems=("NotFound",),
        )
    }
}
