"""The models by name, their parameters checked."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from attribution_svc.models import rules
from attribution_svc.models.counterfactual import counterfactual_credits
from attribution_svc.models.markov import removal_effects
from attribution_svc.models.paths import Path
from attribution_svc.models.shapley import CHARACTERISTICS, shapley_values
from svc_runtime.errors import InvalidArgumentError, Violation

Value = float | str | bool
"""Of a parameter; a whole number is a float here."""


class Learned(Protocol):
    """What every model that learns from paths finds."""

    @property
    def shares(self) -> dict[str, float]:
        """Channel to its part of the credit; they add up to 1, or are all 0 where nothing converted."""


Learner = Callable[[Iterable[Path]], Learned]
"""A model that learns from all paths at once; ``paths.split`` makes its credits."""


@dataclass(frozen=True, slots=True)
class Number:
    """A parameter that is a number from ``low`` to ``high``."""

    name: str
    default: float
    low: float
    high: float
    description: str
    is_whole: bool = False

    def problem(self, value: object) -> str | None:
        """Say what is wrong with ``value``."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return f"is {value!r}, must be a number"
        if not self.low <= value <= self.high:
            return f"is {value}, must be {self.low:g} to {self.high:g}"
        return f"is {value}, must be whole" if self.is_whole and value != int(value) else None


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter that is one of a few names."""

    name: str
    default: str
    names: tuple[str, ...]
    description: str

    def problem(self, value: object) -> str | None:
        """Say what is wrong with ``value``."""
        return None if value in self.names else f"is {value!r}, must be one of {', '.join(self.names)}"


@dataclass(frozen=True, slots=True)
class Flag:
    """A parameter that is true or false."""

    name: str
    default: bool
    description: str

    def problem(self, value: object) -> str | None:
        """Say what is wrong with ``value``."""
        return None if isinstance(value, bool) else f"is {value!r}, must be true or false"


Parameter = Number | Choice | Flag


@dataclass(frozen=True, slots=True)
class RuleKind:
    """A model that credits a journey from its touches alone."""

    name: str
    title: str
    make: Callable[..., rules.Rule]
    """Called with every parameter by name. Raises InvalidArgumentError where they do not go together."""
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True, slots=True)
class LearnerKind:
    """A model that learns from all paths."""

    name: str
    title: str
    learn: Callable[..., Learned]
    """Called with the paths and every parameter by name."""
    parameters: tuple[Parameter, ...] = ()


def _custom_position(first: float, middle: float, last: float) -> rules.Position:
    # Weights are kept in ten-thousandths: what rounds to nothing is nothing.
    if not any(round(weight * 10_000) for weight in (first, middle, last)):
        raise InvalidArgumentError.of([Violation("parameters", "first, middle and last are all 0: one must be more")])
    return rules.Position(first, middle, last)


def _markov(paths: Iterable[Path], order: float, with_nulls: bool) -> Learned:
    return removal_effects(paths, order=int(order), has_nulls=with_nulls)


def _shapley(paths: Iterable[Path], characteristic: str, samples: float, seed: float) -> Learned:
    return shapley_values(paths, characteristic=characteristic, samples=int(samples), seed=int(seed))


_SEED = Number("seed", 0, 0, 2**32 - 1, "of the sample: the same seed gives the same values", is_whole=True)

KINDS: Mapping[str, RuleKind | LearnerKind] = {
    kind.name: kind
    for kind in (
        RuleKind("first_touch", "First touch", lambda: rules.FIRST_TOUCH),
        RuleKind("last_touch", "Last touch", lambda: rules.LAST_TOUCH),
        RuleKind("last_non_direct_touch", "Last non-direct touch", lambda: rules.LAST_NON_DIRECT_TOUCH),
        RuleKind("same_touch", "Same touch", lambda: rules.SAME_TOUCH),
        RuleKind("linear", "Linear", rules.Linear),
        RuleKind("position_based", "Position based", lambda: rules.POSITION_BASED),
        RuleKind("j_shaped", "J-shaped", lambda: rules.J_SHAPED),
        RuleKind("inverse_j_shaped", "Inverse J-shaped", lambda: rules.INVERSE_J_SHAPED),
        RuleKind(
            "custom_position",
            "Custom position",
            _custom_position,
            (
                Number("first", 40, 0, 1_000_000, "weight of the first touch"),
                Number("middle", 20, 0, 1_000_000, "weight of all touches between"),
                Number("last", 40, 0, 1_000_000, "weight of the last touch"),
            ),
        ),
        RuleKind(
            "time_decay",
            "Time decay",
            rules.TimeDecay,
            (
                Number("half_life_days", 7, 0.001, 3650, "days in which a touch's weight halves"),
                Number("direct_weight", 1, 0, 1, "what the weight of a direct touch is multiplied with"),
            ),
        ),
        RuleKind("participation", "Participation (not additive)", rules.Participation),
        LearnerKind(
            "markov",
            "Markov removal effect",
            _markov,
            (
                Number("order", 1, 1, 2, "channels that the next step depends on", is_whole=True),
                Flag("with_nulls", default=True, description="whether paths without a conversion count"),
            ),
        ),
        LearnerKind(
            "shapley",
            "Shapley value",
            _shapley,
            (
                Choice("characteristic", CHARACTERISTICS[0], CHARACTERISTICS, "what a set of channels is worth"),
                Number("samples", 2000, 2, 100_000, "orders, where it is sampled", is_whole=True),
                _SEED,
            ),
        ),
        LearnerKind("counterfactual", "Counterfactual paths", counterfactual_credits),
    )
}


def kind_of(name: str) -> RuleKind | LearnerKind:
    """Return the model's kind. Raise InvalidArgumentError, which lists the models, for one that there is not."""
    if name not in KINDS:
        shown = name if len(name) <= 64 else f"{name[:64]}…"
        raise InvalidArgumentError.of([Violation("model", f"is {shown!r}, must be one of {', '.join(KINDS)}")])
    return KINDS[name]


