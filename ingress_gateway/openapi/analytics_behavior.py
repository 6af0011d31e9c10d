"""Behaviour: funnels, retention and cohorts, journeys, paths."""

from collections.abc import Mapping

from ingress_gateway.openapi.analytics_parts import FLAG, INFO, TEXT, report
from ingress_gateway.openapi.parts import Json, instant, listing, number, query, record, ref, text
from ingress_gateway.routes.analytics.behavior import ACTORS, IDENTITIES, KINDS, MOST_STEPS, PERIODS

_PERCENT: Json = {"type": ["number", "null"]}
_INSTANT: Json = {"type": "string", "format": "date-time"}
_EVENTS: Json = {"type": ["string", "object", "array"]}
_NULLABLE_NUMBER: Json = {"type": ["number", "null"]}


def _same(description: str, schema: Json) -> tuple[str, Json, Json]:
    return description, schema, schema


def _words(choices: Mapping[str, object]) -> Json:
    return {"type": "string", "enum": list(choices)}


def _whole(highest: int) -> Json:
    return {"type": "integer", "minimum": 1, "maximum": highest}


_CELL = record(
    "One period of one cohort.",
    {
        "value": {**_NULLABLE_NUMBER, "description": "Actors that count, or the sum of the metric."},
        "percent": {**_PERCENT, "description": "Percent of the members; null for a metric."},
        "is_complete": {"type": "boolean", "description": "False: the period is not over yet."},
    },
)
_TOUCH = record(
    "One event of a journey.",
    {
        "event_id": text("The event."),
        "event_time": instant("When it was received."),
        "event_type": text("What happened."),
        "source": text("Where it came from."),
        "medium": text("How."),
        "channel": text("The channel that these make."),
        "campaign_id": text("The campaign; empty for none."),
        "session_id": text("Its visit."),
        "click_id": text("Our click id."),
        "user_id": text("The visitor."),
        "is_conversion": {"type": "boolean", "description": "True for a conversion."},
        "value": {**_NULLABLE_NUMBER, "description": "The conversion's value; null for other events."},
        "currency": {"type": ["string", "null"], "description": "Its currency."},
    },
)
SCHEMAS: Json = {
    "Funnels": record(
        "Who takes one step after the other.",
        {
            "funnels": listing(
                record(
                    "One group's counts.",
                    {
                        "value": text("The dimension's value; empty for everybody."),
                        "steps": listing(
                            record(
                                "How many came this far.",
                                {
                                    "name": text("The step."),
                                    "count": number("Actors that took it after all before it."),
                                    "percent_of_first": {**_PERCENT, "description": "Of those at the first step."},
                                    "percent_of_previous": {
                                        **_PERCENT,
                                        "description": "Of those at the step before; null for the first.",
                                    },
                                },
                            ),
                            "In their order.",
                        ),
                    },
                ),
                "Everybody first, then the values of the dimension.",
            ),
            "info": ref("ResultInfo"),
        },
    ),
    "Cohort": record(
        "Who began in the same period.",
        {
            "start": instant("First instant of the period; null for all cohorts together.", is_nullable=True),
            "size": number("Members: the denominator of every percentage."),
            "cells": listing(_CELL, "Period 0 first; shorter where the future begins."),
        },
    ),
    "Retention": record(
        "Who comes back.",
        {
            "cohorts": listing(ref("Cohort"), "In the order of time; those without members are left out."),
            "overall": ref("Cohort"),
            "info": ref("ResultInfo"),
        },
    ),
    "Journeys": record(
        "What visitors did, event by event.",
        {
            "journeys": listing(
                record(
                    "One visitor, or one person.",
                    {
                        "user_id": text("The visitor; of a person's journey the one that was asked for."),
                        "person_id": {
                            "type": ["string", "null"],
                            "description": "The person; null: a visitor's journey.",
                        },
                        "user_ids": listing(TEXT, "The person's visitors."),
                        "touches": listing(_TOUCH, "In the order of time; the first 1,000."),
                        "event_count": number("Events, those left out too."),
                        "session_count": number("Visits."),
                        "conversion_count": number("Conversions."),
                        "revenue": ref("Amounts"),
                    },
                ),
                "Newest last event first.",
            ),
            "next_page_token": text("Where the next page begins; empty on the last page."),
            "info": ref("ResultInfo"),
        },
    ),
    "Paths": record(
        "The ways that visitors took.",
        {
            "paths": listing(
                record(
                    "One sequence.",
                    {
                        "values": listing(TEXT, "In the order of time."),
                        "conversion_count": number("Conversions that it led to."),
                        "unconverted_count": number("Visitors that went it without converting."),
                        "revenue": {"type": "number", "description": "Sum of the conversions' values."},
                    },
                ),
                "Most conversions first.",
            ),
            "path_count": number("Different paths, those left out too."),
            "info": ref("ResultInfo"),
        },
    ),
}
_RETENTION: dict[str, tuple[str, Json, Json]] = {
    "start_events": ("What makes a member: an event type or a rule; any event where none is given.", TEXT, _EVENTS),
    "return_events": ("What counts as coming back; any event where none is given.", TEXT, _EVENTS),
    "period": _same("Length of a period.", _words({**PERIODS})),
    "periods": _same("Periods after the first.", _whole(366)),
    "kind": _same(
        "When an actor counts in period N: in it (`n_day`), in it or later (`unbounded`), in its `bracket`.",
        _words({**KINDS}),
    ),
    "brackets": (
        "With `bracket`: the last period of each, rising; in a query with commas between them.",
        TEXT,
        {"type": "array", "items": {"type": "integer"}},
    ),
    "metric": _same("Sum `revenue` or `conversions` instead of counting actors.", TEXT),
}
_COHORT: Json = {
    "start": "2026-10-05T00:00:00Z",
    "size": 1200,
    "cells": [
        {"value": 1200, "percent": 100.0, "is_complete": True},
        {"value": 312, "percent": 26.0, "is_complete": True},
    ],
}
_RETENTION_EXAMPLE: Json = {"cohorts": [_COHORT], "overall": {**_COHORT, "start": None}, "info": INFO}

