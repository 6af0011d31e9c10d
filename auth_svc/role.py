"""Roles: names for sets of scopes. Five are built in; an organisation may add its own, which never change."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from svc_runtime.errors import Violation
from svc_runtime.scopes import SCOPES

_NAME = re.compile(r"[a-z0-9_]{1,60}")


@dataclass(frozen=True, slots=True)
class Role:
    """A name for a set of scopes."""

    name: str
    scopes: frozenset[str]
    is_built_in: bool = False


def _built_in(name: str, scopes: Iterable[str]) -> Role:
    return Role(name, frozenset(scopes), is_built_in=True)


# In the order in which they are listed: from the most that one may do to the least.
BUILT_IN_ROLES = {
    role.name: role
    for role in (
        _built_in("owner", SCOPES),
        # Everything but to hand out access.
        _built_in("admin", SCOPES - {"keys:write"}),
        _built_in(
            "marketer",
            {
                "campaigns:read",
                "campaigns:write",
                "conversions:read",
                "conversions:write",
                "traffic:read",
                "analytics:read",
                "domains:read",
                "webhooks:read",
                "webhooks:write",
                "partners:read",
                "partners:write",
            },
        ),
        _built_in("analyst", {"campaigns:read", "conversions:read", "traffic:read", "analytics:read"}),
        # A server that sends events and conversions, and reads nothing.
        _built_in("sender", {"traffic:write", "conversions:write"}),
    )
}


def resolve(scopes: frozenset[str], role: str, own_role_scopes: frozenset[str]) -> frozenset[str]:
    """Return what a key may do: its own scopes and its role's; a custom role's are given in ``own_role_scopes``."""
    built_in = BUILT_IN_ROLES.get(role)
    return scopes | (own_role_scopes if built_in is None else built_in.scopes)


def is_role_name(text: str) -> bool:
    """Say whether ``text`` has the form of a role's name."""
    return _NAME.fullmatch(text) is not None


def scope_violations(scopes: Iterable[str]) -> list[Violation]:
    """Name the scopes that do not exist, the first few of them."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if not unknown:
        return []
    shown = ", ".join(f"`{scope[:40]}`" for scope in unknown[:3])
    return [Violation("scopes", f"there is no scope {shown}; there are {', '.join(sorted(SCOPES))}")]


def role_violations(name: str, scopes: tuple[str, ...]) -> list[Violation]:
    """Say what is wrong with a wanted role."""
    found = scope_violations(scopes)
    if not is_role_name(name):
        found.insert(0, Violation("name", "must be 1 to 60 of a-z, 0-9 and `_`"))
    if not scopes:
        found.append(Violation("scopes", "at least one is needed"))
    return found
