"""What the gateway is measured against: a bare aiohttp server that answers every request with the same 302.

``python -m tests.bench.bare PORT HEADERS``, the headers of the answer being pairs as JSON.
"""

import asyncio
import gc
import json
import sys

import uvloop
from aiohttp import web
from multidict import CIMultiDict


async def serve(port: int, headers: CIMultiDict[str]) -> None:
    """Answer until killed, by aiohttp's low-level server: no application, no router, no access log."""

    async def redirect(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers=headers)

    server = web.Server(redirect, access_log=None)
    await asyncio.get_running_loop().create_server(server, "127.0.0.1", port, reuse_port=True, backlog=4096)
    # As the gateway does.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), CIMultiDict(json.loads(sys.argv[2]))))
