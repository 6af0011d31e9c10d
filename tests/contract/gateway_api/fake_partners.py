"""Warden's partners as the gateway meets them, in memory."""

from typing import Any

from ingress_gateway.openapi.postbacks import EXAMPLE_TOKEN
from svc_runtime.errors import NotFoundError
from svc_runtime.interceptors import ServicerContext
from tests.contract.gateway_api.fakes import Misbehaviour, cut, stamp
from trellis.auth.v1 import partner_service_pb2 as pb
from trellis.auth.v1 import partner_service_pb2_grpc

SIGNING_SECRET = "whsec_c2hvd24gdGhpcyBvbmNl"


class FakePartners(partner_service_pb2_grpc.PartnerServiceServicer):
    """Partners in a dict."""

    def __init__(self) -> None:
        self.does = Misbehaviour()
        self.partners: dict[tuple[str, str], pb.Partner] = {}

    def put(self, organization_id: str, partner_id: str, **fields: Any) -> pb.Partner:
        partner = pb.Partner(
            **{
                "partner_id": partner_id,
                "organization_id": organization_id,
                "name": partner_id,
                "network": "cj",
                "is_enabled": True,
                "token_last_four": "urk9",
                "token_create_time": stamp(),
                "create_time": stamp(),
                **fields,
            }
        )
        self.partners[organization_id, partner_id] = partner
        return partner

    async def CreatePartner(
        self, request: pb.CreatePartnerRequest, context: ServicerContext
    ) -> pb.CreatePartnerResponse:
        partner = self.put(
            await self.does.step_in(context),
            "ptr_00000000000000aa",
            name=request.name,
            network=request.network,
            addresses=request.addresses,
            return_text=request.return_text,
            is_signed=request.is_signed,
        )
        secret = SIGNING_SECRET if request.is_signed else ""
        return pb.CreatePartnerResponse(partner=partner, token=EXAMPLE_TOKEN, signing_secret=secret)

    async def GetPartner(self, request: pb.GetPartnerRequest, context: ServicerContext) -> pb.GetPartnerResponse:
        return pb.GetPartnerResponse(partner=await self._find(request, context))

    async def ListPartners(self, request: pb.ListPartnersRequest, context: ServicerContext) -> pb.ListPartnersResponse:
        organization_id = await self.does.step_in(context)
        mine = [
            partner
            for (owner, _), partner in self.partners.items()
            if owner == organization_id and (request.include_revoked or not partner.HasField("revoke_time"))
        ]
        items, token = cut(mine, request)
        return pb.ListPartnersResponse(partners=items, next_page_token=token)

    async def UpdatePartner(
        self, request: pb.UpdatePartnerRequest, context: ServicerContext
    ) -> pb.UpdatePartnerResponse:
        partner = await self._find(request, context)
        for name in ("name", "network", "return_text", "is_enabled"):
            if request.HasField(name):  # type: ignore[arg-type]  # one of four names
                setattr(partner, name, getattr(request, name))
        if request.HasField("addresses"):
            partner.addresses[:] = request.addresses.addresses
        return pb.UpdatePartnerResponse(partner=partner)

    async def RotatePartnerToken(
        self, request: pb.RotatePartnerTokenRequest, context: ServicerContext
    ) -> pb.RotatePartnerTokenResponse:
        partner = await self._find(request, context)
        partner.old_token_expire_time.CopyFrom(stamp())
        return pb.RotatePartnerTokenResponse(partner=partner, token=EXAMPLE_TOKEN)

    async def SetPartnerSignature(
        self, request: pb.SetPartnerSignatureRequest, context: ServicerContext
    ) -> pb.SetPartnerSignatureResponse:
        partner = await self._find(request, context)
        partner.is_signed = request.is_signed
        return pb.SetPartnerSignatureResponse(
            partner=partner, signing_secret=SIGNING_SECRET if request.is_signed else ""
        )

    async def RevokePartner(
        self, request: pb.RevokePartnerRequest, context: ServicerContext
    ) -> pb.RevokePartnerResponse:
        partner = await self._find(request, context)
        partner.revoke_time.CopyFrom(stamp())
        return pb.RevokePartnerResponse(partner=partner)

    async def _find(self, request: Any, context: ServicerContext) -> pb.Partner:
        organization_id = await self.does.step_in(context)
        try:
            return self.partners[organization_id, request.partner_id]
        except KeyError:
            raise NotFoundError(f"there is no partner `{request.partner_id}` in this organisation") from None
