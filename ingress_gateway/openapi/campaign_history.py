"""What makes campaigns retroactive, and their versions."""

from ingress_gateway.openapi.campaigns import CHANGEABLE, CLAIMABLE, EXAMPLE, ID, PREVIEW_EXAMPLE, TAG
from ingress_gateway.openapi.parts import (
    PAGING,
    Json,
    api,
    header,
    instant,
    json_answer,
    json_body,
    listing,
    number,
    page,
    path,
    query,
    record,
    ref,
    text,
    wish,
)

_OPERATION_ID = "op_01930f2e7c2b7d429f0a3a5b1c2d4e5f"
_WHEN = {name: CLAIMABLE[name] for name in ("time_range", "conflict_policy")}
_EXPECTED = number("The version that you have seen: 409 when it is another by now.", minimum=1, maximum=2**32 - 1)
_CLAIMED_EXAMPLE: Json = {
    **EXAMPLE,
    "retroactive": True,
    "operation_id": _OPERATION_ID,
    "claim": {
        "time_range": {"start": "2024-03-01T00:00:00Z", "end": "2024-06-01T00:00:00Z"},
        "conflict_policy": "unattributed",
        "forward_start_time": "2026-11-03T10:00:00.123456Z",
        "is_withdrawn": False,
        "version": 1,
        "state": "taken",
        "error": "",
    },
}
_VERSION_CAMPAIGN = {name: value for name, value in EXAMPLE.items() if name not in ("operation_id", "tracking_urls")}
_VERSION_EXAMPLE: Json = {"version": 1, "actor": "key:7hGtR2mVbqk3NfLr8XzPaQ", "campaign": _VERSION_CAMPAIGN}
_COUNTS: Json = {
    "event_count": number("Events, conversions that follow their click included."),
    "click_count": number("Clicks among them."),
    "conversion_count": number("Conversions that count among them."),
    "revenue": listing(ref("ClaimedRevenue"), "What these brought, by currency."),
}
_CAMPAIGN_OR_NONE: Json = {"type": ["string", "null"], "description": "The campaign; null: none."}
_RULE_OR_LINK: Json = {"type": ["string", "null"], "description": "The rule; null: the campaign's link."}

SCHEMAS: Json = {
    "ClaimedTime": wish(
        "When an event was received. A bound that is left out is none; a date is its first instant in UTC.",
        {
            "start": text("First instant: a date or RFC 3339."),
            "end": text("First instant after it: a date or RFC 3339."),
        },
    ),
    "ClaimedRevenue": record(
        "A sum.", {"currency": text("ISO 4217 code."), "amount": {"type": "number", "description": "The sum."}}
    ),
    "CampaignPreview": record(
        "What a campaign would change of history.",
        {
            "campaign_id": text("The campaign."),
            "version": number("The version that it would have."),
            **_COUNTS,
            "user_count": number("Visitors behind them."),
            "missing_field_count": number("Events that match only because a field that a rule asks for is missing."),
            "kept_by_others_count": number("Events that match, but stay with the campaigns that have them."),
            "taken_from": listing(
                record(
                    "A campaign that would lose events.",
                    {
                        "campaign_id": _CAMPAIGN_OR_NONE,
                        "event_count": _COUNTS["event_count"],
                        "conversion_count": _COUNTS["conversion_count"],
                    },
                ),
                "The most first.",
            ),
            "rules": listing(
                record("What a rule would claim.", {"rule_id": _RULE_OR_LINK, "event_count": _COUNTS["event_count"]}),
                "In the order in which they decide.",
            ),
            "days": listing(
                record("A day, in UTC.", {"day": text("The day."), **_COUNTS}), "Days without any are left out."
            ),
            "samples": listing(
                record(
                    "An event that it would have.",
                    {
                        "event_id": text("The event."),
                        "event_time": instant("When it was received."),
                        "event_type": text("What it is."),
                        "url": text("Its URL."),
                        "referer": text("Who sent the visitor."),
                        "source": text("Source."),
                        "campaign_id": _CAMPAIGN_OR_NONE,
                        "rule_id": _RULE_OR_LINK,
                    },
                ),
                "Up to 20.",
            ),
            "watermark": instant("Everything received before this instant was looked at.", is_nullable=True),
        },
    ),
    "CampaignVersion": record(
        "What a campaign was.",
        {
            "version": number("Its number.", minimum=1),
            "actor": text("Who made it."),
            "campaign": {
                "type": "object",
                "description": "The campaign as it was, without what is of now: links, operation, state of the claim.",
            },
            "changes": listing(
                record(
                    "A field that differs.",
                    {
                        "field": text("Its name."),
                        "before": {"description": "What it is in the version to compare with."},
                        "after": {"description": "What it is in this one."},
                    },
                ),
                "With `compare`: what differs.",
            ),
        },
        optional=("changes",),
    ),
    "CampaignVersionPage": page("versions", "CampaignVersion", "A page of versions, newest first."),
    "CampaignPreviewQuestion": wish(
        "What is to be otherwise than it is.",
        {
            **CHANGEABLE,
            **_WHEN,
            "status": text("As for a change.", enum=["active", "paused", "archived"]),
            "expected_version": _EXPECTED,
        },
    ),
    "CampaignApplication": wish("What it is to claim.", {**_WHEN, "expected_version": _EXPECTED}),
    "CampaignActivation": wish("When to do it.", {"expected_version": _EXPECTED}),
}
_IF_MATCH = header("If-Match", "The `ETag` that you have seen, or `*`.", example='"1"')
_NUMBER = path("version", "The version, from 1.", "1")

