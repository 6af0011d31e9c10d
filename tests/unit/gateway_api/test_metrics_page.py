import asyncio
import os
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.parser import text_string_to_metric_families

from ingress_gateway.metrics_page import FRESH_SECONDS, MetricsPage, merge


class Worker:
    """A worker with numbers of its own."""

    def __init__(self, directory: Path, name: str) -> None:
        self.registry = CollectorRegistry()
        self.clicks = Counter("clicks", "Clicks\nso far.", ["worker", "kind"], registry=self.registry)
        self.memory = Gauge("process_memory", "Bytes.", registry=self.registry)
        self.seconds = Histogram("seconds", 'Time # HELP "x".', registry=self.registry, buckets=[1])
        Info("build", "Build.", registry=self.registry).info({"version": '1"\\'})
        self.page = MetricsPage(directory, name, self.registry)
        self.name = name

    def click(self, count: int = 1) -> None:
        self.clicks.labels(worker=self.name, kind="in").inc(count)


def samples(page: bytes) -> dict[tuple[str, str], float]:
    """Return (sample, worker) → value as Prometheus would read them."""
    found = {}
    names = []
    for family in text_string_to_metric_families(page.decode()):
        names.append(family.name)
        for sample in family.samples:
            key = (sample.name + sample.labels.get("le", ""), sample.labels["worker"])
            assert key not in found, "a series is told once"
            found[key] = sample.value
    assert len(names) == len(set(names)), "a metric is described once"
    return found


def test_a_page_has_the_samples_of_all_workers(tmp_path: Path) -> None:
    one, two = Worker(tmp_path, "w0"), Worker(tmp_path, "w1")
    one.click(3)
    two.click(5)
    one.memory.set(10)
    two.memory.set(20)
    two.seconds.observe(0.5)
    two.page.write()
    found = samples(one.page.render())
    assert (found["clicks_total", "w0"], found["clicks_total", "w1"]) == (3, 5)
    assert (found["process_memory", "w0"], found["process_memory", "w1"]) == (10, 20)
    assert (found["seconds_bucket1.0", "w0"], found["seconds_bucket1.0", "w1"]) == (0, 1)
    assert found["build_info", "w0"] == found["build_info", "w1"] == 1


def test_either_worker_shows_what_the_other_has_shown(tmp_path: Path) -> None:
    one, two = Worker(tmp_path, "w0"), Worker(tmp_path, "w1")
    shown = 0.0
    for round_number in range(20):
        one.click()
        asked = one if round_number % 3 == 0 else two
        value = samples(asked.page.render()).get(("clicks_total", "w0"), 0)
        assert value >= shown, "a counter never goes back"
        shown = value
    assert shown > 0


def test_a_worker_that_has_gone_is_forgotten(tmp_path: Path) -> None:
    one, two = Worker(tmp_path, "w0"), Worker(tmp_path, "w1")
    two.page.write()
    assert ("process_memory", "w1") in samples(one.page.render())
    old = time.time() - FRESH_SECONDS - 1
    os.utime(tmp_path / "w1.prom", (old, old))
    assert ("process_memory", "w1") not in samples(one.page.render())


async def test_a_worker_that_leaves_takes_its_file_with_it(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "metrics", "w0")
    task = asyncio.create_task(worker.page.write_forever())
    path = tmp_path / "metrics" / "w0.prom"
    async with asyncio.timeout(5):
        while not path.exists():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list((tmp_path / "metrics").iterdir()) == []


def test_a_disk_that_takes_nothing_leaves_a_worker_its_own_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics").write_text("a file where the directory should be")
    worker = Worker(tmp_path / "metrics", "w0")
    worker.memory.set(7)
    for _ in range(3):
        assert samples(worker.page.render())["process_memory", "w0"] == 7
    assert capsys.readouterr().out.count("could not be written") <= 1


def test_a_file_that_goes_while_it_is_read_is_left_out(tmp_path: Path) -> None:
    worker = Worker(tmp_path, "w0")
    (tmp_path / "w1.prom").symlink_to(tmp_path / "nowhere")
    (tmp_path / "w2.prom").mkdir()
    assert {name for _, name in samples(worker.page.render())} == {"w0"}


def test_a_half_written_file_is_never_seen(tmp_path: Path) -> None:
    one, two = Worker(tmp_path, "w0"), Worker(tmp_path, "w1")
    (tmp_path / "w1.new").write_bytes(b"# HELP clicks_total Cl")
    samples(one.page.render())
    two.page.write()
    assert not (tmp_path / "w1.new").exists()


def test_the_first_description_of_a_metric_counts() -> None:
    old = b'# HELP a_total Old.\n# TYPE a_total counter\na_total{worker="w0"} 1.0\n'
    other = b'# HELP b One.\n# TYPE b gauge\nb{worker="w1"} 2.0\n'
    new = b'# HELP a_total New.\n# TYPE a_total counter\na_total{worker="w1"} 3.0\n'
    assert merge([old, other + new, b""]) == old + b'a_total{worker="w1"} 3.0\n' + other
