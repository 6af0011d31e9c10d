"""Migration files: numbered without a gap, and never changed once applied."""

from pathlib import Path

import pytest

from svc_runtime.migrations import Migration, MigrationError, read_migrations, what_is_missing

ONE, TWO = Migration(1, "0001_one.sql", "SELECT 1"), Migration(2, "0002_two.sql", "SELECT 2")
APPLIED = {1: (ONE.name, ONE.checksum)}


def test_files_are_read_in_their_order(tmp_path: Path) -> None:
    for name in ("0002_b.sql", "0001_a.sql", "notes.md"):
        (tmp_path / name).write_text(name)
    assert [(m.version, m.name, m.sql) for m in read_migrations(tmp_path)] == [
        (1, "0001_a.sql", "0001_a.sql"),
        (2, "0002_b.sql", "0002_b.sql"),
    ]


@pytest.mark.parametrize(
    "names", [["0002_a.sql"], ["0001_a.sql", "0003_b.sql"], ["0001_a.sql", "0001_b.sql"], ["1_a.sql"], ["0001.sql"]]
)
def test_a_gap_a_repeat_or_a_bad_name_is_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(MigrationError):
        read_migrations(tmp_path)


def test_what_the_database_lacks_is_missing() -> None:
    assert what_is_missing([ONE, TWO], {}) == [ONE, TWO]
    assert what_is_missing([ONE, TWO], APPLIED) == [TWO]
    assert what_is_missing([ONE], APPLIED) == []


def test_a_newer_database_is_left_as_it_is() -> None:
    assert what_is_missing([ONE], APPLIED | {2: (TWO.name, TWO.checksum)}) == []


def test_a_file_that_changed_after_it_was_applied_is_refused() -> None:
    with pytest.raises(MigrationError, match="write a new file"):
        what_is_missing([Migration(1, ONE.name, "SELECT 3"), TWO], APPLIED)


def test_a_gap_in_the_database_is_refused() -> None:
    with pytest.raises(MigrationError, match="gap"):
        what_is_missing([ONE, TWO], {2: (TWO.name, TWO.checksum)})
