"""Models by name."""

import pytest

from attribution_svc.models.paths import Path
from attribution_svc.models.registry import KINDS, LearnerKind, RuleKind, Value, kind_of, learner_named, rule_named
from attribution_svc.models.rules import Position, TimeDecay
from svc_runtime.errors import InvalidArgumentError

RULES = [name for name, kind in KINDS.items() if isinstance(kind, RuleKind)]
LEARNERS = [name for name, kind in KINDS.items() if isinstance(kind, LearnerKind)]
PATHS = [Path(("a", "b"), 3, 4), Path(("b",), 1, 9)]


def test_a_model_that_there_is_not_is_refused_with_the_list() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        kind_of("last_clik")
    (violation,) = refused.value.violations
    assert violation.field == "model"
    assert violation.description == f"is 'last_clik', must be one of {', '.join(KINDS)}"


def test_a_very_long_name_is_not_repeated_wholly() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        kind_of("x" * 10_000)
    assert len(refused.value.message) < 400


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_made_with_its_defaults(name: str) -> None:
    given: dict[str, Value] = {parameter.name: parameter.default for parameter in KINDS[name].parameters}
    assert rule_named(name) == rule_named(name, given)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_is_made_with_its_defaults(name: str) -> None:
    given: dict[str, Value] = {parameter.name: parameter.default for parameter in KINDS[name].parameters}
    assert learner_named(name)(PATHS) == learner_named(name, given)(PATHS)


@pytest.mark.parametrize("name", KINDS)
def test_the_defaults_of_a_model_are_allowed(name: str) -> None:
    assert not [
        parameter.problem(parameter.default)
        for parameter in KINDS[name].parameters
        if parameter.problem(parameter.default)
    ]


def test_parameters_reach_the_model() -> None:
    assert rule_named("time_decay", {"half_life_days": 3, "direct_weight": 0.5}) == TimeDecay(3, 0.5)
    assert rule_named("custom_position", {"first": 1, "middle": 0, "last": 2}) == Position(1, 0, 2)
    one, two = (learner_named("markov", {"order": order})(PATHS) for order in (1, 2))
    assert one != two
    assert learner_named("markov", {"with_nulls": False})(PATHS) != one
    assert learner_named("shapley", {"characteristic": "conversion_rate"})(PATHS) != learner_named("shapley")(PATHS)


@pytest.mark.parametrize(
    ("name", "parameters", "problem"),
    [
        ("time_decay", {"half_life_days": 0}, "parameters.half_life_days: is 0, must be 0.001 to 3650"),
        ("time_decay", {"half_life_days": "7"}, "parameters.half_life_days: is '7', must be a number"),
        ("time_decay", {"half_life_days": True}, "parameters.half_life_days: is True, must be a number"),
        ("time_decay", {"half_life_days": float("nan")}, "parameters.half_life_days: is nan, must be a number"),
        ("time_decay", {"direct_weight": 1.5}, "parameters.direct_weight: is 1.5, must be 0 to 1"),
        ("custom_position", {"first": -1}, "parameters.first: is -1, must be 0 to 1e+06"),
        ("custom_position", {"first": 0, "middle": 0, "last": 0.00001}, "parameters: first, middle and last are all 0"),
        ("linear", {"half_life_days": 7}, "is no parameter of linear, which takes no parameters"),
        ("time_decay", {"halflife": 7}, "of time_decay, which takes half_life_days, direct_weight"),
    ],
)
def test_a_rules_wrong_parameter_is_refused_with_what_would_be_right(
    name: str, parameters: dict[str, Value], problem: str
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        rule_named(name, parameters)
    assert problem in refused.value.message


@pytest.mark.parametrize(
    ("name", "parameters", "problem"),
    [
        ("markov", {"order": 3}, "parameters.order: is 3, must be 1 to 2"),
        ("markov", {"order": 1.5}, "parameters.order: is 1.5, must be whole"),
        ("markov", {"with_nulls": 1}, "parameters.with_nulls: is 1, must be true or false"),
        ("shapley", {"characteristic": "luck"}, "is 'luck', must be one of conversions, conversion_rate"),
        ("shapley", {"samples": 1}, "parameters.samples: is 1, must be 2 to 100000"),
        ("counterfactual", {"seed": 1}, "is no parameter of counterfactual, which takes no parameters"),
    ],
)
def test_a_learners_wrong_parameter_is_refused_with_what_would_be_right(
    name: str, parameters: dict[str, Value], problem: str
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        learner_named(name, parameters)
    assert problem in refused.value.message


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        rule_named("time_decay", {"half_life_days": -1, "direct_weight": 2, "x": 1})
    assert [violation.field for violation in refused.value.violations] == [
        "parameters.half_life_days",
        "parameters.direct_weight",
        "parameters.x",
    ]


def test_a_learner_is_no_rule_and_a_rule_no_learner() -> None:
    with pytest.raises(
        InvalidArgumentError, match="model: is 'markov', which learns from all paths; must be one of first_touch"
    ):
        rule_named("markov")
    with pytest.raises(
        InvalidArgumentError, match="model: is 'linear', which credits journeys one by one; must be one of markov"
    ):
        learner_named("linear")
