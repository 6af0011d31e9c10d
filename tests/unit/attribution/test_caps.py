"""What workers are told of caps of conversions, however long counting takes."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from attribution_svc.campaigns import caps
from attribution_svc.campaigns.caps import CapCounts
from attribution_svc.campaigns.usage import Exchange, Usage, Window
from svc_runtime.errors import UnavailableError
from tests.contract.attribution.memory_store import MemoryUsageStore


def window_of(campaign_id: str, kind: str = "conversions") -> Window:
    return Window("org_a", campaign_id, kind, "total", datetime(1970, 1, 1, tzinfo=UTC))


class Conversions:
    """Has so many of each campaign; does not answer for those that are slow."""

    def __init__(self) -> None:
        self.counts = {"a": 7, "b": 3}
        self.slow: set[str] = set()
        self.is_down = False
        self.asked: list[str] = []

    async def conversion_counts(self, windows: Sequence[Window]) -> list[int]:
        self.asked += [window.campaign_id for window in windows]
        if self.is_down:
            raise UnavailableError("down")
        if self.slow & {window.campaign_id for window in windows}:
            await asyncio.sleep(60)
        return [self.counts[window.campaign_id] for window in windows]


@pytest.fixture
def conversions() -> Conversions:
    return Conversions()


@pytest.fixture
def counts(conversions: Conversions, monkeypatch: pytest.MonkeyPatch) -> CapCounts:
    monkeypatch.setattr(caps, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(caps, "COUNTED_PER_SECOND", 10_000_000_000)
    monkeypatch.setattr(caps, "LONGEST_COUNT_SECONDS", 0.05)
    return CapCounts(MemoryUsageStore(), conversions)


async def told(counts: CapCounts, *windows: Window) -> list[int]:
    usages = [Usage(window, click_count=0, visitors=()) for window in windows]
    return await counts.exchange(Exchange("gateway", len(counts._known) + 1, usages))


@pytest.mark.parametrize("is_down", [True, False])
async def test_a_count_that_fails_is_the_last_one_for_a_while(
    counts: CapCounts, conversions: Conversions, is_down: bool
) -> None:
    assert await told(counts, window_of("a")) == [7]
    conversions.counts["a"] = 8
    conversions.is_down, conversions.slow = is_down, {"a"}
    assert await told(counts, window_of("a"), window_of("a", "clicks")) == [7, 0]
    assert await told(counts, window_of("a")) == [7]
    assert conversions.asked == ["a", "a"]


async def test_what_takes_too_long_keeps_no_other_from_being_known(counts: CapCounts, conversions: Conversions) -> None:
    await told(counts, window_of("a"))
    conversions.slow = {"a"}
    assert await told(counts, window_of("a"), window_of("b")) == [7, 3]


async def test_what_nobody_has_counted_is_not_told_as_none(counts: CapCounts, conversions: Conversions) -> None:
    conversions.is_down = True
    with pytest.raises(UnavailableError):
        await told(counts, window_of("a"))
    conversions.is_down = False
    assert await told(counts, window_of("a")) == [7]


async def test_many_are_counted_less_often(
    counts: CapCounts, conversions: Conversions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caps, "COUNTED_PER_SECOND", 100_000)
    conversions.counts["a"] = 6_000_000
    for _ in range(3):
        await told(counts, window_of("a"), window_of("b"))
    assert conversions.asked.count("a") == 1
