"""``trellis audit``: who did what."""

from typing import Annotated

import typer

from trellis.auth.v1 import auth_service_pb2 as pb
from trellisctl.admin import show
from trellisctl.admin.session import AuthTargetOption, DataDirOption, JsonOption, OrganizationOption, Warden, run

group = typer.Typer(help="The audit log: every administrative act.", no_args_is_help=True)

_COLUMNS: show.Columns = {
    "TIME": lambda it: show.instant(it.create_time),
    "ACTOR": lambda it: it.actor,
    "ACTION": lambda it: it.action,
    "TARGET": lambda it: it.target,
    "DETAILS": lambda it: it.details_json,
    "TRACE": lambda it: it.trace_id,
}


@group.command("list")
def list_(
    *,
    organization_id: OrganizationOption,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 100,
    data_dir: DataDirOption = None,
    auth_target: AuthTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List administrative acts on an organisation, newest first."""

    async def talk(warden: Warden) -> list[pb.AuditEntry]:
        await warden.check_organization(organization_id)
        return await warden.list_all("ListAuditEntries", pb.ListAuditEntriesRequest(), "entries", limit=limit)

    found = run(talk, data_dir=data_dir, auth_target=auth_target, organization_id=organization_id)
    show.table(found, _COLUMNS, as_json=as_json)
