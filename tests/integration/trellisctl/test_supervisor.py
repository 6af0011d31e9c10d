"""The supervisor over small stand-ins for the real processes."""

import asyncio
import os
import signal
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from trellisctl.up import child as child_module
from trellisctl.up.child import ChildSpec, StartError
from trellisctl.up.data_directory import DataDirectory
from trellisctl.up.screen import State
from trellisctl.up.supervisor import Supervisor

pytestmark = pytest.mark.mesh

WELL = """
import pathlib, signal, sys, time
place, name = pathlib.Path(sys.argv[1]), sys.argv[2]
def leave(*_):
    with (place / "order").open("a") as file:
        file.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("hello from", name, flush=True)
(place / (name + ".ready")).touch()
while True:
    time.sleep(60)
"""
STUBBORN = WELL.replace("signal.signal(signal.SIGTERM, leave)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
REFUSING = "import sys; print('AUTH_LISTEN: Field required'); sys.exit(2)"
FAILING = "print('it went wrong'); raise SystemExit(1)"


class RecordingScreen:
    def __init__(self) -> None:
        self.shown: list[tuple[str, State]] = []
        self.text = ""

    def show(self, name: str, state: State, detail: str = "") -> None:
        self.shown.append((name, state))
        self.say(f"{name} {state.word} {detail}")

    def say(self, text: str) -> None:
        self.text += text + "\n"

    def warn(self, text: str) -> None:
        self.say(text)

    def settle(self) -> None:
        pass


@pytest.fixture
def screen() -> RecordingScreen:
    return RecordingScreen()


@pytest.fixture
def make_spec(tmp_path: Path) -> Callable[..., ChildSpec]:
    def make(name: str, script: str = WELL, **more: Any) -> ChildSpec:
        ready = tmp_path / f"{name}.ready"

        async def probe() -> str | None:
            return None if ready.exists() else "no file yet"

        async def forget() -> list[str]:
            ready.unlink(missing_ok=True)
            return []

        command = (sys.executable, "-c", script, str(tmp_path), name)
        more = {"drain_stage": 0, "prepare": forget, **more}
        return ChildSpec(name, lambda: command, {}, probe, **more)

    return make


@pytest.fixture
async def supervise(tmp_path: Path, screen: RecordingScreen) -> AsyncIterator[Callable[..., Supervisor]]:
    directory = DataDirectory(tmp_path / "data")
    directory.make()
    made: list[Supervisor] = []

    def make(*specs: ChildSpec) -> Supervisor:
        made.append(Supervisor(specs, directory, screen))
        return made[-1]

    yield make
    for supervisor in made:
        await supervisor.kill()


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_start_returns_when_all_are_ready(make_spec: Any, supervise: Any, screen: RecordingScreen) -> None:
    supervisor = supervise(make_spec("one"), make_spec("two"))
    await supervisor.start()
    assert {("one", State.READY), ("two", State.READY)} <= set(screen.shown)
    assert all(is_alive(child.pid) for child in supervisor.children.values())


async def test_a_killed_process_comes_back_and_its_last_words_are_shown(
    make_spec: Any, supervise: Any, screen: RecordingScreen
) -> None:
    supervisor = supervise(make_spec("one"))
    await supervisor.start()
    child = supervisor.children["one"]
    before = child.pid
    os.kill(before, signal.SIGKILL)
    await until(lambda: screen.shown.count(("one", State.READY)) == 2)
    assert child.pid not in {before, None}
    assert "by signal SIGKILL" in screen.text
    assert "    hello from one" in screen.text


async def test_it_comes_back_again_and_again_with_growing_patience(
    make_spec: Any, supervise: Any, screen: RecordingScreen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "FIRST_DELAY_SECONDS", 0.01)
    supervisor = supervise(make_spec("one"))
    await supervisor.start()
    for round_ in range(1, 4):
        os.kill(supervisor.children["one"].pid, signal.SIGKILL)
        await until(lambda: screen.shown.count(("one", State.READY)) == round_ + 1)  # noqa: B023 - used at once
    assert [delay in screen.text for delay in ("in 0.01 s", "in 0.02 s", "in 0.04 s")] == [True] * 3


async def test_wrong_settings_end_the_start_at_once(make_spec: Any, supervise: Any, screen: RecordingScreen) -> None:
    supervisor = supervise(make_spec("auth_svc", REFUSING), make_spec("two"))
    with pytest.raises(StartError, match=r"(?s)auth_svc never was ready.*AUTH_LISTEN: Field required"):
        await supervisor.start()
    assert ("auth_svc", State.DIED) not in screen.shown


async def test_a_process_that_never_works_ends_the_start(
    make_spec: Any, supervise: Any, screen: RecordingScreen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "FIRST_DELAY_SECONDS", 0.01)
    supervisor = supervise(make_spec("one", FAILING))
    with pytest.raises(StartError, match="it went wrong"):
        await supervisor.start()
    assert screen.shown.count(("one", State.STARTING)) == child_module.MOST_EARLY_DEATHS


async def test_what_is_needed_is_ready_first(make_spec: Any, supervise: Any, screen: RecordingScreen) -> None:
    supervisor = supervise(make_spec("second", needs=("first",)), make_spec("first"))
    await supervisor.start()
    assert screen.shown.index(("first", State.READY)) < screen.shown.index(("second", State.STARTING))


async def test_stages_drain_one_after_the_other(make_spec: Any, supervise: Any, tmp_path: Path) -> None:
    names = ["gateway", "analytics", "capture", "store"]
    supervisor = supervise(*(make_spec(name, drain_stage=stage) for stage, name in enumerate(names)))
    await supervisor.start()
    pids = [child.pid for child in supervisor.children.values()]
    await supervisor.drain()
    assert (tmp_path / "order").read_text().split() == names
    assert not any(is_alive(pid) for pid in pids)


async def test_one_that_does_not_leave_is_killed(make_spec: Any, supervise: Any, screen: RecordingScreen) -> None:
    supervisor = supervise(make_spec("one", STUBBORN, stop_seconds=0.3))
    await supervisor.start()
    pid = supervisor.children["one"].pid
    await supervisor.drain()
    assert not is_alive(pid)
    assert "did not stop within 0.3 s" in screen.text


async def test_kill_waits_for_nobody(make_spec: Any, supervise: Any) -> None:
    supervisor = supervise(make_spec("one", STUBBORN), make_spec("two"))
    await supervisor.start()
    pids = [child.pid for child in supervisor.children.values()]
    began = time.monotonic()
    await supervisor.kill()
    assert time.monotonic() - began < 3
    assert not any(is_alive(pid) for pid in pids)


async def test_a_drain_during_the_start_leaves_nothing_behind(
    make_spec: Any, supervise: Any, screen: RecordingScreen
) -> None:
    supervisor = supervise(make_spec("one"), make_spec("late", needs=("never",)), make_spec("never", FAILING))
    starting = asyncio.create_task(supervisor.start())
    await until(lambda: ("one", State.READY) in screen.shown)
    starting.cancel()
    await supervisor.drain()
    assert all(child.pid is None for child in supervisor.children.values())
    assert ("late", State.STARTING) not in screen.shown


async def test_a_preparation_that_fails_later_is_tried_again(
    make_spec: Any, supervise: Any, screen: RecordingScreen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "FIRST_DELAY_SECONDS", 0.01)
    calls = 0

    async def prepare() -> list[str]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError("no room")
        return []

    supervisor = supervise(make_spec("one", prepare=prepare))
    await supervisor.start()
    os.kill(supervisor.children["one"].pid, signal.SIGKILL)
    await until(lambda: screen.shown.count(("one", State.READY)) == 2)
    assert "cannot be started: no room" in screen.text


def test_a_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import asyncio, sys
        from trellisctl.tether import tethered

        async def main():
            for script in ("import time; time.sleep(60)", STUBBORN):
                command = [sys.executable, "-c", script]
                child = await asyncio.create_subprocess_exec(*tethered(command), start_new_session=True)
                print(child.pid, flush=True)
            await asyncio.sleep(60)

        STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
        asyncio.run(main())
        """
    )
    read, write = os.pipe()
    parent = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", script],
        {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        file_actions=[(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_CLOSE, read)],
    )
    os.close(write)
    with os.fdopen(read) as output:
        pids = [int(output.readline()) for _ in range(2)]
        assert all(is_alive(pid) for pid in pids)
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
    deadline = time.monotonic() + 5
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
