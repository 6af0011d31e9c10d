"""Results that are kept: an equal question is answered once, however many ask and however soon again.

Whatever the cache does, results are right: what it gives back is believed only when it says whose it is and what it
answers, and reads as a result. A cache that is away makes answers slower.
"""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from analytics_svc.metrics import cached_results

PREFIX = "analytics:"
_DEFINITION = 1
"""To be raised when the same question gets another answer, or results another shape."""
_LARGEST_BYTES = 1 << 20
_T = TypeVar("_T")


class ResultCache(Protocol):
    """Keeps bytes by key, for a while.

    No method raises an error or takes longer than some tens of milliseconds. Anything may be forgotten at any time, and
    anybody else may have written what comes back: the caller checks it.
    """

    async def get(self, key: str) -> bytes | None:
        """Return what was put under the key; None where there is nothing, or nobody to ask."""
        ...

    async def put(self, key: str, value: bytes, *, seconds: float) -> None:
        """Keep a value for at most ``seconds``."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """What a result is kept under, and for how long."""

    organization_id: str
    question: object
    """Its ``repr`` tells it from every other question."""
    version: object
    """Its ``repr`` changes whenever the result may."""
    seconds: float

    @property
    def key(self) -> str:
        """The key: a hash, because questions hold what people asked for."""
        text = repr((_DEFINITION, self.organization_id, self.question, self.version))
        return PREFIX + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


class Results:
    """Answers a question from the cache, or once for all who ask it at the same time."""

    def __init__(self, cache: ResultCache) -> None:
        self._cache = cache
        self._flights: dict[str, _Flight[Any]] = {}

    async def get(self, kept: Kept, shape: TypeAdapter[_T], make: Callable[[], Awaitable[_T]]) -> tuple[_T, bool]:
        """Return the result and whether it was made before. ``make`` is cancelled when nobody waits for it any more."""
        key = kept.key
        value = await self._cache.get(key)
        if value is not None:
            payload = _payload(value, kept.organization_id, key)
            try:
                if payload is not None:
                    found = shape.validate_json(payload, strict=False)
                    cached_results.add(1, {"outcome": "hit"})
                    return found, True
            except ValidationError:
                pass
            cached_results.add(1, {"outcome": "ignored"})
        flight: _Flight[_T] | None = self._flights.get(key)
        cached_results.add(1, {"outcome": "made" if flight is None else "joined"})
        is_joined = flight is not None
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(self._make(kept, key, shape, make)))
            flight.task.add_done_callback(lambda _: self._land(key, flight))
        try:
            return await flight.wait(), is_joined
        finally:
            if flight.is_abandoned:
                # Before the task is over: nobody may join what is cancelled.
                self._land(key, flight)
                flight.task.cancel()

    async def _make(self, kept: Kept, key: str, shape: TypeAdapter[_T], make: Callable[[], Awaitable[_T]]) -> _T:
        result = await make()
        value = f"{kept.organization_id}\n{key}\n".encode() + shape.dump_json(result)
        if len(value) <= _LARGEST_BYTES:
            # Not all that was made together ends together.
            seconds = kept.seconds * random.uniform(0.8, 1.0)  # noqa: S311 - jitter is no secret
            await self._cache.put(key, value, seconds=seconds)
        return result

    def _land(self, key: str, flight: "_Flight[Any]") -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        # Everybody may have left: nobody else looks at its error.
        if flight.task.done() and not flight.task.cancelled():
            flight.task.exception()


class _Flight(Generic[_T]):
    """A result that is being made, and those who wait for it."""

    def __init__(self, task: "asyncio.Task[_T]") -> None:
        self.task = task
        self._waiting = 0

    @property
    def is_abandoned(self) -> bool:
        """True: it is not there yet, and nobody waits for it any more."""
        return not self._waiting and not self.task.done()

    async def wait(self) -> _T:
        self._waiting += 1
        try:
            return await asyncio.shield(self.task)
        finally:
            self._waiting -= 1


def _payload(value: bytes, organization_id: str, key: str) -> bytes | None:
    """Return the result in a value that says that it is this organisation's and answers this question."""
    whose, _, rest = value.partition(b"\n")
    what, _, payload = rest.partition(b"\n")
    return payload if whose == organization_id.encode() and what == key.encode() else None
