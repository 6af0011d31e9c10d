"""PostgreSQL from the wheel, run the way the supervisor runs it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from trellisctl.embedded import postgres as postgres_module
from trellisctl.embedded.postgres import Database, EmbeddedPostgres
from trellisctl.errors import CommandError
from trellisctl.tether import tethered

pytestmark = pytest.mark.store

WARDEN, ATTRIBUTION = Database("warden", "w-_1"), Database("attribution", "a-_2")
Running = Callable[..., AbstractAsyncContextManager[asyncio.subprocess.Process]]


def make(directory: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory / "postgres", password="p-_0", databases=[WARDEN, ATTRIBUTION])


@asynccontextmanager
async def running(postgres: EmbeddedPostgres) -> AsyncIterator[asyncio.subprocess.Process]:
    await postgres.prepare()
    process = await asyncio.create_subprocess_exec(
        *tethered(postgres.command(), death_signal=signal.SIGQUIT, user=postgres.os_ids),
        start_new_session=True,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until_provided(postgres)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        await process.wait()


async def until_provided(postgres: EmbeddedPostgres) -> None:
    for _ in range(200):
        try:
            return await postgres.provide_databases()
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.05)
    raise AssertionError("PostgreSQL does not answer")


async def query(dsn: str, sql: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_each_database_has_its_own_role_and_nobody_elses(tmp_path: Path) -> None:
    postgres = make(tmp_path)
    async with running(postgres):
        assert await query(postgres.dsn(WARDEN), "SELECT current_user || current_database()") == "wardenwarden"
        assert await query(postgres.dsn(ATTRIBUTION), "SELECT NOT usesuper FROM pg_user WHERE usename = current_user")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await query(postgres.dsn(Database("warden", "wrong")), "SELECT 1")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await query(postgres.dsn(WARDEN).replace("@/warden?", "@/attribution?"), "SELECT 1")


async def test_data_outlives_a_killed_server(tmp_path: Path) -> None:
    postgres = make(tmp_path)
    async with running(postgres) as process:
        await query(postgres.dsn(WARDEN), "CREATE TABLE kept (n int)")
        process.kill()
        await process.wait()
    async with running(postgres):
        assert await query(postgres.dsn(WARDEN), "SELECT count(*) FROM kept") == 0


async def test_a_server_that_outlived_its_supervisor_is_stopped_first(tmp_path: Path) -> None:
    postgres = make(tmp_path)
    async with running(postgres) as orphan:
        await postgres.prepare()
        assert await asyncio.wait_for(orphan.wait(), 10) == 0
    async with running(postgres):
        assert await query(postgres.dsn(WARDEN), "SELECT 1") == 1


async def test_a_pid_file_that_names_a_stranger_stops_nobody(tmp_path: Path) -> None:
    postgres = make(tmp_path)
    async with running(postgres):
        pass
    (tmp_path / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n/somewhere\n")
    async with running(postgres):
        assert await query(postgres.dsn(WARDEN), "SELECT 1") == 1


async def test_a_long_path_still_has_a_short_private_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    postgres = make(deep)
    async with running(postgres):
        assert await query(postgres.dsn(WARDEN), "SELECT 1") == 1
        mode = (await asyncio.to_thread(postgres.socket_directory.stat)).st_mode
        assert mode & 0o777 == 0o700
    await asyncio.to_thread(postgres.socket_directory.rmdir)


async def test_a_first_start_that_was_killed_is_begun_again(tmp_path: Path) -> None:
    half = tmp_path / "postgres.half"
    (half / "base").mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    postgres = make(tmp_path)
    async with running(postgres):
        assert await query(postgres.dsn(WARDEN), "SELECT 1") == 1
    assert not half.exists()


async def test_data_of_another_version_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(CommandError, match="made by PostgreSQL 16"):
        await make(tmp_path).prepare()


async def test_a_socket_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(postgres_module, "user_for_postgres", lambda: None)
    with pytest.raises(CommandError, match="somebody else's"):
        await make(tmp_path).prepare()
