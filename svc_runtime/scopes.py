"""Every scope that a key or a role can hold: the vocabulary of the ``access`` options in proto/."""

SCOPES = frozenset(
    {
        "traffic:write",
        "traffic:read",
        "conversions:read",
        "conversions:write",
        "campaigns:read",
        "campaigns:write",
        "analytics:read",
        "analytics:write",
        "keys:read",
        "keys:write",
        "domains:read",
        "domains:write",
        "partners:read",
        "partners:write",
        "audit:read",
        "webhooks:read",
        "webhooks:write",
    }
)
