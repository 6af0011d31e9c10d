"""Attribution over all visitors: its parameters, its answer and the models."""

from ingress_gateway.openapi.analytics_parts import FLAG, INFO, SLICE, TEXT, WORDS
from ingress_gateway.openapi.parts import Json, answer, listing, number, record, ref, text

_NUMBER: Json = {"type": "number"}
_NULLABLE_NUMBER: Json = {"type": ["number", "null"]}
_MONEY: Json = {"type": "number", "description": "Exact, in whole minor units."}
LOOKBACKS_TEXT = 'Days by type of the conversions, for those that have their own: `{"purchase": 30, "lead": 7.5}`.'
OWN: dict[str, tuple[str, Json]] = {
    "group_by": ("What is credited: `channel` where none is given, `source`, `campaign_id`, `param.zoneid`…", TEXT),
    "type": ("Only conversions of these types, with commas between.", TEXT),
    "lookback_days": ("The look-back as a number of days.", _NUMBER),
    "same_session": ("`true`: only touches of the session that converted.", FLAG),
    "limit": ("Rows wanted, 100 where none is given.", {"type": "integer", "minimum": 1, "maximum": 10_000}),
}
"""Beside those that one visitor has too, and the slice."""
_MODELS: Json = listing(
    {"type": ["string", "object"]},
    "Names, or objects with a name as `model` and the model's parameters: "
    '`["linear", {"model": "time_decay", "half_life_days": 1}]`.',
)
MEMBERS: Json = {
    "models": _MODELS,
    **{name: {**schema, "description": told} for name, (told, schema) in OWN.items()},
    "type": {**WORDS, "description": "Only conversions of these types."},
    "lookback": {**TEXT, "description": "How long before a conversion a touch counts, such as `30d`."},
    "lookbacks": {"type": "object", "additionalProperties": _NUMBER, "description": LOOKBACKS_TEXT},
    "format": {"type": "string", "enum": ["json", "csv"], "description": "In the place of Accept."},
    **{name: {**schema, "description": told} for name, (told, schema) in SLICE.items()},
    "filter": {"type": ["object", "array"], "description": "Only conversions for which this rule is true."},
    "where": {"type": "object", "description": "Dimensions of the conversions and the values that they may have."},
}
"""Of a body."""
ASKED_BY_BODY: Json = {"models": ["last_touch", {"model": "time_decay", "half_life_days": 1}], "group_by": "source"}
_CREDITED: Json = record(
    "What a model gives.",
    {
        "model": text("The model."),
        "conversions": {**_NUMBER, "description": "Conversions; parts of them."},
        "conversions_error": {
            **_NULLABLE_NUMBER,
            "description": "Their standard error where the model was sampled, else null.",
        },
        "revenue": _MONEY,
    },
)
_CREDITS: Json = listing(_CREDITED, "In the order of the models.")
_ASSISTED: Json = {
    "last_touch_conversions": number("Conversions whose last touch has the value."),
    "assisted_conversions": number("Conversions with a touch of the value whose last touch has another."),
    "assisted_revenue": {"type": "number", "description": "Values of these."},
}
_LOOKBACK: Json = record(
    "How old a touch may be.",
    {
        "type": text("The conversions' type; empty: every other one."),
        "days": {**_NULLABLE_NUMBER, "description": "Days of 24 hours; null: any age."},
        "same_session": {"type": "boolean", "description": "Only touches of the session that converted."},
    },
)
_PARAMETERS: Json = {"type": "object", "description": "Its parameters, every one filled in."}
_ADDITIVE: Json = {"type": "boolean", "description": "False: its credits sum up to more than there was."}
_LEARNED: Json = {"type": "boolean", "description": "True: it learns from the paths of all visitors."}
SCHEMAS: Json = {
    "AttributionRow": record(
        "What one value of the dimension is credited with.",
        {"value": text("The value; empty: touches without one."), "credits": _CREDITS, **_ASSISTED},
    ),
    "AttributionReport": record(
        "Credits of all visitors by several models. Of an additive model, those of the rows, the rest and what is "
        "unattributed sum up to all conversions and their revenue.",
        {
            "models": listing(
                record(
                    "A model as it was applied.",
                    {
                        "model": text("Its name."),
                        "parameters": _PARAMETERS,
                        "title": text("For people."),
                        "is_additive": _ADDITIVE,
                        "is_learned": _LEARNED,
                    },
                ),
                "In the order of all credits.",
            ),
            "group_by": text("The dimension."),
            "rows": listing(ref("AttributionRow"), "Most credited by the first model first."),
            "rest": {
                "anyOf": [ref("AttributionRow"), {"type": "null"}],
                "description": "The rows that are over the limit, summed up.",
            },
            "unattributed": listing(_CREDITED, "What no touch is credited with, in the order of the models."),
            "conversions": number("Conversions."),
            "revenue": _MONEY,
            "lookbacks": listing(_LOOKBACK, "The look-backs that were applied."),
            "info": ref("ResultInfo"),
        },
    ),
    "AttributionModels": record(
        "Models.",
        {
            "models": listing(
                record(
                    "A way to credit.",
                    {
                        "model": text("Its name."),
                        "title": text("For people."),
                        "parameters": listing(
                            record(
                                "What it can be told.",
                                {
                                    "name": text("Its name."),
                                    "description": text("What it is for."),
                                    "default": {
                                        "type": ["number", "string", "boolean"],
                                        "description": "Where nobody says.",
                                    },
                                    "least": {**_NULLABLE_NUMBER, "description": "Smallest number."},
                                    "most": {**_NULLABLE_NUMBER, "description": "Largest number."},
                                    "choices": listing(TEXT, "What a text may be."),
                                },
                            ),
                            "Those that are left out have their defaults.",
                        ),
                        "is_additive": _ADDITIVE,
                        "is_learned": _LEARNED,
                    },
                ),
                "Each once.",
            )
        },
    ),
}
_GIVEN: Json = {"model": "linear", "conversions": 7.5, "conversions_error": None, "revenue": 749.99}
REPORT_EXAMPLE: Json = {
    "models": [
        {"model": "linear", "parameters": {}, "title": "Linear", "is_additive": True, "is_learned": False},
    ],
    "group_by": "source",
    "rows": [
        {
            "value": "facebook",
            "credits": [_GIVEN],
            "last_touch_conversions": 4,
            "assisted_conversions": 6,
            "assisted_revenue": 612.5,
        }
    ],
    "rest": None,
    "unattributed": [{**_GIVEN, "conversions": 1.0, "revenue": 20.0}],
    "conversions": 9,
    "revenue": 769.99,
    "lookbacks": [{"type": "", "days": 30.0, "same_session": False}],
    "info": {**INFO, "sources": []},
}
MODELS_EXAMPLE: Json = {
    "models": [
        {
            "model": "time_decay",
            "title": "Time decay",
            "parameters": [
                {
                    "name": "half_life_days",
                    "description": "days in which a touch's weight halves",
                    "default": 7.0,
                    "least": 0.001,
                    "most": 3650.0,
                    "choices": [],
                }
            ],
            "is_additive": True,
            "is_learned": False,
        }
    ]
}
_TABLE = """row,source,linear_conversions,linear_revenue,last_touch_conversions,assisted_conversions,assisted_revenue
value,facebook,7.5,749.99,4,6,612.50
unattributed,,1,20.00,0,0,0.00
"""


def table_answer(schema: Json, example: Json) -> Json:
    """Describe an answer as JSON, or as a table."""
    described = "A table; a text that a spreadsheet would take for a formula begins with an apostrophe."
    return answer(
        "The credits.",
        {
            "application/json": {"schema": schema, "example": example},
            "text/csv": {"schema": {"type": "string", "description": described}, "example": _TABLE},
        },
    )
