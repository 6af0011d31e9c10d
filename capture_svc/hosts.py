"""Whose a host is: asked of Warden when unclaimed requests are replayed."""

from collections.abc import Mapping
from typing import Protocol

import grpc

from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_client import Credentials
from svc_runtime.rpc_status import error_from_rpc
from trellis.auth.v1 import auth_service_pb2, auth_service_pb2_grpc

_TIMEOUT_SECONDS = 10.0


class HostDirectory(Protocol):
    """Knows whose tracking hosts are."""

    async def organizations(self) -> Mapping[str, str]:
        """Return the organisation of every host; hosts in lower case, without port. Errors: UnavailableError."""
        ...


class WardenHostDirectory:
    """``HostDirectory`` over AuthService.WatchKeys: its first answer is everything that Warden knows."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        self._credentials = credentials

    async def organizations(self) -> Mapping[str, str]:
        """See HostDirectory."""
        call = self._stub.WatchKeys(
            auth_service_pb2.WatchKeysRequest(watcher="capture"),
            metadata=self._credentials.as_service(),
            timeout=_TIMEOUT_SECONDS,
        )
        try:
            async for answer in call:
                if answer.is_snapshot:
                    return {domain.host: domain.organization_id for domain in answer.domains}
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None
        finally:
            call.cancel()
        raise UnavailableError("Warden ended its stream without a snapshot")


def host_name(header: bytes) -> str:
    """Return the name in a Host header, in lower case and without its port."""
    text = header.decode("utf-8", "replace").strip().lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0]
