"""The real file system, as far as one process can look behind it."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingress_gateway.journal.disk import OsDisk


def _appended(disk: OsDisk, path: Path, data: bytes) -> bytes:
    descriptor = disk.create(path, 10_000)
    disk.append(descriptor, data, 100)
    disk.close(descriptor)
    return path.read_bytes()


def test_a_file_is_made_of_zeros_and_takes_what_is_appended(tmp_path: Path) -> None:
    data = _appended(OsDisk(), tmp_path / "a", b"some bytes")
    assert data == bytes(100) + b"some bytes" + bytes(10_000 - 110)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").stat().st_blocks * 512 >= 10_000, "it is not preallocated"


def test_a_file_that_is_there_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        OsDisk().create(tmp_path / "a", 100)
    assert (tmp_path / "a").read_bytes() == b"precious"


def test_every_append_is_synced_by_the_call_that_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags: list[int] = []
    real = os.pwritev

    def pwritev(descriptor: int, buffers: Sequence[bytes], offset: int, flag: int = 0) -> int:
        flags.append(flag)
        return real(descriptor, buffers, offset, flag)

    monkeypatch.setattr(os, "pwritev", pwritev)
    _appended(OsDisk(), tmp_path / "a", b"x" * 3000)
    assert flags == [os.RWF_DSYNC]


@pytest.mark.parametrize("step", [1, 7, 511])
def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    real = os.pwritev

    def pwritev(descriptor: int, buffers: Sequence[bytes], offset: int, flag: int = 0) -> int:
        return real(descriptor, [memoryview(buffers[0])[:step]], offset, flag)

    monkeypatch.setattr(os, "pwritev", pwritev)
    data = bytes(range(256)) * 4
    assert _appended(OsDisk(), tmp_path / "a", data)[100 : 100 + len(data)] == data


def test_a_write_of_nothing_is_a_failure_and_no_endless_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwritev", lambda *_arguments: 0)
    with pytest.raises(OSError, match="wrote nothing") as failed:
        _appended(OsDisk(), tmp_path / "a", b"x")
    assert failed.value.errno == errno.EIO


def test_a_file_that_cannot_be_preallocated_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fallocate(*_arguments: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    descriptors = {path.name for path in Path("/proc/self/fd").iterdir()}
    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    with pytest.raises(OSError, match="no space"):
        OsDisk().create(tmp_path / "a", 1000)
    assert list(tmp_path.iterdir()) == []
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == descriptors


def _watched_syncs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the path of everything that is synced."""
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return synced


def test_a_small_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, path = OsDisk(), tmp_path / "position"
    disk.replace(path, b"first")
    disk.replace(path, b"second")
    assert path.read_bytes() == b"second"
    synced = _watched_syncs(monkeypatch)
    disk.replace(path, b"third")
    assert synced == [str(tmp_path / "position.tmp"), str(tmp_path)], "the bytes before the name"

    def fsync(_descriptor: int) -> None:
        raise OSError(errno.EIO, "it did not reach the disk")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="did not reach"):
        disk.replace(path, b"fourth")
    assert path.read_bytes() == b"third"


def test_directories_are_made_from_the_top_down_and_each_name_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = _watched_syncs(monkeypatch)
    OsDisk().make_directory(tmp_path / "data" / "journal" / "w0")
    assert synced == [str(tmp_path), str(tmp_path / "data"), str(tmp_path / "data" / "journal")]
    OsDisk().make_directory(tmp_path / "data" / "journal" / "w0")
    assert len(synced) == 3


def test_removing_truncating_and_reading(tmp_path: Path) -> None:
    disk, path = OsDisk(), tmp_path / "a"
    path.write_bytes(b"0123456789")
    disk.truncate(path, 6)
    assert (disk.size(path), disk.read(path, 2, 100), disk.names(tmp_path)) == (6, b"2345", ["a"])
    disk.remove(path)
    disk.remove(path)
    assert disk.names(tmp_path) == []
