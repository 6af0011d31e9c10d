"""``trellis retention``: how long the reading keeps events."""

import asyncio
from typing import Annotated

import typer

from trellis.analytics.v1 import projection_service_pb2 as pb
from trellisctl.admin import show
from trellisctl.admin.session import DataDirOption, JsonOption
from trellisctl.projection import AnalyticsTargetOption, ProjectionOperator

_LONGEST_DAYS = 36_500
_COLUMNS: show.Columns = {"DAYS": lambda it: str(it.days)}


def register(app: typer.Typer) -> None:
    """Add the command ``retention``."""
    app.command("retention")(retention)


def retention(
    days: Annotated[
        int,
        typer.Argument(
            help="Days for which events are kept; 0: as everybody's, or as ANALYTICS_RETENTION_DAYS says.",
            min=0,
            max=_LONGEST_DAYS,
        ),
    ],
    *,
    organization_id: Annotated[
        str, typer.Option("--organization", "--org", help="Id of an organisation; without it everybody's.")
    ] = "",
    data_dir: DataDirOption = None,
    analytics_target: AnalyticsTargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how long the reading keeps an organisation's events, in UTC days. Looked at once a day.

    The raw events are not touched: a longer retention and a rebuild bring back what was dropped.
    """
    request = pb.SetRetentionRequest(organization_id=organization_id, days=days)
    operator = ProjectionOperator(data_dir, analytics_target)
    held = asyncio.run(operator.connected(lambda calls: calls.one("SetRetention", request)))
    show.one(held, _COLUMNS, as_json=as_json)
