"""The system calls of the journal, behind a protocol so that tests can lose power, fill the disk and tear writes."""

import errno
import os
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """What the journal asks of a file system. Every method may raise OSError; none is retried on the same file."""

    def make_directory(self, path: Path) -> None:
        """Make ``path`` and the directories above it where they are missing, durably."""
        ...

    def create(self, path: Path, size: int) -> int:
        """Create ``path``, which must not exist, reserve ``size`` bytes of zeros, and make its name durable."""
        ...

    def append(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write all of ``data`` at ``offset``; it is durable when this returns."""
        ...

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        ...

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """Read up to ``length`` bytes."""
        ...

    def size(self, path: Path) -> int:
        """Return the size of a file."""
        ...

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file, durably."""
        ...

    def replace(self, path: Path, data: bytes) -> None:
        """Write a small file whole or not at all, durably."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file; one that is gone already is no error. After a loss of power it may be back."""
        ...

    def names(self, directory: Path) -> list[str]:
        """List a directory, sorted."""
        ...


class OsDisk:
    """The real file system."""

    def make_directory(self, path: Path) -> None:
        """Make the missing directories from the top down, and sync each one's name."""
        missing = [directory for directory in (path, *path.parents) if not directory.exists()]
        for directory in reversed(missing):
            directory.mkdir(mode=0o700, exist_ok=True)
            self._sync_directory(directory.parent)

    def create(self, path: Path, size: int) -> int:
        """Create and preallocate; a name that could not be made durable is removed again."""
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
            os.fsync(descriptor)
            self._sync_directory(path.parent)
        except OSError:
            os.close(descriptor)
            self.remove(path)
            raise
        return descriptor

    def append(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write and sync in one system call, again for the rest after a short write."""
        view = memoryview(data)
        while view:
            written = self._write_synced(descriptor, view, offset)
            if written <= 0:
                raise OSError(errno.EIO, "the file system wrote nothing")
            view = view[written:]
            offset += written

    def _write_synced(self, descriptor: int, view: memoryview, offset: int) -> int:
        return os.pwritev(descriptor, [view], offset, os.RWF_DSYNC)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """Read up to ``length`` bytes."""
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def size(self, path: Path) -> int:
        """Return the size of a file."""
        return path.stat().st_size

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file, durably."""
        with path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def replace(self, path: Path, data: bytes) -> None:
        """Write a temporary file, sync it, rename it over ``path``, sync the directory."""
        temporary = path.with_name(path.name + ".tmp")
        descriptor = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
        self._sync_directory(path.parent)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is gone already is no error."""
        path.unlink(missing_ok=True)

    def names(self, directory: Path) -> list[str]:
        """List a directory, sorted."""
        return sorted(path.name for path in directory.iterdir())

    def _sync_directory(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
