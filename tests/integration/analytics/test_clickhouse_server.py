"""The reading in a ClickHouse server, over HTTP."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from analytics_svc.store import Bookmark, ReadingStore
from analytics_svc.store.clickhouse import ClickHouseReadingStore
from analytics_svc.store.derive import SMALL_BYTES
from svc_runtime.clickhouse import Dsn, parse_dsn
from svc_runtime.errors import UnavailableError
from tests.clickhouse_http import ClickHouseFront, running_clickhouse_front
from tests.contract.analytics.store_contract import ReadingStoreContract, page

pytestmark = pytest.mark.store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFront]:
    """Run a server for all of them."""
    with running_clickhouse_front(tmp_path_factory.mktemp("clickhouse")) as front:
        yield front


@pytest.fixture
def dsn(server: ClickHouseFront, tmp_path: Path) -> str:
    """Name a database that is not there yet."""
    return f"{server.dsn}/{tmp_path.name}"


def at(dsn: str) -> Dsn:
    """Read a DSN."""
    return parse_dsn(dsn, default_database="analytics")


class TestClickHouseServer(ReadingStoreContract):
    """Over HTTP."""

    @pytest.fixture
    async def store(self, dsn: str) -> AsyncIterator[ReadingStore]:
        """An empty one."""
        async with ClickHouseReadingStore.open(at(dsn)) as store:
            yield store


async def test_a_large_page_is_derived_by_the_server(server: ClickHouseFront, dsn: str) -> None:
    large = page(range(2500), b"1")
    assert large.byte_count > SMALL_BYTES
    async with ClickHouseReadingStore.open(at(dsn)) as store:
        before = len(server.statements)
        assert await store.write(large) == 2500
        assert [text for text in server.statements[before:] if "live_picked" in text and "INSERT INTO" in text]
        assert await store.write(large) == 0


async def test_a_server_that_goes_away_is_unavailable_and_found_again(server: ClickHouseFront, dsn: str) -> None:
    async with ClickHouseReadingStore.open(at(dsn)) as store:
        await store.write(page(range(10), b"1"))
        server.is_down = True
        for call in (store.bookmark(), store.write(page(range(10, 20), b"2"))):
            with pytest.raises(UnavailableError):
                await call
        server.is_down = False
        assert (await store.bookmark()).cursor == b"1"
        assert await store.write(page(range(20), b"2")) == 10


async def test_settings_of_the_dsn_reach_the_server(server: ClickHouseFront, dsn: str) -> None:
    with pytest.raises(UnavailableError, match="ClickHouse"):
        async with ClickHouseReadingStore.open(at(dsn + "?max_ast_depth=1")) as store:
            await store.write(page(range(10), b"1"))


async def test_a_wrong_password_is_told_without_it(server: ClickHouseFront) -> None:
    dsn = server.dsn.replace("p%40ss", "wrong")
    with pytest.raises(UnavailableError) as caught:
        async with ClickHouseReadingStore.open(at(dsn)):
            pass
    assert "wrong" not in repr(caught.value)


async def test_a_database_that_is_there_is_not_created_again(server: ClickHouseFront, dsn: str) -> None:
    async with ClickHouseReadingStore.open(at(dsn)):
        pass
    before = len(server.statements)
    async with ClickHouseReadingStore.open(at(dsn)) as store:
        assert await store.bookmark() == Bookmark(b"", None)
    # A user of a server may not be allowed to create databases, not even one that exists.
    assert not [text for text in server.statements[before:] if "CREATE DATABASE" in text]
