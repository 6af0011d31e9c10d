"""Whose turn it is."""

import asyncio

import pytest

from attribution_svc.crediting.turns import Turns
from svc_runtime.errors import RateLimitedError


class Question:
    """Holds a place until it is told to go."""

    def __init__(self, turns: Turns, organization_id: str) -> None:
        self.is_in = asyncio.Event()
        self.may_go = asyncio.Event()
        self.task = asyncio.create_task(self._ask(turns, organization_id))

    async def _ask(self, turns: Turns, organization_id: str) -> None:
        async with turns.turn(organization_id):
            self.is_in.set()
            await self.may_go.wait()

    async def leave(self) -> None:
        """Go, and be gone."""
        self.may_go.set()
        await self.task


async def calm() -> None:
    """Let everybody do what they can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_organisation_waits_behind_itself_and_keeps_no_place_meanwhile() -> None:
    turns = Turns(2)
    first, second, other = (Question(turns, name) for name in ("org_a", "org_a", "org_b"))
    await calm()
    assert (first.is_in.is_set(), second.is_in.is_set(), other.is_in.is_set()) == (True, False, True)
    await first.leave()
    await calm()
    assert second.is_in.is_set()
    await second.leave()
    await other.leave()


async def test_no_more_than_there_are_places() -> None:
    turns = Turns(1)
    first, second = Question(turns, "org_a"), Question(turns, "org_b")
    await calm()
    assert (first.is_in.is_set(), second.is_in.is_set()) == (True, False)
    await first.leave()
    await calm()
    assert second.is_in.is_set()
    await second.leave()


async def test_who_waits_too_long_is_told_so_and_who_gives_up_leaves_nothing_behind() -> None:
    turns = Turns(1, longest_wait_seconds=0.01)
    first = Question(turns, "org_a")
    await calm()
    for organization_id in ("org_a", "org_b"):
        with pytest.raises(RateLimitedError, match=r"waited 0\.01 s"):
            async with turns.turn(organization_id):
                pass
    given_up = Question(turns, "org_a")
    await calm()
    given_up.task.cancel()
    await asyncio.gather(given_up.task, return_exceptions=True)
    await first.leave()
    for organization_id in ("org_a", "org_b"):
        async with turns.turn(organization_id):
            pass
