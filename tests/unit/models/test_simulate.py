"""The worlds with known causes, and the models in them."""

import pytest

from attribution_svc.models.simulate import errors_in, misplaced, table
from attribution_svc.models.worlds import DIRECT, WORLDS, Channel, World, history_of


def test_a_history_is_the_same_for_the_same_seed_alone() -> None:
    world = WORLDS[0]
    assert history_of(world, visitors=200, seed=1) == history_of(world, visitors=200, seed=1)
    assert history_of(world, visitors=200, seed=1) != history_of(world, visitors=200, seed=2)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_everybody_converts_or_does_not_and_only_channels_with_an_effect_cause(world: World) -> None:
    history = history_of(world, visitors=3000, seed=5)
    assert len(history.journeys) + len(history.unconverted) == 3000
    assert 0 < sum(history.caused.values()) <= len(history.journeys)
    assert all(world.channels[name].effect > 0 for name in history.caused)
    for journey in history.journeys:
        times = [touch.time_ms for touch in journey.touches]
        assert times == sorted(set(times))
        assert times[-1] < journey.conversion.time_ms
        assert all(touch.is_direct == (touch.channel == DIRECT) for touch in journey.touches)


def test_a_channel_causes_as_often_as_its_effect_says() -> None:
    world = World("sure", "", {"half": Channel(1, 0.5, 0), "none": Channel(1, 0.0, 1)}, 0.0, 0.0, 0.0)
    history = history_of(world, visitors=20_000, seed=1)
    assert history.caused["half"] == pytest.approx(5000, abs=200)
    assert len(history.journeys) == history.caused["half"]


def test_where_the_only_touch_is_the_cause_every_model_is_right() -> None:
    channels = {"a": Channel(3, 0.5, 1), "b": Channel(1, 0.5, 1)}
    history = history_of(World("one touch", "", channels, 0.0, 0.0, 0.0), visitors=4000, seed=1)
    errors = errors_in(history)
    # A rate does not say how many a channel reached.
    assert errors.pop("shapley, conversion_rate") > 0.2
    assert errors == pytest.approx(dict.fromkeys(errors, 0.0), abs=1e-9)


def test_where_the_last_touch_is_never_the_cause_last_touch_is_wholly_wrong() -> None:
    channels = {"opens": Channel(1, 0.5, 0), "closes": Channel(0, 0.0, 1)}
    world = World("never last", "", channels, 0.5, 0.9, 0.0)
    history = history_of(world, visitors=4000, seed=1)
    journeys = [journey for journey in history.journeys if journey.touches[-1].channel == "closes"]
    assert len(journeys) > 1000
    history.journeys[:] = journeys
    errors = errors_in(history)
    assert errors["last_touch"] == pytest.approx(1)
    assert errors["first_touch"] == pytest.approx(0)


def test_the_error_is_the_part_of_the_credit_that_is_misplaced() -> None:
    assert misplaced({"a": 1.0}, {"b": 1.0}) == 1.0
    assert misplaced({"a": 0.5, "b": 0.5}, {"a": 0.75, "b": 0.25}) == 0.25
    assert misplaced({"a": 1.0}, {"a": 1.0}) == 0.0


def test_the_table_has_a_line_for_each_model_the_best_first() -> None:
    lines = table(visitors=500, seed=3).splitlines()
    assert lines[0] == "| model | introducers | closers | mixed | wallpaper | mean | last touch = 1 |"
    means = [float(line.split("|")[-3].strip(" %")) for line in lines[2:]]
    assert means == sorted(means)
    (last,) = [line for line in lines if line.startswith("| last_touch |")]
    assert last.endswith("| 1.00 |")
