"""Reports: time series, breakdowns, campaigns, the catalogue."""

from ingress_gateway.openapi.analytics_parts import INFO, TEXT, WORDS, report
from ingress_gateway.openapi.parts import Json, api, instant, json_answer, listing, record, ref, text
from ingress_gateway.routes.analytics.reports import DEVICE_LEVELS, GEO_LEVELS, ORDERS
from ingress_gateway.routes.analytics.slices import COMPARISONS, GRANULARITIES

TAG = "Analytics"
_METRICS = "Names of metrics, in a query with commas between them; `/api/v1/analytics/catalog` has them. At most 20."
_COMPARE: Json = {"type": "string", "enum": list(COMPARISONS)}
_AS_OF = (
    "As it was known at this instant: only what was received before, with the campaign that each event had, and what "
    "it counted for, then. A date is the midnight that it begins with."
)
_TABLE_PARAMETERS: dict[str, tuple[str, Json, Json]] = {
    "metrics": (f"{_METRICS} Otherwise clicks, unique_users, conversions, conversion_rate and revenue.", TEXT, WORDS),
    "order_by": ("The metric to order by; the first where none is given.", TEXT, TEXT),
    "order": (
        "`desc`, the most first, where none is given.",
        {"type": "string", "enum": list(ORDERS)},
        {"type": "string", "enum": list(ORDERS)},
    ),
    "limit": (
        "Rows of a page, 100 where none is given.",
        {"type": "integer", "minimum": 1, "maximum": 10_000},
        {"type": "integer", "minimum": 1, "maximum": 10_000},
    ),
    "page_token": ("The `next_page_token` of the page before, with the same question.", TEXT, TEXT),
    "compare": ("Show the same numbers of an earlier time too.", _COMPARE, _COMPARE),
    "as_of": (_AS_OF, TEXT, TEXT),
}

SCHEMAS: Json = {
    "Series": record(
        "One line of a chart.",
        {
            "value": text("The dimension's value; empty without a dimension, and for what has none."),
            "totals": ref("Numbers"),
            "points": listing(
                record("One step.", {"time": instant("Its first instant."), "metrics": ref("Numbers")}),
                "Every step, empty ones too, in the order of time.",
            ),
        },
    ),
    "Timeseries": record(
        "Metrics over time.",
        {
            "granularity": text("The length of a step.", enum=list(GRANULARITIES)),
            "metrics": listing(TEXT, "Their names."),
            "dimension": text("What it is split by; empty for nothing."),
            "series": listing(ref("Series"), "One, or one for each value of the dimension."),
            "comparison_series": listing(ref("Series"), "The same at the earlier time."),
            "info": ref("ResultInfo"),
        },
    ),
    "TableRow": record(
        "One row.",
        {
            "dimensions": {
                "type": "object",
                "additionalProperties": TEXT,
                "description": "Values by dimension; empty text for what has none.",
            },
            "metrics": ref("Numbers"),
            "comparison": {"anyOf": [ref("Numbers"), {"type": "null"}], "description": "The same, earlier."},
        },
    ),
    "Table": record(
        "Metrics by dimension.",
        {
            "dimensions": listing(TEXT, "Names of the dimensions."),
            "metrics": listing(TEXT, "Names of the metrics."),
            "rows": listing(ref("TableRow"), "In the order asked for."),
            "totals": ref("Numbers"),
            "comparison_totals": {"anyOf": [ref("Numbers"), {"type": "null"}], "description": "The same, earlier."},
            "next_page_token": text("Where the next page begins; empty on the last page."),
            "info": ref("ResultInfo"),
        },
    ),
    "CampaignReport": record(
        "How a campaign does.",
        {
            "campaign_id": text("The campaign."),
            "period": text("From its first day to its last, of the time zone."),
            "metrics": {
                "type": "object",
                "description": "The metrics by name, and these.",
                "properties": {
                    "top_converting_hours": listing(
                        {"type": "integer"}, "Up to three hours of the day with most conversions."
                    ),
                    "top_converting_days": listing(TEXT, "Up to two weekdays with most conversions."),
                    "device_breakdown": {
                        "type": "object",
                        "additionalProperties": {"type": "integer"},
                        "description": "Clicks by kind of device.",
                    },
                },
                "required": ["top_converting_hours", "top_converting_days", "device_breakdown"],
                "additionalProperties": {"type": ["number", "null"]},
            },
            "info": ref("ResultInfo"),
        },
    ),
    "Catalog": record(
        "What reports are made of.",
        {
            "metrics": listing(
                record(
                    "A metric.",
                    {
                        "name": text("Its name."),
                        "description": text("What it counts."),
                        "unit": text("`count`, `percent`, `ratio`, `seconds` or `money`."),
                    },
                ),
                "Every metric.",
            ),
            "dimensions": listing(
                record("A dimension.", {"name": text("Its name."), "description": text("What it is.")}),
                "Every dimension; besides them any `param.<name>` and `header.<name>`.",
            ),
        },
    ),
}
_NUMBERS: Json = {"clicks": 15420, "conversions": 468, "conversion_rate": 3.04, "revenue": 127840.5}
_ASKED: Json = {"metrics": ["clicks", "conversions", "conversion_rate", "revenue"]}
_ASKED_QUERY: Json = {"metrics": "clicks,conversions,conversion_rate,revenue"}


def _table(dimensions: dict[str, str]) -> Json:
    return {
        "dimensions": list(dimensions),
        "metrics": list(_NUMBERS),
        "rows": [{"dimensions": dimensions, "metrics": _NUMBERS, "comparison": None}],
        "totals": _NUMBERS,
        "comparison_totals": None,
        "next_page_token": "",
        "info": INFO,
    }


