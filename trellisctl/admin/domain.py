"""``trellis domain``: tracking domains."""

from typing import Annotated

import typer

from trellis.auth.v1 import auth_service_pb2 as pb
from trellisctl.admin import show
from trellisctl.admin.session import AuthTargetOption, DataDirOption, JsonOption, OrganizationOption, Warden, run

group = typer.Typer(help="Tracking domains: hosts by which traffic is known.", no_args_is_help=True)
HostArgument = Annotated[str, typer.Argument(metavar="HOST", help="Host name, without port.")]

_COLUMNS: show.Columns = {
    "HOST": lambda it: it.host,
    "ORGANIZATION": lambda it: it.organization_id,
    "CREATED": lambda it: show.instant(it.create_time),
}


@group.command("add")
def add(
    host: HostArgument,
    *,
    organization_id: OrganizationOption,
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a host to an organisation."""
    answer = run(
        lambda w: w.call("AddDomain", pb.AddDomainRequest(host=host)),
        data_dir=data_dir,
        auth_target=auth_target,
        organization_id=organization_id,
    )
    show.one(answer.domain, _COLUMNS, as_json=as_json)


@group.command("list")
def list_(
    *,
    organization_id: OrganizationOption,
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List an organisation's hosts."""

    async def talk(warden: Warden) -> list[pb.Domain]:
        await warden.check_organization(organization_id)
        return await warden.list_all("ListDomains", pb.ListDomainsRequest(), "domains")

    found = run(talk, data_dir=data_dir, auth_target=auth_target, organization_id=organization_id)
    show.table(found, _COLUMNS, as_json=as_json)


@group.command("remove")
def remove(
    host: HostArgument,
    *,
    organization_id: OrganizationOption,
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
) -> None:
    """Take a host away: its links answer 404 from then on."""
    run(
        lambda w: w.call("RemoveDomain", pb.RemoveDomainRequest(host=host)),
        data_dir=data_dir,
        auth_target=auth_target,
        organization_id=organization_id,
    )
