"""The operations of claims over HTTP."""

import pytest

from tests.contract.gateway_api.fakes import ACME
from tests.contract.gateway_api.mesh import Mesh

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]
CANCEL = "/api/v1/operations/op_1:cancel"


async def test_the_operation_of_a_claim_is_stopped(mesh: Mesh) -> None:
    assert (await mesh.post(CANCEL, {})).status == 404
    mesh.overlay.operations[ACME, "op_1"] = "cmp_1"
    answer = await mesh.post(CANCEL, {})
    assert (answer.status, answer.json["kind"], answer.json["campaign_id"]) == (200, "claim", "cmp_1")
    assert (await mesh.post(CANCEL, {"now": True})).status == 400
