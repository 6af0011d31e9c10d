"""A real Valkey for tests, from the wheel, that can be killed and started again."""

import asyncio
import signal
from pathlib import Path

from redis.asyncio import Redis

from trellisctl.embedded.valkey import EmbeddedValkey
from trellisctl.tether import tethered

_PATIENCE_SECONDS = 10.0


class Valkey:
    """One server in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._embedded = EmbeddedValkey(directory)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return self._embedded.url

    def client(self) -> Redis:
        """Return a client, for the caller to close."""
        return Redis.from_url(self.url)

    async def start(self) -> None:
        """Start it and wait until it answers."""
        await self._embedded.prepare()
        self._process = await asyncio.create_subprocess_exec(
            *tethered(self._embedded.command()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while await self._embedded.problem() is not None:  # noqa: ASYNC110 - it is another process: asking is the only way
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        """End it at once, if it runs."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Let it leave, if it runs."""
        await self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it take connections and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await asyncio.wait_for(self._process.wait(), _PATIENCE_SECONDS)
