"""What every ``WardenStore`` promises of partners."""

from dataclasses import replace
from datetime import timedelta

import pytest

from auth_svc.partner import Partner
from auth_svc.store import PartnerChange, WardenStore
from svc_runtime.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from tests.contract.auth.things import NOON, a_partner, a_token, an_act, an_organization

MANY = 100


class PartnerStoreContract:
    """Subclass it with a fixture ``store`` that is empty."""

    @pytest.fixture
    async def two(self, store: WardenStore) -> WardenStore:
        """A store with the organisations org_a and org_b."""
        for name in ("org_a", "org_b"):
            await store.create_organization(an_organization(name), an_act("organization.create", name, name))
        return store

    @pytest.mark.parametrize(
        "partner",
        [
            a_partner(1),
            a_partner(2, old_token=a_token(7, expire_time=NOON + timedelta(days=1)), sealed_secret=b"\x01sealed"),
            a_partner(
                3, addresses=("198.51.100.0/24", "::/0"), return_text="OK", is_enabled=False, revoke_time=NOON, name="ñ"
            ),
        ],
        ids=["plain", "rotated and signing", "revoked"],
    )
    async def test_a_partner_comes_back_as_it_was_stored(self, two: WardenStore, partner: Partner) -> None:
        await two.create_partner(partner, an_act("partner.create"), most=MANY)
        assert await two.get_partner("org_a", partner.partner_id) == partner
        assert (await two.read_directory()).partners == (partner,)

    async def test_a_partner_of_an_unknown_organisation_is_refused(self, store: WardenStore) -> None:
        with pytest.raises(NotFoundError, match="org_none"):
            await store.create_partner(a_partner(1, "org_none"), an_act(), most=MANY)

    async def test_the_same_partner_or_token_twice_is_refused_for_everybody(self, two: WardenStore) -> None:
        await two.create_partner(a_partner(1), an_act(), most=MANY)
        for owner in ("org_a", "org_b"):
            for again in (a_partner(1, owner, token=a_token(2)), a_partner(3, owner, token=a_token(1))):
                with pytest.raises(AlreadyExistsError):
                    await two.create_partner(again, an_act(), most=MANY)

    async def test_one_too_many_is_refused_until_one_is_revoked(self, two: WardenStore) -> None:
        for number in (1, 2):
            await two.create_partner(a_partner(number), an_act(), most=2)
        await two.create_partner(a_partner(3, "org_b"), an_act(), most=2)
        with pytest.raises(FailedPreconditionError, match="limit"):
            await two.create_partner(a_partner(4), an_act(), most=2)
        ended = replace(a_partner(1), revoke_time=NOON)
        await two.change_partner("org_a", ended.partner_id, lambda _: PartnerChange(ended, an_act("partner.revoke")))
        await two.create_partner(a_partner(4), an_act(), most=2)

    async def test_partners_are_listed_newest_first_page_by_page(self, two: WardenStore) -> None:
        same_time = NOON + timedelta(hours=1)
        for number in (0, 1, 2):
            await two.create_partner(a_partner(number), an_act(), most=MANY)
        for number in (7, 8):
            await two.create_partner(a_partner(number, create_time=same_time), an_act(), most=MANY)
        await two.create_partner(a_partner(5, revoke_time=NOON), an_act(), most=MANY)
        await two.create_partner(a_partner(9, "org_b"), an_act(), most=MANY)
        seen: list[str] = []
        after = None
        while page := await two.list_partners("org_a", includes_revoked=False, after=after, limit=2):
            seen += [partner.name for partner in page]
            after = (page[-1].create_time, page[-1].partner_id)
        assert seen == [f"partner {number}" for number in (8, 7, 2, 1, 0)]
        everybody = await two.list_partners("org_a", includes_revoked=True, after=None, limit=10)
        assert len(everybody) == 6

    async def test_another_organisations_partner_and_a_missing_one_read_the_same(self, two: WardenStore) -> None:
        await two.create_partner(a_partner(1, "org_b"), an_act(), most=MANY)
        texts = []
        for partner in (a_partner(1), a_partner(2)):
            with pytest.raises(NotFoundError) as refused:
                await two.get_partner("org_a", partner.partner_id)
            with pytest.raises(NotFoundError) as unchanged:
                await two.change_partner("org_a", partner.partner_id, lambda _: None)
            assert str(refused.value) == str(unchanged.value)
            texts.append(str(refused.value).replace(partner.partner_id, "it"))
        assert texts[0] == texts[1]

    async def test_a_change_is_stored_logged_and_told_to_watchers(self, two: WardenStore) -> None:
        await two.create_partner(a_partner(1), an_act(), most=MANY)
        await two.create_partner(a_partner(2), an_act(), most=MANY)
        before = (await two.read_directory()).revision
        changed = replace(a_partner(1), token=a_token(8), old_token=a_token(1, expire_time=NOON), is_enabled=False)
        act = an_act("partner.rotate", target=changed.partner_id)
        returned = await two.change_partner("org_a", changed.partner_id, lambda _: PartnerChange(changed, act))
        assert returned == await two.get_partner("org_a", changed.partner_id) == changed
        news = await two.read_directory_changes(before)
        assert (news.partners, news.keys) == ((changed,), ())
        assert news.revision > before
        assert (await two.list_audit_entries("org_a", before=None, limit=1))[0].act == act

    async def test_no_change_is_no_act(self, two: WardenStore) -> None:
        await two.create_partner(a_partner(1), an_act(), most=MANY)
        before = await two.read_directory()
        assert await two.change_partner("org_a", a_partner(1).partner_id, lambda _: None) == a_partner(1)
        assert await two.read_directory() == before
