"""The warehouse under load: what is asked of it meanwhile, and the comparison of reading and raw events afterwards."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr

from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.mesh_token import Caller, CallerKind
from svc_runtime.settings import MeshSettings
from tests.faults.client import Load
from tests.faults.ledger import Fate, Ledger
from tests.faults.reading import Kept, problems, read_both
from tests.mesh.gateway_alone import write_snapshots
from tests.mesh.mesh import ANALYTICS, CAPTURE, Mesh
from trellis.analytics.v1 import projection_service_pb2 as projection_pb
from trellis.analytics.v1 import projection_service_pb2_grpc as projection_grpc
from trellisctl import demo
from trellisctl.up.plan import VALKEY

RATE = 250.0
COUNT = "SELECT count() FROM events"
_SECONDS = 60.0
_REBUILD_SECONDS = 240.0
"""Under load, on a machine that others use too."""
_HEADERS = {"Authorization": f"Bearer {demo.SECRET_KEY}"}


class RefusedError(Exception):
    """An answer that is none: its status, reason and text."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(f"{status} {reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail


class Warehouse:
    """capture_svc, analytics_svc, Valkey and one gateway worker, and the ledger of what was sent to them by a test."""

    def __init__(self, name: str, mesh: Mesh, *, seed: int) -> None:
        self.name = name
        self.mesh = mesh
        self.random = random.Random(seed)
        self.ledger = Ledger()
        self.line = ""

    def load(self, *, rate: float = RATE) -> Load:
        """Return clients that fill the ledger."""
        return Load(self.mesh.http_port, self.ledger, seed=self.random.getrandbits(32), rate=rate, connection_count=12)

    async def start(self) -> None:
        """Start what does not run, and wait until all of it is ready and the gateway has found it again."""
        await self.mesh.start()
        await self.mesh.wait_ready()
        await self.until_count(0)

    async def restart(self) -> None:
        """Kill analytics_svc and start it again; return when it answers."""
        await asyncio.to_thread(self.mesh.kill, ANALYTICS)
        await self.start()

    # -- questions ------------------------------------------------------------------------------------------------

    async def ask(self, path: str, body: Any = None, *, seconds: float = 30.0) -> Any:
        """Ask ``/api/v1`` on a new connection. Raise RefusedError, OSError, aiohttp.ClientError, TimeoutError."""
        url = f"http://127.0.0.1:{self.mesh.http_port}/api/v1{path}"
        timeout = aiohttp.ClientTimeout(seconds)
        async with (
            aiohttp.ClientSession(headers=_HEADERS, timeout=timeout) as session,
            session.request("GET" if body is None else "POST", url, json=body) as answer,
        ):
            found = await answer.json(content_type=None)
            if answer.status >= 400:
                raise RefusedError(answer.status, found.get("reason", ""), found.get("detail", ""))
            return found

    async def sql(self, text: str, *, seconds: float = 30.0) -> list[list[Any]]:
        """Return the rows of a statement."""
        rows: list[list[Any]] = (await self.ask("/query", {"sql": text}, seconds=seconds))["rows"]
        return rows

    async def count(self) -> int:
        """Return how many events the reading has; -1 while it cannot be asked."""
        with contextlib.suppress(RefusedError, OSError, aiohttp.ClientError, TimeoutError):
            return int((await self.sql(COUNT))[0][0])
        return -1

    @contextlib.asynccontextmanager
    async def projection(self) -> AsyncIterator[Callable[..., Any]]:
        """Give the operator's calls of ``ProjectionService``, by name."""
        mesh = MeshSettings(mesh_secret=SecretStr(self.mesh.installation.mesh_secret))
        operator = Credentials(mesh, "tests").as_caller(Caller(CallerKind.OPERATOR, "operator"))
        async with open_channel(mesh, self.mesh.installation.analytics_target) as channel:
            stub = projection_grpc.ProjectionServiceStub(channel)
            yield lambda method, message: getattr(stub, method)(message, metadata=operator, timeout=_REBUILD_SECONDS)

    async def begin_rebuild(self) -> str:
        """Begin a rebuild of everything; return its id."""
        async with self.projection() as call:
            begun = await call("StartRebuild", projection_pb.StartRebuildRequest())
        return str(begun.operation.operation_id)

    async def rebuilt(self, operation_id: str) -> projection_pb.Operation:
        """Wait until a rebuild is over and return it."""
        operation = projection_pb.Operation()
        async with self.projection() as call:
            async for message in call("WatchRebuild", projection_pb.WatchRebuildRequest(operation_id=operation_id)):
                operation = message.operation
        return operation

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator["Watch"]:
        """Ask again and again for the time of the block: what was seen once is never gone, and nothing is there twice.

        Raise AssertionError at its end where that was not so.
        """
        watch = Watch(self)
        asking = asyncio.create_task(watch.run())
        try:
            yield watch
        finally:
            watch.ends = True
            await asking
        assert not watch.problems, watch.problems[:5]

    # -- conditions -----------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool], *, seconds: float = _SECONDS) -> None:
        """Wait until something holds; raise AssertionError when it does not."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{self.name}: waited {seconds:g} s in vain"
            await asyncio.sleep(0.02)

    async def until_count(self, least: int, *, seconds: float = _SECONDS) -> int:
        """Wait until the reading has so many events; return how many it has."""
        deadline = time.monotonic() + seconds
        while (count := await self.count()) < least:
            assert time.monotonic() < deadline, f"{self.name}: {count} of {least} events after {seconds:g} s"
            await asyncio.sleep(0.1)
        return count

    def acknowledged(self) -> int:
        """Return how many events the clients were told are stored."""
        return self.ledger.count(Fate.ACKNOWLEDGED)

    async def caught_up(self) -> int:
        """Start what does not run, and wait until all that was stored is in the reading; return how much that is."""
        await self.start()
        account, _ = await self.mesh.drained(seconds=_SECONDS)
        assert await self.until_count(account.stored_count) == account.stored_count
        return int(account.stored_count)

    async def settle(self, *, note: str = "") -> Kept:
        """Catch up, stop both stores, and hold the reading against the raw events; return the reading."""
        began = time.monotonic()
        await self.caught_up()
        took = time.monotonic() - began
        raw, reading = await self._read()
        self.line = f"{self.name}: {len(raw.ids)} events, settled in {took:.1f} s{note and '; '}{note}"
        found = problems(raw, reading)
        assert not found, "\n  ".join([self.line, *found])
        return reading

    async def compared(self) -> tuple[Kept, Kept]:
        """Let a build that may have lost events come to rest, and return the raw events and the reading."""
        await self.start()
        await self.mesh.drained(seconds=_SECONDS)
        await self.until_still()
        return await self._read()

    async def until_still(self) -> None:
        """Wait until the reading has known for a while of all that was stored."""
        stored_before = datetime.now(UTC)
        async with asyncio.timeout(_SECONDS), self.projection() as call:
            while True:
                answer = await call("GetProjection", projection_pb.GetProjectionRequest())
                if answer.HasField("watermark_time") and answer.watermark_time.ToDatetime(UTC) > stored_before:
                    return
                await asyncio.sleep(0.2)

    async def _read(self) -> tuple[Kept, Kept]:
        self.mesh.stop(ANALYTICS, CAPTURE)
        return await read_both(self.mesh)


class Watch:
    """A reader who looks all the time."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self.ends = False
        self.answered_count = 0
        self.refusals: list[str] = []
        self.problems: list[str] = []

    async def run(self) -> None:
        """Look until ``ends``."""
        last = 0
        while not self.ends:
            try:
                ((count, unique),) = await self._warehouse.sql("SELECT count(), uniqExact(event_id) FROM events")
            except (RefusedError, OSError, aiohttp.ClientError, TimeoutError) as error:
                self.refusals.append(str(error) or type(error).__name__)
            else:
                self.answered_count += 1
                if count != unique or int(count) < last:
                    self.problems.append(f"{count} events, {unique} different ones, after {last}")
                last = max(last, int(count))
            await asyncio.sleep(0.2)


async def new_warehouse(path: Path) -> Mesh:
    """Start the processes under ``path``; the gateway has keys and campaigns from snapshots."""
    mesh = await Mesh.plan(path, names=(CAPTURE, ANALYTICS, VALKEY, "gateway"))
    write_snapshots(mesh.directory.gateway, pepper=mesh.directory.secrets().key_pepper)
    return mesh
