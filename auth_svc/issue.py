"""Issues keys, lets one take over from another, and revokes them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from auth_svc.key import FreshKey, Key, KeyWanted, is_key_id, rotate
from auth_svc.principal import Principal
from auth_svc.role import BUILT_IN_ROLES, resolve
from auth_svc.store import KeyChange, WardenStore
from auth_svc.store.errors import no_key
from svc_runtime.clock import Clock
from svc_runtime.errors import (
    InvalidArgumentError,
    PermissionDeniedError,
    UnauthenticatedError,
    Violation,
)
from svc_runtime.keys import KeyEnvironment, KeyKind, fixed_key_id, hash_key, new_key, parse_key

MOST_USES_PER_REPORT = 10_000
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key, in full for the only time."""

    key: Key
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Renewed:
    """A new key, in full for the only time, and the one that it takes over from."""

    key: Key
    secret: str = field(repr=False)
    old: Key


class KeyIssuer:
    """Creates, rotates and revokes keys for a principal's organisation."""

    def __init__(self, store: WardenStore, clock: Clock, *, pepper: bytes, allow_fixed_keys: bool) -> None:
        self._store = store
        self._clock = clock
        self._pepper = pepper
        self._allow_fixed_keys = allow_fixed_keys

    async def create(self, principal: Principal, wanted: KeyWanted) -> Issued:
        """Create a key.

        Raise InvalidArgumentError, NotFoundError, PermissionDeniedError when it could do more than the caller,
        AlreadyExistsError for a fixed key that exists.
        """
        now = self._clock.now()
        if wanted.expire_time is not None and wanted.expire_time <= now:
            raise _invalid("expire_time", "is in the past")
        fresh = self._fixed(principal, wanted) if wanted.fixed_key else self._fresh(wanted.kind, wanted.environment)
        scopes = await self._resolve(principal.organization_id, wanted.own_scopes, wanted.role)
        principal.check_may_grant(scopes)
        key = _key_of(wanted, fresh, principal.organization_id, now)
        act = principal.act(
            "key.create",
            key.key_id,
            time=now,
            name=key.name,
            kind=key.kind.name.lower(),
            environment=key.environment.value,
            scopes=sorted(key.scopes),
            role=key.role,
            expire_time=_text(key.expire_time),
            is_fixed=key.is_fixed,
        )
        await self._store.create_key(key, act)
        return Issued(key, fresh.secret)

    async def rotate(self, principal: Principal, key_id: str, overlap: timedelta) -> Renewed:
        """Let a new key take over from one. Raise NotFoundError, FailedPreconditionError, PermissionDeniedError.

        The caller gets the new secret, so it must hold all that the key may do.
        """
        old = await self._get(principal, key_id)
        principal.check_may_grant(await self._resolve(principal.organization_id, old.scopes, old.role))
        fresh = self._fresh(old.kind, old.environment)
        now = self._clock.now()

        def decide(key: Key, chain: Sequence[Key]) -> KeyChange:
            rotation = rotate(key, chain, fresh, now=now, overlap=overlap)
            act = principal.act(
                "key.rotate",
                key_id,
                time=now,
                new_key_id=rotation.new.key_id,
                old_expire_time=_text(rotation.old.expire_time),
                new_expire_time=_text(rotation.new.expire_time),
            )
            return KeyChange((rotation.old,), (rotation.new,), act)

        change = await self._store.change_key(principal.organization_id, key_id, decide)
        if change is None:
            raise RuntimeError("a rotation always changes something")
        return Renewed(change.added[0], fresh.secret, change.changed[0])

    async def revoke(self, principal: Principal, key_id: str) -> Key:
        """Revoke a key for ever; again is no act. Raise NotFoundError."""
        if not is_key_id(key_id):
            raise no_key(key_id)
        now = self._clock.now()

        def decide(key: Key, _chain: Sequence[Key]) -> KeyChange | None:
            if key.revoke_time is not None:
                return None
            return KeyChange((replace(key, revoke_time=now),), (), principal.act("key.revoke", key_id, time=now))

        change = await self._store.change_key(principal.organization_id, key_id, decide)
        return await self._get(principal, key_id) if change is None else change.changed[0]

    async def report_uses(self, uses: Iterable[tuple[str, datetime]]) -> int:
        """Move the last use of keys (id, time) forward, to the minute, never past now; return how many they were."""
        latest = latest_uses(uses, self._clock.now())
        if latest:
            await self._store.mark_key_uses(latest)
        return len(latest)

    async def _get(self, principal: Principal, key_id: str) -> Key:
        if not is_key_id(key_id):
            raise no_key(key_id)
        return await self._store.get_key(principal.organization_id, key_id)

    async def _resolve(self, organization_id: str, scopes: frozenset[str], role: str) -> frozenset[str]:
        if not role or role in BUILT_IN_ROLES:
            return resolve(scopes, role, frozenset())
        own = await self._store.find_role(organization_id, role)
        if own is None:
            raise _invalid("role", f"there is no role `{role}`")
        return resolve(scopes, role, own.scopes)

    def _fresh(self, kind: KeyKind, environment: KeyEnvironment) -> FreshKey:
        secret = new_key(kind, environment)
        return FreshKey(secret, parse_key(secret).key_id, hash_key(self._pepper, secret))

    def _fixed(self, principal: Principal, wanted: KeyWanted) -> FreshKey:
        if not self._allow_fixed_keys:
            raise _invalid("fixed_key", "fixed keys are not allowed here: leave it empty")
        if not principal.is_operator:
            raise PermissionDeniedError("only the operator may choose a key")
        try:
            parsed = parse_key(wanted.fixed_key)
        except UnauthenticatedError as error:
            raise _invalid("fixed_key", error.message) from None
        if not parsed.is_fixed:
            raise _invalid("fixed_key", "has the form of a generated key")
        if (parsed.kind, parsed.environment) != (wanted.kind, wanted.environment):
            raise _invalid("fixed_key", "its prefix does not say the same as kind and environment")
        hashed = hash_key(self._pepper, wanted.fixed_key)
        return FreshKey(wanted.fixed_key, fixed_key_id(hashed), hashed, is_fixed=True)


def latest_uses(uses: Iterable[tuple[str, datetime]], now: datetime) -> Mapping[str, datetime]:
    """Return the last use of each key, to the minute. A time ahead of ``now`` counts as now; no id, no entry."""
    latest: dict[str, datetime] = {}
    for key_id, used in uses:
        minute = min(used, now).replace(second=0, microsecond=0)
        if is_key_id(key_id) and minute > latest.get(key_id, _LONG_AGO):
            latest[key_id] = minute
    return latest


def _key_of(wanted: KeyWanted, fresh: FreshKey, organization_id: str, now: datetime) -> Key:
    return Key(
        key_id=fresh.key_id,
        organization_id=organization_id,
        name=wanted.name,
        kind=wanted.kind,
        environment=wanted.environment,
        scopes=wanted.own_scopes,
        role=wanted.role,
        hash=fresh.hash,
        last_four=fresh.last_four,
        is_fixed=fresh.is_fixed,
        create_time=now,
        rotation_id=fresh.key_id,
        expire_time=wanted.expire_time,
    )


def _invalid(name: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError.of([Violation(name, why)])


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
