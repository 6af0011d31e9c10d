"""Matching again what another reading may know better: after each mapping, claim or rebuild of an organisation."""

import asyncio
from typing import Protocol

from svc_runtime.errors import TrellisError
from svc_runtime.logs import get_logger
from svc_runtime.tasks import keep_running

_LOOK_SECONDS = 10.0
"""Each look is a call for each organisation with conversions."""
_SPREAD_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 10.0
CONVERSIONS_AT_ONCE = 2_000
_log = get_logger(__name__)


class Operations(Protocol):
    """What analytics_svc does to its reading."""

    async def last_operation(self, organization_id: str) -> str:
        """Return the id of the last operation that is over; empty where there is none."""
        ...


class RematchStore(Protocol):
    """What was heard of the reading. Raises UnavailableError as all stores do."""

    async def heard(self) -> dict[str, str]:
        """Return, for every organisation with conversions, the last operation that its conversions have heard of."""
        ...

    async def rematch(self, organization_id: str, operation_id: str) -> None:
        """Note that an operation is over: all conversions of the organisation are to be matched again, bit by bit."""
        ...

    async def spread(self, *, limit: int) -> int:
        """Make so many more conversions due that are to be matched again; return how many there were."""
        ...


class Rematcher:
    """Looks for operations that are over, for ever."""

    def __init__(self, store: RematchStore, operations: Operations) -> None:
        self._store = store
        self._operations = operations

    async def run(self) -> None:
        """Look until cancelled."""
        await keep_running("conversion rematcher", self._work, longest_delay_seconds=_LONGEST_DELAY_SECONDS)

    async def _work(self) -> None:
        while True:
            await self.look()
            spread = await self._store.spread(limit=CONVERSIONS_AT_ONCE)
            # The matcher keeps up with this: what is newer is not kept waiting behind what is older.
            await asyncio.sleep(_SPREAD_SECONDS if spread else _LOOK_SECONDS)

    async def look(self) -> None:
        """Hear of what is over; an organisation that cannot be asked about keeps no other waiting."""
        for organization_id, heard in (await self._store.heard()).items():
            try:
                last = await self._operations.last_operation(organization_id)
            except TrellisError as error:
                _log.warning("operations are heard of later", organization_id=organization_id, error=error.message)
                continue
            if last and last != heard:
                await self._store.rematch(organization_id, last)
