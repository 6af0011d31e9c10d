"""Stored events and the ledger."""

from typing import Any

from ingress_gateway.openapi.parts import (
    PAGING,
    Json,
    answer,
    api,
    instant,
    json_answer,
    listing,
    number,
    page,
    path,
    query,
    record,
    ref,
    text,
)

TAG = "Events out"
_EVENT_ID = "01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e5f"
_ID = path("event_id", "The event's id, a UUID.", _EVENT_ID)
_TEXT: Json = {"type": "string"}


def _pairs(description: str) -> Json:
    pair = {"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2}
    return listing(pair, description)


_EVENT_FIELDS: Json = {
    "event_id": text("Our id of it, a UUID.", format="uuid"),
    "event_time": instant("When the gateway had the whole request, to the millisecond."),
    "event_type": text("What happened: `click`, `pixel`, `purchase`… The sender's own word where it gave one."),
    "route": text("What took it: `in`, `track`, `pixel`, `events`, `batch`, `postback` or `rpc`."),
    "click_id": text("Our click id; empty where it belongs to no click."),
    "external_click_id": text("The source's click id, case kept."),
    "campaign_id": text("The campaign that routed it; empty where none did."),
    "campaign_version": number("That campaign's version."),
    "rule_id": text("The campaign's rule that decided; empty where none did."),
    "destination_id": text("The destination that was chosen; empty for a fallback."),
    "tags": listing(_TEXT, "Tags of the action that was taken."),
    "user_id": text("The visitor: `usr_…` of the first-party cookie, or a daily hash where cookies are off."),
    "method": text("The HTTP method."),
    "url": text("The URL as it was asked for, not decoded. A secret key inside is cut out."),
    "headers": _pairs(
        "`[name, value]` in order, repeats and case kept. The values of credentials and cookies are cut out."
    ),
    "params": _pairs("`[name, value]` of the query, decoded, in order, repeats kept."),
    "ip": text("The client's address."),
    "user_agent": text("The `User-Agent` header."),
    "referer": text("The `Referer` header."),
    "status": number("The HTTP status that we answered with."),
    "outcome": text("`stored`: what is in the store is shown here.", enum=["stored"]),
    "location": text("Where we redirected to; empty where we did not."),
    "marks": listing(_TEXT, "What is odd about it, for example `unknown_slug`, `malformed_json`, `test`."),
    "key_id": text("The key that authenticated the sender; empty where the host named the organisation."),
    "partner_id": text("The partner whose token the sender had; empty where none was shown."),
    "network": text("That partner's label of its network, as it was then."),
    "idempotency_key": text("The sender's own id of it."),
    "item_index": number("Its position in the batch that brought it, from 0."),
    "trace_id": text("The W3C trace id; empty where there was none."),
}
_WHOLE_FIELDS: Json = {
    "scheme": text("`http` or `https`, as the client saw it."),
    "host": text("The `Host` header."),
    "http_version": text("The version of HTTP, `1.0` or `1.1`."),
    "peer_address": text("Address and port of the other end of the connection."),
    "target": text("The request target."),
    "body": text("The body after content decoding; in a batch, this item's bytes."),
    "target_base64": text("The target's bytes.", contentEncoding="base64"),
    "headers_base64": text("The header block's bytes.", contentEncoding="base64"),
    "body_base64": text("The body's bytes.", contentEncoding="base64"),
    "ingest_time": instant("When the store took it.", is_nullable=True),
}
_LOSSY_FIELDS: Json = {
    f"{name}_base64": text(f"The bytes of `{name}`; there only when they are not UTF-8.", contentEncoding="base64")
    for name in ("event_type", "external_click_id", "host", "location", "idempotency_key")
}

SCHEMAS: Json = {
    "Event": record("An event as lists show it. Bytes that are not UTF-8 appear as U+FFFD.", _EVENT_FIELDS),
    "WholeEvent": record(
        "An event with everything that arrived, its bytes in base64 too.",
        _EVENT_FIELDS | _WHOLE_FIELDS | _LOSSY_FIELDS,
        optional=tuple(_LOSSY_FIELDS),
    ),
    "EventPage": page("events", "Event", "A page of events, newest first."),
    "Ledger": record(
        "What became of every event since the beginning: received = stored + duplicates + quarantined + in_journal.",
        {
            "organization_id": text("Whose account it is."),
            "received": number("Events that we acknowledged, or answered a redirect for."),
            "stored": number("Events in the store."),
            "duplicates": number("Events that were there already under the same idempotency key."),
            "quarantined": number("Events kept aside with a reason."),
            "in_journal": number("Events on the disks of gateways, on their way."),
            "unaccounted": number("What is missing from the sum. Anything but 0 is a defect."),
            "as_of": instant("How old the oldest word is that this account rests on.", is_nullable=True),
        },
    ),
}
_EXAMPLE: dict[str, Any] = {
    "event_id": _EVENT_ID,
    "event_time": "2026-11-03T10:00:00.123Z",
    "event_type": "click",
    "route": "in",
    "click_id": "tc7Yw2mVbqk3NfLr8XzPaQ",
    "external_click_id": "fb_123abc",
    "campaign_id": "summer_sale",
    "campaign_version": 1,
    "rule_id": "",
    "destination_id": "d1",
    "tags": [],
    "user_id": "usr_7392011845566464000",
    "method": "GET",
    "url": "http://track.acmecorp.com/in/summer_sale?click_id=fb_123abc&source=facebook",
    "headers": [
        ["Host", "track.acmecorp.com"],
        ["User-Agent", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)"],
    ],
    "params": [["click_id", "fb_123abc"], ["source", "facebook"]],
    "ip": "198.51.100.42",
    "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)",
    "referer": "",
    "status": 302,
    "outcome": "stored",
    "location": "https://shop.acmecorp.com/summer-sale?click_id=fb_123abc&source=facebook",
    "marks": [],
    "key_id": "",
    "partner_id": "",
    "network": "",
    "idempotency_key": "",
    "item_index": 0,
    "trace_id": "",
}
_TARGET = "/in/summer_sale?click_id=fb_123abc&source=facebook"
_WHOLE_EXAMPLE = _EXAMPLE | {
    "scheme": "http",
    "host": "track.acmecorp.com",
    "http_version": "1.1",
    "peer_address": "198.51.100.42:53211",
    "target": _TARGET,
    "body": "",
    "target_base64": "L2luL3N1bW1lcl9zYWxlP2NsaWNrX2lkPWZiXzEyM2FiYyZzb3VyY2U9ZmFjZWJvb2s=",
    "headers_base64": "SG9zdDogdHJhY2suYWNtZWNvcnAuY29tDQo…",
    "body_base64": "",
    "ingest_time": "2026-11-03T10:00:00.480Z",
}

PATHS: Json = {
    "/api/v1/events": {
        "get": api(
            "traffic:read",
            "list_events",
            TAG,
            "Find events",
            "Newest first, at most 50 a page where no size is given. Filters are combined: an event shows when it "
            "passes all of them. Events are there within 2 seconds of their click.",
            parameters=[
                *PAGING,
                query("start_time", {"type": "string", "format": "date-time"}, "Received at or after this instant."),
                query("end_time", {"type": "string", "format": "date-time"}, "Received before this instant."),
                query("event_type", _TEXT, "Exactly this type."),
                query("click_id", _TEXT, "Exactly this click id, ours or the source's.", example="fb_123abc"),
                query("campaign_id", _TEXT, "Exactly this campaign."),
                query("user_id", _TEXT, "Exactly this visitor."),
                query("mark", _TEXT, "With this mark, for example `unknown_slug`."),
            ],
            answers={"200": json_answer("A page.", ref("EventPage"), {"events": [_EXAMPLE], "next_page_token": ""})},
        )
    },
    "/api/v1/events/{event_id}": {
        "get": api(
            "traffic:read",
            "get_event",
            TAG,
            "Read an event",
            "Everything about one event, the whole request included.",
            parameters=[_ID],
            answers={"200": json_answer("The event.", ref("WholeEvent"), _WHOLE_EXAMPLE)},
            problems=("NotFound",),
        )
    },
    "/api/v1/events/{event_id}/raw": {
        "get": api(
            "traffic:read",
            "get_raw_event",
            TAG,
            "Read an event's bytes",
            "The request as it came: request line, header block, empty line, body. The body is what content decoding "
            "made of it, and in a batch this item alone, so `Content-Encoding` and `Content-Length` may speak of other "
            "bytes. The values of credentials and cookies were cut out on arrival.",
            parameters=[_ID],
            answers={
                "200": answer(
                    "The bytes.",
                    {"message/http": {"schema": {"type": "string", "contentMediaType": "message/http"}}},
                    "Content-Disposition",
                )
            },
            problems=("NotFound",),
        )
    },
    "/api/v1/ledger": {
        "get": api(
            "traffic:read",
            "get_ledger",
            TAG,
            "Account for every event",
            "What became of everything that the organisation ever sent.",
            answers={
                "200": json_answer(
                    "The account.",
                    ref("Ledger"),
                    {
                        "organization_id": "org_acmecorp",
                        "received": 1200,
                        "stored": 1190,
                        "duplicates": 6,
                        "quarantined": 1,
                        "in_journal": 3,
                        "unaccounted": 0,
                        "as_of": "2026-11-03T10:00:00.500Z",
                    },
                )
            },
        )
    },
}
