"""What each position of a path adds to its observed probability of conversion (the method of Google's fractribution).

Of a path, position i is worth ``p(path) - p(path without position i)``, not below 0, where p is the observed rate of
exactly that path and 0 for one that nobody walked; the worths are divided by their sum. A path of one touch credits it
wholly; where no position is worth anything, the last one gets all.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from attribution_svc.models.paths import Path, shares_of


@dataclass(frozen=True, slots=True)
class CounterfactualCredits:
    """Conversions by channel."""

    conversions: dict[str, float]

    @property
    def shares(self) -> dict[str, float]:
        """Channel to its part of the credit; they add up to 1, or are all 0 where nothing converted."""
        return shares_of(self.conversions)


def counterfactual_credits(paths: Iterable[Path]) -> CounterfactualCredits:
    """Credit the conversions of each path over its positions, and sum by channel. Paths may be given in pieces."""
    counts: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
    for path in paths:
        if path.channels:
            counts[path.channels][0] += path.conversions
            counts[path.channels][1] += path.conversions + path.nulls
    rates = {channels: converted / walks for channels, (converted, walks) in counts.items() if walks}
    credited = {channel: 0.0 for channels in counts for channel in channels}
    for channels, (converted, _) in counts.items():
        if converted:
            for channel, share in zip(channels, position_shares(channels, rates), strict=True):
                credited[channel] += share * converted
    return CounterfactualCredits(credited)


def position_shares(channels: tuple[str, ...], rates: Mapping[tuple[str, ...], float]) -> list[float]:
    """Return the part of each position; they add up to 1. ``rates`` is the rate of conversion of each path."""
    if len(channels) == 1:
        return [1.0]
    rate = rates.get(channels, 0.0)
    worth = [max(0.0, rate - rates.get(channels[:at] + channels[at + 1 :], 0.0)) for at in range(len(channels))]
    total = sum(worth)
    if not total:
        return [0.0] * (len(channels) - 1) + [1.0]
    return [part / total for part in worth]