def _table_report(
    operation_id: str,
    summary: str,
    description: str,
    example: dict[str, str],
    own: dict[str, tuple[str, Json, Json]] | None = None,
) -> Json:
    return report(
        operation_id,
        summary,
        description,
        own={**(own or {}), **_TABLE_PARAMETERS},
        schema=ref("Table"),
        example=_table(example),
        asks={**_ASKED, "where": {"source": ["facebook", "google"]}},
        query_examples=_ASKED_QUERY,
    )


def _level(levels: list[str]) -> dict[str, tuple[str, Json, Json]]:
    schema: Json = {"type": "string", "enum": levels}
    return {"level": (f"How fine; `{levels[0]}` where none is given.", schema, schema)}


_CAMPAIGN_EXAMPLE: Json = {
    "campaign_id": "summer_sale",
    "period": "2026-10-01 to 2026-11-01",
    "metrics": {
        **_NUMBERS,
        "top_converting_hours": [19, 20, 21],
        "top_converting_days": ["friday", "saturday"],
        "device_breakdown": {"mobile": 14200, "tablet": 1100, "desktop": 120},
    },
    "info": INFO,
}

PATHS: Json = {
    "/api/v1/analytics/catalog": {
        "get": api(
            "analytics:read",
            "list_metrics",
            TAG,
            "List metrics and dimensions",
            "What the reports are made of.",
            answers={
                "200": json_answer(
                    "The catalogue.",
                    ref("Catalog"),
                    {
                        "metrics": [{"name": "clicks", "description": "Clicks.", "unit": "count"}],
                        "dimensions": [{"name": "source", "description": "Where it came from, in lower case."}],
                    },
                )
            },
        )
    },
    "/api/v1/analytics/timeseries": report(
        "query_timeseries",
        "Chart metrics over time",
        "A point for every step, at most 10,000 in all; unique counts of a range are not the sums of its points.",
        own={
            "granularity": (
                "Length of a step; where none is given, the finest that gives at most 400 steps.",
                {"type": "string", "enum": list(GRANULARITIES)},
                {"type": "string", "enum": list(GRANULARITIES)},
            ),
            "metrics": (f"{_METRICS} Otherwise clicks, conversions and revenue.", TEXT, WORDS),
            "dimension": ("Split by this.", TEXT, TEXT),
            "limit": (
                "Series wanted with a dimension, 10 where none is given.",
                {"type": "integer", "minimum": 1, "maximum": 100},
                {"type": "integer", "minimum": 1, "maximum": 100},
            ),
            "compare": ("Show the same of an earlier time too.", _COMPARE, _COMPARE),
            "as_of": (_AS_OF, TEXT, TEXT),
        },
        schema=ref("Timeseries"),
        example={
            "granularity": "day",
            "metrics": ["clicks", "revenue"],
            "dimension": "",
            "series": [
                {
                    "value": "",
                    "totals": {"clicks": 15420, "revenue": 127840.5},
                    "points": [{"time": "2026-10-01T00:00:00Z", "metrics": {"clicks": 498, "revenue": 4123.87}}],
                }
            ],
            "comparison_series": [],
            "info": INFO,
        },
        asks={"granularity": "day", "metrics": ["clicks", "revenue"]},
        query_examples={"granularity": "day", "metrics": "clicks,revenue"},
    ),
    "/api/v1/analytics/breakdown": report(
        "query_breakdown",
        "Split metrics by any dimension",
        "A table by one to five dimensions, any captured parameter or header among them.",
        own={
            "dimensions": (
                "1 to 5 names, in a query with commas between them. Required.",
                TEXT,
                WORDS,
            ),
            **_TABLE_PARAMETERS,
        },
        required=("dimensions",),
        schema=ref("Table"),
        example=_table({"source": "facebook", "param.zoneid": "7"}),
        asks={"dimensions": ["source", "param.zoneid"], **_ASKED},
        query_examples={"dimensions": "source,param.zoneid", **_ASKED_QUERY},
    ),
    "/api/v1/analytics/campaigns": report(
        "query_campaigns",
        "See how campaigns do",
        "With one `campaign_id` that campaign's page, from its first event to its last unless a time is given; without "
        "one a table of all campaigns.",
        own=_TABLE_PARAMETERS,
        only_body={"campaign_id": {**TEXT, "description": "One campaign; a table of all where none is given."}},
        schema={"anyOf": [ref("CampaignReport"), ref("Table")]},
        example=_CAMPAIGN_EXAMPLE,
        asks={"campaign_id": "summer_sale", **_ASKED},
        query_examples=_ASKED_QUERY,
        problems=("NotFound",),
    ),
    "/api/v1/analytics/sources": _table_report(
        "query_sources",
        "See where traffic comes from",
        "A table by `source`, `medium` and `channel`.",
        {"source": "facebook", "medium": "cpc", "channel": "paid_social"},
    ),
    "/api/v1/analytics/geo": _table_report(
        "query_geo",
        "See which countries it comes from",
        "A table by country, by country and region, or by city too.",
        {"country": "US"},
        _level(list(GEO_LEVELS)),
    ),
    "/api/v1/analytics/devices": _table_report(
        "query_devices",
        "See on what it comes",
        "A table by kind of device, operating system or browser.",
        {"device_type": "mobile"},
        _level(list(DEVICE_LEVELS)),
    ),
}
