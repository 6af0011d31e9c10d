"""``trellis doctor``: is this machine fit for an installation, and is the installation well?"""

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import grpc
import typer
from pydantic import SecretStr

from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.rpc_status import error_from_rpc
from svc_runtime.settings import MeshSettings
from trellis.analytics.v1 import projection_service_pb2 as projection_pb2
from trellis.analytics.v1 import projection_service_pb2_grpc as projection_grpc
from trellis.attribution.v1 import attribution_service_pb2 as attribution_pb2
from trellis.attribution.v1 import attribution_service_pb2_grpc as attribution_grpc
from trellis.auth.v1 import auth_service_pb2 as auth_pb2
from trellis.auth.v1 import auth_service_pb2_grpc as auth_grpc
from trellis.capture.v1 import capture_service_pb2 as capture_pb2
from trellis.capture.v1 import capture_service_pb2_grpc as capture_grpc
from trellisctl.errors import CommandError
from trellisctl.installation import Installation, InstallationSettings, read_installation
from trellisctl.up.plan import DEFAULT_HTTP_HOST, DEFAULT_HTTP_PORT
from trellisctl.up.ports import choose_ports

LEAST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 2 * 1024**3
TIMEOUT_SECONDS = 10.0
NOBODY = "org_nobody"
"""An organisation to ask about that has nothing: campaigns are asked for by organisation."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to."""

    name: str
    """What was looked at."""
    is_ok: bool
    answer: str
    """What was found, and where it is wrong, what to do."""


def register(app: typer.Typer) -> None:
    """Add the command ``doctor``."""
    app.command("doctor")(_doctor)


def _doctor(*, data_dir: Annotated[Path | None, typer.Option(help="Data directory of `trellis up`.")] = None) -> None:
    """Check this machine and the installation; exit with 1 when something is wrong."""
    if not asyncio.run(_examine(data_dir)):
        raise typer.Exit(1)


async def _examine(data_dir: Path | None) -> bool:
    is_all_ok = True
    async for finding in findings(data_dir):
        print(f"{'ok  ' if finding.is_ok else 'FAIL'}  {finding.name}: {finding.answer}", flush=True)
        is_all_ok = is_all_ok and finding.is_ok
    return is_all_ok


async def findings(data_dir: Path | None) -> AsyncIterator[Finding]:
    """Check one thing after the other, the machine first."""
    place = data_dir or InstallationSettings().data_dir
    yield check_python()
    yield check_system()
    yield check_disk(place)
    try:
        installation = read_installation(data_dir)
    except CommandError as error:
        yield await check_ports()
        yield Finding("installation", is_ok=False, answer=str(error))
        return
    yield Finding("installation", is_ok=True, answer=installation.http_url)
    for check in store_checks(installation):
        yield await check
    async for finding in check_gateway(installation.http_url):
        yield finding


def check_python() -> Finding:
    """Look at the interpreter."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < LEAST_PYTHON:
        return Finding("Python", is_ok=False, answer=f"{version}; Trellis needs 3.11 or newer")
    return Finding("Python", is_ok=True, answer=version)


def check_system() -> Finding:
    """Look at the system's features that the journal and the supervisor rest on."""
    missing = [name for name in ("pwritev", "RWF_DSYNC", "pidfd_open") if not hasattr(os, name)]
    if sys.platform != "linux" or missing:
        return Finding("system", is_ok=False, answer=f"{sys.platform} without {', '.join(missing)}; use Linux 4.7+")
    if not hasattr(socket, "SO_REUSEPORT"):
        return Finding("system", is_ok=False, answer="no SO_REUSEPORT: several gateway workers cannot share a port")
    return Finding("system", is_ok=True, answer=f"Linux {os.uname().release}, {os.cpu_count()} CPUs")


def check_disk(place: Path) -> Finding:
    """Look for room and the right to write, where the data is or will be."""
    existing = next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    text = f"{free / 1024**3:.1f} GiB free in {existing}"
    if not os.access(existing, os.W_OK):
        return Finding("disk", is_ok=False, answer=f"{existing} cannot be written by this user")
    if free < LEAST_FREE_BYTES:
        return Finding(
            "disk", is_ok=False, answer=f"{text}: make room, or the journal will refuse events when it is full"
        )
    return Finding("disk", is_ok=True, answer=text)


async def check_ports() -> Finding:
    """Look whether the port that `trellis up` takes by default is free; asked where nothing is installed yet."""
    try:
        found = await choose_ports(DEFAULT_HTTP_HOST, DEFAULT_HTTP_PORT, None)
    except CommandError as error:
        return Finding("ports", is_ok=False, answer=str(error))
    return Finding("ports", is_ok=True, answer=f"{found.http} is free, and there are four for the services")


def store_checks(installation: Installation) -> list[Awaitable[Finding]]:
    """Ask each service for something that it has to ask its own store for."""
    mesh = MeshSettings(mesh_secret=SecretStr(installation.mesh_secret))
    operator = Caller(CallerKind.OPERATOR, actor="operator", organization_id=NOBODY)
    metadata = Credentials(mesh, "trellisctl").as_caller(operator)
    call: dict[str, Any] = {"metadata": metadata, "timeout": TIMEOUT_SECONDS}

    def auth(channel: grpc.aio.Channel) -> Awaitable[Any]:
        request = auth_pb2.ListOrganizationsRequest(page_size=1)
        return auth_grpc.AuthServiceStub(channel).ListOrganizations(request, **call)

    def attribution(channel: grpc.aio.Channel) -> Awaitable[Any]:
        request = attribution_pb2.ListCampaignsRequest(page_size=1)
        return attribution_grpc.AttributionServiceStub(channel).ListCampaigns(request, **call)

    def capture(channel: grpc.aio.Channel) -> Awaitable[Any]:
        request = capture_pb2.ListQuarantineRequest(page_size=1)
        return capture_grpc.CaptureServiceStub(channel).ListQuarantine(request, **call)

    def analytics(channel: grpc.aio.Channel) -> Awaitable[Any]:
        request = projection_pb2.GetProjectionRequest()
        return projection_grpc.ProjectionServiceStub(channel).GetProjection(request, **call)

    return [
        _check_store("auth_svc", mesh, installation.auth_target, auth),
        _check_store("attribution_svc", mesh, installation.attribution_target, attribution),
        _check_store("capture_svc", mesh, installation.capture_target, capture),
        _check_store("analytics_svc", mesh, installation.analytics_target, analytics),
    ]


async def _check_store(
    name: str, mesh: MeshSettings, target: str, ask: Callable[[grpc.aio.Channel], Awaitable[Any]]
) -> Finding:
    try:
        async with open_channel(mesh, target) as channel:
            await ask(channel)
    except grpc.aio.AioRpcError as error:
        answer = f"{target}: {error_from_rpc(error)}. Is `trellis up` running, and is its store?"
        return Finding(name, is_ok=False, answer=answer)
    return Finding(name, is_ok=True, answer=f"{target} answers, and its store does")


async def check_gateway(url: str) -> AsyncIterator[Finding]:
    """Ask the gateway whether the mesh can redirect, store and query."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session,
            session.get(f"{url}/readyz") as answer,
        ):
            checks = json.loads(await answer.read())["checks"]
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, LookupError) as error:
        problem = str(error) or type(error).__name__
        yield Finding("gateway", is_ok=False, answer=f"{url}/readyz: {problem}. Is `trellis up` running?")
        return
    for name, check in checks.items():
        yield Finding(f"gateway can {name}", is_ok=check["ok"], answer="yes" if check["ok"] else check["reason"])
