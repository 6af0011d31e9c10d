"""Says whose key this is: from memory for every key that is known, whether or not the store is there."""

from auth_svc import metrics
from auth_svc.directory import Directory
from auth_svc.directory_update import KnownKey
from svc_runtime.clock import Clock
from svc_runtime.errors import PermissionDeniedError, TrellisError, UnauthenticatedError
from svc_runtime.keys import KeyKind, PresentedKey, present_key, same_hash
from svc_runtime.mesh_token import Caller, CallerKind


class KeyChecker:
    """Checks keys against the directory."""

    def __init__(self, directory: Directory, clock: Clock, *, pepper: bytes) -> None:
        self._directory = directory
        self._clock = clock
        self._pepper = pepper

    async def check(self, text: str) -> KnownKey:
        """Return the key that a text is.

        Raise UnauthenticatedError with KEY_MALFORMED, KEY_UNKNOWN, KEY_REVOKED or KEY_EXPIRED; PermissionDeniedError
        with ORGANIZATION_SUSPENDED; UnavailableError for a key that only the store could know when it is away.
        """
        try:
            key = await self._check(text)
        except TrellisError as error:
            metrics.validations.add(1, {"outcome": error.reason})
            raise
        metrics.validations.add(1, {"outcome": "ok"})
        return key

    async def as_caller(self, text: str) -> Caller:
        """Return the caller that a secret key stands for: a ``KeyValidator``. Raise what ``check`` raises."""
        key = await self.check(text)
        if key.kind is not KeyKind.SECRET:
            raise PermissionDeniedError("a publishable key may only send events over HTTP")
        return Caller(CallerKind.ORGANIZATION, f"key:{key.key_id}", key.organization_id, key.scopes)

    async def _check(self, text: str) -> KnownKey:
        presented = present_key(self._pepper, text)
        key = self._find(presented)
        if key is None:
            # Another replica may have made it a moment ago.
            await self._directory.catch_up()
            key = self._find(presented)
        if key is None:
            raise UnauthenticatedError("there is no such key", reason="KEY_UNKNOWN")
        if key.revoke_time is not None:
            raise UnauthenticatedError("the key was revoked", reason="KEY_REVOKED")
        if key.expire_time is not None and key.expire_time <= self._clock.now():
            raise UnauthenticatedError("the key has expired", reason="KEY_EXPIRED")
        if self._directory.is_suspended(key.organization_id):
            raise PermissionDeniedError("the organisation is suspended", reason="ORGANIZATION_SUSPENDED")
        return key

    def _find(self, presented: PresentedKey) -> KnownKey | None:
        key = self._directory.find_key(presented.key_id)
        return key if key is not None and same_hash(key.hash, presented.hash) else None
