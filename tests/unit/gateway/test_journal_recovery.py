"""What a journal makes of a directory that was torn, flipped, robbed or mixed up."""

import shutil
import time
from pathlib import Path

import pytest

from ingress_gateway.journal.frame import FRAME_HEADER, SEGMENT_HEADER, Frame, encode_segment_header, scan
from ingress_gateway.journal.recovery import KEY_FILE, POSITION_FILE, Position, recover
from tests.unit.gateway.disks import FakeDisk
from tests.unit.gateway.journals import SMALL, JournalLimits, Run, check_kept, reopened_batches, sequences

LARGE = JournalLimits(segment_bytes=64 * 1024, batch_seconds=60.0)


async def _written(directory: Path, groups: int = 8, limits: JournalLimits = LARGE) -> Run:
    """Return a killed run with one frame, and one batch, for each group."""
    run = await Run.begin(directory, FakeDisk(), limits)
    for number in range(groups):
        await run.append_and_wait(b"%d" % number * (100 + 40 * number))
        await run.journal.flush()
    await run.kill()
    return run


def _segments(disk: FakeDisk) -> list[Path]:
    return sorted(path for path in disk.files if path.suffix == ".segment")


def _frames(disk: FakeDisk, path: Path, run: Run) -> list[Frame]:
    return [item for item in scan(memoryview(disk.files[path]), run.journal._key) if isinstance(item, Frame)]


def _quarantined(disk: FakeDisk) -> list[Path]:
    return [path for path in disk.files if path.parent.name == "quarantine"]


async def test_a_tail_torn_at_any_byte_costs_only_the_frames_that_it_cuts(tmp_path: Path) -> None:
    run = await _written(tmp_path / "j")
    (path,) = _segments(run.disk)
    frames = _frames(run.disk, path, run)
    for cut in range(frames[-2].start, frames[-1].end + 1):
        disk = FakeDisk(run.disk.files)
        disk.truncate(path, cut)
        found = recover(disk, tmp_path / "j")
        whole = [frame.sequence for frame in frames if frame.end <= cut]
        assert [batch.sequence for batch in found.batches] == whole
        assert found.last_sequence == whole[-1]


async def test_a_tail_torn_into_zeros_at_any_byte_costs_only_the_frames_that_it_cuts(tmp_path: Path) -> None:
    """A preallocated segment ends in zeros: a torn write leaves its beginning and zeros behind it."""
    run = await _written(tmp_path / "j")
    (path,) = _segments(run.disk)
    frames = _frames(run.disk, path, run)
    for cut in range(frames[-2].start, frames[-1].end + 1):
        disk = FakeDisk(run.disk.files)
        disk.write_at(path, cut, bytes(frames[-1].end - cut))
        batches = [batch.sequence for batch in recover(disk, tmp_path / "j").batches]
        # Zeros at the end of a frame may have been zeros before.
        whole = [frame.sequence for frame in frames if frame.end <= cut]
        assert batches == whole


@pytest.mark.parametrize("step", [64, 61])
async def test_a_flipped_byte_costs_one_frame_and_every_later_one_is_replayed(tmp_path: Path, step: int) -> None:
    run = await _written(tmp_path / "j", groups=12)
    (path,) = _segments(run.disk)
    frames = _frames(run.disk, path, run)
    for position in range(0, frames[-1].end, step):
        disk = FakeDisk(run.disk.files)
        disk.flip(path, position)
        found = recover(disk, tmp_path / "j")
        spared = [frame.sequence for frame in frames if not frame.start <= position < frame.end]
        assert [batch.sequence for batch in found.batches] == spared, f"byte {position}"
        assert found.damaged_count == 1
        (aside,) = _quarantined(disk)
        hit = next((frame for frame in frames if frame.start <= position < frame.end), None)
        if hit is not None:
            assert disk.files[aside] == disk.files[path][hit.start : hit.end].rstrip(b"\0")
        else:
            assert disk.files[aside] == disk.files[path][: SEGMENT_HEADER.size]


async def test_every_byte_of_a_frame_header_may_be_flipped(tmp_path: Path) -> None:
    run = await _written(tmp_path / "j", groups=3)
    (path,) = _segments(run.disk)
    frames = _frames(run.disk, path, run)
    for position in range(frames[1].start, frames[1].start + FRAME_HEADER.size):
        for turned in (0x01, 0x80, 0xFF):
            disk = FakeDisk(run.disk.files)
            disk.write_at(path, position, bytes([disk.files[path][position] ^ turned]))
            found = recover(disk, tmp_path / "j")
            assert [batch.sequence for batch in found.batches] == [frames[0].sequence, frames[2].sequence]


