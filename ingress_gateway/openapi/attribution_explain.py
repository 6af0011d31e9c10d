"""How a conversion is credited."""

from ingress_gateway.openapi.analytics_parts import FLAG, PROBLEMS, TEXT
from ingress_gateway.openapi.attribution_report import LOOKBACK
from ingress_gateway.openapi.parts import (
    Json,
    api,
    instant,
    json_answer,
    listing,
    number,
    path,
    query,
    record,
    ref,
    text,
)

_NUMBER: Json = {"type": "number"}
_NULLABLE_TEXT: Json = {"type": ["string", "null"]}
_VERDICTS = (
    *("in", "after_conversion", "too_old", "other_session", "bot", "conversion", "no_touch", "other_visitor"),
    "over_limit",
)
_EVENT: Json = {
    "event_id": text("The event."),
    "timestamp": instant("When it was received."),
    "event_type": text("What happened."),
    "user_id": text("Whose it is; empty where nobody knows."),
    "source": text("Where it came from."),
    "medium": text("How."),
    "channel": text("The channel that these make."),
    "campaign": {**_NULLABLE_TEXT, "description": "The campaign that routed or claims it."},
    "campaign_version": {"type": ["integer", "null"], "description": "Its version."},
    "group_value": text("Its value of the dimension `group_by`."),
    "conversion_type": {**_NULLABLE_TEXT, "description": "Its name as a conversion."},
    "conversion_status": {**_NULLABLE_TEXT, "description": "What became of it."},
    "value": {**_NUMBER, "description": "What it brought."},
    "currency": text("ISO 4217 code of the value."),
    "enrichment_version": number("Which enrichment read it."),
    "mapping_versions": listing(TEXT, "Which of the organisation's mappings read it, as `id/version`."),
}
_EVENT_EXAMPLE: Json = {
    "event_id": "0197e3f2-7a70-7d1c-8a53-1f6b2c9d4e5f",
    "timestamp": "2026-06-01T10:15:00Z",
    "event_type": "click",
    "user_id": "usr_customer123",
    "source": "facebook",
    "medium": "cpc",
    "channel": "paid_social",
    "campaign": "summer_awareness",
    "campaign_version": 3,
    "group_value": "paid_social",
    "conversion_type": None,
    "conversion_status": None,
    "value": 0.0,
    "currency": "",
    "enrichment_version": 4,
    "mapping_versions": [],
}
SCHEMAS: Json = {
    "ConversionExplanation": record(
        "How a conversion is credited. Amounts are exact to the millionth: reports round sums of them to minor units.",
        {
            "conversion": record(
                "The conversion.",
                {
                    **_EVENT,
                    "is_counted": {**FLAG, "description": "False: no report credits it; this is what it would be."},
                },
            ),
            "adjustments": record(
                "Refunds and their like that changed the conversion's value later.",
                {
                    "count": number("How many."),
                    "value": {**_NUMBER, "description": "What they come to: the value and this are what is split."},
                },
            ),
            "model": record(
                "The model as it was applied.",
                {
                    "model": text("Its name."),
                    "parameters": {"type": "object", "description": "Every one filled in."},
                    "title": text("For people."),
                },
            ),
            "lookback": LOOKBACK,
            "group_by": text("The dimension that touches are told by."),
            "candidates": listing(
                record(
                    "An event that could be asked about as a touch, and what becomes of it.",
                    {
                        **_EVENT,
                        "verdict": text("`in`: it is a touch; else why it is none.", enum=list(_VERDICTS)),
                        "explanation": text("Why, in words for people."),
                        "is_linked_click": {**FLAG, "description": "The conversion goes back to this click."},
                        "days_before_conversion": {**_NUMBER, "description": "Below 0 after it."},
                        "weight": text("A whole number: its weight before it is divided by `weight_sum`."),
                        "share": {**_NUMBER, "description": "The weight divided by the sum."},
                        "rounded_down": {**_NUMBER, "description": "Its part of the value, rounded down."},
                        "remainder": text(
                            "A whole number: what that left, in units of one `weight_sum`-th of a millionth. Who has "
                            "most gets a millionth of what is left, of equal ones the earlier."
                        ),
                        "from_what_was_left": {**_NUMBER, "description": "The millionth that it gets, if it does."},
                        "attributed_value": {**_NUMBER, "description": "Its credit: both together."},
                    },
                ),
                "In the order of time.",
            ),
            "weight_sum": text("A whole number: the sum of the weights; 0 where nobody is credited."),
            "unattributed_value": {**_NUMBER, "description": "What no touch is credited with."},
            "settings_version": number("Version of the settings that filled in what was not given; 0: none."),
            "has_earlier": {**FLAG, "description": "The visitor has more events before than are looked at here."},
            "watermark": instant("Everything received before this instant was looked at.", is_nullable=True),
        },
    ),
}
_EXAMPLE: Json = {
    "conversion": {
        **_EVENT_EXAMPLE,
        "event_type": "purchase",
        "conversion_type": "purchase",
        "value": 149.99,
        "currency": "USD",
        "is_counted": True,
    },
    "adjustments": {"count": 0, "value": 0.0},
    "model": {"model": "linear", "parameters": {}, "title": "Linear"},
    "lookback": {"type": "purchase", "days": 30.0, "same_session": False},
    "group_by": "channel",
    "candidates": [
        {
            **_EVENT_EXAMPLE,
            "verdict": "in",
            "explanation": "4.403 days before the conversion, within the look-back of 30 days",
            "is_linked_click": False,
            "days_before_conversion": 4.402778,
            "weight": "1",
            "share": 1.0,
            "rounded_down": 149.99,
            "remainder": "0",
            "from_what_was_left": 0.0,
            "attributed_value": 149.99,
        }
    ],
    "weight_sum": "1",
    "unattributed_value": 0.0,
    "settings_version": 0,
    "has_earlier": False,
    "watermark": "2026-06-05T20:00:00Z",
}


def paths(tag: str, parameters: list[Json]) -> Json:
    """Describe the call; ``parameters`` are those of the models."""
    return {
        "/api/v1/conversions/{conversion_id}/explain": {
            "get": api(
                "analytics:read",
                "explain_conversion",
                tag,
                "Explain how a conversion is credited",
                "Each event that could be a touch, in or out and why; the weights, the split to the millionth, and the "
                "versions that decided. A model that learns is shown by the shares that it learned from the 30 days up "
                "to the conversion.",
                parameters=[
                    path("conversion_id", "The id of the conversion's event.", "0197e3f2-7a70-7d1c-8a53-1f6b2c9d4e5f"),
                    *parameters,
                    query("group_by", TEXT, "What touches are told by, for the models that do: `channel`."),
                    query("lookback", TEXT, "How long before the conversion a touch counts, such as `30d`."),
                    query("lookback_days", _NUMBER, "The same as a number of days."),
                    query("same_session", FLAG, "`true`: only touches of the session that converted."),
                    query(
                        "settings_version",
                        {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
                        "Version of the organisation's settings that fills in what is not given; the one that holds.",
                    ),
                ],
                answers={"200": json_answer("The explanation.", ref("ConversionExplanation"), _EXAMPLE)},
                problems=("NotFound", *PROBLEMS),
            )
        }
    }
