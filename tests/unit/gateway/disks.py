"""Disks for tests of the journal: in memory, losing power, tearing writes, filling up, failing, and lying."""

import errno
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Operation:
    """One call that changes the disk."""

    kind: str
    """create, append, truncate, replace or remove."""
    path: Path
    data: bytes = b""
    offset: int = 0
    """Of an append; the size of a create or a truncate."""
    kept: tuple[tuple[int, int], ...] | None = None
    """The stretches of ``data`` that reached the disk; None: all of it."""


class TornError(Exception):
    """Raised by a fault: so many bytes of the write reach the disk, then it fails."""

    def __init__(self, byte_count: int, number: int = errno.EIO) -> None:
        super().__init__(byte_count)
        self.byte_count = byte_count
        self.error = OSError(number, "a fault of the test")


class FakeDisk:
    """Keeps every promise of ``Disk``, and no more: what is not promised durable is lost with the power.

    ``fault`` is asked before each operation: it may raise OSError (nothing reaches the disk) or TornError, or sleep.
    """

    def __init__(self, files: dict[Path, bytes] | None = None) -> None:
        self.initial = dict(files or {})
        self.operations: list[Operation] = []
        self.fault: Callable[[Operation], None] = lambda _operation: None
        self.read_fault: Callable[[Path], None] = lambda _path: None
        self._files = {path: bytearray(data) for path, data in self.initial.items()}
        self._descriptors: dict[int, Path] = {}
        self._lock = threading.Lock()

    # -- the protocol ---------------------------------------------------------------------------------------------

    def make_directory(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def create(self, path: Path, size: int) -> int:
        with self._lock:
            if path in self._files:
                raise FileExistsError(errno.EEXIST, "the file exists", str(path))
        self._do(Operation("create", path, offset=size))
        with self._lock:
            descriptor = len(self._descriptors) + 3
            self._descriptors[descriptor] = path
        return descriptor

    def append(self, descriptor: int, data: bytes, offset: int) -> None:
        self._do(Operation("append", self._descriptors[descriptor], bytes(data), offset))

    def close(self, descriptor: int) -> None:
        assert descriptor in self._descriptors

    def read(self, path: Path, offset: int, length: int) -> bytes:
        self.read_fault(path)
        with self._lock:
            if path not in self._files:
                raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
            return bytes(self._files[path][offset : offset + length])

    def size(self, path: Path) -> int:
        with self._lock:
            return len(self._files[path])

    def truncate(self, path: Path, size: int) -> None:
        self._do(Operation("truncate", path, offset=size))

    def replace(self, path: Path, data: bytes) -> None:
        self._do(Operation("replace", path, bytes(data)))

    def remove(self, path: Path) -> None:
        self._do(Operation("remove", path))

    def names(self, directory: Path) -> list[str]:
        with self._lock:
            return sorted(path.name for path in self._files if path.parent == directory)

    def _do(self, operation: Operation) -> None:
        try:
            self.fault(operation)
        except TornError as torn:
            self._keep(replace(operation, kept=((0, torn.byte_count),)))
            raise torn.error from None
        self._keep(operation)

    def _keep(self, operation: Operation) -> None:
        with self._lock:
            _apply(self._files, operation)
            self.operations.append(operation)

    # -- what tests do --------------------------------------------------------------------------------------------

    @property
    def files(self) -> dict[Path, bytes]:
        """What a running process sees."""
        with self._lock:
            return {path: bytes(data) for path, data in self._files.items()}

    def write_at(self, path: Path, offset: int, data: bytes) -> None:
        """Change bytes behind everybody's back."""
        self._files[path][offset : offset + len(data)] = data

    def flip(self, path: Path, offset: int) -> None:
        """Turn one byte over."""
        self._files[path][offset] ^= 0xFF

    def survives(self, operation: Operation) -> bool:
        """Whether a completed operation is still there after a loss of power."""
        return True

    def after_power_loss(
        self, count: int | None = None, *, torn: Operation | None = None, removed_are_back: bool = False
    ) -> "FakeDisk":
        """Return the disk as it is when power is lost after ``count`` operations and a part of another one."""
        files = {path: bytearray(data) for path, data in self.initial.items()}
        unlinked: dict[Path, bytearray] = {}
        for operation in self.operations[:count]:
            if operation.kind == "remove" and operation.path in files:
                unlinked[operation.path] = files[operation.path]
            if operation.kind in ("create", "replace"):
                # Their promise syncs the directory, and every name in it.
                unlinked = {path: data for path, data in unlinked.items() if path.parent != operation.path.parent}
            if self.survives(operation):
                _apply(files, operation)
        if torn is not None and self.survives(torn):
            _apply(files, torn)
        if removed_are_back:
            files.update(unlinked)
        return FakeDisk({path: bytes(data) for path, data in files.items()})

    def torn_forms(self, index: int) -> Iterator[Operation | None]:
        """Yield what may be left of operation ``index`` when power is lost in the midst of it; None: nothing."""
        yield None
        operation = self.operations[index]
        if operation.kind == "append":
            for cut in range(SECTOR, len(operation.data), SECTOR):
                yield replace(operation, kept=((0, cut),))
                # The disk may write sectors in any order.
                yield replace(operation, kept=((cut, len(operation.data)),))
            yield operation
        elif operation.kind == "create":
            yield replace(operation, offset=0)
            yield operation
        elif operation.kind == "replace":
            part = operation.data[: len(operation.data) // 2]
            yield replace(operation, path=operation.path.with_name(operation.path.name + ".tmp"), data=part)
            yield operation
        else:
            yield operation


def _apply(files: dict[Path, bytearray], operation: Operation) -> None:
    path = operation.path
    if operation.kind == "create":
        files[path] = bytearray(operation.offset)
    elif operation.kind == "append":
        held = files.setdefault(path, bytearray())
        stretches = ((0, len(operation.data)),) if operation.kept is None else operation.kept
        for start, end in stretches:
            at = operation.offset + start
            held.extend(bytes(max(0, at - len(held))))
            held[at : at + end - start] = operation.data[start:end]
    elif operation.kind == "truncate":
        if path in files:
            del files[path][operation.offset :]
    elif operation.kind == "replace":
        if operation.kept is None:
            files[path] = bytearray(operation.data)
    else:
        files.pop(path, None)


class UnsyncedDisk(FakeDisk):
    """Lies: what it appends stays in its cache. A journal on it must be caught losing events."""

    def survives(self, operation: Operation) -> bool:
        return operation.kind != "append"


@dataclass(slots=True)
class Faults:
    """A fault that fails chosen kinds of operations, until it is turned off."""

    number: int = errno.EIO
    kinds: frozenset[str] = frozenset({"create", "append", "truncate", "replace", "remove"})
    times: int = 1_000_000
    torn_bytes: int | None = None
    within: Path | None = None
    happened: list[Operation] = field(default_factory=list)

    def __call__(self, operation: Operation) -> None:
        if self.times <= 0 or operation.kind not in self.kinds:
            return
        if self.within is not None and self.within not in operation.path.parents:
            return
        self.times -= 1
        self.happened.append(operation)
        if self.torn_bytes is not None and operation.kind == "append":
            raise TornError(self.torn_bytes, self.number)
        raise OSError(self.number, "a fault of the test")
