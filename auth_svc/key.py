"""Keys: what they are, when they are live, and how one takes over from another."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from auth_svc.organization import name_violations
from auth_svc.role import is_role_name, scope_violations
from svc_runtime.errors import FailedPreconditionError, Violation
from svc_runtime.keys import KeyEnvironment, KeyKind

PUBLISHABLE_SCOPES = frozenset({"traffic:write"})
LARGEST_OVERLAP = timedelta(days=30)
DEFAULT_OVERLAP = timedelta(hours=24)
MOST_LIVE_IN_ROTATION = 2
_ID = re.compile(r"[0-9A-Za-z]{22}|[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret."""

    key_id: str
    organization_id: str
    name: str
    kind: KeyKind
    environment: KeyEnvironment
    scopes: frozenset[str]
    """What it may do beside its role's scopes; ``traffic:write`` alone for a publishable key."""
    role: str
    """Empty: none."""
    hash: bytes = field(repr=False)
    """32 bytes: ``svc_runtime.keys.hash_key``."""
    last_four: str
    is_fixed: bool
    """True for a key that the operator chose, which exists only where fixed keys are allowed."""
    create_time: datetime
    rotation_id: str
    """Id of the key that the chain of rotations began with; its own for a key that replaced none."""
    rotated_from: str = ""
    """Id of the key that it replaced; empty: none."""
    expire_time: datetime | None = None
    revoke_time: datetime | None = None
    last_use_time: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Say whether the key opens anything at ``now``."""
        return self.revoke_time is None and (self.expire_time is None or self.expire_time > now)


@dataclass(frozen=True, slots=True)
class KeyWanted:
    """What somebody asks of a new key."""

    name: str
    kind: KeyKind
    environment: KeyEnvironment
    scopes: tuple[str, ...] = ()
    role: str = ""
    expire_time: datetime | None = None
    fixed_key: str = field(default="", repr=False)
    """The key itself, chosen by the operator; empty: one is made."""

    def violations(self) -> list[Violation]:
        """Say what is wrong, whatever the state of the store."""
        found = [*name_violations(self.name), *scope_violations(self.scopes)]
        if self.role and not is_role_name(self.role):
            found.append(Violation("role", "must be 1 to 60 of a-z, 0-9 and `_`"))
        if self.kind is KeyKind.PUBLISHABLE and (self.scopes or self.role):
            found.append(
                Violation("scopes", "a publishable key has `traffic:write` alone: give it no scopes and no role")
            )
        if self.kind is KeyKind.SECRET and not (self.scopes or self.role):
            found.append(Violation("scopes", "a secret key needs scopes, a role or both"))
        return found

    @property
    def own_scopes(self) -> frozenset[str]:
        """The scopes that the key will hold beside its role's."""
        return PUBLISHABLE_SCOPES if self.kind is KeyKind.PUBLISHABLE else frozenset(self.scopes)


@dataclass(frozen=True, slots=True)
class FreshKey:
    """A key that was just made, before it belongs to anybody."""

    secret: str = field(repr=False)
    """The key in full."""
    key_id: str
    hash: bytes = field(repr=False)
    is_fixed: bool = False

    @property
    def last_four(self) -> str:
        """What people recognise it by."""
        return self.secret[-4:]


@dataclass(frozen=True, slots=True)
class Rotation:
    """A key and the one that takes over from it."""

    old: Key
    new: Key


def is_key_id(text: str) -> bool:
    """Say whether ``text`` has the form of a key's public id."""
    return _ID.fullmatch(text) is not None


def rotate(old: Key, chain: Sequence[Key], fresh: FreshKey, *, now: datetime, overlap: timedelta) -> Rotation:
    """Let ``fresh`` take over from ``old``, which lives on for ``overlap`` at most.

    ``chain`` is every key of the same rotation, ``old`` included. A key with an expiry hands on its lifetime, not its
    date. Raise FailedPreconditionError when ``old`` is not live, or two keys of the rotation are.
    """
    if not old.is_live(now):
        raise FailedPreconditionError(f"the key `{old.key_id}` is not live: create a new one instead")
    if sum(key.is_live(now) for key in chain) >= MOST_LIVE_IN_ROTATION:
        raise FailedPreconditionError(
            f"{MOST_LIVE_IN_ROTATION} keys of this rotation are live already: revoke one, or wait until it expires"
        )
    ends = now + overlap
    new = replace(
        old,
        key_id=fresh.key_id,
        hash=fresh.hash,
        last_four=fresh.last_four,
        is_fixed=fresh.is_fixed,
        create_time=now,
        expire_time=None if old.expire_time is None else now + (old.expire_time - old.create_time),
        rotated_from=old.key_id,
        last_use_time=None,
    )
    return Rotation(replace(old, expire_time=ends if old.expire_time is None else min(ends, old.expire_time)), new)
