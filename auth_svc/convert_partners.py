"""Partners between the contract and ours."""

from datetime import timedelta

from auth_svc.key import DEFAULT_OVERLAP, LARGEST_OVERLAP
from auth_svc.partner import Partner, PartnerWanted
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.auth.v1 import partner_service_pb2 as pb


def new_partner_from_pb(request: pb.CreatePartnerRequest) -> PartnerWanted:
    """Read the wish for a partner."""
    return PartnerWanted(
        name=request.name,
        network=request.network,
        addresses=tuple(request.addresses),
        return_text=request.return_text,
    )


def changes_from_pb(request: pb.UpdatePartnerRequest) -> PartnerWanted:
    """Read what is to be changed."""
    return PartnerWanted(
        name=request.name if request.HasField("name") else None,
        network=request.network if request.HasField("network") else None,
        addresses=tuple(request.addresses.addresses) if request.HasField("addresses") else None,
        return_text=request.return_text if request.HasField("return_text") else None,
        is_enabled=request.is_enabled if request.HasField("is_enabled") else None,
    )


def token_overlap_from_pb(request: pb.RotatePartnerTokenRequest) -> timedelta:
    """Read how long the token before lives on. Raise InvalidArgumentError."""
    if not request.HasField("overlap_seconds"):
        return DEFAULT_OVERLAP
    overlap, limit = timedelta(seconds=request.overlap_seconds), round(LARGEST_OVERLAP.total_seconds())
    if overlap > LARGEST_OVERLAP:
        raise InvalidArgumentError.of(
            [Violation("overlap_seconds", f"is {request.overlap_seconds}, at most {limit} (30 days)")]
        )
    return overlap


def partner_to_pb(partner: Partner) -> pb.Partner:
    """Write a partner without its secrets."""
    return pb.Partner(
        partner_id=partner.partner_id,
        organization_id=partner.organization_id,
        name=partner.name,
        network=partner.network,
        addresses=partner.addresses,
        return_text=partner.return_text,
        is_enabled=partner.is_enabled,
        is_signed=bool(partner.sealed_secret),
        token_last_four=partner.token.last_four,
        token_create_time=timestamp_of(partner.token.create_time),
        old_token_expire_time=timestamp_of(partner.old_token.expire_time if partner.old_token else None),
        create_time=timestamp_of(partner.create_time),
        revoke_time=timestamp_of(partner.revoke_time),
    )


def partner_record(partner: Partner) -> pb.PartnerRecord:
    """Write what gateways recognise a partner by."""
    return pb.PartnerRecord(
        partner_id=partner.partner_id,
        organization_id=partner.organization_id,
        network=partner.network,
        tokens=[
            pb.PartnerToken(token_id=token.token_id, hash=token.hash, expire_time=timestamp_of(token.expire_time))
            for token in partner.tokens
        ],
        sealed_secret=partner.sealed_secret,
        addresses=partner.addresses,
        return_text=partner.return_text,
        is_enabled=partner.is_enabled,
        revoke_time=timestamp_of(partner.revoke_time),
    )