PATHS: Json = {
    "/api/v1/analytics/funnel": report(
        "query_funnel",
        "Count who takes one step after the other",
        f"1 to {MOST_STEPS} steps. The window is the longest time from the first step to the last.",
        own={
            "window": _same("Such as `30m`, `24h`, `7d`; seven days where none is given, at most 366.", TEXT),
            "actor": _same("Who takes the steps; visitors where none is given.", _words({**ACTORS})),
            "dimension": _same("Split by this dimension of the first step's event.", TEXT),
            "strict_order": _same("No other step's event may come between two steps.", FLAG),
            "strict_deduplication": _same("A step that repeats ends the chain.", FLAG),
            "strict_increase": _same("None in the same millisecond as the one before.", FLAG),
            "strict_once": _same("An event counts for one step only.", FLAG),
            "allow_reentry": _same("With `strict_order`: the first step again goes back to it.", FLAG),
        },
        only_query=[
            query(
                "step",
                {"type": "array", "items": TEXT},
                "A step: an event type, or a rule as JSON. Repeat it for each.",
                style="form",
                explode=True,
                example="click",
            ),
            query("steps", TEXT, "The steps as a JSON list, as in a body."),
        ],
        only_body={
            "steps": listing(
                _EVENTS, 'Each an event type, a rule, or `{"name": …, "filter": …}` with one of both as its filter.'
            )
        },
        required=("steps",),
        schema=ref("Funnels"),
        example={
            "funnels": [
                {
                    "value": "",
                    "steps": [
                        {"name": "click", "count": 15420, "percent_of_first": 100.0, "percent_of_previous": None},
                        {"name": "purchase", "count": 468, "percent_of_first": 3.04, "percent_of_previous": 3.04},
                    ],
                }
            ],
            "info": INFO,
        },
        asks={
            "steps": [
                "click",
                {"name": "paid", "filter": {"field": "value", "operator": "gt", "value": 0}},
            ],
            "window": "7d",
        },
        query_examples={"window": "7d"},
    ),
    "/api/v1/analytics/retention": report(
        "query_retention",
        "See who comes back",
        "By the day and 14 days long unless asked otherwise.",
        own=_RETENTION,
        schema=ref("Retention"),
        example=_RETENTION_EXAMPLE,
        asks={"period": "day", "periods": 14, "start_events": "click"},
        query_examples={"period": "day", "start_events": "click"},
    ),
    "/api/v1/analytics/cohorts": report(
        "query_cohorts",
        "Follow those who began in the same week",
        "The same matrix, by the week and 8 weeks long unless asked otherwise.",
        own=_RETENTION,
        schema=ref("Retention"),
        example=_RETENTION_EXAMPLE,
        asks={"period": "month", "metric": "revenue"},
        query_examples={"metric": "revenue"},
    ),
    "/api/v1/analytics/journeys": report(
        "list_journeys",
        "List what visitors did",
        "Journeys of one visitor, of a click's visitor, or of all in the time.",
        own={
            "user_id": _same("One visitor.", TEXT),
            "click_id": _same("The visitor of this click, by our id or the source's.", TEXT),
            "identity": _same(
                "`person`: what every visitor did who is one person with the one named by `user_id` or `click_id`, as "
                "one journey. `visitor` where none is given.",
                _words(IDENTITIES),
            ),
            "as_of": _same("With `identity=person`: who was known to be one person at this instant.", _INSTANT),
            "converted_only": _same("Only visitors with a conversion.", FLAG),
            "limit": _same("Journeys of a page, 50 where none is given.", _whole(500)),
            "page_token": _same("The `next_page_token` of the page before.", TEXT),
        },
        schema=ref("Journeys"),
        example={
            "journeys": [
                {
                    "user_id": "usr_customer123",
                    "person_id": None,
                    "user_ids": ["usr_customer123"],
                    "touches": [
                        {
                            "event_id": "01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e5f",
                            "event_time": "2026-10-05T19:55:00Z",
                            "event_type": "purchase",
                            "source": "email",
                            "medium": "newsletter",
                            "channel": "email",
                            "campaign_id": "june_promo",
                            "session_id": "ses_1",
                            "click_id": "tc7Yw2mVbqk3NfLr8XzPaQ",
                            "user_id": "usr_customer123",
                            "is_conversion": True,
                            "value": 149.99,
                            "currency": "USD",
                        }
                    ],
                    "event_count": 1,
                    "session_count": 1,
                    "conversion_count": 1,
                    "revenue": [{"currency": "USD", "amount": 149.99}],
                }
            ],
            "next_page_token": "",
            "info": INFO,
        },
        asks={"user_id": "usr_customer123"},
        query_examples={"user_id": "usr_customer123"},
        problems=("NotFound",),
    ),
    "/api/v1/analytics/paths": report(
        "query_paths",
        "See which ways lead to conversions",
        "Sequences of a dimension's values, of clicks and page views, up to a conversion.",
        own={
            "dimension": _same("`channel` where none is given.", TEXT),
            "lookback": _same("How long before a conversion a touch counts, such as `30d`, the default.", TEXT),
            "collapse_repeats": _same("The same value twice in a row is one touch.", FLAG),
            "include_unconverted": _same("Paths of visitors without a conversion too.", FLAG),
            "limit": _same("Paths wanted, 100 where none is given.", _whole(10_000)),
        },
        schema=ref("Paths"),
        example={
            "paths": [
                {
                    "values": ["paid_social", "organic_search", "direct"],
                    "conversion_count": 12,
                    "unconverted_count": 340,
                    "revenue": 1799.88,
                }
            ],
            "path_count": 214,
            "info": INFO,
        },
        asks={"dimension": "source", "lookback": "30d"},
        query_examples={"dimension": "source"},
    ),
}
