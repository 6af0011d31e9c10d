"""Attribution over HTTP."""

import pytest

from attribution_svc.models.registry import KINDS
from ingress_gateway.routes.analytics.attribution_question import PARAMETERS
from tests.contract.gateway_api.fakes import ACME, OTHER_KEY, key_without
from tests.contract.gateway_api.mesh import Mesh
from trellis.analytics.v1 import report_pb2

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


async def test_a_report_credits_everybody_by_several_models_side_by_side(mesh: Mesh) -> None:
    answer = await mesh.get(f"{PATH}?model=time_decay,linear,last_touch&half_life_days=1&group_by=source")
    assert answer.status == 200
    assert [(model["model"], model["parameters"]) for model in answer.json["models"]] == [
        ("time_decay", {"direct_weight": 1.0, "half_life_days": 1.0}),
        ("linear", {}),
        ("last_touch", {}),
    ]
    rows = {row["value"]: row for row in answer.json["rows"]}
    assert list(rows) == ["email", "", "=google()", "facebook"]
    assert [each["revenue"] for each in rows["facebook"]["credits"]] == [3.15, 37.5, 0.0]
    assert [each["conversions"] for each in rows["facebook"]["credits"]] == [0.020974, 0.25, 0.0]
    assert (rows["email"]["last_touch_conversions"], rows["email"]["assisted_conversions"]) == (1, 1)
    assert rows["email"]["assisted_revenue"] == 149.99
    assert (answer.json["conversions"], answer.json["revenue"], answer.json["group_by"]) == (3, 209.99, "source")
    for place, nobody in enumerate(answer.json["unattributed"]):
        assert (nobody["conversions"], nobody["revenue"]) == (1.0, 10.0)
        given = sum(row["credits"][place]["revenue"] for row in answer.json["rows"])
        assert round(given + nobody["revenue"], 6) == 209.99
    assert answer.json["lookbacks"] == [{"type": "", "days": 30.0, "same_session": False}]


async def test_a_report_passes_on_what_it_was_asked(mesh: Mesh) -> None:
    await mesh.get(
        f"{PATH}?type=purchase,lead&lookback_days=7.5&country=DE&group_by=param.zone&start=2026-10-01"
        '&lookbacks={"lead":1}'
    )
    scope = mesh.journeys.scopes[-1]
    assert (scope.dimension, scope.conversion_types) == ("param.zone", ("purchase", "lead"))
    assert [(each.conversion_type, each.lookback.milliseconds) for each in scope.lookbacks] == [
        ("", 648_000_000),
        ("lead", 86_400_000),
    ]
    part = report_pb2.Slice.FromString(scope.part)
    assert [(each.dimension, list(each.values)) for each in part.dimension_filters] == [("country", ["DE"])]
    assert part.time_range.start_time.ToJsonString() == "2026-10-01T00:00:00Z"


async def test_one_model_can_be_asked_twice_by_a_body(mesh: Mesh) -> None:
    answer = await mesh.post(
        PATH, {"models": ["linear", {"model": "time_decay", "half_life_days": 1}, "time_decay"], "limit": 1}
    )
    assert [model["parameters"].get("half_life_days") for model in answer.json["models"]] == [None, 1.0, 7.0]
    (first,) = answer.json["rows"]
    assert first["credits"][0]["revenue"] + answer.json["rest"]["credits"][0]["revenue"] == 199.99


async def test_models_that_learn_are_answered_from_all_paths(mesh: Mesh) -> None:
    answer = await mesh.get(f"{PATH}?model=markov,shapley,counterfactual&order=2&characteristic=conversion_rate")
    assert [model["is_learned"] for model in answer.json["models"]] == [True, True, True]
    for place in range(3):
        given = [row["credits"][place]["revenue"] for row in answer.json["rows"]]
        assert round(sum(given), 6) == 199.99
        assert answer.json["unattributed"][place]["revenue"] == 10.0


