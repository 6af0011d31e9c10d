"""Who may query now: bounds for each organisation and in all, and turns between organisations.

An organisation that asks for much waits behind itself: turns go round the organisations that wait, one query each. The
memory of all queries that run is bounded by the sum of what each may use, which the engine holds it to.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from svc_runtime.errors import RateLimitedError


@dataclass(frozen=True, slots=True)
class Weight:
    """What a query of one kind takes, and how many of the kind an organisation may have."""

    kind: str
    """Its name in metrics, for example ``sql``."""
    memory_bytes: int
    """The most that one query may make the process larger."""
    running_per_organization: int
    waiting_per_organization: int
    may_use_reserve: bool = False
    """True: the places and the memory that are kept free of other kinds are for this one."""

    @property
    def engine_memory_bytes(self) -> int:
        """What the engine may count for a query.

        Half: what it frees goes back to the system late, so an array that grows holds twice its size for a while.
        """
        return self.memory_bytes // 2


@dataclass(frozen=True, slots=True)
class Capacity:
    """What there is for all queries together."""

    slots: int
    """Queries that run at a time."""
    memory_bytes: int
    reserved_slots: int = 0
    reserved_memory_bytes: int = 0


@dataclass(eq=False, slots=True)
class _Waiter:
    organization_id: str
    weight: Weight
    turn: "asyncio.Future[None]"


@dataclass(slots=True)
class _Lane:
    """Those who wait for one kind of query, by organisation in the order of their turns."""

    waiting: dict[str, deque[_Waiter]] = field(default_factory=dict)

    def add(self, waiter: _Waiter) -> None:
        self.waiting.setdefault(waiter.organization_id, deque()).append(waiter)

    def remove(self, waiter: _Waiter) -> None:
        queue = self.waiting[waiter.organization_id]
        queue.remove(waiter)
        if not queue:
            del self.waiting[waiter.organization_id]

    def firsts(self) -> Iterator[_Waiter]:
        return (queue[0] for queue in list(self.waiting.values()))

    def send_back(self, organization_id: str) -> None:
        if (queue := self.waiting.pop(organization_id, None)) is not None:
            self.waiting[organization_id] = queue


class Admission:
    """Lets queries in: ``async with admission.admitted(organization_id, weight)``. For one event loop."""

    def __init__(self, capacity: Capacity, *, longest_wait_seconds: float = 10.0) -> None:
        self._capacity = capacity
        self._longest_wait_seconds = longest_wait_seconds
        self._lanes: dict[str, _Lane] = {}
        self._running: Counter[tuple[str, str]] = Counter()
        self._slots = self._plain_slots = 0
        self._memory_bytes = self._plain_memory_bytes = 0

    @contextlib.asynccontextmanager
    async def admitted(self, organization_id: str, weight: Weight) -> AsyncIterator[None]:
        """Hold a place for the time of the block, once it is this organisation's turn.

        Raise RateLimitedError where the organisation has too many waiting, or its turn does not come in time;
        ValueError for a weight that never fits.
        """
        await self._enter(_Waiter(organization_id, weight, asyncio.get_running_loop().create_future()))
        try:
            yield
        finally:
            self._count(organization_id, weight, -1)
            self._grant()

    def running(self) -> dict[str, int]:
        """Return how many queries run, by kind."""
        counts: Counter[str] = Counter()
        for (kind, _), count in self._running.items():
            counts[kind] += count
        return dict(counts)

    def waiting(self) -> dict[str, int]:
        """Return how many queries wait, by kind."""
        return {kind: sum(map(len, lane.waiting.values())) for kind, lane in self._lanes.items()}

    @property
    def memory_bytes(self) -> int:
        """What the queries that run may use together."""
        return self._memory_bytes

    async def _enter(self, waiter: _Waiter) -> None:
        weight, organization_id = waiter.weight, waiter.organization_id
        if not self._could_ever_fit(weight):
            raise ValueError(f"a query of kind {weight.kind} fits into no capacity")
        lane = self._lanes.setdefault(weight.kind, _Lane())
        lane.add(waiter)
        self._grant()
        if waiter.turn.done():
            return
        if len(lane.waiting[organization_id]) > weight.waiting_per_organization:
            lane.remove(waiter)
            raise RateLimitedError(
                f"{self._running[weight.kind, organization_id]} queries of the organisation run and"
                f" {weight.waiting_per_organization} wait, the limit: wait for their answers",
                retry_after_seconds=2.0,
            )
        await self._wait(lane, waiter)

    async def _wait(self, lane: _Lane, waiter: _Waiter) -> None:
        try:
            async with asyncio.timeout(self._longest_wait_seconds):
                await waiter.turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if waiter.turn.cancelled() or not waiter.turn.done():
                lane.remove(waiter)
            else:
                # The turn came in the same moment.
                self._count(waiter.organization_id, waiter.weight, -1)
                self._grant()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise RateLimitedError(
                f"the query waited {self._longest_wait_seconds:g} s for its turn behind others: ask again later",
                retry_after_seconds=5.0,
            ) from None

    def _grant(self) -> None:
        """Give turns as long as somebody's query fits."""
        while (waiter := self._next()) is not None:
            lane = self._lanes[waiter.weight.kind]
            lane.remove(waiter)
            lane.send_back(waiter.organization_id)
            # The other kind goes first the next time.
            self._lanes[waiter.weight.kind] = self._lanes.pop(waiter.weight.kind)
            self._count(waiter.organization_id, waiter.weight, 1)
            waiter.turn.set_result(None)

    def _next(self) -> _Waiter | None:
        for lane in self._lanes.values():
            for waiter in lane.firsts():
                if self._fits(waiter.organization_id, waiter.weight) and not waiter.turn.done():
                    return waiter
        return None

    def _fits(self, organization_id: str, weight: Weight) -> bool:
        capacity = self._capacity
        if self._running[weight.kind, organization_id] >= weight.running_per_organization:
            return False
        if self._slots >= capacity.slots or self._memory_bytes + weight.memory_bytes > capacity.memory_bytes:
            return False
        return weight.may_use_reserve or (
            self._plain_slots < capacity.slots - capacity.reserved_slots
            and self._plain_memory_bytes + weight.memory_bytes <= capacity.memory_bytes - capacity.reserved_memory_bytes
        )

    def _could_ever_fit(self, weight: Weight) -> bool:
        capacity = self._capacity
        reserved = (0, 0) if weight.may_use_reserve else (capacity.reserved_slots, capacity.reserved_memory_bytes)
        return (
            weight.running_per_organization > 0
            and capacity.slots > reserved[0]
            and weight.memory_bytes <= capacity.memory_bytes - reserved[1]
        )

    def _count(self, organization_id: str, weight: Weight, sign: int) -> None:
        key = weight.kind, organization_id
        self._running[key] += sign
        if not self._running[key]:
            del self._running[key]
        self._slots += sign
        self._memory_bytes += sign * weight.memory_bytes
        if not weight.may_use_reserve:
            self._plain_slots += sign
            self._plain_memory_bytes += sign * weight.memory_bytes
