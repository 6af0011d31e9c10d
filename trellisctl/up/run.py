"""``trellis up`` from its first line to its last."""

import asyncio
import shlex
import signal
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from trellisctl import demo
from trellisctl.errors import CommandError
from trellisctl.installation import write_installation
from trellisctl.up.data_directory import DataDirectory
from trellisctl.up.plan import DEFAULT_DATA_DIR, GATEWAY_STAGE, Options, Plan, make_plan
from trellisctl.up.ports import choose_ports
from trellisctl.up.screen import Screen, open_screen
from trellisctl.up.supervisor import Supervisor


async def run(options: Options, environment: Mapping[str, str]) -> None:
    """Run the mesh until a signal. Raises CommandError when it cannot be started."""
    directory = DataDirectory(options.data_dir)
    directory.make()
    with directory.locked():
        ports = await choose_ports(options.http_host, options.http_port, options.grpc_port_base)
        plan = make_plan(options, directory, directory.secrets(), ports, environment)
        write_installation(directory.path, plan.installation)
        screen = open_screen([child.name for child in plan.children])
        stop = _StopSignals()
        supervisor = Supervisor(plan.children, directory, screen)
        try:
            await stop.unless(lambda: _serve(options, plan, supervisor, screen))
        finally:
            screen.settle()
            await _shut_down(supervisor, screen, stop)


async def _serve(options: Options, plan: Plan, supervisor: Supervisor, screen: Screen) -> None:
    edge = [child.name for child in plan.children if child.drain_stage == GATEWAY_STAGE]
    await supervisor.start(*(child.name for child in plan.children if child.name not in edge))
    # Before the gateways, which thus know the demo's keys and campaign from their first request on.
    if options.is_demo:
        await demo.seed(plan.installation)
    await supervisor.start(*edge)
    screen.settle()
    screen.say(demo.invitation(plan.installation) if options.is_demo else _invitation(plan, options))
    if options.is_demo:
        screen.warn(demo.WARNING)
    screen.say("Ctrl-C stops it.")
    await supervisor.watch()


async def _shut_down(supervisor: Supervisor, screen: Screen, stop: "_StopSignals") -> None:
    screen.say("Stopping: what was taken is written first. Ctrl-C again kills.")
    if await stop.unless(supervisor.drain):
        screen.say("Stopped.")
        return
    await supervisor.kill()
    raise CommandError("killed before everything was drained; nothing acknowledged is lost, the next start recovers it")


class _StopSignals:
    """Ctrl-C and its kin. Each one cuts short what runs under ``unless``."""

    def __init__(self) -> None:
        self._came = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # `nohup` ignores SIGHUP, and so do we under it.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._came.set)

    async def unless(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Do ``work`` and return True, or cancel it when a signal comes and return False."""
        self._came.clear()
        working, signalled = asyncio.ensure_future(work()), asyncio.ensure_future(self._came.wait())
        try:
            await asyncio.wait([working, signalled], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                return False
            working.result()
            return True
        finally:
            for task in (working, signalled):
                task.cancel()
            await asyncio.gather(working, signalled, return_exceptions=True)


def _invitation(plan: Plan, options: Options) -> str:
    place = f" --data-dir {shlex.quote(str(options.data_dir))}" if options.data_dir != DEFAULT_DATA_DIR else ""
    return f"""
Trellis is ready on {plan.installation.http_url}. To begin with, give an organisation a host and a key:

  trellis org create{place} --id org_example 'Example Ltd'
  trellis domain add{place} --org org_example track.example.com
  trellis key create{place} --org org_example --name 'first key' --role owner
"""
