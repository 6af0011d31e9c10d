"""Journeys for the tests."""

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st

from attribution_svc.models.touch import DAY_MS, Conversion, Journey, Touch

UNHURRIED = settings(deadline=None)
"""How long an example takes says more of the machine than of the code: pytest's own timeout decides."""

CONVERTED_MS = 1_717_617_300_000
"""2024-06-05 19:55 UTC."""


def journey(channels: Sequence[str], *, value: int = 0, days: Sequence[float] = (), converting: str = "") -> Journey:
    """A journey of ``channels``, each so many days before the conversion; touch ids are t0, t1, …"""
    ages = days or list(range(len(channels), 0, -1))
    touches = tuple(
        Touch(f"t{at}", CONVERTED_MS - round(age * DAY_MS), channel, at, is_direct=channel == "direct")
        for at, (channel, age) in enumerate(zip(channels, ages, strict=True))
    )
    return Journey(Conversion("k", CONVERTED_MS, value, converting), touches)


VALUES = st.integers(-(2**62), 2**62)


@st.composite
def journeys(draw: st.DrawFn, *, least: int = 1) -> Journey:
    """Any journey: up to 12 touches, at any times, of any value."""
    channels = draw(st.lists(st.sampled_from(["a", "b", "c", "direct"]), min_size=least, max_size=12))
    count = len(channels)
    ages = sorted(draw(st.lists(st.integers(0, 400 * DAY_MS), min_size=count, max_size=count)), reverse=True)
    converting = draw(st.sampled_from(["", "t0", "elsewhere"]))
    days = [age / DAY_MS for age in ages]
    return journey(channels, value=draw(VALUES), days=days, converting=converting)
