"""An organisation's tracking hosts, asked of Warden when a campaign is written: a redirect to one comes back to us.

Warden being away makes no campaign uneditable: what it said last holds, and where it never said anything the check is
left out. Gateways, which know the hosts, stop a click that would come back, whatever was stored.
"""

import time
from dataclasses import dataclass

import grpc

from svc_runtime.grpc_client import Credentials
from svc_runtime.logs import get_logger
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from trellis.auth.v1 import auth_service_pb2 as pb
from trellis.auth.v1 import auth_service_pb2_grpc as pb_grpc

_SECONDS = 2.0
_FRESH_SECONDS = 10.0
_PAGE_SIZE = 1000
_REMEMBERED = 10_000
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    hosts: frozenset[str]
    until: float


class WardenHosts:
    """``OwnHosts`` over AuthService.ListDomains."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._stub: pb_grpc.AuthServiceAsyncStub = pb_grpc.AuthServiceStub(channel)
        self._credentials = credentials
        self._known: dict[str, _Known] = {}

    async def of(self, organization_id: str) -> frozenset[str]:
        """See ``OwnHosts.of``."""
        known = self._known.get(organization_id)
        if known is not None and known.until > time.monotonic():
            return known.hosts
        # Ours to ask: who writes campaigns need not have the right to list domains.
        caller = Caller(
            CallerKind.ORGANIZATION, "service:attribution_svc", organization_id, frozenset({"domains:read"})
        )
        hosts: set[str] = set()
        request = pb.ListDomainsRequest(page_size=_PAGE_SIZE)
        metadata = self._credentials.as_caller(caller)
        try:
            while True:
                page = await self._stub.ListDomains(request, metadata=metadata, timeout=_SECONDS)
                hosts.update(domain.host for domain in page.domains)
                request.page_token = page.next_page_token
                if not page.next_page_token:
                    break
        except grpc.aio.AioRpcError as error:
            _log.warning("tracking hosts are as they were known", error=error_from_rpc(error).message)
            return known.hosts if known is not None else frozenset()
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        found = self._known[organization_id] = _Known(frozenset(hosts), time.monotonic() + _FRESH_SECONDS)
        return found.hosts
