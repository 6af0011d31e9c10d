"""Attribution over HTTP."""

import pytest

from tests.contract.gateway_api.mesh import Mesh

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]
PATH = "/api/v1/analytics/attribution"


async def test_the_specifications_call_is_answered_in_its_shape(mesh: Mesh) -> None:
    answer = await mesh.get(f"{PATH}?user_id=usr_customer123&model=time_decay&half_life_days=3.5&lookback=14d")
    assert answer.status == 200
    assert (answer.json["user_id"], answer.json["total_value"], answer.json["attribution_model"]) == (
        "usr_customer123",
        149.99,
        "time_decay",
    )
    (point,) = answer.json["touchpoints"]
    assert (point["source"], point["campaign"], point["attributed_value"], point["attribution_percent"]) == (
        "email",
        None,
        149.99,
        100.0,
    )
    assert answer.json["insights"] == ["Email did it alone"]
    asked = mesh.attribution.asked
    assert dict(asked.parameters) == {"half_life_days": 3.5}
    assert asked.lookback.ToTimedelta().days == 14


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("user_id=usr_nobody", 404, None),
        ("user_id=usr_customer123&model=magic", 400, "model"),
        ("user_id=usr_customer123&half_life_days=soon", 400, "half_life_days"),
        ("user_id=usr_customer123&start=yesterday", 400, "start"),
        ("user=usr_customer123", 400, "user"),
    ],
)
async def test_what_is_wrong_is_told_by_the_clients_names(
    mesh: Mesh, query: str, status: int, field: str | None
) -> None:
    answer = await mesh.get(f"{PATH}?{query}")
    assert answer.status == status
    if field:
        assert field in answer.violations
