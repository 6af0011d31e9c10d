"""How destinations and rules do."""

from ingress_gateway.openapi.campaigns import ID, TAG
from ingress_gateway.openapi.parts import Json, api, instant, json_answer, listing, number, query, record, ref, text


def _ratio(description: str, *, is_nullable: bool = False) -> Json:
    return {"type": ["number", "null"] if is_nullable else "number", "description": description}


def _flag(description: str) -> Json:
    return {"type": "boolean", "description": description}


_RULE_ID: Json = {"type": ["string", "null"], "description": "The rule; null: the campaign's own action, or no rule."}
_ABOUT: Json = {
    "campaign_id": text("The campaign."),
    "version": number("Its version, which was looked at."),
    "start": instant("First instant that was looked at."),
    "end": instant("First instant after it."),
}
_WATERMARK = instant("Everything received before this instant is in it.", is_nullable=True)
_BOUNDS = [
    query("start", {"type": "string"}, "First instant: a date in UTC, or RFC 3339.", example="2026-11-01"),
    query("end", {"type": "string"}, "First instant after it; now where none is given.", example="2026-11-03"),
]
_SPAN: Json = {"version": 1, "start": "2026-11-01T00:00:00Z", "end": "2026-11-03T00:00:00Z"}
_ARM_EXAMPLE: Json = {
    "destination_id": "d1",
    "url": "https://shop.acmecorp.com/a",
    "weight": 50,
    "visitors": 1000,
    "converted_visitors": 200,
    "rate": 0.2,
    "rate_low": 0.176359,
    "rate_high": 0.225935,
    "difference": None,
    "z": None,
    "p_value": None,
    "beats_control": None,
    "missing_visitors": 5510,
}
_EXPERIMENT_EXAMPLE: Json = {
    "campaign_id": "summer_sale",
    "rule_id": None,
    **_SPAN,
    "control": "d1",
    "arms": [
        _ARM_EXAMPLE,
        {
            **_ARM_EXAMPLE,
            "destination_id": "d2",
            "converted_visitors": 250,
            "rate": 0.25,
            "rate_low": 0.224145,
            "rate_high": 0.27777,
            "difference": 0.05,
            "z": 2.677398,
            "p_value": 0.00742,
            "beats_control": 0.996258,
        },
    ],
    "split": {"chi2": 0.0, "p_value": 1.0, "is_broken": False, "warning": ""},
    "other_visitors": 0,
    "watermark": "2026-11-03T10:00:00Z",
}
_RULES_EXAMPLE: Json = {
    "campaign_id": "summer_sale",
    **_SPAN,
    "rules": [
        {
            "rule_id": None,
            "name": "",
            "is_disabled": False,
            "is_removed": False,
            "clicks": 1200,
            "share": 1.0,
            "unique_users": 1000,
            "conversions": 210,
            "converted_users": 200,
            "rate": 0.2,
            "rate_low": 0.176359,
            "rate_high": 0.225935,
            "revenue": [{"currency": "USD", "amount": 2099.79}],
            "last_click_time": "2026-11-03T09:59:58Z",
        }
    ],
    "watermark": "2026-11-03T10:00:00Z",
}

SCHEMAS: Json = {
    "Experiment": record(
        "The destinations of an action as the arms of a test. Each visitor counts once, for the first click's.",
        {
            **_ABOUT,
            "rule_id": _RULE_ID,
            "control": text("The destination that the others are compared with."),
            "arms": listing(
                record(
                    "A destination.",
                    {
                        "destination_id": text("The destination."),
                        "url": text("Its URL."),
                        "weight": number("Percent of the visitors that it should have."),
                        "visitors": number("Visitors whose first click went there."),
                        "converted_visitors": number("Of these, those that converted."),
                        "rate": _ratio("The part of the visitors that converted, 0 to 1."),
                        "rate_low": _ratio("Lower end of Wilson's interval of the rate."),
                        "rate_high": _ratio("Upper end."),
                        "difference": _ratio("Rate less the control's; null: it is the control.", is_nullable=True),
                        "z": _ratio("Two-proportion z against the control.", is_nullable=True),
                        "p_value": _ratio("Its two-sided p-value, for one look at the end.", is_nullable=True),
                        "beats_control": _ratio("Probability that its rate is above the control's.", is_nullable=True),
                        "missing_visitors": {
                            "type": ["integer", "null"],
                            "description": "Visitors that it still needs to find `minimum_effect`; null: unknown.",
                        },
                    },
                ),
                "In the order of the destinations.",
            ),
            "split": record(
                "Whether visitors came as the weights say.",
                {
                    "chi2": _ratio("Chi-square."),
                    "p_value": _ratio("Its p-value."),
                    "is_broken": _flag("Below 0.001: what the test says is worth nothing."),
                    "warning": text("The same in words; empty when all is well."),
                },
            ),
            "other_visitors": number("Visitors that went to a destination that is none any more, or were claimed."),
            "watermark": _WATERMARK,
        },
    ),
    "RuleReport": record(
        "What each rule of a campaign brought.",
        {
            **_ABOUT,
            "rules": listing(
                record(
                    "A rule.",
                    {
                        "rule_id": _RULE_ID,
                        "name": text("For people."),
                        "is_disabled": _flag("It is passed over."),
                        "is_removed": _flag("The campaign has it no more."),
                        "clicks": number("Clicks."),
                        "share": _ratio("Part of the campaign's clicks, 0 to 1."),
                        "unique_users": number("Visitors, counted exactly."),
                        "conversions": number("Conversions that count."),
                        "converted_users": number("Visitors that converted."),
                        "rate": _ratio("The part of the visitors that converted, 0 to 1."),
                        "rate_low": _ratio("Lower end of Wilson's interval of the rate."),
                        "rate_high": _ratio("Upper end."),
                        "revenue": listing(ref("ClaimedRevenue"), "By currency."),
                        "last_click_time": instant("Of its last click; null: none.", is_nullable=True),
                    },
                ),
                "In the order in which they decide, also those that never match; then no rule; then removed ones.",
            ),
            "watermark": _WATERMARK,
        },
    ),
}

PATHS: Json = {
    "/api/v1/campaigns/{campaign_id}/experiment": {
        "get": api(
            "analytics:read",
            "get_experiment",
            TAG,
            "Compare the destinations of an action",
            "An A/B test of the campaign's own action, or of a rule's. Without `start` it begins when the split became "
            "what it is. Bots are left out.",
            parameters=[
                ID,
                query("rule_id", {"type": "string"}, "The rule; without it, the campaign's own action."),
                *_BOUNDS,
                query("control", {"type": "string"}, "The destination to compare with; the first without it."),
                query("confidence", {"type": "number"}, "Of the intervals; 0.95 without it.", example=0.95),
                query(
                    "minimum_effect",
                    {"type": "number"},
                    "The least change of the control's rate worth finding, as a part of it; 0.1 without it.",
                    example=0.1,
                ),
            ],
            answers={"200": json_answer("The test.", ref("Experiment"), _EXPERIMENT_EXAMPLE)},
            problems=("NotFound", "Conflict", "QueryLimit"),
        )
    },
    "/api/v1/campaigns/{campaign_id}/rules": {
        "get": api(
            "analytics:read",
            "get_campaign_rules",
            TAG,
            "See what each rule brought",
            "Of people, not of bots. Without a range the last 30 days.",
            parameters=[ID, *_BOUNDS],
            answers={"200": json_answer("The rules.", ref("RuleReport"), _RULES_EXAMPLE)},
            problems=("NotFound", "QueryLimit"),
        )
    },
}
