"""Who is one person."""

from ingress_gateway.openapi.parts import (
    Json,
    api,
    instant,
    json_answer,
    json_body,
    listing,
    number,
    path,
    query,
    record,
    ref,
    text,
    wish,
)
from ingress_gateway.routes.identity import KINDS

TAG = "Identity"
_TEXT: Json = {"type": "string"}
_EDGE_ID = "edg_bG9naW5fYWI2YzQ0NiB2aXNpdG9yX3Vzcl83MDEyMzQ1Njc4"
_VALUE_ID = "val_bG9naW5fYWI2YzQ0NmJhNWVmYzBjNA"
_END_EXAMPLE: Json = {"kind": "login", "value": "ab6c446ba5efc0c4e226b4f95666a0a1", "value_id": _VALUE_ID}
_VISITOR_EXAMPLE: Json = {
    "kind": "visitor",
    "value": "usr_7012345678",
    "value_id": "val_dmlzaXRvcl91c3JfNzAxMjM0NTY3OA",
}
_MEMBERS_EXAMPLE: Json = {
    "person_id": "psn_dmlzaXRvcl91c3JfNzAxMjM0NTY3OA",
    "user_ids": ["usr_7012345678", "usr_7099999999"],
    "ends": [_END_EXAMPLE],
    "is_melted": False,
}
_END_FIELDS: Json = {
    "kind": text("What it is.", enum=list(KINDS)),
    "value": text("Of a visitor or an event its id, else a keyed hash: never what was sent."),
    "value_id": text("Its id, to revoke it with all of its edges."),
}
_MEMBERS: Json = {
    "person_id": text("Its id. It may change when the person grows or is split; a former id still finds it."),
    "user_ids": listing(_TEXT, "Its visitors."),
    "ends": listing(ref("IdentityEnd"), "Its logins, addresses, orders, clicks, and conversions without a visitor."),
    "is_melted": {
        "type": "boolean",
        "description": "True: more than 1,000 visitors or 5,000 ends hang together, which is nobody; it stands alone.",
    },
}
SCHEMAS: Json = {
    "IdentityEnd": record("One end of an edge.", _END_FIELDS),
    "Person": record(
        "Visitors that are one.",
        {
            **_MEMBERS,
            "edges": listing(
                record(
                    "Two ends that one event named.",
                    {
                        "edge_id": text("Its id: the same after the reading was made again."),
                        "ends": listing(ref("IdentityEnd"), "Both."),
                        "first_time": instant("When the first event that named both was received."),
                        "last_time": instant("When the last was."),
                        "event_id": text("The first of them: the evidence."),
                        "is_active": {"type": "boolean", "description": "It joins its ends."},
                        "is_revoked": {"type": "boolean", "description": "Somebody revoked it, or one of its ends."},
                        "is_suspicious": {"type": "boolean", "description": "One of its ends is suspicious."},
                        "edition": text("Which rules and key made it."),
                    },
                ),
                "At its ends, also those that join nothing.",
            ),
            "devices": listing(
                record(
                    "What a visitor used last.",
                    {
                        "user_id": text("The visitor."),
                        "device_type": text("`desktop`, `mobile`…"),
                        "os": text("Operating system."),
                        "browser": text("Browser."),
                        "first_time": instant("First event."),
                        "last_time": instant("Last event."),
                        "event_count": number("Events."),
                    },
                ),
                "By visitor.",
            ),
        },
    ),
    "PersonMembers": record("A person without its edges.", _MEMBERS),
    "SuspiciousValues": record(
        "Values that join nobody.",
        {
            "values": listing(
                record(
                    "A value with more neighbours than one person can have.",
                    {
                        **_END_FIELDS,
                        "neighbour_kind": text("What it has too many of.", enum=list(KINDS)),
                        "neighbour_count": number("How many."),
                        "first_time": instant("When it was first seen."),
                        "last_time": instant("When it was last seen."),
                        "event_id": text("An event that named it."),
                    },
                ),
                "Most neighbours first.",
            ),
            "limit": number("More neighbours of one kind than this are too many."),
        },
    ),
    "IdentityDecision": record(
        "What somebody said about an edge or a value.",
        {
            "id": text("What it is about."),
            "revision": number("Rises with each decision on it, from 1; 0: nobody decided anything."),
            "is_revoked": {"type": "boolean", "description": "True: revoked."},
            "actor": text("Who decided."),
            "decide_time": instant("When; null: nobody decided anything.", is_nullable=True),
        },
    ),
    "IdentityPreview": record(
        "What revoking would change.",
        {
            "before": listing(ref("PersonMembers"), "The persons as they are."),
            "after": listing(ref("PersonMembers"), "What they would be."),
            "conversion_count": number("Conversions of persons that would be others: their journeys change."),
        },
    ),
    "Revocation": wish(
        "How to revoke.",
        {"dry_run": {"type": "boolean", "description": "True: say what it would change, and change nothing."}},
    ),
}
_PERSON_EXAMPLE: Json = {
    **_MEMBERS_EXAMPLE,
    "edges": [
        {
            "edge_id": _EDGE_ID,
            "ends": [_END_EXAMPLE, _VISITOR_EXAMPLE],
            "first_time": "2026-06-01T10:15:00Z",
            "last_time": "2026-06-05T19:55:00Z",
            "event_id": "0197e3f2-7a70-7d1c-8a53-1f6b2c9d4e5f",
            "is_active": True,
            "is_revoked": False,
            "is_suspicious": False,
            "edition": "1-69d92652",
        }
    ],
    "devices": [
        {
            "user_id": "usr_7012345678",
            "device_type": "mobile",
            "os": "iOS",
            "browser": "Mobile Safari",
            "first_time": "2026-06-01T10:15:00Z",
            "last_time": "2026-06-05T19:55:00Z",
            "event_count": 12,
        }
    ],
}
_DECISION_EXAMPLE: Json = {
    "id": _EDGE_ID,
    "revision": 1,
    "is_revoked": True,
    "actor": "key:7hGtR2mVbqk3NfLr8XzPaQ",
    "decide_time": "2026-11-03T10:00:00Z",
}
_SUSPICIOUS_EXAMPLE: Json = {
    "values": [
        {
            **_END_EXAMPLE,
            "neighbour_kind": "visitor",
            "neighbour_count": 412,
            "first_time": "2026-06-01T10:15:00Z",
            "last_time": "2026-06-05T19:55:00Z",
            "event_id": "0197e3f2-7a70-7d1c-8a53-1f6b2c9d4e5f",
        }
    ],
    "limit": 50,
}


