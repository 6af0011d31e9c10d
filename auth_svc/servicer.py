# ruff: noqa: N802, ARG002 - the names and the arguments of the methods are the contract's
"""AuthService: one short method per RPC."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from auth_svc import convert, metrics
from auth_svc.administer import Administration
from auth_svc.callers import Callers
from auth_svc.directory import Directory
from auth_svc.directory_update import DirectoryUpdate
from auth_svc.issue import KeyIssuer
from auth_svc.store import WardenStore
from auth_svc.validate import KeyChecker
from svc_runtime.clock import Clock
from svc_runtime.interceptors import ServicerContext
from svc_runtime.logs import get_logger
from svc_runtime.paging import PageTokens, check_page_size
from trellis.auth.v1 import auth_service_pb2 as pb
from trellis.auth.v1 import auth_service_pb2_grpc

T = TypeVar("T")
_log = get_logger(__name__)


class AuthServicer(auth_service_pb2_grpc.AuthServiceServicer):
    """Answers from the directory where it can and from the store where it must."""

    def __init__(
        self,
        *,
        store: WardenStore,
        directory: Directory,
        checker: KeyChecker,
        issuer: KeyIssuer,
        administration: Administration,
        clock: Clock,
        page_tokens: PageTokens,
    ) -> None:
        self._store = store
        self._directory = directory
        self._callers = Callers(directory)
        self._checker = checker
        self._issuer = issuer
        self._administration = administration
        self._clock = clock
        self._page_tokens = page_tokens
        self._snapshot: pb.WatchKeysResponse | None = None

    # For the mesh

    async def ValidateKey(self, request: pb.ValidateKeyRequest, context: ServicerContext) -> pb.ValidateKeyResponse:
        """Say whose key it is."""
        return convert.validated_key_to_pb(await self._checker.check(request.key))

    async def WatchKeys(
        self, request: pb.WatchKeysRequest, context: ServicerContext
    ) -> AsyncIterator[pb.WatchKeysResponse]:
        """Stream a snapshot, then every change."""
        _log.info("watch begins", watcher=request.watcher[:100])
        metrics.watchers.add(1)
        try:
            async with contextlib.aclosing(self._directory.watch()) as updates:
                async for update in updates:
                    yield (
                        self._shared_snapshot(update) if update.is_snapshot else convert.directory_update_to_pb(update)
                    )
        finally:
            metrics.watchers.add(-1)
            _log.info("watch ends", watcher=request.watcher[:100])

    async def ReportKeyUse(self, request: pb.ReportKeyUseRequest, context: ServicerContext) -> pb.ReportKeyUseResponse:
        """Note when keys were used."""
        metrics.key_uses.add(await self._issuer.report_uses(convert.key_uses_from_pb(request)))
        return pb.ReportKeyUseResponse()

    # For the operator

    async def CreateOrganization(
        self, request: pb.CreateOrganizationRequest, context: ServicerContext
    ) -> pb.CreateOrganizationResponse:
        """Create an organisation."""
        made = await self._administration.create_organization(
            self._callers.principal(), request.organization_id, request.name
        )
        await self._callers.has_acted("organization.create")
        return pb.CreateOrganizationResponse(organization=convert.organization_to_pb(made))

    async def GetOrganization(
        self, request: pb.GetOrganizationRequest, context: ServicerContext
    ) -> pb.GetOrganizationResponse:
        """Return an organisation."""
        found = await self._administration.get_organization(request.organization_id)
        return pb.GetOrganizationResponse(organization=convert.organization_to_pb(found))

    async def ListOrganizations(
        self, request: pb.ListOrganizationsRequest, context: ServicerContext
    ) -> pb.ListOrganizationsResponse:
        """List organisations by id."""
        size = check_page_size(request.page_size)
        scope = ("organizations",)
        place = self._page_tokens.open(request.page_token, *scope)
        found = await self._store.list_organizations(after=place[0] if place else "", limit=size + 1)
        items, token = self._cut(found, size, scope, lambda last: [last.organization_id])
        return pb.ListOrganizationsResponse(organizations=map(convert.organization_to_pb, items), next_page_token=token)

    async def UpdateOrganization(
        self, request: pb.UpdateOrganizationRequest, context: ServicerContext
    ) -> pb.UpdateOrganizationResponse:
        """Rename, suspend or resume an organisation."""
        name = request.name if request.HasField("name") else None
        status = convert.status_from_pb(request)
        changed = await self._administration.update_organization(
            self._callers.principal(), request.organization_id, name, status
        )
        await self._callers.has_acted("organization.update")
        return pb.UpdateOrganizationResponse(organization=convert.organization_to_pb(changed))

    # For an organisation

    async def CreateKey(self, request: pb.CreateKeyRequest, context: ServicerContext) -> pb.CreateKeyResponse:
        """Create a key and show it this once."""
        issued = await self._issuer.create(self._callers.principal(), convert.key_wanted_from_pb(request))
        await self._callers.has_acted("key.create")
        return pb.CreateKeyResponse(key=convert.key_to_pb(issued.key), secret=issued.secret)

    async def ListKeys(self, request: pb.ListKeysRequest, context: ServicerContext) -> pb.ListKeysResponse:
        """List keys, newest first."""
        size = check_page_size(request.page_size)
        organization_id = self._callers.principal().organization_id
        scope = ("keys", organization_id)
        place = self._page_tokens.open(request.page_token, *scope)
        found = await self._store.list_keys(
            organization_id,
            live_at=None if request.include_inactive else self._clock.now(),
            after=(datetime.fromisoformat(place[0]), place[1]) if place else None,
            limit=size + 1,
        )
        items, token = self._cut(found, size, scope, lambda last: [last.create_time.isoformat(), last.key_id])
        return pb.ListKeysResponse(keys=map(convert.key_to_pb, items), next_page_token=token)

    async def RotateKey(self, request: pb.RotateKeyRequest, context: ServicerContext) -> pb.RotateKeyResponse:
        """Let a new key take over, and show it this once."""
        renewed = await self._issuer.rotate(self._callers.principal(), request.key_id, convert.overlap_from_pb(request))
        await self._callers.has_acted("key.rotate")
        return pb.RotateKeyResponse(
            key=convert.key_to_pb(renewed.key), secret=renewed.secret, old_key=convert.key_to_pb(renewed.old)
        )

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: ServicerContext) -> pb.RevokeKeyResponse:
        """Revoke a key."""
        revoked = await self._issuer.revoke(self._callers.principal(), request.key_id)
        await self._callers.has_acted("key.revoke")
        return pb.RevokeKeyResponse(key=convert.key_to_pb(revoked))

    async def AddDomain(self, request: pb.AddDomainRequest, context: ServicerContext) -> pb.AddDomainResponse:
        """Give a host to the organisation."""
        added = await self._administration.add_domain(self._callers.principal(), request.host)
        await self._callers.has_acted("domain.add")
        return pb.AddDomainResponse(domain=convert.domain_to_pb(added))

    async def ListDomains(self, request: pb.ListDomainsRequest, context: ServicerContext) -> pb.ListDomainsResponse:
        """List tracking domains by host."""
        size = check_page_size(request.page_size)
        organization_id = self._callers.principal().organization_id
        scope = ("domains", organization_id)
        place = self._page_tokens.open(request.page_token, *scope)
        found = await self._store.list_domains(organization_id, after=place[0] if place else "", limit=size + 1)
        items, token = self._cut(found, size, scope, lambda last: [last.host])
        return pb.ListDomainsResponse(domains=map(convert.domain_to_pb, items), next_page_token=token)

    async def RemoveDomain(self, request: pb.RemoveDomainRequest, context: ServicerContext) -> pb.RemoveDomainResponse:
        """Take a host away."""
        await self._administration.remove_domain(self._callers.principal(), request.host)
        await self._callers.has_acted("domain.remove")
        return pb.RemoveDomainResponse()

    async def CreateRole(self, request: pb.CreateRoleRequest, context: ServicerContext) -> pb.CreateRoleResponse:
        """Create a role."""
        role = await self._administration.create_role(self._callers.principal(), request.name, tuple(request.scopes))
        await self._callers.has_acted("role.create")
        return pb.CreateRoleResponse(role=convert.role_to_pb(role))

    async def ListRoles(self, request: pb.ListRolesRequest, context: ServicerContext) -> pb.ListRolesResponse:
        """List roles, the built-in ones first."""
        roles = await self._administration.list_roles(self._callers.principal())
        return pb.ListRolesResponse(roles=map(convert.role_to_pb, roles))

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: ServicerContext
    ) -> pb.ListAuditEntriesResponse:
        """List administrative acts, newest first."""
        size = check_page_size(request.page_size)
        principal = self._callers.principal()
        scope = ("audit", principal.organization_id)
        place = self._page_tokens.open(request.page_token, *scope)
        found = await self._administration.list_audit_entries(
            principal, before=place[0] if place else None, limit=size + 1
        )
        items, token = self._cut(found, size, scope, lambda last: [last.entry_id])
        return pb.ListAuditEntriesResponse(entries=map(convert.audit_entry_to_pb, items), next_page_token=token)

    def _shared_snapshot(self, update: DirectoryUpdate) -> pb.WatchKeysResponse:
        # After a restart every gateway worker asks at once, and a large snapshot takes a while to make.
        if self._snapshot is None or self._snapshot.revision != update.revision:
            self._snapshot = convert.directory_update_to_pb(update)
        return self._snapshot

    def _cut(
        self, found: Sequence[T], size: int, scope: Sequence[str], position: Callable[[T], Sequence[str | int]]
    ) -> tuple[Sequence[T], str]:
        """Return a page of a list that was read one item further, and the token of the next page."""
        items = found[:size]
        return items, self._page_tokens.seal(position(items[-1]), *scope) if len(found) > size else ""