PATHS: Json = {
    "/api/v1/campaigns/{campaign_id}:preview": {
        "post": api(
            "campaigns:read",
            "preview_campaign",
            TAG,
            "Preview a campaign over history",
            "Says which events of history the campaign would claim, with its rules or with those given, from whom they "
            "would be taken, and what they brought. Nothing is kept or changed. An empty range is zeros.",
            parameters=[ID, _IF_MATCH],
            body=json_body(
                ref("CampaignPreviewQuestion"),
                {"time_range": {"start": "2024-03-01", "end": "2024-06-01"}},
                is_required=False,
            ),
            answers={"200": json_answer("What it would change.", ref("CampaignPreview"), PREVIEW_EXAMPLE)},
            problems=("NotFound", "Conflict", "QueryLimit"),
        )
    },
    "/api/v1/campaigns/{campaign_id}:apply": {
        "post": api(
            "campaigns:write",
            "apply_campaign",
            TAG,
            "Apply a campaign to history",
            "Makes it retroactive, by a new version: it claims the events of the time range that its rules match, and "
            "what is received from now on. The work is the operation `operation_id`; while analytics_svc cannot be "
            "reached the claim is kept and waits (`claim.state`). What is left out is as before.",
            parameters=[ID, _IF_MATCH],
            body=json_body(
                ref("CampaignApplication"),
                {"time_range": {"start": "2024-03-01", "end": "2024-06-01"}},
                is_required=False,
            ),
            answers={"202": json_answer("The campaign after it.", ref("Campaign"), _CLAIMED_EXAMPLE, "ETag")},
            problems=("NotFound", "Conflict"),
        )
    },
    "/api/v1/campaigns/{campaign_id}/versions": {
        "get": api(
            "campaigns:read",
            "list_campaign_versions",
            TAG,
            "List what a campaign was",
            "Newest first. No version is ever changed. A page has 50 where no size is given.",
            parameters=[ID, *PAGING],
            answers={
                "200": json_answer(
                    "A page.", ref("CampaignVersionPage"), {"versions": [_VERSION_EXAMPLE], "next_page_token": ""}
                )
            },
            problems=("NotFound",),
        )
    },
    "/api/v1/campaigns/{campaign_id}/versions/{version}": {
        "get": api(
            "campaigns:read",
            "get_campaign_version",
            TAG,
            "Read a version of a campaign",
            "With `compare` it says what differs from another version.",
            parameters=[
                ID,
                _NUMBER,
                query("compare", {"type": "integer", "minimum": 1}, "The version to compare with.", example=1),
            ],
            answers={"200": json_answer("The version.", ref("CampaignVersion"), {**_VERSION_EXAMPLE, "changes": []})},
            problems=("NotFound",),
        )
    },
    "/api/v1/campaigns/{campaign_id}/versions/{version}:activate": {
        "post": api(
            "campaigns:write",
            "activate_campaign_version",
            TAG,
            "Undo or redo",
            "Lets a campaign be as it was: makes a new version with the content of an earlier one, name, link and "
            "status included, over history too. Version 0 undoes a retroactive campaign: its events are as if it had "
            "never been made, and it is paused. What is so already stays as it is.",
            parameters=[ID, path("version", "The version to have the content of; 0: no claim.", "1"), _IF_MATCH],
            body=json_body(ref("CampaignActivation"), {}, is_required=False),
            answers={"200": json_answer("The campaign after it.", ref("Campaign"), EXAMPLE, "ETag")},
            problems=("NotFound", "Conflict"),
        )
    },
}
