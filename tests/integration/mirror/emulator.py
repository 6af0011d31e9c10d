"""local-bigquery, a BigQuery on DuckDB, in a virtual environment of its own: its Python is newer than ours.

The environment is made once, from pinned versions, and kept under ``build/``.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_BUILD = _HERE.parents[2] / "build" / "bigquery-emulator"
_LOCK = _HERE / "emulator.lock"
_VERSIONS = ("3.13",)
"""The Pythons that this release of local-bigquery runs on."""
_EXTENSIONS = ("icu", "ducklake", "spatial")
_START_SECONDS = 60.0

# DuckDB looks for its extensions in the home directory; the wheels carry them elsewhere.
_INSTALL_EXTENSIONS = f"""
import duckdb, importlib.util, pathlib
connection = duckdb.connect()
for name in {_EXTENSIONS!r}:
    package = pathlib.Path(importlib.util.find_spec(f"duckdb_extension_{{name}}").origin).parent
    (file,) = package.rglob("*.duckdb_extension")
    connection.execute(f"INSTALL '{{file}}'")
"""


class EmulatorMissingError(Exception):
    """There is no emulator on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the emulator is installed."""

    directory: Path

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its processes: with a home directory of its own."""
        return {**os.environ, "HOME": str(self.directory / "home"), "PYTHONUNBUFFERED": "1"}

    def program(self, name: str) -> str:
        """Return the path of a program."""
        return str(self.directory / "venv" / "bin" / name)


def find_interpreter() -> str:
    """Return a Python that the emulator runs on; raise EmulatorMissingError when there is none."""
    pyenv = Path.home() / ".pyenv" / "versions"
    for version in _VERSIONS:
        candidates = [
            shutil.which(f"python{version}"),
            *map(str, sorted(pyenv.glob(f"{version}*/bin/python{version}"))),
        ]
        for candidate in candidates:
            if candidate and _is_version(candidate, version):
                return candidate
    raise EmulatorMissingError(f"local-bigquery needs Python {' or '.join(_VERSIONS)}, and there is none")


def _is_version(interpreter: str, version: str) -> bool:
    # A shim may be there for a Python that is not.
    code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    found = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=False)
    return found.returncode == 0 and found.stdout.strip() == version


def environment() -> Environment:
    """Return the emulator's environment; make it first when that was not done yet, which takes a while."""
    interpreter = find_interpreter()
    directory = _BUILD / hashlib.sha256(_LOCK.read_bytes() + interpreter.encode()).hexdigest()[:12]
    found = Environment(directory)
    _BUILD.mkdir(parents=True, exist_ok=True)
    with (_BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "done").exists():
            shutil.rmtree(directory, ignore_errors=True)
            _make(found, interpreter)
            (directory / "done").touch()
    return found


def _make(made: Environment, interpreter: str) -> None:
    (made.directory / "home").mkdir(parents=True)
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    for command in (
        [interpreter, "-m", "venv", str(made.directory / "venv")],
        [made.program("python"), *pip, "--requirement", str(_LOCK)],
        [made.program("python"), "-c", _INSTALL_EXTENSIONS],
    ):
        # pip keeps its cache in the real home directory.
        variables = made.variables if "-c" in command else None
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EmulatorMissingError(f"local-bigquery could not be installed: {done.stderr.strip()[-300:]}")


class Emulator:
    """A running emulator with one project ``p`` and one dataset ``d``; its data stays when it stops."""

    def __init__(self, made: Environment, data_directory: Path) -> None:
        self._made = made
        self._data_directory = data_directory
        self._port, self._grpc_port = _free_port(), _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {
            "--host": "127.0.0.1",
            "--port": str(self._port),
            "--grpc-port": str(self._grpc_port),
            "--project": "p",
            "--dataset": "d",
            "--data-dir": str(self._data_directory),
        }
        arguments = [part for option in options.items() for part in option]
        with (self._data_directory.parent / "emulator.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._made.program("local-bigquery"), "serve", *arguments],
                env=self._made.variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, f"the emulator ended; see {self._data_directory.parent}/emulator.log"
            assert time.monotonic() < deadline, f"the emulator does not answer within {_START_SECONDS:.0f} s"
            time.sleep(0.1)

    def _answers(self) -> bool:
        with contextlib.suppress(urllib.error.HTTPError, OSError):
            url = f"{self.endpoint}/bigquery/v2/projects/p/datasets/d"
            with urllib.request.urlopen(url, timeout=30):
                return True
        return False

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


@contextmanager
def running(data_directory: Path) -> Iterator[Emulator]:
    """Run an emulator for the time of the block. Errors: EmulatorMissingError."""
    data_directory.mkdir(parents=True, exist_ok=True)
    emulator = Emulator(environment(), data_directory)
    try:
        emulator.start()
        yield emulator
    finally:
        emulator.stop()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
