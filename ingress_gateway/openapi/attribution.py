"""Attribution."""

from ingress_gateway.openapi.analytics import TAG
from ingress_gateway.openapi.analytics_parts import FLAG, PARAMETERS, PROBLEMS
from ingress_gateway.openapi.attribution_explain import SCHEMAS as EXPLAIN_SCHEMAS
from ingress_gateway.openapi.attribution_explain import paths as explain_paths
from ingress_gateway.openapi.attribution_report import ASKED_BY_BODY as _ASKED_BY_BODY
from ingress_gateway.openapi.attribution_report import LOOKBACKS_TEXT as _LOOKBACKS_TEXT
from ingress_gateway.openapi.attribution_report import MEMBERS as _MEMBERS
from ingress_gateway.openapi.attribution_report import MODELS_EXAMPLE as _MODELS_EXAMPLE
from ingress_gateway.openapi.attribution_report import OWN as _OWN
from ingress_gateway.openapi.attribution_report import REPORT_EXAMPLE as _REPORT_EXAMPLE
from ingress_gateway.openapi.attribution_report import SCHEMAS as REPORT_SCHEMAS
from ingress_gateway.openapi.attribution_report import SETTINGS_ASKED as _SETTINGS_ASKED
from ingress_gateway.openapi.attribution_report import SETTINGS_EXAMPLE as _SETTINGS_EXAMPLE
from ingress_gateway.openapi.attribution_report import SETTINGS_MEMBERS as _SETTINGS_MEMBERS
from ingress_gateway.openapi.attribution_report import table_answer as _answer
from ingress_gateway.openapi.parts import (
    Json,
    api,
    instant,
    json_answer,
    json_body,
    listing,
    number,
    query,
    record,
    ref,
    text,
    wish,
)

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
SCHEMAS |= REPORT_SCHEMAS | EXPLAIN_SCHEMAS
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
_OF_A_REPORT = "Of a report. "
_PARAMETERS = [
    query("half_life_days", _NUMBER, "Of `time_decay`: days in which a touch's weight halves, 7."),
    query("direct_weight", _NUMBER, "Of `time_decay`: what a direct touch's weight is multiplied with, 1."),
    query("first", _NUMBER, "Of `custom_position`: the first touch's weight, 40."),
    query("middle", _NUMBER, "Of `custom_position`: the weight of all between, 20."),
    query("last", _NUMBER, "Of `custom_position`: the last touch's weight, 40."),
    query("order", _NUMBER, "Of `markov`: channels that the next step depends on, 1 or 2; 1."),
    query("with_nulls", FLAG, "Of `markov`: whether paths without a conversion count, `true`."),
    query("characteristic", _TEXT, "Of `shapley`: `conversions`, or `conversion_rate`."),
    query("samples", _NUMBER, "Of `shapley`, where it is sampled: orders, 2000."),
    query("seed", _NUMBER, "Of `shapley`, where it is sampled: of the sample, 0."),
]
PATHS: Json = {
    "/api/v1/analytics/attribution": {
        "get": api(
            "analytics:read",
            "attribute_journey",
            TAG,
            "Credit conversions",
            "With a visitor: what each of their touches is credited with, by a model that looks at one journey at a "
            "time. Without: a report over all visitors, by one or several models side by side. Touches are clicks and "
            "page views. Models: docs/models.md.",
            parameters=[
                query(
                    "user_id", _TEXT, "The visitor; or `click_id`; or neither, for a report.", example="usr_customer123"
                ),
                query("click_id", _TEXT, "The visitor of this click, by our id or the source's."),
                query(
                    "model",
                    _TEXT,
                    "One, or for a report several with commas between. `last_touch` where none is given.",
                    example="time_decay",
                ),
                *_PARAMETERS,
                query("lookback", _TEXT, "How long before a conversion a touch counts, `30d` where none is given."),
                query(
                    "identity",
                    {"type": "string", "enum": ["visitor", "person"]},
                    "With `user_id` or `click_id`; `person`: what every visitor did who is one person with this one is "
                    "one journey: docs/identity.md. `visitor` where none is given.",
                ),
                *(query(name, schema, _OF_A_REPORT + told) for name, (told, schema) in _OWN.items()),
                query("lookbacks", _TEXT, _OF_A_REPORT + _LOOKBACKS_TEXT + " JSON."),
                query("format", {"type": "string", "enum": ["json", "csv"]}, _OF_A_REPORT + "In the place of Accept."),
                *({"$ref": f"#/components/parameters/{name}"} for name in PARAMETERS),
            ],
            answers={"200": _answer({"oneOf": [ref("Attribution"), ref("AttributionReport")]}, _EXAMPLE)},
            problems=("NotFound", "NotAcceptable", *PROBLEMS),
        ),
        "post": api(
            "analytics:read",
            "ask_attribution_report",
            TAG,
            "Credit conversions of all visitors",
            "The report of the GET without a visitor, for a question that is too long for a URL, and for one model "
            "twice with other parameters. Changes nothing.",
            body=json_body(wish("The question.", _MEMBERS), _ASKED_BY_BODY),
            answers={"200": _answer(ref("AttributionReport"), _REPORT_EXAMPLE)},
            problems=("NotFound", "NotAcceptable", *PROBLEMS),
        ),
    },
    "/api/v1/attribution/models": {
        "get": api(
            "analytics:read",
            "list_attribution_models",
            TAG,
            "List the attribution models",
            "With the parameters that each takes: docs/models.md.",
            answers={"200": json_answer("The models.", ref("AttributionModels"), _MODELS_EXAMPLE)},
        )
    },
    "/api/v1/attribution/settings": {
        "get": api(
            "analytics:read",
            "get_attribution_settings",
            TAG,
            "Get the models and look-backs that hold",
            "Where a question names none. By organisation and type of conversions, in versions.",
            parameters=[
                query(
                    "version",
                    {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
                    "An earlier version; the one that holds.",
                )
            ],
            answers={"200": json_answer("The settings.", ref("AttributionSettings"), _SETTINGS_EXAMPLE)},
            problems=("NotFound",),
        ),
        "put": api(
            "analytics:write",
            "put_attribution_settings",
            TAG,
            "Let other models and look-backs hold",
            "From now on, for all of history: reports are readings, nothing that is stored changes, and every earlier "
            "version can be asked for. Idempotent.",
            body=json_body(wish("What is to hold.", _SETTINGS_MEMBERS, "types"), _SETTINGS_ASKED),
            answers={"200": json_answer("The settings.", ref("AttributionSettings"), _SETTINGS_EXAMPLE)},
            problems=("Conflict",),
        ),
    },
}
PATHS |= explain_paths(TAG, [query("model", _TEXT, "That of the settings where none is given."), *_PARAMETERS])
