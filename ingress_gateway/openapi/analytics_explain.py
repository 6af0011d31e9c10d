"""What a number of a report rests on."""

from ingress_gateway.openapi.analytics_parts import INFO, PROBLEMS, SLICE, TAG, TEXT
from ingress_gateway.openapi.parts import (
    Json,
    api,
    instant,
    json_answer,
    json_body,
    listing,
    number,
    record,
    ref,
    text,
    wish,
)
from ingress_gateway.routes.analytics.slices import GRANULARITIES

_NULLABLE_NUMBER: Json = {"type": ["number", "null"]}
_NULLABLE_TEXT: Json = {"type": ["string", "null"]}
SCHEMAS: Json = {
    "CellExplanation": record(
        "What a number rests on.",
        {
            "metric": record(
                "What it means.",
                {
                    "name": text("The metric."),
                    "description": text("For people."),
                    "unit": text("`count`, `percent`, `ratio` or `money`."),
                    "expression": text("How it is made of its measures, `m_<measure>`."),
                    "measures": listing(
                        record(
                            "Something that adds up, or merges, over events.",
                            {
                                "name": text("Its name."),
                                "function": text("`count`, `sum` or `unique`."),
                                "of_events": text("What is summed up or counted once, of an event; empty: the event."),
                                "where_event": text("Which events count, as SQL; empty: all of the cell."),
                            },
                        ),
                        "What it is made of.",
                    ),
                },
            ),
            "value": {**_NULLABLE_NUMBER, "description": "The number, as the report has it."},
            "value_of_events": {
                **_NULLABLE_NUMBER,
                "description": "The same, made of the events: it differs only by what came between both.",
            },
            "event_count": number("Events behind it."),
            "samples": listing(
                record(
                    "One of them.",
                    {
                        "event_id": text("The event."),
                        "timestamp": instant("When it was received."),
                        "event_type": text("What happened."),
                        "source": text("Where it came from."),
                        "campaign_id": text("Its campaign; empty for none."),
                        "value": {**_NULLABLE_NUMBER, "description": "Its value."},
                        "currency": text("ISO 4217 code of its value."),
                        "is_conversion": {"type": "boolean", "description": "It counts as a conversion."},
                    },
                ),
                "The last ones, at most 10.",
            ),
            "pending": listing(
                record(
                    "An operation that changes the reading just now.",
                    {
                        "operation_id": {**_NULLABLE_TEXT, "description": "Null for the operator's."},
                        "kind": text("What it does."),
                        "state": text("How far it is."),
                    },
                ),
                "What may still change the number, beside events that are received after the watermark.",
            ),
            "info": ref("ResultInfo"),
        },
    )
}
_MEMBERS: Json = {
    "metric": {**TEXT, "description": "The cell's metric."},
    "cell": {
        "type": "object",
        "additionalProperties": TEXT,
        "description": "The cell's row: its value of each dimension of the report. None: the totals.",
    },
    "granularity": {
        "type": "string",
        "enum": list(GRANULARITIES),
        "description": "Of a time series: the length of its steps.",
    },
    "time": {**TEXT, "description": "Of a time series: an instant of the cell's step."},
    **{name: {**schema, "description": told} for name, (told, schema) in SLICE.items()},
    "filter": {"type": ["object", "array"], "description": "As in the report."},
    "where": {"type": "object", "description": "As in the report."},
}
_EXAMPLE: Json = {
    "metric": {
        "name": "revenue",
        "description": "Values of the conversions that count, in the report's currency.",
        "unit": "money",
        "expression": "m_revenue",
        "measures": [
            {
                "name": "revenue",
                "function": "sum",
                "of_events": "value",
                "where_event": "is_conversion = 1 AND currency = 'USD'",
            }
        ],
    },
    "value": 1799.88,
    "value_of_events": 1799.88,
    "event_count": 12,
    "samples": [
        {
            "event_id": "0197e3f2-7a70-7d1c-8a53-1f6b2c9d4e5f",
            "timestamp": "2026-10-05T19:55:00Z",
            "event_type": "purchase",
            "source": "facebook",
            "campaign_id": "summer_sale",
            "value": 149.99,
            "currency": "USD",
            "is_conversion": True,
        }
    ],
    "pending": [{"operation_id": "op_1", "kind": "mapping", "state": "running"}],
    "info": INFO,
}
PATHS: Json = {
    "/api/v1/analytics:explain": {
        "post": api(
            "analytics:read",
            "explain_cell",
            TAG,
            "Explain a number of a report",
            "The body is the report's question, `start`, `end`, `where` and so on, with the metric and the row of the "
            "cell. Answers what the metric means, which tables answered, which events are behind it, and what may "
            "still change it. Changes nothing.",
            body=json_body(
                wish("The question and the cell.", _MEMBERS, "metric"),
                {"metric": "revenue", "cell": {"source": "facebook"}, "start": "2026-10-01", "end": "2026-11-01"},
            ),
            answers={"200": json_answer("The explanation.", ref("CellExplanation"), _EXAMPLE)},
            problems=PROBLEMS,
        )
    }
}
