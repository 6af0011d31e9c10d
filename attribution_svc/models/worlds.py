"""Small worlds whose causes are known, to measure models in.

A visitor meets channels by chance; each meeting makes up their mind with that channel's own probability. Who has made
up their mind comes back through channels that harvest (brand search, direct, email) and then converts: those touches
are last, and caused nothing. Some had made up their mind before they met anybody: nobody caused these conversions. The
truth is the number of conversions by the channel that made up the visitor's mind.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from attribution_svc.models.touch import DAY_MS, Conversion, Journey, Touch

DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class Channel:
    """How a channel behaves."""

    reach: float
    """Weight: how often undecided visitors meet it."""
    effect: float
    """Probability that a meeting makes up a visitor's mind."""
    harvest: float
    """Weight: how often decided visitors come back through it."""


@dataclass(frozen=True, slots=True)
class World:
    """Channels, and the visitors that meet them."""

    name: str
    description: str
    channels: Mapping[str, Channel]
    going_on: float
    """Probability that an undecided visitor has one more touch."""
    coming_back: float
    """Probability that a decided visitor has one more touch before converting."""
    decided_before: float
    """Part of the visitors who had made up their mind before."""


@dataclass(frozen=True, slots=True)
class History:
    """What happened in a world."""

    journeys: list[Journey]
    unconverted: list[tuple[str, ...]]
    """Channels of those who did not convert."""
    caused: dict[str, int]
    """The truth: conversions by the channel that caused them; those that nobody caused are left out."""


WORLDS = (
    World(
        "introducers",
        "social and video make up minds; search, direct and email harvest",
        {
            "social": Channel(4, 0.10, 0.2),
            "video": Channel(2, 0.12, 0.1),
            "search": Channel(2, 0.02, 4),
            "email": Channel(1, 0.02, 2),
            DIRECT: Channel(1, 0.0, 3),
        },
        going_on=0.6,
        coming_back=0.6,
        decided_before=0.01,
    ),
    World(
        "closers",
        "search and email make up minds, and the conversion follows at once",
        {
            "social": Channel(4, 0.01, 0.3),
            "video": Channel(2, 0.01, 0.2),
            "search": Channel(3, 0.12, 1),
            "email": Channel(2, 0.10, 1),
            DIRECT: Channel(1, 0.0, 0.5),
        },
        going_on=0.6,
        coming_back=0.1,
        decided_before=0.01,
    ),
    World(
        "mixed",
        "every channel makes up some minds and harvests some",
        {
            "social": Channel(3, 0.06, 1),
            "video": Channel(2, 0.05, 0.5),
            "search": Channel(3, 0.07, 3),
            "email": Channel(2, 0.05, 2),
            "affiliate": Channel(2, 0.03, 2),
            DIRECT: Channel(1, 0.0, 2),
        },
        going_on=0.65,
        coming_back=0.4,
        decided_before=0.02,
    ),
    World(
        "wallpaper",
        "display is met everywhere and makes up no mind",
        {
            "display": Channel(6, 0.0, 3),
            "social": Channel(2, 0.08, 0.5),
            "search": Channel(2, 0.10, 1),
            "email": Channel(1, 0.06, 1),
            DIRECT: Channel(1, 0.0, 1),
        },
        going_on=0.75,
        coming_back=0.4,
        decided_before=0.01,
    ),
)


def history_of(world: World, *, visitors: int, seed: int) -> History:
    """Let ``visitors`` live in ``world``; the same seed gives the same history."""
    chance = random.Random(f"{world.name} {seed}")  # noqa: S311 - a repeatable world, not a secret
    journeys: list[Journey] = []
    unconverted: list[tuple[str, ...]] = []
    caused: Counter[str] = Counter()
    for visitor in range(visitors):
        touches, is_decided, cause = _undecided(world, chance)
        if not is_decided:
            unconverted.append(tuple(touch.channel for touch in touches))
            continue
        journeys.append(_converted(world, chance, visitor, touches))
        if cause:
            caused[cause] += 1
    return History(journeys, unconverted, dict(caused))


def _undecided(world: World, chance: random.Random) -> tuple[list[Touch], bool, str]:
    """Return the touches until a mind is made up or given up, whether it is, and the channel that did it."""
    if chance.random() < world.decided_before:
        return [], True, ""
    names, weights = list(world.channels), [channel.reach for channel in world.channels.values()]
    touches: list[Touch] = []
    at = 0
    while True:
        name = chance.choices(names, weights)[0]
        touches.append(_touch(name, at))
        if chance.random() < world.channels[name].effect:
            return touches, True, name
        if chance.random() >= world.going_on:
            return touches, False, ""
        at += 1 + int(chance.random() * 4 * DAY_MS)


def _converted(world: World, chance: random.Random, visitor: int, touches: list[Touch]) -> Journey:
    names, weights = list(world.channels), [channel.harvest for channel in world.channels.values()]
    at = touches[-1].time_ms if touches else 0
    # Who never met a channel comes through one all the same.
    while not touches or chance.random() < world.coming_back:
        at += 1 + int(chance.random() * DAY_MS)
        touches.append(_touch(chance.choices(names, weights)[0], at))
    conversion = Conversion(str(visitor), at + 60_000, 1_000_000 * chance.randrange(10, 200))
    return Journey(conversion, tuple(touches))


def _touch(channel: str, at: int) -> Touch:
    return Touch(str(at), at, channel, is_direct=channel == DIRECT)
