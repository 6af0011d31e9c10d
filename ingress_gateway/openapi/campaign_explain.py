"""Why a campaign does what it does."""

from ingress_gateway.openapi.campaigns import ID, TAG
from ingress_gateway.openapi.parts import (
    Json,
    api,
    instant,
    json_answer,
    json_body,
    listing,
    nullable,
    number,
    record,
    ref,
    text,
    wish,
)

_OUTCOME = text("`unknown`: it cannot be told, and never matches.", enum=["true", "false", "unknown"])


def _or_null(description: str) -> Json:
    return {"type": ["string", "null"], "description": description}


def _truth(description: str) -> Json:
    return {"type": "boolean", "description": description}


_EXAMPLE: Json = {
    "campaign_id": "summer_sale",
    "version": 1,
    "time": "2026-11-03T10:00:00.123Z",
    "rule_id": None,
    "goes_to": {
        "campaign_id": "summer_sale",
        "rule_id": None,
        "destination_id": "d1",
        "url": "https://shop.acmecorp.com/summer-sale",
        "status": 302,
        "tags": [],
    },
    "marks": [],
    "is_active": True,
    "is_in_schedule": True,
    "is_open": False,
    "caps": [],
    "rules": [
        {
            "rule_id": "tiktok",
            "name": "TikTok",
            "priority": 100,
            "is_disabled": False,
            "outcome": "false",
            "decides": False,
            "why_not": ["referer contains tiktok.com: referer is 'https://www.facebook.com/'"],
            "when": {
                "kind": "condition",
                "outcome": "false",
                "field": "referer",
                "operator": "contains",
                "values": ["tiktok.com"],
                "actual": {"state": "known", "value": "https://www.facebook.com/"},
            },
        }
    ],
    "event": None,
    "claims": None,
}

