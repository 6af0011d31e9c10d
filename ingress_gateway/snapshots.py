"""Keeps hosts, keys and campaigns fresh: a watch on Warden and on attribution_svc, and a copy on disk for restarts."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import grpc
from google.protobuf.message import DecodeError, Message

from ingress_gateway.journal.disk import OsDisk
from ingress_gateway.organisations import Organisations
from ingress_gateway.routing import Routing
from svc_runtime.grpc_client import Credentials
from svc_runtime.logs import get_logger
from svc_runtime.tasks import keep_running
from trellis.attribution.v1 import attribution_service_pb2, attribution_service_pb2_grpc
from trellis.auth.v1 import auth_service_pb2, auth_service_pb2_grpc

_REPORT_SECONDS = 30.0
_log = get_logger(__name__)


class SnapshotFile:
    """A protobuf message on disk, written whole or not at all, at most twice a second."""

    def __init__(self, path: Path, current: Callable[[], Message]) -> None:
        self._path = path
        self._current = current
        self._changed = asyncio.Event()

    def load(self, message: Message) -> bool:
        """Read the file into ``message``; False when it is missing or not readable."""
        try:
            message.ParseFromString(self._path.read_bytes())
        except FileNotFoundError:
            return False
        except (OSError, DecodeError) as error:
            _log.warning("a snapshot on disk is not readable", path=str(self._path), error=repr(error))
            return False
        return True

    def touch(self) -> None:
        """Say that what is held has changed."""
        self._changed.set()

    async def save_forever(self) -> None:
        """Write whenever something changed."""
        disk = OsDisk()
        while True:
            await self._changed.wait()
            self._changed.clear()
            data = self._current().SerializeToString()
            try:
                await asyncio.to_thread(disk.replace, self._path, data)
            except OSError as error:
                self._changed.set()
                _log.warning("a snapshot could not be saved", path=str(self._path), error=repr(error))
            await asyncio.sleep(0.5)


class KeyWatch:
    """Follows AuthService.WatchKeys."""

    def __init__(
        self,
        organisations: Organisations,
        channel: grpc.aio.Channel,
        credentials: Credentials,
        *,
        path: Path,
        name: str,
    ) -> None:
        self._organisations = organisations
        self._stub = auth_service_pb2_grpc.AuthServiceStub(channel)
        self._credentials = credentials
        self._name = name
        self._file = SnapshotFile(path, organisations.snapshot)
        self.is_connected = False

    def load(self) -> None:
        """Begin with what the disk remembers."""
        held = auth_service_pb2.WatchKeysResponse()
        if self._file.load(held):
            self._organisations.apply(held)

    async def run(self) -> None:
        """Follow for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_running("watch keys", self._watch, longest_delay_seconds=2.0))
            group.create_task(keep_running("report key use", self._report))
            group.create_task(self._file.save_forever())

    async def _watch(self) -> None:
        request = auth_service_pb2.WatchKeysRequest(watcher=self._name)
        try:
            async for change in self._stub.WatchKeys(request, metadata=self._credentials.as_service()):
                self.is_connected = True
                if self._organisations.apply(change):
                    self._file.touch()
        except grpc.aio.AioRpcError as error:
            raise ConnectionError(f"WatchKeys: {error.code().name}") from None
        finally:
            self.is_connected = False

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            uses = self._organisations.take_uses()
            if not uses:
                continue
            request = auth_service_pb2.ReportKeyUseRequest()
            for key_id, used_at in list(uses.items())[:10_000]:
                use = request.uses.add(key_id=key_id)
                use.last_use_time.FromDatetime(datetime.fromtimestamp(used_at, UTC))
            try:
                await self._stub.ReportKeyUse(request, metadata=self._credentials.as_service(), timeout=5)
            except grpc.aio.AioRpcError as error:
                # The next use is as good as this one: nothing is kept for later.
                _log.info("the use of keys could not be reported", code=error.code().name)


class RoutingWatch:
    """Follows AttributionService.WatchRouting."""

    def __init__(
        self, routing: Routing, channel: grpc.aio.Channel, credentials: Credentials, *, path: Path, name: str
    ) -> None:
        self._routing = routing
        self._stub = attribution_service_pb2_grpc.AttributionServiceStub(channel)
        self._credentials = credentials
        self._name = name
        self._file = SnapshotFile(path, routing.snapshot)
        self.is_connected = False

    def load(self) -> None:
        """Begin with what the disk remembers."""
        held = attribution_service_pb2.WatchRoutingResponse()
        if self._file.load(held):
            self._routing.apply(held)

    async def run(self) -> None:
        """Follow for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_running("watch routing", self._watch, longest_delay_seconds=1.0))
            group.create_task(self._file.save_forever())

    async def _watch(self) -> None:
        request = attribution_service_pb2.WatchRoutingRequest(watcher=self._name)
        try:
            async for change in self._stub.WatchRouting(request, metadata=self._credentials.as_service()):
                self.is_connected = True
                if self._routing.apply(change):
                    self._file.touch()
        except grpc.aio.AioRpcError as error:
            raise ConnectionError(f"WatchRouting: {error.code().name}") from None
        finally:
            self.is_connected = False
