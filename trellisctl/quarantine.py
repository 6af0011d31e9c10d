"""``trellis quarantine``: what the store refused and what nobody claims, listed and tried again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import grpc
import typer
from google.protobuf.message import DecodeError
from pydantic import SecretStr

from svc_runtime.errors import Code
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.settings import MeshSettings
from trellis.capture.v1 import capture_service_pb2 as pb
from trellis.capture.v1 import capture_service_pb2_grpc, event_pb2
from trellisctl.admin import show
from trellisctl.admin.session import DataDirOption, JsonOption
from trellisctl.errors import CommandError
from trellisctl.installation import read_installation

_T = TypeVar("_T")
_LIST_SECONDS = 30.0
_REPLAY_SECONDS = 3600.0
_PAGE_SIZE = 200
_LONGEST_REQUEST = 80

group = typer.Typer(help="What could not be stored, and what nobody claims.", no_args_is_help=True)
CaptureTargetOption = Annotated[
    str | None,
    typer.Option(
        "--capture-target", help="Where capture_svc listens; else TRELLIS_CAPTURE_TARGET or the data directory says."
    ),
]
AnyOrganizationOption = Annotated[
    str, typer.Option("--org", help="Id of an organisation; without it all of them, and the unclaimed.")
]

_COLUMNS: show.Columns = {
    "ID": lambda it: it.quarantine_id,
    "TIME": lambda it: show.instant(it.quarantine_time),
    "ORGANIZATION": lambda it: it.organization_id or "(unclaimed)",
    "REASON": lambda it: it.reason,
    "REQUEST": lambda it: _request_line(it.event),
    "BYTES": lambda it: str(len(it.event)),
    "REPLAYED": lambda it: show.instant(it.replay_time),
}
_COUNTS: show.Columns = {
    "STORED": lambda it: str(it.stored_count),
    "STORED BEFORE": lambda it: str(it.duplicate_count),
    "STILL WAITING": lambda it: str(it.failed_count),
}


def register(app: typer.Typer) -> None:
    """Add the command ``quarantine``."""
    app.add_typer(group, name="quarantine")


@group.command("list")
def list_(
    *,
    organization_id: AnyOrganizationOption = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 100,
    data_dir: DataDirOption = None,
    capture_target: CaptureTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what is in quarantine, newest first. JSON holds the whole events."""

    async def talk(stub: Any, metadata: Any) -> list[pb.QuarantinedEvent]:
        found: list[pb.QuarantinedEvent] = []
        token = ""
        while len(found) < limit:
            size = min(_PAGE_SIZE, limit - len(found))
            request = pb.ListQuarantineRequest(page_size=size, page_token=token, organization_id=organization_id)
            page = await stub.ListQuarantine(request, metadata=metadata, timeout=_LIST_SECONDS)
            found += page.items
            token = page.next_page_token
            if not token:
                break
        return found

    show.table(_run(talk, data_dir, capture_target), _COLUMNS, as_json=as_json)


@group.command("replay")
def replay(
    quarantine_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Items; without any, all that wait.")
    ] = None,
    *,
    organization_id: AnyOrganizationOption = "",
    data_dir: DataDirOption = None,
    capture_target: CaptureTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try to store quarantined events again. Nothing is stored twice; exit with 1 when some are refused again."""
    ids: Sequence[str] = quarantine_ids or []
    request = pb.ReplayQuarantineRequest(quarantine_ids=ids, organization_id=organization_id)

    async def talk(stub: Any, metadata: Any) -> pb.ReplayQuarantineResponse:
        answer: pb.ReplayQuarantineResponse = await stub.ReplayQuarantine(
            request, metadata=metadata, timeout=_REPLAY_SECONDS
        )
        return answer

    answer = _run(talk, data_dir, capture_target)
    show.one(answer, _COUNTS, as_json=as_json)
    if answer.failed_count:
        raise typer.Exit(1)


def _run(talk: Callable[[Any, Any], Awaitable[_T]], data_dir: Path | None, capture_target: str | None) -> _T:
    """Connect as the operator and return what ``talk`` returns; raise CommandError or what capture_svc raises."""
    installation = read_installation(data_dir)
    mesh = MeshSettings(mesh_secret=SecretStr(installation.mesh_secret))
    target = capture_target or installation.capture_target
    operator = Credentials(mesh, "trellisctl").as_caller(Caller(CallerKind.OPERATOR, "operator"))

    async def connected() -> _T:
        async with open_channel(mesh, target) as channel:
            try:
                return await talk(capture_service_pb2_grpc.CaptureServiceStub(channel), operator)
            except grpc.aio.AioRpcError as rpc_error:
                error = error_from_rpc(rpc_error)
                if error.code in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
                    raise CommandError(f"capture_svc at {target}: {error}") from None
                raise error from None

    return asyncio.run(connected())


def _request_line(event: bytes) -> str:
    """Write which request an event was, short, and without anything that a terminal would act on."""
    try:
        found = event_pb2.Event.FromString(event)
    except DecodeError:
        return ""
    host, _, _ = found.host.partition(b":")
    path, _, _ = found.target.partition(b"?")  # parameters are people's: JSON has them
    line = f"{found.method} {(host + path).decode('utf-8', 'backslashreplace')}"
    return "".join(c if c.isprintable() else "?" for c in line)[:_LONGEST_REQUEST]
