"""What a client sees when something behind the gateway does not do its work."""

import asyncio
import logging
from pathlib import Path

import pytest

from svc_runtime.errors import Code, InternalError, TrellisError, UnauthenticatedError, UnavailableError
from tests.contract.gateway_api.description import Description
from tests.contract.gateway_api.fakes import HOST
from tests.contract.gateway_api.mesh import Mesh, running_mesh
from tests.contract.gateway_api.test_described_calls import API, example_target

pytestmark = pytest.mark.loopback
NEEDS_NO_SERVICE = ("upload_conversions", "explain_campaign")
"""A click that is described is explained from memory."""


async def test_services_that_are_down_are_503_with_a_time_to_come_back(
    tmp_path: Path, description: Description
) -> None:
    # A busy machine's disk may take its time: that is not what is looked at.
    async with running_mesh(tmp_path, redirect_budget_ms=1000) as mesh:
        await asyncio.gather(*(server.stop() for server in mesh.servers.values()))
        calls = []
        for method, path, operation in API:
            if operation["operationId"] in NEEDS_NO_SERVICE:
                continue
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
            calls.append(mesh.call(method.upper(), example_target(description, path, operation), json=body))
        for answer in await asyncio.gather(*calls):
            assert (answer.status, answer.reason) == (503, "UNAVAILABLE")
            assert int(answer.headers["Retry-After"]) >= 1
        assert mesh.gateway.counters.server_error_count == 0
        clicked = await mesh.get("/in/summer_sale", key=None, headers={"Host": HOST})
        assert (clicked.status, clicked.headers["X-Trellis-Outcome"]) == (302, "stored")


async def test_a_service_that_does_not_answer_in_time_is_504(tmp_path: Path) -> None:
    async with running_mesh(tmp_path, api_seconds=0.2) as mesh:
        mesh.attribution.does.delay_seconds = 5.0
        answer = await mesh.get("/api/v1/campaigns")
        assert (answer.status, answer.reason) == (504, "DEADLINE_EXCEEDED")
        assert answer.json["detail"] == "the service behind this call did not answer within 0.2 s"


async def test_a_gateway_that_knows_no_keys_yet_does_not_call_them_unknown(tmp_path: Path) -> None:
    async with running_mesh(tmp_path) as mesh:
        mesh.gateway.organisations.is_ready = False
        answer = await mesh.get("/api/v1/campaigns")
        assert (answer.status, answer.reason) == (503, "UNAVAILABLE")
        assert answer.headers["Retry-After"] == "1"


class _ForeignError(TrellisError):
    code = Code.PERMISSION_DENIED


@pytest.mark.asyncio(loop_scope="package")
@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (UnavailableError("the store is down", retry_after_seconds=7), 503, "UNAVAILABLE"),
        (InternalError(), 500, "INTERNAL"),
        (UnauthenticatedError("the mesh token is not valid", reason="KEY_UNKNOWN"), 500, "INTERNAL"),
        (
            _ForeignError("the organisation is suspended", reason="ORGANIZATION_SUSPENDED"),
            403,
            "ORGANIZATION_SUSPENDED",
        ),
    ],
)
async def test_what_a_service_says_reaches_the_client(
    mesh: Mesh, error: TrellisError, status: int, reason: str
) -> None:
    mesh.attribution.does.error = error
    defects = mesh.gateway.counters.server_error_count
    answer = await mesh.get("/api/v1/campaigns")
    assert (answer.status, answer.reason) == (status, reason)
    if error.retry_after_seconds is not None:
        assert answer.headers["Retry-After"] == "7"
    if status == 500:
        assert answer.json["detail"] == "an unexpected error; its details are in the log"
    assert mesh.gateway.counters.server_error_count - defects == (status == 500)


@pytest.mark.asyncio(loop_scope="package")
async def test_an_unforeseen_error_tells_the_client_nothing_of_itself(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_context: object) -> str:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(mesh.attribution.does, "step_in", fail)
    caplog.set_level(logging.CRITICAL)
    answer = await mesh.get("/api/v1/campaigns")
    assert (answer.status, answer.reason) == (500, "INTERNAL")
    assert b"hunter2" not in answer.body
