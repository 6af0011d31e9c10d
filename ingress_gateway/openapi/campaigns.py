"""Campaigns."""

from ingress_gateway.openapi.parts import (
    PAGING,
    Json,
    api,
    header,
    instant,
    json_answer,
    json_body,
    listing,
    nullable,
    number,
    page,
    path,
    query,
    record,
    ref,
    text,
    wish,
)

TAG = "Campaigns"
_STATUS = {"enum": ["active", "paused", "archived"]}
_POLICY = {"enum": ["merge", "none", "only"]}
_SLUG_FORM = "1 to 128 of `A-Z a-z 0-9 _ - . ~`; case counts"
_URL_FORM = "an absolute http or https URL of at most 4,096 characters"
_POLICY_MEANING = (
    "Which incoming parameters go along: `merge` all, where the destination's own win; `none` nothing but our click "
    "id; `only` those named in the action's `parameter_names`."
)
_FALLBACK_MEANING = "Where traffic goes while the campaign is paused; empty: a 404 page."

EXAMPLE: Json = {
    "campaign_id": "summer_sale",
    "slug": "summer_sale",
    "name": "Summer sale",
    "status": "active",
    "destination_url": "https://shop.acmecorp.com/summer-sale",
    "parameter_policy": "merge",
    "fallback_url": "",
    "action": {
        "destinations": [
            {"destination_id": "d1", "url": "https://shop.acmecorp.com/summer-sale", "weight": 100},
        ],
        "redirect_type": "302",
        "parameter_policy": "merge",
        "parameter_names": [],
        "tags": [],
    },
    "rules": [],
    "paused_fallback": None,
    "expired_fallback": None,
    "over_cap_fallback": None,
    "schedule": None,
    "caps": [],
    "priority": 0,
    "retroactive": False,
    "operation_id": "",
    "claim": None,
    "version": 1,
    "restored_version": None,
    "create_time": "2026-11-03T10:00:00.123456Z",
    "update_time": "2026-11-03T10:00:00.123456Z",
    "tracking_urls": ["https://track.acmecorp.com/in/summer_sale"],
}
_REVENUE = [{"currency": "USD", "amount": 127840.50}]
PREVIEW_EXAMPLE: Json = {
    "campaign_id": "tiktok_organic_q2_2024",
    "version": 1,
    "event_count": 15888,
    "click_count": 15420,
    "user_count": 12350,
    "conversion_count": 468,
    "revenue": _REVENUE,
    "missing_field_count": 0,
    "kept_by_others_count": 0,
    "taken_from": [{"campaign_id": None, "event_count": 15888, "conversion_count": 468}],
    "rules": [{"rule_id": "r1", "event_count": 15888}],
    "days": [
        {
            "day": "2024-03-01",
            "event_count": 15888,
            "click_count": 15420,
            "conversion_count": 468,
            "revenue": _REVENUE,
        }
    ],
    "samples": [],
    "watermark": "2026-11-03T10:00:00Z",
}
CHANGEABLE: Json = {
    "slug": text(f"The part of the link after `/in/`: {_SLUG_FORM}. Unique among campaigns that are not archived."),
    "name": text("For people, 1 to 200 characters."),
    "destination_url": text(f"Where the campaign sends: {_URL_FORM}."),
    "destination": text("Another name for `destination_url`; give one of them."),
    "parameter_policy": text(_POLICY_MEANING, **_POLICY),
    "fallback_url": text(_FALLBACK_MEANING),
    "action": nullable("WantedAction", "What becomes of clicks that no rule matches, instead of `destination_url`."),
    "rules": listing(ref("WantedRule"), "At most 100; all of them.", maxItems=100),
    "paused_fallback": nullable("Fallback", "Where traffic goes while the campaign is paused."),
    "expired_fallback": nullable("Fallback", "Where traffic goes outside the schedule; as while paused without one."),
    "over_cap_fallback": nullable("Fallback", "Where traffic goes over a cap; as while paused without one."),
    "schedule": nullable("Schedule", "When it runs."),
    "caps": listing(ref("Cap"), "At most 20; all hold.", maxItems=20),
    "priority": number("The higher wins where two campaigns claim the same event of history."),
}
CLAIMABLE: Json = {
    "retroactive": {
        "type": "boolean",
        "description": "True: it claims what its rules match in history, and what no link takes from now on.",
    },
    "time_range": ref("ClaimedTime"),
    "conflict_policy": text(
        "`unattributed`: only events that no campaign has. `by_priority`: those of campaigns of a lower priority too.",
        enum=["unattributed", "by_priority"],
    ),
}
_DESTINATION: Json = {
    "destination_id": text("Its id in the action; `d1`, `d2`… where none is given."),
    "url": text(f"{_URL_FORM}; values of its query may hold macros such as `{{source}}` or `{{param:zone|none}}`."),
    "weight": number("Percent of the visitors; all of an action sum to 100.", minimum=0, maximum=100),
}
_ACTION: Json = {
    "destinations": listing(ref("Destination"), "1 to 20; a visitor stays with one.", maxItems=20),
    "redirect_type": text(
        "`meta_refresh` is a page that sends no referrer.", enum=["302", "301", "303", "307", "308", "meta_refresh"]
    ),
    "parameter_policy": text(_POLICY_MEANING, **_POLICY),
    "parameter_names": listing({"type": "string"}, "With `only`."),
    "tags": listing({"type": "string"}, "Marks on the events, for reports."),
}
_RULE: Json = {
    "rule_id": text("Its id in the campaign; `r1`, `r2`… where none is given."),
    "name": text("For people."),
    "priority": number("The highest that matches decides; of equals, the one that stands first."),
    "when": {
        "type": ["object", "array", "null"],
        "description": "Which clicks: the rule language, docs/rules.md. Null: every click.",
    },
    "is_disabled": {"type": "boolean", "description": "True: passed over."},
}

