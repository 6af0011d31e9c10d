"""Hosts, keys and campaigns: followed while their services are there, remembered while they are not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from ingress_gateway.organisations import Organisations
from ingress_gateway.routing import Routing
from ingress_gateway.snapshots import KeyWatch, RoutingWatch
from svc_runtime.grpc_client import Credentials, open_channel
from svc_runtime.tasks import running
from tests.contract.gateway.capture import MESH, Context
from tests.unit.gateway.journals import until
from trellis.attribution.v1 import attribution_service_pb2, attribution_service_pb2_grpc
from trellis.auth.v1 import auth_service_pb2, auth_service_pb2_grpc

pytestmark = pytest.mark.loopback
PEPPER = "p" * 32
CREDENTIALS = Credentials(MESH, "test")


class _Stream:
    """Says what a test says, to everybody who listens, beginning with the last snapshot."""

    def __init__(self) -> None:
        self.first: Any = None
        self.watchers: list[str] = []
        self._listeners: list[asyncio.Queue[Any]] = []

    def say(self, message: Any) -> None:
        for listener in self._listeners:
            listener.put_nowait(message)

    async def follow(self, watcher: str) -> AsyncIterator[Any]:
        self.watchers.append(watcher)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._listeners.append(queue)
        if self.first is not None:
            yield self.first
        while True:
            yield await queue.get()


class Services(auth_service_pb2_grpc.AuthServiceServicer, attribution_service_pb2_grpc.AttributionServiceServicer):
    """Warden and attribution_svc, as far as a gateway listens to them."""

    def __init__(self) -> None:
        self.keys, self.routing = _Stream(), _Stream()
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def WatchKeys(self, request: auth_service_pb2.WatchKeysRequest, context: Context) -> AsyncIterator[Any]:
        async for message in self.keys.follow(request.watcher):
            yield message

    async def WatchRouting(
        self, request: attribution_service_pb2.WatchRoutingRequest, context: Context
    ) -> AsyncIterator[Any]:
        async for message in self.routing.follow(request.watcher):
            yield message

    async def start(self) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        auth_service_pb2_grpc.add_AuthServiceServicer_to_server(self, self._server)
        attribution_service_pb2_grpc.add_AttributionServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None


class Watched:
    """A gateway's two watches."""

    def __init__(self, directory: Path, channel: grpc.aio.Channel) -> None:
        self.organisations, self.routing = Organisations(PEPPER), Routing()
        self.key_watch = KeyWatch(self.organisations, channel, CREDENTIALS, path=directory / "keys.pb", name="w0")
        self.routing_watch = RoutingWatch(self.routing, channel, CREDENTIALS, path=directory / "routing.pb", name="w0")
        self.key_watch.load()
        self.routing_watch.load()

    def leads_to(self, slug: str) -> bytes | None:
        route = self.routing.find("org_a", slug)
        return route.plain.target.base if route and route.plain else None


@contextlib.asynccontextmanager
async def watching(directory: Path, port: int) -> AsyncIterator[Watched]:
    channel = open_channel(MESH, f"127.0.0.1:{port}")
    watched = Watched(directory, channel)
    async with (
        running("watch keys", watched.key_watch.run()),
        running("watch routing", watched.routing_watch.run()),
    ):
        yield watched
    await channel.close()


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    services = Services()
    services.keys.first = _keys(1, "a.example")
    services.routing.first = _campaigns(1, "sale", "https://one.example/")
    await services.start()
    yield services
    await services.stop()


def _keys(revision: int, host: str, *, is_snapshot: bool = True) -> auth_service_pb2.WatchKeysResponse:
    pb = auth_service_pb2
    return pb.WatchKeysResponse(
        revision=revision, is_snapshot=is_snapshot, domains=[pb.DomainRecord(host=host, organization_id="org_a")]
    )


def _campaigns(
    revision: int, slug: str, url: str, *, is_snapshot: bool = True
) -> attribution_service_pb2.WatchRoutingResponse:
    pb = attribution_service_pb2
    campaign = pb.Campaign(
        campaign_id="c1", organization_id="org_a", slug=slug, status=pb.CAMPAIGN_STATUS_ACTIVE, destination_url=url
    )
    return pb.WatchRoutingResponse(revision=revision, epoch=1, is_snapshot=is_snapshot, campaigns=[campaign])


