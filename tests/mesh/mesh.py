"""The whole mesh as a test's own: the processes that ``trellis up`` would start, without its supervisor."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path

import grpc
from pydantic import SecretStr

from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.settings import MeshSettings
from tests.mesh.process import Launch, Process, ProcessError
from trellis.attribution.v1 import attribution_service_pb2 as attribution_pb
from trellis.attribution.v1 import attribution_service_pb2_grpc as attribution_grpc
from trellis.capture.v1 import capture_service_pb2 as capture_pb
from trellis.capture.v1 import capture_service_pb2_grpc as capture_grpc
from trellisctl import demo
from trellisctl.installation import Installation
from trellisctl.up.child import ChildSpec
from trellisctl.up.data_directory import DataDirectory
from trellisctl.up.plan import POSTGRES, VALKEY, Options, make_plan
from trellisctl.up.ports import choose_ports

AUTH, ATTRIBUTION, CAPTURE, ANALYTICS = "auth_svc", "attribution_svc", "capture_svc", "analytics_svc"
LINK = f"/in/{demo.CAMPAIGN_ID}"
_METRICS = "trellis_gateway_"
READY_SECONDS = 60.0
_ROOT = Path(__file__).parents[2]
_CALL_SECONDS = 10.0
STILL_SECONDS = 2.0


def inherited_environment() -> dict[str, str]:
    """Return our environment without what would configure the mesh behind a test's back."""
    ours = ("TRELLIS_", "OTEL_", "GATEWAY_", "AUTH_", "ATTRIBUTION_", "CAPTURE_", "ANALYTICS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


class Mesh:
    """Processes by name, the name being that of ``trellis up``: ``postgresql``, ``auth_svc``… and ``gateway-0``…"""

    def __init__(self, directory: DataDirectory, specs: Sequence[ChildSpec], installation: Installation) -> None:
        self.directory = directory
        self.installation = installation
        self._specs = {spec.name: spec for spec in specs}
        self.processes = {
            spec.name: Process(
                spec.name,
                Launch(command=spec.command, environment=spec.environment, os_ids=spec.os_ids),
                directory.log_path(spec.name),
            )
            for spec in specs
        }

    @classmethod
    async def plan(
        cls,
        path: Path,
        *,
        workers: int = 1,
        environment: Mapping[str, str] | None = None,
        names: Iterable[str] | None = None,
    ) -> "Mesh":
        """Prepare a mesh under ``path`` on free ports; ``environment`` reaches every process, ``names`` picks some."""
        directory = DataDirectory(path)
        directory.make()
        options = Options(
            data_dir=path, http_host="127.0.0.1", http_port=0, workers=workers, grpc_port_base=0, is_demo=True
        )
        ports = await choose_ports("127.0.0.1", 0, 0)
        given = {**inherited_environment(), **(environment or {})}
        plan = make_plan(options, directory, directory.secrets(), ports, given)
        wanted = None if names is None else set(names)
        specs = [
            # What a process needs may be left out, or be started by hand.
            dataclasses.replace(spec, needs=())
            for spec in plan.children
            if wanted is None or spec.name in wanted or (spec.name.startswith("gateway") and "gateway" in wanted)
        ]
        return cls(directory, specs, plan.installation)

    # -- processes ------------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    @property
    def gateways(self) -> list[Process]:
        """The gateway's workers."""
        return [process for name, process in self.processes.items() if name.startswith("gateway-")]

    @property
    def http_port(self) -> int:
        """Port of the gateway."""
        return int(self.installation.http_url.rpartition(":")[2])

    async def start(self, *names: str) -> None:
        """Start processes, all that do not run when none is named, each without waiting for another's readiness."""
        for name in names or [name for name, process in self.processes.items() if not process.is_running]:
            prepare = self._specs[name].prepare
            if prepare is not None:
                await prepare()
            self.processes[name].start()

    async def wait_ready(self, *names: str, seconds: float = READY_SECONDS) -> None:
        """Wait until processes, all running ones when none is named, are ready by the probes of ``trellis up``."""
        await asyncio.gather(*(self._wait_ready(name, seconds) for name in names or self._running_names()))

    def _running_names(self) -> list[str]:
        return [name for name, process in self.processes.items() if process.is_running]

    async def _wait_ready(self, name: str, seconds: float) -> None:
        process, probe = self.processes[name], self._specs[name].probe
        deadline = time.monotonic() + seconds
        if name not in {POSTGRES, VALKEY}:
            # Of ours only: theirs say it in their own words.
            await process.listening(seconds=seconds)
        while (problem := await probe()) is not None:
            if not process.is_running:
                raise ProcessError(f"{name} ended before it was ready:\n{process.log_tail()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{name} is not ready after {seconds:g} s: {problem}\n{process.log_tail()}")
            await asyncio.sleep(0.1)

    async def seed(self) -> None:
        """Make the demo organisation, its host, keys and campaign; return when the gateway routes by them."""
        await demo.seed(self.installation)
        deadline = time.monotonic() + 10
        while await self.click_status() != 302:
            if time.monotonic() > deadline:
                raise ProcessError("the gateway does not know the demo campaign after 10 s")
            await asyncio.sleep(0.1)

    async def click_status(self, slug: str = demo.CAMPAIGN_ID) -> int:
        """Follow a link on a new connection; return the status, 0 when nobody answers."""
        head, _ = await self._get(f"/in/{slug}?lid=0-0")
        return int(head.split()[1]) if head else 0

    async def metrics(self) -> dict[str, float]:
        """Return the gateway's metrics by name (``redirects_total``…), all workers together."""
        _, page = await self._get("/metrics")
        totals: dict[str, float] = {}
        for line in page.decode().splitlines():
            if line.startswith(_METRICS):
                labelled, _, value = line.rpartition(" ")
                name = labelled.partition("{")[0].removeprefix(_METRICS)
                totals[name] = totals.get(name, 0.0) + float(value)
        return totals

    async def _get(self, target: str) -> tuple[bytes, bytes]:
        """Return head and body of an answer on a new connection; nothing when nobody answers."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.http_port)
        except OSError:
            return b"", b""
        try:
            writer.write(f"GET {target} HTTP/1.1\r\nHost: {demo.HOST}\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
        except (OSError, TimeoutError):
            return b"", b""
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return head, body

    def stop(self, *names: str) -> None:
        """Stop processes gracefully, all of them when none is named, in the order in which ``trellis up`` does."""
        chosen = sorted(names or self.processes, key=lambda name: self._specs[name].drain_stage)
        failures = []
        for name in chosen:
            try:
                self.processes[name].stop(self._specs[name].stop_signal)
            except ProcessError as error:
                failures.append(str(error))
        if failures:
            raise ProcessError("\n".join(failures))

    def kill(self, *names: str) -> None:
        """Kill processes, all of them when none is named; PostgreSQL too is killed, its children with it."""
        for name in names or list(self.processes):
            process = self.processes[name]
            if name == POSTGRES and process.is_running:
                # Its children wait on a pipe from the postmaster and leave when it is gone.
                with contextlib.suppress(ProcessError):
                    process.stop(signal.SIGQUIT, seconds=5)
                continue
            process.kill()

    # -- what it says ---------------------------------------------------------------------------------------------

    async def create_campaign(self, slug: str) -> None:
        """Make another campaign of the demo organisation. Errors: AioRpcError."""
        mesh = MeshSettings(mesh_secret=SecretStr(self.installation.mesh_secret))
        caller = Caller(CallerKind.OPERATOR, "operator", demo.ORGANIZATION_ID)
        async with open_channel(mesh, self.installation.attribution_target) as channel:
            await attribution_grpc.AttributionServiceStub(channel).CreateCampaign(
                attribution_pb.CreateCampaignRequest(campaign_id=slug, destination_url=demo.DESTINATION_URL),
                metadata=Credentials(mesh, "tests").as_caller(caller),
                timeout=_CALL_SECONDS,
            )

    def caller(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call for the demo organisation."""
        credentials = Credentials(MeshSettings(mesh_secret=SecretStr(self.installation.mesh_secret)), "tests")
        scopes = frozenset({"traffic:read", "traffic:write"})
        return credentials.as_caller(Caller(CallerKind.ORGANIZATION, "tests", demo.ORGANIZATION_ID, scopes))

    def service(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call in the name of a service."""
        return Credentials(MeshSettings(mesh_secret=SecretStr(self.installation.mesh_secret)), "tests").as_service()

    @contextlib.asynccontextmanager
    async def capture_stub(self) -> AsyncIterator["capture_grpc.CaptureServiceAsyncStub"]:
        """Open a channel to capture_svc for the time of the block."""
        mesh = MeshSettings(mesh_secret=SecretStr(self.installation.mesh_secret))
        async with open_channel(mesh, self.installation.capture_target) as channel:
            yield capture_grpc.CaptureServiceStub(channel)

    async def account(self) -> capture_pb.GetLedgerResponse:
        """Return the demo organisation's ledger."""
        async with self.capture_stub() as stub:
            return await stub.GetLedger(capture_pb.GetLedgerRequest(), metadata=self.caller(), timeout=_CALL_SECONDS)

    async def drained(self, *, seconds: float) -> tuple[capture_pb.GetLedgerResponse, float]:
        """Wait until nothing is on its way any more; return the account then, and when its last change was seen.

        A gateway tells what its journal holds once a second, so an account with empty journals must stay so for a
        while. The instant is of ``time.monotonic``.
        """
        deadline = time.monotonic() + seconds
        last: object = None
        since = time.monotonic()
        while time.monotonic() < deadline:
            try:
                account = await self.account()
            except grpc.aio.AioRpcError as error:
                last, since = error.code(), time.monotonic()
            else:
                account.ClearField("as_of_time")
                if account != last:
                    last, since = account, time.monotonic()
                is_still = time.monotonic() - since > STILL_SECONDS
                if is_still and account.journal_count == 0:
                    return account, since
            await asyncio.sleep(0.2)
        raise ProcessError(f"events are still on their way after {seconds:g} s: {last}")

    def run_module(self, name: str, module: str, *arguments: str) -> None:
        """Make a process run another module from its next start on, for example a mutant."""
        self.processes[name].launch.command = lambda: (sys.executable, "-P", "-m", module, *arguments)
        self.configure(name, PYTHONPATH=str(_ROOT))

    def configure(self, *names: str, **environment: str) -> None:
        """Change the environment of processes for their next start."""
        for name in names:
            launch = self.processes[name].launch
            launch.environment = {**launch.environment, **environment}