def _revoke(noun: str, parameter: Json) -> Json:
    return {
        "post": api(
            "analytics:write",
            f"revoke_identity_{noun}",
            TAG,
            f"Revoke {'an edge' if noun == 'edge' else 'a value with all of its edges'}",
            "From now on persons are as if it had never been there; what was before can be asked with `as_of`. Can be "
            "restored. With `dry_run` nothing is changed: the answer says what would be; that asks for the scope "
            "`analytics:read` too. Idempotent.",
            parameters=[parameter],
            body=json_body(ref("Revocation"), {"dry_run": False}, is_required=False),
            answers={
                "200": json_answer(
                    "What holds now; with `dry_run` what would change.",
                    {"oneOf": [ref("IdentityDecision"), ref("IdentityPreview")]},
                    _DECISION_EXAMPLE,
                )
            },
            problems=("NotFound",),
        )
    }


def _restore(noun: str, parameter: Json) -> Json:
    return {
        "post": api(
            "analytics:write",
            f"restore_identity_{noun}",
            TAG,
            f"Restore {'an edge' if noun == 'edge' else 'a value'} that was revoked",
            "Persons are as they were without the revocation. Idempotent.",
            parameters=[parameter],
            body=json_body(ref("Nothing"), {}, is_required=False),
            answers={
                "200": json_answer(
                    "What holds now.", ref("IdentityDecision"), _DECISION_EXAMPLE | {"revision": 2, "is_revoked": False}
                )
            },
            problems=("NotFound",),
        )
    }


_EDGE = path("edge_id", "The edge's id.", _EDGE_ID)
_VALUE = path("value_id", "The value's id.", _VALUE_ID)
PATHS: Json = {
    "/api/v1/identity/persons/{id}": {
        "get": api(
            "analytics:read",
            "get_person",
            TAG,
            "Find the person of a visitor",
            "Which visitors, logins, addresses and orders are one person, and the events that say so: "
            "docs/identity.md.",
            parameters=[
                path("id", "A visitor's id, or a person's.", "usr_7012345678"),
                query("as_of", {"type": "string", "format": "date-time"}, "As it was known at this instant; now."),
            ],
            answers={"200": json_answer("The person.", ref("Person"), _PERSON_EXAMPLE)},
            problems=("NotFound",),
        )
    },
    "/api/v1/identity/suspicious": {
        "get": api(
            "analytics:read",
            "list_suspicious_values",
            TAG,
            "List values that join nobody",
            "Logins, addresses, orders and visitors with more neighbours than one person can have: accounts for tests, "
            "shared computers, placeholders. Those with the most first.",
            parameters=[
                query("kind", {"type": "string", "enum": list(KINDS)}, "Only of this kind."),
                {"$ref": "#/components/parameters/page_size"},
            ],
            answers={"200": json_answer("The values.", ref("SuspiciousValues"), _SUSPICIOUS_EXAMPLE)},
        )
    },
    "/api/v1/identity/edges/{edge_id}:revoke": _revoke("edge", _EDGE),
    "/api/v1/identity/edges/{edge_id}:restore": _restore("edge", _EDGE),
    "/api/v1/identity/values/{value_id}:revoke": _revoke("value", _VALUE),
    "/api/v1/identity/values/{value_id}:restore": _restore("value", _VALUE),
}