SCHEMAS: Json = {
    "Destination": wish("A place to send visitors to.", _DESTINATION),
    "Action": record("What becomes of a click.", _ACTION),
    "WantedAction": wish(
        "What becomes of a click.",
        {
            **_ACTION,
            "type": text("The only one there is.", enum=["redirect"]),
            "destination": text("A single destination's URL, instead of `destinations`."),
            "destination_url": text("Another name for `destination`."),
        },
    ),
    "Rule": record("Sends those clicks that it matches somewhere of their own.", {**_RULE, "action": ref("Action")}),
    "WantedRule": wish(
        "A rule to be.",
        {
            **_RULE,
            "type": text("Any; it says nothing."),
            "conditions": {
                "type": ["array", "object"],
                "description": "Another name for `when`: conditions that must all hold.",
            },
            "action": ref("WantedAction"),
        },
        "action",
    ),
    "Fallback": wish(
        "Where traffic goes instead: one of the two.",
        {
            "url": text(f"{_URL_FORM}, without macros."),
            "campaign_id": text("Another campaign, by its own rules. A chain may not come back to where it began."),
        },
    ),
    "Schedule": wish(
        "When a campaign runs.",
        {
            "start_time": instant("First instant.", is_nullable=True),
            "end_time": instant("First instant after it.", is_nullable=True),
            "windows": listing(
                wish(
                    "Some hours of some weekdays.",
                    {
                        "weekdays": listing(
                            {
                                "type": "string",
                                "enum": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
                            },
                            "None: every day.",
                        ),
                        "start": text("`HH:MM`; `00:00` where it is not given."),
                        "end": text("`HH:MM`, the first minute after it; `24:00` where it is not given."),
                    },
                ),
                "None: at any hour.",
            ),
            "time_zone": text("IANA name; UTC where none is given. Also that of the rules' hours, weekdays and dates."),
        },
    ),
    "Cap": wish(
        "A most.",
        {
            "kind": text("What is counted.", enum=["clicks", "uniques", "conversions"]),
            "period": text("When it begins anew, in the schedule's time zone.", enum=["hour", "day", "total"]),
            "limit": number("At most so many.", minimum=1),
        },
        "kind",
        "period",
        "limit",
    ),
    "Campaign": record(
        "A link of the organisation and where it leads.",
        {
            "campaign_id": text("Its id in the organisation."),
            "slug": text("The part of the link after `/in/`."),
            "name": text("For people."),
            "status": text("Where it stands; `archived` is for good.", **_STATUS),
            "destination_url": text("Where it sends, in normal form."),
            "parameter_policy": text(_POLICY_MEANING, **_POLICY),
            "fallback_url": text(_FALLBACK_MEANING),
            "action": nullable("Action", "What becomes of clicks that no rule matches; null: the fallback."),
            "rules": listing(ref("Rule"), "In the order in which they decide."),
            "paused_fallback": nullable("Fallback", "Where traffic goes while it is paused; null: a 404 page."),
            "expired_fallback": nullable("Fallback", "Where traffic goes outside the schedule; null: as while paused."),
            "over_cap_fallback": nullable("Fallback", "Where traffic goes over a cap; null: as while paused."),
            "schedule": nullable("Schedule", "When it runs; null: always."),
            "caps": listing(ref("Cap"), "What bounds it."),
            "priority": number("The higher wins where two campaigns claim the same event of history."),
            "retroactive": {
                "type": "boolean",
                "description": "It claims traffic of history, and what no link takes from then on.",
            },
            "operation_id": text("The work on history that its last claim, or its undo, is; empty: none yet."),
            "claim": nullable("CampaignClaim", "What it claims of history; null where it was never retroactive."),
            "version": number("Rises by one with every change, from 1. The `ETag` is the same in quotes.", minimum=1),
            "restored_version": {
                "type": ["integer", "null"],
                "description": "The version whose content this one has, where it was activated again.",
            },
            "create_time": instant("When it was created."),
            "update_time": instant("When it was changed last."),
            "tracking_urls": listing(
                {"type": "string"},
                "Its link under each tracking host, with the scheme and the port of this request. None when archived.",
            ),
        },
    ),
    "CampaignClaim": record(
        "What a campaign claims of the traffic that it did not route.",
        {
            "time_range": record(
                "When it was received.",
                {
                    "start": instant("First instant; null: any.", is_nullable=True),
                    "end": instant("First instant after it; null: none.", is_nullable=True),
                },
            ),
            "conflict_policy": text("Whose events it may take.", enum=["unattributed", "by_priority"]),
            "forward_start_time": instant("It claims what is received from then on too.", is_nullable=True),
            "is_withdrawn": {"type": "boolean", "description": "It was undone, and claims nothing."},
            "version": number("The campaign's version whose claim holds; 0: none."),
            "state": text(
                "`waiting`: kept, and offered to analytics_svc until it takes it. `taken`: `operation_id` says how far "
                "it is. `refused`: `error` says why.",
                enum=["waiting", "taken", "refused", "unknown"],
            ),
            "error": text("Why it was refused, or still waits; empty otherwise."),
        },
    ),
    "CampaignPage": page("campaigns", "Campaign", "A page of campaigns, newest first."),
    "NewCampaign": wish(
        "A campaign to be. `destination_url` (or `destination`), `action` or `rules` is required.",
        {
            "campaign_id": text("The wanted id: 1 to 64 of `A-Z a-z 0-9 _ -`. One is made where none is given."),
            **CHANGEABLE,
            **CLAIMABLE,
            "dry_run": {
                "type": "boolean",
                "description": "With `retroactive`: say what it would change, and make nothing.",
            },
            "status": text("`active` where none is given.", enum=["active", "paused"]),
        },
    )
    | {"anyOf": [{"required": [name]} for name in ("destination_url", "destination", "action", "rules")]},
    "CampaignChange": wish(
        "What is to be otherwise; what is left out stays.",
        {
            **CHANGEABLE,
            **CLAIMABLE,
            "status": text("`paused`, `active` again, or `archived` for good.", **_STATUS),
            "expected_version": number(
                "The version that you have seen: 409 when it is another by now.", minimum=1, maximum=2**32 - 1
            ),
        },
    ),
}
ID = path("campaign_id", "The campaign's id.", "summer_sale")

