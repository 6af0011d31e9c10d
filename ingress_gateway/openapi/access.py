"""Keys, tracking domains, roles and the audit log."""

from ingress_gateway.openapi.parts import (
    PAGING,
    Json,
    answer,
    api,
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
from svc_runtime.scopes import SCOPES

KEYS, DOMAINS, ROLES, AUDIT = "Keys", "Tracking domains", "Roles", "Audit"
_SCOPE: Json = {"type": "string", "enum": sorted(SCOPES)}
_KIND = {"enum": ["publishable", "secret"]}
_ENVIRONMENT = {"enum": ["live", "test"]}
_SECRET = text("The key in full. It is shown this once and kept nowhere.")

_KEY_FIELDS: Json = {
    "key_id": text("Its public id."),
    "name": text("For people."),
    "kind": text(
        "`publishable` keys may be seen by anyone and only send events; `secret` ones do what their scopes say.",
        **_KIND,
    ),
    "environment": text("Events sent with a `test` key are marked `test`.", **_ENVIRONMENT),
    "scopes": listing(_SCOPE, "What it may do beside its role's scopes."),
    "role": text("Its role; empty: none."),
    "last_four": text("The key's last four characters, to recognise it by."),
    "create_time": instant("When it was created."),
    "expire_time": instant("When it stops; null: never.", is_nullable=True),
    "revoke_time": instant("When it was revoked; null: it was not.", is_nullable=True),
    "last_use_time": instant("When it was used last, to the minute; null: never.", is_nullable=True),
    "rotated_from_key_id": text("The key that it took over from; empty: none."),
}
_KEY_ID = "7hGtR2mVbqk3NfLr8XzPaQ"
_EXAMPLE: Json = {
    "key_id": _KEY_ID,
    "name": "Reports",
    "kind": "secret",
    "environment": "live",
    "scopes": ["traffic:read"],
    "role": "",
    "last_four": "x9Kd",
    "create_time": "2026-11-03T10:00:00Z",
    "expire_time": None,
    "revoke_time": None,
    "last_use_time": None,
    "rotated_from_key_id": "",
}
_NEW_EXAMPLE = {**_EXAMPLE, "secret": "wdn_sk_live_…x9Kd"}
_DOMAIN_EXAMPLE = {"host": "track.acmecorp.com", "create_time": "2026-11-03T10:00:00Z"}
_ROLE_EXAMPLE = {"name": "reporter", "scopes": ["analytics:read", "traffic:read"], "is_built_in": False}

SCHEMAS: Json = {
    "Key": record("A key without its secret.", _KEY_FIELDS),
    "NewKey": record("A new key, in full.", {**_KEY_FIELDS, "secret": _SECRET}),
    "RenewedKey": record(
        "The key that takes over, in full, and the one that goes.",
        {**_KEY_FIELDS, "secret": _SECRET, "old_key": {**ref("Key"), "description": "The old key, with its expiry."}},
    ),
    "KeyPage": page("keys", "Key", "A page of keys, newest first."),
    "KeyWish": wish(
        "A key to be. A secret key needs scopes, a role or both; a publishable one takes neither.",
        {
            "name": text("For people, 1 to 200 characters."),
            "kind": text("What it may be used for.", **_KIND),
            "environment": text("`live` where none is given.", **_ENVIRONMENT),
            "scopes": listing(_SCOPE, "What it may do."),
            "role": text("A role, whose scopes it has too."),
            "expire_time": instant("When it stops; never where none is given."),
        },
        "name",
        "kind",
    ),
    "Rotation": wish(
        "How to hand over.",
        {
            "overlap_seconds": number(
                "How long the old key lives on: 0 to 30 days, 24 hours where none is given.", minimum=0, maximum=2592000
            )
        },
    ),
    "Nothing": wish("An empty object, or no body at all.", {}),
    "Domain": record(
        "A host under which the organisation's links and pixels live.",
        {"host": text("Its name in lower case."), "create_time": instant("When it was added.")},
    ),
    "DomainPage": page("domains", "Domain", "A page of tracking domains, by name."),
    "DomainWish": wish(
        "A host to be given to the organisation.",
        {"host": text("Its name, at most 253 characters, without a port.")},
        "host",
    ),
    "Role": record(
        "A name for a set of scopes.",
        {
            "name": text("Its name."),
            "scopes": listing(_SCOPE, "What it may do."),
            "is_built_in": {"type": "boolean", "description": "Whether every organisation has it."},
        },
    ),
    "RolePage": page("roles", "Role", "All roles, the built-in ones first; there is one page."),
    "RoleWish": wish(
        "A role to be.",
        {"name": text("1 to 60 of `a-z 0-9 _`."), "scopes": listing(_SCOPE, "At least one.", minItems=1)},
        "name",
        "scopes",
    ),
    "AuditEntry": record(
        "One administrative act.",
        {
            "entry_id": number("Rises with time."),
            "actor": text("Who: `key:<id>`, `operator` or `service:<name>`."),
            "action": text("What: `key.create`, `domain.add`…"),
            "target": text("On what: a key's id, a host, a role's name."),
            "details": {"type": "object", "description": "The change, without secrets."},
            "create_time": instant("When."),
            "trace_id": text("The W3C trace id of the request; empty where there was none."),
        },
    ),
    "AuditPage": page("entries", "AuditEntry", "A page of the log, newest first."),
}
_KEY_PATH = path("key_id", "The key's public id.", _KEY_ID)

PATHS: Json = {
    "/api/v1/keys": {
        "get": api(
            "keys:read",
            "list_keys",
            KEYS,
            "List keys",
            "Newest first, 100 a page where no size is given. Without their secrets: only their owners have those.",
            parameters=[
                *PAGING,
                query("include_inactive", {"type": "boolean"}, "`true` to see revoked and expired keys too."),
            ],
            answers={"200": json_answer("A page.", ref("KeyPage"), {"keys": [_EXAMPLE], "next_page_token": ""})},
        ),
        "post": api(
            "keys:write",
            "create_key",
            KEYS,
            "Create a key",
            "The answer holds the key in full, this once. It is known to every gateway within 5 seconds.",
            body=json_body(ref("KeyWish"), {"name": "Reports", "kind": "secret", "scopes": ["traffic:read"]}),
            answers={"201": json_answer("Created.", ref("NewKey"), _NEW_EXAMPLE)},
            problems=("NotFound",),
        ),
    },
    "/api/v1/keys/{key_id}:revoke": {
        "post": api(
            "keys:write",
            "revoke_key",
            KEYS,
            "Revoke a key",
            "For ever; refused everywhere within 5 seconds. To do it again changes nothing.",
            parameters=[_KEY_PATH],
            body=json_body(ref("Nothing"), {}, is_required=False),
            answers={
                "200": json_answer("The key after it.", ref("Key"), {**_EXAMPLE, "revoke_time": "2026-11-03T11:00:00Z"})
            },
            problems=("NotFound",),
        )
    },
    "/api/v1/keys/{key_id}:rotate": {
        "post": api(
            "keys:write",
            "rotate_key",
            KEYS,
            "Rotate a key",
            "Makes a second key with the same name, kind and scopes. Both live for the overlap, so no sender stops. "
            "409 when two keys of this rotation are live already.",
            parameters=[_KEY_PATH],
            body=json_body(ref("Rotation"), {"overlap_seconds": 3600}, is_required=False),
            answers={
                "200": json_answer(
                    "The new key.",
                    ref("RenewedKey"),
                    {
                        **_NEW_EXAMPLE,
                        "key_id": "Qm3d7hGtR2Vbqk3NfLr8Xz",
                        "rotated_from_key_id": _KEY_ID,
                        "old_key": {**_EXAMPLE, "expire_time": "2026-11-03T11:00:00Z"},
                    },
                )
            },
            problems=("NotFound", "Conflict"),
        )
    },
    "/api/v1/domains": {
        "get": api(
            "domains:read",
            "list_domains",
            DOMAINS,
            "List tracking domains",
            "By name, 100 a page where no size is given.",
            parameters=[*PAGING],
            answers={
                "200": json_answer("A page.", ref("DomainPage"), {"domains": [_DOMAIN_EXAMPLE], "next_page_token": ""})
            },
        ),
        "post": api(
            "domains:write",
            "add_domain",
            DOMAINS,
            "Add a tracking domain",
            "Point the host's DNS here first. It works in every gateway within 5 seconds. 409 when any organisation "
            "has it.",
            body=json_body(ref("DomainWish"), {"host": "go.acmecorp.com"}),
            answers={"201": json_answer("Added.", ref("Domain"), _DOMAIN_EXAMPLE)},
            problems=("Conflict",),
        ),
    },
    "/api/v1/domains/{host}": {
        "delete": api(
            "domains:write",
            "remove_domain",
            DOMAINS,
            "Remove a tracking domain",
            "Links under it end in a 404 page within 5 seconds.",
            parameters=[path("host", "The host's name.", "go.acmecorp.com")],
            answers={"204": answer("Removed.", {})},
            problems=("NotFound",),
        )
    },
    "/api/v1/roles": {
        "get": api(
            "keys:read",
            "list_roles",
            ROLES,
            "List roles",
            "The built-in ones first. They are few: all of them are on one page.",
            answers={"200": json_answer("All.", ref("RolePage"), {"roles": [_ROLE_EXAMPLE], "next_page_token": ""})},
        ),
        "post": api(
            "keys:write",
            "create_role",
            ROLES,
            "Create a role",
            "A role never changes: keys that have it keep what they were given.",
            body=json_body(ref("RoleWish"), {"name": "reporter", "scopes": ["traffic:read", "analytics:read"]}),
            answers={"201": json_answer("Created.", ref("Role"), _ROLE_EXAMPLE)},
            problems=("Conflict",),
        ),
    },
    "/api/v1/audit": {
        "get": api(
            "audit:read",
            "list_audit_entries",
            AUDIT,
            "Read the audit log",
            "Every administrative act, newest first, 100 a page where no size is given. Nothing is ever taken out.",
            parameters=[*PAGING],
            answers={
                "200": json_answer(
                    "A page.",
                    ref("AuditPage"),
                    {
                        "entries": [
                            {
                                "entry_id": 12,
                                "actor": f"key:{_KEY_ID}",
                                "action": "domain.add",
                                "target": "go.acmecorp.com",
                                "details": {},
                                "create_time": "2026-11-03T10:00:00Z",
                                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                            }
                        ],
                        "next_page_token": "",
                    },
                )
            },
        )
    },
}
