"""Streams of server-sent events that are open: how many there may be, and that they end when the worker leaves."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from svc_runtime.errors import RateLimitedError

_RETRY_SECONDS = 10.0


@dataclass(slots=True)
class Subject:
    """What one or more streams of an organisation tell of."""

    stream_count: int = 0
    _version: object = None
    _written: bytes = b""

    def written(self, version: object, write: Callable[[], bytes]) -> bytes:
        """Return what the first stream wrote that came to this version: the others need not write it again."""
        if self._version != version:
            self._written, self._version = write(), version
        return self._written


class Streams:
    """The open streams of a worker."""

    def __init__(self, limit: int, *, organization_limit: int) -> None:
        self._limit = limit
        self._organization_limit = organization_limit
        self._of_organization: Counter[str] = Counter()
        self._subjects: dict[tuple[str, bytes], Subject] = {}
        self.is_draining = False
        """True: every stream is to end, and its client to come again, elsewhere."""

    @property
    def count(self) -> int:
        """How many are open."""
        return self._of_organization.total()

    def drain(self) -> None:
        """Let all of them end."""
        self.is_draining = True

    @contextlib.contextmanager
    def opened(self, organization_id: str, subject: bytes) -> Iterator[Subject]:
        """Count a stream for the time of the block. Raise RateLimitedError where there are too many."""
        if self.count >= self._limit:
            raise RateLimitedError(
                f"{self.count} streams are open, the limit of this gateway", retry_after_seconds=_RETRY_SECONDS
            )
        if self._of_organization[organization_id] >= self._organization_limit:
            raise RateLimitedError(
                f"the organisation has {self._organization_limit} streams open here, the limit",
                retry_after_seconds=_RETRY_SECONDS,
            )
        key = organization_id, subject
        shared = self._subjects.setdefault(key, Subject())
        self._of_organization[organization_id] += 1
        shared.stream_count += 1
        try:
            yield shared
        finally:
            shared.stream_count -= 1
            if not shared.stream_count:
                del self._subjects[key]
            self._of_organization[organization_id] -= 1
            if not self._of_organization[organization_id]:
                del self._of_organization[organization_id]
