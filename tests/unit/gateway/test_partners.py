"""Partners from Warden's snapshots: what is held, what is believed, what is opened."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingress_gateway.organisations import Organisations
from svc_runtime.errors import UnauthenticatedError, UnavailableError
from svc_runtime.partner_tokens import new_partner_token, present_partner_token
from svc_runtime.sealing import PARTNER_SECRETS, Sealer
from trellis.auth.v1 import auth_service_pb2, partner_service_pb2

PEPPER, MESH_SECRET = "p" * 32, "m" * 40
TOKEN, ANOTHER = new_partner_token(), new_partner_token()
SECRET = b"signing secret"


def a_record(*tokens: str, **fields: Any) -> partner_service_pb2.PartnerRecord:
    presented = [present_partner_token(PEPPER.encode(), token) for token in tokens]
    return partner_service_pb2.PartnerRecord(
        tokens=[partner_service_pb2.PartnerToken(token_id=one.token_id, hash=one.hash) for one in presented],
        **{"partner_id": "ptr_1", "organization_id": "org_a", "is_enabled": True} | fields,
    )


def a_change(
    *records: partner_service_pb2.PartnerRecord, revision: int = 1, is_snapshot: bool = True
) -> auth_service_pb2.WatchKeysResponse:
    return auth_service_pb2.WatchKeysResponse(revision=revision, is_snapshot=is_snapshot, partners=records)


def held(*changes: auth_service_pb2.WatchKeysResponse, mesh_secret: str = MESH_SECRET) -> Organisations:
    organisations = Organisations(PEPPER, mesh_secret=mesh_secret)
    for change in changes:
        organisations.apply(change)
    return organisations


def reason(organisations: Organisations, token: str) -> str:
    with pytest.raises(UnauthenticatedError) as refused:
        organisations.partners.of_token(token)
    assert token not in str(refused.value)
    return refused.value.reason


def test_what_is_on_disk_is_enough_after_a_restart() -> None:
    sealed = Sealer(MESH_SECRET, PARTNER_SECRETS).seal(SECRET, "ptr_1")
    before = held(a_change(a_record(TOKEN, sealed_secret=sealed, network="cj", addresses=["10.0.0.0/8"])))
    on_disk = before.snapshot().SerializeToString()
    assert SECRET not in on_disk
    after = held(auth_service_pb2.WatchKeysResponse.FromString(on_disk))
    partner = after.partners.of_token(TOKEN)
    assert partner == before.partners.of_token(TOKEN)
    assert (partner.network, partner.signing_secret()) == ("cj", SECRET)


def test_a_rotated_token_opens_until_its_end_and_others_no_more() -> None:
    both = a_record(ANOTHER, TOKEN)
    both.tokens[1].expire_time.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    organisations = held(a_change(a_record(TOKEN)), a_change(both, revision=2, is_snapshot=False))
    assert organisations.partners.of_token(TOKEN) == organisations.partners.of_token(ANOTHER)
    both.tokens[1].expire_time.FromDatetime(datetime.now(UTC) - timedelta(seconds=1))
    organisations.apply(a_change(both, revision=3, is_snapshot=False))
    assert reason(organisations, TOKEN) == "KEY_EXPIRED"
    organisations.apply(a_change(a_record(ANOTHER), revision=4, is_snapshot=False))
    assert reason(organisations, TOKEN) == "KEY_UNKNOWN"


@pytest.mark.parametrize("is_snapshot", [True, False])
def test_a_revoked_partner_does_not_come_back(is_snapshot: bool) -> None:
    revoked = a_record(TOKEN)
    revoked.revoke_time.FromJsonString("2026-01-01T00:00:00Z")
    organisations = held(a_change(revoked), a_change(a_record(TOKEN), revision=2, is_snapshot=is_snapshot))
    assert reason(organisations, TOKEN) == "KEY_REVOKED"


def test_a_snapshot_takes_the_place_of_everything() -> None:
    organisations = held(a_change(a_record(TOKEN)), a_change(a_record(ANOTHER, partner_id="ptr_2"), revision=2))
    assert reason(organisations, TOKEN) == "KEY_UNKNOWN"
    assert organisations.partners.of_token(ANOTHER).partner_id == "ptr_2"


def test_a_token_with_another_secret_part_is_unknown() -> None:
    forged = a_record(TOKEN)
    forged.tokens[0].hash = b"x" * 32
    assert reason(held(a_change(forged)), TOKEN) == "KEY_UNKNOWN"


@pytest.mark.parametrize("sealed_for", ["ptr_1", "ptr_2"])
def test_a_secret_that_does_not_open_makes_nobody_believed(sealed_for: str) -> None:
    sealed = Sealer(MESH_SECRET, PARTNER_SECRETS).seal(SECRET, sealed_for)
    mesh_secret = "n" * 40 if sealed_for == "ptr_1" else MESH_SECRET
    partner = held(a_change(a_record(TOKEN, sealed_secret=sealed)), mesh_secret=mesh_secret).partners.of_token(TOKEN)
    assert partner.is_signed
    with pytest.raises(UnavailableError):
        partner.signing_secret()
