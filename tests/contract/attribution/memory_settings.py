"""Settings of the models in memory, to be tested by the same suite as the real ones."""

from datetime import datetime

from attribution_svc.crediting.settings import ModelSettings, TypeSetting, no_such_version, types_to_json
from svc_runtime.errors import FailedPreconditionError


class MemoryModelSettingsStore:
    """``ModelSettingsStore`` in a dict."""

    def __init__(self) -> None:
        self._versions: dict[str, list[ModelSettings]] = {}

    async def current(self, organization_id: str) -> ModelSettings:
        """See ``ModelSettingsStore.current``."""
        versions = self._versions.get(organization_id)
        return versions[-1] if versions else ModelSettings(organization_id, 0)

    async def version(self, organization_id: str, version: int) -> ModelSettings:
        """See ``ModelSettingsStore.version``."""
        versions = self._versions.get(organization_id, [])
        if not 1 <= version <= len(versions):
            raise no_such_version(version)
        return versions[version - 1]

    async def put(
        self,
        organization_id: str,
        types: tuple[TypeSetting, ...],
        *,
        actor: str,
        now: datetime,
        expected_version: int | None = None,
    ) -> ModelSettings:
        """See ``ModelSettingsStore.put``."""
        current = await self.current(organization_id)
        if expected_version not in (None, current.version):
            raise FailedPreconditionError(f"the settings have version {current.version}, not {expected_version}")
        if types_to_json(types) == types_to_json(current.types):
            return current
        following = ModelSettings(organization_id, current.version + 1, types, actor, now)
        self._versions.setdefault(organization_id, []).append(following)
        return following