async def test_what_was_set_aside_is_read_as_damage_again_and_nothing_is_lost_by_it(tmp_path: Path) -> None:
    run = await _written(tmp_path / "j")
    (path,) = _segments(run.disk)
    frames = _frames(run.disk, path, run)
    run.disk.flip(path, frames[3].start + 40)
    for _ in range(3):
        disk = FakeDisk(run.disk.files)
        batches = await reopened_batches(tmp_path / "j", disk)
        assert list(batches) == [frame.sequence for frame in frames if frame is not frames[3]]


async def test_a_frame_may_hold_the_bytes_of_another_frame(tmp_path: Path) -> None:
    """A body may be a whole segment, of this journal even: it is never taken for frames of its own."""
    run = await _written(tmp_path / "j")
    (path,) = _segments(run.disk)
    inner = run.disk.files[path][: _frames(run.disk, path, run)[-1].end]
    second = await Run.begin(tmp_path / "j", FakeDisk(run.disk.files), LARGE)
    (sequence,) = await second.append_and_wait(inner)
    batches = await second.batches()
    assert list(batches)[-1] == sequence
    await second.kill()
    check_kept(await reopened_batches(tmp_path / "j", FakeDisk(second.disk.files)), [*run.acknowledged, sequence])


async def test_frames_inside_a_damaged_frame_are_older_than_what_was_seen_and_do_not_come_twice(tmp_path: Path) -> None:
    run = await _written(tmp_path / "j")
    (path,) = _segments(run.disk)
    inner = run.disk.files[path][: _frames(run.disk, path, run)[-1].end]
    second = await Run.begin(tmp_path / "j", FakeDisk(run.disk.files), LARGE)
    await second.append_and_wait(inner)
    await second.kill()
    outer = _segments(second.disk)[-1]
    second.disk.flip(outer, SEGMENT_HEADER.size + 20)
    check_kept(await reopened_batches(tmp_path / "j", FakeDisk(second.disk.files)), run.acknowledged)


async def test_segments_of_another_journal_are_set_aside_and_never_replayed(tmp_path: Path) -> None:
    other = await _written(tmp_path / "other", groups=3)
    run = await _written(tmp_path / "j", groups=2)
    stale = _segments(other.disk)[0]
    path = tmp_path / "j" / "0000000000000009.segment"
    disk = FakeDisk({**run.disk.files, path: other.disk.files[stale]})
    batches = await reopened_batches(tmp_path / "j", disk)
    assert list(batches) == run.acknowledged
    assert path not in disk.files
    (aside,) = _quarantined(disk)
    assert disk.files[aside] == other.disk.files[stale]


async def test_a_segment_number_is_never_used_again(tmp_path: Path) -> None:
    run = await _written(tmp_path / "j", groups=1)
    path = tmp_path / "j" / "0000000000000041.segment"
    second = await Run.begin(tmp_path / "j", FakeDisk({**run.disk.files, path: b""}), LARGE)
    await second.append_and_wait(b"x")
    assert _segments(second.disk)[-1].name == "0000000000000042.segment"
    await second.kill()


@pytest.mark.parametrize(
    "content", [b"", bytes(40), bytes(4096), b"\0" * 39, encode_segment_header(b"x" * 20, 1)[:17], b"not a segment"]
)
async def test_a_segment_without_frames_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    run = await _written(tmp_path / "j", groups=2)
    path = tmp_path / "j" / "0000000000000005.segment"
    disk = FakeDisk({**run.disk.files, path: content})
    assert list(await reopened_batches(tmp_path / "j", disk)) == run.acknowledged
    assert path not in disk.files
    assert [disk.files[aside] for aside in _quarantined(disk)] == ([content] if content.strip(b"\0") else [])


async def test_a_segment_with_an_odd_name_is_read_if_its_frames_are_ours(tmp_path: Path) -> None:
    run = await _written(tmp_path / "j", groups=2)
    (path,) = _segments(run.disk)
    odd = path.with_name("copy of 1.segment")
    renamed = {odd if name == path else name: data for name, data in run.disk.files.items()}
    assert list(await reopened_batches(tmp_path / "j", FakeDisk(renamed))) == run.acknowledged


async def test_a_missing_segment_costs_only_its_own_events(tmp_path: Path) -> None:
    run = await _written(tmp_path / "j", groups=20, limits=SMALL)
    paths = _segments(run.disk)
    assert len(paths) > 3
    frames = {path: [frame.sequence for frame in _frames(run.disk, path, run)] for path in paths}
    for missing in paths:
        disk = FakeDisk({path: data for path, data in run.disk.files.items() if path != missing})
        expected = [sequence for path in paths if path != missing for sequence in frames[path]]
        assert [batch.sequence for batch in recover(disk, tmp_path / "j").batches] == expected