PATHS: Json = {
    "/api/v1/campaigns": {
        "get": api(
            "campaigns:read",
            "list_campaigns",
            TAG,
            "List campaigns",
            "Newest first. Without `status` all but the archived. A page has 50 where no size is given.",
            parameters=[
                *PAGING,
                query("status", {"type": "string", **_STATUS}, "Only those of this status."),
            ],
            answers={
                "200": json_answer("A page.", ref("CampaignPage"), {"campaigns": [EXAMPLE], "next_page_token": ""})
            },
        ),
        "post": api(
            "campaigns:write",
            "create_campaign",
            TAG,
            "Create a campaign",
            "It is live in every gateway within 2 seconds. With `retroactive` it claims history too: the work is the "
            "operation `operation_id`. With `dry_run` as well nothing is made, and the answer says what it would "
            "change.",
            body=json_body(
                ref("NewCampaign"),
                {"campaign_id": "winter_sale", "destination_url": "https://shop.acmecorp.com/winter-sale"},
            ),
            answers={
                "200": json_answer("With `dry_run`: what it would change.", ref("CampaignPreview"), PREVIEW_EXAMPLE),
                "201": json_answer("Created.", ref("Campaign"), EXAMPLE, "ETag", "Location"),
            },
            problems=("Conflict", "QueryLimit"),
        ),
    },
    "/api/v1/campaigns/{campaign_id}": {
        "get": api(
            "campaigns:read",
            "get_campaign",
            TAG,
            "Read a campaign",
            "Archived ones too.",
            parameters=[ID],
            answers={"200": json_answer("The campaign.", ref("Campaign"), EXAMPLE, "ETag")},
            problems=("NotFound",),
        ),
        "patch": api(
            "campaigns:write",
            "update_campaign",
            TAG,
            "Change a campaign",
            "Changes what is given; pauses, resumes or archives by `status`. The change is live in every gateway "
            "within 2 seconds. With `If-Match` or `expected_version` it happens only if nobody else changed it since.",
            parameters=[ID, header("If-Match", "The `ETag` that you have seen, or `*`.", example='"1"')],
            body=json_body(ref("CampaignChange"), {"status": "paused"}),
            answers={
                "200": json_answer(
                    "The campaign after it.", ref("Campaign"), {**EXAMPLE, "status": "paused", "version": 2}, "ETag"
                )
            },
            problems=("NotFound", "Conflict"),
        ),
    },
}
