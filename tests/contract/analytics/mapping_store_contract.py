"""What every MappingStore must do. Subclass it and give it a ``store`` fixture."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from analytics_svc.mappings.mapping import ActiveMapping, FieldRule, MappingVersion
from analytics_svc.store import MappingStore

ACME, OTHER = "org_acmecorp", "org_other"
NOW = datetime(2026, 3, 3, 12, 0, 0, 123_000, tzinfo=UTC)


def version(
    mapping_id: str, number: int = 1, *, organization_id: str = ACME, age_seconds: int = 0, parameter: str = "zoneid"
) -> MappingVersion:
    """Return a version of some mapping."""
    return MappingVersion(
        organization_id=organization_id,
        mapping_id=mapping_id,
        version=number,
        name="Zones 'of' PropellerÄds",
        source="propellerads",
        rules=(FieldRule(parameter, "placement"), FieldRule("P3\\'{x:String}", "external_id")),
        start_time=NOW - timedelta(days=1),
        end_time=None,
        actor="key:1",
        create_time=NOW - timedelta(seconds=age_seconds),
    )


class MappingStoreContract:
    """The suite."""

    async def test_a_version_comes_back_as_it_was_put_and_does_not_hold_yet(self, store: MappingStore) -> None:
        bounded = replace(version("map_1"), start_time=None, end_time=NOW)
        await store.add(bounded)
        assert await store.versions(ACME, "map_1") == [bounded]
        assert not any((await store.active()).values())

    async def test_another_organisations_mapping_is_like_none(self, store: MappingStore) -> None:
        await store.add(version("map_1"))
        await store.activate(ACME, "map_1", 1, actor="key:1", now=NOW)
        assert await store.versions(OTHER, "map_1") == []
        assert await store.list_page(OTHER, after=None, limit=10) == []
        assert await store.count(OTHER) == 0

    async def test_the_version_that_was_activated_last_holds(self, store: MappingStore) -> None:
        for number in (1, 2, 3):
            await store.add(version("map_1", number, parameter=f"p{number}"))
        for number, holding in ((2, [2]), (3, [3]), (1, [1]), (0, []), (2, [2])):
            await store.activate(ACME, "map_1", number, actor="key:1", now=NOW)
            found = await store.versions(ACME, "map_1")
            assert [v.version for v in found] == [3, 2, 1]
            assert [v.version for v in found if v.is_active] == holding
            active = (await store.active()).get(ACME, ())
            assert [mapping.parameters["placement"] for mapping in active] == [f"p{n}" for n in holding]

    async def test_a_version_is_read_by_in_lower_case(self, store: MappingStore) -> None:
        await store.add(version("map_1", parameter="ZoneID"))
        await store.activate(ACME, "map_1", 1, actor="key:1", now=NOW)
        assert await store.active() == {
            ACME: (
                ActiveMapping(
                    "map_1",
                    1,
                    "propellerads",
                    {"placement": "zoneid", "external_id": "p3\\'{x:string}"},
                    NOW - timedelta(days=1),
                    None,
                ),
            )
        }

    async def test_the_same_id_of_two_organisations_is_two_mappings(self, store: MappingStore) -> None:
        for organization_id, number in ((ACME, 1), (OTHER, 1), (OTHER, 2)):
            await store.add(version("map_1", number, organization_id=organization_id))
        await store.activate(OTHER, "map_1", 2, actor="key:1", now=NOW)
        assert [v.is_active for v in await store.versions(ACME, "map_1")] == [False]
        await store.activate(ACME, "map_1", 1, actor="key:1", now=NOW)
        active = await store.active()
        assert {owner: [m.version for m in mappings] for owner, mappings in active.items()} == {ACME: [1], OTHER: [2]}

    async def test_mappings_hold_in_the_order_in_which_they_were_made(self, store: MappingStore) -> None:
        for mapping_id, age in (("map_b", 20), ("map_a", 10), ("map_c", 10)):
            await store.add(version(mapping_id, age_seconds=age))
            await store.activate(ACME, mapping_id, 1, actor="key:1", now=NOW)
        # A later version does not make a mapping younger.
        await store.add(version("map_b", 2))
        await store.activate(ACME, "map_b", 2, actor="key:1", now=NOW)
        assert [m.label for m in (await store.active())[ACME]] == ["map_b/2", "map_a/1", "map_c/1"]

    async def test_the_list_shows_each_mapping_once_the_newest_first(self, store: MappingStore) -> None:
        for mapping_id, age in (("map_b", 20), ("map_a", 10), ("map_c", 10)):
            await store.add(version(mapping_id, age_seconds=age))
        await store.add(version("map_b", 2))
        await store.add(version("map_b", 3))
        await store.add(version("map_a", 2))
        await store.activate(ACME, "map_b", 2, actor="key:1", now=NOW)
        listed, after = [], None
        while page := await store.list_page(ACME, after=after, limit=2):
            listed += page
            after = page[-1].position
        # The version that holds, or else the newest.
        assert [(found.current.mapping_id, found.current.version) for found in listed] == [
            ("map_c", 1),
            ("map_a", 2),
            ("map_b", 2),
        ]
        assert [found.current.is_active for found in listed] == [False, False, True]
        assert await store.count(ACME) == 3
