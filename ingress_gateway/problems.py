"""Errors as application/problem+json (RFC 9457), with the same reasons as over gRPC."""

from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from svc_runtime.errors import TrellisError

CONTENT_TYPE = "application/problem+json"


def problem(error: TrellisError, *, event_id: str = "") -> web.Response:
    """Return the response that tells a client what went wrong."""
    status = error.code.http_status
    body: dict[str, Any] = {
        "type": f"urn:trellis:error:{error.reason.lower().replace('_', '-')}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "reason": error.reason,
        # It may repeat what a client sent, in bytes that are no text.
        "detail": error.message.encode("utf-8", "replace").decode(),
    }
    if error.violations:
        body["violations"] = [{"field": v.field, "description": v.description} for v in error.violations]
    if event_id:
        body["event_id"] = event_id
    headers = {"Cache-Control": "no-store"}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="trellis"'
    return web.Response(status=status, body=orjson.dumps(body), content_type=CONTENT_TYPE, headers=headers)
