"""Measure every model in every world: ``python -m attribution_svc.models.simulate`` prints a table.

The error of a model is the part of the credit that it gives to the wrong channel: half the sum of the absolute
differences between its shares and the true ones. The table is in `docs/models.md`.
"""

import argparse
import sys
from collections.abc import Mapping

from attribution_svc.models.paths import paths_of, shares_of
from attribution_svc.models.registry import Value, learner_named, rule_named
from attribution_svc.models.totals import totals
from attribution_svc.models.worlds import WORLDS, History, history_of

VISITORS = 20_000
SEED = 1
BASELINE = "last_touch"

# Not here: same_touch (these conversions come without a touch), custom_position (it is what one makes of it) and
# participation (its credits add up to no whole).
_RULES: Mapping[str, tuple[str, Mapping[str, Value]]] = {
    "first_touch": ("first_touch", {}),
    "last_touch": ("last_touch", {}),
    "last_non_direct_touch": ("last_non_direct_touch", {}),
    "linear": ("linear", {}),
    "position_based": ("position_based", {}),
    "j_shaped": ("j_shaped", {}),
    "inverse_j_shaped": ("inverse_j_shaped", {}),
    "time_decay, 7 days": ("time_decay", {}),
    "time_decay, 1 day": ("time_decay", {"half_life_days": 1}),
}
_LEARNERS: Mapping[str, tuple[str, Mapping[str, Value]]] = {
    "markov, order 1": ("markov", {}),
    "markov, order 2": ("markov", {"order": 2}),
    "markov, without null paths": ("markov", {"with_nulls": False}),
    "shapley, conversions": ("shapley", {}),
    "shapley, conversion_rate": ("shapley", {"characteristic": "conversion_rate"}),
    "counterfactual": ("counterfactual", {}),
}


def errors_in(history: History) -> dict[str, float]:
    """Return each model's error in one world, 0 to 1."""
    truth = shares_of({channel: float(count) for channel, count in history.caused.items()})
    rules = {shown: rule_named(name, parameters) for shown, (name, parameters) in _RULES.items()}
    credited = {
        shown: shares_of({channel or "": total.conversions for channel, total in by_channel.items()})
        for shown, by_channel in totals(history.journeys, rules).items()
    }
    paths = paths_of(history.journeys, history.unconverted)
    for shown, (name, parameters) in _LEARNERS.items():
        credited[shown] = learner_named(name, parameters)(paths).shares
    return {shown: misplaced(shares, truth) for shown, shares in credited.items()}


def misplaced(shares: Mapping[str, float], truth: Mapping[str, float]) -> float:
    """Return the part of the credit that is with the wrong channel, 0 to 1."""
    return sum(abs(shares.get(name, 0.0) - truth.get(name, 0.0)) for name in {*shares, *truth}) / 2


def table(*, visitors: int = VISITORS, seed: int = SEED) -> str:
    """Return the errors of all models in all worlds as a Markdown table, the best on the average first."""
    errors = {world.name: errors_in(history_of(world, visitors=visitors, seed=seed)) for world in WORLDS}
    means = {model: sum(errors[world][model] for world in errors) / len(errors) for model in (*_RULES, *_LEARNERS)}
    lines = [
        f"| model | {' | '.join(errors)} | mean | last touch = 1 |",
        f"|---|{'---|' * len(errors)}---|---|",
    ]
    for model, mean in sorted(means.items(), key=lambda item: (item[1], item[0])):
        cells = " | ".join(f"{100 * errors[world][model]:.1f} %" for world in errors)
        lines.append(f"| {model} | {cells} | {100 * mean:.1f} % | {mean / means[BASELINE]:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(prog="python -m attribution_svc.models.simulate")
    parser.add_argument("--visitors", type=int, default=VISITORS, help="in each world (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the worlds (default: %(default)s)")
    arguments = parser.parse_args()
    sys.stdout.write(table(visitors=arguments.visitors, seed=arguments.seed))


if __name__ == "__main__":
    main()
