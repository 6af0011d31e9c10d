"""Answers in the slow lane."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from ingress_gateway.answer import JSON, Answer


def respond(answer: Answer) -> web.Response:
    """Return the aiohttp form of an answer."""
    response = web.Response(status=answer.status, body=answer.body or None)
    headers = response.headers
    for name, value in (*answer.preset.pairs, *answer.headers):
        headers.add(name, value) if name == "Set-Cookie" else headers.__setitem__(name, value)
    return response


def respond_json(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a JSON answer that nobody caches."""
    return respond(Answer(status, JSON, list((headers or {}).items()), orjson.dumps(body)))
