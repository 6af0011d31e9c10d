"""All processes of the mesh: up together, kept up, and down in order."""

import asyncio
from collections.abc import Sequence
from itertools import groupby

from trellisctl.up.child import Child, ChildSpec, StartError
from trellisctl.up.data_directory import DataDirectory
from trellisctl.up.screen import Screen

START_SECONDS = 180.0


class Supervisor:
    """Keeps processes running between ``start`` and ``drain``."""

    def __init__(self, specs: Sequence[ChildSpec], directory: DataDirectory, screen: Screen) -> None:
        self.children = {spec.name: Child(spec, directory, screen) for spec in specs}
        self._screen = screen
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self, *names: str) -> None:
        """Start these processes (all when none is named) and return when each is ready.

        Raises StartError, naming the process and its last words, when one cannot become ready.
        """
        starting = [self.children[name] for name in names or self.children]
        for child in starting:
            needs = [self.children[name] for name in child.spec.needs]
            self._keepers.append(asyncio.create_task(child.keep_running(needs), name=child.spec.name))
        everybody = asyncio.create_task(_wait_until_ready(starting))
        try:
            await asyncio.wait([everybody, *self._keepers], timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            self._raise_failure()
            if not everybody.done():
                raise StartError(_who_is_missing(starting))
        finally:
            everybody.cancel()

    async def watch(self) -> None:
        """Return never; raise what a keeper failed by, which would leave its process without one."""
        await asyncio.wait(self._keepers, return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure()

    async def drain(self) -> None:
        """Stop stage after stage, so that each finds below it what it still needs."""
        by_stage = sorted(self.children.values(), key=lambda child: child.spec.drain_stage)
        for _, stage in groupby(by_stage, key=lambda child: child.spec.drain_stage):
            await asyncio.gather(*(child.stop() for child in stage))
        await self._let_go()

    async def kill(self) -> None:
        """End everything at once."""
        await asyncio.gather(*(child.kill() for child in self.children.values()))
        await self._let_go()

    async def _let_go(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def _raise_failure(self) -> None:
        for keeper in self._keepers:
            if keeper.done() and not keeper.cancelled() and (failure := keeper.exception()) is not None:
                raise failure


async def _wait_until_ready(children: Sequence[Child]) -> None:
    for child in children:
        await child.was_ready.wait()


def _who_is_missing(children: Sequence[Child]) -> str:
    lines = [f"  {c.spec.name}: {c.last_problem}" for c in children if not c.was_ready.is_set()]
    return f"not ready after {START_SECONDS:g} s:\n" + "\n".join(lines)
