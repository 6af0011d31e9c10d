"""`trellis up --demo` as a newcomer runs it: the command, its output, and its children."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


class Up:
    """One `trellis up`, its output, and its children."""

    def __init__(self, data_dir: Path, *, workers: int = 2) -> None:
        self.data_dir = data_dir
        self.output = ""
        self._lines: queue.Queue[str | None] = queue.Queue()
        options = ["--demo", "--data-dir", str(data_dir), "--http-port", "0", "--grpc-port-base", "0"]
        options += ["--workers", str(workers)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRELLIS_", "OTEL_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trellisctl", "up", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def url(self) -> str:
        found = next(word for word in self.output.split() if word.startswith("'http://"))
        return found.split("/in/")[0].strip("'")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, text: str, seconds: float = 90) -> None:
        """Read the output until a line holds ``text``."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {text!r} within {seconds} s in:\n{self.output}") from None
            assert line is not None, f"it ended before {text!r}:\n{self.output}"
            self.output += line
            if text in line:
                return

    def children(self) -> dict[str, int]:
        """Return the pids of the children by name."""
        found = {}
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit() and parent_of(int(directory.name)) == self._process.pid:
                found[name_of(int(directory.name))] = int(directory.name)
        return found

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 60) -> int:
        """Wait for the end and return the exit code."""
        code = self._process.wait(seconds)
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        while not self._lines.empty():
            self.output += self._lines.get() or ""
        return code


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def name_of(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    if command[0].endswith("/postgres"):
        return "postgresql"
    if "/valkey-server" in command[0]:  # it puts its socket behind its name
        return "valkey"
    if "ingress_gateway" in command:
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        return next(f"gateway-{item.partition('=')[2]}" for item in environment if item.startswith("GATEWAY_WORKER="))
    return next((part for part in command if part.endswith("_svc")), "unknown")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_gone(pids: list[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def start(data_dir: Path, *, workers: int = 2) -> Up:
    """Start it and return when it is ready; nothing is left of one that fails."""
    run = Up(data_dir, workers=workers)
    try:
        run.wait_for("Ctrl-C stops it.")
    except BaseException:
        run.send(signal.SIGKILL)
        run.wait()
        raise
    return run
