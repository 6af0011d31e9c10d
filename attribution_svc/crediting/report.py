"""Credits of all visitors by several models, side by side, by the values of a dimension. Pure: no clock, no store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attribution_svc.crediting.money import in_minor_units
from attribution_svc.crediting.settings import AskedModel, TypedLookback
from attribution_svc.models.columns import Tally
from attribution_svc.models.paths import Path, credited, split
from attribution_svc.models.registry import Learner
from attribution_svc.models.shapley import ShapleyValues
from attribution_svc.models.totals import Assists

NOBODY = -1
"""The number of the channel that nobody is."""


@dataclass(frozen=True, slots=True)
class JourneyScope:
    """Which journeys."""

    part: bytes
    """Which conversions: analytics_svc's own message, passed on as it came."""
    dimension: str
    conversion_types: tuple[str, ...]
    lookbacks: tuple[TypedLookback, ...]


@dataclass(frozen=True, slots=True)
class ReportQuestion:
    """What is asked."""

    scope: JourneyScope
    models: tuple[AskedModel, ...]
    limit: int
    """Of rows."""
    settings_version: int = 0
    """Of what filled in the rest; 0: nobody's."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What the journeys rest on."""

    currency: str
    """Of every value; empty when there is none."""
    anonymous_count: int
    """Conversions of nobody known."""
    anonymous_micros: int
    info: bytes
    """analytics_svc's own message, passed on as it came."""


@dataclass(frozen=True, slots=True)
class Credited:
    """What a model gives."""

    conversions: float
    micros: int
    conversions_error: float | None = None
    """Standard error, where it was sampled."""


@dataclass(frozen=True, slots=True)
class Row:
    """One value of the dimension."""

    value: str
    credits: tuple[Credited, ...]
    """In the order of the models."""
    assists: Assists


@dataclass(frozen=True, slots=True)
class CreditReport:
    """An answer."""

    question: ReportQuestion
    rows: tuple[Row, ...]
    rest: Row | None
    """The rows over the limit, summed up."""
    nobody: tuple[Credited, ...]
    conversion_count: int
    micros: int
    info: bytes


def report_of(
    question: ReportQuestion, values: Sequence[str], tally: Tally, paths: Sequence[Path], summary: Summary
) -> CreditReport:
    """Put the answer together. ``values`` are the tally's channels, ``paths`` what models learn from."""
    totals, assists = tally.totals(), tally.assists()
    by_model = []
    for at, model in enumerate(question.models):
        if model.learner is None:
            found = {
                number: Credited(total.conversions, total.value_micros) for number, total in totals[str(at)].items()
            }
        else:
            found = _learned(model.learner, paths, values, tally)
        by_model.append(_in_minor_units(found, summary.currency) if model.is_additive else found)
    nothing = Credited(0.0, 0)
    rows = [
        Row(
            value,
            tuple(found.get(number, nothing) for found in by_model),
            assists.get(number, Assists(0, 0, 0)),
        )
        for number, value in enumerate(values)
    ]
    rows.sort(key=lambda row: (-row.credits[0].micros, -row.credits[0].conversions, row.value))
    return CreditReport(
        question,
        tuple(rows[: question.limit]),
        _summed(rows[question.limit :]),
        tuple(found.get(NOBODY, nothing) for found in by_model),
        tally.conversion_count,
        tally.micros,
        summary.info,
    )


def _learned(learner: Learner, paths: Sequence[Path], values: Sequence[str], tally: Tally) -> dict[int, Credited]:
    """Split what the paths with a touch brought by the shares of their channels."""
    learned = learner(paths)
    count, micros = credited(paths)
    numbers = {value: number for number, value in enumerate(values)}
    errors = _share_errors(learned) if isinstance(learned, ShapleyValues) else {}
    found = {}
    for channel, part in split(micros, learned.shares).items():
        if channel is None:
            count = 0
        elif channel in numbers:
            error = errors.get(channel)
            found[numbers[channel]] = Credited(
                learned.shares[channel] * count, part, None if error is None else error * count
            )
    given = sum(each.micros for each in found.values())
    found[NOBODY] = Credited(float(tally.conversion_count - count), tally.micros - given)
    return found


def _share_errors(learned: ShapleyValues) -> dict[str, float]:
    total = sum(value for value in learned.values.values() if value > 0)
    if learned.is_exact or not total:
        return {}
    return {channel: error / total for channel, error in learned.standard_errors.items()}


def _in_minor_units(found: Mapping[int, Credited], currency: str) -> dict[int, Credited]:
    rounded = in_minor_units([each.micros for each in found.values()], currency)
    return {
        number: Credited(each.conversions, micros, each.conversions_error)
        for (number, each), micros in zip(found.items(), rounded, strict=True)
    }


def _summed(rows: Sequence[Row]) -> Row | None:
    if not rows:
        return None
    return Row(
        "",
        tuple(
            Credited(sum(each.conversions for each in of_model), sum(each.micros for each in of_model))
            for of_model in zip(*(row.credits for row in rows), strict=True)
        ),
        Assists(
            sum(row.assists.last for row in rows),
            # A conversion that two of them assisted counts for both, as it does in the rows.
            sum(row.assists.assisted for row in rows),
            sum(row.assists.assisted_value_micros for row in rows),
        ),
    )
