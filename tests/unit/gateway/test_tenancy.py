"""Whose request is it, before and after the gateway knows anybody."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from ingress_gateway.arrival import NOBODY, Arrival
from ingress_gateway.organisations import Organisations
from ingress_gateway.tenancy import sender
from svc_runtime.errors import UnauthenticatedError, UnavailableError
from trellis.auth.v1 import auth_service_pb2 as pb


def arrival(host: str) -> Arrival:
    return Arrival("POST", "/events", "1.1", CIMultiDictProxy(CIMultiDict({"Host": host})), (), NOBODY)


def test_nobody_is_wrong_before_the_first_snapshot() -> None:
    with pytest.raises(UnavailableError):
        sender(Organisations("p" * 32), arrival("track.acmecorp.com"))


def test_an_unknown_host_is_wrong_after_it() -> None:
    organisations = Organisations("p" * 32)
    organisations.apply(pb.WatchKeysResponse(revision=1, is_snapshot=True))
    with pytest.raises(UnauthenticatedError) as caught:
        sender(organisations, arrival("track.acmecorp.com"))
    assert caught.value.reason == "ORGANIZATION_UNKNOWN"


def test_a_revoked_key_stays_revoked_whatever_a_later_snapshot_says() -> None:
    organisations = Organisations("p" * 32)
    revoked = pb.KeyRecord(key_id="k", organization_id="org_a")
    revoked.revoke_time.FromSeconds(1)
    alive = pb.KeyRecord(key_id="k", organization_id="org_a")
    organisations.apply(pb.WatchKeysResponse(revision=1, is_snapshot=True, keys=[revoked]))
    organisations.apply(pb.WatchKeysResponse(revision=2, is_snapshot=True, keys=[alive]))
    organisations.apply(pb.WatchKeysResponse(revision=3, keys=[alive]))
    assert [key.HasField("revoke_time") for key in organisations.snapshot().keys] == [True]
