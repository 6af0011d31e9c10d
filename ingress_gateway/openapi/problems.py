"""Errors as the document describes them: one response for each status, its reasons named and shown."""

from http import HTTPStatus

from ingress_gateway.openapi.parts import PROBLEM_TYPE, Json, listing, number, record, ref, text

VIOLATION = record(
    "One thing that is wrong with a request.",
    {
        "field": text("Its name: a parameter, a member of the body, a header, or `body`."),
        "description": text("What is wrong with it, with the value and the limit."),
    },
)
PROBLEM = record(
    "An error (RFC 9457). Switch on `reason`; the texts are for people and may change.",
    {
        "type": text("A URN of the reason.", format="uri"),
        "title": text("The status in words."),
        "status": number("The HTTP status."),
        "reason": text("What happened, in one word of a closed set."),
        "detail": text("What happened, with the value and the limit."),
        "violations": listing(ref("Violation"), "Everything that is wrong with the request, at once."),
        "event_id": text("The event that kept the request all the same."),
    },
    optional=("violations", "event_id"),
)
_KEY_REASONS = {
    "KEY_MALFORMED": "the key is mistyped or cut: its check digits do not fit",
    "KEY_UNKNOWN": "no such key",
    "KEY_REVOKED": "the key was revoked",
    "KEY_EXPIRED": "the key is past its expiry",
}


def _example(status: int, reason: str, detail: str) -> Json:
    body: Json = {
        "type": f"urn:trellis:error:{reason.lower().replace('_', '-')}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "reason": reason,
        "detail": detail,
    }
    if reason == "INVALID_ARGUMENT":
        field, _, description = detail.partition(": ")
        body["violations"] = [{"field": field, "description": description}]
    return body


def _response(status: int, description: str, reasons: dict[str, str], *headers: str) -> Json:
    schema = {
        "allOf": [
            ref("Problem"),
            {"properties": {"status": {"const": status}, "reason": {"enum": list(reasons)}}},
        ]
    }
    examples = {reason: {"value": _example(status, reason, detail)} for reason, detail in reasons.items()}
    response: Json = {
        "description": f"{description} Reasons: {', '.join(f'`{reason}`' for reason in reasons)}.",
        "content": {PROBLEM_TYPE: {"schema": schema, "examples": examples}},
    }
    if headers:
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return response


RESPONSES: Json = {
    "BadRequest": _response(
        400,
        "Something about the request is wrong; each thing is named in `violations`.",
        {"INVALID_ARGUMENT": "page_size: is 5000, must be a whole number from 1 to 1000"},
    ),
    "SqlRefused": _response(
        400,
        "The statement is not allowed, or the engine cannot run it as it is: the text says why, where, and what is "
        "allowed. Or something else about the request is wrong.",
        {
            "SQL_REFUSED": "there is no column clickid (line 1, column 8); did you mean click_id?",
            "INVALID_ARGUMENT": "sql: is required",
        },
    ),
    "Unauthenticated": _response(
        401,
        "The call does not say whose it is.",
        {"CREDENTIAL_MISSING": "send `Authorization: Bearer <secret key>`", **_KEY_REASONS},
        "WWW-Authenticate",
    ),
    "UnknownSender": _response(
        401,
        "Neither the host nor a key names an organisation. The request is kept aside all the same, for the operator.",
        {"ORGANIZATION_UNKNOWN": "neither the host nor a key names an organisation", **_KEY_REASONS},
        "WWW-Authenticate",
    ),
    "UnknownPartner": _response(
        401,
        "Neither the host nor a key or token names an organisation; the request is kept aside for the operator. Or a "
        "partner's request is not signed as it should be; it is stored under `event_id`, and no conversion.",
        {
            "ORGANIZATION_UNKNOWN": "neither the host nor a key names an organisation",
            **_KEY_REASONS,
            "SIGNATURE_INVALID": "webhook-timestamp is more than 300 s from our clock",
        },
        "WWW-Authenticate",
    ),
    "PartnerRefused": _response(
        403,
        "The key or the partner is known and may not send conversions. A partner's request is stored under `event_id`, "
        "and no conversion.",
        {
            "SCOPE_MISSING": "this needs the scope `traffic:write`",
            "SENDER_REFUSED": "the partner may not send from this address",
        },
    ),
    "Forbidden": _response(
        403,
        "The key is known and may not do this.",
        {
            "SCOPE_MISSING": "this needs the scope `campaigns:write`",
            "ORGANIZATION_SUSPENDED": "the organisation is suspended",
        },
    ),
    "SenderForbidden": _response(
        403, "The key is known and may not send events.", {"SCOPE_MISSING": "this needs the scope `traffic:write`"}
    ),
    "NotFound": _response(
        404,
        "Nothing of that name in the key's organisation, whoever else may have one.",
        {"NOT_FOUND": "no campaign 'summer_sale'"},
    ),
    "NotAcceptable": _response(
        406,
        "`Accept` takes none of the media types that there are.",
        {"NOT_ACCEPTABLE": "Accept names none of application/json, text/csv"},
    ),
    "Conflict": _response(
        409,
        "The name is taken, or the state does not allow it.",
        {
            "ALREADY_EXISTS": "a campaign has the slug summer_sale already",
            "FAILED_PRECONDITION": "campaign summer_sale has version 4, not 3",
        },
    ),
    "TooLarge": _response(
        413, "The request is larger than a limit.", {"TOO_LARGE": "the body has 70000 bytes; the limit is 65536"}
    ),
    "EncodingUnsupported": _response(
        415,
        "The content encoding is none of gzip, deflate, br and zstd, or the bytes are not of it.",
        {"ENCODING_UNSUPPORTED": "the body is not gzip"},
    ),
    "QueryLimit": _response(
        422,
        "The question would use more than it may. To ask the same again does not help.",
        {"QUERY_LIMIT": "the query ran longer than it may: ask for a shorter time range, a narrower filter"},
    ),
    "RateLimited": _response(
        429,
        "More than the organisation may do at once. Wait.",
        {"RATE_LIMITED": "the organisation has 20 streams open here, the limit"},
        "Retry-After",
    ),
    "Unavailable": _response(
        503,
        "A service or its store cannot be reached now. Try again.",
        {"UNAVAILABLE": "the service is not reachable"},
        "Retry-After",
    ),
    "JournalFull": _response(
        503,
        "The event cannot be kept now: the disk is full or fails. Send it again.",
        {"JOURNAL_FULL": "the journal's disk does not take writes"},
        "Retry-After",
    ),
    "DeadlineExceeded": _response(
        504,
        "A service did not answer in time. What was asked for may still have happened.",
        {"DEADLINE_EXCEEDED": "the service behind this call did not answer within 10 s"},
    ),
    "BodyTooSlow": _response(
        504,
        "The body came too slowly.",
        {"DEADLINE_EXCEEDED": "1024 bytes of the body came in 16 s; the slowest pace is 4096 bytes/s after 15 s"},
    ),
    "Problem": {
        "description": "Any other error: `METHOD_NOT_ALLOWED` (405, with `Allow`), `INTERNAL` (500).",
        "content": {
            PROBLEM_TYPE: {
                "schema": ref("Problem"),
                "example": _example(500, "INTERNAL", "an unexpected error; its details are in the log"),
            }
        },
    },
}
