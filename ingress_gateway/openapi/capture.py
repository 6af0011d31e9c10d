"""Capture: links, pixels and events. Open to anyone; the host or a publishable key says whose traffic it is."""

from typing import Any

from ingress_gateway.openapi.parts import (
    CAPTURE_PROBLEMS,
    Json,
    answer,
    header,
    json_answer,
    listing,
    number,
    operation,
    path,
    query,
    record,
    ref,
    text,
)

LINKS = "Links and pixels"
EVENTS = "Events in"
_SECURITY: list[Json] = [
    {},
    {"publishable_key": []},
    {"write_key": []},
    {"basic": []},
    {"secret_key": ["traffic:write"]},
]
TEXT: Json = {"type": "string"}
EVENT_ID = "01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e5f"
STORED = ("X-Trellis-Event-Id", "X-Trellis-Outcome")

SCHEMAS: Json = {
    "Recorded": record(
        "An event that is on disk.",
        {
            "event_id": text("Our id of the event, a UUID.", format="uuid"),
            "outcome": text("What became of it.", enum=["stored"]),
            "marks": listing(TEXT, "What is odd about it, for example `malformed_json`; it is stored all the same."),
        },
        optional=("marks",),
    ),
    "BatchOutcome": record(
        "What became of a batch.",
        {
            "received": number("Items found in the body."),
            "stored": number("Items that are on disk."),
            "refused": number("Items that are too large; only these are worth changing and sending again."),
            "marked": number("Stored items with a mark."),
            "items": listing(ref("ItemOutcome"), "One for each item, in the order of the body."),
        },
    ),
    "ItemOutcome": record(
        "What became of one item of a batch.",
        {
            "index": number("Its position in the body, from 0."),
            "event_id": text("Our id of the event; not there when it was refused.", format="uuid"),
            "outcome": text("What became of it.", enum=["stored", "refused"]),
            "marks": listing(TEXT, "What is odd about it."),
            "reason": text("Why it was refused.", enum=["TOO_LARGE"]),
            "detail": text("The same in words, with the limit."),
        },
        optional=("event_id", "marks", "reason", "detail"),
    ),
}

KEY = query("k", TEXT, "A publishable key; `key`, `write_key` and `api_key` are read too.")
CLICK_ID = query(
    "click_id",
    TEXT,
    "The source's own click id. Also read from `gclid`, `fbclid`, `ttclid`, `msclkid`, `subid` and some thirty other "
    "names; a macro that nobody replaced (`{clickid}`) is no id.",
    example="fb_123abc",
)
ANY_PARAMETER: Json = {
    "name": "any_other",
    "in": "query",
    "description": "Any other parameters: kept in order, repeats and bytes as they come.",
    "schema": {"type": "object", "additionalProperties": TEXT},
    "example": {"source": "facebook", "medium": "cpc"},
}
IDEMPOTENCY_HEADER = header(
    "Idempotency-Key",
    "The sender's own id of the request, at most 256 bytes: sent again under it, an event is stored once.",
)
_SLUG = path("slug", "The campaign's slug; case counts.", "summer_sale")
GIF: Json = {"image/gif": {"schema": {"type": "string", "contentMediaType": "image/gif"}}}
JSON_BODY: Json = {
    "description": "Any bytes; JSON is looked into. What cannot be read is stored as its bytes, with a mark. At most "
    "1 MiB after decoding; gzip, deflate, br and zstd are decoded.",
    "required": False,
}


def capture(
    operation_id: str, tag: str, summary: str, description: str, answers: Json, problems: tuple[str, ...], **more: Any
) -> Json:
    return operation(
        operation_id, tag, summary, description, security=_SECURITY, answers=answers, problems=problems, **more
    )


def _click(operation_id: str, summary: str, parameters: list[Json], description: str) -> Json:
    return capture(
        operation_id,
        LINKS,
        summary,
        description,
        {
            "302": answer(
                "Go on to the campaign's destination.", {}, "Location", *STORED, "Set-Cookie",
            ),
            "404": answer(
                "The link leads nowhere: no such slug, or a paused campaign without a fallback. The request is kept.",
                {"text/html": {"schema": TEXT}},
                *STORED,
            ),
        },
        (),
        parameters=parameters,
    )  # fmt: skip


def _pixel(operation_id: str, summary: str) -> Json:
    return capture(
        operation_id,
        LINKS,
        summary,
        "Records the view and answers a transparent image of 43 bytes, whatever happens: `X-Trellis-Outcome` says "
        "whether it was stored.",
        {"200": answer("The image.", GIF, *STORED, "X-Trellis-Reason", "Set-Cookie")},
        (),
        parameters=[
            query("event", TEXT, "What happened; also `event_type`, `type` or `e`. `pixel` without one."),
            CLICK_ID,
            query("idempotency_key", TEXT, "The sender's own id of the view: sent again, it is stored once."),
            KEY,
            ANY_PARAMETER,
        ],
    )


