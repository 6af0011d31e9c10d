"""The conversions of an organisation: finding and reading them."""

from dataclasses import dataclass
from datetime import datetime

from attribution_svc.conversions.book import ConversionStore, Place, Wanted
from attribution_svc.conversions.event import ConversionEvent
from attribution_svc.conversions.kept import Kept
from svc_runtime.paging import PageTokens, check_page_size


@dataclass(frozen=True, slots=True)
class ConversionPage:
    """A piece of a list."""

    conversions: tuple[Kept, ...]
    next_page_token: str
    """Empty on the last page."""


class Conversions:
    """What a caller of one organisation may do with its conversions."""

    def __init__(self, store: ConversionStore, page_tokens: PageTokens) -> None:
        self._store = store
        self._page_tokens = page_tokens

    async def get(self, conversion_id: str, *, organization_id: str) -> tuple[Kept, list[ConversionEvent]]:
        """Return a conversion and its events. Raise NotFoundError or UnavailableError."""
        kept = await self._store.get(organization_id, conversion_id)
        return kept, await self._store.events(organization_id, kept.conversion.event_ids)

    async def list_page(
        self, wanted: Wanted, *, organization_id: str, page_size: int, page_token: str
    ) -> ConversionPage:
        """Return a page. Raise InvalidArgumentError (page size, page token) or UnavailableError."""
        size = check_page_size(page_size)
        scope = ("conversions", organization_id, wanted)
        place = self._page_tokens.open(page_token, *scope)
        after = Place(datetime.fromisoformat(place[0]), place[1]) if place else None
        # One more than wanted says whether there is another page.
        found = await self._store.list_page(organization_id, wanted, after=after, limit=size + 1)
        page = tuple(found[:size])
        if len(found) <= size:
            return ConversionPage(page, "")
        last = page[-1].conversion
        return ConversionPage(page, self._page_tokens.seal([last.create_time.isoformat(), last.conversion_id], *scope))
