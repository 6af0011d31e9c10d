"""What every ``WardenStore`` promises."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from auth_svc.directory_update import DirectoryUpdate
from auth_svc.key import Key
from auth_svc.organization import OrganizationStatus
from auth_svc.role import BUILT_IN_ROLES, Role
from auth_svc.store import KeyChange, OrganizationChange, WardenStore
from svc_runtime.errors import AlreadyExistsError, NotFoundError
from tests.contract.auth.things import NOON, a_domain, a_key, an_act, an_organization


class WardenStoreContract:
    """Subclass it with a fixture ``store`` that is empty."""

    @pytest.fixture
    async def both(self, store: WardenStore) -> WardenStore:
        """A store with the organisations org_a and org_b."""
        for name in ("org_a", "org_b"):
            await store.create_organization(an_organization(name), an_act("organization.create", name, name))
        return store

    # Organisations

    async def test_an_organisation_comes_back_as_it_was_stored(self, both: WardenStore) -> None:
        assert await both.get_organization("org_a") == an_organization("org_a")

    async def test_a_second_organisation_of_the_same_id_is_refused_and_leaves_no_trace(self, both: WardenStore) -> None:
        before = (await both.read_directory()).revision
        with pytest.raises(AlreadyExistsError):
            await both.create_organization(an_organization("org_a"), an_act("organization.create"))
        assert (await both.read_directory()).revision == before
        assert len(await both.list_audit_entries("org_a", before=None, limit=10)) == 1

    async def test_organisations_are_listed_by_the_bytes_of_their_ids(self, store: WardenStore) -> None:
        names = ["org_b", "org_a_b", "org_ab", "org_a", "org_1"]
        for name in names:
            await store.create_organization(an_organization(name), an_act())
        listed = [each.organization_id for each in await store.list_organizations(after="", limit=10)]
        assert listed == sorted(names)
        assert [each.organization_id for each in await store.list_organizations(after="org_a", limit=2)] == [
            "org_a_b",
            "org_ab",
        ]

    async def test_a_change_of_an_organisation_is_stored_and_logged(self, both: WardenStore) -> None:
        suspended = replace(an_organization("org_a"), status=OrganizationStatus.SUSPENDED)
        await both.change_organization(
            "org_a", lambda _: OrganizationChange(suspended, an_act("organization.update", "org_a"))
        )
        assert (await both.get_organization("org_a")).status is OrganizationStatus.SUSPENDED
        assert (await both.list_audit_entries("org_a", before=None, limit=1))[0].act.action == "organization.update"

    async def test_no_change_of_an_organisation_is_no_act(self, both: WardenStore) -> None:
        before = await both.read_directory()
        assert await both.change_organization("org_a", lambda _: None) == an_organization("org_a")
        assert await both.read_directory() == before

    async def test_an_unknown_organisation_is_not_found(self, store: WardenStore) -> None:
        with pytest.raises(NotFoundError):
            await store.get_organization("org_none")
        with pytest.raises(NotFoundError):
            await store.change_organization("org_none", lambda _: None)

    # Keys

    @pytest.mark.parametrize(
        "key",
        [
            a_key(1),
            a_key(2, role="owner", expire_time=NOON + timedelta(days=1, microseconds=123456)),
            a_key(3, revoke_time=NOON, last_use_time=NOON, rotated_from="x", name="naïve 🗝"),
        ],
        ids=["plain", "expiring", "revoked"],
    )
    async def test_a_key_comes_back_as_it_was_stored(self, both: WardenStore, key: Key) -> None:
        await both.create_key(key, an_act())
        assert await both.get_key("org_a", key.key_id) == key

    async def test_a_key_of_an_unknown_organisation_is_refused(self, store: WardenStore) -> None:
        with pytest.raises(NotFoundError, match="org_none"):
            await store.create_key(a_key(1, "org_none"), an_act())

    async def test_the_same_key_twice_is_refused_even_for_another_organisation(self, both: WardenStore) -> None:
        await both.create_key(a_key(1), an_act())
        for owner in ("org_a", "org_b"):
            with pytest.raises(AlreadyExistsError):
                await both.create_key(a_key(1, owner), an_act())

    async def test_keys_are_listed_newest_first_page_by_page(self, both: WardenStore) -> None:
        same_time = NOON + timedelta(hours=1)
        keys = [a_key(number) for number in range(3)] + [a_key(number, create_time=same_time) for number in (7, 8)]
        for key in keys:
            await both.create_key(key, an_act())
        await both.create_key(a_key(99, "org_b"), an_act())
        expected = [8, 7, 2, 1, 0]
        seen: list[int] = []
        after = None
        while page := await both.list_keys("org_a", live_at=None, after=after, limit=2):
            seen += [int(key.key_id) for key in page]
            after = (page[-1].create_time, page[-1].key_id)
        assert seen == expected

    async def test_dead_keys_are_left_out_when_live_ones_are_wanted(self, both: WardenStore) -> None:
        for key in (
            a_key(1),
            a_key(2, revoke_time=NOON),
            a_key(3, expire_time=NOON),
            a_key(4, expire_time=NOON + timedelta(seconds=1)),
        ):
            await both.create_key(key, an_act())
        listed = await both.list_keys("org_a", live_at=NOON, after=None, limit=10)
        assert [int(key.key_id) for key in listed] == [4, 1]

    async def test_another_organisations_key_and_a_missing_one_read_the_same(self, both: WardenStore) -> None:
        missing = a_key(5).key_id
        with pytest.raises(NotFoundError) as of_missing:
            await both.get_key("org_a", missing)
        await both.create_key(a_key(5, "org_b"), an_act())
        with pytest.raises(NotFoundError) as of_foreign:
            await both.get_key("org_a", missing)
        assert str(of_foreign.value) == str(of_missing.value)
        with pytest.raises(NotFoundError) as of_foreign_change:
            await both.change_key("org_a", missing, lambda *_: None)
        assert str(of_foreign_change.value) == str(of_missing.value)

    async def test_a_decision_sees_every_key_of_the_rotation_and_changes_it_whole(self, both: WardenStore) -> None:
        await both.create_key(a_key(1), an_act())
        seen: list[list[str]] = []

        def decide(key: Key, chain: object) -> KeyChange:
            assert isinstance(chain, list)
            seen.append(sorted(each.key_id for each in chain))
            new = replace(a_key(2), rotation_id=key.rotation_id, rotated_from=key.key_id)
            return KeyChange((replace(key, expire_time=NOON),), (new,), an_act("key.rotate"))

        await both.change_key("org_a", a_key(1).key_id, decide)
        with pytest.raises(AlreadyExistsError):
            await both.change_key("org_a", a_key(1).key_id, decide)
        assert seen == [[a_key(1).key_id], [a_key(1).key_id, a_key(2).key_id]]
        assert (await both.get_key("org_a", a_key(1).key_id)).expire_time == NOON
        assert (await both.get_key("org_a", a_key(2).key_id)).rotated_from == a_key(1).key_id

    async def test_decisions_about_one_key_happen_one_after_the_other(self, both: WardenStore) -> None:
        def decide(key: Key, _chain: object) -> KeyChange | None:
            if key.revoke_time is not None:
                return None
            return KeyChange((replace(key, revoke_time=NOON),), (), an_act("key.revoke", target=key.key_id))

        for number in range(10):
            key_id = a_key(number).key_id
            await both.create_key(a_key(number), an_act())
            results = await asyncio.gather(*(both.change_key("org_a", key_id, decide) for _ in range(8)))
            assert sum(result is not None for result in results) == 1
        entries = await both.list_audit_entries("org_a", before=None, limit=100)
        revoked = [entry.act.target for entry in entries if entry.act.action == "key.revoke"]
        assert sorted(revoked) == [a_key(number).key_id for number in range(10)]

    async def test_the_last_use_moves_forward_only_and_is_no_act(self, both: WardenStore) -> None:
        await both.create_key(a_key(1), an_act())
        revision = (await both.read_directory()).revision
        later = NOON + timedelta(minutes=1)
        for used in (NOON, later, NOON):
            await both.mark_key_uses({a_key(1).key_id: used, a_key(2).key_id: used})
        assert (await both.get_key("org_a", a_key(1).key_id)).last_use_time == later
        assert (await both.read_directory()).revision == revision

    async def test_reports_of_use_in_any_order_at_once_keep_the_latest(self, both: WardenStore) -> None:
        ids = [a_key(number).key_id for number in range(20)]
        for number in range(20):
            await both.create_key(a_key(number), an_act())
        reports = [
            {key_id: NOON + timedelta(minutes=minute) for key_id in (ids if minute % 2 else reversed(ids))}
            for minute in range(10)
        ]
        await asyncio.gather(*(both.mark_key_uses(report) for report in reports))
        keys = await both.list_keys("org_a", live_at=None, after=None, limit=100)
        assert {key.last_use_time for key in keys} == {NOON + timedelta(minutes=9)}

    # Tracking domains

    async def test_a_host_belongs_to_one_organisation(self, both: WardenStore) -> None:
        await both.add_domain(a_domain("t.example.com"), an_act())
        texts = set()
        for owner in ("org_a", "org_b"):
            with pytest.raises(AlreadyExistsError) as refused:
                await both.add_domain(a_domain("t.example.com", owner), an_act())
            texts.add(str(refused.value))
        assert len(texts) == 1
        assert not any("org_" in text for text in texts)

    async def test_domains_are_listed_by_host_and_only_ones_own(self, both: WardenStore) -> None:
        for host in ("b.example", "a.example", "a-b.example"):
            await both.add_domain(a_domain(host), an_act())
        await both.add_domain(a_domain("c.example", "org_b"), an_act())
        listed = await both.list_domains("org_a", after="", limit=10)
        assert [domain.host for domain in listed] == ["a-b.example", "a.example", "b.example"]
        assert listed[0] == a_domain("a-b.example")
        assert [domain.host for domain in await both.list_domains("org_a", after="a.example", limit=10)] == [
            "b.example"
        ]

    async def test_another_organisations_host_cannot_be_removed_and_reads_as_missing(self, both: WardenStore) -> None:
        with pytest.raises(NotFoundError) as of_missing:
            await both.remove_domain("org_a", "t.example.com", an_act())
        await both.add_domain(a_domain("t.example.com", "org_b"), an_act())
        with pytest.raises(NotFoundError) as of_foreign:
            await both.remove_domain("org_a", "t.example.com", an_act())
        assert str(of_foreign.value) == str(of_missing.value)
        assert len(await both.list_domains("org_b", after="", limit=10)) == 1

    async def test_a_removed_host_may_be_taken_by_somebody_else(self, both: WardenStore) -> None:
        await both.add_domain(a_domain("t.example.com"), an_act())
        await both.remove_domain("org_a", "t.example.com", an_act())
        await both.add_domain(a_domain("t.example.com", "org_b"), an_act())
        assert (await both.read_directory()).domains == (("t.example.com", "org_b"),)

    # Roles

    async def test_roles_belong_to_their_organisation(self, both: WardenStore) -> None:
        role = Role("helper", frozenset({"keys:read", "campaigns:read"}))
        await both.create_role("org_a", role, an_act("role.create"))
        await both.create_role("org_b", replace(role, scopes=frozenset({"audit:read"})), an_act("role.create"))
        await both.create_role("org_a", Role("a", frozenset({"keys:read"})), an_act("role.create"))
        assert await both.find_role("org_a", "helper") == role
        assert await both.find_role("org_a", "none") is None
        assert await both.find_role("org_b", "a") is None
        assert [each.name for each in await both.list_roles("org_a")] == ["a", "helper"]
        with pytest.raises(AlreadyExistsError):
            await both.create_role("org_a", role, an_act("role.create"))
        with pytest.raises(NotFoundError):
            await both.create_role("org_none", role, an_act("role.create"))

    # The audit log

    async def test_acts_are_logged_in_the_order_in_which_they_took_effect(self, both: WardenStore) -> None:
        act = an_act("key.create", target="k", name="naïve", scopes=["a:b"], role=None, is_fixed=False)
        await both.create_key(a_key(1), act)
        entries = await both.list_audit_entries("org_a", before=None, limit=10)
        assert [entry.act.action for entry in entries] == ["key.create", "organization.create"]
        assert entries[0].act == act
        assert entries[0].entry_id > entries[1].entry_id
        assert await both.list_audit_entries("org_a", before=entries[0].entry_id, limit=10) == entries[1:]
        assert [entry.act.action for entry in await both.list_audit_entries("org_b", before=None, limit=10)] == [
            "organization.create"
        ]

    # The directory

    async def test_an_empty_store_is_at_revision_0(self, store: WardenStore) -> None:
        assert await store.read_directory() == DirectoryUpdate(0, is_snapshot=True)
        assert await store.read_directory_changes(0) == DirectoryUpdate(0)

    async def test_the_directory_holds_everything_with_roles_resolved(self, both: WardenStore) -> None:
        await both.create_role("org_a", Role("helper", frozenset({"keys:read"})), an_act("role.create"))
        for key in (a_key(1), a_key(2, role="analyst"), a_key(3, role="helper", scopes=frozenset({"audit:read"}))):
            await both.create_key(key, an_act())
        await both.create_key(a_key(4, "org_b", role="helper"), an_act())  # org_b has no such role
        await both.add_domain(a_domain("t.example.com"), an_act())
        snapshot = await both.read_directory()
        assert {int(key.key_id): key.scopes for key in snapshot.keys} == {
            1: {"campaigns:read"},
            2: {"campaigns:read"} | BUILT_IN_ROLES["analyst"].scopes,
            3: {"audit:read", "keys:read"},
            4: {"campaigns:read"},
        }
        assert {key.hash for key in snapshot.keys} == {a_key(number).hash for number in (1, 2, 3, 4)}
        assert snapshot.domains == (("t.example.com", "org_a"),)
        assert sorted(snapshot.organizations) == [
            ("org_a", OrganizationStatus.ACTIVE),
            ("org_b", OrganizationStatus.ACTIVE),
        ]
        assert snapshot.is_snapshot

    async def test_changes_are_what_happened_after_a_revision(self, both: WardenStore) -> None:
        await both.create_key(a_key(1), an_act())
        await both.add_domain(a_domain("old.example.com"), an_act())
        since = (await both.read_directory()).revision
        assert await both.read_directory_changes(since) == DirectoryUpdate(since)
        await both.create_key(a_key(2), an_act())
        await both.remove_domain("org_a", "old.example.com", an_act())
        await both.add_domain(a_domain("new.example.com"), an_act())
        changes = await both.read_directory_changes(since)
        assert changes.revision > since
        assert not changes.is_snapshot
        assert [int(key.key_id) for key in changes.keys] == [2]
        assert changes.domains == (("new.example.com", "org_a"),)
        assert changes.removed_hosts == ("old.example.com",)
        assert changes.organizations == ()

    async def test_a_host_that_is_back_is_not_told_as_removed(self, both: WardenStore) -> None:
        await both.add_domain(a_domain("t.example.com"), an_act())
        since = (await both.read_directory()).revision
        await both.remove_domain("org_a", "t.example.com", an_act())
        await both.add_domain(a_domain("t.example.com", "org_b"), an_act())
        changes = await both.read_directory_changes(since)
        assert changes.domains == (("t.example.com", "org_b"),)
        assert changes.removed_hosts == ()

    async def test_revisions_rise_with_every_act_and_keep_up_with_the_clock(self, both: WardenStore) -> None:
        seen = [(await both.read_directory()).revision]
        for number in range(5):
            await both.create_key(a_key(number), an_act())
            seen.append((await both.read_directory()).revision)
        assert seen == sorted(set(seen))
        assert seen[0] > NOON.timestamp() * 1000

    async def test_who_is_from_the_future_is_told_the_lower_revision(self, both: WardenStore) -> None:
        held = (await both.read_directory()).revision
        assert await both.read_directory_changes(held + 10) == DirectoryUpdate(held)

    async def test_a_change_is_notified(self, both: WardenStore) -> None:
        async with both.notifications() as notified:
            waiting = asyncio.create_task(notified.wait(30))
            await asyncio.sleep(0.01)
            assert not waiting.done()
            await both.create_key(a_key(1), an_act())
            await asyncio.wait_for(waiting, 5)

    async def test_a_change_before_the_wait_is_notified_too(self, both: WardenStore) -> None:
        async with both.notifications() as notified:
            await both.create_key(a_key(1), an_act())
            await asyncio.wait_for(notified.wait(30), 5)

    async def test_a_wait_ends_by_itself(self, both: WardenStore) -> None:
        async with both.notifications() as notified:
            await asyncio.wait_for(notified.wait(0.01), 5)
