"""Taking verdicts in: between the pages of the feed, so that nothing is counted twice."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from analytics_svc.store import VerdictStore
from analytics_svc.verdict import Verdict
from svc_runtime.tasks import uninterrupted


class Verdicts:
    """What events count for."""

    def __init__(self, store: VerdictStore, *, writing: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._store = store
        self._writing = writing

    async def put(self, verdicts: Sequence[Verdict]) -> int:
        """Keep verdicts and let reports follow; return how many say something new. Raise UnavailableError."""
        if not verdicts:
            return 0
        async with self._writing():
            return await uninterrupted(self._store.put(verdicts))