async def test_a_report_can_be_a_table_in_which_nothing_is_a_formula(mesh: Mesh) -> None:
    for answer in (
        await mesh.get(f"{PATH}?model=linear&group_by=source&format=csv"),
        await mesh.get(f"{PATH}?model=linear&group_by=source", headers={"Accept": "text/csv"}),
    ):
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert answer.body.decode().splitlines() == [
            "row,source,linear_conversions,linear_revenue,last_touch_conversions,assisted_conversions,assisted_revenue",
            "value,email,1.25,87.50,1,1,149.99",
            "value,'=google(),0.25,37.50,0,1,149.99",
            "value,facebook,0.25,37.50,0,1,149.99",
            "value,,0.25,37.49,1,0,0.00",
            "unattributed,,1,10.00,0,0,0.00",
        ]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("model=magic", ["model"]),
        ("model=linear,linear", ["model"]),
        ("model=linear&half_life_days=7", ["half_life_days"]),
        ("model=time_decay&half_life_days=soon", ["half_life_days"]),
        ("model=markov&order=3", ["order"]),
        ("lookback=7d&lookback_days=7", ["lookback_days"]),
        ("lookback_days=0", ["lookback_days"]),
        ('lookbacks={"lead":"long"}', ["lookbacks.lead"]),
        ("group_by=shoe_size", ["group_by"]),
        ("limit=10001&format=xml", ["limit", "format"]),
    ],
)
async def test_what_is_wrong_with_a_report_is_told_by_the_clients_names(
    mesh: Mesh, query: str, fields: list[str]
) -> None:
    answer = await mesh.get(f"{PATH}?{query}")
    assert (answer.status, list(answer.violations)) == (400, fields)


async def test_a_report_is_in_the_callers_name_and_needs_its_scope(mesh: Mesh) -> None:
    await mesh.get(PATH)
    assert mesh.journeys.callers[-1].organization_id == ACME
    assert (await mesh.get(PATH, key=key_without("analytics:read"))).status == 403
    assert (await mesh.get("/api/v1/attribution/models", key=key_without("analytics:read"))).status == 403


async def test_models_are_listed_with_the_parameters_that_the_gateway_takes(mesh: Mesh) -> None:
    answer = await mesh.get("/api/v1/attribution/models")
    listed = {model["model"]: tuple(each["name"] for each in model["parameters"]) for model in answer.json["models"]}
    assert {name: parameters for name, parameters in listed.items() if parameters} == dict(PARAMETERS)
    assert listed.keys() == KINDS.keys()
    assert [model["model"] for model in answer.json["models"] if not model["is_additive"]] == ["participation"]


SETTINGS = "/api/v1/attribution/settings"


async def test_settings_fill_in_what_a_question_does_not_say_and_stay_askable(mesh: Mesh) -> None:
    first = await mesh.put(SETTINGS, {"types": [{"type": "", "lookback_days": 90, "model": "linear"}]})
    lead = {"type": "lead", "same_session": True, "model": {"model": "time_decay", "half_life_days": 1}}
    second = await mesh.put(SETTINGS, {"types": [lead], "expected_version": first.json["version"]})
    assert second.json["version"] == first.json["version"] + 1
    assert second.json["types"] == [
        {
            "type": "lead",
            "lookback_days": None,
            "same_session": True,
            "model": {"model": "time_decay", "parameters": {"direct_weight": 1.0, "half_life_days": 1.0}},
        }
    ]
    assert (await mesh.get(SETTINGS)).json == second.json
    assert (await mesh.get(f"{SETTINGS}?version={first.json['version']}")).json == first.json
    leads = (await mesh.get(f"{PATH}?type=lead")).json
    assert (leads["models"][0]["model"], leads["settings_version"]) == ("time_decay", second.json["version"])
    assert leads["lookbacks"] == [
        {"type": "", "days": 30.0, "same_session": False},
        {"type": "lead", "days": None, "same_session": True},
    ]
    before = (await mesh.get(f"{PATH}?settings_version={first.json['version']}")).json
    assert before["models"][0]["model"] == "linear"
    assert before["lookbacks"] == [{"type": "", "days": 90.0, "same_session": False}]
    assert (await mesh.get(f"{PATH}?settings_version=999")).status == 404


