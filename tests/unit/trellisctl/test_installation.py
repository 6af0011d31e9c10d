import json
from pathlib import Path

import pytest

from trellisctl.errors import CommandError
from trellisctl.installation import FILE_NAME, Installation, read_installation, write_installation

HELD = Installation(
    mesh_secret="s" * 32,
    auth_target="127.0.0.1:1",
    attribution_target="127.0.0.1:2",
    capture_target="127.0.0.1:3",
    analytics_target="127.0.0.1:5",
    http_url="http://127.0.0.1:4",
)


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "MESH_SECRET",
        "AUTH_TARGET",
        "ATTRIBUTION_TARGET",
        "CAPTURE_TARGET",
        "ANALYTICS_TARGET",
        "URL",
        "DATA_DIR",
    ):
        monkeypatch.delenv(f"TRELLIS_{name}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_what_up_wrote_is_read_back(tmp_path: Path) -> None:
    write_installation(tmp_path, HELD)
    assert read_installation(tmp_path) == HELD


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    write_installation(tmp_path, HELD)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_second_start_replaces_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch(mode=0o644)
    write_installation(tmp_path, HELD)
    assert read_installation(tmp_path) == HELD
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_the_directory_here_is_the_default(tmp_path: Path) -> None:
    (tmp_path / ".trellis").mkdir()
    write_installation(tmp_path / ".trellis", HELD)
    assert read_installation(None) == HELD


def test_the_environment_names_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    write_installation(tmp_path / "other", HELD)
    monkeypatch.setenv("TRELLIS_DATA_DIR", str(tmp_path / "other"))
    assert read_installation(None) == HELD


def test_with_a_secret_in_the_environment_no_local_file_mixes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_installation(tmp_path, HELD)
    monkeypatch.setenv("TRELLIS_MESH_SECRET", "e" * 32)
    monkeypatch.setenv("TRELLIS_AUTH_TARGET", "dns:///auth:50051")
    monkeypatch.setenv("TRELLIS_URL", "https://t.example.com/")
    found = read_installation(tmp_path)
    assert found.mesh_secret == "e" * 32
    assert found.auth_target == "dns:///auth:50051"
    assert found.capture_target == "127.0.0.1:50053"
    assert found.http_url == "https://t.example.com"


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("TRELLIS_AUTH_TARGET", "auth_target"),
        ("TRELLIS_ATTRIBUTION_TARGET", "attribution_target"),
        ("TRELLIS_CAPTURE_TARGET", "capture_target"),
        ("TRELLIS_ANALYTICS_TARGET", "analytics_target"),
        ("TRELLIS_URL", "http_url"),
    ],
)
def test_a_single_address_in_the_environment_wins_over_the_file(
    variable: str, field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_installation(tmp_path, HELD)
    monkeypatch.setenv(variable, "http://elsewhere:9")
    found = read_installation(tmp_path)
    assert getattr(found, field) == "http://elsewhere:9"
    assert found.mesh_secret == HELD.mesh_secret


def test_no_installation_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="trellis up"):
        read_installation(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"mesh_secret": "x"}), "\x00"])
def test_a_damaged_file_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(CommandError, match="is damaged"):
        read_installation(tmp_path)


def test_the_secret_stays_out_of_what_is_printed() -> None:
    assert HELD.mesh_secret not in repr(HELD)
