"""AuthService over a store in memory, and how it behaves when the store goes away."""

import asyncio
import contextlib
from dataclasses import replace

import grpc
import pytest
from structlog.testing import capture_logs

from auth_svc.directory import Directory
from svc_runtime.errors import Code, UnavailableError
from tests.contract.auth.memory_store import MemoryWardenStore
from tests.contract.auth.mesh import operator, refusal, running_warden
from tests.contract.auth.rpc_contract import WardenRpcContract
from tests.contract.auth.things import NOON
from trellis.auth.v1 import auth_service_pb2 as pb

pytestmark = pytest.mark.loopback


@pytest.fixture
def store() -> MemoryWardenStore:
    return MemoryWardenStore()


class TestAuthService(WardenRpcContract):
    """The contract in memory."""


async def test_known_keys_validate_and_watches_stay_open_while_the_store_is_away(store: MemoryWardenStore) -> None:
    async with running_warden(store) as client:
        await client.organization("org_a")
        made = await client.key("org_a", role="owner")
        watch = client.watch()
        await asyncio.wait_for(watch.read(), 5)
        store.go_away()
        waiting = asyncio.create_task(watch.read())
        assert (await client.validate(made.secret)).organization_id == "org_a"
        error = await refusal(client.key("org_a", role="owner"))
        assert error.code is Code.UNAVAILABLE
        assert error.retry_after_seconds
        assert (await refusal(client.validate("wdn_sk_live_somebody"))).code is Code.UNAVAILABLE
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.3)
        newcomer = await asyncio.wait_for(client.watch().read(), 5)
        assert newcomer.is_snapshot
        assert [key.key_id for key in newcomer.keys] == [made.key.key_id]
        store.come_back()
        await client.stub.RevokeKey(pb.RevokeKeyRequest(key_id=made.key.key_id), metadata=operator("org_a"))
        change = await asyncio.wait_for(waiting, 5)
        assert change.keys[0].HasField("revoke_time")


async def test_a_replica_knows_its_own_acts_at_once_whatever_becomes_of_notifications(
    store: MemoryWardenStore,
) -> None:
    async with running_warden(store) as client:
        await client.organization("org_a")
        made = await client.key("org_a", role="owner")
        store.is_silent = True
        await client.stub.RevokeKey(pb.RevokeKeyRequest(key_id=made.key.key_id), metadata=operator("org_a"))
        assert (await refusal(client.validate(made.secret))).reason == "KEY_REVOKED"


async def test_all_who_want_to_catch_up_at_once_share_the_next_question(store: MemoryWardenStore) -> None:
    directory = Directory(store, allow_fixed_keys=False)
    await asyncio.gather(*(directory.catch_up() for _ in range(100)))
    assert store.read_count == 2  # one was under way when the others came
    await directory.catch_up()
    assert store.read_count == 3
    store.go_away()
    outcomes = await asyncio.gather(*(directory.catch_up() for _ in range(100)), return_exceptions=True)
    assert store.read_count == 5
    assert {type(outcome) for outcome in outcomes} == {UnavailableError}


async def test_a_change_made_while_the_replica_could_not_look_arrives_afterwards(store: MemoryWardenStore) -> None:
    async with running_warden(store) as here, running_warden(store) as there:
        await here.organization("org_a")
        made = await here.key("org_a", role="owner")
        watch = there.watch()
        await asyncio.wait_for(watch.read(), 5)
        store.go_away()
        await asyncio.sleep(0.1)
        store.keys[made.key.key_id] = replace(store.keys[made.key.key_id], revoke_time=NOON)
        store.revision += 1
        store.changed_at["key", made.key.key_id] = store.revision
        store.come_back()
        change = await asyncio.wait_for(watch.read(), 5)
        assert change.keys[0].HasField("revoke_time")
        assert (await refusal(there.validate(made.secret))).reason == "KEY_REVOKED"