async def test_a_segment_that_cannot_be_read_stays_and_stops_nobody(tmp_path: Path) -> None:
    run = await _written(tmp_path / "j", groups=20, limits=SMALL)
    paths = _segments(run.disk)
    disk = FakeDisk(run.disk.files)

    def fault(path: Path) -> None:
        if path == paths[1]:
            raise OSError(5, "a bad sector")

    disk.read_fault = fault
    second = await Run.begin(tmp_path / "j", disk)
    batches = await second.batches()
    lost = {frame.sequence for frame in _frames(run.disk, paths[1], run)}
    assert set(batches) == set(run.acknowledged) - lost
    second.journal.backlog.acknowledge(max(batches))
    await second.journal.checkpoint()
    assert [path for path in paths if path in disk.files] == [paths[1]]
    await second.append_and_wait(b"and on we go")
    await second.kill()


# -- the small files --------------------------------------------------------------------------------------------------


async def _settled(directory: Path) -> tuple[Run, FakeDisk]:
    """Return a journal that was closed with everything settled: only its small files are left."""
    run = await Run.begin(directory, FakeDisk(), SMALL)
    await run.append_and_wait(b"1", b"2", b"3")
    batches = await run.batches()
    run.journal.backlog.acknowledge(max(batches))
    await run.journal.close()
    assert not _segments(run.disk)
    return run, FakeDisk(run.disk.files)


@pytest.mark.parametrize("harm", ["none", "missing", "empty", "flipped", "foreign", "no JSON"])
async def test_whatever_becomes_of_the_position_no_sequence_is_used_twice(tmp_path: Path, harm: str) -> None:
    """capture_svc takes a sequence that it knows for stored, and followers never look back: a repeat would be lost."""
    run, disk = await _settled(tmp_path / "j")
    _harm(disk, tmp_path / "j" / POSITION_FILE, harm)
    second = await Run.begin(tmp_path / "j", disk, SMALL)
    new = await second.append_and_wait(b"new")
    assert new[0] > max(run.heard)
    assert second.journal.journal_id == run.journal.journal_id
    # The first word of capture_svc: it has all of the first run.
    second.journal.backlog.acknowledge(min(run.heard))
    assert list(await second.batches()) == new
    await second.kill()


@pytest.mark.parametrize("harm", ["missing", "empty", "flipped", "foreign", "no JSON"])
async def test_without_a_position_everything_is_sent_again(tmp_path: Path, harm: str) -> None:
    run = await _written(tmp_path / "j", groups=20, limits=SMALL)
    second = await Run.begin(tmp_path / "j", FakeDisk(run.disk.files), SMALL)
    second.journal.backlog.acknowledge(run.acknowledged[9])
    await second.journal.checkpoint()
    await second.kill()
    disk = FakeDisk(second.disk.files)
    kept = await reopened_batches(tmp_path / "j", FakeDisk(disk.files))
    assert list(kept) == run.acknowledged[10:]
    _harm(disk, tmp_path / "j" / POSITION_FILE, harm)
    again = await reopened_batches(tmp_path / "j", disk)
    assert {number: again[number] for number in kept} == kept


async def test_a_position_ahead_of_the_segments_is_believed_and_counted_on_from(tmp_path: Path) -> None:
    run = await _written(tmp_path / "j", groups=3)
    ahead = run.acknowledged[-1] + 10**12
    disk = FakeDisk(run.disk.files)
    disk.replace(tmp_path / "j" / POSITION_FILE, Position(ahead, ahead + 5).encode(run.journal._key))
    second = await Run.begin(tmp_path / "j", disk)
    assert not await second.batches()
    (sequence,) = await second.append_and_wait(b"new")
    assert sequence > ahead + 5
    await second.kill()


async def test_a_clock_that_went_back_uses_no_sequence_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, disk = await _settled(tmp_path / "j")
    monkeypatch.setattr("ingress_gateway.journal.journal.time.time_ns", lambda: 0)
    second = await Run.begin(tmp_path / "j", disk, SMALL)
    (sequence,) = await second.append_and_wait(b"new")
    assert sequence == max(run.heard) + 1
    await second.kill()


