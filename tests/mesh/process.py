"""One process that a test starts, kills, stops, continues and looks at."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trellisctl.tether import tethered

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TAIL_BYTES = 3000


class ProcessError(AssertionError):
    """A process did not do what the test needs of it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used."""

    cpu_seconds: float
    rss_bytes: int


@dataclass(slots=True)
class Launch:
    """How to start a process; a test may change it between two starts."""

    command: Callable[[], Sequence[str]]
    environment: Mapping[str, str]
    core: int | None = None
    """The core to run on, with every thread."""
    file_bytes: int | None = None
    """Most bytes of a file that it writes (RLIMIT_FSIZE)."""
    os_ids: Callable[[], tuple[int, int] | None] = lambda: None
    """Uid and gid to run as; None for our own."""
    prefix: Sequence[str] = ()
    """Put before the command, for example ``strace -f``; it must replace itself by the command or pass signals on."""


class Process:
    """A process with a log. Every test that starts one must end it: use it within ``Mesh`` or a ``finally``."""

    def __init__(self, name: str, launch: Launch, log: Path) -> None:
        self.name = name
        self.launch = launch
        self.log = log
        self._popen: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> None:
        """Start it; it dies with the test."""
        if self.is_running:
            raise ProcessError(f"{self.name} runs already")
        launch = self.launch
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                tethered([*launch.prefix, *launch.command()], user=launch.os_ids()),
                env=dict(launch.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        # Before it has threads of its own: they take both over.
        if launch.core is not None:
            os.sched_setaffinity(self._popen.pid, {launch.core})
        if launch.file_bytes is not None:
            self.limit_file_bytes(launch.file_bytes)

    @property
    def pid(self) -> int:
        """Id of the running process."""
        if not self.is_running or self._popen is None:
            raise ProcessError(f"{self.name} does not run:\n{self.log_tail()}")
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """True until it has ended."""
        return self._popen is not None and self._popen.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once (SIGKILL), without a word; no error when it is gone already."""
        if self._popen is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._popen.kill()
        self._popen.wait(10)
        self._popen = None

    def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 30.0) -> None:
        """Ask it to leave and wait for that; end it and raise ProcessError when it does not."""
        if self._popen is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(signal.SIGCONT)
            self._popen.send_signal(number)
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProcessError(f"{self.name} did not stop within {seconds:g} s:\n{self.log_tail()}") from None
        self._popen = None

    def freeze(self) -> None:
        """Stop it from running (SIGSTOP): its connections stay open and nothing answers."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run on."""
        self.send(signal.SIGCONT)

    def limit_file_bytes(self, count: int) -> None:
        """Set the most bytes of a file that it writes from now on; -1 for no limit."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (count, hard))

    async def listening(self, *, seconds: float = 30.0) -> None:
        """Wait until it says in its log that it listens."""
        await self.logged('"listening"', seconds=seconds)

    async def logged(self, text: str, *, seconds: float = 30.0) -> None:
        """Wait until its log since the last start holds ``text``."""
        deadline = time.monotonic() + seconds
        while text not in self.log_since_start():
            if not self.is_running:
                raise ProcessError(f"{self.name} ended before it was ready:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name} did not log {text} within {seconds:g} s:\n{self.log_tail()}")
            await asyncio.sleep(0.05)

    def log_since_start(self) -> str:
        """Return what it logged since its last start."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def log_tail(self) -> str:
        """Return its last words."""
        return self.log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace") if self.log.exists() else "(no log)"

    def usage(self) -> Usage:
        """Return what it has used so far, its threads included and its children not."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return Usage(ticks / _TICKS_PER_SECOND, int(fields[21]) * _PAGE_BYTES)
