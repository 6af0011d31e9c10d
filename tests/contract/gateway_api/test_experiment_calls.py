"""How destinations and rules do, over HTTP."""

import pytest

from tests.contract.gateway_api.fakes import OTHER_KEY
from tests.contract.gateway_api.mesh import Mesh

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]
ONE = "/api/v1/campaigns/summer_sale"


async def test_the_destinations_of_an_action_are_compared(mesh: Mesh) -> None:
    answer = await mesh.get(f"{ONE}/experiment?rule_id=r1&start=2026-11-01&control=d1&minimum_effect=0.2")
    assert answer.status == 200, answer.body
    control, other = answer.json["arms"]
    assert (control["p_value"], control["difference"], control["missing_visitors"]) == (None, None, None)
    assert (other["p_value"], other["difference"], other["missing_visitors"]) == (0.01, 0.05, 10)
    assert answer.json["split"]["is_broken"]
    assert "did not come as the weights say" in answer.json["split"]["warning"]
    asked = mesh.experiments.asked[-1]
    assert (asked.rule_id, asked.control_destination_id, asked.minimum_effect) == ("r1", "d1", 0.2)
    assert asked.time_range.start_time.ToJsonString() == "2026-11-01T00:00:00Z"


async def test_what_each_rule_brought_is_told(mesh: Mesh) -> None:
    answer = await mesh.get(f"{ONE}/rules?start=2026-11-01&end=2026-11-02T12:00:00Z")
    used, rest = answer.json["rules"]
    assert (used["rule_id"], used["clicks"], used["revenue"]) == ("r1", 10, [{"currency": "USD", "amount": 99.99}])
    assert (rest["rule_id"], rest["clicks"], rest["last_click_time"]) == (None, 0, None)


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("confidence=1", {"confidence"}),
        ("confidence=x&minimum_effect=-1", {"confidence", "minimum_effect"}),
        ("start=2026-11-02&end=2026-11-01", {"end"}),
        ("start=tomorrow", {"start"}),
    ],
)
async def test_what_is_wrong_with_a_test_is_named(mesh: Mesh, query: str, wrong: set[str]) -> None:
    answer = await mesh.get(f"{ONE}/experiment?{query}")
    assert (answer.status, set(answer.violations)) == (400, wrong)


async def test_an_action_with_one_destination_is_no_test(mesh: Mesh) -> None:
    assert (await mesh.get(f"{ONE}/experiment?rule_id=one")).reason == "FAILED_PRECONDITION"


async def test_another_organisations_campaign_is_missing(mesh: Mesh) -> None:
    for path in ("experiment", "rules"):
        assert (await mesh.get(f"{ONE}/{path}", key=OTHER_KEY)).status == 404