SCHEMAS: Json = {
    "ExplanationQuestion": wish(
        "A click: one that is described, or one that was kept.",
        {
            "request": wish(
                "A click that is described.",
                {
                    "url": text("A path, or an http or https URL; `/in` where none is given."),
                    "method": text("`GET` where none is given."),
                    "headers": {
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                        "description": "By name: `Referer`, `User-Agent`, `Accept-Language`…",
                    },
                    "ip": text("The client's address."),
                    "time": instant("When, of the years 2000 to 2100; now where none is given."),
                    "user_id": text("The visitor, who stays with a destination."),
                },
            ),
            "event_id": text("A click that was kept. Asks for the scopes `traffic:read` and `analytics:read` too."),
            "version": number("A version of the campaign; the one that routes now where none is given.", minimum=1),
        },
    ),
    "ExplainedNode": {
        "type": "object",
        "description": "A part of a rule's predicate, with what it came to.",
        "properties": {
            "kind": text("What it is.", enum=["condition", "all", "any", "not"]),
            "outcome": _OUTCOME,
            "field": text("Of a condition: what it asks for."),
            "operator": text("How it compares."),
            "values": listing({"type": "string"}, "With what."),
            "actual": record(
                "What the click has there.",
                {
                    "state": text(
                        "`missing`: known not to be there. `unknown`: nobody can tell.",
                        enum=["known", "missing", "unknown"],
                    ),
                    "value": _or_null("Its text, where it is known."),
                },
            ),
            "of": listing(ref("ExplainedNode"), "The parts of `all`, `any` and `not`."),
        },
        "required": ["kind", "outcome"],
    },
    "ExplainedRule": record(
        "What a rule says of the click.",
        {
            "rule_id": text("The rule."),
            "name": text("For people."),
            "priority": number("Its priority."),
            "is_disabled": _truth("It is passed over."),
            "outcome": _OUTCOME,
            "decides": _truth("It is the first that matches."),
            "why_not": listing({"type": "string"}, "In words: the conditions that failed, or who comes before it."),
            "when": nullable("ExplainedNode", "Every condition; null: it matches every click."),
        },
    ),
    "Explanation": record(
        "What becomes of a click on the campaign's link, and why.",
        {
            "campaign_id": text("The campaign."),
            "version": number("The version that was asked."),
            "time": instant("The time of the click, which hours, schedules and caps go by."),
            "rule_id": _or_null("The rule that decides; null: none."),
            "goes_to": {
                "anyOf": [
                    record(
                        "Where it goes in the end.",
                        {
                            "campaign_id": text("The campaign that has the click in the end."),
                            "rule_id": _or_null("That campaign's rule."),
                            "destination_id": _or_null("The destination; null: a fallback."),
                            "url": text("Its URL, before parameters and macros are filled in."),
                            "status": number("HTTP status; 200: a page that refreshes."),
                            "tags": listing({"type": "string"}, "Tags of the event."),
                        },
                    ),
                    {"type": "null"},
                ],
                "description": "Null: nowhere, a 404 page.",
            },
            "marks": listing({"type": "string"}, "Why not as its rules say: `campaign_paused`, `campaign_over_cap`…"),
            "is_active": _truth("It is not paused or archived."),
            "is_in_schedule": _truth("Its schedule has that time."),
            "is_open": _truth("Its rules are asked of clicks that no link takes, too."),
            "caps": listing(
                record(
                    "A cap, as this worker knows it.",
                    {
                        "kind": text("What is counted."),
                        "period": text("When it begins anew."),
                        "limit": number("At most so many."),
                        "count": number("So many were counted."),
                        "is_over": _truth("It has had enough."),
                    },
                ),
                "Its caps.",
            ),
            "rules": listing(ref("ExplainedRule"), "Every rule, in the order in which they decide."),
            "event": {
                "anyOf": [
                    record(
                        "What routing did when it came.",
                        {
                            "event_id": text("The event."),
                            "event_time": instant("When it was received."),
                            "event_type": text("What it is."),
                            "campaign_id": _or_null("Whose it was."),
                            "campaign_version": {
                                "type": ["integer", "null"],
                                "description": "In which version: give it as `version` to see its rules.",
                            },
                            "rule_id": _or_null("By which rule."),
                            "destination_id": _or_null("Where it went."),
                            "marks": listing({"type": "string"}, "What was odd about it."),
                        },
                    ),
                    {"type": "null"},
                ],
                "description": "With `event_id`.",
            },
            "claims": {
                "anyOf": [
                    record(
                        "Whose it is now, and was.",
                        {
                            "campaign_id": _or_null("Whose it is now."),
                            "rule_id": _or_null("By which rule."),
                            "routed_campaign_id": _or_null("Whose it was when it was routed."),
                            "routed_rule_id": _or_null("By which rule."),
                            "touch_event_id": _or_null("The click that it follows."),
                            "claims": listing(
                                record(
                                    "A claim on it.",
                                    {
                                        "campaign_id": text("The campaign."),
                                        "version": number("The campaign's version."),
                                        "rule_id": _or_null("By which rule; null: by its link."),
                                        "priority": number("The higher has it."),
                                        "claim_time": instant("When it was made."),
                                        "is_active": _truth("It holds."),
                                    },
                                ),
                                "The last first.",
                            ),
                        },
                    ),
                    {"type": "null"},
                ],
                "description": "With `event_id`; null: it is not in the reading yet.",
            },
        },
    ),
}

PATHS: Json = {
    "/api/v1/campaigns/{campaign_id}:explain": {
        "post": api(
            "campaigns:read",
            "explain_campaign",
            TAG,
            "Explain what a campaign does with a click",
            "Which rule decides, why, and why not each other, condition by condition; schedule, caps, fallbacks too. "
            "Nothing is recorded or counted. Give `request`, or `event_id` of a click that was kept; with neither it "
            "is a click without anything. A request is explained by the gateway alone, whatever else is down.",
            parameters=[ID],
            body=json_body(
                ref("ExplanationQuestion"),
                {
                    "request": {
                        "url": "/in/summer_sale?source=facebook",
                        "headers": {"Referer": "https://facebook.com/"},
                    }
                },
            ),
            answers={"200": json_answer("The explanation.", ref("Explanation"), _EXAMPLE)},
            problems=("NotFound", "Conflict"),
        )
    }
}
