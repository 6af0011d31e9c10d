"""``/metrics``: the numbers of all workers of this machine, for Prometheus."""

import asyncio

from aiohttp import web

from ingress_gateway.gateway import Call
from ingress_gateway.metrics_page import CONTENT_TYPE


async def metrics(call: Call) -> web.StreamResponse:
    """Return the page."""
    page = await asyncio.to_thread(call.gateway.metrics_page.render)
    return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})