def _track(operation_id: str, summary: str) -> Json:
    return capture(
        operation_id,
        LINKS,
        summary,
        "Like the pixel. With `Accept: application/json` the answer is JSON, and errors are told.",
        {
            "200": json_answer(
                "Recorded.", ref("Recorded"), {"event_id": EVENT_ID, "outcome": "stored"}, *STORED, "Set-Cookie"
            )
            | {
                "content": GIF
                | {
                    "application/json": {
                        "schema": ref("Recorded"),
                        "example": {"event_id": EVENT_ID, "outcome": "stored"},
                    }
                }
            }
        },
        (*CAPTURE_PROBLEMS, "TooLarge", "EncodingUnsupported", "BodyTooSlow"),
        parameters=[
            query("event", TEXT, "What happened; also `event_type`, `type` or `e`. `track` without one."),
            CLICK_ID,
            query("idempotency_key", TEXT, "The sender's own id of the event: sent again, it is stored once."),
            KEY,
            ANY_PARAMETER,
        ],
    )


EVENT_EXAMPLE = {"event": "purchase", "click_id": "fb_123abc", "value": 99.99, "currency": "USD"}

PATHS: Json = {
    "/in/{slug}": {
        "get": _click(
            "follow_link",
            "Follow a link",
            [_SLUG, CLICK_ID, ANY_PARAMETER, KEY],
            "Records the click and redirects to the campaign's destination, with all incoming parameters as its policy "
            "says. Where no `click_id` came, ours goes along. The event is on disk before the answer leaves, but a "
            "slow disk keeps nobody for more than 20 ms. Any method will do.",
        )
    },
    "/in": {
        "get": _click(
            "follow_link_by_parameter",
            "Follow a link named by a parameter",
            [
                query("slug", TEXT, "The campaign's slug; also `campaign_id`.", example="summer_sale"),
                CLICK_ID,
                ANY_PARAMETER,
                KEY,
            ],
            "The same for links whose path cannot vary: the slug is a parameter. A click that names no link of yours "
            "goes by the rules of your retroactive campaigns, if one matches.",
        )
    },
    "/pixel": {"get": _pixel("load_pixel", "Load a pixel"), "post": _pixel("send_beacon", "Send a beacon")},
    "/pixel.gif": {
        "get": _pixel("load_pixel_gif", "Load a pixel by its file name"),
        "post": _pixel("send_beacon_gif", "Send a beacon to its file name"),
    },
    "/track": {
        "get": _track("track", "Record an event by parameters"),
        "post": _track("track_by_post", "Record an event by parameters and body"),
    },
    "/events": {
        "post": capture(
            "send_event",
            EVENTS,
            "Send an event",
            "Stores one event. It is on disk when the answer comes. Nothing is refused for being unknown or malformed: "
            "it is stored as its bytes and marked.",
            {"200": json_answer("On disk.", ref("Recorded"), {"event_id": EVENT_ID, "outcome": "stored"}, *STORED)},
            (*CAPTURE_PROBLEMS, "TooLarge", "EncodingUnsupported", "BodyTooSlow"),
            parameters=[KEY, IDEMPOTENCY_HEADER],
            body=JSON_BODY
            | {
                "content": {
                    "application/json": {
                        "schema": {
                            "description": "Any JSON. Read from an object: `event` (or `event_type`, `type`, `name`), "
                            "`idempotency_key` (or `event_id`, `messageId`), `write_key` and the names of click ids."
                        },
                        "example": EVENT_EXAMPLE,
                    }
                }
            },
        )
    },
    "/batch": {
        "post": capture(
            "send_batch",
            EVENTS,
            "Send many events",
            "Stores up to 10,000 events, each as its own bytes and with its own outcome. All stored ones are on disk "
            "when the answer comes.",
            {
                "200": json_answer(
                    "Each item's outcome.",
                    ref("BatchOutcome"),
                    {
                        "received": 2,
                        "stored": 2,
                        "refused": 0,
                        "marked": 1,
                        "items": [
                            {"index": 0, "event_id": EVENT_ID, "outcome": "stored"},
                            {
                                "index": 1,
                                "event_id": "01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e60",
                                "outcome": "stored",
                                "marks": ["not_an_object"],
                            },
                        ],
                    },
                    "X-Trellis-Outcome",
                )
            },
            (*CAPTURE_PROBLEMS, "TooLarge", "EncodingUnsupported", "BodyTooSlow"),
            parameters=[KEY, IDEMPOTENCY_HEADER],
            body={
                "description": "An array, an object with `events`, `batch` or `data`, or lines of JSON. At most 16 MiB "
                "after decoding, 1 MiB an item.",
                "required": False,
                "content": {
                    "application/json": {"schema": {"type": ["array", "object"]}, "example": [EVENT_EXAMPLE]},
                    "application/x-ndjson": {"schema": {"type": "string"}},
                },
            },
        )
    },
}
