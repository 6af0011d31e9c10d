"""PartnerService over a store in memory: who may what, what is shown once, and what gateways hear."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from svc_runtime.errors import Code
from svc_runtime.keys import hash_key
from svc_runtime.partner_tokens import present_partner_token
from svc_runtime.sealing import PARTNER_SECRETS, Sealer
from tests.contract.auth.memory_store import MemoryWardenStore
from tests.contract.auth.mesh import MESH, PEPPER, WardenClient, member, operator, refusal, running_warden
from tests.contract.auth.things import NOON, TestClock
from trellis.auth.v1 import auth_service_pb2
from trellis.auth.v1 import partner_service_pb2 as pb

pytestmark = pytest.mark.loopback
WRITER = member("org_a", "partners:read", "partners:write")
STRANGER = member("org_b", "partners:read", "partners:write")
DAY = 24 * 3600


@pytest.fixture
def store() -> MemoryWardenStore:
    return MemoryWardenStore()


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
async def warden(store: MemoryWardenStore, clock: TestClock) -> AsyncIterator[WardenClient]:
    async with running_warden(store, clock) as client:
        for name in ("org_a", "org_b"):
            await client.organization(name)
        yield client


async def create(warden: WardenClient, **fields: Any) -> Any:
    request = pb.CreatePartnerRequest(**{"name": "CJ Affiliate", "network": "cj"} | fields)
    return await warden.partners.CreatePartner(request, metadata=WRITER)


async def heard(warden: WardenClient) -> Any:
    """Return the one partner that a gateway that comes now hears of."""
    watch = warden.watch()
    snapshot = await asyncio.wait_for(watch.read(), 5)
    watch.cancel()
    [partner] = snapshot.partners
    return partner


async def test_a_new_partner_has_a_token_that_is_shown_this_once(warden: WardenClient) -> None:
    made = await create(warden, addresses=["198.51.100.7", "2001:db8::/32"], return_text="success=true")
    partner = made.partner
    assert partner.partner_id.startswith("ptr_")
    assert (partner.organization_id, partner.name, partner.network) == ("org_a", "CJ Affiliate", "cj")
    assert list(partner.addresses) == ["198.51.100.7/32", "2001:db8::/32"]
    assert (partner.is_enabled, partner.is_signed, partner.return_text) == (True, False, "success=true")
    assert (partner.token_last_four, made.signing_secret) == (made.token[-4:], "")
    listed = await warden.partners.ListPartners(pb.ListPartnersRequest(), metadata=WRITER)
    got = await warden.partners.GetPartner(pb.GetPartnerRequest(partner_id=partner.partner_id), metadata=WRITER)
    assert list(listed.partners) == [got.partner] == [partner]
    assert made.token not in str(listed)


async def test_gateways_hear_what_recognises_a_partner_and_not_its_token(warden: WardenClient) -> None:
    made = await create(warden)
    record = await heard(warden)
    [token] = record.tokens
    assert token.token_id == present_partner_token(PEPPER.encode(), made.token).token_id
    assert token.hash == hash_key(PEPPER.encode(), made.token)
    assert made.token.encode() not in record.SerializeToString()
    assert (record.partner_id, record.organization_id, record.network) == (made.partner.partner_id, "org_a", "cj")


async def test_a_signing_secret_reaches_gateways_sealed(warden: WardenClient, store: MemoryWardenStore) -> None:
    made = await create(warden, is_signed=True)
    secret = base64.b64decode(made.signing_secret.removeprefix("whsec_"))
    record = await heard(warden)
    sealer = Sealer(MESH.mesh_secret.get_secret_value(), PARTNER_SECRETS)
    assert len(secret) == 32
    assert sealer.open(record.sealed_secret, record.partner_id) == secret
    assert secret not in store.partners[record.partner_id].sealed_secret
    assert made.partner.is_signed


async def test_a_signature_is_wanted_anew_or_no_more(warden: WardenClient) -> None:
    made = await create(warden, is_signed=True)
    request = pb.SetPartnerSignatureRequest(partner_id=made.partner.partner_id, is_signed=True)
    renewed = await warden.partners.SetPartnerSignature(request, metadata=WRITER)
    assert renewed.signing_secret not in ("", made.signing_secret)
    request.is_signed = False
    ended = await warden.partners.SetPartnerSignature(request, metadata=WRITER)
    assert (ended.partner.is_signed, ended.signing_secret) == (False, "")
    assert not (await heard(warden)).sealed_secret


async def test_a_rotated_token_lives_on_for_the_overlap_and_older_ones_end(
    warden: WardenClient, clock: TestClock
) -> None:
    made = await create(warden)
    request = pb.RotatePartnerTokenRequest(partner_id=made.partner.partner_id)
    second = await warden.partners.RotatePartnerToken(request, metadata=WRITER)
    assert second.partner.old_token_expire_time.ToDatetime(UTC) == NOON + timedelta(days=1)
    clock.turn(timedelta(hours=1))
    third = await warden.partners.RotatePartnerToken(request, metadata=WRITER)
    ids = [present_partner_token(PEPPER.encode(), each.token).token_id for each in (third, second)]
    record = await heard(warden)
    assert [token.token_id for token in record.tokens] == ids
    assert not record.tokens[0].HasField("expire_time")
    assert record.tokens[1].expire_time.ToDatetime(UTC) == NOON + timedelta(days=1, hours=1)
    request.overlap_seconds = 0
    await warden.partners.RotatePartnerToken(request, metadata=WRITER)
    assert len((await heard(warden)).tokens) == 1


async def test_what_is_set_of_a_partner_is_changed(warden: WardenClient) -> None:
    made = await create(warden, addresses=["198.51.100.0/24"])
    partner_id = made.partner.partner_id
    one = pb.UpdatePartnerRequest(partner_id=partner_id, network="awin", is_enabled=False)
    changed = (await warden.partners.UpdatePartner(one, metadata=WRITER)).partner
    assert (changed.name, changed.network, changed.is_enabled) == ("CJ Affiliate", "awin", False)
    assert list(changed.addresses) == ["198.51.100.0/24"]
    free = pb.UpdatePartnerRequest(partner_id=partner_id, addresses=pb.AddressList())
    assert not (await warden.partners.UpdatePartner(free, metadata=WRITER)).partner.addresses
    record = await heard(warden)
    assert (record.network, record.is_enabled, list(record.addresses)) == ("awin", False, [])


async def test_a_revoked_partner_stays_so_and_nothing_of_it_changes(warden: WardenClient, clock: TestClock) -> None:
    made = await create(warden, is_signed=True)
    partner_id = made.partner.partner_id
    revoke = pb.RevokePartnerRequest(partner_id=partner_id)
    first = await warden.partners.RevokePartner(revoke, metadata=WRITER)
    clock.turn(timedelta(hours=1))
    assert await warden.partners.RevokePartner(revoke, metadata=WRITER) == first
    record = await heard(warden)
    assert record.HasField("revoke_time")
    assert not record.sealed_secret
    for call in (
        warden.partners.UpdatePartner(pb.UpdatePartnerRequest(partner_id=partner_id, name="x"), metadata=WRITER),
        warden.partners.RotatePartnerToken(pb.RotatePartnerTokenRequest(partner_id=partner_id), metadata=WRITER),
        warden.partners.SetPartnerSignature(pb.SetPartnerSignatureRequest(partner_id=partner_id), metadata=WRITER),
    ):
        assert (await refusal(call)).code is Code.FAILED_PRECONDITION
    listed = await warden.partners.ListPartners(pb.ListPartnersRequest(), metadata=WRITER)
    everybody = await warden.partners.ListPartners(pb.ListPartnersRequest(include_revoked=True), metadata=WRITER)
    assert (len(listed.partners), len(everybody.partners)) == (0, 1)


async def test_a_store_that_revives_a_partner_is_not_believed(warden: WardenClient, store: MemoryWardenStore) -> None:
    partner_id = (await create(warden)).partner.partner_id
    backup = store.partners[partner_id]
    await warden.partners.RevokePartner(pb.RevokePartnerRequest(partner_id=partner_id), metadata=WRITER)
    store.partners[partner_id] = replace(backup, name="revived")
    store.changed_at["partner", partner_id] = store.revision + 1
    with capture_logs() as logs:
        await create(warden)
    assert any("revived a partner" in log["event"] for log in logs)
    watch = warden.watch()
    snapshot = await asyncio.wait_for(watch.read(), 5)
    assert [each.HasField("revoke_time") for each in snapshot.partners if each.partner_id == partner_id] == [True]


async def test_partners_come_page_by_page(warden: WardenClient, clock: TestClock) -> None:
    for number in range(5):
        await create(warden, name=str(number))
        clock.turn(timedelta(minutes=1))
    names, token = [], ""
    while True:
        request = pb.ListPartnersRequest(page_size=2, page_token=token)
        page = await warden.partners.ListPartners(request, metadata=WRITER)
        names += [partner.name for partner in page.partners]
        if not (token := page.next_page_token):
            break
    assert names == ["4", "3", "2", "1", "0"]


def calls(warden: WardenClient, partner_id: str, metadata: Any) -> list[Any]:
    """Return a call of every RPC about one partner."""
    stub = warden.partners
    return [
        stub.GetPartner(pb.GetPartnerRequest(partner_id=partner_id), metadata=metadata),
        stub.UpdatePartner(pb.UpdatePartnerRequest(partner_id=partner_id, name="x"), metadata=metadata),
        stub.RotatePartnerToken(pb.RotatePartnerTokenRequest(partner_id=partner_id), metadata=metadata),
        stub.SetPartnerSignature(pb.SetPartnerSignatureRequest(partner_id=partner_id), metadata=metadata),
        stub.RevokePartner(pb.RevokePartnerRequest(partner_id=partner_id), metadata=metadata),
    ]


async def test_another_organisations_partner_and_a_missing_one_read_the_same(warden: WardenClient) -> None:
    theirs, missing = (await create(warden)).partner.partner_id, "ptr_0123456789abcdef"
    texts = {}
    for partner_id in (theirs, missing, "no id at all"):
        errors = [await refusal(call) for call in calls(warden, partner_id, STRANGER)]
        assert {error.code for error in errors} == {Code.NOT_FOUND}
        texts[partner_id] = [error.message.replace(partner_id, "it") for error in errors]
    assert texts[theirs] == texts[missing] == texts["no id at all"]
    assert not (await warden.partners.ListPartners(pb.ListPartnersRequest(), metadata=STRANGER)).partners


async def test_who_lacks_the_scope_may_not(warden: WardenClient) -> None:
    partner_id = (await create(warden)).partner.partner_id
    reader = member("org_a", "partners:read", "keys:write")
    answers = calls(warden, partner_id, reader)[1:]
    answers.append(warden.partners.CreatePartner(pb.CreatePartnerRequest(name="x", network="x"), metadata=reader))
    assert {(await refusal(call)).code for call in answers} == {Code.PERMISSION_DENIED}
    nobody = member("org_a", "partners:write")
    assert (await refusal(calls(warden, partner_id, nobody)[0])).code is Code.PERMISSION_DENIED


async def test_a_suspended_organisation_may_not(warden: WardenClient) -> None:
    await create(warden)
    status = auth_service_pb2.ORGANIZATION_STATUS_SUSPENDED
    request = auth_service_pb2.UpdateOrganizationRequest(organization_id="org_a", status=status)
    await warden.stub.UpdateOrganization(request, metadata=operator())
    error = await refusal(create(warden))
    assert error.reason == "ORGANIZATION_SUSPENDED"


async def test_everything_that_is_wrong_with_a_partner_is_named(warden: WardenClient) -> None:
    error = await refusal(
        create(warden, name=" ", network="C J", addresses=["10.0.0.0/8", "nowhere"], return_text="<b>")
    )
    fields = [violation.field for violation in error.violations]
    assert fields == ["name", "network", "addresses[1]", "return_text"]
    many = await refusal(create(warden, addresses=["10.0.0.1"] * 101))
    assert [violation.field for violation in many.violations] == ["addresses"]
    partner_id = (await create(warden)).partner.partner_id
    nothing = await refusal(
        warden.partners.UpdatePartner(pb.UpdatePartnerRequest(partner_id=partner_id), metadata=WRITER)
    )
    long = await refusal(
        warden.partners.RotatePartnerToken(
            pb.RotatePartnerTokenRequest(partner_id=partner_id, overlap_seconds=31 * DAY), metadata=WRITER
        )
    )
    assert [nothing.violations[0].field, long.violations[0].field] == ["name", "overlap_seconds"]


async def test_acts_are_logged_without_secrets(warden: WardenClient) -> None:
    with capture_logs() as logs:
        made = await create(warden, is_signed=True)
        partner_id = made.partner.partner_id
        await warden.partners.UpdatePartner(
            pb.UpdatePartnerRequest(partner_id=partner_id, addresses=pb.AddressList(addresses=["10.1.2.3"])),
            metadata=WRITER,
        )
        rotated = await warden.partners.RotatePartnerToken(
            pb.RotatePartnerTokenRequest(partner_id=partner_id), metadata=WRITER
        )
        await warden.partners.SetPartnerSignature(pb.SetPartnerSignatureRequest(partner_id=partner_id), metadata=WRITER)
        await warden.partners.RevokePartner(pb.RevokePartnerRequest(partner_id=partner_id), metadata=WRITER)
    entries = [entry for entry in await warden.audit("org_a") if entry.target == partner_id]
    assert [entry.action for entry in reversed(entries)] == [
        "partner.create", "partner.update", "partner.rotate", "partner.signature", "partner.revoke",
    ]  # fmt: skip
    assert "10.1.2.3/32" in entries[3].details_json
    for secret in (made.token, rotated.token, made.signing_secret):
        assert secret not in str(entries)
        assert secret not in str(logs)
