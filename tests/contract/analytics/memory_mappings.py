"""A MappingStore in memory, to be tested by the same suite as the real one."""

from dataclasses import replace
from datetime import datetime

from analytics_svc.mappings.mapping import ActiveMappings, MappingVersion
from analytics_svc.store import ListedMapping, MappingPosition
from svc_runtime.errors import UnavailableError


class MemoryMappingStore:
    """Versions in a list. ``is_down`` lets everything fail; ``fails_to_activate`` that alone."""

    def __init__(self) -> None:
        self.added: list[MappingVersion] = []
        self.activations: list[tuple[str, str, int, str, datetime]] = []
        self.is_down = False
        self.fails_to_activate = False

    async def add(self, version: MappingVersion) -> None:
        """See ``MappingStore.add``."""
        self._check_up()
        self.added.append(version)

    async def activate(self, organization_id: str, mapping_id: str, version: int, *, actor: str, now: datetime) -> None:
        """See ``MappingStore.activate``."""
        self._check_up()
        if self.fails_to_activate:
            raise UnavailableError("down")
        if self._active(organization_id, mapping_id) != version:
            self.activations.append((organization_id, mapping_id, version, actor, now))

    async def versions(self, organization_id: str, mapping_id: str) -> list[MappingVersion]:
        """See ``MappingStore.versions``."""
        self._check_up()
        active = self._active(organization_id, mapping_id)
        own = [v for v in self.added if (v.organization_id, v.mapping_id) == (organization_id, mapping_id)]
        return [replace(v, is_active=v.version == active) for v in sorted(own, key=lambda v: -v.version)]

    async def list_page(
        self, organization_id: str, *, after: MappingPosition | None, limit: int
    ) -> list[ListedMapping]:
        """See ``MappingStore.list_page``."""
        self._check_up()
        found = []
        for mapping_id in {v.mapping_id for v in self.added if v.organization_id == organization_id}:
            versions = await self.versions(organization_id, mapping_id)
            current = next((v for v in versions if v.is_active), versions[0])
            found.append(ListedMapping(current, MappingPosition(versions[-1].create_time, mapping_id)))
        found.sort(key=lambda listed: _key(listed.position), reverse=True)
        return [listed for listed in found if after is None or _key(listed.position) < _key(after)][:limit]

    async def count(self, organization_id: str) -> int:
        """See ``MappingStore.count``."""
        self._check_up()
        return len({v.mapping_id for v in self.added if v.organization_id == organization_id})

    async def active(self) -> ActiveMappings:
        """See ``MappingStore.active``."""
        self._check_up()
        return {
            organization_id: tuple(
                listed.current.as_active()
                for listed in reversed(await self.list_page(organization_id, after=None, limit=1_000_000))
                if listed.current.is_active
            )
            for organization_id, *_ in self.activations
        }

    def _active(self, organization_id: str, mapping_id: str) -> int:
        rows = [row for row in self.activations if row[:2] == (organization_id, mapping_id)]
        return rows[-1][2] if rows else 0

    def _check_up(self) -> None:
        if self.is_down:
            raise UnavailableError("down")


def _key(position: MappingPosition) -> tuple[datetime, str]:
    return position.create_time, position.mapping_id
