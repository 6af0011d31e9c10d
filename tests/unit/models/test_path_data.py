"""ChannelAttribution's PathData: 10,000 paths that nobody here made.

Its licence keeps it out of this repository. Export it as a CSV with `;` (path; total_conversions;
total_conversion_value; total_null, channels joined by ` > `) and name the file in TRELLIS_PATH_DATA_CSV.
"""

import csv
import os
from pathlib import Path as File

import pytest

from attribution_svc.models.markov import removal_effects
from attribution_svc.models.paths import Path, split
from attribution_svc.models.rules import FIRST_TOUCH, LAST_TOUCH, POSITION_BASED, Linear, Rule
from attribution_svc.models.totals import totals
from tests.unit.models.journeys import journey

VARIABLE = "TRELLIS_PATH_DATA_CSV"
pytestmark = pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"data not present: {VARIABLE} names no export of PathData"
)

BY_PLACE = {
    "alpha": (6308, 8447, 7574.7186, 7444.8238),
    "iota": (4606, 3355, 3857.0962, 3944.9482),
    "eta": (3164, 4167, 3539.9512, 3618.7961),
    "beta": (2831, 989, 2083.5001, 1969.7662),
    "lambda": (902, 1207, 1035.2576, 1046.9039),
    "theta": (1606, 653, 1022.8014, 1092.7445),
    "epsilon": (99, 531, 272.1704, 301.0502),
    "kappa": (74, 230, 137.9641, 147.4596),
    "zeta": (27, 107, 136.5515, 88.6229),
    "gamma": (165, 92, 121.0416, 125.2409),
    "mi": (2, 2, 2.2222, 2.0571),
    "delta": (1, 5, 1.7250, 2.5867),
}
BY_REMOVAL = {
    "alpha": (0.558399, 5344.9477),
    "iota": (0.405835, 3884.6147),
    "eta": (0.349026, 3340.8474),
    "beta": (0.264039, 2527.3522),
    "theta": (0.206010, 1971.9129),
    "lambda": (0.134022, 1282.8472),
    "epsilon": (0.062639, 599.5707),
    "zeta": (0.039811, 381.0626),
    "kappa": (0.028663, 274.3633),
    "gamma": (0.017880, 171.1454),
    "delta": (0.000482, 4.6136),
    "mi": (0.000180, 1.7224),
}


@pytest.fixture(scope="module")
def paths() -> list[Path]:
    with File(os.environ[VARIABLE]).open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    return [
        Path(
            tuple(row["path"].split(" > ")),
            int(row["total_conversions"]),
            int(row["total_null"]),
            round(float(row["total_conversion_value"]) * 1_000_000),
        )
        for row in rows
    ]


def test_it_is_the_data_that_the_numbers_are_of(paths: list[Path]) -> None:
    assert len(paths) == 10_000
    assert sum(path.conversions for path in paths) == 19_785
    assert sum(path.nulls for path in paths) == 68_602


def test_rules_give_what_the_package_gives(paths: list[Path]) -> None:
    rules: dict[str, Rule] = {"first": FIRST_TOUCH, "last": LAST_TOUCH, "linear": Linear(), "position": POSITION_BASED}
    walked = (journey(path.channels) for path in paths for _ in range(path.conversions))
    found = totals(walked, rules)
    for channel, expected in BY_PLACE.items():
        assert [round(found[name][channel].conversions, 4) for name in rules] == pytest.approx(expected, abs=1.01e-4)


def test_removal_effects_are_those_of_the_closed_form(paths: list[Path]) -> None:
    found = removal_effects(paths)
    assert found.conversion_probability == pytest.approx(0.22384513559686, abs=5e-15)
    credited = split(19_785_000_000, found.shares)
    for channel, (effect, conversions) in BY_REMOVAL.items():
        assert round(found.effects[channel], 6) == effect
        assert round(credited[channel] / 1e6, 4) == pytest.approx(conversions, abs=1.01e-4)


def test_without_null_paths_the_effects_are_others(paths: list[Path]) -> None:
    found = removal_effects(paths, has_nulls=False)
    assert round(found.effects["alpha"], 4) == 0.5617
    assert round(found.shares["alpha"] * 19_785, 2) == 5260.07
