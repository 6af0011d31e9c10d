from dataclasses import astuple
from pathlib import Path

import pytest

from trellisctl.errors import CommandError
from trellisctl.up import data_directory
from trellisctl.up.data_directory import DataDirectory


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path / "data")
    made.make()
    return made


def test_nobody_else_can_list_or_write_it(directory: DataDirectory) -> None:
    directory.path.chmod(0o777)
    directory.make()
    assert directory.path.stat().st_mode & 0o777 == 0o711


def test_a_new_one_is_closed_to_everybody_else(directory: DataDirectory) -> None:
    assert directory.path.stat().st_mode & 0o777 == 0o700


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="cannot be used"):
        DataDirectory(tmp_path / "file" / "data").make()


def test_secrets_are_made_once_and_kept(directory: DataDirectory) -> None:
    first = directory.secrets()
    assert DataDirectory(directory.path).secrets() == first
    assert len(set(astuple(first))) == 5
    assert all(len(secret) >= 32 for secret in astuple(first))


def test_secrets_are_for_their_owner_alone(directory: DataDirectory) -> None:
    directory.secrets()
    assert directory.secrets_file.stat().st_mode & 0o777 == 0o600


def test_secrets_stay_out_of_what_is_printed(directory: DataDirectory) -> None:
    made = directory.secrets()
    assert not any(secret in repr(made) for secret in astuple(made))


def test_data_without_its_secrets_is_not_given_new_ones(directory: DataDirectory) -> None:
    directory.postgres.mkdir()
    with pytest.raises(CommandError, match=r"secrets\.json is gone"):
        directory.secrets()


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"mesh_secret": "x"}'])
def test_damaged_secrets_are_not_replaced(content: str, directory: DataDirectory) -> None:
    directory.secrets_file.write_text(content)
    with pytest.raises(CommandError, match="damaged"):
        directory.secrets()
    assert directory.secrets_file.read_text() == content


def test_a_second_holder_is_refused_and_told_who_holds_it(directory: DataDirectory) -> None:
    with directory.locked():
        second = DataDirectory(directory.path).locked()
        with pytest.raises(CommandError, match=r"another `trellis up` \(process \d+\)"):
            second.__enter__()


def test_the_lock_is_free_again_afterwards(directory: DataDirectory) -> None:
    for _ in range(2):
        with directory.locked():
            pass


def test_a_log_goes_on_where_it_was(directory: DataDirectory) -> None:
    for text in (b"one\n", b"two\n"):
        with directory.open_log("auth_svc") as log:
            log.write(text)
    assert directory.log_path("auth_svc").read_bytes() == b"one\ntwo\n"
    assert directory.log_path("auth_svc").stat().st_mode & 0o777 == 0o600


def test_a_log_grown_too_large_moves_away(directory: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_directory, "LOG_ROTATION_BYTES", 3)
    for text in (b"one\n", b"two\n"):
        with directory.open_log("auth_svc") as log:
            log.write(text)
    assert directory.log_path("auth_svc").read_bytes() == b"two\n"
    assert (directory.logs / "auth_svc.log.1").read_bytes() == b"one\n"
