"""The data directory of ``trellis up``: where everything is kept, whose it is, and the secrets that it holds."""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import BinaryIO

from trellisctl.errors import CommandError

LOG_ROTATION_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """What this installation must keep: made once, never shown."""

    mesh_secret: str
    """Signs the tokens between services."""
    key_pepper: str
    """Keys the hashes of API keys: without it every key is lost."""
    postgres_password: str
    """Of PostgreSQL's superuser."""
    warden_password: str
    """Of auth_svc's role."""
    attribution_password: str
    """Of attribution_svc's role."""


class DataDirectory:
    """The directory, made if it was not there, readable for its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.logs = self.path / "logs"
        self.postgres = self.path / "postgres"
        self.capture = self.path / "clickhouse" / "capture"
        self.analytics = self.path / "clickhouse" / "analytics"
        self.valkey = self.path / "valkey"
        self.gateway = self.path / "gateway"
        self.secrets_file = self.path / "secrets.json"
        self.lock_file = self.path / "lock"

    def make(self) -> None:
        """Create what is missing. Raises CommandError when the place cannot be used."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Traversal may stay open: as root, PostgreSQL runs as another user below here.
            self.path.chmod(self.path.stat().st_mode & 0o711)
            for directory in (self.logs, self.capture.parent, self.gateway):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise CommandError(f"the data directory {self.path} cannot be used: {error.strerror}") from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process; the kernel lets go of it when the process dies."""
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
                raise CommandError(
                    f"another `trellis up` (process {holder}) runs on {self.path}: stop it, or name another --data-dir"
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def secrets(self) -> Secrets:
        """Return the installation's secrets; make them on the first start.

        Raises CommandError where data is there and its secrets are not: new ones would lock every key out in silence.
        """
        try:
            return Secrets(**json.loads(self.secrets_file.read_text()))
        except FileNotFoundError:
            if self.postgres.exists():
                raise CommandError(
                    f"{self.path} holds data but its secrets.json is gone: restore it from a backup"
                ) from None
        except (ValueError, TypeError) as error:
            raise CommandError(f"{self.secrets_file} is damaged ({error}): restore it from a backup") from None
        made = Secrets(**{field.name: secrets.token_urlsafe(32) for field in fields(Secrets)})
        self._keep_secrets(made)
        return made

    def _keep_secrets(self, made: Secrets) -> None:
        half = self.secrets_file.with_suffix(".half")
        half.unlink(missing_ok=True)
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:  # noqa: PTH123 - a descriptor, so that the mode is right from the start
            json.dump(asdict(made), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        half.rename(self.secrets_file)
        directory = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def open_log(self, name: str) -> BinaryIO:
        """Return a file that appends to a process's log; a log grown too large moves to ``.log.1`` first."""
        path = self.log_path(name)
        if path.exists() and path.stat().st_size > LOG_ROTATION_BYTES:
            path.replace(path.with_suffix(".log.1"))
        path.touch(mode=0o600)
        return path.open("ab", buffering=0)

    def log_path(self, name: str) -> Path:
        """Return where the log of a process is."""
        return self.logs / f"{name}.log"
