"""``/openapi.json`` and ``/docs``: the description of every route, for programs and for people."""

import functools

import orjson
from aiohttp import web

from ingress_gateway.gateway import Call
from ingress_gateway.openapi.document import openapi_document
from ingress_gateway.openapi.page import Page, render_page

_CACHING = {"Cache-Control": "public, max-age=300"}


async def openapi(_call: Call) -> web.StreamResponse:
    """Return the OpenAPI document."""
    return web.Response(body=_document(), headers={**_CACHING, "Content-Type": "application/json"})


async def docs(_call: Call) -> web.StreamResponse:
    """Return the page that shows it."""
    page = _page()
    headers = {
        **_CACHING,
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": page.security_policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return web.Response(body=page.html, headers=headers)


@functools.cache
def _document() -> bytes:
    return orjson.dumps(openapi_document())


@functools.cache
def _page() -> Page:
    return render_page(openapi_document())
