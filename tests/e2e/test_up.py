"""`trellis up --demo` as a newcomer runs it: the links of the README, crashes, Ctrl-C, and the same data again."""

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.mesh.up import Up, all_gone, start

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

README = Path(__file__).parents[2] / "README.md"
HOST = {"Host": "track.acmecorp.com"}
OWNER = {"Authorization": "Bearer wdn_sk_live_acmecorp_key"}
CHILDREN = (
    *("postgresql", "valkey", "auth_svc", "attribution_svc", "capture_svc", "analytics_svc", "gateway-0", "gateway-1"),
)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up") / "data"


@pytest.fixture(scope="module")
def mesh(data_dir: Path) -> Iterator[list[Up]]:
    """The run that is up now, in a list so that a test can replace it."""
    runs = [start(data_dir)]
    yield runs
    if runs[0].is_running:
        runs[0].send(signal.SIGINT)
        assert runs[0].wait() == 0


async def click(url: str, click_id: str) -> str:
    """Follow the demo link and return the Location."""
    link = f"{url}/in/summer_sale?click_id={click_id}&source=facebook&medium=cpc&utm_campaign=summer2024"
    async with aiohttp.ClientSession() as session, session.get(link, headers=HOST, allow_redirects=False) as answer:
        assert answer.status == 302, await answer.text()
        return answer.headers["Location"]


async def events_of(url: str, click_id: str) -> list[dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/v1/events", params={"click_id": click_id}, headers=OWNER) as answer,
    ):
        if answer.status != 200:
            return []
        found: list[dict[str, Any]] = (await answer.json())["events"]
        return found


async def event_within(url: str, click_id: str, seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while not (found := await events_of(url, click_id)):
        assert time.monotonic() < deadline, f"no event of {click_id} within {seconds} s"
        await asyncio.sleep(0.05)
    assert len(found) == 1
    return found[0]


async def test_a_link_redirects_and_the_event_is_found_within_two_seconds(mesh: list[Up]) -> None:
    url = mesh[0].url
    location = await click(url, "fb_123abc")
    assert location == (
        "https://shop.acmecorp.com/summer-sale?click_id=fb_123abc&source=facebook&medium=cpc&utm_campaign=summer2024"
    )
    event = await event_within(url, "fb_123abc", 2)
    assert event["external_click_id"] == "fb_123abc"
    assert event["campaign_id"] == "summer_sale"
    assert event["event_type"] == "click"
    assert event["url"].endswith("/in/summer_sale?" + location.partition("?")[2])


async def test_what_it_prints_is_what_the_readme_promises(mesh: list[Up]) -> None:
    output = mesh[0].output
    for name in CHILDREN:
        assert f"{name}: ready" in output
    assert "curl -si -H 'Host: track.acmecorp.com'" in output
    assert "/api/v1/events?click_id=fb_123abc" in output
    assert "DEMONSTRATION ONLY" in output
    readme = README.read_text()
    commands = [line.strip() for line in output.splitlines() if line.strip().startswith("curl ")]
    assert len(commands) == 3
    for command in commands:
        assert command.replace(mesh[0].url, "http://127.0.0.1:8080") in readme


def readme_commands() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```$", README.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", "").splitlines()
    return [line for line in lines if line.startswith("curl ")]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", readme_commands())
def test_each_command_of_the_readme_works(command: str, mesh: list[Up]) -> None:
    words = shlex.split(command.replace("http://127.0.0.1:8080", mesh[0].url))
    deadline = time.monotonic() + 30
    while True:
        done = subprocess.run([*words, "-w", "\n%{http_code}"], capture_output=True, text=True, check=True, timeout=30)
        status = done.stdout.splitlines()[-1]
        # A report can be asked before it has the click: a busy machine takes longer than two seconds for it.
        if status != "404" or "/api/v1/analytics/" not in command or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert status in {"200", "201", "302"}, done.stdout


def test_a_second_up_on_the_same_data_is_refused(mesh: list[Up], data_dir: Path) -> None:
    second = Up(data_dir)
    assert second.wait() == 1
    assert "another `trellis up`" in second.output
    assert mesh[0].is_running


def test_a_port_in_use_is_named(mesh: list[Up], tmp_path: Path) -> None:
    port = mesh[0].url.rpartition(":")[2]
    command = [sys.executable, "-m", "trellisctl", "up", "--data-dir", str(tmp_path / "other"), "--http-port", port]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr


def test_doctor_finds_all_well(mesh: list[Up], data_dir: Path) -> None:
    command = [sys.executable, "-m", "trellisctl", "doctor", "--data-dir", str(data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout
    for name in ("auth_svc", "attribution_svc", "capture_svc", "analytics_svc"):
        assert f"ok    {name}: " in done.stdout
    for ability in ("redirect", "store", "query"):
        assert f"ok    gateway can {ability}: yes" in done.stdout


def test_demo_traffic_arrives_whole(mesh: list[Up], data_dir: Path) -> None:
    command = [sys.executable, "-m", "trellisctl", "demo", "traffic", "--events", "300", "--data-dir", str(data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sent      300 " in done.stdout


@pytest.mark.parametrize("name", CHILDREN)
async def test_a_killed_process_comes_back(name: str, mesh: list[Up]) -> None:
    run = mesh[0]
    before = run.children()
    assert set(before) == set(CHILDREN)
    os.kill(before[name], signal.SIGKILL)
    await asyncio.to_thread(run.wait_for, f"{name}: died")
    await asyncio.to_thread(run.wait_for, f"{name}: ready")
    after = run.children()
    assert after.keys() == before.keys()
    assert after[name] != before[name]
    await click(run.url, f"after_{name}")
    await event_within(run.url, f"after_{name}", 15)


async def test_ctrl_c_drains_in_order_and_the_next_start_has_it_all(mesh: list[Up], data_dir: Path) -> None:
    run = mesh[0]
    await click(run.url, "last_words")
    pids = list(run.children().values())
    run.send(signal.SIGINT)
    assert await asyncio.to_thread(run.wait) == 0
    assert all_gone(pids, 0.1)
    order = [line.split(":")[0] for line in run.output.splitlines() if ": stopped" in line]
    assert sorted(order[:2]) == ["gateway-0", "gateway-1"]
    assert order[2:] == ["analytics_svc", "valkey", "attribution_svc", "auth_svc", "capture_svc", "postgresql"]
    mesh[0] = await asyncio.to_thread(start, data_dir)
    await event_within(mesh[0].url, "last_words", 10)


async def test_a_killed_supervisor_leaves_no_orphan_and_loses_nothing(mesh: list[Up], data_dir: Path) -> None:
    run = mesh[0]
    await click(run.url, "before_the_kill")
    pids = list(run.children().values())
    run.send(signal.SIGKILL)
    await asyncio.to_thread(run.wait)
    assert await asyncio.to_thread(all_gone, pids, 10)
    mesh[0] = await asyncio.to_thread(start, data_dir)
    for click_id in ("last_words", "before_the_kill"):
        await event_within(mesh[0].url, click_id, 30)


def test_a_second_ctrl_c_kills(mesh: list[Up], data_dir: Path) -> None:
    run = mesh[0]
    pids = run.children()
    # A process that does not answer: the drain would wait for it.
    os.kill(pids["gateway-0"], signal.SIGSTOP)
    run.send(signal.SIGINT)
    run.wait_for("Stopping")
    run.wait_for("gateway-0: stopping")
    time.sleep(0.5)
    run.send(signal.SIGINT)
    assert run.wait(15) == 1
    assert all_gone(list(pids.values()), 5)
    mesh[0] = start(data_dir)