@pytest.mark.parametrize("harm", ["missing", "empty", "flipped", "cut", "a digit off"])
async def test_a_damaged_key_is_told_by_the_position_or_the_segments(tmp_path: Path, harm: str) -> None:
    run = await _written(tmp_path / "j", groups=3)
    second = await Run.begin(tmp_path / "j", FakeDisk(run.disk.files), LARGE)
    second.journal.backlog.acknowledge(run.acknowledged[0])
    await second.journal.checkpoint()
    await second.kill()
    for has_position in (True, False):
        files = dict(second.disk.files)
        if not has_position:
            del files[tmp_path / "j" / POSITION_FILE]
        disk = FakeDisk(files)
        _harm(disk, tmp_path / "j" / KEY_FILE, harm)
        third = await Run.begin(tmp_path / "j", disk, LARGE)
        assert third.journal.journal_id == run.journal.journal_id
        assert list(await third.batches()) == run.acknowledged[1 if has_position else 0 :]
        await third.kill()
        fourth = recover(FakeDisk(third.disk.files), tmp_path / "j")
        assert fourth.journal_id == run.journal.journal_id, "it was not mended on disk"


async def test_a_damaged_key_is_told_by_most_segments_and_those_in_the_spare_directory(tmp_path: Path) -> None:
    other = await _written(tmp_path / "other", groups=1)
    run = await _written(tmp_path / "j", groups=20, limits=SMALL)
    files = {tmp_path / "spare" / path.name: run.disk.files[path] for path in _segments(run.disk)}
    files[tmp_path / "j" / "0000000000000000.segment"] = other.disk.files[_segments(other.disk)[0]]
    batches = await reopened_batches(tmp_path / "j", FakeDisk(files), spare_directory=tmp_path / "spare")
    assert list(batches) == run.acknowledged


def _harm(disk: FakeDisk, path: Path, harm: str) -> None:
    if harm == "missing":
        disk.remove(path)
    elif harm == "empty":
        disk.replace(path, b"")
    elif harm == "flipped":
        disk.flip(path, 20)
    elif harm == "cut":
        disk.truncate(path, 20)
    elif harm == "a digit off":
        digit = disk.files[path][3]
        disk.write_at(path, 3, b"0" if digit != ord("0") else b"1")
    elif harm == "foreign":
        disk.replace(path, Position(2**60, 2**60).encode(b"20 bytes of another!"))
    elif harm == "no JSON":
        disk.replace(path, b"[]\n223132457\n")


# -- while it runs ----------------------------------------------------------------------------------------------------


async def test_a_segment_damaged_since_it_was_written_costs_its_frames_and_the_rest_is_shipped(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), LARGE)
    for number in range(5):
        await run.append_and_wait(b"%d" % number * 200)
    await run.journal.flush()
    (path,) = _segments(run.disk)
    frames = _frames(run.disk, path, run)
    run.disk.flip(path, frames[2].start + 100)
    (batch,) = run.journal.backlog.after(0)
    assert len(batch.extents) == 1
    held = sequences(run.journal.read(batch))
    assert held == [frame.sequence for frame in frames if frame is not frames[2]]
    assert run.journal.counters.damaged_count == 1
    assert len(_quarantined(run.disk)) == 1
    await run.kill()


async def test_a_segment_that_went_missing_while_it_was_needed_leaves_an_empty_batch(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk(), LARGE)
    await run.append_and_wait(b"x")
    await run.journal.flush()
    run.disk.remove(_segments(run.disk)[0])
    (batch,) = run.journal.backlog.after(0)
    assert run.journal.read(batch) == b""
    assert run.journal.counters.damaged_count == 1
    await run.kill()


async def test_a_directory_is_one_process_s(tmp_path: Path) -> None:
    run = await Run.begin(tmp_path / "j", FakeDisk())
    with pytest.raises(BlockingIOError):
        await Run.begin(tmp_path / "j", FakeDisk())
    await run.kill()
    second = await Run.begin(tmp_path / "j", FakeDisk(run.disk.files))
    await second.kill()
    shutil.rmtree(tmp_path / "j")


async def test_recovery_of_alternating_damage_takes_linear_time(tmp_path: Path) -> None:
    limits = JournalLimits(segment_bytes=8 * 1024 * 1024, batch_seconds=60.0)
    run = await Run.begin(tmp_path / "j", FakeDisk(), limits)
    for _ in range(3000):
        await run.append_and_wait(b"x" * 60)
    await run.kill()
    (path,) = _segments(run.disk)
    frames = _frames(run.disk, path, run)
    for frame in frames[::2]:
        run.disk.flip(path, frame.end - 1)
    started = time.perf_counter()
    found = recover(FakeDisk(run.disk.files), tmp_path / "j")
    # Copying what is left of the segment at each of the 1,500 stretches would take a minute.
    assert time.perf_counter() - started < 5
    assert len(found.batches[0].extents) == 1500
