"""Conversions whose click is not known: what they are worth, and giving one its click by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from attribution_svc.conversions.decide import FoundClick
from attribution_svc.conversions.kept import Kept, Touch
from attribution_svc.conversions.matching import Links
from svc_runtime.errors import InvalidArgumentError, NotFoundError, Violation

LONGEST_CLICK_ID = 512


@dataclass(frozen=True, slots=True)
class OrphanSum:
    """Orphans of one reason in one currency."""

    reason: str
    currency: str
    conversion_count: int
    value_micros: int


class OrphanStore(Protocol):
    """Conversions without a click. Raises UnavailableError as all stores do."""

    async def orphan_sums(
        self, organization_id: str, *, start_time: datetime | None, end_time: datetime | None
    ) -> list[OrphanSum]:
        """Return what an organisation's orphans come to, by reason and currency; tests are left out."""
        ...

    async def accept_match(self, organization_id: str, conversion_id: str, touch: Touch, *, actor: str) -> Kept:
        """Make a click that of a conversion, for good; raise NotFoundError, and FailedPreconditionError for one that
        was merged into another. The same click again changes nothing.
        """
        ...


class Orphans:
    """What a caller of one organisation may do about them."""

    def __init__(self, store: OrphanStore, links: Links) -> None:
        self._store = store
        self._links = links

    async def sums(
        self, *, organization_id: str, start_time: datetime | None, end_time: datetime | None
    ) -> list[OrphanSum]:
        """Return what they come to; raise InvalidArgumentError or UnavailableError."""
        if start_time and end_time and end_time <= start_time:
            raise InvalidArgumentError.of([Violation("time_range.end_time", "must be after start_time")])
        return await self._store.orphan_sums(organization_id, start_time=start_time, end_time=end_time)

    async def match(self, conversion_id: str, click_id: str, *, organization_id: str, actor: str) -> Kept:
        """Make the click of an id, ours or the source's, that of a conversion.

        Raise InvalidArgumentError, NotFoundError, FailedPreconditionError or UnavailableError.
        """
        size = len(click_id.encode())
        if not 1 <= size <= LONGEST_CLICK_ID:
            raise InvalidArgumentError.of(
                [Violation("click_id", f"has {size} bytes, must have 1 to {LONGEST_CLICK_ID}")]
            )
        (found,) = await self._links.find_clicks([(organization_id, click_id)])
        touch = _exact(found)
        if touch is None:
            raise NotFoundError(f"no click {click_id[:64]!r}")
        return await self._store.accept_match(organization_id, conversion_id, touch, actor=actor)


def _exact(found: Sequence[FoundClick]) -> Touch | None:
    return next((click.touch for click in found if click.kind == "exact"), None)
