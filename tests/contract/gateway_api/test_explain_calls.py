"""What a number rests on, over HTTP."""

import pytest

from tests.contract.gateway_api.fakes import key_without
from tests.contract.gateway_api.mesh import Mesh

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="package")]
PATH = "/api/v1/analytics:explain"


async def test_a_cell_is_explained_by_its_question_and_its_place(mesh: Mesh) -> None:
    cell = {"metric": "revenue", "cell": {"source": "facebook", "param.zone": ""}, "where": {"country": "DE"}}
    answer = await mesh.post(PATH, {**cell, "granularity": "day", "time": "2026-10-05", "start": "2026-10-01"})
    assert answer.status == 200
    assert (answer.json["value"], answer.json["event_count"], answer.json["info"]["sources"]) == (149.99, 1, ["day"])
    assert answer.json["pending"] == [{"operation_id": None, "kind": "rebuild", "state": "running"}]
    assert answer.json["samples"][0]["value"] == 149.99
    asked = mesh.explanations.asked
    assert [(each.dimension, each.value) for each in asked.values] == [("source", "facebook"), ("param.zone", "")]
    assert [each.dimension for each in asked.slice.dimension_filters] == ["country"]
    assert asked.step_time.ToJsonString() == "2026-10-05T00:00:00Z"


async def test_what_is_wrong_with_a_cell_is_told_by_the_clients_names(mesh: Mesh) -> None:
    answer = await mesh.post(PATH, {"cell": {"source": 7}, "granularity": "year", "time": "noon"})
    assert set(answer.violations) == {"time", "metric", "cell.source", "granularity"}
    answer = await mesh.post(PATH, {"metric": "magic", "cell": ["facebook"]})
    assert list(answer.violations) == ["cell"]
    answer = await mesh.post(PATH, {"metric": "magic"})
    assert list(answer.violations) == ["metric", "cell", "time"]


async def test_explaining_needs_the_scope_of_reports(mesh: Mesh) -> None:
    answer = await mesh.post(PATH, {"metric": "revenue"}, key=key_without("analytics:read"))
    assert answer.status == 403


@pytest.mark.parametrize("time", ["9999-12-31T12:00:00Z", "2101-01-01T00:00:00Z", "1999-12-31T23:59:59Z"])
async def test_a_click_of_another_age_is_not_explained(mesh: Mesh, time: str) -> None:
    answer = await mesh.post("/api/v1/campaigns/cmp_1:explain", {"request": {"time": time}})
    assert answer.status == 400
    assert answer.violations == {"request.time": f"is '{time}', must be of the years 2000 to 2100"}
