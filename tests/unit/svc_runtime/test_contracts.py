"""The contracts keep their promises: access on every RPC, reasons that exist."""

import pytest
from google.protobuf.descriptor import MethodDescriptor

from svc_runtime.errors import Code, PermissionDeniedError
from svc_runtime.interceptors import access_rule, check_access
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.scopes import SCOPES
from trellis.analytics.v1 import explain_service_pb2, journey_service_pb2
from trellis.attribution.v1 import attribution_service_pb2, model_service_pb2
from trellis.auth.v1 import auth_service_pb2
from trellis.capture.v1 import capture_service_pb2
from trellis.type.v1 import access_pb2, error_reason_pb2

METHODS: list[MethodDescriptor] = [
    method
    for module in (
        attribution_service_pb2,
        auth_service_pb2,
        capture_service_pb2,
        explain_service_pb2,
        journey_service_pb2,
        model_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.full_name)
def test_every_rpc_says_who_may_call_it(method: MethodDescriptor) -> None:
    rule = access_rule("/" + method.containing_service.full_name + "/" + method.name)
    assert rule.access != access_pb2.ACCESS_UNSPECIFIED
    assert (rule.scope in SCOPES) == (rule.access == access_pb2.ACCESS_ORGANIZATION)


def test_an_rpc_that_does_not_exist_has_no_access() -> None:
    assert access_rule("/trellis.auth.v1.AuthService/Nothing").access == access_pb2.ACCESS_UNSPECIFIED


def test_an_rpc_without_an_access_option_is_refused_to_everybody() -> None:
    for kind in CallerKind:
        with pytest.raises(PermissionDeniedError):
            check_access(access_pb2.AccessRule(), Caller(kind, "x", "org_a", SCOPES))


@pytest.mark.parametrize("code", list(Code))
def test_every_code_is_a_reason_of_the_contract(code: Code) -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name}
    # UNAUTHENTICATED and PERMISSION_DENIED always travel with a finer reason.
    assert code.name in reasons or code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
