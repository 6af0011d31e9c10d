"""``trellis org``: organisations."""

from typing import Annotated

import typer

from trellis.auth.v1 import auth_service_pb2 as pb
from trellisctl.admin import show
from trellisctl.admin.session import AuthTargetOption, DataDirOption, JsonOption, run

group = typer.Typer(help="Organisations: the tenants of this installation.", no_args_is_help=True)
IdArgument = Annotated[str, typer.Argument(metavar="ORGANIZATION", help="Id of the organisation.")]

_COLUMNS: show.Columns = {
    "ORGANIZATION": lambda it: it.organization_id,
    "NAME": lambda it: it.name,
    "STATUS": lambda it: show.name_of(pb.OrganizationStatus, "ORGANIZATION_STATUS_", it.status),
    "CREATED": lambda it: show.instant(it.create_time),
}


@group.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Name for people.")],
    *,
    organization_id: Annotated[str, typer.Option("--id", help="Wanted id, `org_…`; one is made by default.")] = "",
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an organisation."""
    request = pb.CreateOrganizationRequest(organization_id=organization_id, name=name)
    answer = run(lambda w: w.call("CreateOrganization", request), data_dir=data_dir, auth_target=auth_target)
    show.one(answer.organization, _COLUMNS, as_json=as_json)


@group.command("list")
def list_(*, data_dir: DataDirOption = None, auth_target: AuthTargetOption = None, as_json: JsonOption = False) -> None:
    """List organisations."""
    found = run(
        lambda w: w.list_all("ListOrganizations", pb.ListOrganizationsRequest(), "organizations"),
        data_dir=data_dir,
        auth_target=auth_target,
    )
    show.table(found, _COLUMNS, as_json=as_json)


@group.command("show")
def show_(
    organization_id: IdArgument,
    *,
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one organisation."""
    request = pb.GetOrganizationRequest(organization_id=organization_id)
    answer = run(lambda w: w.call("GetOrganization", request), data_dir=data_dir, auth_target=auth_target)
    show.one(answer.organization, _COLUMNS, as_json=as_json)


@group.command("suspend")
def suspend(
    organization_id: IdArgument,
    *,
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close the management and query APIs to an organisation. Its links still redirect and its traffic is stored."""
    request = pb.UpdateOrganizationRequest(organization_id=organization_id, status=pb.ORGANIZATION_STATUS_SUSPENDED)
    answer = run(lambda w: w.call("UpdateOrganization", request), data_dir=data_dir, auth_target=auth_target)
    show.one(answer.organization, _COLUMNS, as_json=as_json)


@group.command("resume")
def resume(
    organization_id: IdArgument,
    *,
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open the APIs to an organisation again."""
    request = pb.UpdateOrganizationRequest(organization_id=organization_id, status=pb.ORGANIZATION_STATUS_ACTIVE)
    answer = run(lambda w: w.call("UpdateOrganization", request), data_dir=data_dir, auth_target=auth_target)
    show.one(answer.organization, _COLUMNS, as_json=as_json)
