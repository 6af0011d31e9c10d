import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from trellisctl import doctor
from trellisctl.doctor import Finding, check_disk, check_python, check_system, findings


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_this_machine_is_fit() -> None:
    assert check_python().is_ok
    assert check_system().is_ok


def test_an_old_python_is_told_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    found = check_python()
    assert not found.is_ok
    assert found.answer == "3.9.2; Trellis needs 3.11 or newer"


def test_room_is_looked_for_where_the_data_will_be(tmp_path: Path) -> None:
    found = check_disk(tmp_path / "not" / "yet" / "there")
    assert str(tmp_path) in found.answer


def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(100, 99, 1))
    found = check_disk(tmp_path)
    assert not found.is_ok
    assert "make room" in found.answer


@pytest.mark.loopback
async def test_without_an_installation_the_machine_is_checked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRELLIS_MESH_SECRET", raising=False)
    monkeypatch.setattr("trellisctl.up.ports.PATIENCE_SECONDS", 0)
    found = [finding async for finding in findings(tmp_path)]
    assert [finding.name for finding in found] == ["Python", "system", "disk", "ports", "installation"]
    assert not found[-1].is_ok
    assert "trellis up" in found[-1].answer


@pytest.mark.loopback
async def test_an_installation_that_is_down_says_so_for_each_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = ("AUTH_TARGET", "ATTRIBUTION_TARGET", "CAPTURE_TARGET", "ANALYTICS_TARGET")
    values: dict[str, Any] = dict.fromkeys(targets, "127.0.0.1:1")
    for name, value in {**values, "MESH_SECRET": "s" * 32, "URL": "http://127.0.0.1:1"}.items():
        monkeypatch.setenv(f"TRELLIS_{name}", value)
    monkeypatch.setattr(doctor, "TIMEOUT_SECONDS", 1.0)
    found = [finding async for finding in findings(tmp_path)]
    assert {finding.name for finding in found if not finding.is_ok} == {
        *("auth_svc", "attribution_svc", "capture_svc", "analytics_svc", "gateway"),
    }


async def test_the_exit_tells_whether_all_is_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(_data_dir: Path | None) -> Any:
        yield Finding("disk", is_ok=True, answer="fine")
        yield Finding("gateway", is_ok=False, answer="down")

    monkeypatch.setattr(doctor, "findings", found)
    assert not await doctor._examine(None)
    assert capsys.readouterr().out == "ok    disk: fine\nFAIL  gateway: down\n"
