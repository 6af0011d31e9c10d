"""The directory: a copy in memory of what it takes to recognise keys and hosts, and those who watch it.

It answers while the store is away, and it never goes back in time:

- The store's revision is below the one held: somebody put an older copy of the database in its place. What is held is
  newer, so it stays; watchers keep theirs by the same rule. The first act on the older copy gets a revision from the
  clock, above everything that was lost, and reaches everybody as a change of its own.
- A key or partner that was seen revoked stays revoked, whatever a store says later.

Both are logged as errors and counted; a person has to repeat what the older copy lost.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Protocol

from auth_svc import metrics
from auth_svc.directory_update import DirectoryUpdate, KnownKey
from auth_svc.organization import OrganizationStatus
from auth_svc.partner import Partner
from auth_svc.store import Notifications
from svc_runtime.errors import UnavailableError
from svc_runtime.logs import get_logger

POLL_SECONDS = 2.0
"""How often the store is asked although it notified nothing: a lost notification costs that much."""
REMEMBERED_UPDATES = 1_000
"""A watcher further behind gets a snapshot in place of changes."""
_log = get_logger(__name__)


class DirectorySource(Protocol):
    """The part of ``WardenStore`` that the directory reads."""

    async def read_directory(self) -> DirectoryUpdate:
        """Return everything."""
        ...

    async def read_directory_changes(self, since: int) -> DirectoryUpdate:
        """Return what changed after ``since``."""
        ...

    def notifications(self) -> contextlib.AbstractAsyncContextManager[Notifications]:
        """Begin to be told of changes."""
        ...


class Directory:
    """What this process knows; ``catch_up`` and ``follow`` keep it fresh."""

    def __init__(self, source: DirectorySource, *, allow_fixed_keys: bool) -> None:
        self._source = source
        self._allow_fixed_keys = allow_fixed_keys
        self._revision: int | None = None
        self._keys: dict[str, KnownKey] = {}
        self._domains: dict[str, str] = {}
        self._organizations: dict[str, OrganizationStatus] = {}
        self._partners: dict[str, Partner] = {}
        self._recent: deque[DirectoryUpdate] = deque(maxlen=REMEMBERED_UPDATES)
        self._oldest_base = 0
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._is_closed = False
        self._went_back = False
        self._asked_at = 0.0
        self._compared_at = time.monotonic()
        self._failure: str | None = None

    @property
    def revision(self) -> int:
        """The revision known; 0 before the first look at the store."""
        return self._revision or 0

    @property
    def age_seconds(self) -> float:
        """Time since the store was last asked with success."""
        return time.monotonic() - self._compared_at

    @property
    def key_count(self) -> int:
        """How many keys are known, dead ones included."""
        return len(self._keys)

    def find_key(self, key_id: str) -> KnownKey | None:
        """Return the key of an id."""
        return self._keys.get(key_id)

    def is_suspended(self, organization_id: str) -> bool:
        """Say whether an organisation may not act."""
        return self._organizations.get(organization_id) is OrganizationStatus.SUSPENDED

    async def catch_up(self) -> None:
        """Take over what changed in the store before this call. Raise UnavailableError when it cannot be asked.

        Callers who wait for their turn share one answer: many unknown keys at once cost the store one question.
        """
        called_at = time.monotonic()
        async with self._turn:
            if self._asked_at <= called_at:
                await self._ask()
            elif self._failure is not None:
                raise UnavailableError(self._failure)

    async def follow(self) -> None:
        """Stay caught up. Never ends; raises UnavailableError when the store goes away."""
        async with self._source.notifications() as notified:
            while True:
                await self.catch_up()
                await notified.wait(POLL_SECONDS)

    async def wait_until_known(self) -> None:
        """Return when the store was read once."""
        while self._revision is None:
            await self._changed.wait()

    async def watch(self) -> AsyncGenerator[DirectoryUpdate, None]:
        """Yield a snapshot, then every change; a snapshot again for one who fell far behind.

        Raise UnavailableError when the directory closes.
        """
        sent: int | None = None
        while not self._is_closed:
            changed = self._changed
            for update in self._news(sent):
                sent = update.revision
                yield update
            await changed.wait()
        raise UnavailableError("this server is about to stop; another one will answer")

    def close(self) -> None:
        """End every watch, so that their streams do not hold up a drain."""
        self._is_closed = True
        self._changed.set()

    async def _ask(self) -> None:
        self._asked_at = time.monotonic()
        self._failure = None
        try:
            if self._revision is None:
                update = await self._source.read_directory()
            else:
                update = await self._source.read_directory_changes(self._revision)
        except UnavailableError as error:
            self._failure = error.message
            raise
        self._compared_at = time.monotonic()
        if not self._is_older(update):
            self._take(update)

    def _news(self, sent: int | None) -> list[DirectoryUpdate]:
        if self._revision is None:
            return []
        if sent is None or sent < self._oldest_base:
            return [self._snapshot()]
        return [update for update in self._recent if update.revision > sent]

    def _snapshot(self) -> DirectoryUpdate:
        return DirectoryUpdate(
            self.revision,
            is_snapshot=True,
            keys=tuple(self._keys.values()),
            domains=tuple(self._domains.items()),
            organizations=tuple(self._organizations.items()),
            partners=tuple(self._partners.values()),
        )

    def _is_older(self, update: DirectoryUpdate) -> bool:
        went_back = update.revision < self.revision
        if went_back and not self._went_back:
            metrics.anomalies.add(1, {"kind": "went_back"})
            _log.error(
                "the store is older than what we know: was a backup restored? what we know stays",
                store_revision=update.revision,
                known_revision=self.revision,
            )
        self._went_back = went_back
        return went_back

    def _take(self, update: DirectoryUpdate) -> None:
        if update.revision == self._revision:
            return
        keys = tuple(self._still_revoked(key) for key in update.keys if self._allow_fixed_keys or not key.is_fixed)
        if len(keys) < len(update.keys):
            _log.warning("fixed keys are not allowed here: they open nothing", count=len(update.keys) - len(keys))
        self._keys.update((key.key_id, key) for key in keys)
        for host in update.removed_hosts:
            self._domains.pop(host, None)
        self._domains.update(update.domains)
        self._organizations.update(update.organizations)
        partners = tuple(map(self._still_ended, update.partners))
        self._partners.update((partner.partner_id, partner) for partner in partners)
        if self._revision is None:
            self._oldest_base = update.revision
        else:
            if len(self._recent) == REMEMBERED_UPDATES:
                self._oldest_base = self._recent[0].revision
            self._recent.append(replace(update, keys=keys, partners=partners))
        self._revision = update.revision
        self._changed.set()
        self._changed = asyncio.Event()

    def _still_revoked(self, key: KnownKey) -> KnownKey:
        held = self._keys.get(key.key_id)
        if held is None or held.revoke_time is None or key.revoke_time is not None:
            return key
        metrics.anomalies.add(1, {"kind": "revived_key"})
        _log.error("the store has revived a revoked key; it stays revoked: revoke it again", key_id=key.key_id)
        return replace(key, revoke_time=held.revoke_time)

    def _still_ended(self, partner: Partner) -> Partner:
        held = self._partners.get(partner.partner_id)
        if held is None or held.revoke_time is None or partner.revoke_time is not None:
            return partner
        metrics.anomalies.add(1, {"kind": "revived_partner"})
        _log.error("the store has revived a partner; it stays revoked: revoke it again", partner_id=partner.partner_id)
        return replace(partner, revoke_time=held.revoke_time)
