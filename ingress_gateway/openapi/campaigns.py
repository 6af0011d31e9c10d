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
_POLICY = {"enum": ["merge", "none"]}
_SLUG_FORM = "1 to 128 of `A-Z a-z 0-9 _ - . ~`; case counts"
_URL_FORM = "an absolute http or https URL of at most 4,096 characters"
_POLICY_MEANING = (
    "Which incoming parameters go along: `merge` all, where the destination's own win; `none` nothing but our click id."
)
_FALLBACK_MEANING = "Where traffic goes while the campaign is paused; empty: a 404 page."

_EXAMPLE: Json = {
    "campaign_id": "summer_sale",
    "slug": "summer_sale",
    "name": "Summer sale",
    "status": "active",
    "destination_url": "https://shop.acmecorp.com/summer-sale",
    "parameter_policy": "merge",
    "fallback_url": "",
    "version": 1,
    "create_time": "2026-11-03T10:00:00.123456Z",
    "update_time": "2026-11-03T10:00:00.123456Z",
    "tracking_urls": ["https://track.acmecorp.com/in/summer_sale"],
}
_CHANGEABLE: Json = {
    "slug": text(f"The part of the link after `/in/`: {_SLUG_FORM}. Unique among campaigns that are not archived."),
    "name": text("For people, 1 to 200 characters."),
    "destination_url": text(f"Where the campaign sends: {_URL_FORM}."),
    "destination": text("Another name for `destination_url`; give one of them."),
    "parameter_policy": text(_POLICY_MEANING, **_POLICY),
    "fallback_url": text(_FALLBACK_MEANING),
}

SCHEMAS: Json = {
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
            "version": number("Rises by one with every change, from 1. The `ETag` is the same in quotes.", minimum=1),
            "create_time": instant("When it was created."),
            "update_time": instant("When it was changed last."),
            "tracking_urls": listing(
                {"type": "string"},
                "Its link under each tracking host, with the scheme and the port of this request. None when archived.",
            ),
        },
    ),
    "CampaignPage": page("campaigns", "Campaign", "A page of campaigns, newest first."),
    "NewCampaign": wish(
        "A campaign to be. `destination_url` (or `destination`) is required.",
        {
            "campaign_id": text("The wanted id: 1 to 64 of `A-Z a-z 0-9 _ -`. One is made where none is given."),
            **_CHANGEABLE,
            "status": text("`active` where none is given.", enum=["active", "paused"]),
        },
    )
    | {"anyOf": [{"required": ["destination_url"]}, {"required": ["destination"]}]},
    "CampaignChange": wish(
        "What is to be otherwise; what is left out stays.",
        {
            **_CHANGEABLE,
            "status": text("`paused`, `active` again, or `archived` for good.", **_STATUS),
            "expected_version": number(
                "The version that you have seen: 409 when it is another by now.", minimum=1, maximum=2**32 - 1
            ),
        },
    ),
}
_ID = path("campaign_id", "The campaign's id.", "summer_sale")

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
                "200": json_answer("A page.", ref("CampaignPage"), {"campaigns": [_EXAMPLE], "next_page_token": ""})
            },
        ),
        "post": api(
            "campaigns:write",
            "create_campaign",
            TAG,
            "Create a campaign",
            "It is live in every gateway within 2 seconds.",
            body=json_body(
                ref("NewCampaign"),
                {"campaign_id": "winter_sale", "destination_url": "https://shop.acmecorp.com/winter-sale"},
            ),
            answers={"201": json_answer("Created.", ref("Campaign"), _EXAMPLE, "ETag", "Location")},
            problems=("Conflict",),
        ),
    },
    "/api/v1/campaigns/{campaign_id}": {
        "get": api(
            "campaigns:read",
            "get_campaign",
            TAG,
            "Read a campaign",
            "Archived ones too.",
            parameters=[_ID],
            answers={"200": json_answer("The campaign.", ref("Campaign"), _EXAMPLE, "ETag")},
            problems=("NotFound",),
        ),
        "patch": api(
            "campaigns:write",
            "update_campaign",
            TAG,
            "Change a campaign",
            "Changes what is given; pauses, resumes or archives by `status`. The change is live in every gateway "
            "within 2 seconds. With `If-Match` or `expected_version` it happens only if nobody else changed it since.",
            parameters=[_ID, header("If-Match", "The `ETag` that you have seen, or `*`.", example='"1"')],
            body=json_body(ref("CampaignChange"), {"status": "paused"}),
            answers={
                "200": json_answer(
                    "The campaign after it.", ref("Campaign"), {**_EXAMPLE, "status": "paused", "version": 2}, "ETag"
                )
            },
            problems=("NotFound", "Conflict"),
        ),
    },
}
