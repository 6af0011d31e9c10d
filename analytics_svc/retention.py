"""How long the reading keeps events, by organisation. The raw events are not touched."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from analytics_svc.store import RetentionStore

DEFAULT_DAYS = 7 * 365 + 2
"""Seven years."""
LONGEST_DAYS = 36_500
EVERYBODY = ""


@dataclass(frozen=True, slots=True)
class Retention:
    """Days by organisation; ``EVERYBODY`` is all those without a word of their own."""

    days: Mapping[str, int] = field(default_factory=dict)
    default_days: int = DEFAULT_DAYS

    def of(self, organization_id: str) -> int:
        """Return for how many days an organisation's events are kept."""
        return self.days.get(organization_id) or self.days.get(EVERYBODY) or self.default_days

    def cuts(self, now: datetime) -> dict[str, datetime]:
        """Return, by organisation, the instant before which its events are not kept; ``EVERYBODY`` for the others.

        Whole UTC days are kept or not, as the roll-ups count them.
        """
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return {name: today - timedelta(days=self.of(name)) for name in {EVERYBODY, *self.days}}


class Retentions:
    """What the operator says about it."""

    def __init__(self, store: RetentionStore, *, default_days: int = DEFAULT_DAYS) -> None:
        self._store = store
        self._default_days = default_days

    async def set(self, organization_id: str, days: int) -> int:
        """Keep an organisation's events (empty: everybody's) for so many days, 0: as everybody's; return what holds.

        Raise UnavailableError.
        """
        await self._store.put_retention(organization_id, days)
        return (await self.read()).of(organization_id)

    async def read(self) -> Retention:
        """Return what holds. Raise UnavailableError."""
        return Retention(await self._store.retention_days(), self._default_days)
