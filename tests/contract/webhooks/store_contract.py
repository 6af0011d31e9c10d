"""What every WebhookStore must do. Subclass it and give it a ``store`` fixture."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from attribution_svc.webhooks.attempt import Circuit
from attribution_svc.webhooks.store import Position, WebhookStore
from attribution_svc.webhooks.webhook import SigningSecret, WebhookKind
from svc_runtime.errors import FailedPreconditionError, NotFoundError
from tests.contract.webhooks.things import EVERYTHING, MINUTE, NOW, make_webhook


class WebhookStoreContract:
    """Promises of ``WebhookStore``."""

    async def test_a_webhook_comes_back_as_it_was(self, store: WebhookStore) -> None:
        webhook = replace(
            make_webhook(kind=WebhookKind.WEBHOOK, url="https://a.example/"),
            definition=EVERYTHING,
            is_enabled=False,
            disable_reason="because",
            secrets=(SigningSecret(b"\x00\xff"), SigningSecret(b"old", NOW)),
            sealed_headers={"x-key": b"\x01\x02"},
        )
        await store.insert(webhook, actor="key:1", most=5)
        assert await store.get("org_a", "wh_1") == webhook
        assert await store.circuit("org_a", "wh_1") == Circuit()

    async def test_anothers_is_missing_in_the_same_words(self, store: WebhookStore) -> None:
        await store.insert(make_webhook(), actor="key:1", most=5)
        for organization_id, webhook_id in (("org_b", "wh_1"), ("org_a", "wh_2")):
            with pytest.raises(NotFoundError) as caught:
                await store.get(organization_id, webhook_id)
            assert caught.value.message == f"no webhook {webhook_id!r}"
            with pytest.raises(NotFoundError):
                await store.circuit(organization_id, webhook_id)
            with pytest.raises(NotFoundError):
                await store.update(organization_id, webhook_id, lambda present: present, actor="key:1")
            with pytest.raises(NotFoundError):
                await store.delete(organization_id, webhook_id, actor="key:1", now=NOW)
        assert await store.list_page("org_b", after=None, limit=10) == []

    async def test_lists_are_newest_first_and_ids_fall_where_times_are_equal(self, store: WebhookStore) -> None:
        for webhook_id, age in (("wh_a", 1), ("wh_b", 0), ("wh_c", 0), ("wh_d", 2)):
            await store.insert(make_webhook(webhook_id, age=age * MINUTE), actor="key:1", most=5)
        await store.insert(make_webhook("wh_x", organization_id="org_b"), actor="key:1", most=5)
        page = await store.list_page("org_a", after=None, limit=3)
        assert [webhook.webhook_id for webhook in page] == ["wh_c", "wh_b", "wh_a"]
        rest = await store.list_page("org_a", after=Position(page[-1].create_time, "wh_a"), limit=3)
        assert [webhook.webhook_id for webhook in rest] == ["wh_d"]

    async def test_no_more_than_may_be_are_added_also_at_once(self, store: WebhookStore) -> None:
        outcomes = await asyncio.gather(
            *(store.insert(make_webhook(f"wh_{at}"), actor="key:1", most=3) for at in range(6)), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes].count(FailedPreconditionError) == 3
        assert len(await store.list_page("org_a", after=None, limit=10)) == 3
        await store.insert(make_webhook(organization_id="org_b"), actor="key:1", most=3)

    async def test_a_change_is_written_whole_and_a_refused_one_not_at_all(self, store: WebhookStore) -> None:
        await store.insert(make_webhook(), actor="key:1", most=5)
        following = await store.update(
            "org_a", "wh_1", lambda present: replace(present, is_enabled=False, version=2), actor="key:1"
        )
        assert following.version == 2
        assert await store.get("org_a", "wh_1") == following

        def refuse(_present: object) -> "object":
            raise FailedPreconditionError("no")

        with pytest.raises(FailedPreconditionError):
            await store.update("org_a", "wh_1", refuse, actor="key:1")  # type: ignore[arg-type]  # it never returns
        assert await store.get("org_a", "wh_1") == following

    async def test_changes_at_once_follow_each_other(self, store: WebhookStore) -> None:
        await store.insert(make_webhook(), actor="key:1", most=5)
        await asyncio.gather(
            *(
                store.update("org_a", "wh_1", lambda present: replace(present, version=present.version + 1), actor="k")
                for _ in range(10)
            )
        )
        assert (await store.get("org_a", "wh_1")).version == 11

    async def test_only_enabled_ones_of_the_organisations_are_planned_for(self, store: WebhookStore) -> None:
        await store.insert(make_webhook("wh_1"), actor="key:1", most=5)
        await store.insert(make_webhook("wh_2", is_enabled=False), actor="key:1", most=5)
        await store.insert(make_webhook("wh_3", organization_id="org_b"), actor="key:1", most=5)
        await store.insert(make_webhook("wh_4", organization_id="org_c"), actor="key:1", most=5)
        found = await store.enabled_of(["org_a", "org_b", "org_none"])
        assert {webhook.webhook_id for webhook in found} == {"wh_1", "wh_3"}

    async def test_a_deleted_one_is_gone_and_makes_room(self, store: WebhookStore) -> None:
        await store.insert(make_webhook(), actor="key:1", most=1)
        await store.delete("org_a", "wh_1", actor="key:1", now=NOW + timedelta(seconds=1))
        with pytest.raises(NotFoundError):
            await store.get("org_a", "wh_1")
        with pytest.raises(NotFoundError):
            await store.delete("org_a", "wh_1", actor="key:1", now=NOW)
        assert await store.list_page("org_a", after=None, limit=5) == []
        assert await store.enabled_of(["org_a"]) == []
        await store.insert(make_webhook("wh_2"), actor="key:1", most=1)