async def test_settings_of_a_version_that_is_over_are_not_replaced(mesh: Mesh) -> None:
    answer = await mesh.put(SETTINGS, {"types": [], "expected_version": 999})
    assert (answer.status, answer.reason) == (409, "FAILED_PRECONDITION")


async def test_everything_that_is_wrong_with_settings_is_told(mesh: Mesh) -> None:
    types = [
        {"type": "lead", "lookback_days": 0},
        {"type": "sale", "model": {"model": "time_decay", "half_life_days": -1}},
        {"type": "sale", "model": 7},
        {"typ": "x"},
        "lead",
    ]
    answer = await mesh.put(SETTINGS, {"types": types})
    assert (answer.status, list(answer.violations)) == (
        400,
        ["types[0].lookback_days", "types[2].model", "types[3].typ", "types[4]"],
    )
    answer = await mesh.put(SETTINGS, {"types": types[1:2] * 2})
    assert list(answer.violations) == [
        "types[0].model.parameters.half_life_days",
        "types[1].model.parameters.half_life_days",
        "types[1].conversion_type",
    ]
    assert (await mesh.put(SETTINGS, {"types": []}, key=key_without("analytics:write"))).status == 403


EXPLAIN = "/api/v1/conversions/0197e3f2-7a70-7d1c-8a53-1f6b2c9d4e5f/explain"


async def test_a_conversion_is_explained_touch_by_touch_to_the_millionth(mesh: Mesh) -> None:
    answer = (await mesh.get(f"{EXPLAIN}?model=time_decay&half_life_days=1&group_by=source")).json
    verdicts = [(each["source"], each["verdict"]) for each in answer["candidates"]]
    assert verdicts == [
        ("too old", "too_old"),
        ("facebook", "in"),
        ("google", "in"),
        ("bot", "bot"),
        ("email", "in"),
        ("", "in"),
    ]
    inside = [each for each in answer["candidates"] if each["verdict"] == "in"]
    assert [round(each["attributed_value"], 2) for each in inside] == [3.15, 14.17, 66.22, 66.45]
    total = int(answer["weight_sum"])
    assert sum(int(each["weight"]) for each in inside) == total
    for each in inside:
        floor, remainder = divmod(149_990_000 * int(each["weight"]), total)
        assert (round(each["rounded_down"] * 1e6), each["remainder"]) == (floor, str(remainder))
        assert round((each["attributed_value"] - each["rounded_down"] - each["from_what_was_left"]) * 1e6) == 0
    assert round(sum(each["attributed_value"] for each in inside), 6) == 149.99
    assert [each["source"] for each in answer["candidates"] if each["is_linked_click"]] == [""]
    assert answer["candidates"][0]["explanation"] == "41.67 days before the conversion; the look-back is 30 days"
    assert answer["conversion"]["is_counted"] is True


async def test_a_learned_model_is_explained_by_the_shares_that_it_learned(mesh: Mesh) -> None:
    answer = (await mesh.get(f"{EXPLAIN}?model=markov&group_by=source")).json
    credited = {each["source"]: each["attributed_value"] for each in answer["candidates"] if each["verdict"] == "in"}
    assert credited["email"] > credited["facebook"] > 0
    assert round(sum(credited.values()), 6) == 149.99


async def test_a_conversion_that_is_not_ours_is_not_explained(mesh: Mesh) -> None:
    missing = await mesh.get(EXPLAIN.replace("0197e3f2", "00000000"))
    theirs = await mesh.get(EXPLAIN.replace("0197e3f2", "00000000"), key=OTHER_KEY)
    assert (missing.status, theirs.status, missing.json["detail"]) == (404, 404, theirs.json["detail"])


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("model=linear,last_touch", ["model"]),
        ("model=magic", ["model"]),
        ("model=time_decay&half_life_days=0", ["half_life_days"]),
        ("settings_version=0&same_session=yes", ["same_session", "settings_version"]),
    ],
)
async def test_what_is_wrong_with_a_wish_for_an_explanation_is_told(mesh: Mesh, query: str, fields: list[str]) -> None:
    answer = await mesh.get(f"{EXPLAIN}?{query}")
    assert (answer.status, list(answer.violations)) == (400, fields)
