"""``trellis doctor``: is this machine fit for an installation, and is the installation well?"""

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
from pydantic import SecretStr

from svc_runtime.settings import MeshSettings
from trellisctl.errors import CommandError
from trellisctl.installation import Installation, InstallationSettings, read_installation
from trellisctl.up.probes import grpc_health

LEAST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 2 * 1024**3
READY_TIMEOUT_SECONDS = 10.0


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
        yield Finding("installation", is_ok=False, answer=str(error))
        return
    yield Finding("installation", is_ok=True, answer=installation.http_url)
    targets = {
        "auth_svc": installation.auth_target,
        "attribution_svc": installation.attribution_target,
        "capture_svc": installation.capture_target,
    }
    for name, target in targets.items():
        yield await check_service(name, target, installation)
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


async def check_service(name: str, target: str, installation: Installation) -> Finding:
    """Ask a service's gRPC health."""
    mesh = MeshSettings(mesh_secret=SecretStr(installation.mesh_secret))
    problem = await grpc_health(mesh, target)()
    if problem is None:
        return Finding(name, is_ok=True, answer=f"serves on {target}")
    return Finding(name, is_ok=False, answer=f"does not serve on {target}: {problem}. Is `trellis up` running?")


async def check_gateway(url: str) -> AsyncIterator[Finding]:
    """Ask the gateway whether the mesh can redirect, store and query, which covers the stores behind the services."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=READY_TIMEOUT_SECONDS)) as session,
            session.get(f"{url}/readyz") as answer,
        ):
            status, body = answer.status, json.loads(await answer.read())
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        problem = str(error) or type(error).__name__
        yield Finding("gateway", is_ok=False, answer=f"{url}/readyz: {problem}. Is `trellis up` running?")
        return
    yield Finding("gateway", is_ok=status == 200, answer=f"{url}/readyz answers {status}: {json.dumps(body)}")
