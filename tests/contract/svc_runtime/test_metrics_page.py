import socket

import aiohttp
import pytest
from pydantic import SecretStr

from svc_runtime.grpc_server import GrpcServer
from svc_runtime.settings import MeshSettings

pytestmark = pytest.mark.loopback


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_the_metrics_page_lives_as_long_as_the_server() -> None:
    port = free_port()
    server = GrpcServer(
        MeshSettings(mesh_secret=SecretStr("s" * 32), metrics_port=port, drain_seconds=0), service_names=[]
    )
    await server.start("127.0.0.1:0")
    url = f"http://127.0.0.1:{port}/metrics"
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as answer:
            assert answer.status == 200
            assert "# TYPE" in await answer.text()
        await server.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(url)
