"""Broken disks: a small file system of its own for a process, and failures injected into its system calls."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.mesh.process import Process

_ATTACH_SECONDS = 10.0


def on_small_disk(directory: Path, size: str) -> Sequence[str]:
    """Return what to put before a command so that ``directory`` is a tmpfs of ``size`` for it; skip where none can be.

    The mount is in a namespace of the process alone, and goes with it.
    """
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no `unshare` here: a full disk cannot be made")
    options = ["-m"] if os.geteuid() == 0 else ["-U", "-r", "-m"]
    script = f'mount -t tmpfs -o size={size} tmpfs "{directory}" && exec "$@"'
    prefix = [unshare, *options, "/bin/sh", "-c", script, "sh"]
    directory.mkdir(parents=True, exist_ok=True)
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no file system may be mounted here: {tried.stderr.strip()}")
    return prefix


@contextlib.asynccontextmanager
async def injected(process: Process, fault: str) -> AsyncIterator[None]:
    """Let the journal's writes fail as strace's ``fault`` says (``error=EIO``, ``delay_enter=200000``) for a while.

    Skips where strace is missing or may not attach.
    """
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no `strace` here: failures cannot be injected into system calls")
    tracer = await asyncio.create_subprocess_exec(
        *(strace, "-f", "-q", "-o", "/dev/null", "-e", "trace=pwritev2", "-e", f"inject=pwritev2:{fault}"),
        *("-p", str(process.pid)),
        stderr=subprocess.PIPE,
    )
    try:
        await _attached(tracer, process.pid)
        yield
    finally:
        if tracer.returncode is None:
            tracer.send_signal(signal.SIGINT)
        await tracer.communicate()


async def _attached(tracer: asyncio.subprocess.Process, pid: int) -> None:
    """Wait until every thread is traced; skip when that is not allowed."""
    deadline = asyncio.get_running_loop().time() + _ATTACH_SECONDS
    while _tracers_of(pid) != {tracer.pid}:
        if tracer.returncode is not None and tracer.stderr is not None:
            pytest.skip(f"strace may not attach: {(await tracer.stderr.read()).decode().strip()}")
        assert asyncio.get_running_loop().time() < deadline, "strace did not attach"
        await asyncio.sleep(0.05)


def _tracers_of(pid: int) -> set[int]:
    """Return who traces the threads of a process; 0 stands for nobody."""
    tracers = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            tracers.add(int((task / "status").read_text().partition("TracerPid:")[2].split(maxsplit=1)[0]))
    return tracers
