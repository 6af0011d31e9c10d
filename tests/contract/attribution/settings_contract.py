"""What every ModelSettingsStore must do. Subclass it and give it a ``settings`` fixture."""

import asyncio
from datetime import UTC, datetime

import pytest

from attribution_svc.crediting.settings import ModelSettingsStore, TypeSetting, asked_model, types_to_json
from attribution_svc.models.touch import Lookback
from svc_runtime.errors import FailedPreconditionError, NotFoundError

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
GENERAL = TypeSetting("", Lookback.days(90), asked_model("time_decay", {"half_life_days": 3.5}))
LEAD = TypeSetting("lead", Lookback(None, is_same_session=True))


class ModelSettingsStoreContract:
    """The suite."""

    async def test_nobody_has_set_anything_at_first(self, settings: ModelSettingsStore) -> None:
        found = await settings.current("org_a")
        assert (found.version, found.types, found.create_time) == (0, (), None)

    async def test_what_is_put_holds_and_the_versions_before_stay(self, settings: ModelSettingsStore) -> None:
        first = await settings.put("org_a", (GENERAL,), actor="key:1", now=NOW)
        second = await settings.put("org_a", (GENERAL, LEAD), actor="key:2", now=NOW)
        assert (first.version, second.version) == (1, 2)
        current = await settings.current("org_a")
        assert (current.version, current.actor, current.create_time) == (2, "key:2", NOW)
        assert types_to_json(current.types) == types_to_json((GENERAL, LEAD))
        assert types_to_json((await settings.version("org_a", 1)).types) == types_to_json((GENERAL,))

    async def test_the_same_again_is_no_new_version(self, settings: ModelSettingsStore) -> None:
        for _ in range(2):
            assert (await settings.put("org_a", (LEAD,), actor="key:1", now=NOW)).version == 1

    async def test_only_the_expected_version_is_replaced(self, settings: ModelSettingsStore) -> None:
        await settings.put("org_a", (LEAD,), actor="key:1", now=NOW, expected_version=0)
        with pytest.raises(FailedPreconditionError, match="have version 1, not 0"):
            await settings.put("org_a", (GENERAL,), actor="key:1", now=NOW, expected_version=0)
        assert (await settings.put("org_a", (GENERAL,), actor="key:1", now=NOW, expected_version=1)).version == 2

    async def test_another_organisations_version_is_missing(self, settings: ModelSettingsStore) -> None:
        await settings.put("org_a", (LEAD,), actor="key:1", now=NOW)
        assert (await settings.current("org_b")).version == 0
        for organization_id, version in (("org_b", 1), ("org_a", 2), ("org_a", 2**32 - 1)):
            with pytest.raises(NotFoundError, match=f"no version {version} of"):
                await settings.version(organization_id, version)

    async def test_of_several_at_once_each_gets_its_version(self, settings: ModelSettingsStore) -> None:
        wanted = [(TypeSetting("", Lookback.days(days)),) for days in range(1, 9)]
        put = await asyncio.gather(*(settings.put("org_a", types, actor="key:1", now=NOW) for types in wanted))
        assert sorted(found.version for found in put) == list(range(1, 9))
