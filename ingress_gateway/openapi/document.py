"""The whole document."""

from ingress_gateway.openapi import (
    about,
    access,
    analytics,
    analytics_explain,
    attribution,
    campaign_explain,
    campaign_history,
    campaigns,
    capture,
    conversion_rules,
    conversions,
    experiments,
    identity,
    mappings,
    partners,
    postbacks,
    problems,
    stored_events,
    uploads,
    webhooks,
)
from ingress_gateway.openapi import query as sql
from ingress_gateway.openapi.parts import Json, query

_DESCRIPTION = """\
Trellis captures every click, pixel and postback, redirects people in milliseconds, and lets you give that traffic a
meaning afterwards.

**Two kinds of routes.** *Capture* routes take traffic from anyone: the tracking host of the request, or a publishable
key (`wdn_pk_…`), says whose it is, and nothing is refused for being unknown or malformed. *Management and query* routes
under `/api/v1` take a secret key (`wdn_sk_…`) in `Authorization: Bearer …`; the key says which organisation, and no
parameter can.

**Acknowledged is durable.** A 2xx, a pixel or a redirect leaves only after the event is on disk. One exception: a disk
that is slow keeps nobody who follows a link waiting for more than 20 ms.

**Errors** are `application/problem+json`. Switch on `reason`, a closed set; everything that is wrong with a request is
in `violations`, at once. What belongs to another organisation is 404, like what does not exist.

**Lists** come in pages: give the `next_page_token` of one as the `page_token` of the next, with the same filters, until
it is empty. **Times** are RFC 3339 in UTC. Unknown parameters and fields are refused by name, so a typo is never a
silently wider list.
"""
_TAGS = {
    capture.LINKS: "What people and their browsers touch.",
    capture.EVENTS: "What programs send: events, batches and postbacks.",
    campaigns.TAG: "Links and where they lead.",
    conversions.TAG: "What partners and pages reported, made one of each order.",
    stored_events.TAG: "What was captured, found again, and the account of it.",
    analytics.TAG: "What it means: reports, funnels, journeys, and the last hour.",
    identity.TAG: "Which visitors are one person, why, and taking it back.",
    sql.TAG: "Any other question, in ClickHouse's SQL.",
    mappings.TAG: "What the parameters of your senders mean, over history too.",
    partners.TAG: "Who may send conversions, by a token of their own.",
    webhooks.TAG: "Who is told of conversions, and what they answered.",
    access.KEYS: "Who may do what.",
    access.DOMAINS: "Hosts under which links and pixels live.",
    access.ROLES: "Names for sets of scopes.",
    access.AUDIT: "Who did what.",
    about.TAG: "Health, numbers and this description.",
}
_HEADERS = {
    "X-Trellis-Event-Id": "Our id of the event.",
    "X-Trellis-Outcome": "`stored`; `late`: the disk kept a redirect waiting, and the write goes on; `unclaimed`: "
    "nobody knows whose it is; `unrecorded`: the disk takes nothing.",
    "X-Trellis-Reason": "Why the key was refused; there only then.",
    "Location": "Where to go, or where the new thing is.",
    "Set-Cookie": "The visitor's first-party cookie `_tl_v`, when it is new. None for who asks not to be tracked.",
    "ETag": "The version in quotes, for `If-Match`.",
    "Retry-After": "Seconds to wait before the next try.",
    "WWW-Authenticate": "How to say who you are.",
    "X-Trellis-Query-Id": "Id of the query, for support.",
    "X-Trellis-Watermark": "Everything received before this instant is in the answer; left out where nothing is known.",
    "Content-Disposition": "A file name to save it under.",
}


def openapi_document() -> Json:
    """Return the OpenAPI document of the gateway."""
    groups = (
        *(
            capture,
            postbacks,
            campaigns,
            campaign_history,
            campaign_explain,
            experiments,
            conversions,
            experiments,
            uploads,
            conversion_rules,
            stored_events,
            analytics,
            analytics_explain,
            attribution,
            identity,
            sql,
            mappings,
        ),
        *(partners, webhooks, access, about),
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Trellis",
            "version": "1",
            "summary": "Capture traffic first, understand it later.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This gateway."}],
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": {path: item for group in groups for path, item in group.PATHS.items()},
        "components": {
            "schemas": {
                "Problem": problems.PROBLEM,
                "Violation": problems.VIOLATION,
                **{name: schema for group in groups for name, schema in group.SCHEMAS.items()},
            },
            "responses": problems.RESPONSES,
            "parameters": {
                "page_size": query(
                    "page_size", {"type": "integer", "minimum": 1, "maximum": 1000}, "How many are wanted.", example=10
                ),
                "page_token": query(
                    "page_token",
                    {"type": "string"},
                    "The `next_page_token` of the page before; empty or left out for the first page.",
                ),
                **analytics.PARAMETERS,
            },
            "headers": {
                name: {"description": description, "schema": {"type": "string"}}
                for name, description in _HEADERS.items()
            },
            "securitySchemes": {
                "secret_key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A secret key, `wdn_sk_…`. What it may do, its scopes say; each call names the one "
                    "that it needs.",
                },
                "publishable_key": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "k",
                    "description": "A publishable key, `wdn_pk_…`. It may be seen by anyone and only sends events. Not "
                    "needed under a tracking host.",
                },
                "write_key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Write-Key",
                    "description": "The same as a header.",
                },
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The same as the user name, with no password.",
                },
            },
        },
    }
