"""``trellis role``: names for sets of scopes."""

from typing import Annotated

import typer

from trellis.auth.v1 import auth_service_pb2 as pb
from trellisctl.admin import show
from trellisctl.admin.session import AuthTargetOption, DataDirOption, JsonOption, OrganizationOption, Warden, run

group = typer.Typer(help="Roles: names for sets of scopes.", no_args_is_help=True)

_COLUMNS: show.Columns = {
    "ROLE": lambda it: it.name,
    "KIND": lambda it: "built in" if it.is_built_in else "custom",
    "SCOPES": lambda it: " ".join(it.scopes),
}


@group.command("create")
def create(
    name: Annotated[str, typer.Argument(help="1 to 60 of a-z, 0-9 and `_`.")],
    *,
    organization_id: OrganizationOption,
    scope: Annotated[list[str], typer.Option(help="A scope; may be repeated.")],
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a role. It cannot be changed or removed: keys hold it by its name."""
    answer = run(
        lambda w: w.call("CreateRole", pb.CreateRoleRequest(name=name, scopes=scope)),
        data_dir=data_dir,
        auth_target=auth_target,
        organization_id=organization_id,
    )
    show.one(answer.role, _COLUMNS, as_json=as_json)


@group.command("list")
def list_(
    *,
    organization_id: OrganizationOption,
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the built-in roles and the organisation's own."""

    async def talk(warden: Warden) -> list[pb.Role]:
        await warden.check_organization(organization_id)
        return list((await warden.call("ListRoles", pb.ListRolesRequest())).roles)

    found = run(talk, data_dir=data_dir, auth_target=auth_target, organization_id=organization_id)
    show.table(found, _COLUMNS, as_json=as_json)
