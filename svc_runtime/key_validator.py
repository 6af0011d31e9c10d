"""Lets a server accept secret keys from internal callers: asks Warden, and remembers the answer for 5 s."""

import time

import grpc

from svc_runtime.errors import PermissionDeniedError
from svc_runtime.grpc_client import Credentials
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from trellis.auth.v1 import auth_service_pb2, auth_service_pb2_grpc

REMEMBER_SECONDS = 5.0


class RemoteKeyValidator:
    """A ``KeyValidator`` over AuthService.ValidateKey. A revocation is seen within 5 s."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        self._credentials = credentials
        self._known: dict[str, tuple[Caller, float]] = {}

    async def __call__(self, key: str) -> Caller:
        """Return the organisation caller that a secret key stands for; raise what Warden says of any other."""
        held = self._known.get(key)
        if held is not None and held[1] > time.monotonic():
            return held[0]
        try:
            answer = await self._stub.ValidateKey(
                auth_service_pb2.ValidateKeyRequest(key=key), metadata=self._credentials.as_service(), timeout=5
            )
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None
        if answer.kind != auth_service_pb2.KEY_KIND_SECRET:
            raise PermissionDeniedError("a publishable key may only send events over HTTP")
        caller = Caller(
            CallerKind.ORGANIZATION,
            actor=f"key:{answer.key_id}",
            organization_id=answer.organization_id,
            scopes=frozenset(answer.scopes),
        )
        if len(self._known) >= 10_000:
            self._known.clear()
        self._known[key] = (caller, time.monotonic() + REMEMBER_SECONDS)
        return caller
