"""Attribution over all visitors: its parameters, its answer and the models."""

from ingress_gateway.openapi.analytics_parts import FLAG, INFO, SLICE, TEXT, WORDS
from ingress_gateway.openapi.parts import Json, answer, instant, listing, number, record, ref, text

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
    "settings_version": (
        "Version of the organisation's settings that fills in what is not given; the one that holds.",
        {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    ),
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
LOOKBACK: Json = record(
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
            "lookbacks": listing(LOOKBACK, "The look-backs that were applied."),
            "settings_version": number("Version of the settings that filled in what was not given; 0: there are none."),
            "info": ref("ResultInfo"),
        },
    ),
    "AttributionSettings": record(
        "What holds where a question names nothing: a reading, over all of history.",
        {
            "version": number("Rises with every change; 0: nobody has set anything."),
            "types": listing(
                record(
                    "What holds for a type of conversions.",
                    {
                        "type": text("The type; empty: every type that has none of its own."),
                        "lookback_days": {**_NULLABLE_NUMBER, "description": "Null: as of the empty type, or any age."},
                        "same_session": {
                            "type": "boolean",
                            "description": "Only touches of the session that converted.",
                        },
                        "model": {
                            "anyOf": [
                                record("A model.", {"model": text("Its name."), "parameters": _PARAMETERS}),
                                {"type": "null"},
                            ],
                            "description": "Null: as of the empty type.",
                        },
                    },
                ),
                "By type.",
            ),
            "actor": text("Who made this version."),
            "create_time": instant("When.", is_nullable=True),
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
    "settings_version": 0,
    "info": {**INFO, "sources": []},
}
SETTINGS_EXAMPLE: Json = {
    "version": 3,
    "types": [
        {
            "type": "lead",
            "lookback_days": 7.5,
            "same_session": False,
            "model": {"model": "time_decay", "parameters": {"half_life_days": 1.0, "direct_weight": 1.0}},
        },
    ],
    "actor": "key:key_1",
    "create_time": "2026-11-03T10:00:00Z",
}
SETTINGS_ASKED: Json = {
    "types": [
        {"type": "", "lookback_days": 30, "model": "linear"},
        {"type": "lead", "lookback_days": 7.5, "model": {"model": "time_decay", "half_life_days": 1}},
    ]
}
SETTINGS_MEMBERS: Json = {
    "types": listing(
        {"type": "object"},
        "Objects with `type` (empty: every type that has none of its own), `lookback_days`, `same_session` and `model` "
        "(a name, or an object with the model's parameters). What is left out is as of the empty type; there 30 days "
        "and `last_touch`.",
    ),
    "expected_version": number("The version that you have seen; the call fails where another one holds."),
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
