"""``trellis rebuild``: the reading thrown away and made again from the raw events, while it goes on answering."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Annotated, TypeVar

import grpc
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from svc_runtime.errors import Code, TrellisError
from svc_runtime.rpc_status import error_from_rpc
from trellis.analytics.v1 import projection_service_pb2 as pb
from trellisctl.admin import show
from trellisctl.admin.session import DataDirOption, JsonOption
from trellisctl.projection import AnalyticsTargetOption, ProjectionCalls, ProjectionOperator

_T = TypeVar("_T")
_CALL_SECONDS = 15.0
RETRY_SECONDS = 1.0
MOST_RETRIES = 60
"""analytics_svc may be away for about a minute: the operation goes on without us."""
NOT_DONE = 3
"""Exit code of a rebuild that was cancelled or has failed."""
_BAR_CELLS = 30
_PREFIX = "OPERATION_STATE_"

_COLUMNS: show.Columns = {
    "ID": lambda it: it.operation_id,
    "STATE": lambda it: state_of(it),
    "EVENTS": lambda it: f"{it.done_event_count:,} of {it.total_event_count:,}",
    "MONTHS": lambda it: f"{len(it.done_months)} of {len(it.total_months)}",
    "BEGUN": lambda it: show.instant(it.create_time),
    "ENDED": lambda it: show.instant(it.end_time),
    "ERROR": lambda it: it.error,
}


def register(app: typer.Typer) -> None:
    """Add the command ``rebuild``."""
    app.command("rebuild")(rebuild)


def rebuild(
    *,
    organization_id: Annotated[
        str, typer.Option("--organization", "--org", help="Id of an organisation; without it all of them.")
    ] = "",
    is_detached: Annotated[bool, typer.Option("--detach", help="Begin, and do not wait for the end.")] = False,
    is_status: Annotated[bool, typer.Option("--status", help="Begin nothing: show the last rebuild.")] = False,
    cancelled: Annotated[
        str, typer.Option("--cancel", metavar="ID", help="Begin nothing: stop this one after its month.")
    ] = "",
    data_dir: DataDirOption = None,
    analytics_target: AnalyticsTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the reading again from the raw events, month by month; it goes on answering, and what arrives is not lost.

    Ctrl-C leaves the rebuild at work. Exits with 3 when it was cancelled or has failed.
    """
    if sum((is_detached, is_status, bool(cancelled))) > 1:
        raise typer.BadParameter("--detach, --status and --cancel go one at a time")
    operator = ProjectionOperator(data_dir, analytics_target)
    if is_status:
        show.one(asyncio.run(operator.connected(_last)), _COLUMNS, as_json=as_json)
        return
    if cancelled:
        show.one(asyncio.run(operator.connected(lambda calls: _cancel(calls, cancelled))), _COLUMNS, as_json=as_json)
        return
    begun: pb.Operation = asyncio.run(operator.connected(lambda calls: _begin(calls, organization_id)))
    if is_detached:
        show.one(begun, _COLUMNS, as_json=as_json)
        return
    try:
        ended = asyncio.run(operator.connected(lambda calls: _follow(calls, begun)))
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{begun.operation_id} goes on: see `trellis rebuild --status`\n")
        raise typer.Exit(130) from None
    show.one(ended, _COLUMNS, as_json=as_json)
    if ended.state != pb.OPERATION_STATE_SUCCEEDED:
        raise typer.Exit(NOT_DONE)


async def _begin(calls: ProjectionCalls, organization_id: str) -> pb.Operation:
    answer = await calls.one("StartRebuild", pb.StartRebuildRequest(organization_id=organization_id))
    operation: pb.Operation = answer.operation
    return operation


async def _cancel(calls: ProjectionCalls, operation_id: str) -> pb.Operation:
    answer = await calls.one("CancelRebuild", pb.CancelRebuildRequest(operation_id=operation_id))
    operation: pb.Operation = answer.operation
    return operation


async def _last(calls: ProjectionCalls) -> pb.Operation:
    call = calls.watch("")
    try:
        message = await call.read()
    finally:
        call.cancel()
    operation: pb.Operation = message.operation
    return operation


async def _follow(calls: ProjectionCalls, begun: pb.Operation) -> pb.Operation:
    """Show an operation until it is over; return it then."""
    operation, month_count = begun, 0
    console = Console(stderr=True)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        async for operation in _patiently(calls, begun.operation_id):
            if console.is_terminal:
                live.update(_progress(operation), refresh=True)
            elif len(operation.done_months) > month_count:
                month_count = len(operation.done_months)
                console.print(
                    f"{operation.done_months[-1]} is made again, {month_count} of {len(operation.total_months)}"
                )
    return operation


async def _patiently(calls: ProjectionCalls, operation_id: str) -> AsyncIterator[pb.Operation]:
    """Yield an operation until it is over, also when analytics_svc is started again meanwhile."""
    retries = 0
    while True:
        call = calls.watch(operation_id)
        try:
            async for message in call:
                retries = 0
                yield message.operation
                if message.operation.state != pb.OPERATION_STATE_RUNNING:
                    return
        except grpc.aio.AioRpcError as rpc_error:
            error: TrellisError = error_from_rpc(rpc_error)
            retries += 1
            if error.code is not Code.UNAVAILABLE or retries > MOST_RETRIES:
                raise
        finally:
            call.cancel()
        await asyncio.sleep(RETRY_SECONDS)


def _progress(operation: pb.Operation) -> Table:
    total = max(operation.total_event_count, 1)
    share = min(operation.done_event_count / total, 1.0)
    done = round(share * _BAR_CELLS)
    left = [month for month in operation.total_months if month not in operation.done_months]
    grid = Table.grid(padding=(0, 2))
    grid.add_row(
        f"{'█' * done}{'░' * (_BAR_CELLS - done)} {share:4.0%}",
        f"{operation.done_event_count:,} of {operation.total_event_count:,} events",
        f"month {len(operation.done_months)} of {len(operation.total_months)}",
        left[0] if left else "",
    )
    return grid


def state_of(operation: pb.Operation) -> str:
    """Write where an operation stands."""
    return show.name_of(pb.OperationState, _PREFIX, operation.state)