async def test_snapshots_and_changes_are_taken_in_at_once(tmp_path: Path, services: Services) -> None:
    async with watching(tmp_path, services.port) as watched:
        await until(lambda: watched.organisations.is_ready and watched.routing.is_ready)
        assert watched.organisations.of_host("a.example") == "org_a"
        assert watched.leads_to("sale") == b"https://one.example/"
        assert (services.keys.watchers, services.routing.watchers) == (["w0"], ["w0"])
        services.keys.say(_keys(2, "b.example", is_snapshot=False))
        services.routing.say(_campaigns(2, "sale", "https://two.example/", is_snapshot=False))
        await until(lambda: watched.organisations.of_host("b.example") and watched.routing.revision == 2, seconds=1)
        assert watched.leads_to("sale") == b"https://two.example/"
        assert watched.key_watch.is_connected
        assert watched.routing_watch.is_connected


async def test_what_was_heard_is_there_after_a_restart_without_services(tmp_path: Path, services: Services) -> None:
    async with watching(tmp_path, services.port) as watched:
        await until(lambda: watched.organisations.is_ready and watched.routing.is_ready)
        services.routing.say(_campaigns(2, "sale", "https://two.example/", is_snapshot=False))
        await until(lambda: watched.routing.revision == 2)
        # Written whole or not at all, at most twice a second.
        saved = tmp_path / "routing.pb"
        await until(lambda: saved.exists() and b"two.example" in saved.read_bytes())
        await until((tmp_path / "keys.pb").exists)
    await services.stop()
    async with watching(tmp_path, services.port) as again:
        assert again.organisations.of_host("a.example") == "org_a"
        assert again.leads_to("sale") == b"https://two.example/"
        assert again.routing.revision == 2
        assert not again.key_watch.is_connected


async def test_a_service_that_dies_is_found_again_and_nothing_is_forgotten(tmp_path: Path, services: Services) -> None:
    async with watching(tmp_path, services.port) as watched:
        await until(lambda: watched.organisations.is_ready and watched.routing.is_ready)
        await services.stop()
        await until(lambda: not watched.key_watch.is_connected and not watched.routing_watch.is_connected)
        assert watched.leads_to("sale") == b"https://one.example/"
        services.routing.first = _campaigns(9, "sale", "https://nine.example/")
        await services.start()
        await until(lambda: watched.leads_to("sale") == b"https://nine.example/", seconds=8)
        await until(lambda: watched.key_watch.is_connected, seconds=8)
        assert len(services.routing.watchers) == 2


async def test_a_service_restored_from_a_backup_does_not_turn_time_back(tmp_path: Path, services: Services) -> None:
    services.keys.first = _keys(7, "new.example")
    services.routing.first = _campaigns(7, "sale", "https://seven.example/")
    async with watching(tmp_path, services.port) as watched:
        await until(lambda: watched.organisations.revision == 7 and watched.routing.revision == 7)
        await services.stop()
        services.keys.first = _keys(3, "old.example")
        services.routing.first = _campaigns(3, "sale", "https://three.example/")
        await services.start()
        await until(lambda: len(services.keys.watchers) == 2 and len(services.routing.watchers) == 2, seconds=8)
        await asyncio.sleep(0.1)
        assert watched.leads_to("sale") == b"https://seven.example/"
        assert not watched.organisations.of_host("old.example")


async def test_a_full_disk_does_not_stop_a_watch(
    tmp_path: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_disk: object, _path: Path, _data: bytes) -> None:
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ingress_gateway.snapshots.OsDisk.replace", full)
        async with watching(tmp_path, services.port) as watched:
            await until(lambda: watched.organisations.is_ready and watched.routing.is_ready)
            await asyncio.sleep(0.05)
            services.routing.say(_campaigns(2, "sale", "https://two.example/", is_snapshot=False))
            await until(lambda: watched.leads_to("sale") == b"https://two.example/")
            patch.undo()
            await until((tmp_path / "routing.pb").exists)
