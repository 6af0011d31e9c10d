"""Which model and which look-back hold where a question names none: versions, per organisation. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from attribution_svc.models.registry import Learner, RuleKind, Value, kind_of, with_defaults
from attribution_svc.models.rules import Rule
from attribution_svc.models.touch import LONGEST_LOOKBACK_DAYS, Lookback
from svc_runtime.errors import NotFoundError, Violation

DEFAULT_MODEL = "last_touch"
DEFAULT_LOOKBACK = Lookback.days(30)
MOST_TYPES = 101
LONGEST_TYPE = 200
_LONGEST_MS = LONGEST_LOOKBACK_DAYS * 86_400_000


@dataclass(frozen=True, slots=True)
class AskedModel:
    """A model with its parameters."""

    name: str
    title: str
    parameters: Mapping[str, Value]
    """Every one that it has."""
    rule: Rule | None = None
    """Of a model that looks at one journey at a time."""
    learner: Learner | None = None
    """Of a model that learns from all paths."""

    @property
    def is_additive(self) -> bool:
        """Whether its credits add up to what there was."""
        return self.rule is None or self.rule.is_additive

    def is_same(self, other: "AskedModel") -> bool:
        """Whether both credit alike."""
        return (self.name, self.parameters) == (other.name, other.parameters)


def asked_model(name: str, parameters: Mapping[str, Value] | None = None) -> AskedModel:
    """Return a model. Raise InvalidArgumentError where there is none, or for parameters that it does not take."""
    kind = kind_of(name)
    settled = with_defaults(kind, parameters or {})
    if isinstance(kind, RuleKind):
        return AskedModel(kind.name, kind.title, settled, rule=kind.make(**settled))
    learn = kind.learn
    return AskedModel(kind.name, kind.title, settled, learner=lambda paths: learn(paths, **settled))


@dataclass(frozen=True, slots=True)
class TypedLookback:
    """How old a touch may be, for a type of conversions."""

    conversion_type: str
    """Empty: every type that has none of its own."""
    lookback: Lookback


@dataclass(frozen=True, slots=True)
class TypeSetting:
    """What holds for a type of conversions."""

    conversion_type: str
    """Empty: every type that has none of its own."""
    lookback: Lookback | None = None
    """None: as of the empty type."""
    model: AskedModel | None = None
    """None: as of the empty type."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """A version: never changed."""

    organization_id: str
    version: int
    """From 1; 0: nobody has set anything."""
    types: tuple[TypeSetting, ...] = ()
    """Each type once."""
    actor: str = ""
    create_time: datetime | None = None

    def lookbacks(self) -> tuple[TypedLookback, ...]:
        """Return the look-backs, that of the empty type first."""
        own = {each.conversion_type: each.lookback for each in self.types if each.lookback is not None}
        general = TypedLookback("", own.pop("", DEFAULT_LOOKBACK))
        return (general, *(TypedLookback(name, lookback) for name, lookback in own.items()))

    def model(self, conversion_types: Sequence[str]) -> AskedModel:
        """Return the model for a question about these types: that of the type where it is one."""
        own = {each.conversion_type: each.model for each in self.types}
        named = own.get(conversion_types[0]) if len(conversion_types) == 1 else None
        return named or own.get("") or asked_model(DEFAULT_MODEL)


class ModelSettingsStore(Protocol):
    """Settings of all organisations. Every method raises UnavailableError while the store is not reachable."""

    async def current(self, organization_id: str) -> ModelSettings:
        """Return the version that holds; version 0 where there is none."""
        ...

    async def version(self, organization_id: str, version: int) -> ModelSettings:
        """Return a version. Raise NotFoundError, as for another organisation's."""
        ...

    async def put(
        self,
        organization_id: str,
        types: tuple[TypeSetting, ...],
        *,
        actor: str,
        now: datetime,
        expected_version: int | None = None,
    ) -> ModelSettings:
        """Let these hold from now on and return them: the next version, or the one that holds where nothing changes.

        Of several at once each gets a version of its own. Raise FailedPreconditionError when another version holds than
        the one expected.
        """
        ...


def no_such_version(version: int) -> NotFoundError:
    """The one error for settings that are not there."""
    return NotFoundError(f"there is no version {version} of the attribution settings")


def lookback_problem(lookback: Lookback) -> str:
    """Say what is wrong with a look-back; empty when nothing is."""
    ms = lookback.milliseconds
    if ms is None or 0 < ms <= _LONGEST_MS:
        return ""
    return f"is {ms / 1000:g} s, must be 0.001 s to {LONGEST_LOOKBACK_DAYS} days"


def type_violations(types: Sequence[TypeSetting], path: str) -> list[Violation]:
    """Return what is wrong with settings."""
    if len(types) > MOST_TYPES:
        return [Violation(path, f"has {len(types)} types; the limit is {MOST_TYPES}")]
    violations, seen = [], set()
    for at, each in enumerate(types):
        name = each.conversion_type
        if len(name) > LONGEST_TYPE:
            problem = f"has {len(name)} characters; the limit is {LONGEST_TYPE}"
            violations.append(Violation(f"{path}[{at}].conversion_type", problem))
        if "\0" in name:
            violations.append(Violation(f"{path}[{at}].conversion_type", "must not hold the character NUL"))
        if name in seen:
            violations.append(Violation(f"{path}[{at}].conversion_type", f"is {name[:60]!r} a second time"))
        seen.add(name)
        if each.lookback is not None and (problem := lookback_problem(each.lookback)):
            violations.append(Violation(f"{path}[{at}].lookback", problem))
    return violations


def types_to_json(types: Sequence[TypeSetting]) -> list[dict[str, Any]]:
    """Write settings as they are kept."""
    return [
        {
            "type": each.conversion_type,
            "lookback": each.lookback
            and {"milliseconds": each.lookback.milliseconds, "is_same_session": each.lookback.is_same_session},
            "model": each.model and {"name": each.model.name, "parameters": dict(each.model.parameters)},
        }
        for each in types
    ]


def types_from_json(value: Sequence[Mapping[str, Any]]) -> tuple[TypeSetting, ...]:
    """Read what ``types_to_json`` wrote."""
    return tuple(
        TypeSetting(
            each["type"],
            each["lookback"] and Lookback(each["lookback"]["milliseconds"], each["lookback"]["is_same_session"]),
            each["model"] and asked_model(each["model"]["name"], each["model"]["parameters"]),
        )
        for each in value
    )
