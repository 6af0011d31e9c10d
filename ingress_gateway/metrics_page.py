"""One Prometheus page for all workers of a machine.

They share the port, so a scrape reaches any one of them. Each keeps its page as a file beside the others', and whoever
is asked shows its own and the fresh ones of the others. A worker writes its file also when it is asked itself: what one
scrape has shown, the next one has too, whichever worker it reaches, so no counter ever seems to go back.
"""

import asyncio
import re
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from svc_runtime.logs import get_logger

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
WRITE_SECONDS = 2.0
FRESH_SECONDS = 30.0
_HELP = re.compile(rb"^# HELP ", re.MULTILINE)
_log = get_logger(__name__)


class MetricsPage:
    """The page of one worker, and with the others' the page of all. Blocks for milliseconds: call it in a thread."""

    def __init__(self, directory: Path, worker: str, registry: CollectorRegistry = REGISTRY) -> None:
        self._directory = directory
        self._worker = worker
        self._path = directory / f"{worker}.prom"
        self._labelled = _Labelled(registry, worker)
        self._writing = threading.Lock()
        self._could_write = True

    async def write_forever(self) -> None:
        """Keep the file fresh; take it away in the end, so that nobody shows a worker that has left."""
        try:
            while True:
                await asyncio.to_thread(self.write)
                await asyncio.sleep(WRITE_SECONDS)
        finally:
            await asyncio.to_thread(self._remove)

    def write(self) -> bytes:
        """Write this worker's file, whole or not at all, and return what is in it."""
        with self._writing:
            page = generate_latest(self._labelled)
            try:
                self._replace(page)
                self._could_write = True
            except OSError as error:
                # Not worth a line every two seconds: a full disk has louder ways to tell.
                if self._could_write:
                    _log.warning("the metrics file could not be written", path=str(self._path), error=repr(error))
                self._could_write = False
        return page

    def render(self) -> bytes:
        """Return the page of all workers."""
        return merge([self.write(), *self._others()])

    def _replace(self, page: bytes) -> None:
        # Not synced: after a crash of the machine nobody asks for it.
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._path.with_suffix(".new")
        new.write_bytes(page)
        new.replace(self._path)

    def _remove(self) -> None:
        with self._writing:
            self._path.unlink(missing_ok=True)

    def _others(self) -> Iterator[bytes]:
        oldest = time.time() - FRESH_SECONDS
        for path in sorted(self._directory.glob("*.prom")):
            try:
                if path != self._path and path.stat().st_mtime >= oldest:
                    yield path.read_bytes()
            except OSError:
                # It left meanwhile.
                continue


def merge(pages: Iterable[bytes]) -> bytes:
    """Return one page of several: each metric once, with the samples of all."""
    metrics: dict[bytes, list[bytes]] = {}
    for page in pages:
        for block in _HELP.split(page)[1:]:
            name = block.partition(b" ")[0]
            lines = block.splitlines(keepends=True)
            if name in metrics:
                metrics[name] += lines[2:]
            else:
                metrics[name] = [b"# HELP " + lines[0], *lines[1:]]
    return b"".join(line for lines in metrics.values() for line in lines)


class _Labelled(Collector):
    """A registry whose every sample says which worker it is of."""

    def __init__(self, registry: CollectorRegistry, worker: str) -> None:
        self._registry = registry
        self._worker = worker

    def collect(self) -> Iterable[Metric]:
        """Collect, and label what has no worker yet: what the process and the interpreter tell about themselves."""
        for metric in self._registry.collect():
            metric.samples = [
                sample._replace(labels={"worker": self._worker, **sample.labels}) for sample in metric.samples
            ]
            yield metric
