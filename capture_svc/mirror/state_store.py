"""What the mirror needs of its store."""

from collections.abc import Sequence
from typing import Protocol

from capture_svc.mirror.state import MirrorState, RefusedRow


class MirrorTakenError(Exception):
    """Another writer made the next version first: the state must be read again."""


class MirrorStateStore(Protocol):
    """Keeps the state of one mirror. Every method raises UnavailableError while the store is down."""

    async def read(self) -> MirrorState:
        """Return the newest state, or the initial one."""
        ...

    async def write(self, state: MirrorState) -> None:
        """Store ``state`` as the successor of version ``state.version - 1``.

        Durable on return. Of several writers of one version exactly one succeeds. After UnavailableError it may have
        been stored or not: read again.

        Errors: MirrorTakenError (another writer's is stored, or it cannot be told whose).
        """
        ...

    async def set_aside(self, rows: Sequence[RefusedRow]) -> None:
        """Record rows that the warehouse refuses; their events stay where they are. Durable on return, idempotent."""
        ...

    async def feed_event_count(self) -> int:
        """Return how many events the feed has in all, from its beginning."""
        ...
