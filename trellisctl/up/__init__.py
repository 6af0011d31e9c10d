"""``trellis up``: the whole mesh on one machine, with embedded stores, in the foreground."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from trellisctl.up.plan import (
    DEFAULT_DATA_DIR,
    DEFAULT_HTTP_HOST,
    DEFAULT_HTTP_PORT,
    Options,
)
from trellisctl.up.run import run

DEFAULT_WORKERS = min(2, os.cpu_count() or 1)


def register(app: typer.Typer) -> None:
    """Add the command ``up``."""
    app.command("up")(_up)


def _up(
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="Make a demo organisation with fixed keys. For demonstration only.")
    ] = False,
    data_dir: Annotated[
        Path, typer.Option(envvar="TRELLIS_DATA_DIR", help="Where everything is kept.", file_okay=False)
    ] = DEFAULT_DATA_DIR,
    http_host: Annotated[
        str, typer.Option(envvar="TRELLIS_HTTP_HOST", help="Address that the gateway listens on.")
    ] = DEFAULT_HTTP_HOST,
    http_port: Annotated[
        int, typer.Option(envvar="TRELLIS_HTTP_PORT", help="Port of the gateway; 0 takes a free one.", min=0, max=65535)
    ] = DEFAULT_HTTP_PORT,
    workers: Annotated[int, typer.Option(help="Gateway processes.", min=1, max=64)] = DEFAULT_WORKERS,
    grpc_port_base: Annotated[
        int | None,
        typer.Option(
            help="The services listen on the four ports after it; 0 takes free ones. By default 50050, or free ones.",
            min=0,
            max=65531,
        ),
    ] = None,
) -> None:
    """Start the gateway, the four services and their stores; stay in the foreground until Ctrl-C."""
    options = Options(data_dir, http_host, http_port, workers, grpc_port_base, demo)
    # The one place that hands the environment on: each process reads its own settings from it.
    asyncio.run(run(options, dict(os.environ)))
