"""What the reports have in common: the parameters that say which events, and what a result rests on."""

from ingress_gateway.openapi.parts import Json, api, instant, json_answer, json_body, listing, query, record, ref, text
from ingress_gateway.openapi.parts import wish as _wish
from ingress_gateway.routes.analytics.question import DIMENSIONS

TAG = "Analytics"
TEXT: Json = {"type": "string"}
FLAG: Json = {"type": "boolean"}
WORDS: Json = {"type": "array", "items": TEXT}
PROBLEMS = ("QueryLimit", "RateLimited")
_RULE: Json = {"description": "A rule, `docs/rules.md`.", "type": ["object", "array"]}
_VALUES: Json = {"type": ["string", "array"], "items": TEXT}
_WHERE: Json = {"type": "object", "additionalProperties": _VALUES}
_WHERE_TEXT = (
    "Dimensions and the values that they may have, exactly as reports show them; all must hold. "
    'For example `{"campaign_id": "summer_sale", "param.zoneid": ["7", "8"]}`.'
)
_FILTER_TEXT = "Only events for which this rule is true, for example `docs/rules.md`'s."

SLICE: dict[str, tuple[str, Json]] = {
    "start": (
        "First instant of the events: RFC 3339, or a date, which is its first midnight in `time_zone`.",
        TEXT,
    ),
    "end": (
        "First instant after them: `start=2026-03-01&end=2026-06-01` are March, April and May. Now if not given.",
        TEXT,
    ),
    "time_zone": ("IANA name; days, weeks and hours are this zone's. `UTC` where none is given.", TEXT),
    "include_bots": ("`true`: what is marked as a bot counts too.", FLAG),
    "currency": ("ISO 4217 code of amounts. Where none is given, the one that most conversions have.", TEXT),
}
"""Parameters that are the same in a query and in a body: what they say, and their schema."""

PARAMETERS: Json = {
    f"of_{name}": query(name, TEXT, f"Only events whose dimension `{name}` is this; repeat it for any of several.")
    for name in DIMENSIONS
} | {
    "of_param": query(
        "param.<name>",
        {"type": "object", "additionalProperties": TEXT},
        "Only events with this value of a captured parameter: `param.zoneid=7`.",
        style="form",
        explode=True,
    ),
    "of_header": query(
        "header.<name>",
        {"type": "object", "additionalProperties": TEXT},
        "Only events with this value of a captured header: `header.accept-language=de`.",
        style="form",
        explode=True,
    ),
    **{f"slice_{name}": query(name, schema, description) for name, (description, schema) in SLICE.items()},
    "slice_filter": query("filter", TEXT, f"{_FILTER_TEXT} JSON."),
    "slice_where": query("where", TEXT, f"{_WHERE_TEXT} JSON."),
}
"""Components."""

SCHEMAS: Json = {
    "Amounts": listing(
        record(
            "An amount.", {"currency": text("ISO 4217 code."), "amount": {"type": "number", "description": "Exact."}}
        ),
        "Amounts by currency.",
    ),
    "ResultInfo": record(
        "What a result rests on.",
        {
            "watermark": instant("Everything received before this instant is in the result.", is_nullable=True),
            "start": instant("First instant of the events.", is_nullable=True),
            "end": instant("First instant after them.", is_nullable=True),
            "time_zone": text("The zone of days and hours."),
            "currency": text("ISO 4217 code of all amounts; empty where there are none."),
            "other_revenue": ref("Amounts"),
            "sources": listing(TEXT, "What was read: `minute` and `day` are roll-ups, `events` the events themselves."),
            "rows_read": {"type": "integer", "description": "Rows that the store read."},
            "elapsed_seconds": {"type": "number", "description": "How long it took to make the result."},
            "is_cached": {"type": "boolean", "description": "True: kept from an earlier, equal question."},
        },
    ),
    "Numbers": {
        "type": "object",
        "description": "Metrics by name. Amounts are exact, percentages have two digits after the point; null where "
        "there is no such number, such as a rate of nothing.",
        "additionalProperties": {"type": ["number", "null"]},
    },
}
INFO: Json = {
    "watermark": "2026-11-03T10:00:00.120Z",
    "start": "2026-10-01T00:00:00Z",
    "end": "2026-11-01T00:00:00Z",
    "time_zone": "UTC",
    "currency": "USD",
    "other_revenue": [{"currency": "EUR", "amount": 12.5}],
    "sources": ["day"],
    "rows_read": 248,
    "elapsed_seconds": 0.004,
    "is_cached": False,
}
"""An example."""


def report(
    operation_id: str,
    summary: str,
    description: str,
    *,
    own: dict[str, tuple[str, Json, Json]],
    only_query: list[Json] | None = None,
    only_body: Json | None = None,
    required: tuple[str, ...] = (),
    schema: Json,
    example: Json,
    asks: Json,
    query_examples: Json,
    problems: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
) -> Json:
    """Describe a report's two operations.

    ``own`` are its parameters beside the slice: text, schema in a query, schema in a body; ``asks`` is an example body,
    ``query_examples`` what its GET has in the example; ``without`` are dimensions that it takes otherwise.
    """
    answers = {"200": json_answer("The report.", schema, example)}
    given = [
        query(name, of_query, description, **({"example": query_examples[name]} if name in query_examples else {}))
        for name, (description, of_query, _) in own.items()
    ]
    members = {
        **{name: {**of, "description": told} for name, (told, of) in SLICE.items()},
        "filter": {**_RULE, "description": _FILTER_TEXT},
        "where": {**_WHERE, "description": _WHERE_TEXT},
        **{name: {**of_body, "description": told} for name, (told, _, of_body) in own.items()},
        **(only_body or {}),
    }
    shared = [
        {"$ref": f"#/components/parameters/{name}"} for name in PARAMETERS if name.removeprefix("of_") not in without
    ]
    return {
        "get": api(
            "analytics:read",
            operation_id,
            TAG,
            summary,
            description,
            parameters=[*given, *(only_query or []), *shared],
            answers=answers,
            problems=(*PROBLEMS, *problems),
        ),
        "post": api(
            "analytics:read",
            f"ask_{operation_id}",
            TAG,
            f"{summary}, asked for by a body",
            "The same, for a question that is too long for a URL. Changes nothing.",
            body=json_body(_wish("The question.", members, *required), asks),
            answers=answers,
            problems=(*PROBLEMS, *problems),
        ),
    }