def rule_named(name: str, parameters: Mapping[str, Value] | None = None) -> rules.Rule:
    """Return the rule of a name. Raise InvalidArgumentError for an unknown or learned model or a wrong parameter."""
    kind = kind_of(name)
    if not isinstance(kind, RuleKind):
        known = ", ".join(known for known, kind in KINDS.items() if isinstance(kind, RuleKind))
        problem = f"is {name!r}, which learns from all paths; must be one of {known}"
        raise InvalidArgumentError.of([Violation("model", problem)])
    return kind.make(**with_defaults(kind, parameters or {}))


def learner_named(name: str, parameters: Mapping[str, Value] | None = None) -> Learner:
    """Return the learner of a name. Raise InvalidArgumentError for an unknown or rule model or a wrong parameter."""
    kind = kind_of(name)
    if not isinstance(kind, LearnerKind):
        known = ", ".join(known for known, kind in KINDS.items() if isinstance(kind, LearnerKind))
        problem = f"is {name!r}, which credits journeys one by one; must be one of {known}"
        raise InvalidArgumentError.of([Violation("model", problem)])
    settled = with_defaults(kind, parameters or {})
    learn = kind.learn
    return lambda paths: learn(paths, **settled)


def with_defaults(kind: RuleKind | LearnerKind, given: Mapping[str, Value]) -> dict[str, Value]:
    """Return every parameter, defaults included, or raise with everything that is wrong."""
    known = {parameter.name: parameter for parameter in kind.parameters}
    violations = []
    for name, value in given.items():
        problem = known[name].problem(value) if name in known else _unknown(kind, known)
        if problem:
            violations.append(Violation(f"parameters.{name[:64]}", problem))
    if violations:
        raise InvalidArgumentError.of(violations)
    return {name: given.get(name, parameter.default) for name, parameter in known.items()}


def _unknown(kind: RuleKind | LearnerKind, known: Mapping[str, Parameter]) -> str:
    takes = ", ".join(known) if known else "no parameters"
    return f"is no parameter of {kind.name}, which takes {takes}"
