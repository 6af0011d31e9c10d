"""One process of the mesh: started, watched, started again when it dies, and stopped when asked."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from trellisctl.errors import CommandError
from trellisctl.tether import tethered
from trellisctl.up.data_directory import DataDirectory
from trellisctl.up.probes import Probe
from trellisctl.up.screen import Screen, State

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 10.0
LIVED_WELL_SECONDS = 30.0
"""A process that lived this long starts again at the first delay."""
PROBE_INTERVAL_SECONDS = 0.1
MOST_EARLY_DEATHS = 5
SETTINGS_ARE_WRONG = 2
"""Exit code of a process that does not accept its settings: to start it again would change nothing."""
TAIL_BYTES = 4096
TAIL_LINES = 12


class StartError(CommandError):
    """A process never became ready and there is no use in going on."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run and how to see that it is ready."""

    name: str
    """For people and for the name of the log, for example ``gateway-0``."""
    command: Callable[[], tuple[str, ...]]
    """The command, asked for before each start."""
    environment: Mapping[str, str]
    """Its whole environment."""
    probe: Probe
    """Tells that it is ready."""
    drain_stage: int
    """Stages stop one after the other, the lowest first."""
    needs: tuple[str, ...] = ()
    """Names of the processes that must have been ready before the first start."""
    prepare: Callable[[], Awaitable[Sequence[str]]] | None = None
    """Runs before each start and returns what people should know."""
    os_ids: Callable[[], tuple[int, int] | None] = lambda: None
    """Uid and gid to run as; None for our own."""
    stop_signal: signal.Signals = signal.SIGTERM
    """Asks it to drain and leave."""
    kill_signal: signal.Signals = signal.SIGKILL
    """Ends it at once, and when this process dies."""
    stop_seconds: float = 30.0
    """How long it may take to drain."""


@dataclass(frozen=True, slots=True)
class _Ending:
    how: str
    are_settings_wrong: bool = False


class Child:
    """A process that is kept running until ``stop``."""

    def __init__(self, spec: ChildSpec, directory: DataDirectory, screen: Screen) -> None:
        self.spec = spec
        self.was_ready = asyncio.Event()
        """Set from the first time that it was ready."""
        self.last_problem = "it has not started"
        """Why it is not ready."""
        self._directory = directory
        self._screen = screen
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._deaths = 0
        self._started_at = 0.0
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def keep_running(self, needs: Sequence["Child"]) -> None:
        """Start it when its needs were ready, and again whenever it dies, until ``stop``.

        Raises StartError when it dies again and again before it was ever ready.
        """
        for needed in needs:
            await needed.was_ready.wait()
        delay = FIRST_DELAY_SECONDS
        while not self._stopping.is_set():
            ending = await self._run_once()
            if ending is None or self._stopping.is_set():
                return
            if time.monotonic() - self._started_at > LIVED_WELL_SECONDS:
                delay = FIRST_DELAY_SECONDS
            self._report(ending, delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(delay * 2, LONGEST_DELAY_SECONDS)

    async def stop(self) -> None:
        """Ask it to drain; end it when that takes too long. Not started again."""
        self._stopping.set()
        async with self._starting:
            process = self._process
        if process is None or process.returncode is not None:
            return
        self._screen.show(self.spec.name, State.STOPPING)
        began = time.monotonic()
        self._signal(process, self.spec.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), self.spec.stop_seconds)
        except TimeoutError:
            self._screen.warn(f"{self.spec.name} did not stop within {self.spec.stop_seconds:g} s: it is killed")
            await self.kill()
        self._screen.show(self.spec.name, State.STOPPED, f"{time.monotonic() - began:.1f} s")

    async def kill(self) -> None:
        """End it at once. Not started again."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._signal(process, self.spec.kill_signal)
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            self._signal(process, signal.SIGKILL)
            await process.wait()

    async def _run_once(self) -> "_Ending | None":
        """Run it from start to end; None when we are stopping and nothing was started."""
        try:
            process = await self._start()
        except (CommandError, OSError) as error:
            if not self.was_ready.is_set():
                raise
            return _Ending(f"it cannot be started: {error}")
        if process is None:
            return None
        exit_code = await self._watch(process)
        how = f"by signal {signal.Signals(-exit_code).name}" if exit_code < 0 else f"with exit code {exit_code}"
        return _Ending(how, are_settings_wrong=exit_code == SETTINGS_ARE_WRONG)

    async def _start(self) -> asyncio.subprocess.Process | None:
        spec = self.spec
        async with self._starting:
            if self._stopping.is_set():
                return None
            self._started_at = time.monotonic()
            self._screen.show(spec.name, State.STARTING)
            for note in await spec.prepare() if spec.prepare else ():
                self._screen.say(note)
            if self._stopping.is_set():
                return None
            with self._directory.open_log(spec.name) as output:
                self._log_start = output.tell()
                # A session of its own: Ctrl-C in the terminal must reach us alone, who stop everybody in order.
                self._process = await asyncio.create_subprocess_exec(
                    *tethered(spec.command(), death_signal=spec.kill_signal, user=spec.os_ids()),
                    env=spec.environment,
                    # What a process writes beside its own data (a core file, an engine's cache) stays in there too.
                    cwd=self._directory.path,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            return self._process

    async def _watch(self, process: asyncio.subprocess.Process) -> int:
        probing = asyncio.create_task(self._probe_until_ready())
        try:
            return await process.wait()
        finally:
            probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await probing

    async def _probe_until_ready(self) -> None:
        while (problem := await self._probe()) is not None:
            self.last_problem = problem
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)
        self._screen.show(self.spec.name, State.READY, f"{time.monotonic() - self._started_at:.1f} s")
        self.was_ready.set()

    async def _probe(self) -> str | None:
        try:
            return await self.spec.probe()
        except Exception as error:  # noqa: BLE001 - whatever a probe stumbles over, the process is not ready
            return repr(error)

    def _report(self, ending: "_Ending", delay: float) -> None:
        self._deaths += 1
        last_words = "\n".join(f"    {line}" for line in self._log_tail())
        if not self.was_ready.is_set() and (ending.are_settings_wrong or self._deaths >= MOST_EARLY_DEATHS):
            path = self._directory.log_path(self.spec.name)
            raise StartError(f"{self.spec.name} never was ready: it ended {ending.how}; {path} says:\n{last_words}")
        self._screen.show(self.spec.name, State.DIED, f"{ending.how}; starts again in {delay:g} s")
        if last_words:
            self._screen.say(last_words)

    def _log_tail(self) -> list[str]:
        with self._directory.log_path(self.spec.name).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(self._log_start, file.tell() - TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()[-TAIL_LINES:]

    @staticmethod
    def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
