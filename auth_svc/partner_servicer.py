# ruff: noqa: N802, ARG002 - the names and the arguments of the methods are the contract's
"""PartnerService: one short method per RPC."""

from datetime import datetime

from auth_svc import convert_partners as convert
from auth_svc.callers import Callers
from auth_svc.directory import Directory
from auth_svc.enroll import PartnerEnrolment
from auth_svc.store import PartnerStore
from svc_runtime.interceptors import ServicerContext
from svc_runtime.paging import PageTokens, check_page_size
from trellis.auth.v1 import partner_service_pb2 as pb
from trellis.auth.v1 import partner_service_pb2_grpc


class PartnerServicer(partner_service_pb2_grpc.PartnerServiceServicer):
    """Every RPC of PartnerService."""

    def __init__(
        self, *, store: PartnerStore, enrolment: PartnerEnrolment, directory: Directory, page_tokens: PageTokens
    ) -> None:
        self._store = store
        self._enrolment = enrolment
        self._callers = Callers(directory)
        self._page_tokens = page_tokens

    async def CreatePartner(
        self, request: pb.CreatePartnerRequest, context: ServicerContext
    ) -> pb.CreatePartnerResponse:
        """Add a partner and show its secrets this once."""
        wanted = convert.new_partner_from_pb(request)
        made = await self._enrolment.create(self._callers.principal(), wanted, is_signed=request.is_signed)
        await self._callers.has_acted("partner.create")
        partner = convert.partner_to_pb(made.partner)
        return pb.CreatePartnerResponse(partner=partner, token=made.token, signing_secret=made.signing_secret)

    async def GetPartner(self, request: pb.GetPartnerRequest, context: ServicerContext) -> pb.GetPartnerResponse:
        """Return a partner."""
        found = await self._enrolment.get(self._callers.principal(), request.partner_id)
        return pb.GetPartnerResponse(partner=convert.partner_to_pb(found))

    async def ListPartners(self, request: pb.ListPartnersRequest, context: ServicerContext) -> pb.ListPartnersResponse:
        """List partners, newest first."""
        size = check_page_size(request.page_size)
        organization_id = self._callers.principal().organization_id
        scope = ("partners", organization_id)
        place = self._page_tokens.open(request.page_token, *scope)
        found = await self._store.list_partners(
            organization_id,
            includes_revoked=request.include_revoked,
            after=(datetime.fromisoformat(place[0]), place[1]) if place else None,
            limit=size + 1,
        )
        token = ""
        if len(found) > size:
            last = found[size - 1]
            token = self._page_tokens.seal([last.create_time.isoformat(), last.partner_id], *scope)
        return pb.ListPartnersResponse(partners=map(convert.partner_to_pb, found[:size]), next_page_token=token)

    async def UpdatePartner(
        self, request: pb.UpdatePartnerRequest, context: ServicerContext
    ) -> pb.UpdatePartnerResponse:
        """Change what is set."""
        wanted = convert.changes_from_pb(request)
        changed = await self._enrolment.update(self._callers.principal(), request.partner_id, wanted)
        await self._callers.has_acted("partner.update")
        return pb.UpdatePartnerResponse(partner=convert.partner_to_pb(changed))

    async def RotatePartnerToken(
        self, request: pb.RotatePartnerTokenRequest, context: ServicerContext
    ) -> pb.RotatePartnerTokenResponse:
        """Let another token take over, and show it this once."""
        overlap = convert.token_overlap_from_pb(request)
        renewed = await self._enrolment.rotate(self._callers.principal(), request.partner_id, overlap=overlap)
        await self._callers.has_acted("partner.rotate")
        return pb.RotatePartnerTokenResponse(partner=convert.partner_to_pb(renewed.partner), token=renewed.token)

    async def SetPartnerSignature(
        self, request: pb.SetPartnerSignatureRequest, context: ServicerContext
    ) -> pb.SetPartnerSignatureResponse:
        """Want signatures or none, and show the new secret this once."""
        changed = await self._enrolment.set_signature(
            self._callers.principal(), request.partner_id, is_signed=request.is_signed
        )
        await self._callers.has_acted("partner.signature")
        return pb.SetPartnerSignatureResponse(
            partner=convert.partner_to_pb(changed.partner), signing_secret=changed.signing_secret
        )

    async def RevokePartner(
        self, request: pb.RevokePartnerRequest, context: ServicerContext
    ) -> pb.RevokePartnerResponse:
        """Revoke a partner."""
        revoked = await self._enrolment.revoke(self._callers.principal(), request.partner_id)
        await self._callers.has_acted("partner.revoke")
        return pb.RevokePartnerResponse(partner=convert.partner_to_pb(revoked))
