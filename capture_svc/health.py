"""Tells the health service, and so the balancers, whether this replica can store."""

import asyncio
from collections.abc import Awaitable, Callable

from capture_svc.availability import StoreWatch
from capture_svc.store import StoreProbe
from svc_runtime.errors import UnavailableError

FAILING_SECONDS = 5.0
"""After so long without a write the service is not serving. The process is alive all the same."""
_LOOK_SECONDS = 1.0


async def report_health(
    watch: StoreWatch,
    probe: StoreProbe,
    set_serving: Callable[[bool], Awaitable[None]],
    *,
    is_ready: Callable[[], bool],
) -> None:
    """Report for ever.

    An idle store is pinged. One that failed must take a row before it counts as well again: nobody else may write
    while we say that we do not serve.
    """
    said: bool | None = None
    while True:
        try:
            if is_ready():
                await (probe.write() if watch.failing_seconds else probe.ping())
                watch.probed()
        except UnavailableError as error:
            watch.failed(error)
        is_serving = is_ready() and watch.failing_seconds < FAILING_SECONDS
        if is_serving != said:
            await set_serving(is_serving)
            said = is_serving
        await asyncio.sleep(_LOOK_SECONDS)
