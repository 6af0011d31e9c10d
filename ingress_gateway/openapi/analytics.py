"""Analytics: everything under ``/api/v1/analytics``."""

from ingress_gateway.openapi import analytics_behavior, analytics_parts, analytics_reports
from ingress_gateway.openapi.analytics_parts import INFO, PROBLEMS, TAG, TEXT
from ingress_gateway.openapi.parts import Json, answer, api, instant, listing, number, query, record, ref, text

_MONEY: Json = {"type": "number"}
_LINE: Json = {
    "clicks": number("Clicks."),
    "conversions": number("Conversions."),
    "revenue": {**_MONEY, "description": "What they brought, in `currency`."},
}
_TOPS: Json = {
    "type": "object",
    "additionalProperties": {
        "type": "array",
        "items": record("One line.", {"value": text("The dimension's value; empty for none."), **_LINE}),
    },
}
_LINES: Json = {"clicks": 12, "conversions": 1, "revenue": 99.99}
_EXAMPLE: Json = {
    "clicks_last_hour": 412,
    "clicks_change": 8.42,
    "active_users": 37,
    "clicks_today": 5120,
    "conversions_today": 61,
    "revenue_today": 6021.39,
    "currency": "USD",
    "traffic_timeline": [{"minute": "2026-11-03T10:00:00Z", **_LINES}],
    "top_last_hour": {"source": [{"value": "facebook", **_LINES}]},
    "top_today": {"source": [{"value": "facebook", **_LINES}]},
    "last_updated": "2026-11-03T10:00:07.120Z",
    "info": INFO,
}

SCHEMAS: Json = {
    **analytics_parts.SCHEMAS,
    **analytics_reports.SCHEMAS,
    **analytics_behavior.SCHEMAS,
    "Realtime": record(
        "The last hour and the day.",
        {
            "clicks_last_hour": number("Clicks of the 60 minutes of the timeline, the current one included."),
            "clicks_change": {
                "type": ["number", "null"],
                "description": "Percent more, or less, than an hour before; null when there were none.",
            },
            "active_users": number("Visitors of the last five minutes."),
            "clicks_today": number("Clicks since midnight."),
            "conversions_today": number("Conversions since midnight."),
            "revenue_today": {**_MONEY, "description": "What they brought, in `currency`."},
            "currency": text("ISO 4217 code of all amounts; empty where there are none."),
            "traffic_timeline": listing(
                record("One minute.", {"minute": instant("Its first instant."), **_LINE}),
                "60 minutes, newest first, empty ones too.",
            ),
            "top_last_hour": {**_TOPS, "description": "By dimension, most clicks first."},
            "top_today": {**_TOPS, "description": "The same since midnight."},
            "last_updated": instant("When this was true."),
            "info": ref("ResultInfo"),
        },
    ),
}
PARAMETERS = analytics_parts.PARAMETERS
PATHS: Json = {
    "/api/v1/analytics/realtime": {
        "get": api(
            "analytics:read",
            "get_realtime",
            TAG,
            "See what is going on",
            "The last hour and the day. With `Accept: text/event-stream` the answer goes on: the same JSON as the data "
            "of an event `realtime` whenever it changes, at most once a second and at least every 15 seconds. Each has "
            "all of it, so that a client that comes back misses nothing.",
            parameters=[
                query("time_zone", TEXT, "IANA name: whose midnight; `UTC` where none is given."),
                query("campaign_id", TEXT, "Only this campaign."),
                query("include_bots", {"type": "boolean"}, "`true`: what is marked as a bot counts too."),
                query(
                    "limit",
                    {"type": "integer", "minimum": 1, "maximum": 100},
                    "Lines of each top list, 10 where none is given.",
                ),
                query("org_id", TEXT, "Taken and ignored: the key says whose numbers these are."),
            ],
            answers={
                "200": answer(
                    "The numbers, once or again and again.",
                    {
                        "application/json": {"schema": ref("Realtime"), "example": _EXAMPLE},
                        "text/event-stream": {"schema": TEXT},
                    },
                )
            },
            problems=PROBLEMS,
        )
    },
    **analytics_reports.PATHS,
    **analytics_behavior.PATHS,
}
__all__ = ("PARAMETERS", "PATHS", "SCHEMAS", "TAG")