async def test_a_store_that_went_back_in_time_rolls_nothing_back(store: MemoryWardenStore) -> None:
    async with running_warden(store) as client:
        await client.organization("org_a")
        kept, revoked = await client.key("org_a", role="owner"), await client.key("org_a", role="owner")
        backup = (dict(store.keys), dict(store.changed_at), store.revision)
        await client.stub.RevokeKey(pb.RevokeKeyRequest(key_id=revoked.key.key_id), metadata=operator("org_a"))
        younger = await client.key("org_a", role="owner")
        watch = client.watch()
        snapshot = await asyncio.wait_for(watch.read(), 5)

        with capture_logs() as logs:
            store.keys, store.changed_at, store.revision = backup
            store._wake()
            await refusal(client.validate("wdn_sk_live_somebody"))
        assert [log["log_level"] for log in logs if "older than what we know" in log["event"]] == ["error"]
        assert (await refusal(client.validate(revoked.secret))).reason == "KEY_REVOKED"
        await client.validate(younger.secret)
        newcomer = await asyncio.wait_for(client.watch().read(), 5)
        assert newcomer.revision == snapshot.revision
        assert {key.key_id for key in newcomer.keys} == {each.key.key_id for each in (kept, revoked, younger)}

        # The first act on the older copy reaches everybody, as a change and not as a snapshot.
        await client.stub.RevokeKey(pb.RevokeKeyRequest(key_id=kept.key.key_id), metadata=operator("org_a"))
        change = await asyncio.wait_for(watch.read(), 5)
        assert change.revision > snapshot.revision
        assert [key.key_id for key in change.keys] == [kept.key.key_id]

        # A key that was seen revoked stays so, although the older copy brings it as live.
        with capture_logs() as logs:
            await client.stub.RotateKey(pb.RotateKeyRequest(key_id=revoked.key.key_id), metadata=operator("org_a"))
        assert any("revived a revoked key" in log["event"] for log in logs)
        assert (await refusal(client.validate(revoked.secret))).reason == "KEY_REVOKED"


async def test_a_watcher_that_fell_behind_gets_a_snapshot(
    store: MemoryWardenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth_svc.directory.REMEMBERED_UPDATES", 3)
    async with running_warden(store) as client:
        directory = Directory(store, allow_fixed_keys=False)
        await directory.catch_up()
        await client.organization("org_a")
        async with contextlib.aclosing(directory.watch()) as watch:
            first = await anext(watch)
            assert first.is_snapshot
            for number in range(10):
                await client.stub.AddDomain(
                    pb.AddDomainRequest(host=f"t{number}.example.com"), metadata=operator("org_a")
                )
                await directory.catch_up()
            second = await anext(watch)
            assert second.is_snapshot
            assert len(second.domains) == 10
            await client.stub.AddDomain(pb.AddDomainRequest(host="last.example.com"), metadata=operator("org_a"))
            await directory.catch_up()
            third = await anext(watch)
            assert not third.is_snapshot
            assert third.domains == (("last.example.com", "org_a"),)


async def test_fixed_keys_are_announced_loudly(store: MemoryWardenStore) -> None:
    with capture_logs() as logs:
        async with running_warden(store, allow_fixed_keys=True):
            pass
    assert [log["log_level"] for log in logs if "FIXED KEYS" in log["event"]] == ["warning"]
    with capture_logs() as logs:
        async with running_warden(store):
            pass
    assert not [log for log in logs if "FIXED KEYS" in log["event"]]


async def test_no_key_reaches_the_logs(store: MemoryWardenStore) -> None:
    with capture_logs() as logs:
        async with running_warden(store) as client:
            await client.organization("org_a")
            made = await client.key("org_a", role="owner")
            await client.validate(made.secret)
            await refusal(client.validate(made.secret[:-1] + "!"))
    assert made.secret not in str(logs)
    assert made.secret[34:56] not in str(logs)


async def test_a_caller_that_gives_up_ends_its_watch(store: MemoryWardenStore) -> None:
    async with running_warden(store) as client:
        watch = client.watch()
        await asyncio.wait_for(watch.read(), 5)
        with capture_logs() as logs:
            watch.cancel()
            for _ in range(100):
                await asyncio.sleep(0.01)
                if any(log["event"] == "watch ends" for log in logs):
                    break
        assert [log["event"] for log in logs] == ["watch ends"]
        assert watch.cancelled()
        assert await watch.code() is grpc.StatusCode.CANCELLED
