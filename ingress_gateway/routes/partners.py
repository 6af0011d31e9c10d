"""``/api/v1/partners``: who may send conversions. Tokens and signing secrets are shown once, when they are made."""

from typing import Any, Literal

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond_json
from ingress_gateway.routes.keys import LONGEST_OVERLAP_SECONDS
from trellis.auth.v1 import partner_service_pb2 as pb


async def create_partner(call: Call) -> web.StreamResponse:
    """Add a partner; 201, and its token in full this once."""
    api = ApiCall(call, "partners:write")
    with await api.body() as given:
        request = pb.CreatePartnerRequest(
            name=given.text("name", is_required=True) or "",
            network=given.text("network", is_required=True) or "",
            addresses=given.texts("addresses"),
            return_text=given.text("return_text") or "",
            is_signed=given.flag("is_signed") or False,
        )
    made = await api.ask(api.partners.CreatePartner, request)
    body = {**_partner(made.partner), "token": made.token, "signing_secret": made.signing_secret}
    return respond_json(body, status=201)


async def list_partners(call: Call) -> web.StreamResponse:
    """Return a page of partners, newest first, without their secrets."""
    api = ApiCall(call, "partners:read")
    with api.query() as given:
        request = pb.ListPartnersRequest(
            page_size=given.page_size(),
            page_token=given.page_token(),
            include_revoked=given.flag("include_revoked") or False,
        )
    page = await api.ask(api.partners.ListPartners, request)
    return respond_json({"partners": list(map(_partner, page.partners)), "next_page_token": page.next_page_token})


async def get_partner(call: Call) -> web.StreamResponse:
    """Return a partner without its secrets."""
    api = ApiCall(call, "partners:read")
    with api.query():
        request = pb.GetPartnerRequest(partner_id=api.path("partner_id"))
    return respond_json(_partner((await api.ask(api.partners.GetPartner, request)).partner))


async def update_partner(call: Call) -> web.StreamResponse:
    """Change what is given of a partner."""
    api = ApiCall(call, "partners:write")
    with await api.body() as given:
        request = pb.UpdatePartnerRequest(
            partner_id=api.path("partner_id"),
            name=given.text("name"),
            network=given.text("network"),
            return_text=given.text("return_text"),
            is_enabled=given.flag("is_enabled"),
        )
        addresses = given.texts("addresses")
        if given.has("addresses"):
            request.addresses.CopyFrom(pb.AddressList(addresses=addresses))
    return respond_json(_partner((await api.ask(api.partners.UpdatePartner, request)).partner))


async def rotate_token(call: Call) -> web.StreamResponse:
    """Make another token, and show it this once; the one before lives on for a while."""
    api = ApiCall(call, "partners:write")
    with await api.body(is_optional=True) as given:
        request = pb.RotatePartnerTokenRequest(
            partner_id=api.path("partner_id"),
            overlap_seconds=given.number("overlap_seconds", 0, LONGEST_OVERLAP_SECONDS),
        )
    made = await api.ask(api.partners.RotatePartnerToken, request)
    return respond_json({**_partner(made.partner), "token": made.token})


async def set_signature(call: Call) -> web.StreamResponse:
    """Want signatures, with a new secret that is shown this once, or none."""
    api = ApiCall(call, "partners:write")
    with await api.body(is_optional=True) as given:
        is_signed = given.flag("is_signed")
        request = pb.SetPartnerSignatureRequest(
            partner_id=api.path("partner_id"), is_signed=is_signed if is_signed is not None else True
        )
    made = await api.ask(api.partners.SetPartnerSignature, request)
    return respond_json({**_partner(made.partner), "signing_secret": made.signing_secret})


async def revoke_partner(call: Call) -> web.StreamResponse:
    """End a partner's tokens for ever."""
    api = ApiCall(call, "partners:write")
    with await api.body(is_optional=True):
        request = pb.RevokePartnerRequest(partner_id=api.path("partner_id"))
    return respond_json(_partner((await api.ask(api.partners.RevokePartner, request)).partner))


def _partner(partner: pb.Partner) -> dict[str, Any]:
    return {
        "partner_id": partner.partner_id,
        "name": partner.name,
        "network": partner.network,
        "addresses": list(partner.addresses),
        "return_text": partner.return_text,
        "is_enabled": partner.is_enabled,
        "is_signed": partner.is_signed,
        "token_last_four": partner.token_last_four,
        "token_create_time": timestamp_text(partner.token_create_time),
        "old_token_expire_time": _instant_or_null(partner, "old_token_expire_time"),
        "create_time": timestamp_text(partner.create_time),
        "revoke_time": _instant_or_null(partner, "revoke_time"),
    }


def _instant_or_null(partner: pb.Partner, name: Literal["old_token_expire_time", "revoke_time"]) -> str | None:
    return timestamp_text(getattr(partner, name)) if partner.HasField(name) else None
