"""``trellis partner``: who may send an organisation's conversions."""

from typing import Annotated

import typer

from trellis.auth.v1 import partner_service_pb2 as pb
from trellisctl.admin import show
from trellisctl.admin.durations import parse_duration
from trellisctl.admin.session import AuthTargetOption, DataDirOption, JsonOption, OrganizationOption, Warden, run

group = typer.Typer(help="Partners: who may send conversions, by a token of their own.", no_args_is_help=True)
PartnerIdArgument = Annotated[str, typer.Argument(metavar="PARTNER_ID", help="Id of the partner.")]


def _state(partner: pb.Partner) -> str:
    if partner.HasField("revoke_time"):
        return f"revoked {show.instant(partner.revoke_time)}"
    return "live" if partner.is_enabled else "disabled"


_COLUMNS: show.Columns = {
    "PARTNER_ID": lambda it: it.partner_id,
    "NAME": lambda it: it.name,
    "NETWORK": lambda it: it.network,
    "FROM": lambda it: " ".join(it.addresses) or "anywhere",
    "SIGNS": lambda it: "yes" if it.is_signed else "no",
    "ENDS": lambda it: f"…{it.token_last_four}",
    "STATE": _state,
    "CREATED": lambda it: show.instant(it.create_time),
}


@group.command("create")
def create(
    *,
    organization_id: OrganizationOption,
    name: Annotated[str, typer.Option(help="Name for people.")],
    network: Annotated[str, typer.Option(help="Label of its network, for example cj.")],
    address: Annotated[list[str] | None, typer.Option(help="It may send from here alone; may be repeated.")] = None,
    signed: Annotated[bool, typer.Option(help="What it sends must be signed.")] = False,
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a partner and show its token, this once, and its signing secret if it signs."""
    request = pb.CreatePartnerRequest(name=name, network=network, addresses=address or [], is_signed=signed)
    answer = run(
        lambda w: w.call("CreatePartner", request),
        data_dir=data_dir,
        auth_target=auth_target,
        organization_id=organization_id,
    )
    secrets = "\n".join(filter(None, (answer.token, answer.signing_secret)))
    show.key_made(answer, secrets, _COLUMNS, answer.partner, as_json=as_json)


@group.command("list")
def list_(
    *,
    organization_id: OrganizationOption,
    every: Annotated[bool, typer.Option("--all", help="Show revoked partners too.")] = False,
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List an organisation's partners, newest first."""

    async def talk(warden: Warden) -> list[pb.Partner]:
        await warden.check_organization(organization_id)
        return await warden.list_all("ListPartners", pb.ListPartnersRequest(include_revoked=every), "partners")

    found = run(talk, data_dir=data_dir, auth_target=auth_target, organization_id=organization_id)
    show.table(found, _COLUMNS, as_json=as_json)


@group.command("rotate")
def rotate(
    partner_id: PartnerIdArgument,
    *,
    organization_id: OrganizationOption,
    overlap: Annotated[str, typer.Option(help="How long the token before lives on: 0s to 30d.")] = "24h",
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make another token, and show it, this once."""
    seconds = round(parse_duration(overlap).total_seconds())
    request = pb.RotatePartnerTokenRequest(partner_id=partner_id, overlap_seconds=seconds)
    answer = run(
        lambda w: w.call("RotatePartnerToken", request),
        data_dir=data_dir,
        auth_target=auth_target,
        organization_id=organization_id,
    )
    show.key_made(answer, answer.token, _COLUMNS, answer.partner, as_json=as_json)


@group.command("revoke")
def revoke(
    partner_id: PartnerIdArgument,
    *,
    organization_id: OrganizationOption,
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a partner's tokens for ever."""
    request = pb.RevokePartnerRequest(partner_id=partner_id)
    answer = run(
        lambda w: w.call("RevokePartner", request),
        data_dir=data_dir,
        auth_target=auth_target,
        organization_id=organization_id,
    )
    show.one(answer.partner, _COLUMNS, as_json=as_json)
