"""``/healthz`` and ``/readyz``: is the process alive; can this mesh redirect, store and query."""

import asyncio
import time

import grpc
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ingress_gateway.gateway import Call, Gateway
from ingress_gateway.payloads import query_fields
from ingress_gateway.responses import respond_json

_CAPTURE = "trellis.capture.v1.CaptureService"
_REMEMBER_SECONDS = 1.0
_CHECKS = ("redirect", "store", "query")


async def healthz(_call: Call) -> web.StreamResponse:
    """Return 200 while the loop turns. It asks no service, so a restart by it helps."""
    return respond_json({"status": "alive"})


class Readiness:
    """Answers three questions; what capture_svc says is remembered for a second."""

    def __init__(self) -> None:
        self._asked_at = 0.0
        self._capture_serves = False
        self._lock = asyncio.Lock()

    async def readyz(self, call: Call) -> web.StreamResponse:
        """Return 200 when every check passes, 503 otherwise; ``?check=redirect`` asks one alone."""
        gateway = call.gateway
        wanted = query_fields(call.arrival.query).get("check", "")
        names = [name for name in _CHECKS if name in wanted.split(",")] or list(_CHECKS)
        checks = {}
        for name in names:
            problem = await self._check(name, gateway)
            checks[name] = {"ok": not problem, **({"reason": problem} if problem else {})}
        is_ready = all(check["ok"] for check in checks.values())
        return respond_json(
            {"status": "ready" if is_ready else "not_ready", "checks": checks}, status=200 if is_ready else 503
        )

    async def _check(self, name: str, gateway: Gateway) -> str:
        if name == "redirect":
            if not gateway.organisations.is_ready:
                return "no snapshot of keys and hosts yet"
            return "" if gateway.routing.is_ready else "no snapshot of campaigns yet"
        if name == "store":
            if not gateway.journal.is_accepting:
                return "the journal takes nothing now"
            if not gateway.shipper.is_connected:
                return "capture_svc is not connected; events wait in the journal"
        return "" if await self._ask_capture(gateway) else "capture_svc does not serve"

    async def _ask_capture(self, gateway: Gateway) -> bool:
        async with self._lock:
            if time.monotonic() - self._asked_at > _REMEMBER_SECONDS:
                stub = health_pb2_grpc.HealthStub(gateway.channels.capture)
                try:
                    answer = await stub.Check(health_pb2.HealthCheckRequest(service=_CAPTURE), timeout=1.0)
                    self._capture_serves = answer.status == health_pb2.HealthCheckResponse.SERVING
                except grpc.aio.AioRpcError:
                    self._capture_serves = False
                self._asked_at = time.monotonic()
            return self._capture_serves
